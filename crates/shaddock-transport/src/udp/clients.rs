//! The addresses that are known, and what came from each.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::UdpLosses;

/// The addresses that have a wire.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_address: HashMap<SocketAddr, Arc<Client>>,
    /// Those whose address may be forged, oldest first, by their numbers.
    unproven: BTreeMap<u64, SocketAddr>,
    next: u64,
}

/// An address that has a wire.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    number: u64,
    /// Something was sent to it, so what comes from now on may be an answer.
    answered: AtomicBool,
    inbox: Mutex<Inbox>,
}

/// What came and was not received yet. Holds nothing while it is empty.
#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<Bytes>,
    /// What they take up.
    size: usize,
    waker: Option<Waker>,
    forgotten: bool,
}

/// As much as an inbox holds. What comes when it is full is dropped, as the network might have.
const INBOX: usize = 128 * 1024;

/// What a datagram takes up beside its bytes, so that small ones count too.
const OVERHEAD: usize = 64;

impl Clients {
    /// Puts a datagram into the inbox of the one it came from, who is given back if it is somebody new.
    pub(super) fn take(
        &self,
        peer: SocketAddr,
        datagram: Bytes,
        most_unproven: usize,
        losses: &UdpLosses,
    ) -> Option<Arc<Client>> {
        let mut known = self.lock();
        if let Some(client) = known.by_address.get(&peer).cloned() {
            if client.answered.load(Ordering::Relaxed) {
                known.unproven.remove(&client.number);
            }
            drop(known);
            if !client.put(datagram) {
                losses.unread.fetch_add(1, Ordering::Relaxed);
            }
            return None;
        }
        while most_unproven.max(1) <= known.unproven.len() {
            let oldest = known.unproven.pop_first();
            if let Some(client) = oldest.and_then(|(_, peer)| known.by_address.remove(&peer)) {
                client.forget();
            }
        }
        let number = known.next;
        known.next += 1;
        let client = Arc::new(Client {
            address: peer,
            number,
            answered: AtomicBool::new(false),
            inbox: Mutex::default(),
        });
        client.put(datagram);
        known.by_address.insert(peer, client.clone());
        known.unproven.insert(number, peer);
        Some(client)
    }

    /// Forgets an address, unless it is somebody else's by now.
    pub(super) fn remove(&self, client: &Client) {
        let mut known = self.lock();
        known.unproven.remove(&client.number);
        let current = known.by_address.get(&client.address);
        if current.is_some_and(|current| current.number == client.number) {
            known.by_address.remove(&client.address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Says that something was sent to it.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// What came next; `None` when the address was forgotten and nothing is left.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut inbox = self.inbox();
        if let Some(datagram) = inbox.waiting.pop_front() {
            inbox.size -= datagram.len() + OVERHEAD;
            if inbox.waiting.is_empty() {
                inbox.waiting = VecDeque::new();
            }
            return Poll::Ready(Some(datagram));
        }
        if inbox.forgotten {
            return Poll::Ready(None);
        }
        match &mut inbox.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => inbox.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Puts a datagram into the inbox, if there is room.
    fn put(&self, datagram: Bytes) -> bool {
        let mut inbox = self.inbox();
        let size = inbox.size + datagram.len() + OVERHEAD;
        if INBOX < size {
            return false;
        }
        inbox.size = size;
        inbox.waiting.push_back(datagram);
        inbox.wake();
        true
    }

    fn forget(&self) {
        let mut inbox = self.inbox();
        inbox.forgotten = true;
        inbox.wake();
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
