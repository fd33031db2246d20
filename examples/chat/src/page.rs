//! The page that people chat with, served from the binary.

use std::future::IntoFuture as _;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use shaddock::{AppHandle, Component, Fault, Result};
use tokio::net::TcpListener;

/// The files of the page: path, type, text.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("../web/index.html")),
    ("/style.css", CSS, include_str!("../web/style.css")),
    ("/chat.js", JS, include_str!("../web/chat.js")),
    ("/shaddock.js", JS, include_str!("../../../clients/js/shaddock.js")),
    ("/connection.js", JS, include_str!("../../../clients/js/connection.js")),
    ("/errors.js", JS, include_str!("../../../clients/js/errors.js")),
    ("/protobuf.js", JS, include_str!("../../../clients/js/protobuf.js")),
    ("/signing.js", JS, include_str!("../../../clients/js/signing.js")),
    ("/socket.js", JS, include_str!("../../../clients/js/socket.js")),
    ("/tables.js", JS, include_str!("../../../clients/js/tables.js")),
    ("/wire.js", JS, include_str!("../../../clients/js/wire.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Nothing but our own files runs, and connections go where the gate says.
const POLICY: &str =
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'";

/// Serves the page at `[app] page` of shaddock.toml; without that, nowhere.
pub(crate) struct Page;

impl Component for Page {
    async fn start(&self, app: &AppHandle) -> Result<()> {
        let Some(address) = app.config().app.get("page") else {
            return Ok(());
        };
        let address = address.as_str().ok_or_else(|| {
            Fault::new(500, format!("shaddock.toml: [app] page is an address like \"127.0.0.1:3001\", not {address:?}"))
        })?;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Fault::new(
                500,
                format!(
                    "the page can't listen at {address} ([app] page in shaddock.toml): {error}"
                ),
            )
        })?;
        let mut pages = Router::new();
        for (path, kind, text) in FILES {
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            pages = pages.route(path, get(async move || (headers, *text)));
        }
        app.announce(format!("the page: http://{}", listener.local_addr()?));
        app.tasks().spawn("page", async move |stop| {
            // Dropped at the stop: the page is there at once, or not worth waiting for.
            let served = stop.run_until_cancelled(axum::serve(listener, pages).into_future());
            if let Some(Err(error)) = served.await {
                tracing::error!(%error, "the page is not served any more");
            }
        });
        Ok(())
    }
}
