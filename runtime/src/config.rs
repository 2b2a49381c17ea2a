//! The configuration file: TOML, unknown keys and impossible values refused with their line. `board/host.toml` is
//! one with every setting.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use homing_board::{
    BoardError,
    cameras::CameraSettings,
    displays::{DisplaySettings, PanelSettings},
    host::HostSettings,
    line::{self, LineSettings},
    receiver::ReceiverSettings,
    vehicle::{Carrier, Mounting},
};
use homing_models::MAX_VIEWS;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    report::settings::{LONGEST_BURST, MavlinkSettings, SentenceSettings},
    store,
};

/// Where a bundle is looked for when none is named, in this order.
pub const BUNDLES: [&str; 3] = [store::PLACE, SHIPPED, PACKAGED];
/// The bundle that comes along, in a folder that has the project.
const SHIPPED: &str = "models/shipped";
/// The bundle that the Debian package brings.
pub const PACKAGED: &str = "/usr/share/homing/bundle";

/// The boards that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoardKind {
    /// A simulated vehicle on the simulated planet.
    #[default]
    Host,
    /// A Raspberry Pi.
    Raspberry,
    /// A Jetson, or any other Linux board.
    #[serde(alias = "linux")]
    Jetson,
}

impl BoardKind {
    /// The board of a vehicle of hardware.
    pub fn carrier(self) -> Option<Carrier> {
        match self {
            BoardKind::Host => None,
            BoardKind::Raspberry => Some(Carrier::Raspberry),
            BoardKind::Jetson => Some(Carrier::Jetson),
        }
    }
}

/// What a configuration file says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The board.
    pub board: BoardKind,
    /// Directory of the model bundle, or of a store of bundles.
    #[serde(deserialize_with = "not_empty")]
    pub bundle: Option<PathBuf>,
    /// Directory for NMEA, JSON lines and pictures.
    #[serde(deserialize_with = "not_empty")]
    pub out: Option<PathBuf>,
    /// Where sentences go as well: `pty`, a device, a named pipe or a file.
    #[serde(deserialize_with = "not_empty")]
    pub link: Option<String>,
    /// Threads that share a panorama, 1..=4.
    #[serde(deserialize_with = "threads")]
    pub threads: usize,
    /// How sentences are written.
    pub sentences: SentenceSettings,
    /// Where it is set, the link speaks MAVLink in place of sentences.
    pub mavlink: Option<MavlinkSettings>,
    /// Fixes a second of a vehicle of hardware, 0.1..=10.
    #[serde(deserialize_with = "rate_hz")]
    pub rate_hz: f64,
    /// The cameras of a vehicle of hardware.
    pub cameras: CameraSettings,
    /// Its GNSS receiver, where it has one.
    pub gnss: Option<ReceiverSettings>,
    /// How a serial line is run.
    pub line: LineSettings,
    /// Its display.
    pub display: DisplaySettings,
    /// Its lamp and button.
    pub panel: PanelSettings,
    /// The simulated vehicle.
    pub host: HostSettings,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            board: BoardKind::default(),
            bundle: None,
            out: None,
            link: None,
            threads: 1,
            sentences: SentenceSettings::default(),
            mavlink: None,
            rate_hz: 1.0,
            cameras: CameraSettings::default(),
            gnss: None,
            line: LineSettings::default(),
            display: DisplaySettings::default(),
            panel: PanelSettings::default(),
            host: HostSettings::default(),
        }
    }
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
    #[error("{}: line {line}: {cause}; host.toml, raspberry.toml and jetson.toml in board, or in /usr/share/doc/homing/examples, show every setting", path.display())]
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
        Config::parse(&text, path)
    }

    /// What the text of a configuration file says; `path` names it in messages.
    ///
    /// # Errors
    /// When a line is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e: toml::de::Error| {
            let start = e.span().map_or(0, |s| s.start);
            let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
            ConfigError::Line { path: path.to_owned(), line, cause: e.message().replace('\n', " ") }
        })
    }

    /// What is mounted on a vehicle of hardware.
    pub fn mounting(&self) -> Mounting {
        Mounting {
            cameras: self.cameras.clone(),
            gnss: self.gnss.clone(),
            line: self.line.clone(),
            display: self.display.clone(),
            panel: self.panel.clone(),
        }
    }

    /// Whether the line carries what is sent at the rate; only of a serial device is its speed known.
    ///
    /// # Errors
    /// When it does not, with the way out.
    pub fn line_carries(&self, link: Option<&str>) -> Result<(), BoardError> {
        let longest_burst = self.mavlink.map_or(self.sentences.longest_burst(), |_| LONGEST_BURST);
        match link.is_some_and(|link| link.starts_with("/dev/")) {
            true => line::carries(self.line.baud, longest_burst, self.rate_hz),
            false => Ok(()),
        }
    }

    /// The bundle's directory: the one named, else the first of [`BUNDLES`] that is there; of a store the current one.
    pub fn bundle_dir(&self, named: Option<&Path>) -> PathBuf {
        store::resolve(self.bundle_place(named))
    }

    /// The same, of a store itself.
    pub fn bundle_place(&self, named: Option<&Path>) -> PathBuf {
        let there = || BUNDLES.iter().map(Path::new).find(|p| p.is_dir());
        named.or(self.bundle.as_deref()).or_else(there).unwrap_or(Path::new(SHIPPED)).to_owned()
    }
}

