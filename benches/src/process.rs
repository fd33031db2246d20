//! Processes and those that they have started, as `/proc` tells of them.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// `pids` and all that they have started, and so on.
pub(crate) fn tree(pids: &[u32]) -> BTreeSet<u32> {
    let parents: Vec<_> = all().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found: BTreeSet<u32> = pids.iter().copied().collect();
    loop {
        let known = found.len();
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| found.contains(parent))
                .map(|(pid, _)| pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == known {
            return found;
        }
    }
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// What processes hold, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Pages that several share, once for each.
    pub(crate) resident: f64,
    /// Pages that several share, divided among them.
    pub(crate) proportional: f64,
}

/// What `pids` hold together.
pub(crate) fn memory(pids: &BTreeSet<u32>) -> anyhow::Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("the memory of process {pid}"))?;
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        };
        sum.resident += value("Rss:").context("no Rss")? / 1024.0;
        sum.proportional += value("Pss:").context("no Pss")? / 1024.0;
    }
    Ok(sum)
}

/// What the machine's processors did so far, all together.
pub(crate) fn busy() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks = numbers(line.split_whitespace().skip(1));
    let [user, nice, system, _idle, _wait, irq, softirq, steal, ..] = ticks[..] else {
        bail!("/proc/stat has changed");
    };
    Ok(from_ticks(user + nice + system + irq + softirq + steal))
}

/// What `pids` did so far, and what the children of this process did that have ended.
pub(crate) fn used(pids: &BTreeSet<u32>) -> anyhow::Result<Duration> {
    // After the name, which is in brackets: utime, stime, cutime and cstime are fields 14 to 17.
    let ticks = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = text.rsplit_once(')')?;
        let fields = numbers(fields.split_whitespace().skip(12).take(4));
        <[u64; 4]>::try_from(fields).ok()
    };
    let [_, _, user, system] = ticks("self").context("/proc/self/stat has changed")?;
    let servers = pids.iter().filter_map(|pid| ticks(&pid.to_string()));
    Ok(from_ticks(user + system + servers.map(|[user, system, ..]| user + system).sum::<u64>()))
}

fn numbers<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u64> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// A tick is 10 ms wherever Linux runs today.
fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(10 * ticks)
}

/// Sends `signal` to all that are still there.
pub(crate) fn signal(signal: &str, pids: &BTreeSet<u32>) {
    let pids = pids.iter().map(u32::to_string);
    // Who has gone meanwhile is no reason to complain.
    let _ =
        Command::new("kill").arg(format!("-{signal}")).args(pids).stderr(Stdio::null()).status();
}
