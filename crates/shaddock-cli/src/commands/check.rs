//! `check`: whether configuration and application fit.

use std::io::Write;

use shaddock::App;

use crate::output::say;

/// Says what is to be said, or fails with what is wrong.
pub(crate) async fn check(app: App, out: &mut impl Write) -> anyhow::Result<bool> {
    let warnings = app.config().warnings.clone();
    for warning in warnings {
        say(out, &format!("warning: {warning}"));
    }
    app.check().await?;
    say(out, "ok");
    Ok(true)
}
