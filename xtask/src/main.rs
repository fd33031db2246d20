//! The project's own commands: `cargo xtask test`, `cargo xtask faults`.

mod plan;
mod run;
mod tools;
mod workspace;

use std::process::ExitCode;

use plan::Scope;
use workspace::Workspace;

const USAGE: &str = "\
Usage: cargo xtask test [--quick]
       cargo xtask faults [--faults N] [--seed N] [--each]

  test          run every test there is, and stop at the first that fails
  test --quick  only what needs Rust alone and no release build
  faults        kill, freeze and cut off parts of the chat while 200 people talk";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test(Scope::All),
        ["test", "--quick"] => test(Scope::Quick),
        ["faults", ref options @ ..] => faults(options),
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

fn faults(options: &[&str]) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let missing = tools::look_for(|tool| plan::FOR_FAULTS.contains(&tool))?;
    run::run(vec![plan::faults(&workspace, options)], &missing)
}
