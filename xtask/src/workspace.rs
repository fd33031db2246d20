//! What cargo knows of the project.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The project, as cargo tells it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Every feature of every package, and each package that has some without any.
    pub(crate) features: Vec<(String, Option<String>)>,
}

impl Workspace {
    /// Asks cargo, from wherever in the project one is.
    pub(crate) fn find() -> anyhow::Result<Workspace> {
        let arguments = ["metadata", "--no-deps", "--format-version", "1"];
        let output = cargo().args(arguments).output().context("cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata =
            serde_json::from_slice(&output.stdout).context("what cargo metadata says")?;
        read(&metadata).context("cargo metadata has changed")
    }
}

/// Cargo, as one types it: without what it told this program of its package. `ring` would be built again, and all that
/// depends on it, each time that these are others.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let is_of_package =
            |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.starts_with(of));
        if name.to_str().is_some_and(is_of_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn read(metadata: &Value) -> Option<Workspace> {
    let path = |key: &str| Some(PathBuf::from(metadata.get(key)?.as_str()?));
    let mut features = Vec::new();
    for package in metadata.get("packages")?.as_array()? {
        let name = package.get("name")?.as_str()?;
        let all = package.get("features")?.as_object()?;
        let own = all.keys().filter(|feature| *feature != "default").cloned();
        let each = own.map(Some).collect::<Vec<_>>();
        if !each.is_empty() {
            features
                .extend([None].into_iter().chain(each).map(|feature| (name.to_owned(), feature)));
        }
    }
    Some(Workspace { root: path("workspace_root")?, target: path("target_directory")?, features })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_is_found_once_and_none_too() {
        let metadata = serde_json::json!({
            "workspace_root": "/here",
            "target_directory": "/there",
            "packages": [
                { "name": "plain", "features": {} },
                { "name": "rich", "features": { "default": [], "mqtt": [], "tls": ["dep:rustls"] } },
            ],
        });
        let features = read(&metadata).unwrap().features;
        let features: Vec<_> = features
            .iter()
            .map(|(package, feature)| (package.as_str(), feature.as_deref()))
            .collect();
        assert_eq!(features, [("rich", None), ("rich", Some("mqtt")), ("rich", Some("tls"))]);
    }
}
