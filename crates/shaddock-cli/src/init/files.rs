//! The files of a new project. They are of a project called `my-game`, which has its name changed.

use std::fmt::Write as _;
use std::path::Path;

use super::name::identifier;

const MANIFEST: &str = include_str!("../../template/manifest.toml");
const PAGE: &str = include_str!("../../template/src/page.rs");

/// Those that are as they are but for the name.
const FILES: &[(&str, &str)] = &[
    ("src/lib.rs", include_str!("../../template/src/lib.rs")),
    ("src/main.rs", include_str!("../../template/src/main.rs")),
    ("config/servers.json", include_str!("../../template/config/servers.json")),
    ("config/shaddock.toml", include_str!("../../template/config/shaddock.toml")),
    ("tests/room.rs", include_str!("../../template/tests/room.rs")),
    ("web/index.html", include_str!("../../template/web/index.html")),
    (".gitignore", "/target\n"),
    ("rustfmt.toml", "use_small_heuristics = \"Max\"\n"),
];

/// The client for JavaScript.
const CLIENT: &[(&str, &str)] = &[
    ("connection.js", include_str!("../../client-js/connection.js")),
    ("errors.js", include_str!("../../client-js/errors.js")),
    ("protobuf.js", include_str!("../../client-js/protobuf.js")),
    ("shaddock.js", include_str!("../../client-js/shaddock.js")),
    ("signing.js", include_str!("../../client-js/signing.js")),
    ("socket.js", include_str!("../../client-js/socket.js")),
    ("tables.js", include_str!("../../client-js/tables.js")),
    ("wire.js", include_str!("../../client-js/wire.js")),
];

/// The files of the project `name`: paths and texts. `crates` is where Shaddock is, if not at crates.io.
pub(super) fn of(name: &str, crates: Option<&Path>) -> Vec<(String, String)> {
    let named = |text: &str| text.replace("my-game", name).replace("my_game", &identifier(name));
    let mut manifest = String::new();
    for line in named(MANIFEST).lines() {
        // A path is put in as it is, whatever names are in it.
        let lines = match line {
            "SHADDOCK" => {
                dependency("shaddock", crates, "") + "\n" + &dependency("shaddock-cli", crates, "")
            }
            "TESTING" => dependency("shaddock", crates, ", features = [\"testing\"]"),
            line => line.to_owned(),
        };
        let _ = writeln!(manifest, "{lines}");
    }
    let mut scripts = String::new();
    for (file, _) in CLIENT {
        let _ =
            writeln!(scripts, r#"    ("/client/{file}", include_str!("../web/client/{file}")),"#);
    }
    let page = named(PAGE).replace("SCRIPTS]", &format!("{scripts}]"));

    let mut files = vec![("Cargo.toml".to_owned(), manifest), ("src/page.rs".to_owned(), page)];
    files.extend(FILES.iter().map(|(file, text)| ((*file).to_owned(), named(text))));
    files.extend(
        CLIENT.iter().map(|(file, text)| (format!("web/client/{file}"), (*text).to_owned())),
    );
    files
}

/// A line of Cargo.toml.
fn dependency(krate: &str, crates: Option<&Path>, rest: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match crates {
        // A text in quotes is written alike in Rust and in TOML, whatever a path may hold.
        Some(crates) => {
            format!("{krate} = {{ path = {:?}{rest} }}", crates.join(krate).display().to_string())
        }
        None => format!("{krate} = {{ version = \"{version}\"{rest} }}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_may_be_anywhere() {
        let crates = Path::new("/src/my-game/my_game TESTING SHADDOCK/crates");
        let files = of("other", Some(crates));
        let manifest = &files.iter().find(|(file, _)| file == "Cargo.toml").unwrap().1;
        let wanted = format!("shaddock = {{ path = {:?}", crates.join("shaddock"));
        assert_eq!(manifest.matches(&wanted).count(), 2, "{manifest}");
        assert!(manifest.contains("name = \"other\""), "{manifest}");
    }
}
