//! What can only be checked when all files are read.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::options::Sections;
use super::{Config, ConfigError, Connector, suggest};

impl Config {
    /// Sections for servers that aren't there are no errors: they may be there in another environment.
    pub(super) fn check_sections(&mut self, kinds: &Sections, servers: &Sections) {
        let by_kind: Vec<_> = self.servers.iter().map(|s| (&s.kind[..], s.frontend)).collect();
        let by_id: Vec<_> = self.servers.iter().map(|s| (&s.id[..], s.frontend)).collect();
        for (section, names, known) in [("kind", kinds, by_kind), ("server", servers, by_id)] {
            for name in names.keys() {
                let meant: Vec<bool> = known
                    .iter()
                    .filter(|(known, _)| known == name)
                    .map(|(_, frontend)| *frontend)
                    .collect();
                let near = suggest::nearest(name, known.iter().map(|(known, _)| *known));
                let what = match near {
                    _ if meant.contains(&true) => continue,
                    _ if meant.contains(&false) => "has no effect: it is no front-end".to_owned(),
                    Some(near) => format!("is not in servers.json: did you mean `{near}`?"),
                    None => "is not in servers.json".to_owned(),
                };
                self.warnings.push(format!("shaddock.toml: [{section}.{name}] {what}"));
            }
        }
    }

    /// Each front-end has options that fit and an address that no other listener has.
    pub(super) fn check_frontends(&mut self) -> Result<(), ConfigError> {
        let mut taken: HashMap<(String, u16, bool), String> = HashMap::new();
        if let Some(listen) = self.metrics {
            let who = match &self.master {
                Some(master) if master.listen() == listen => format!("{} (master.json)", master.id),
                _ => "the metrics page".to_owned(),
            };
            taken.insert((machine(&listen.ip().to_string()), listen.port(), false), who);
        }
        let mut open = BTreeSet::new();
        for server in self.servers.iter().filter(|server| server.frontend) {
            let frontend = self.frontend(server)?;
            // Datagrams have ports of their own.
            let is_udp = frontend.connector == Connector::Udp;
            let address = (machine(&server.host), frontend.listen.port(), is_udp);
            // Port 0 is any that is free.
            let is_fixed = frontend.listen.port() != 0;
            if let Some(other) = taken.insert(address, server.id.clone()).filter(|_| is_fixed) {
                let reason = format!(
                    "{} and {other} both listen on port {} of {}",
                    server.id,
                    frontend.listen.port(),
                    server.host
                );
                return Err(ConfigError::invalid("servers.json", reason));
            }
            if frontend.origins.is_none() {
                open.insert(server.kind.clone());
            }
        }
        if self.environment == "production" && !open.is_empty() {
            self.warnings.push(format!(
                "shaddock.toml: pages of any origin may connect to {}: name yours in `frontend.origins`",
                suggest::list(open.iter().map(String::as_str))
            ));
        }
        Ok(())
    }
}

/// One name for each machine, as far as can be told from here.
fn machine(host: &str) -> String {
    let this = match host.parse::<IpAddr>() {
        Ok(ip) => ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST || ip.is_unspecified(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if this { "localhost".into() } else { host.to_ascii_lowercase() }
}
