use super::*;

#[test]
fn the_reference_tells_the_defaults() {
    let told = toml(include_str!("../reference.toml"));
    let default = with(&[("servers.json", SERVERS)]);
    for id in ["gate-1", "connector-1"] {
        assert_eq!(frontend(&told, id), frontend(&default, id));
    }
    assert_eq!(told.requests, default.requests);
    assert_eq!(told.remotes, default.remotes);
    assert_eq!(told.stop, default.stop);
    assert_eq!(told.metrics, default.metrics);
    assert_eq!(told.cluster, default.cluster);
    assert_eq!(told.log, default.log);
}

#[test]
fn the_reference_has_every_key() {
    // What is commented out counts, where its line is a key and a value all the same.
    let line = |line: &'static str| match line.strip_prefix("# ") {
        Some(option) if option.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => {
            option
        }
        _ => line,
    };
    let told: Vec<_> = include_str!("../reference.toml").lines().map(line).collect();
    let told = told.join("\n");
    for section in ["frontend", "frontend.limits", "frontend.rate", "requests", "cluster"] {
        let asked = format!("[{section}]\nno-such-key = 1\n");
        let expected = toml::from_str::<Options>(&asked).unwrap_err().message().to_owned();
        let told: toml::Table = told.parse().unwrap();
        let here = section.split('.').fold(&told, |table, key| table[key].as_table().unwrap());
        for key in expected.split('`').skip(3).step_by(2) {
            assert!(here.contains_key(key), "{section}.{key} is not in reference.toml");
        }
    }
}

#[test]
fn a_server_overrides_its_kind_and_a_kind_all_front_ends() {
    let config = toml(
        "[frontend]\nheartbeat = 30\nuse-dict = true\n[frontend.limits]\npackage = 1000\n\
         [kind.connector]\nheartbeat = 3\n[kind.connector.limits]\noutbound-messages = 7\n\
         [server.connector-2]\nuse-dict = false\ntimeout = 4.5\n\
         [kind.gate]\nheartbeat = 0\n",
    );
    let gate = frontend(&config, "gate-1");
    let first = frontend(&config, "connector-1");
    let second = frontend(&config, "connector-2");

    assert_eq!(gate.heartbeat, None);
    let interval = Duration::from_secs(3);
    assert_eq!(first.heartbeat, Some(Heartbeat { interval, timeout: interval * 2 }));
    let timeout = Duration::from_millis(4500);
    assert_eq!(second.heartbeat, Some(Heartbeat { interval, timeout }));
    assert_eq!((gate.use_dict, first.use_dict, second.use_dict), (true, true, false));
    assert_eq!((gate.limits.package, second.limits.package), (1000, 1000));
    assert_eq!((gate.limits.outbound_messages, second.limits.outbound_messages), (1024, 7));
}

#[test]
fn an_unknown_key_has_its_line_and_a_suggestion() {
    for (text, sentence) in [
        (
            "[frontend]\n\nheartbeet = 3\n",
            "3:1: unknown key `heartbeet`: did you mean `heartbeat`?",
        ),
        ("[frontned]\n", "1:2: unknown key `frontned`: did you mean `frontend`?"),
        ("[kind.gate]\nuseDict = true\n", "2:1: unknown key `useDict`: did you mean `use-dict`?"),
        (
            "[frontend.limits]\npackages = 3\n",
            "2:1: unknown key `packages`: did you mean `package`?",
        ),
        ("[remotes]\ncolour = 1\n", "2:1: unknown key `colour`: here go `deadline`"),
        (
            "[frontend.limits]\nconnections = 3\n",
            "2:1: unknown key `connections`: it is `max-connections` of the server in servers.json",
        ),
        (
            "[server.connector-1]\nclientPort = 3\n",
            "2:1: unknown key `clientPort`: it is `clientPort` of the server in servers.json",
        ),
    ] {
        assert_eq!(toml_error(text), format!("built-in shaddock.toml:{sentence}"));
    }
}

