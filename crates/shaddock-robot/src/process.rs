//! What processes use of the machine, as Linux tells it in /proc.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::time::Duration;

/// CPU time and memory of some processes and all that they have started.
#[derive(Debug)]
pub(crate) struct Processes {
    roots: Vec<u32>,
    /// CPU time of each as it was last seen: what a process used still counts when it has ended.
    seen: HashMap<u32, Duration>,
}

/// What processes have used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Since they began, in user and in system.
    pub(crate) cpu: Duration,
    /// Resident memory, in KiB; shared pages count once for each process.
    pub(crate) rss_kib: u64,
    pub(crate) count: usize,
}

/// No such process, or no /proc.
#[derive(Debug, thiserror::Error)]
#[error("nothing is known of process {pid}: does it run, and on this machine?")]
pub struct ProcessError {
    pid: u32,
    #[source]
    source: io::Error,
}

impl Processes {
    pub(crate) fn new(roots: &[u32]) -> Result<Self, ProcessError> {
        for &pid in roots {
            read(pid).map_err(|source| ProcessError { pid, source })?;
        }
        Ok(Self { roots: roots.to_vec(), seen: HashMap::new() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// What they have used until now.
    pub(crate) fn usage(&mut self) -> Usage {
        if self.is_empty() {
            return Usage::default();
        }
        let running: HashMap<u32, Process> =
            pids().filter_map(|pid| Some((pid, read(pid).ok()?))).collect();
        let mut usage = Usage::default();
        for pid in family(&self.roots, &running) {
            if let Some(process) = running.get(&pid) {
                self.seen.insert(pid, process.cpu);
                usage.count += 1;
                usage.rss_kib += process.rss_kib;
            }
        }
        usage.cpu = self.seen.values().sum();
        usage
    }
}

/// CPU time of this process, all threads.
pub(crate) fn own_cpu() -> Duration {
    read(std::process::id()).map(|process| process.cpu).unwrap_or_default()
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    cpu: Duration,
    rss_kib: u64,
}

/// A tick of the kernel's accounts: on Linux programs are always told of a hundred a second.
const TICK: Duration = Duration::from_millis(10);

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn read(pid: u32) -> io::Result<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse(&stat, &status).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(stat: &str, status: &str) -> Option<Process> {
    // The name before may hold anything, parentheses too. Behind it: state, parent, ...
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
    // A process that has ended and is not waited for has no memory.
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss_kib = rss.and_then(|rss| rss.trim().strip_suffix(" kB")?.parse().ok());
    Some(Process {
        parent: number(1)?,
        cpu: TICK * number(11)?.checked_add(number(12)?)?,
        rss_kib: rss_kib.unwrap_or(0),
    })
}

/// The processes with all their descendants.
fn family(roots: &[u32], running: &HashMap<u32, Process>) -> HashSet<u32> {
    let mut family: HashSet<u32> = roots.iter().copied().collect();
    loop {
        let known = family.len();
        let children = running.iter().filter(|(_, process)| family.contains(&process.parent));
        let children: Vec<u32> = children.map(|(&pid, _)| pid).collect();
        family.extend(children);
        if family.len() == known {
            return family;
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read_whatever_a_process_is_called() {
        let stat = "17 (a) b (c) S 4 17 17 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 9 0 0";
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t1\n";
        let read = Process { parent: 4, cpu: Duration::from_secs(3), rss_kib: 2048 };
        assert_eq!(parse(stat, status), Some(read));
        assert_eq!(parse("17 (a", status), None);
    }

    #[test]
    fn children_of_children_belong_to_the_family() {
        let process = |parent| Process { parent, cpu: TICK, rss_kib: 1 };
        let running =
            HashMap::from([(1, process(0)), (2, process(1)), (3, process(2)), (4, process(0))]);
        assert_eq!(family(&[2], &running), HashSet::from([2, 3]));
        assert_eq!(family(&[1], &running), HashSet::from([1, 2, 3]));
    }

    #[test]
    fn this_process_uses_something() {
        let mut processes = Processes::new(&[std::process::id()]).unwrap();
        let usage = processes.usage();
        assert!(usage.rss_kib > 0 && usage.count > 0, "{usage:?}");
        assert!(Processes::new(&[u32::MAX]).is_err());
    }
}
