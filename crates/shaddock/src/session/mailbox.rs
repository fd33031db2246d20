//! What others leave for the task of a connection: frames for the client, orders for the task.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use shaddock_cluster::trampoline;

use super::Moved;

/// Something the task of a connection is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Close, after a kick package with this reason if there is one.
    Kick(Option<String>),
    /// Find out whether the uid is still the session's.
    Confirm,
    /// Run the hook of a key that has another owner now, before any further message.
    Moved(Moved),
}

/// What a mailbox holds at most: beyond it the client is closed, for it does not read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// Frames for one client, in order, within bounds, and orders for its task.
///
/// Whoever posts never waits. An empty mailbox holds no memory beyond itself.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Whether a visit may bring anything. Written under the lock, read without it, for most visits are in vain: a
    /// copy of a push takes 3,405 instructions instead of 3,677.
    filled: AtomicBool,
    waker: AtomicWaker,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    orders: Vec<Order>,
    shut: Option<Shut>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shut {
    Overflow,
    Closed,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// It was one too many: the client is being closed for not reading.
    Full,
    /// The connection has ended, or is about to.
    Closed,
}

/// What a visit to the mailbox brought.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) orders: Vec<Order>,
    /// Frames remain, for the next visit.
    pub(crate) more: bool,
    /// Something was refused for want of room.
    pub(crate) overflow: bool,
}

impl Mailbox {
    pub(crate) fn new(bounds: Bounds) -> Mailbox {
        Mailbox {
            state: Mutex::default(),
            filled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            bounds,
        }
    }

