//! What arrives while keys are handed over, and what belongs to others: it waits, or goes on to them.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use shaddock_cluster::{Answer, Boot, Peer};

use crate::error::{Fault, Result};
use crate::ids::ServerId;
use crate::rpc::envelope::{self, Ask, Method, Tell};
use crate::rpc::forward::Forward;
use crate::running::{Core, Inbox, reply};

/// How many messages may wait for a hand-over; more are refused.
const HELD: usize = 65_536;
/// How many bytes they may have together.
const HELD_BYTES: usize = 64 * 1024 * 1024;

/// How many of them go on at once, so that others get their turn, and queues are emptied meanwhile.
const PORTION: usize = 256;
/// How often a message is passed on. Who gets it after that handles it: servers may not agree while some are cut off.
const PASSES: u8 = 4;

/// What becomes of messages that belong to a key. By default they are handled here.
#[derive(Default)]
pub(super) struct Keyed {
    /// Where they wait, as long as it is not known where they go.
    pub(super) held: Option<Waiting>,
    /// The runs of servers that they go on to if these own their keys, until all know that these have arrived. If this
    /// one is among them it leaves, and they go on to whoever owns their keys.
    pub(super) passed_to: BTreeSet<Boot>,
}

/// What waits for the end of a hand-over.
#[derive(Default)]
pub(super) struct Waiting {
    messages: VecDeque<Held>,
    bytes: usize,
}

/// Something that arrived.
pub(super) struct Held {
    from: Peer,
    payload: Bytes,
    answer: Option<Answer>,
}

impl Inbox {
    /// Takes a message in: here, later, or on another server.
    pub(crate) fn receive(&self, from: &Peer, payload: Bytes, answer: Option<Answer>) {
        if self.0.definition.on_handover.is_none() {
            return self.dispatch(from, payload, answer);
        }
        // Kept while it is dispatched, so that nothing slips in behind the one who holds.
        let mut keyed = self.0.handover.keyed();
        let is_for_all = || {
            // What is being handled here may ask for more of itself.
            from.id == self.0.id || !is_keyed(&payload, answer.is_some())
        };
        if (keyed.held.is_none() && keyed.passed_to.is_empty()) || is_for_all() {
            return self.dispatch(from, payload, answer);
        }
        let message = Held { from: from.clone(), payload, answer };
        match &mut keyed.held {
            Some(waiting) => self.0.hold(waiting, message),
            None => self.place(&keyed.passed_to, message),
        }
    }

    /// Handles or passes on some of those that are held, and after the last of them holds no more. Says whether that was
    /// so.
    pub(super) fn place_held(&self) -> bool {
        // Kept meanwhile, so that nothing that arrives gets before them.
        let mut keyed = self.0.handover.keyed();
        let Keyed { held, passed_to } = &mut *keyed;
        let Some(waiting) = held else { return true };
        let is_last = waiting.messages.len() <= PORTION;
        let portion = waiting.messages.len().min(PORTION);
        for message in waiting.messages.drain(..portion) {
            waiting.bytes -= message.payload.len();
            self.place(passed_to, message);
        }
        if is_last {
            *held = None;
        }
        is_last
    }

    /// Handles a message that belongs to a key, or passes it on if its key belongs to one of these.
    fn place(&self, passed_to: &BTreeSet<Boot>, held: Held) {
        let core = &self.0;
        let readdressed = if passed_to.is_empty() { Ok(None) } else { core.readdress(&held) };
        match readdressed {
            // The owner gives the key to this one, or is none that it was handed over to.
            Ok(Some((owner, payload)))
                if owner != held.from.id && core.is_passed_to(passed_to, &owner) =>
            {
                core.pass_on(&owner, &payload, held.answer);
            }
            Ok(_) => self.dispatch(&held.from, held.payload, held.answer),
            Err(fault) => match held.answer {
                Some(answer) => reply(answer, Err(fault)),
                None => {
                    tracing::warn!(server = %core.id, from = %held.from.id, %fault, "a one-way call was not passed on")
                }
            },
        }
    }
}

