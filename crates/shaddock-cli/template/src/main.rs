//! The program: `my-game --help` says what it can do.

fn main() -> std::process::ExitCode {
    shaddock_cli::run(my_game::CONFIG, my_game::app)
}
