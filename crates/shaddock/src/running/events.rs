//! What a server hears of the cluster.

use std::sync::Arc;

use bytes::Bytes;
use shaddock_cluster::{Answer, Event, Peer, Receive};

use super::{Cause, Core, Inbox};
use crate::admin;
use crate::config;
use crate::session::Session;
use crate::session::mailbox::Order;

impl Receive for Inbox {
    fn call(&self, from: &Peer, payload: Bytes, answer: Answer) {
        self.receive(from, payload, Some(answer));
    }

    fn cast(&self, from: &Peer, payload: Bytes) {
        self.receive(from, payload, None);
    }

    fn load(&self) -> Option<u64> {
        self.0.load()
    }

    fn event(&self, event: Event) {
        let core = &self.0;
        match event {
            // Whoever looks after servers is none: nobody's keys move, and nobody is told.
            Event::Joined(member)
            | Event::Changed(member)
            | Event::Left(member)
            | Event::Died(member)
                if member.kind.as_str() == admin::KIND => {}
            Event::Joined(member) => {
                core.handover.meet(&member);
                // What was handed over here while it was away. It enters those who belong here by itself.
                core.channels.lose_frontend(&member.id);
                core.app.saw(&member);
                core.on_owners(&member.kind, Cause::Came);
            }
            Event::Changed(member) => {
                core.handover.on_changed(&member);
                core.on_owners(&member.kind, Cause::Handover);
            }
            Event::Left(member) | Event::Died(member) => {
                core.channels.lose_frontend(&member.id);
                let was_unready = core.handover.forget(member.boot);
                core.on_owners(&member.kind, Cause::Went { member: &member, was_unready });
                core.app.missed(&member);
            }
            Event::Forgotten { by } => core.on_forgotten(&by),
            Event::Missed { from, casts } => core.on_missed(&from, casts),
            Event::LinkLost => tracing::warn!(server = %core.id, "the link to the cluster is down"),
            Event::LinkBack { after } => {
                tracing::info!(server = %core.id, ?after, "the link to the cluster is back")
            }
            // One that is being stopped, and can't be heard by others any more.
            Event::Replaced { .. }
                if !core.app.servers().iter().any(|one| Arc::ptr_eq(&one.0, core)) => {}
            Event::Replaced { .. } => {
                tracing::error!(server = %core.id, "another server has taken this one's name: this one is out of the cluster");
                core.app.stop();
            }
            _ => {}
        }
    }
}

impl Core {
    /// Pushes of `from` to sessions of this front-end got lost.
    fn on_missed(&self, from: &Peer, casts: u64) {
        self.metrics.missed.increment(casts);
        tracing::warn!(server = %self.id, from = %from.id, casts, "messages of another server were lost");
        if self.app.config().cluster.gaps == config::Gaps::Ignore {
            return;
        }
        for record in self.frontend.iter().flat_map(|frontend| frontend.table.all()) {
            let server = self.router.of_session(&from.kind, &Session::here(record.clone()));
            if server.is_ok_and(|server| server == from.id) {
                record.mailbox.order(Order::Kick(None));
            }
        }
    }
}