impl Core {
    /// Lets a message wait, or refuses it. Dropping its answer tells whoever asked.
    fn hold(&self, waiting: &mut Waiting, message: Held) {
        let bytes = waiting.bytes.saturating_add(message.payload.len());
        if HELD <= waiting.messages.len() || HELD_BYTES < bytes {
            self.metrics.lane_overflows.increment(1);
            if self.seldom.now() {
                tracing::warn!(server = %self.id, "too much waits for a hand-over: messages are refused");
            }
            return;
        }
        waiting.bytes = bytes;
        waiting.messages.push_back(message);
    }

    /// Whether what belongs to `owner` goes on to it.
    fn is_passed_to(&self, passed_to: &BTreeSet<Boot>, owner: &ServerId) -> bool {
        let owner = || self.router.caller().node().members().get(owner);
        passed_to.contains(&self.boot())
            || owner().is_some_and(|owner| passed_to.contains(&owner.boot))
    }

    /// Which other server is to have a message now, and what to send there.
    fn readdress(&self, held: &Held) -> Result<Option<(ServerId, Bytes)>> {
        let other = |owner: ServerId| Some(owner).filter(|owner| *owner != self.id);
        let of_method = |method: &Method<'_>| {
            self.router.of_key(&self.kind, method.key.unwrap_or_default()).map(other)
        };
        if held.answer.is_none() {
            let Tell::Remote(method) = envelope::unpack(&held.payload)? else {
                return Err(Fault::internal("a push belongs to no key"));
            };
            let Some(owner) = of_method(&method)? else { return Ok(None) };
            return Ok(Some((owner, envelope::pack(&Tell::Remote(method.passed_on()))?)));
        }
        match Ask::unpack(&held.payload)? {
            Ask::Forward(forward) => {
                let session = self.far_session(&held.from.id, &forward)?;
                let owner = self.router.of_session(&self.kind, &session)?;
                let Some(owner) = other(owner) else { return Ok(None) };
                let origin = forward.origin.or(Some(held.from.id.as_str()));
                let passed = forward.passed.saturating_add(1);
                let forward = Forward { origin, passed, ..forward };
                Ok(Some((owner, Ask::Forward(forward).pack()?)))
            }
            Ask::Remote(method) => {
                let Some(owner) = of_method(&method)? else { return Ok(None) };
                Ok(Some((owner, Ask::Remote(method.passed_on()).pack()?)))
            }
        }
    }

    /// Sends a message to another server, and the answer back.
    fn pass_on(&self, owner: &ServerId, payload: &Bytes, answer: Option<Answer>) {
        let node = self.router.caller().node();
        let Some(answer) = answer else {
            if let Err(error) = node.cast(owner, payload) {
                tracing::warn!(server = %self.id, %error, "a one-way call was not passed on");
            }
            return;
        };
        let (deadline, under_way) = (answer.deadline(), self.work.under_way());
        node.call_then(owner, payload, deadline, move |result| {
            match result {
                // As it is: it was packed for whoever asked.
                Ok(packed) => {
                    if let Err(error) = answer.send(packed) {
                        tracing::warn!(%error, "an answer was not passed on");
                    }
                }
                Err(error) => reply(answer, Err(error.into())),
            }
            drop(under_way);
        });
    }
}

impl Method<'_> {
    fn passed_on(self) -> Self {
        Method { passed: self.passed.saturating_add(1), ..self }
    }
}

/// Whether a message is for whoever owns a key, and was not passed on too often already.
fn is_keyed(payload: &[u8], asks: bool) -> bool {
    let method = match asks {
        true => match Ask::unpack(payload) {
            Ok(Ask::Forward(forward)) => return forward.passed < PASSES,
            Ok(Ask::Remote(method)) => method,
            Err(_) => return false,
        },
        false => match envelope::unpack(payload) {
            Ok(Tell::Remote(method)) => method,
            _ => return false,
        },
    };
    method.key.is_some() && method.passed < PASSES
}
