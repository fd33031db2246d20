//! Moments, kept more exactly than by tokio's timers, which know milliseconds.

use tokio::time::Instant;

/// Wakes one waiter at a time.
#[derive(Debug)]
pub(crate) enum Timer {
    /// The kernel's, to some microseconds.
    #[cfg(target_os = "linux")]
    Fine(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>),
    /// Tokio's, to a millisecond: where there is no other, and where time is paused.
    #[cfg(any(test, not(target_os = "linux")))]
    Coarse,
}

impl Timer {
    /// The best there is. Must be called within a runtime.
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> std::io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; what it warns of can't happen to an OwnedFd"
        )]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Self::Fine(timer))
    }

    /// The best there is.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self::Coarse)
    }

    /// Waits until `at`.
    pub(crate) async fn wait(&self, at: Instant) -> std::io::Result<()> {
        match self {
            #[cfg(any(test, not(target_os = "linux")))]
            Self::Coarse => tokio::time::sleep_until(at).await,
            #[cfg(target_os = "linux")]
            Self::Fine(timer) => {
                use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                let spec = Itimerspec {
                    it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                    it_value: left.try_into().map_err(std::io::Error::other)?,
                };
                timerfd_settime(timer, TimerfdTimerFlags::empty(), &spec)?;
                let mut guard = timer.readable().await?;
                rustix::io::read(timer, &mut [0; 8])?;
                guard.clear_ready();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nobody_wakes_too_early() {
        let timer = Timer::new().unwrap();
        for micros in [0, 1, 300, 2_000] {
            let at = Instant::now() + Duration::from_micros(micros);
            timer.wait(at).await.unwrap();
            assert!(at <= Instant::now());
        }
    }
}
