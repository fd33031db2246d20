//! Running the steps, and telling how it went.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::plan::{Expected, Step};
use crate::tools::Missing;

/// Runs the steps until one fails, and then says which, and how long each took.
pub(crate) fn run(steps: Vec<Step>, missing: &Missing) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut times = Vec::new();
    let mut failed = None;
    for Step { name, commands } in steps {
        println!("\n=== {name}");
        let started = Instant::now();
        let result = commands.into_iter().try_for_each(carry_out);
        times.push((name.clone(), started.elapsed()));
        if let Err(error) = result {
            failed = Some((name, error));
            break;
        }
    }
    println!();
    for (name, time) in &times {
        println!("{:>10}  {name}", shown(*time));
    }
    missing.tell();
    if let Some((name, error)) = failed {
        bail!("{name} FAILED after {}: {error:#}", shown(begun.elapsed()));
    }
    println!("ALL {} STEPS PASSED in {}", times.len(), shown(begun.elapsed()));
    Ok(())
}

fn carry_out(Expected { mut command, succeeds }: Expected) -> anyhow::Result<()> {
    let line = line(&command);
    println!("$ {line}");
    let status = command.stdin(Stdio::null()).status().with_context(|| line.clone())?;
    if succeeds {
        ensure!(status.success(), "{line}: {status}");
    } else {
        // As one that says no, that is: a panic would be 101, a crash a signal.
        ensure!(status.code() == Some(1), "{line}: should say no with exit code 1; {status}");
    }
    Ok(())
}

/// As one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
