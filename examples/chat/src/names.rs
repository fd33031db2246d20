//! What people and rooms may be called, and how both make a uid.

use shaddock::{Fault, Result};

/// How long a name may be, in characters.
const LONGEST: usize = 20;

/// Whether somebody or a room can be called `name`: 1 to 20 letters, digits, underscores or
/// Chinese characters. A page checks the same, and can't be trusted to.
pub(crate) fn check(name: &str) -> Result<()> {
    let fine =
        |c: char| c.is_ascii_alphanumeric() || c == '_' || ('\u{4e00}'..='\u{9fa5}').contains(&c);
    if (1..=LONGEST).contains(&name.chars().count()) && name.chars().all(fine) {
        return Ok(());
    }
    Err(Fault::new(500, format!("nobody and no room can be called {name:?}")))
}

/// The uid of `user` in `room`. Neither holds an asterisk.
pub(crate) fn uid(user: &str, room: &str) -> String {
    format!("{user}*{room}")
}

/// What people see of a uid.
pub(crate) fn user_name(uid: &str) -> &str {
    uid.split_once('*').map_or(uid, |(user, _)| user)
}

/// The room in a uid.
pub(crate) fn room_name(uid: &str) -> &str {
    uid.split_once('*').map_or("", |(_, room)| room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_underscores_and_chinese() {
        for fine in ["py", "小明", "a_1", "abcdefghijklmnopqrst"] {
            assert!(check(fine).is_ok(), "{fine}");
        }
        for bad in ["", "a b", "a*b", "<b>", "é", "😀", "abcdefghijklmnopqrstu"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_uid_holds_both_names() {
        let uid = uid("py", "lobby");
        assert_eq!((user_name(&uid), room_name(&uid)), ("py", "lobby"));
    }
}
