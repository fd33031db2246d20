//! What the tests need beside Rust.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::plan::Scope;

/// A program that tests need.
#[derive(Debug)]
struct Tool {
    name: &'static str,
    /// What is left out without it.
    purpose: &'static str,
    /// How to get it.
    hint: &'static str,
    /// Whether it must be there where nothing may be left out.
    is_required: bool,
    is_there: fn() -> bool,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "c++",
        purpose: "the fuzz targets",
        hint: "apt-get install g++",
        is_required: true,
        is_there: || answers("c++", &["--version"]),
    },
    Tool {
        name: "node",
        purpose: "the JavaScript client and all end-to-end tests",
        hint: "version 20.10 or later: apt-get install nodejs, or from nodejs.org",
        is_required: true,
        is_there: || {
            let recent = "const [a, b] = process.versions.node.split('.'); process.exit(a > 20 || (a == 20 && b >= 10) ? 0 : 1)";
            answers("node", &["-e", recent])
        },
    },
    Tool {
        name: "npm",
        purpose: "the JavaScript client and all end-to-end tests",
        hint: "apt-get install npm",
        is_required: true,
        is_there: || answers("npm", &["--version"]),
    },
    Tool {
        name: "nats-server",
        purpose: "servers in several processes",
        hint: "apt-get install nats-server, or set NATS_SERVER to the path of one",
        is_required: true,
        is_there: || {
            let named = env::var_os("NATS_SERVER").filter(|named| !named.is_empty());
            // Debian's place is not in everybody's path.
            let places = [named, Some("nats-server".into()), Some("/usr/sbin/nats-server".into())];
            places.into_iter().flatten().any(|program| answers(program, &["--version"]))
        },
    },
    Tool {
        name: "openssl",
        purpose: "the certificates of deploy/",
        hint: "apt-get install openssl",
        is_required: true,
        is_there: || answers("openssl", &["version"]),
    },
    Tool {
        name: "systemd-analyze",
        purpose: "the files of deploy/",
        hint: "apt-get install systemd",
        is_required: true,
        is_there: || answers("systemd-analyze", &["--version"]),
    },
    Tool {
        name: "network namespaces",
        purpose: "the chat while its parts die, freeze and are cut off",
        hint: "apt-get install iproute2 util-linux, and be root or one who may `unshare --user`",
        is_required: true,
        is_there: || {
            let make = "unshare --net --pid --fork --mount-proc true \
                || unshare --user --map-root-user --net --pid --fork --mount-proc true";
            answers("ip", &["-V"]) && answers("sh", &["-c", make])
        },
    },
    Tool {
        name: "valgrind",
        purpose: "how many instructions the hot paths take",
        hint: "apt-get install valgrind",
        is_required: true,
        is_there: || answers("valgrind", &["--version"]),
    },
    Tool {
        name: "chromium",
        purpose: "the tests of the page",
        hint: "apt-get install chromium, or set CHROMIUM to the path of one",
        is_required: true,
        is_there: || {
            let program = env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
            Path::new(&program).exists()
        },
    },
    Tool {
        name: "python3-venv",
        purpose: "the tests with pypomelo, with a newer nats-server, under faults, and of the files of deploy/",
        hint: "apt-get install python3-venv",
        is_required: true,
        is_there: || answers("python3", &["-c", "import ensurepip, venv"]),
    },
    Tool {
        name: "cargo-deny",
        purpose: "licences and advisories",
        hint: "cargo install --locked cargo-deny",
        is_required: false,
        is_there: || answers("cargo", &["deny", "--version"]),
    },
];

/// What is not on this machine.
#[derive(Debug)]
pub(crate) struct Missing(Vec<&'static Tool>);

impl Missing {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|tool| tool.name == name)
    }

    /// A line for each.
    pub(crate) fn tell(&self) {
        for Tool { name, purpose, hint, .. } in &self.0 {
            println!("NOT TESTED without {name}: {purpose} (to get it: {hint})");
        }
    }
}

/// Looks for what the tests of `scope` need.
///
/// # Errors
///
/// With `CI` set, if anything is missing that must be there.
pub(crate) fn look(scope: Scope) -> anyhow::Result<Missing> {
    look_for(|tool| scope == Scope::All || tool == "c++")
}

/// Looks for the tools that are `needed`, by their names.
///
/// # Errors
///
/// As [`look`].
pub(crate) fn look_for(needed: impl Fn(&str) -> bool) -> anyhow::Result<Missing> {
    let is_strict = env::var_os("CI").is_some_and(|value| !value.is_empty());
    let is_missing = |tool: &&Tool| needed(tool.name) && !(tool.is_there)();
    let missing = Missing(TOOLS.iter().filter(is_missing).collect());
    missing.tell();
    if is_strict && missing.0.iter().any(|tool| tool.is_required) {
        bail!("with CI set, nothing may be left out");
    }
    Ok(missing)
}

fn answers(program: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
