//! Handlers that take their time, and what they wrote down.

use std::sync::Mutex;
use std::time::Duration;

use shaddock::testing::TestApp;
use shaddock::{Msg, Result, State};

/// What happened, in order.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// What happened since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// What an application's handlers wrote down since the last call.
pub(crate) fn logged(app: &TestApp) -> Vec<String> {
    app.app().state::<Log>().expect("the application has a log").take()
}

/// Takes so many milliseconds, and gives them back.
pub(crate) async fn wait(Msg(time): Msg<u64>) -> Result<u64> {
    tokio::time::sleep(Duration::from_millis(time)).await;
    Ok(time)
}

/// The same, and writes down when it is done.
pub(crate) async fn log(log: State<Log>, Msg(time): Msg<u64>) -> Result<u64> {
    tokio::time::sleep(Duration::from_millis(time)).await;
    log.add(time.to_string());
    Ok(time)
}
