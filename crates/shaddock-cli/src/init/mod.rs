//! `init`: a new project, which builds, runs and passes its test, once Shaddock is where it looks for it.

mod files;
mod name;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;

use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// What the project and its folder are called, such as my-game
    #[arg(value_parser = name::check)]
    name: String,
    /// Use the Shaddock of this checkout instead of the one at crates.io
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Makes the folder of the project in `place`.
pub(crate) fn init(project: &Init, place: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let Init { name, path } = project;
    let crates = path.as_deref().map(crates).transpose()?;
    let folder = place.join(name);
    fs::create_dir(&folder).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("{name} exists already: choose another name, or go to another folder")
        }
        _ => anyhow!(error).context(format!("the folder {} can't be made", folder.display())),
    })?;
    for (file, text) in files::of(name, crates.as_deref()) {
        write(&folder.join(file), &text)?;
    }
    say(out, &format!("{name} is made. To see it run, and to test it:"));
    say(out, &format!("  cd {name}"));
    say(out, "  cargo run     # then open http://127.0.0.1:3001 in two tabs");
    say(out, "  cargo test");
    if path.is_none() {
        let version = env!("CARGO_PKG_VERSION");
        say(
            out,
            &format!(
                "It wants Shaddock {version} of crates.io; where that has none yet, make it with --path and a checkout of Shaddock."
            ),
        );
    }
    Ok(())
}

/// Where a checkout has its crates.
fn crates(checkout: &Path) -> anyhow::Result<PathBuf> {
    let crates = checkout.join("crates");
    let shown = checkout.display();
    ensure!(
        crates.join("shaddock/Cargo.toml").is_file(),
        "--path {shown}: this is no checkout of Shaddock: it has no crates/shaddock"
    );
    crates.canonicalize().with_context(|| format!("--path {shown}"))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().into_iter().try_for_each(fs::create_dir_all);
    folder.and_then(|()| fs::write(file, text)).with_context(|| file.display().to_string())
}
