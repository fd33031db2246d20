//! How cost grows with what there is of something, as a page with charts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::results::{self, short};
use crate::system::{Programs, System};
use crate::work::{CPU, P99, PEAK, Report, Robot};
use crate::{machine, minutes};

/// Something of which there is more and more, while the work stays the same.
struct Curve {
    title: &'static str,
    /// What there is more and more of.
    what: &'static str,
    amounts: &'static [usize],
    /// What the robot is told for each amount.
    line: fn(usize) -> String,
    system: System,
    /// Whether it is chat servers that there are so many of.
    is_of_servers: bool,
    about: &'static str,
}

const CURVES: &[Curve] = &[
    Curve {
        title: "Clients",
        what: "clients",
        amounts: &[100, 300, 1_000, 3_000, 10_000],
        line: |clients| {
            format!("echo --clients {clients} --rate 5000 --route chat.chatHandler.echo")
        },
        system: System::Shaddock,
        is_of_servers: false,
        about: "5,000 echoes a second go through a chat server, from more and more clients. What a client costs beside its echoes is a
heartbeat every three seconds and the memory of its connection; with fewer echoes for each of them, fewer come in one read.",
    },
    Curve {
        title: "Members of a room",
        what: "members",
        amounts: &[1, 10, 100, 1_000, 10_000],
        line: |members| {
            let rate = (20_000 / members).clamp(2, 2_000);
            format!("chat --rooms 1 --members {members} --senders 1 --rate {rate}")
        },
        system: System::Shaddock,
        is_of_servers: false,
        about: "One room; 20,000 copies are delivered each second, but 2,000 where one is alone. The message is made ready once, and
its members share it: what a copy costs falls up to some hundreds, and is more again in a room of 10,000.",
    },
    Curve {
        title: "Rooms",
        what: "rooms on each chat server",
        amounts: &[1, 4, 16, 64],
        line: |rooms| {
            let rooms = 3 * rooms;
            format!("chat --rooms {rooms} --members 10 --senders 1 --rate 2000")
        },
        system: System::Shaddock,
        is_of_servers: false,
        about: "Rooms of ten on three chat servers; 2,000 messages a second in all of them together, which are 20,000 copies. A room costs
what is said in it, and next to nothing beside.",
    },
    Curve {
        title: "Servers in the cluster",
        what: "chat servers",
        amounts: &[1, 2, 4, 8, 16],
        line: |_| "echo --clients 100 --rate 5000 --route chat.chatHandler.echo".to_owned(),
        system: System::ShaddockNats,
        is_of_servers: true,
        about: "5,000 echoes a second over NATS, to more and more chat servers, each a process of its own. Every server tells every
other that it is alive, so that this part of the cost grows with their number; and fewer echoes share a write.",
    },
];

/// Measures all curves, and writes the page.
pub(crate) fn measure(programs: &Programs, robot: &Robot, file: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut curves = String::new();
    for curve in CURVES {
        println!("{}", curve.title);
        let mut points = Vec::new();
        for &amount in curve.amounts {
            let config = curve.is_of_servers.then(|| Config::new(amount)).transpose()?;
            let folder = config.as_ref().map(|config| &*config.0);
            let running = curve.system.start_with(programs, folder)?;
            let line = robot.timed(&(curve.line)(amount));
            let report = robot
                .run(&line, running.pids())
                .with_context(|| format!("{amount} {}", curve.what))?;
            running.end()?;
            println!("  {amount:>6} {}", results::line(&report));
            points.push((amount, line, report));
        }
        curve.tell(&points, &mut curves);
    }
    let mut page = format!(
        "# How cost grows

Made by `cargo xtask growth`, {} s for each point, in {} minutes, each with servers started anew; clients and servers share the
machine's cores over 127.0.0.1. Nothing was lost, doubled or out of order, or there would be no page. Every load has a rate, so
CPU time for each unit can be compared within a chart, and is more than at full speed, where reads and writes are shared.

",
        robot.seconds,
        minutes(begun.elapsed())
    );
    for line in machine::describe(programs) {
        let _ = writeln!(page, "* {line}");
    }
    page += &curves;
    fs::write(file, page).with_context(|| format!("can't write {}", file.display()))?;
    println!("\n{} has all of it, after {} min", file.display(), minutes(begun.elapsed()));
    Ok(())
}

impl Curve {
    fn tell(&self, points: &[(usize, String, Report)], page: &mut String) {
        let amounts: Vec<_> = self.amounts.iter().map(ToString::to_string).collect();
        let unit = points.first().and_then(|(_, _, report)| report.json["unit"].as_str());
        let unit = unit.unwrap_or("unit");
        let costs: Vec<_> = points.iter().filter_map(|(_, _, report)| report.cpu()).collect();
        let highest = costs.iter().copied().fold(1.0, f64::max).ceil();
        let costs: Vec<_> = costs.iter().map(|cost| format!("{cost:.2}")).collect();
        let _ = writeln!(
            page,
            "
## {}

{}

```mermaid
xychart-beta
  title \"CPU time of the servers, µs for each {unit}\"
  x-axis \"{}\" [{}]
  y-axis \"µs\" 0 --> {highest}
  line [{}]
```

| {} | a second | server CPU, µs | p50 ms | p99 ms | memory, MiB | `shaddock-robot` |
|---|---|---|---|---|---|---|",
            self.title,
            self.about,
            self.what,
            amounts.join(", "),
            costs.join(", "),
            self.what,
        );
        for (amount, line, report) in points {
            let of = |place, times| {
                let number = report.number(place).map(|number| short(number * times));
                number.unwrap_or_default()
            };
            let _ = writeln!(
                page,
                "| {amount} | {} | {} | {} | {} | {} | `{line}` |",
                of("/rate", 1.0),
                of(CPU, 1.0),
                of("/latency_ms/p50", 1.0),
                of(P99, 1.0),
                of(PEAK, 1.0 / 1024.0),
            );
        }
    }
}

/// A folder with the chat's configuration, and so many chat servers in it, until this is dropped.
struct Config(PathBuf);

impl Config {
    fn new(chats: usize) -> anyhow::Result<Config> {
        let folder = std::env::temp_dir().join(format!("shaddock-growth-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let config = Config(folder);
        for (name, text) in chat::CONFIG {
            fs::write(config.0.join(name), text)?;
        }
        let file = config.0.join("servers.json");
        let mut servers: Value = serde_json::from_slice(&fs::read(&file)?)?;
        let chat = |number| json!({ "id": format!("chat-server-{number}"), "host": "127.0.0.1", "port": 6050 + number });
        servers["development"]["chat"] = (1..=chats).map(chat).collect();
        fs::write(file, servers.to_string())?;
        Ok(config)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
