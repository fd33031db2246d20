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
    let manifest = MANIFEST
        .replace(
            "SHADDOCK",
            &[dependency("shaddock", crates, ""), dependency("shaddock-cli", crates, "")]
                .join("\n"),
        )
        .replace("TESTING", &dependency("shaddock", crates, ", features = [\"testing\"]"));
    let mut scripts = String::new();
    for (file, _) in CLIENT {
        let _ =
            writeln!(scripts, r#"    ("/client/{file}", include_str!("../web/client/{file}")),"#);
    }
    let page = PAGE.replace("SCRIPTS]", &format!("{scripts}]"));

    let own = [("Cargo.toml", manifest.as_str()), ("src/page.rs", &page)];
    let named = |text: &str| text.replace("my-game", name).replace("my_game", &identifier(name));
    let mut files: Vec<_> =
        (own.iter().chain(FILES)).map(|(file, text)| ((*file).to_owned(), named(text))).collect();
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
