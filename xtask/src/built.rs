//! Tests of single packages, as they were built for all.
//!
//! `cargo test --package` would build them and half of what they depend on again, with other features: four minutes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::workspace;

/// Runs the integration tests of these packages.
pub(crate) fn run(packages: &[&str]) -> anyhow::Result<()> {
    ensure!(!packages.is_empty(), "which packages?");
    let mut build = workspace::cargo();
    build.args(["test", "--workspace", "--all-features", "--no-run"]);
    build.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = build.output().context("cargo test")?;
    ensure!(output.status.success(), "cargo test: {}", output.status);
    let mut left = packages.to_vec();
    for line in output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let message = serde_json::from_slice(line).context("what cargo test says")?;
        let Some((package, Test { folder, program })) = test(&message) else { continue };
        if !packages.contains(&&*package) {
            continue;
        }
        left.retain(|name| *name != package);
        // What cargo tells them, too; else they would have what it told this program.
        let mut tests = Command::new(&program);
        tests.env("CARGO_PKG_NAME", &package).env("CARGO_MANIFEST_DIR", &folder);
        let status = tests.current_dir(folder).status();
        let status = status.with_context(|| program.display().to_string())?;
        ensure!(status.success(), "the tests of {package}: {status}");
    }
    ensure!(left.is_empty(), "these packages have no integration tests: {}", left.join(", "));
    Ok(())
}

/// A program of integration tests, and where it is to run.
#[derive(Debug, PartialEq)]
struct Test {
    folder: PathBuf,
    program: PathBuf,
}

/// The package of a message about such a program, which is what its folder is called.
fn test(message: &Value) -> Option<(String, Test)> {
    let target = message.get("target")?;
    let is_test = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    let program = message.get("executable")?.as_str().filter(|_| is_test)?;
    let folder = Path::new(message.get("manifest_path")?.as_str()?).parent()?;
    let package = folder.file_name()?.to_str()?.to_owned();
    Some((package, Test { folder: folder.to_owned(), program: program.into() }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_is_told_from_all_else_that_is_built() {
        let message = |kind: &str, executable: Value| {
            json!({
                "reason": "compiler-artifact",
                "manifest_path": "/here/examples/chat/Cargo.toml",
                "target": { "kind": [kind], "name": "it" },
                "executable": executable,
            })
        };
        let expected = Test { folder: "/here/examples/chat".into(), program: "/there/it".into() };
        let found = test(&message("test", json!("/there/it")));
        assert_eq!(found, Some(("chat".to_owned(), expected)));
        assert_eq!(test(&message("bin", json!("/there/chat"))), None);
        assert_eq!(test(&message("test", Value::Null)), None);
        assert_eq!(test(&json!({ "reason": "build-finished", "success": true })), None);
    }
}
