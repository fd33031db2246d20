//! What the ways cost that most messages go: `cargo bench -p shaddock` measures the time,
//! `cargo xtask hot` counts instructions and compares them with `instructions.json`.

mod count;
mod paths;

use std::process::ExitCode;
use std::time::Instant;

use criterion::{Criterion, Throughput};

use paths::PATHS;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["count"] => count::compare(),
        ["count", "--renew"] => count::renew(),
        ["count", ref more @ ..] => Err(format!("{} is no option", more.join(" ")).into()),
        ["go", name, rounds] => count::go(name, rounds),
        _ => {
            measure(&mut Criterion::default().configure_from_args());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(criterion: &mut Criterion) {
    for path in PATHS {
        let mut group = criterion.benchmark_group("hot");
        group.throughput(Throughput::Elements(path.each));
        group.bench_function(path.name, |bencher| {
            let mut go = (path.ready)();
            bencher.iter_custom(|rounds| {
                let begun = Instant::now();
                go(rounds);
                begun.elapsed()
            });
        });
    }
    criterion.final_summary();
}