#[test]
fn a_wrong_value_has_its_line() {
    for (text, sentence) in [
        ("[frontend]\nuse-dict = 1\n", "2:12: invalid type: integer `1`, expected a boolean"),
        (
            "[frontend]\nheartbeat = 2.5\n",
            "2:13: invalid type: floating point `2.5`, expected a whole number",
        ),
        (
            "[stop]\ndeadline = 0\n",
            "2:12: invalid value: integer `0`, expected seconds, such as 10 or 0.5, above 0 and at most a year",
        ),
        (
            "[stop]\ndeadline = \"10s\"\n",
            "2:12: invalid type: string \"10s\", expected seconds, such as 10 or 0.5, above 0 and at most a year",
        ),
        (
            "[stop]\ndeadline = inf\n",
            "2:12: invalid value: floating point `inf`, expected seconds, such as 10 or 0.5, above 0 and at most a year",
        ),
        (
            "[frontend]\nbind = \"eth0\"\n",
            "2:8: \"eth0\" is no address to listen on, such as \"0.0.0.0\", \"127.0.0.1:3050\" or \"[::]:3050\"",
        ),
        ("[frontend\n", "1:10: unclosed table, expected `]`"),
    ] {
        assert_eq!(toml_error(text), format!("built-in shaddock.toml:{sentence}"));
    }
}

#[test]
fn options_that_do_not_fit_are_refused_for_their_server() {
    for (text, sentence) in [
        ("heartbeat = 3\ntimeout = 3", "`timeout` (3 s) should be more than `heartbeat` (3 s)"),
        ("limits.package = 0", "`limits.package` is 0, which lets nothing through"),
        ("limits.package = 16777216", "`limits.package` is 16777216, the wire allows 16777215"),
        ("rate.per-second = 3\nrate.burst = 0", "`rate.burst` is 0, which lets nothing through"),
        (
            "origins = [\"game.example\"]",
            "\"game.example\" is no origin, which is a scheme and a host, such as \"https://game.example\"",
        ),
    ] {
        assert_eq!(
            toml_error(&format!("[server.connector-2]\n{text}\n")),
            format!("shaddock.toml, for connector-2: {sentence}")
        );
    }
}

#[test]
fn sections_of_unknown_servers_and_of_back_ends_are_named() {
    let config = toml("[kind.conector]\n[kind.chat]\n[server.zzz]\n[server.connector-1]\n");
    assert_eq!(
        config.warnings,
        [
            "shaddock.toml: [kind.chat] has no effect: it is no front-end",
            "shaddock.toml: [kind.conector] is not in servers.json: did you mean `connector`?",
            "shaddock.toml: [server.zzz] is not in servers.json",
        ]
    );
}

#[test]
fn an_environments_own_file_is_laid_over_the_common_one() {
    let config = with(&[
        ("servers.json", SERVERS),
        ("shaddock.toml", "[frontend]\nheartbeat = 3\nuse-dict = true\n"),
        ("development/shaddock.toml", "[frontend]\nheartbeat = 0\n"),
    ]);
    assert_eq!(frontend(&config, "gate-1").heartbeat, None);
    assert!(frontend(&config, "gate-1").use_dict);
}

#[test]
fn a_front_end_listens_where_its_host_says_or_where_bind_does() {
    let config = with(&[
        (
            "servers.json",
            r#"{"connector": [
                {"id": "loopback", "host": "localhost", "clientPort": 1, "frontend": true},
                {"id": "machine", "host": "10.1.2.3", "clientPort": 2, "frontend": true},
                {"id": "name", "host": "game.example", "clientPort": 3, "frontend": true},
                {"id": "six", "host": "2001:db8::1", "clientPort": 4, "frontend": true},
                {"id": "bound", "host": "10.1.2.3", "clientPort": 5, "frontend": true},
                {"id": "mapped", "host": "10.1.2.3", "clientPort": 6, "frontend": true}
            ]}"#,
        ),
        (
            "shaddock.toml",
            "[server.bound]\nbind = \"10.1.2.3\"\n[server.mapped]\nbind = \"[::]:3050\"\n",
        ),
    ]);
    let listen = |id| frontend(&config, id).listen.to_string();
    assert_eq!(listen("loopback"), "127.0.0.1:1");
    assert_eq!(listen("machine"), "0.0.0.0:2");
    assert_eq!(listen("name"), "0.0.0.0:3");
    assert_eq!(listen("six"), "[::]:4");
    assert_eq!(listen("bound"), "10.1.2.3:5");
    assert_eq!(listen("mapped"), "[::]:3050");
}