fn rate_hz<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    match f64::deserialize(value)? {
        hz if (0.1..=10.0).contains(&hz) => Ok(hz),
        other => Err(D::Error::custom(format!("rate_hz is {other}, need 0.1..=10"))),
    }
}

fn threads<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    match usize::deserialize(value)? {
        threads @ 1..=MAX_VIEWS => Ok(threads),
        other => Err(D::Error::custom(format!("threads is {other}, need 1..={MAX_VIEWS}, one for each view at most"))),
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
        let read: Config = toml::from_str(&with_examples(text)).unwrap();
        assert!(read.bundle.is_some() && read.link.is_some() && read.host.camera_px.is_some());
        assert_eq!(read.mavlink, Some(MavlinkSettings::default()));
    }

    /// The examples behind a "#" are settings too.
    fn with_examples(text: &str) -> String {
        let is_setting = |l: &str| l.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', ':']));
        let is_example = |l: &&str| is_setting(l) || ["[gnss]", "[mavlink]"].contains(l);
        let example = |l: &str| l.strip_prefix("# ").filter(is_example).unwrap_or(l).to_owned();
        text.lines().map(example).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_vehicles_files_have_every_setting_at_its_default() {
        let raspberry = include_str!("../../board/raspberry.toml");
        let jetson = include_str!("../../board/jetson.toml");
        for (text, board) in [(raspberry, BoardKind::Raspberry), (jetson, BoardKind::Jetson)] {
            let read: Config = toml::from_str(text).unwrap();
            let out = Some("/var/lib/homing/out".into());
            assert_eq!(read, Config { board, out, ..Config::default() });
            let read: Config = toml::from_str(&with_examples(text)).unwrap();
            let gnss = read.gnss.unwrap();
            assert_eq!((gnss.baud, gnss.stale_s), (9600, 3.0));
            assert_eq!(read.mavlink, Some(MavlinkSettings::default()));
            assert!(read.cameras.devices().iter().all(Option::is_some) && read.cameras.recorded.is_some());
            assert!(read.bundle.is_some() && read.link.is_some() && read.display.check().is_ok());
            let d = &read.display;
            assert!(d.dc.is_some() && d.reset.is_some() && d.backlight.is_some());
            assert!(read.panel.check().is_ok() && read.panel.lamp.is_some() && read.panel.button.is_some());
        }
    }

    #[test]
    fn a_rate_that_the_line_cannot_carry_is_refused() {
        let mut config = Config { board: BoardKind::Jetson, rate_hz: 10.0, ..Config::default() };
        let refused = config.line_carries(Some("/dev/ttyUSB0")).unwrap_err().to_string();
        assert!(refused.contains("baud = 38400") || refused.contains("baud = 57600"), "{refused}");
        assert!(config.line_carries(Some("tcp://plotter:10110")).is_ok() && config.line_carries(None).is_ok());
        config.rate_hz = 1.0;
        assert!(config.line_carries(Some("/dev/ttyUSB0")).is_ok());
        (config.rate_hz, config.mavlink) = (10.0, Some(MavlinkSettings::default()));
        let refused = config.line_carries(Some("/dev/ttyUSB0")).unwrap_err().to_string();
        assert!(refused.starts_with("131 bytes 10 times a second") && refused.contains("baud = 19200"), "{refused}");
        config.line.baud = 19_200;
        assert!(config.line_carries(Some("/dev/ttyUSB0")).is_ok());
    }

    #[test]
    fn impossible_values_are_refused_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("homing.toml");
        for (line, says) in [
            ("threads = 0", "threads is 0, need 1..=4"),
            ("camera_px = 4096", "camera_px is 4096, need 16..=1024"),
            ("step_km = 0", "step_km is 0, need 0.001..=50"),
            ("dead_cameras = [\"rear\"]", "dead_cameras: no camera \"rear\"; use front, right, back, left"),
        ] {
            let section = if line.starts_with("threads") { "" } else { "[host]" };
            std::fs::write(&path, format!("board = \"host\"\n{section}\n{line}\n")).unwrap();
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
