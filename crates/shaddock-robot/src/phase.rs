//! What all threads do at the same time.

use tokio::sync::watch;
use tokio::time::Instant;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    /// Clients log in.
    Entering,
    /// They work, from this moment on.
    Running(Instant),
    /// They say nothing any more, and wait for what is under way.
    Draining,
    /// They leave.
    Over,
}

/// One's view of how far a run is.
#[derive(Debug, Clone)]
pub(crate) struct Phases(watch::Receiver<Phase>);

impl Phases {
    pub(crate) fn new(first: Phase) -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(first);
        (sender, Self(receiver))
    }

    /// The moment of the start, once that is known; none if there will be no start.
    pub(crate) async fn started(&self) -> Option<Instant> {
        self.reach(|phase| !matches!(phase, Phase::Entering)).await;
        match *self.0.borrow() {
            Phase::Running(start) => Some(start),
            _ => None,
        }
    }

    /// When nothing more is to be said.
    pub(crate) async fn draining(&self) {
        self.reach(|phase| matches!(phase, Phase::Draining | Phase::Over)).await;
    }

    /// When it is time to leave.
    pub(crate) async fn over(&self) {
        self.reach(|phase| matches!(phase, Phase::Over)).await;
    }

    /// Whether it is not yet over with talking.
    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.0.borrow(), Phase::Running(_))
    }

    async fn reach(&self, wanted: impl Fn(&Phase) -> bool) {
        // Who led the run is gone: that is as good as its end.
        let _ = self.0.clone().wait_for(wanted).await;
    }
}
