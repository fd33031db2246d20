//! `routes`: what clients may ask, and what they are pushed.

use std::io::Write;

use shaddock::{App, RouteInfo};

use crate::output::say;

pub(crate) fn routes(app: &App, out: &mut impl Write) -> anyhow::Result<bool> {
    for line in table(&app.routes()?) {
        say(out, &line);
    }
    Ok(true)
}

fn table(routes: &[RouteInfo]) -> Vec<String> {
    let head = ["ROUTE", "CODE", "DIRECTION", "SCHEMAS", "HANDLER"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(routes.iter().map(row)).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let [route, code, direction, schemas] = [0, 1, 2, 3].map(width);
    let line = |[r, c, d, s, handler]: &[String; 5]| {
        format!("{r:route$}  {c:>code$}  {d:direction$}  {s:schemas$}  {handler}")
    };
    rows.iter().map(line).collect()
}

fn row(info: &RouteInfo) -> [String; 5] {
    let schemas = match (info.client_schema, info.server_schema) {
        (true, true) => "clientProtos.json, serverProtos.json",
        (true, false) => "clientProtos.json",
        (false, true) => "serverProtos.json",
        (false, false) => "-",
    };
    // Only what clients send has a schema of theirs.
    let asked = info.handler.is_some() || info.client_schema;
    [
        info.route.clone(),
        info.code.map_or("-".to_owned(), |code| code.to_string()),
        if asked { "client to server" } else { "server to client" }.to_owned(),
        schemas.to_owned(),
        info.handler.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_route() {
        let info = |route: &str, code, handler: Option<&str>, client_schema, server_schema| {
            let (route, handler) = (route.to_owned(), handler.map(str::to_owned));
            RouteInfo { route, code, handler, client_schema, server_schema }
        };
        let routes = [
            info("chat.chatHandler.send", Some(1), Some("chat::send"), true, true),
            info("gate.gateHandler.queryEntry", None, Some("a closure in chat::app"), true, false),
            info("gate.gateHandler.queryEntyr", None, None, true, false),
            info("onChat", Some(65535), None, false, true),
            info("onX", Some(12), None, false, false),
        ];
        let wanted = "\
ROUTE                         CODE  DIRECTION         SCHEMAS                               HANDLER
chat.chatHandler.send            1  client to server  clientProtos.json, serverProtos.json  chat::send
gate.gateHandler.queryEntry      -  client to server  clientProtos.json                     a closure in chat::app
gate.gateHandler.queryEntyr      -  client to server  clientProtos.json                     -
onChat                       65535  server to client  serverProtos.json                     -
onX                             12  server to client  -                                     -";
        assert_eq!(table(&routes).join("\n"), wanted);
    }
}
