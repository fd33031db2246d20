//! The program: `my-game --help` says what it can do.

/// Messages take up to 12 % less CPU than with the system's allocator.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    shaddock_cli::run(my_game::CONFIG, my_game::app)
}
