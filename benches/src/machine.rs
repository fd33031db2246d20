//! Where it was measured, and with what.

use std::fs;
use std::process::Command;

use crate::system::Programs;

/// The machine and the versions, a line each.
pub(crate) fn describe(programs: &Programs) -> Vec<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<_> = values(&info, "model name").collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = values(&memory, "MemTotal")
        .next()
        .and_then(|total| total.strip_suffix(" kB")?.parse::<u64>().ok());
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = |program: &mut Command| {
        let output = program.output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).lines().next().unwrap_or("of unknown version").to_owned()
    };
    vec![
        format!(
            "{} cores of {}, {} GiB, {}, Linux {}",
            models.len(),
            models.first().unwrap_or(&"an unknown processor"),
            memory.map_or(0, |kib| kib.div_ceil(1024 * 1024)),
            system.map_or("an unknown system", |name| name.trim_matches('"')),
            kernel.trim(),
        ),
        format!(
            "shaddock {}, node {}, pomelo 2.2.7, pinus 1.7.4, {}, {}",
            env!("CARGO_PKG_VERSION"),
            version(Command::new("node").arg("--version")),
            version(Command::new(&programs.broker).arg("--version")),
            version(Command::new("rustc").arg("--version")),
        ),
    ]
}

/// What stands behind `key` and a colon, in each line that begins so.
fn values<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}
