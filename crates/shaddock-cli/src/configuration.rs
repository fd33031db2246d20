//! Where the configuration is.

use std::path::Path;

use shaddock::config::Overrides;
use shaddock::{Config, ConfigError};

use crate::arguments::Options;

/// Where a configuration is looked for when nobody says where it is.
const FOLDER: &str = "config";

/// A configuration, and a line about where it was.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) config: Config,
    pub(crate) place: String,
}

/// The folder of `--config`, else `./config` if a servers.json is in it, else what is built in.
pub(crate) fn find(options: &Options, embedded: &[(&str, &str)]) -> Result<Found, ConfigError> {
    let set = |all: Overrides, (key, value): &(String, String)| all.set(key, value);
    let mut overrides = options.set.iter().fold(Overrides::from_env(), set);
    if let Some(urls) = &options.cluster {
        overrides = overrides.set("cluster.urls", urls);
    }
    find_in(Path::new(FOLDER), options, &overrides, embedded)
}

fn find_in(
    folder: &Path,
    options: &Options,
    overrides: &Overrides,
    embedded: &[(&str, &str)],
) -> Result<Found, ConfigError> {
    let environment = options.env.as_deref();
    let dir = options.config.as_deref().unwrap_or(folder);
    let (config, place) = match Config::load(dir, environment, overrides) {
        Err(ConfigError::NoServers { .. }) if options.config.is_none() && !embedded.is_empty() => {
            (Config::embedded(embedded, environment, overrides)?, "built in".to_owned())
        }
        config => (config?, dir.display().to_string()),
    };
    let place = format!("configuration: {place}, environment {}", config.environment);
    Ok(Found { config, place })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use clap::Parser as _;

    use super::*;
    use crate::arguments::Arguments;

    const EMBEDDED: &[(&str, &str)] =
        &[("servers.json", r#"{"chat": [{"id": "chat-1", "host": "127.0.0.1"}]}"#)];

    /// A folder with one server, called as the folder, or with none.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, has_servers: bool) -> Folder {
            let path =
                std::env::temp_dir().join(format!("shaddock-cli-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("test")).unwrap();
            fs::write(path.join("settings.yml"), "not: ours").unwrap();
            if has_servers {
                let text = format!(r#"{{"chat": [{{"id": "{name}", "host": "127.0.0.1"}}]}}"#);
                fs::write(path.join("test/servers.json"), text).unwrap();
            }
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn look(
        folder: &Folder,
        flags: &[&str],
        embedded: &[(&str, &str)],
    ) -> Result<(String, String), ConfigError> {
        let line = ["chat", "--env", "test"].iter().chain(flags);
        let options = Arguments::parse_from(line).options;
        let found = find_in(&folder.0, &options, &Overrides::default(), embedded)?;
        Ok((found.config.servers[0].id.clone(), found.place))
    }

    #[test]
    fn the_folder_comes_before_what_is_built_in() {
        let folder = Folder::new("usual", true);
        let (server, place) = look(&folder, &[], EMBEDDED).unwrap();
        assert_eq!(server, "usual");
        assert_eq!(place, format!("configuration: {}, environment test", folder.0.display()));
    }

    #[test]
    fn a_folder_of_something_else_is_passed_by() {
        let (server, place) = look(&Folder::new("foreign", false), &[], EMBEDDED).unwrap();
        assert_eq!(server, "chat-1");
        assert_eq!(place, "configuration: built in, environment test");
    }

    #[test]
    fn the_folder_that_is_named_is_the_one() {
        let (usual, named) = (Folder::new("other", true), Folder::new("named", true));
        let flags = ["--config", named.0.to_str().unwrap()];
        assert_eq!(look(&usual, &flags, EMBEDDED).unwrap().0, "named");
    }

    #[test]
    fn a_folder_that_is_named_must_have_servers() {
        let (usual, named) = (Folder::new("passed-by", true), Folder::new("empty", false));
        let flags = ["--config", named.0.to_str().unwrap()];
        let error = look(&usual, &flags, EMBEDDED).unwrap_err();
        assert!(matches!(error, ConfigError::NoServers { .. }), "{error}");
    }

    #[test]
    fn where_nothing_is_built_in_the_error_names_the_folder() {
        let folder = Folder::new("nothing", false);
        let error = look(&folder, &[], &[]).unwrap_err().to_string();
        assert!(error.contains(folder.0.to_str().unwrap()), "{error}");
    }
}