    /// Leaves a frame for the client.
    pub(crate) fn post(&self, frame: Bytes) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.shut.is_some() {
            return Err(Refused::Closed);
        }
        // One frame alone may have any length: its client does read, for all we know.
        let too_many = self.bounds.frames <= state.frames.len();
        let too_long = !state.frames.is_empty() && self.bounds.bytes < state.bytes + frame.len();
        let full = too_many || too_long;
        if full {
            state.shut = Some(Shut::Overflow);
            state.frames = VecDeque::new();
            state.bytes = 0;
        } else {
            state.bytes += frame.len();
            state.frames.push_back(frame);
            // Whoever posted the first one has woken the task already.
            if 1 < state.frames.len() {
                return Ok(());
            }
        }
        self.filled.store(true, Ordering::Release);
        drop(state);
        self.wake();
        if full { Err(Refused::Full) } else { Ok(()) }
    }

    /// Tells the task to do something.
    pub(crate) fn order(&self, order: Order) {
        let mut state = self.lock();
        state.orders.push(order);
        self.filled.store(true, Ordering::Release);
        drop(state);
        self.wake();
    }

    /// Whether the task has something to do that it does not know of.
    pub(crate) fn has_orders(&self) -> bool {
        self.filled.load(Ordering::Acquire) && !self.lock().orders.is_empty()
    }

    /// Wakes the task, to look again at what it waits for.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            trampoline::woke();
            waker.wake();
        }
    }

    /// Nobody is woken until the next [`register`](Mailbox::register), for the task is at work.
    pub(crate) fn attend(&self) {
        drop(self.waker.take());
    }

    /// Who is to be woken when something is left from now on. What was left before wakes nobody:
    /// look once more after this.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Hands frames to `send` until there are no more, or they have `room` bytes together. The last
    /// one may be longer than what was left of that.
    pub(crate) fn collect(&self, room: usize, mut send: impl FnMut(&Bytes)) -> Collected {
        if !self.filled.load(Ordering::Acquire) {
            return Collected::default();
        }
        let mut state = self.lock();
        let mut sent = 0;
        while sent < room
            && let Some(frame) = state.frames.pop_front()
        {
            state.bytes -= frame.len();
            sent += frame.len();
            send(&frame);
        }
        let collected = Collected {
            orders: std::mem::take(&mut state.orders),
            more: !state.frames.is_empty(),
            overflow: state.shut == Some(Shut::Overflow),
        };
        self.filled.store(collected.more || collected.overflow, Ordering::Release);
        collected
    }

    /// How many frames are left, and their bytes.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.frames.len(), state.bytes)
    }

    /// Gives back what the queue has grown by, if nothing is in it.
    pub(crate) fn shrink(&self) {
        let mut state = self.lock();
        if state.frames.is_empty() {
            state.frames = VecDeque::new();
        }
    }

    /// Takes nothing more. What is there may still be collected.
    pub(crate) fn close(&self) {
        self.lock().shut.get_or_insert(Shut::Closed);
    }

    /// Takes nothing more, and gives up what is there: nobody is left to read it.
    pub(crate) fn discard(&self) {
        let mut state = self.lock();
        state.shut.get_or_insert(Shut::Closed);
        state.frames = VecDeque::new();
        state.bytes = 0;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Poll;

    use super::*;

    fn collect(mailbox: &Mailbox) -> (Vec<Bytes>, Collected) {
        let mut frames = Vec::new();
        let collected = mailbox.collect(usize::MAX, |frame| frames.push(frame.clone()));
        (frames, collected)
    }

    #[test]
    fn frames_come_out_in_order() {
        let mailbox = Mailbox::new(Bounds { frames: 4, bytes: 100 });
        for frame in ["a", "b", "c"] {
            mailbox.post(Bytes::from_static(frame.as_bytes())).unwrap();
        }
        let (frames, collected) = collect(&mailbox);
        assert_eq!(frames, ["a", "b", "c"]);
        assert!(!collected.more && !collected.overflow);
    }

    #[test]
    fn one_frame_too_many_ends_it() {
        let mailbox = Mailbox::new(Bounds { frames: 1, bytes: 100 });
        mailbox.post(Bytes::from_static(b"a")).unwrap();
        assert_eq!(mailbox.post(Bytes::from_static(b"b")), Err(Refused::Full));
        assert_eq!(mailbox.post(Bytes::from_static(b"c")), Err(Refused::Closed));
        assert!(collect(&mailbox).1.overflow);
        assert!(collect(&mailbox).1.overflow, "it is told to whoever comes later");
    }

    #[test]
    fn one_byte_too_many_ends_it() {
        let mailbox = Mailbox::new(Bounds { frames: 9, bytes: 3 });
        mailbox.post(Bytes::from_static(b"abc")).unwrap();
        assert_eq!(mailbox.post(Bytes::from_static(b"d")), Err(Refused::Full));
    }

    #[test]
    fn what_there_was_no_room_for_comes_with_the_next_visit() {
        let mailbox = Mailbox::new(Bounds { frames: 9, bytes: 100 });
        for frame in ["abc", "d"] {
            mailbox.post(Bytes::from_static(frame.as_bytes())).unwrap();
        }
        let mut sent = Vec::new();
        for more in [true, false, false] {
            let collected = mailbox.collect(3, |frame| sent.push(frame.clone()));
            assert_eq!(collected.more, more);
        }
        assert_eq!(sent, ["abc", "d"]);
    }

    #[test]
    fn an_order_is_found_after_visits_in_vain() {
        let mailbox = Mailbox::new(Bounds { frames: 9, bytes: 100 });
        assert!(collect(&mailbox).1.orders.is_empty());
        mailbox.order(Order::Confirm);
        assert!(matches!(*collect(&mailbox).1.orders, [Order::Confirm]));
        assert!(collect(&mailbox).1.orders.is_empty());
    }

    #[test]
    fn a_task_at_work_is_not_woken_and_finds_what_was_left_when_it_registers() {
        let mailbox = Mailbox::new(Bounds { frames: 9, bytes: 100 });
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        mailbox.register(&waker);
        mailbox.attend();
        mailbox.post(Bytes::from_static(b"a")).unwrap();
        mailbox.register(&waker);
        assert_eq!(collect(&mailbox).0, ["a"]);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        mailbox.post(Bytes::from_static(b"b")).unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Each frame is posted when the one before it was found, so that any lost one ends it for ever.
    #[test]
    fn no_frame_is_lost_between_a_look_and_a_wait() {
        const FRAMES: usize = 5_000;
        let mailbox = Mailbox::new(Bounds { frames: 1, bytes: 100 });
        let found = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for posted in 0..FRAMES {
                    while found.load(Ordering::SeqCst) < posted {
                        std::thread::yield_now();
                    }
                    mailbox.post(Bytes::from_static(b"a")).unwrap();
                }
            });
            let look = || {
                let _ = mailbox.collect(usize::MAX, |_| {
                    found.fetch_add(1, Ordering::SeqCst);
                });
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(poll_fn(|cx| {
                mailbox.attend();
                look();
                mailbox.register(cx.waker());
                look();
                if found.load(Ordering::SeqCst) < FRAMES { Poll::Pending } else { Poll::Ready(()) }
            }));
        });
    }
}