#[test]
fn connections_are_limited_by_servers_json() {
    let entry =
        r#"{"id": "c", "host": "h", "clientPort": 1, "frontend": true, "max-connections": "9"}"#;
    let config = servers(entry).unwrap();
    assert_eq!(frontend(&config, "c").limits.connections, 9);
    assert_eq!(Limits::default().connections, 100_000);
}

#[test]
fn any_origin_is_the_default_and_is_warned_of_in_production() {
    let files = |toml| [("production/servers.json", PRODUCTION), ("shaddock.toml", toml)];
    const PRODUCTION: &str =
        r#"{"gate": [{"id": "g", "host": "h", "clientPort": 1, "frontend": true}]}"#;

    let open = Config::embedded(&files(""), Some("production"), &Overrides::default()).unwrap();
    assert_eq!(frontend(&open, "g").origins, None);
    assert_eq!(
        open.warnings,
        [
            "shaddock.toml: pages of any origin may connect to `gate`: name yours in `frontend.origins`"
        ]
    );

    let named = "[frontend]\norigins = [\"https://Game.Example\"]\n";
    let closed =
        Config::embedded(&files(named), Some("production"), &Overrides::default()).unwrap();
    assert_eq!(frontend(&closed, "g").origins, Some(vec!["https://game.example".to_owned()]));
    assert_eq!(closed.warnings, [""; 0]);
}

#[test]
fn a_rate_is_off_unless_it_is_set() {
    let config = toml("[kind.gate.rate]\nper-second = 5\n");
    assert_eq!(frontend(&config, "connector-1").rate, None);
    let five = 5.try_into().unwrap();
    assert_eq!(frontend(&config, "gate-1").rate, Some(Rate { per_second: five, burst: five }));
}

#[test]
fn the_application_reads_its_own_section() {
    let config = toml("[app]\npage = \"127.0.0.1:3001\"\n");
    assert_eq!(config.app["page"].as_str(), Some("127.0.0.1:3001"));
}

/// What a front-end with these options comes to, or the sentence that says why it can't.
fn connector_1(options: &str) -> Result<Frontend, String> {
    let files = [("servers.json", SERVERS), ("shaddock.toml", options)];
    let config = Config::embedded(&files, None, &Overrides::default());
    let config = config.map_err(|error| error.to_string())?;
    Ok(frontend(&config, "connector-1"))
}

#[test]
fn what_was_not_compiled_in_is_refused() {
    for (options, is_there, sentence) in [
        (
            "connector = \"udp\"\nheartbeat = 2",
            cfg!(feature = "udp"),
            "`connector` is \"udp\", and this program was built without the feature `udp` of shaddock",
        ),
        (
            "connector = \"mqtt\"\npublish-route = \"a.b.c\"\nsubscribe-route = \"a.b.d\"",
            cfg!(feature = "mqtt"),
            "`connector` is \"mqtt\", and this program was built without the feature `mqtt` of shaddock",
        ),
        (
            "connector = \"socketio\"",
            cfg!(feature = "socketio"),
            "`connector` is \"socketio\", and this program was built without the feature `socketio` of shaddock",
        ),
        (
            "certificate = \"c\"\nkey = \"k\"",
            cfg!(feature = "tls"),
            "there is a `certificate` or a `key`, and this program was built without the feature `tls` of shaddock",
        ),
        (
            "use-crypto = true",
            cfg!(feature = "crypto"),
            "`use-crypto` is true, and this program was built without the feature `crypto` of shaddock",
        ),
    ] {
        match connector_1(&format!("[server.connector-1]\n{options}\n")) {
            Ok(_) => assert!(is_there, "{options}"),
            Err(said) => {
                assert!(!is_there, "{said}");
                assert_eq!(said, format!("shaddock.toml, for connector-1: {sentence}"));
            }
        }
    }
}

#[cfg(feature = "socketio")]
#[test]
fn clients_of_socket_io_always_have_a_heartbeat() {
    let silence = |options: &str| {
        let frontend = connector_1(&format!("[frontend]\nconnector = \"socketio\"\n{options}"));
        let frontend = frontend.unwrap();
        (frontend.heartbeat.unwrap().interval.as_secs(), frontend.probe().unwrap().as_secs())
    };
    assert_eq!(silence(""), (25, 85));
    assert_eq!(silence("heartbeat = 10"), (10, 20));
    assert_eq!(silence("heartbeat = 10\ntimeout = 60"), (10, 60));
}

