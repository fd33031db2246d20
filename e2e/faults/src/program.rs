//! One process on one host: it can be killed, frozen and started again.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

/// A process, and how to start it. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    command: Command,
    process: Child,
}

impl Program {
    /// Starts it. What it says is added to a file of its name in `logs`.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        logs: &Path,
    ) -> anyhow::Result<Program> {
        let log =
            File::options().create(true).append(true).open(logs.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Program { name, command, process })
    }

    /// As a crash would have it.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again after it was killed.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.process = self.command.spawn()?;
        Ok(())
    }

    /// Lets it stand still, with all its connections open.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let line = format!("kill -{signal} {}", self.process.id());
        ensure!(Command::new("sh").args(["-c", &line]).status()?.success(), "{line}");
        Ok(())
    }

    /// # Errors
    ///
    /// When it has ended by itself.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended by itself: {status}", self.name),
        }
    }

    /// MiB of memory that it holds.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kilobytes.with_context(|| format!("the memory of {} is not known", self.name))? / 1024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
