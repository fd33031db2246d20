//! The chat on three hosts, with a broker each: a gate, two connectors, two chat servers and 200 people, who go on
//! talking while parts of it are killed, frozen and cut off. After each fault all must be as if nothing had been.
//!
//! The hosts are network namespaces, which are gone when this ends, however it ends.

mod check;
mod crowd;
mod hosts;
mod ledger;
mod plan;
mod program;
mod town;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use fastrand::Rng;

use check::Checker;
use crowd::Crowd;
use town::Town;

/// Says of a folder that it may be emptied.
const OURS: &str = ".faults";

/// Set where the namespaces are our own.
const INSIDE: &str = "SHADDOCK_FAULTS_INSIDE";

#[derive(Debug, Parser)]
struct Arguments {
    /// The chat's program
    #[arg(long, env = "CHAT_BIN", value_name = "FILE")]
    chat: PathBuf,
    /// The broker's program
    #[arg(long, env = "NATS_SERVER", value_name = "FILE", default_value = "nats-server")]
    broker: PathBuf,
    /// Faults made up from the seed
    #[arg(long, default_value_t = 20, value_name = "N")]
    faults: usize,
    /// What they are made up from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Kill each program once, and cut off each host, before that
    #[arg(long)]
    each: bool,
    /// People who talk, ten in a room
    #[arg(long, default_value_t = 200, value_name = "N")]
    people: usize,
    /// The folder for the programs' logs, which is emptied if it was this before
    #[arg(long, value_name = "DIR")]
    logs: PathBuf,
}

fn main() -> ExitCode {
    let done = match std::env::var_os(INSIDE) {
        None => enter(),
        Some(_) => run(Arguments::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this again in namespaces of its own: whatever it starts and makes ends with it.
fn enter() -> anyhow::Result<()> {
    Arguments::parse();
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if fs::metadata("/proc/self")?.uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    // Where Debian has nats-server and ip, which is not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    command
        .arg("--")
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("PATH", path)
        .env(INSIDE, "1");
    Err(command.exec()).context("unshare")
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = check(&arguments) => done,
            stopped = tokio::signal::ctrl_c() => stopped.context("Ctrl-C").and_then(|()| bail!("stopped")),
        }
    })
}

async fn check(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { seed, faults, people, logs, .. } = arguments;
    println!("seed {seed}; logs in {}", logs.display());
    let folder = fresh(logs)?;
    let mut random = Rng::with_seed(*seed);
    let mut plan = if arguments.each { plan::each() } else { Vec::new() };
    plan.extend(plan::random(&mut random, *faults));

    let town = Town::start(&arguments.chat.canonicalize()?, &arguments.broker, &folder).await?;
    let crowd = Crowd::gather(*people, &mut random);
    let mut checker = Checker::new(town, crowd).await?;
    let mut wrong = Vec::new();
    for (number, fault) in plan.iter().enumerate() {
        println!("{}. {fault}", number + 1);
        let found = checker
            .survive(fault)
            .await
            .with_context(|| format!("fault {}, {fault}, seed {seed}", number + 1))?;
        for one in found.iter().take(20) {
            println!("   WRONG: {one}");
        }
        wrong.extend(
            (!found.is_empty()).then(|| format!("{}. {fault}: {} things", number + 1, found.len())),
        );
    }
    ensure!(wrong.is_empty(), "with seed {seed}:\n{}", wrong.join("\n"));
    println!("ALL IS WELL after {} faults with seed {seed}", plan.len());
    Ok(())
}

/// The folder, with nothing in it. What others have put into it is not ours to remove.
fn fresh(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.join(OURS).exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let is_empty = fs::read_dir(folder)?.next().is_none();
    ensure!(is_empty, "{} has something in it: choose another folder", folder.display());
    fs::write(folder.join(OURS), "")?;
    Ok(folder.canonicalize()?)
}
