use super::*;

#[test]
fn servers_come_in_the_files_order() {
    let config = with(&[("servers.json", SERVERS)]);
    let ids: Vec<&str> = config.servers.iter().map(|server| &server.id[..]).collect();
    assert_eq!(ids, ["gate-1", "connector-1", "connector-2", "chat-1"]);
    assert!(config.server("connector-2").unwrap().frontend);
    assert!(!config.server("chat-1").unwrap().frontend);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn a_file_may_be_in_the_environments_folder_and_the_common_one_wins() {
    let own = r#"{"gate": [{"id": "own", "host": "h", "clientPort": 1, "frontend": true}]}"#;
    assert_eq!(with(&[("development/servers.json", own)]).servers[0].id, "own");

    let both = [("development/servers.json", own), ("servers.json", SERVERS)];
    assert_eq!(with(&both).servers[0].id, "gate-1");
}

#[test]
fn a_missing_servers_json_says_where_it_was_looked_for() {
    let missing = Config::load("no/such", Some("production"), &Overrides::default()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "no servers.json: looked for no/such/servers.json and no/such/production/servers.json; \
         write one there, or name the folder that has it with --config DIR"
    );
}

#[test]
fn broken_json_has_its_line_and_column() {
    let text = "{\n  \"development\": {,}\n}";
    assert_eq!(
        error(&[("servers.json", text)]),
        "built-in servers.json:2:19: key must be a string"
    );
}

#[test]
fn a_byte_order_mark_is_no_error() {
    with(&[("servers.json", &format!("\u{feff}{SERVERS}"))]);
}

#[test]
fn an_environment_that_is_not_there_is_named() {
    let config =
        Config::embedded(&[("servers.json", SERVERS)], Some("prod"), &Overrides::default());
    assert_eq!(
        config.unwrap_err().to_string(),
        "built-in servers.json has no environment `prod` (it has `development`)"
    );
    assert_eq!(
        error(&[("servers.json", r#"{"local": {"gate": []}}"#)]),
        "built-in servers.json: `local` should be a list of servers \
         (if it is an environment: this one is `development`)"
    );
}

#[test]
fn a_cluster_count_makes_servers_whose_ids_and_ports_count_up() {
    let config = servers(
        r#"{"clusterCount": 2, "host": "a", "port": "4050++", "clientPort": "3050++", "frontend": true},
           {"clusterCount": "1", "host": "b", "clientPort": 3050, "frontend": true, "area": "7++"}"#,
    )
    .unwrap();
    let made: Vec<_> =
        config.servers.iter().map(|s| (&s.id[..], s.port, s.client_port.unwrap())).collect();
    assert_eq!(
        made,
        [
            ("cluster-server-connector-0", Some(4050), 3050),
            ("cluster-server-connector-1", Some(4051), 3051),
            ("cluster-server-connector-2", None, 3050),
        ]
    );
    assert_eq!(config.servers[2].extra["area"], 7);
}

#[test]
fn wrong_entries_are_refused_in_a_sentence() {
    let ok = r#""host": "127.0.0.1", "clientPort": 3050, "frontend": true"#;
    for (entries, sentence) in [
        ("7".to_owned(), "connector[0]: 7 is no object"),
        (format!("{{{ok}}}"), "connector[0]: `id` is missing"),
        (
            format!(r#"{{"id": "a b", {ok}}}"#),
            "connector[0]: `id` is \"a b\", it should be of letters, digits, `-` and `_`",
        ),
        (r#"{"id": "c"}"#.into(), "c: `host` is missing"),
        (
            r#"{"id": "c", "host": "h", "clientPort": 70000, "frontend": true}"#.into(),
            "c: `clientPort` is 70000, a port is 1 to 65535",
        ),
        (
            r#"{"id": "c", "host": "h", "clientPort": "x", "frontend": true}"#.into(),
            "c: `clientPort` is \"x\", it should be a whole number",
        ),
        (
            r#"{"id": "c", "host": "h", "frontend": true}"#.into(),
            "c: `frontend` is true and `clientPort` is missing",
        ),
        (
            r#"{"id": "c", "host": "h", "frontend": "yes"}"#.into(),
            "c: `frontend` is \"yes\", it should be true or false",
        ),
        (
            r#"{"id": "c", "host": "h", "max-connections": 0}"#.into(),
            "c: `max-connections` should be 1 or more",
        ),
        (
            r#"{"id": "c", "host": "h", "clientPort": "3050++"}"#.into(),
            "connector[0]: `clientPort` is \"3050++\", which needs a `clusterCount`",
        ),
        (
            r#"{"clusterCount": 3, "host": "h", "clientPort": "x++"}"#.into(),
            "connector[0]: `clientPort` is \"x++\", it should be a number and `++`",
        ),
        (
            r#"{"clusterCount": 3, "host": "h", "clientPort": "65534++", "frontend": true}"#.into(),
            "cluster-server-connector-2: `clientPort` is 65536, a port is 1 to 65535",
        ),
    ] {
        assert_eq!(servers_error(&entries), format!("built-in servers.json: {sentence}"));
    }
}

#[test]
fn two_servers_of_one_id_are_refused() {
    assert_eq!(
        servers_error(r#"{"id": "c", "host": "h"}, {"id": "c", "host": "i"}"#),
        "built-in servers.json: the id `c` is given twice (in `connector` and `connector`)"
    );
}

#[test]
fn two_listeners_on_one_port_of_a_machine_are_refused() {
    let a = r#"{"id": "a", "host": "127.0.0.1", "clientPort": 3050, "frontend": true}"#;
    let same = r#"{"id": "b", "host": "localhost", "clientPort": 3050, "frontend": true}"#;
    assert_eq!(
        servers_error(&format!("{a}, {same}")),
        "servers.json: b and a both listen on port 3050 of localhost"
    );
    let elsewhere = r#"{"id": "b", "host": "10.0.0.2", "clientPort": 3050, "frontend": true}"#;
    servers(&format!("{a}, {elsewhere}")).unwrap();

    let master = r#"{"id": "master-1", "host": "localhost", "port": 3014}"#;
    assert_eq!(
        error(&[("servers.json", SERVERS), ("master.json", master)]),
        "servers.json: gate-1 and master-1 (master.json) both listen on port 3014 of 127.0.0.1"
    );
}

#[test]
fn extra_keys_are_kept_and_near_misses_and_nodes_options_are_named() {
    let config = servers(
        r#"{"id": "c", "host": "h", "clientPort": 1, "frontend": true, "max-connections": 9,
            "maxConnections": 5, "area": {"x": 1}, "cpu": 2, "args": "--debug"}"#,
    )
    .unwrap();
    let server = &config.servers[0];
    assert_eq!(server.extra["area"]["x"], 1);
    assert_eq!(server.max_connections, Some(9));
    assert_eq!(
        config.warnings,
        [
            "built-in servers.json: c: `cpu` is not used: one process uses all cores; bind it from outside if you must",
            "built-in servers.json: c: `args` is not used: these are options for node",
            "built-in servers.json: c: `maxConnections` means nothing here: did you mean `max-connections`?",
        ]
    );
}

#[test]
fn a_server_tells_clients_its_client_host() {
    let config = servers(
        r#"{"id": "a", "host": "10.0.0.1", "clientHost": "chat.example", "clientPort": 1, "frontend": true},
           {"id": "b", "host": "10.0.0.2", "clientPort": 1, "frontend": true}"#,
    )
    .unwrap();
    assert_eq!(config.servers[0].public_host(), "chat.example");
    assert_eq!(config.servers[1].public_host(), "10.0.0.2");
}

#[test]
fn the_rest_is_read() {
    let config = with(&[
        ("servers.json", SERVERS),
        ("master.json", r#"{"development": {"id": "m", "host": "127.0.0.1", "port": "3005"}}"#),
        ("adminUser.json", r#"[{"id": "u1", "username": "py", "password": "pw", "level": 1}]"#),
        (
            "adminServer.json",
            r#"[{"type": "connector", "token": "t"}, {"type": "chat", "token": "t"}]"#,
        ),
        ("dictionary.json", r#"["onChat", "onAdd"]"#),
        ("serverProtos.json", "{}"),
        ("log4js.json", "{}"),
        ("masterha.json", r#"{"masterha": [{"id": "m2", "host": "127.0.0.1", "port": 3006}]}"#),
        (
            "crons.json",
            r#"{"development": {"chat": [
                {"id": 1, "time": "0 30 10 * * *", "action": "news.send", "once": true},
                {"id": 2, "time": "0/10 0-5 1,2 * * *", "action": "news.send", "serverId": "chat-1"}
            ], "gate-keeper": [{"id": 1, "time": "* * * * * *", "action": "news.send"}]}}"#,
        ),
    ]);
    assert_eq!(config.metrics, Some("127.0.0.1:3005".parse().unwrap()));
    assert_eq!(config.admin_users[0].password.expose(), "pw");
    assert_eq!(config.admin_servers.as_ref().unwrap().len(), 2);
    assert_eq!(config.tables.dictionary, ["onChat", "onAdd"]);
    assert_eq!(config.tables.files, ["built-in dictionary.json", "built-in serverProtos.json"]);
    assert_eq!(config.stand_by_masters[0].port, 3006);
    assert!(config.crons[0].job.once);
    assert_eq!(config.crons[1].server.as_deref(), Some("chat-1"));
    assert_eq!(
        config.warnings,
        [
            "built-in masterha.json: not used: no server needs a master, so none needs a stand-by",
            "built-in adminServer.json: there is no token for `gate`",
            "built-in crons.json: gate-keeper[0]: no server runs this",
            "built-in log4js.json: not used: what to log is `log.filter` of shaddock.toml",
        ]
    );
}

#[test]
fn the_rest_is_checked() {
    for (file, text, sentence) in [
        ("master.json", r#"{"id": "m", "host": "h"}"#, "`port` is missing"),
        ("adminUser.json", "{}", "should be a list"),
        (
            "adminUser.json",
            r#"[{"id": 1, "username": "a", "password": "b"}]"#,
            "[0]: `level` is missing",
        ),
        ("adminServer.json", r#"[{"type": "chat"}]"#, "[0]: `token` is missing"),
        (
            "dictionary.json",
            r#"{"onChat": 1}"#,
            "should be a list of routes, such as [\"onChat\", \"onLeave\"]",
        ),
        ("crons.json", r#"{"chat": 3}"#, "`chat` should be a list"),
        (
            "crons.json",
            r#"{"chat": [{"id": 1, "time": "* * *", "action": "a.b"}]}"#,
            "chat[0]: `time`: \"* * *\" is no schedule: it should be six fields (second, minute, hour, day, \
             month, day of the week), each `*`, a number, `1,2`, `1-5` or `0/10`",
        ),
        (
            "crons.json",
            r#"{"chat": [{"id": 1, "time": "* * * * 12 *", "action": "a.b"}]}"#,
            "chat[0]: `time`: \"* * * * 12 *\" is no schedule: `12` is no month: these go from 0 to 11",
        ),
        (
            "crons.json",
            r#"{"chat": [{"id": 1, "time": "* * * * * *", "action": "a.b", "serverId": "chat-9"}]}"#,
            "chat[0]: `serverId` is `chat-9`, and servers.json has no `chat` of this id",
        ),
        (
            "crons.json",
            r#"{"chat": [{"id": 1, "time": "* * * * * *", "action": "ab"}]}"#,
            "chat[0]: `action` is \"ab\", it should be `file.method`",
        ),
    ] {
        assert_eq!(
            error(&[("servers.json", SERVERS), (file, text)]),
            format!("built-in {file}: {sentence}")
        );
    }
}

#[test]
fn a_dictionary_of_no_routes_may_be_an_object() {
    let config = with(&[("servers.json", SERVERS), ("dictionary.json", "{}")]);
    assert_eq!(config.tables.dictionary, [""; 0]);
}

#[test]
fn what_is_wrong_with_tables_is_said_with_file_and_line() {
    let long = format!("[\"onAdd\",\n\"{}\"]", "x".repeat(256));
    for (file, text, sentence) in [
        ("dictionary.json", "[\n\"onAdd\",\n3]", "3: 3 is no route, which is a text such as"),
        ("dictionary.json", "{\"development\": [\n\"\"]}", "2: \"\" is no route, which"),
        ("dictionary.json", &long, "2: a route of 256 bytes, where 255 are allowed: xxx"),
        ("dictionary.json", "[\n\"onAdd\"", "2:7: EOF while parsing a list"),
        ("serverProtos.json", "{\n{", "2: not JSON: key must be a string"),
        ("serverProtos.json", "[]", "1: a message is an object of fields, such as {\"required"),
        ("serverProtos.json", "{\"on\":\n5}", "2: on: a message is an object of fields"),
        (
            "serverProtos.json",
            "{\"on\": {\n\"required text x\": 1 } }",
            "2: on: x: no type is called text: there are uInt32,",
        ),
        (
            "clientProtos.json",
            "{\"a.b.c\": {\n\"required string x\": \"1\" } }",
            "2: a.b.c: required string x: a tag is a number from 0 to",
        ),
        (
            "clientProtos.json",
            "{\"a.b.c\": {\"required string x\": 1,\n\"required float x\": 2 } }",
            "2: a.b.c: required float x: the name x is taken: give it another",
        ),
    ] {
        let error = error(&[("servers.json", SERVERS), (file, text)]);
        let expected = format!("built-in {file}:{sentence}");
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }
}

#[test]
fn what_pomelo_passes_over_in_tables_is_a_warning_with_file_and_line() {
    let config = with(&[
        ("servers.json", SERVERS),
        ("dictionary.json", "[\"onAdd\", \"onLeave\",\n\"onAdd\"]"),
        (
            "clientProtos.json",
            "{\"a.b.c\": {\n\"required string x\": 1,\n\"required float y\": 1, \"z\": 2 } }",
        ),
    ]);
    assert_eq!(
        config.warnings,
        [
            "built-in dictionary.json:2: onAdd is in the list twice: clients may use either code, and it is pushed with the later",
            "built-in clientProtos.json:3: not used: a.b.c: required float y: tag 1 is taken by a field before: give it another number",
            "built-in clientProtos.json:3: not used: a.b.c: z: a field is `required`, `optional` or `repeated`, its type, its name, with a space between",
        ]
    );
}

#[test]
fn a_password_that_begins_as_a_hash_is_one() {
    let users = r#"[{"id": 1, "username": "py", "password": "$argon2id$v=19$m=", "level": 1}]"#;
    let error = error(&[("servers.json", SERVERS), ("adminUser.json", users)]);
    let wanted = "built-in adminUser.json: [0]: `password` begins as a hash, and is none: ";
    assert!(error.starts_with(wanted), "{error}");
}

#[test]
fn passwords_and_tokens_do_not_show() {
    let users = r#"[{"id": 1, "username": "py", "password": "xyzzy", "level": 1}]"#;
    let config = with(&[("servers.json", SERVERS), ("adminUser.json", users)]);
    let shown = format!("{config:?}");
    assert!(shown.contains("py") && !shown.contains("xyzzy"));
}
