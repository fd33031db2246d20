//! The project's own commands: `cargo xtask test`, `cargo xtask it`, `cargo xtask faults`, `cargo xtask bench`,
//! `cargo xtask growth`, `cargo xtask hot`.

mod built;
mod plan;
mod run;
mod tools;
mod workspace;

use std::process::ExitCode;

use plan::{Scope, Step};
use workspace::Workspace;

const USAGE: &str = "\
Usage: cargo xtask test [--quick]
       cargo xtask it PACKAGE...
       cargo xtask faults [--faults N] [--seed N] [--each]
       cargo xtask bench [--rounds N] [--seconds N] [--system TEXT] [--work TEXT] [--results FILE]
       cargo xtask growth [--seconds N] [--results FILE]
       cargo xtask hot [--renew]

  test          run every test there is, and stop at the first that fails
  test --quick  only what needs Rust alone and no release build
  it            run the integration tests of these packages, as `test` builds them
  faults        kill, freeze and cut off parts of the chat while 200 people talk
  bench         measure the chat beside the same chat on pomelo and on pinus, and write benches/RESULTS.md
  growth        measure how cost grows with clients, members, rooms and servers, and write benches/GROWTH.md
  hot           count the instructions of the most used ways; fail if they are a quarter more than they were
  hot --renew   keep what they are now";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test(Scope::All),
        ["test", "--quick"] => test(Scope::Quick),
        ["it", ref packages @ ..] => built::run(packages),
        ["faults", ref options @ ..] => do_with(plan::FOR_FAULTS, plan::faults, options),
        ["growth", ref options @ ..] => do_with(plan::FOR_GROWTH, plan::growth, options),
        ["bench", ref options @ ..] => do_with(plan::FOR_BENCH, plan::bench, options),
        ["hot", ref options @ ..] => do_with(plan::FOR_HOT, plan::hot, options),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test(scope: Scope) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let missing = tools::look(scope)?;
    run::run(plan::steps(&workspace, scope, &missing), &missing)
}

/// Does one step with these options, which needs these tools.
fn do_with(
    tools: &[&str],
    step: impl FnOnce(&Workspace, &[&str]) -> Step,
    options: &[&str],
) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let missing = tools::look_for(|tool| tools.contains(&tool))?;
    run::run(vec![step(&workspace, options)], &missing)
}
