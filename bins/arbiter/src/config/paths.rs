//! Where the configuration file and the data are. Never the working directory.

use std::path::PathBuf;

use super::{Environment, FileConfig};
use crate::cli::Global;

/// The configuration file, and whether it was named (then it must exist).
pub(super) fn config_file(global: &Global, environment: &dyn Environment) -> Option<(PathBuf, bool)> {
    if let Some(path) = &global.config {
        return Some((path.clone(), true));
    }
    if let Some(path) = environment.get("ARBITER_CONFIG") {
        return Some((path.into(), true));
    }
    let base = absolute(environment.get("XDG_CONFIG_HOME"))
        .or_else(|| absolute(environment.get("HOME")).map(|home| home.join(".config")))?;
    Some((base.join("arbiter").join("config.toml"), false))
}

/// The data folder, and what says so.
pub(super) fn data_dir(
    global: &Global,
    environment: &dyn Environment,
    file: &FileConfig,
) -> Result<(PathBuf, &'static str), String> {
    if let Some(path) = &global.data_dir {
        return Ok((path.clone(), "--data-dir"));
    }
    if let Some(path) = environment.get("ARBITER_DATA_DIR") {
        return Ok((path.into(), "ARBITER_DATA_DIR"));
    }
    if let Some(path) = &file.data_dir {
        return Ok((path.clone(), "configuration file"));
    }
    if let Some(base) = absolute(environment.get("XDG_DATA_HOME")) {
        return Ok((base.join("arbiter"), "XDG_DATA_HOME"));
    }
    if let Some(home) = absolute(environment.get("HOME")) {
        return Ok((home.join(".local").join("share").join("arbiter"), "HOME"));
    }
    Err("no folder for data: give --data-dir, or set ARBITER_DATA_DIR, XDG_DATA_HOME or HOME".to_owned())
}

/// The XDG specification ignores relative paths in its variables.
fn absolute(text: Option<String>) -> Option<PathBuf> {
    text.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    struct Variables(BTreeMap<&'static str, &'static str>);

    impl Environment for Variables {
        fn get(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|&value| value.to_owned())
        }
    }

    fn data(
        flag: Option<&str>,
        file: Option<&str>,
        variables: &[(&'static str, &'static str)],
    ) -> Result<PathBuf, String> {
        let global = Global {
            data_dir: flag.map(PathBuf::from),
            ..Global::default()
        };
        let file = FileConfig {
            data_dir: file.map(PathBuf::from),
            ..FileConfig::default()
        };
        data_dir(&global, &Variables(variables.iter().copied().collect()), &file).map(|(path, _)| path)
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let all = [
            ("ARBITER_DATA_DIR", "/env"),
            ("XDG_DATA_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        assert_eq!(
            data(Some("/flag"), Some("/file"), &all).as_deref(),
            Ok(Path::new("/flag"))
        );
        assert_eq!(data(None, Some("/file"), &all).as_deref(), Ok(Path::new("/env")));
        assert_eq!(
            data(None, Some("/file"), &all[1..]).as_deref(),
            Ok(Path::new("/file"))
        );
        assert_eq!(
            data(None, None, &all[1..]).as_deref(),
            Ok(Path::new("/xdg/arbiter"))
        );
        assert_eq!(
            data(None, None, &all[2..]).as_deref(),
            Ok(Path::new("/home/me/.local/share/arbiter"))
        );
        assert!(data(None, None, &[("XDG_DATA_HOME", "relative")]).is_err());
    }

    #[test]
    fn the_configuration_is_never_looked_for_in_the_working_directory() {
        assert_eq!(config_file(&Global::default(), &Variables(BTreeMap::new())), None);
        let variables = Variables([("HOME", "/home/me")].into());
        let expected = PathBuf::from("/home/me/.config/arbiter/config.toml");
        assert_eq!(
            config_file(&Global::default(), &variables),
            Some((expected, false))
        );
    }
}
