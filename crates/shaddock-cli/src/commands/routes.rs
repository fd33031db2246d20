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
    let width = routes.iter().map(|info| info.route.len()).chain([5]).max().unwrap_or_default();
    let head = format!("{:width$}   CODE  IS       SCHEMAS", "ROUTE");
    let line = |info: &RouteInfo| {
        let code = info.code.map_or("-".to_owned(), |code| code.to_string());
        let is = if info.handled { "handled" } else { "pushed" };
        let schemas = match (info.client_schema, info.server_schema) {
            (true, true) => "client, server",
            (true, false) => "client",
            (false, true) => "server",
            (false, false) => "-",
        };
        format!("{:width$}  {code:>5}  {is:7}  {schemas}", info.route)
    };
    std::iter::once(head).chain(routes.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_route() {
        let info = |route: &str, code, handled, client_schema, server_schema| RouteInfo {
            route: route.to_owned(),
            code,
            handled,
            client_schema,
            server_schema,
        };
        let routes = [
            info("chat.chatHandler.send", Some(1), true, true, true),
            info("gate.gateHandler.queryEntry", None, true, true, false),
            info("onChat", Some(65535), false, false, true),
            info("onX", Some(12), false, false, false),
        ];
        let wanted = "\
ROUTE                         CODE  IS       SCHEMAS
chat.chatHandler.send            1  handled  client, server
gate.gateHandler.queryEntry      -  handled  client
onChat                       65535  pushed   server
onX                             12  pushed   -";
        assert_eq!(table(&routes).join("\n"), wanted);
    }
}
