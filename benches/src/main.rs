//! The chat measured beside the same chat on pomelo and on pinus, in one run on one machine.
//!
//! In each round each system is started in its turn and does all works; what is told is the median of the rounds, and
//! their spread. A system that loses, doubles or garbles anything ends the run.

mod growth;
mod machine;
mod process;
mod results;
mod system;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;

use results::Results;
use system::{Programs, System};
use work::{Robot, WORKS, Work};

#[derive(Debug, Parser)]
#[command(about)]
struct Arguments {
    /// The chat's program
    #[arg(long, env = "CHAT_BIN", value_name = "FILE")]
    chat: PathBuf,
    /// The robot's program
    #[arg(long, env = "ROBOT_BIN", value_name = "FILE")]
    robot: PathBuf,
    /// The broker's program
    #[arg(long, env = "NATS_SERVER", value_name = "FILE", default_value = "nats-server")]
    broker: PathBuf,
    /// The folder with pomelo and pinus in it
    #[arg(long, value_name = "DIR", default_value = "benches/servers")]
    servers: PathBuf,
    /// How often each system does each work
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// How long each work is measured, where it has no end of its own
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    seconds: f64,
    /// Only the systems whose names have this in them
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Only the works whose names have this in them
    #[arg(long, value_name = "TEXT")]
    work: Option<String>,
    /// Where the results go [default: benches/RESULTS.md, or benches/GROWTH.md]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Measure how our own cost grows with clients, members, rooms and servers, and nothing else
    #[arg(long)]
    growth: bool,
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { chat, robot, broker, servers, rounds, seconds, .. } = arguments;
    let usual = if arguments.growth { "benches/GROWTH.md" } else { "benches/RESULTS.md" };
    let file = arguments.results.as_deref().unwrap_or(Path::new(usual));
    let whole = |path: &Path| {
        path.canonicalize().with_context(|| format!("there is no {}", path.display()))
    };
    let programs = Programs {
        chat: whole(chat)?,
        broker: broker.clone(),
        servers: whole(servers)?,
        robot: whole(robot)?,
    };
    let robot = Robot { program: programs.robot.clone(), seconds: *seconds };
    if arguments.growth {
        return growth::measure(&programs, &robot, file);
    }
    let is_wanted =
        |text: &Option<String>, name: &str| text.as_ref().is_none_or(|text| name.contains(&**text));
    let systems: Vec<_> = System::ALL
        .into_iter()
        .filter(|system| is_wanted(&arguments.system, system.name()))
        .collect();
    let works: Vec<_> = WORKS.iter().filter(|work| is_wanted(&arguments.work, work.name)).collect();
    ensure!(!systems.is_empty() && !works.is_empty(), "nothing of that name is measured");

    let begun = Instant::now();
    let mut results = Results::default();
    for round in 0..*rounds {
        // Who comes first is another one each time.
        for turn in 0..systems.len() {
            let system = systems[(turn + round) % systems.len()];
            println!("round {} of {rounds}: {}", round + 1, system.name());
            let suited = works.iter().filter(|work| work.suits(system));
            let (alone, together): (Vec<&Work>, Vec<_>) = suited.partition(|work| work.is_alone);
            let alone = alone.into_iter().filter(|_| round == 0).map(|work| vec![work]);
            for works in alone.chain([together]).filter(|works| !works.is_empty()) {
                let running = system.start(&programs)?;
                results.started(system, running.start());
                for work in works {
                    let report = robot
                        .run(&robot.line(work), running.pids())
                        .with_context(|| format!("{} of {}", work.name, system.name()))?;
                    println!("  {:28} {}", work.name, results::line(&report));
                    results.add(system, work, report);
                }
                running.end()?;
            }
        }
    }
    let text =
        results.page(&machine::describe(&programs), *rounds, *seconds, &robot, begun.elapsed());
    print!("\n{}", results.verdicts());
    fs::write(file, text).with_context(|| format!("can't write {}", file.display()))?;
    println!("\n{} has all of it, after {} min", file.display(), minutes(begun.elapsed()));
    Ok(())
}

fn minutes(time: Duration) -> u64 {
    time.as_secs().div_ceil(60)
}
