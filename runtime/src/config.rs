//! The configuration file: TOML, unknown keys and impossible values refused with their line. `board/host.toml` is
//! one with every setting.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use homing_board::host::HostSettings;
use serde::{Deserialize, Deserializer, de::Error};

use crate::report::nmea::SentenceSettings;

/// Where a bundle is looked for when none is named, in this order.
pub const BUNDLES: [&str; 2] = ["models/shipped", "/usr/share/homing/bundle"];

/// The boards that this program was built for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoardKind {
    /// A simulated vehicle on the simulated planet.
    #[default]
    Host,
}

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The board.
    pub board: BoardKind,
    /// Directory of the model bundle.
    #[serde(deserialize_with = "not_empty")]
    pub bundle: Option<PathBuf>,
    /// Directory for NMEA, JSON lines and pictures.
    #[serde(deserialize_with = "not_empty")]
    pub out: Option<PathBuf>,
    /// Where sentences go as well: `pty`, a device, a named pipe or a file.
    #[serde(deserialize_with = "not_empty")]
    pub link: Option<String>,
    /// How sentences are written.
    pub sentences: SentenceSettings,
    /// The simulated vehicle.
    pub host: HostSettings,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}; name a configuration file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of it is wrong.
    #[error("{}: line {line}: {cause}; board/host.toml shows every setting", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When it cannot be read or a line is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|e: toml::de::Error| {
            let start = e.span().map_or(0, |s| s.start);
            let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
            ConfigError::Line { path: path.to_owned(), line, cause: e.message().replace('\n', " ") }
        })
    }

    /// The bundle's directory: the one named, else the first of [`BUNDLES`] that is there.
    pub fn bundle_dir(&self, named: Option<&Path>) -> PathBuf {
        let there = || BUNDLES.iter().map(Path::new).find(|p| p.is_dir());
        named.or(self.bundle.as_deref()).or_else(there).unwrap_or(Path::new(BUNDLES[0])).to_owned()
    }
}

/// A path or name that was given but says nothing is a slip, and would mean another place each time.
fn not_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + AsRef<OsStr>>(value: D) -> Result<Option<T>, D::Error> {
    let given = T::deserialize(value)?;
    match given.as_ref().is_empty() {
        true => Err(D::Error::custom("it is empty; name something or take the line out")),
        false => Ok(Some(given)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_file_has_every_setting_at_its_default() {
        let text = include_str!("../../board/host.toml");
        let read: Config = toml::from_str(text).unwrap();
        assert_eq!(read, Config { out: Some("out".into()), ..Config::default() });
        // The examples behind a "#" are settings too.
        let is_setting = |l: &str| l.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', ':']));
        let example = |l: &str| l.strip_prefix("# ").filter(|l| is_setting(l)).unwrap_or(l).to_owned();
        let all: Vec<String> = text.lines().map(example).collect();
        let read: Config = toml::from_str(&all.join("\n")).unwrap();
        assert!(read.bundle.is_some() && read.link.is_some() && read.host.camera_px.is_some());
    }

    #[test]
    fn impossible_values_are_refused_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("homing.toml");
        for (line, says) in [
            ("camera_px = 4096", "camera_px is 4096, need 16..=1024"),
            ("step_km = 0", "step_km is 0, need 0.001..=50"),
            ("dead_cameras = [\"rear\"]", "dead_cameras: no camera \"rear\"; use front, right, back, left"),
        ] {
            std::fs::write(&path, format!("board = \"host\"\n[host]\n{line}\n")).unwrap();
            let e = Config::read(&path).unwrap_err().to_string();
            assert!(e.contains(&format!("homing.toml: line 3: {says}")), "{e}");
        }
        for key in ["link", "out", "bundle"] {
            std::fs::write(&path, format!("\n{key} = \"\"\n")).unwrap();
            let e = Config::read(&path).unwrap_err().to_string();
            assert!(e.contains("homing.toml: line 2: ") && e.contains("it is empty"), "{e}");
        }
    }

    #[test]
    fn read_or_refused_with_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("homing.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::read(&path)
        };
        let c = read("board = \"host\"\nlink = \"pty\"\n[host]\nseed = 9\ngnss = \"denied\"\n").unwrap();
        assert_eq!((c.host.seed, c.link.as_deref()), (9, Some("pty")));
        assert_eq!(read("").unwrap(), Config::default());
        let e = read("board = \"host\"\n\ncolour = 1\n").unwrap_err().to_string();
        assert!(e.contains("line 3: unknown field `colour`") && !e.contains('\n'), "{e}");
        let e = read("[host]\nseed = -4\n").unwrap_err().to_string();
        assert!(e.contains("line 2"), "{e}");
        assert!(Config::read(&dir.path().join("none.toml")).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_named_bundle_wins() {
        let c = Config { bundle: Some("configured".into()), ..Config::default() };
        assert_eq!(c.bundle_dir(Some("named".as_ref())), Path::new("named"));
        assert_eq!(c.bundle_dir(None), Path::new("configured"));
    }
}
