//! Instructions, counted by valgrind: nearly the same on any machine, however busy it is.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::Command;
use std::{env, fs};

use crate::paths::{PATHS, Path};

/// How many instructions each path takes: what was counted when the file was last renewed.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/hot/instructions.json");

/// How much more than in the file is too much, in percent; as much less is worth a note. Compilers and processors
/// differ by a few.
const MARGIN: f64 = 25.0;

type Counts = BTreeMap<String, u64>;

/// Counts, and compares with the file.
pub(crate) fn compare() -> Result<(), Box<dyn Error>> {
    let known = known()?;
    let mut more = Vec::new();
    println!("{:28} {:>12} {:>12} {:>9}", "instructions", "now", "in the file", "change");
    for path in PATHS {
        let count = count(path)?;
        let known = *known.get(path.name).ok_or_else(|| {
            format!("{FILE} has nothing about {}: `cargo xtask hot --renew`", path.name)
        })?;
        let change = (count as f64 / known as f64 - 1.0) * 100.0;
        println!("{:28} {count:>12} {known:>12} {change:>+7.1} %", path.name);
        if MARGIN < change {
            more.push(path.name);
        } else if change < -MARGIN {
            println!("  that is much less: `cargo xtask hot --renew` keeps it so");
        }
    }
    if more.is_empty() {
        return Ok(());
    }
    let more = more.join("; ");
    Err(format!(
        "{MARGIN} % more instructions than in {FILE}, or worse: {more}. \
         Where they go: callgrind_annotate {DUMPS}/*. If that is what it takes: `cargo xtask hot --renew`"
    )
    .into())
}

/// Counts, and writes the file anew.
pub(crate) fn renew() -> Result<(), Box<dyn Error>> {
    let mut counts = Counts::new();
    for path in PATHS {
        let count = count(path)?;
        println!("{:28} {count:>12}", path.name);
        counts.insert(path.name.to_owned(), count);
    }
    fs::write(FILE, format!("{}\n", serde_json::to_string_pretty(&counts)?))?;
    Ok(())
}

/// What is in the file.
fn known() -> Result<Counts, Box<dyn Error>> {
    let unread = |why: &dyn Error| {
        format!("{FILE} can't be read: {why}. `cargo xtask hot --renew` writes it anew")
    };
    let text = fs::read(FILE).map_err(|error| unread(&error))?;
    Ok(serde_json::from_slice(&text).map_err(|error| unread(&error))?)
}

/// Goes a path, so that another process can count.
pub(crate) fn go(name: &str, rounds: &str) -> Result<(), Box<dyn Error>> {
    let path = PATHS.iter().find(|path| path.name == name).ok_or("no path has this name")?;
    (path.ready)()(rounds.parse()?);
    Ok(())
}

/// Where valgrind writes down what each function took.
const DUMPS: &str = env!("CARGO_TARGET_TMPDIR");

/// How many instructions it takes, without what it takes to get ready.
fn count(path: &Path) -> Result<u64, Box<dyn Error>> {
    let once = total(path, path.rounds)?;
    let twice = total(path, 2 * path.rounds)?;
    Ok((twice - once) / (path.rounds * path.each))
}

/// How many instructions a process takes that gets ready and goes that many rounds.
fn total(path: &Path, rounds: u64) -> Result<u64, Box<dyn Error>> {
    let dump = format!("{DUMPS}/{} x {rounds}.callgrind", path.name);
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={dump}")])
        .arg(env::current_exe()?)
        .args(["go", path.name, &rounds.to_string()])
        .status()
        .map_err(|error| format!("valgrind can't be run: {error}"))?;
    if !status.success() {
        return Err(format!("{} under valgrind: {status}", path.name).into());
    }
    let dump = fs::read_to_string(&dump)?;
    let total = dump.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("valgrind tells no total")?.parse()?)
}
