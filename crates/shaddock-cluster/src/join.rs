//! Entering the cluster: listen, ask who is there, tell them, wait until they know.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::{Back, BoxFuture, Delivery, Pattern, Subscription};
use crate::error::JoinError;
use crate::ids::ServerId;
use crate::inner::Inner;
use crate::receive::Receive;
use crate::roster::{Beat, Who};
use crate::run::Run;
use crate::task;

/// Enough for the beats of every server there is.
const ROLL_CALL_QUEUE: usize = 4096;

pub(crate) async fn join(
    inner: &Arc<Inner>,
    receiver: Arc<dyn Receive>,
    spawn: impl FnOnce(BoxFuture<'static, ()>),
) -> Result<(), JoinError> {
    // Asked before we listen ourselves: the engine says at once that nobody does.
    let is_alone = !is_anybody_there(inner).await?;
    // Before the roll call, so that whoever leaves after it has answered is heard.
    let feed = inner.engine.subscribe(inner.subjects.patterns(), inner.queue).await?;
    let beats = if is_alone { FxHashMap::default() } else { roll_call(inner).await? };
    if beats.contains_key(&inner.own.id) {
        return Err(JoinError::Taken { id: inner.own.id.clone() });
    }
    let (known, all_know) = oneshot::channel();
    let run = Run::new(Arc::clone(inner), receiver, feed, beats, known);
    spawn(Box::pin(task::run(run)));
    inner.announce();
    // One who does not greet back has gone meanwhile, or is slow: the next beat will do.
    let _ = timeout(inner.timings.roll_call, all_know).await;
    Ok(())
}

/// Asks who is there, and returns when the first has answered, or time is up.
async fn is_anybody_there(inner: &Inner) -> Result<bool, JoinError> {
    let mut answers = ask_who(inner).await?;
    let first = timeout(inner.timings.roll_call, answers.recv()).await;
    Ok(matches!(first, Ok(Some(Delivery::Message { .. }))))
}

/// Asks who is there, and returns when as many answered as there should be, or time is up.
async fn roll_call(inner: &Inner) -> Result<FxHashMap<ServerId, Beat>, JoinError> {
    let mut answers = ask_who(inner).await?;
    let mut beats: FxHashMap<ServerId, Beat> = FxHashMap::default();
    let mut expected = 1;
    let end = Instant::now() + inner.timings.roll_call;
    while beats.len() < expected {
        // Out of time, out of engine, or nobody there: whoever answered, answered.
        let Ok(Some(Delivery::Message { payload, .. })) = timeout_at(end, answers.recv()).await
        else {
            break;
        };
        let Ok(beat) = rmp_serde::from_slice::<Beat>(&payload) else {
            continue;
        };
        expected = expected.max(usize::try_from(beat.well).unwrap_or(usize::MAX));
        beats.insert(beat.id.clone(), beat);
    }
    Ok(beats)
}

async fn ask_who(inner: &Inner) -> Result<Subscription, JoinError> {
    let inbox = &inner.subjects.joining;
    let patterns = vec![Pattern::Exactly(inbox.clone()), Pattern::Below(inbox.clone())];
    let answers = inner.engine.subscribe(patterns, ROLL_CALL_QUEUE).await?;
    let who = Who { boot: inner.own.boot, inbox: inbox.to_string() };
    let who = rmp_serde::to_vec_named(&who).expect("has no map with odd keys");
    let back = Back { subject: inbox, token: 0 };
    inner.engine.publish(&inner.subjects.who, who.into(), Some(back))?;
    Ok(answers)
}
