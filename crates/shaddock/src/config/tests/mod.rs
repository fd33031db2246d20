//! Texts in, configurations or sentences out.

mod overriding;
mod pomelos_files;
mod shaddock_toml;

use std::time::Duration;

use super::*;

const SERVERS: &str = r#"{
  "development": {
    "gate": [{"id": "gate-1", "host": "127.0.0.1", "clientPort": 3014, "frontend": true}],
    "connector": [
      {"id": "connector-1", "host": "127.0.0.1", "port": 4050, "clientPort": 3050, "frontend": true},
      {"id": "connector-2", "host": "127.0.0.1", "port": 4051, "clientPort": 3051, "frontend": "true"}
    ],
    "chat": [{"id": "chat-1", "host": "127.0.0.1", "port": 6050}]
  }
}"#;

fn load(files: &[(&str, &str)], overrides: &Overrides) -> Result<Config, ConfigError> {
    Config::embedded(files, Some("development"), overrides)
}

fn with(files: &[(&str, &str)]) -> Config {
    load(files, &Overrides::default()).unwrap()
}

fn error(files: &[(&str, &str)]) -> String {
    load(files, &Overrides::default()).unwrap_err().to_string()
}

fn servers(entries: &str) -> Result<Config, ConfigError> {
    load(&[("servers.json", &format!(r#"{{"connector": [{entries}]}}"#))], &Overrides::default())
}

fn servers_error(entries: &str) -> String {
    servers(entries).unwrap_err().to_string()
}

fn toml(text: &str) -> Config {
    with(&[("servers.json", SERVERS), ("shaddock.toml", text)])
}

fn toml_error(text: &str) -> String {
    error(&[("servers.json", SERVERS), ("shaddock.toml", text)])
}

fn frontend(config: &Config, id: &str) -> Frontend {
    config.frontend(config.server(id).unwrap()).unwrap()
}
