//! What a project may be called.

/// What Rust keeps for itself, and what the project depends on: a crate can't have these names.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "axum",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde_json",
    "shaddock",
    "shaddock_cli",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tokio",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Lets a name through that can be a folder's, a package's and a crate's.
pub(super) fn check(name: &str) -> Result<String, String> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !begins || !name.chars().all(fine) {
        return Err(
            "a name is lower-case letters, digits, `-` and `_`, the first of them a letter, \
                    such as my-game"
                .to_owned(),
        );
    }
    if TAKEN.contains(&identifier(name).as_str()) {
        return Err("this name is taken by Rust, or by what the project depends on".to_owned());
    }
    Ok(name.to_owned())
}

/// The name in Rust's code.
pub(super) fn identifier(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_crate() {
        for fine in ["game", "my-game", "my_game", "g2", "self-made"] {
            assert_eq!(check(fine), Ok(fine.to_owned()));
        }
        for bad in ["", "2game", "-game", "_game", "My-game", "my game", "a/b", "..", "jeu-de-thé"]
        {
            assert!(check(bad).unwrap_err().contains("such as my-game"), "{bad}");
        }
        for taken in ["async", "test", "serde", "shaddock-cli", "proc-macro"] {
            assert!(check(taken).unwrap_err().contains("taken"), "{taken}");
        }
    }
}
