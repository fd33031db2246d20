//! The page, served from the program: a component, which starts and stops with its server.

use std::future::IntoFuture as _;

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use shaddock::{AppHandle, Component, Fault, Result};
use tokio::net::TcpListener;

const SCRIPTS: &[(&str, &str)] = &[
SCRIPTS];

/// Serves the page at `[app] page` of shaddock.toml; without that, nowhere.
pub(crate) struct Page;

impl Component for Page {
    async fn start(&self, app: &AppHandle) -> Result<()> {
        let config = app.config();
        let Some(address) = config.app.get("page").and_then(|page| page.as_str()) else {
            return Ok(());
        };
        let fault = |error| Fault::new(500, format!("no page can be at {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        // The page has to know one thing: the gate's port.
        let gate = config.servers.iter().find(|server| server.kind == "gate");
        let port = gate.and_then(|gate| gate.client_port).unwrap_or_default();
        let html = include_str!("../web/index.html").replace("GATE_PORT", &port.to_string());
        let html = ([(CONTENT_TYPE, "text/html; charset=utf-8")], html);
        let mut pages = Router::new().route("/", get(async move || html));
        for (path, text) in SCRIPTS {
            let script = ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], *text);
            pages = pages.route(path, get(async move || script));
        }
        app.announce(format!("the page: http://{}", listener.local_addr()?));
        app.tasks().spawn("page", async move |stop| {
            // Every task hears of the stop, and ends.
            stop.run_until_cancelled(axum::serve(listener, pages).into_future()).await;
        });
        Ok(())
    }
}
