//! Where a password comes from: never from the command line, which others can see.

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use anyhow::{Context as _, bail};
use shaddock::admin::{Credentials, hash_password};

use super::arguments::Login;
use crate::output::say;

/// The variable with the password.
const VARIABLE: &str = "SHADDOCK_PASSWORD";

/// Who asks, with the password of stdin, else of the variable, else as somebody types it.
pub(crate) fn credentials(login: &Login) -> anyhow::Result<Credentials> {
    let user = &login.user;
    let password = match std::env::var(VARIABLE).ok().filter(|password| !password.is_empty()) {
        _ if login.password_stdin => line()?,
        Some(password) => password,
        None if io::stdin().is_terminal() => typed(&format!("password of {user}: "))?,
        None => bail!(
            "the password of {user} is needed: set {VARIABLE}, or give --password-stdin and have it on stdin"
        ),
    };
    Ok(Credentials::new(user, password))
}

/// `hash-password`: prints what adminUser.json should have for the password that is typed, or on stdin.
pub(crate) fn hash(out: &mut impl Write) -> anyhow::Result<bool> {
    let password = match io::stdin().is_terminal() {
        true => {
            let password = typed("password: ")?;
            if typed("once more: ")? != password {
                bail!("these are two different passwords");
            }
            password
        }
        false => line()?,
    };
    let hash = hash_password(&password).map_err(|fault| anyhow::anyhow!("{}", fault.reason()))?;
    say(out, &hash);
    Ok(true)
}

fn typed(question: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(question).context("the password can't be asked for")
}

/// A line of stdin.
fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("the password can't be read from stdin")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
