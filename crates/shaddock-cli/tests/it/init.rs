//! A new project: it is built, tested, run, and visited.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use shaddock::testing::client::Client;

/// A folder that is gone with this.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("shaddock-init-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn shaddock(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shaddock"));
        command.args(line.split(' ')).current_dir(&self.0).output().unwrap()
    }
}

fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Cargo's folder for what it builds, which has the program in its `debug`.
fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_shaddock"));
    program.parent().unwrap().parent().unwrap().to_owned()
}

/// Does as one would in the project, with what was built already of what it depends on: the workspace, too, has no
/// debug information of others, which takes most of the time.
fn cargo(project: &Path, line: &str) {
    let mut command = Command::new(env!("CARGO"));
    // What cargo tells tests of their package is nothing to it: `ring` would be built again for each that it is told of.
    for (name, _) in std::env::vars_os() {
        let is_of_package =
            |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.starts_with(of));
        if name.to_str().is_some_and(is_of_package) {
            command.env_remove(name);
        }
    }
    let output = command
        .args(line.split(' '))
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "cargo {line}: {}", said.concat());
}

#[tokio::test]
async fn a_new_project_builds_passes_its_test_and_runs() {
    let folder = Folder::new("new");
    let made = folder.shaddock(&format!("init new-game --path {}", checkout().display()));
    assert!(made.status.success(), "{made:?}");
    let project = folder.0.join("new-game");
    // The versions that are here already, so that nothing has to be fetched.
    fs::copy(checkout().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    cargo(&project, "fmt --check");
    cargo(&project, "test --offline");
    cargo(&project, "build --offline");

    let mut process = Process(
        Command::new(target().join("debug/new-game"))
            .args(["--set", "app.page=127.0.0.1:0", "--set", "frontend.bind=127.0.0.1:0"])
            .current_dir(&project)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = Vec::new();
    for line in BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if line.starts_with("ready in ") {
            break;
        }
        lines.push(line);
    }
    let place = |what: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(what));
        found.unwrap_or_else(|| panic!("no {what:?} in {lines:?}")).to_owned()
    };
    let page = place("the page: http://");
    let html = get(&page, "/");
    assert!(html.contains("<title>new-game</title>"), "{html}");
    assert!(html.contains("port: 3014 "), "it knows the gate: {html}");
    for script in fs::read_dir(checkout().join("clients/js")).unwrap() {
        let path = script.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "js") {
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = get(&page, &format!("/client/{name}"));
            assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}");
        }
    }

    let visitor = json!({ "name": "py", "room": "lobby" });
    let gate = Client::connect(&format!("ws://{}", place("gate       "))).await.unwrap();
    let found: Value = gate.request("gate.gateHandler.find", &visitor).await.unwrap();
    assert_eq!(found, json!(["127.0.0.1", 3050]));
    let client = Client::connect(&format!("ws://{}", place("connector  "))).await.unwrap();
    let people: Value = client.request("connector.entryHandler.enter", &visitor).await.unwrap();
    assert_eq!(people, json!(["py"]));
}

fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{path}: {head}");
    body.to_owned()
}

#[test]
fn what_can_not_be_made_is_refused_and_leaves_what_is_there() {
    let folder = Folder::new("refused");
    fs::create_dir(folder.0.join("mine")).unwrap();
    for (line, code, wanted) in [
        ("init mine", 1, "mine exists already"),
        ("init other --path .", 1, "--path .: this is no checkout of Shaddock"),
        ("init ../other", 2, "such as my-game"),
        ("init async", 2, "taken by Rust"),
        ("init", 2, "<NAME>"),
    ] {
        let output = folder.shaddock(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(wanted), "{line}: {said}");
    }
    let there: Vec<_> = fs::read_dir(&folder.0).unwrap().collect();
    assert_eq!(there.len(), 1);
    assert_eq!(fs::read_dir(folder.0.join("mine")).unwrap().count(), 0);
}

#[test]
fn a_project_has_its_shaddock_from_crates_io_by_default() {
    let folder = Folder::new("crates-io");
    let made = folder.shaddock("init game");
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && said.contains("of crates.io"), "{said}");
    let manifest = fs::read_to_string(folder.0.join("game/Cargo.toml")).unwrap();
    let wanted = concat!("shaddock = { version = \"", env!("CARGO_PKG_VERSION"), "\" }\n");
    assert!(manifest.contains(wanted), "{manifest}");
    assert!(!manifest.contains("path"), "{manifest}");
}