#[cfg(all(
    feature = "udp",
    feature = "mqtt",
    feature = "socketio",
    feature = "tls",
    feature = "crypto",
))]
#[test]
fn connectors_that_lack_something_are_refused() {
    for (options, sentence) in [
        (
            "connector = \"udp\"",
            "`connector` is \"udp\" and there is no `heartbeat`: nothing else tells that a client is gone",
        ),
        (
            "connector = \"udp\"\nheartbeat = 2\ncertificate = \"c\"\nkey = \"k\"",
            "`connector` is \"udp\" and there is a `certificate`: datagrams have no TLS here",
        ),
        ("connector = \"mqtt\"", "`connector` is \"mqtt\" and `publish-route` is missing"),
        (
            "connector = \"socketio\"\nuse-crypto = true",
            "`use-crypto` is true, and clients of Socket.IO sign nothing",
        ),
        ("certificate = \"c\"", "there is a `certificate` and no `key`"),
        ("key = \"k\"", "there is a `key` and no `certificate`"),
    ] {
        let said = connector_1(&format!("[server.connector-1]\n{options}\n")).unwrap_err();
        assert_eq!(said, format!("shaddock.toml, for connector-1: {sentence}"));
    }
}

#[test]
fn networks_and_headers_of_proxies_are_read_or_refused() {
    let frontend = connector_1(
        "[frontend]\ndeny = [\"10.0.0.0/8\"]\ntrusted-proxies = [\"192.0.2.1\"]\nforwarded = \"forwarded\"\n",
    )
    .unwrap();
    assert!(frontend.deny.contain("10.1.2.3".parse().unwrap()));
    assert!(frontend.allow.is_empty());
    assert!(frontend.trusted_proxies.contain("192.0.2.1".parse().unwrap()));
    for (options, said) in [
        ("deny = [\"10.0.0.1/8\"]", "names an address in a network: is 10.0.0.0/8 meant?"),
        ("forwarded = \"via\"", "\"via\" is no header of proxies"),
        (
            "connector = \"sio\"",
            "unknown variant `sio`, expected one of `hybrid`, `udp`, `mqtt`, `socketio`",
        ),
    ] {
        let error = connector_1(&format!("[frontend]\n{options}\n")).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_cluster_is_told_how_to_be_let_in_and_nobody_sees_the_secrets() {
    let overrides = Overrides::from_vars([
        ("SHADDOCK__CLUSTER__URLS".to_owned(), "nats://a, nats://b".to_owned()),
        ("SHADDOCK__CLUSTER__PASSWORD".to_owned(), "12345678".to_owned()),
    ]);
    let files = [
        ("servers.json", SERVERS),
        ("shaddock.toml", "[cluster]\nuser = \"py\"\nca = \"ca.pem\"\nwait = 0\nreplicas = 3\n"),
    ];
    let config = load(&files, &overrides).unwrap();
    let cluster = &config.cluster;
    assert_eq!(cluster.urls, ["nats://a", "nats://b"]);
    assert_eq!(cluster.user.as_deref(), Some("py"));
    assert_eq!(cluster.password.as_ref().map(Secret::expose), Some("12345678"));
    assert_eq!((cluster.wait, cluster.replicas), (Duration::ZERO, 3));
    assert!(!format!("{config:?}").contains("12345678"));
}

#[test]
fn what_does_not_fit_in_a_cluster_is_told() {
    for (text, reason) in [
        ("user = \"py\"", "`user` and `password` belong together"),
        ("token = \"a\"\nnkey = \"b\"", "one will do"),
        ("certificate = \"a\"", "`certificate` and `key` belong together"),
        ("replicas = 2", "`replicas` should be 1, 3 or 5"),
        ("wait = -1", "seconds"),
        ("url = []", "did you mean `urls`?"),
    ] {
        let error = toml_error(&format!("[cluster]\n{text}\n"));
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn metrics_may_have_an_address_of_their_own() {
    let config = toml("[metrics]\nbind = \"127.0.0.1:9100\"\n");
    assert_eq!(config.metrics, Some("127.0.0.1:9100".parse().unwrap()));
    assert_eq!(toml("[metrics]\nenabled = false\nbind = \"127.0.0.1:9100\"\n").metrics, None);
}
