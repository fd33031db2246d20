//! Doing on this thread what would else wake a task.
//!
//! A message between two servers of one process wakes the loop of its receiver, which wakes the task of a handler, whose
//! answer wakes the loop of the sender, which wakes a connection: each on whatever thread is free. A connection does all
//! of that in its own turn, one after the other: 15 % less CPU for an echo through a chat server, with two threads.
//!
//! What was left here wakes nobody, so nothing of it may wait for code that we do not know: see [`aside`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How much may be left in one turn. What comes after that wakes its task.
const LIMIT: usize = 64;

type Work = Box<dyn FnOnce()>;

struct Trampoline {
    /// Kept from turn to turn, with its memory.
    waiting: VecDeque<Work>,
    last: Option<Work>,
    /// Nothing while nobody is there to do what is left.
    turn: Option<Turn>,
    /// Whether a task was woken since the turn began.
    woke: bool,
}

#[derive(Clone, Copy)]
struct Turn {
    whose: u64,
    /// How much more may be left.
    room: usize,
}

thread_local! {
    static HERE: RefCell<Trampoline> =
        const { RefCell::new(Trampoline { waiting: VecDeque::new(), last: None, turn: None, woke: false }) };
}

/// Runs `begin` in the turn of `whose`, which may be any number, then whatever was left on this thread meanwhile, and
/// what that leaves.
///
/// To be called where nothing is locked.
pub fn run<T>(whose: u64, begin: impl FnOnce() -> T) -> T {
    let _before = Before(here(|here| {
        here.woke = false;
        here.turn.replace(Turn { whose, room: LIMIT })
    }));
    let _rest = Rest;
    begin()
}

/// Leaves something short to be done at the end of this turn.
///
/// # Errors
///
/// Gives `what` back if nobody would do it, or enough was left.
pub fn leave<T: 'static>(what: T, work: fn(T)) -> Result<(), T> {
    here(|here| match &mut here.turn {
        Some(turn) if 0 < turn.room => {
            turn.room -= 1;
            here.waiting.push_back(Box::new(move || work(what)));
            Ok(())
        }
        _ => Err(what),
    })
}

/// Leaves something of `whose` that may take long, to be done after all else.
///
/// # Errors
///
/// Gives `what` back if this is not the turn of `whose`, who alone may be held up by it, or something waits already: it
/// would wait for that.
pub fn leave_last<T: 'static>(whose: u64, what: T, work: fn(T)) -> Result<(), T> {
    here(|here| {
        if here.last.is_some() || here.turn.is_none_or(|turn| turn.whose != whose) {
            return Err(what);
        }
        here.last = Some(Box::new(move || work(what)));
        Ok(())
    })
}

/// Says that a task is being woken, or spawned, on this thread: see [`aside`].
pub fn woke() {
    here(|here| here.woke = true);
}

/// Runs code that may take any time: what was left is done before it, and it leaves nothing itself.
///
/// `spawn`, which spawns a task of any kind, is called before it if one was woken in this turn: tokio keeps the last one
/// for the thread that woke it, where no other finds it as long as this code runs, unless another comes in its place.
///
/// To be called where nothing is locked.
pub fn aside<T>(spawn: impl FnOnce(), code: impl FnOnce() -> T) -> T {
    drop(Rest);
    let before = Before(here(|here| here.turn.take()));
    if before.0.is_some() && here(|here| here.woke) {
        spawn();
        here(|here| here.woke = false);
    }
    code()
}

fn here<T>(with: impl FnOnce(&mut Trampoline) -> T) -> T {
    HERE.with_borrow_mut(with)
}

/// Whose turn it was before, and is again.
struct Before(Option<Turn>);

impl Drop for Before {
    fn drop(&mut self) {
        here(|here| here.turn = self.0);
    }
}

/// What was left: done when this is dropped, also because of a panic, and whatever panics of it.
struct Rest;

impl Drop for Rest {
    fn drop(&mut self) {
        while let Some(work) = here(|here| here.waiting.pop_front().or_else(|| here.last.take())) {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("something that was left on a thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use super::*;

    const ME: u64 = 1;

    /// What was done, in order.
    type Log = Rc<RefCell<Vec<&'static str>>>;

    fn nothing() {}

    fn note((log, what): (Log, &'static str)) {
        log.borrow_mut().push(what);
    }

    #[test]
    fn what_is_left_is_done_at_the_end_of_the_turn_and_what_may_take_long_after_the_rest() {
        let log = Log::default();
        run(ME, || {
            leave_last(ME, (log.clone(), "long"), note).unwrap();
            leave((log.clone(), "first"), |(log, what)| {
                leave((log.clone(), "third"), note).unwrap();
                note((log, what));
            })
            .unwrap();
            leave((log.clone(), "second"), note).unwrap();
            note((log.clone(), "turn"));
        });
        assert_eq!(*log.borrow(), ["turn", "first", "second", "third", "long"]);
    }

    #[test]
    fn nothing_is_left_where_nobody_would_do_it() {
        assert_eq!(leave(1, drop), Err(1));
        run(ME, || {
            aside(nothing, || {
                assert_eq!((leave(1, drop), leave_last(ME, 2, drop)), (Err(1), Err(2)))
            });
            assert_eq!((leave(1, drop), leave_last(ME, 2, drop)), (Ok(()), Ok(())));
            assert_eq!(leave_last(ME, 3, drop), Err(3), "it would wait for what is left");
        });
        assert_eq!(leave_last(ME, 1, drop), Err(1));
    }

    #[test]
    fn what_may_take_long_is_done_in_its_own_turn() {
        run(ME, || {
            run(2, || assert_eq!((leave_last(ME, 1, drop), leave(2, drop)), (Err(1), Ok(()))));
            assert_eq!((leave_last(2, 3, drop), leave_last(ME, 4, drop)), (Err(3), Ok(())));
        });
    }

    #[test]
    fn a_turn_has_an_end() {
        let done = Rc::new(Cell::new(0));
        fn again(done: Rc<Cell<usize>>) {
            done.set(done.get() + 1);
            if let Err(done) = leave(done, again) {
                done.set(done.get() + 1000);
            }
        }
        run(ME, || leave(done.clone(), again)).unwrap();
        assert_eq!(done.get(), LIMIT + 1000);
    }

    #[test]
    fn a_task_that_was_woken_does_not_wait_for_unknown_code() {
        let log = Log::default();
        let spawn = || note((log.clone(), "spawn"));
        let code = || note((log.clone(), "code"));
        woke();
        run(ME, || {
            aside(spawn, code);
            leave((), |()| woke()).unwrap();
            aside(spawn, code);
            aside(spawn, woke);
            aside(spawn, code);
        });
        assert_eq!(*log.borrow(), ["code", "spawn", "code", "spawn", "code"]);
    }

    #[test]
    fn what_was_left_does_not_wait_for_unknown_code_nor_for_what_panics() {
        let log = Log::default();
        run(ME, || {
            leave((), |()| panic!("of the test")).unwrap();
            leave((log.clone(), "left"), note).unwrap();
            leave_last(ME, (log.clone(), "long"), note).unwrap();
            aside(nothing, || note((log.clone(), "aside")));
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            run(ME, || {
                leave((log.clone(), "panic"), note).unwrap();
                panic!("of the test");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(*log.borrow(), ["left", "long", "aside", "panic"]);
        assert_eq!(leave(1, drop), Err(1));
    }
}
