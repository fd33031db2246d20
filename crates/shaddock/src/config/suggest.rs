//! What the writer of a wrong key most likely meant.

/// Keys a reader may look for in `shaddock.toml` and that have their home elsewhere.
const MOVED: &[(&str, &str)] = &[
    ("connections", "it is `max-connections` of the server in servers.json"),
    ("max-connections", "it belongs to the server in servers.json"),
    ("host", "it belongs to servers.json or master.json; where to listen is `bind`"),
    ("port", "it belongs to servers.json or master.json"),
    ("client-host", "it is `clientHost` of the server in servers.json"),
    ("client-port", "it is `clientPort` of the server in servers.json"),
    ("distinct-host", "where to listen is `bind`"),
    ("use-proto", "did you mean `use-protobuf`?"),
];

/// The one of `known` that the writer of `word` most likely meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&word, &plain(name)), name))
        .filter(|(likeness, _)| *likeness > 0.88)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// `use_dict`, `useDict` and `use-dict` differ by taste only.
fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Says in a reader's words what serde says in a programmer's.
pub(super) fn explain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field ") else {
        return match message.split_once(", expected ") {
            Some((found, "u32" | "usize")) => format!("{found}, expected a whole number"),
            Some((found, what)) if what.starts_with("struct ") => {
                format!("{found}, expected a section")
            }
            _ => message.into(),
        };
    };
    let mut names = rest.split('`').skip(1).step_by(2);
    let key = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();

    if let Some((_, where_to)) = MOVED.iter().find(|(name, _)| plain(name) == plain(key)) {
        return format!("unknown key `{key}`: {where_to}");
    }
    match nearest(key, known.iter().copied()) {
        Some(name) => format!("unknown key `{key}`: did you mean `{name}`?"),
        None => format!("unknown key `{key}`: here go {}", list(known)),
    }
}

/// `a`, `b`, `c`
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
