//! The project's own commands: `cargo xtask test`.

mod plan;
mod run;
mod tools;
mod workspace;

use std::process::ExitCode;

use plan::Scope;
use workspace::Workspace;

const USAGE: &str = "\
Usage: cargo xtask test [--quick]

  test          run every test there is, and stop at the first that fails
  test --quick  only what needs Rust alone and no release build";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test(Scope::All),
        ["test", "--quick"] => test(Scope::Quick),
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
