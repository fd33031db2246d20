//! `check`: whether configuration and application fit.

use shaddock::App;

use crate::output::say;

/// Says what is to be said, or fails with what is wrong.
pub(crate) async fn check(place: &str, app: App) -> anyhow::Result<bool> {
    say(place);
    let warnings = app.config().warnings.clone();
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    app.check().await?;
    say("ok");
    Ok(true)
}
