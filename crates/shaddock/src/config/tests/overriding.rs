use super::*;

fn overridden(overrides: &Overrides) -> Result<Config, ConfigError> {
    let toml = "[frontend]\nheartbeat = 3\n[cluster]\nname = \"chat\"\n";
    load(&[("servers.json", SERVERS), ("shaddock.toml", toml)], overrides)
}

fn vars(vars: &[(&str, &str)]) -> Overrides {
    Overrides::from_vars(vars.iter().map(|(name, value)| (name.to_string(), value.to_string())))
}

#[test]
fn variables_and_flags_set_any_key_and_flags_win() {
    let overrides = vars(&[
        ("SHADDOCK__FRONTEND__HEARTBEAT", "5"),
        ("SHADDOCK__FRONTEND__USE_DICT", "true"),
        ("SHADDOCK__SERVER__GATE_1__LIMITS__PACKAGE", "99"),
        ("SHADDOCK_ENV", "elsewhere"),
        ("PATH", "/bin"),
    ])
    .set("frontend.heartbeat", "6")
    .set("cluster.urls", r#"["nats://a", "nats://b"]"#)
    .set("app.page", "127.0.0.1:0");
    let config = overridden(&overrides).unwrap();

    let gate = frontend(&config, "gate-1");
    assert_eq!(gate.heartbeat.unwrap().interval, Duration::from_secs(6));
    assert!(gate.use_dict);
    assert_eq!(gate.limits.package, 99);
    assert_eq!(config.cluster.urls, ["nats://a", "nats://b"]);
    assert_eq!(config.app["page"].as_str(), Some("127.0.0.1:0"));
}

#[test]
fn what_looks_like_a_number_is_a_text_where_one_is_needed() {
    let config = overridden(&Overrides::default().set("cluster.name", "5")).unwrap();
    assert_eq!(config.cluster.name, "5");
}

#[test]
fn an_error_names_its_source() {
    for (overrides, sentence) in [
        (
            vars(&[("SHADDOCK__FRONTEND__HEARTBEET", "5")]),
            "SHADDOCK__FRONTEND__HEARTBEET: unknown key `heartbeet`: did you mean `heartbeat`?",
        ),
        (
            Overrides::default().set("frontend.use-dict", "maybe"),
            "--set frontend.use-dict: invalid type: string \"maybe\", expected a boolean",
        ),
        (
            Overrides::default().set("frontend", "3"),
            "--set frontend: invalid type: integer `3`, expected a section",
        ),
        (
            Overrides::default().set("frontend.heartbeat.x", "3"),
            "--set frontend.heartbeat.x: invalid type: map, expected a whole number",
        ),
    ] {
        assert_eq!(overridden(&overrides).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn the_environment_is_the_one_given_else_ours_else_nodes_else_development() {
    let var = |name: &str| match name {
        "SHADDOCK_ENV" => Some("ours".to_owned()),
        _ => Some("nodes".to_owned()),
    };
    let node = |name: &str| (name == "NODE_ENV").then(|| "nodes".to_owned());
    assert_eq!(choose_environment(Some("given"), var), "given");
    assert_eq!(choose_environment(None, var), "ours");
    assert_eq!(choose_environment(None, node), "nodes");
    assert_eq!(choose_environment(None, |_| Some(String::new())), "development");
}
