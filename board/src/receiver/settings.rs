//! What can be set about a receiver, checked while it is read, so that a message has the line.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, de::Error};

use crate::{BoardError, line};

/// What the source begins with when gpsd has the receiver.
const GPSD: &str = "gpsd://";
/// The port that gpsd listens at.
const GPSD_PORT: u16 = 2947;
/// Ages of a fix. Below a second a receiver of one fix a second never has one.
const STALE_S: RangeInclusive<f64> = 1.0..=60.0;

/// Where GNSS fixes come from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiverSettings {
    /// A serial device (`/dev/ttyACM0`, better a name below `/dev/serial/by-id`, or a pseudo-terminal) that sends
    /// NMEA 0183, or `gpsd://host:port`; without a port 2947.
    #[serde(deserialize_with = "source")]
    pub source: String,
    /// Bits per second of a serial device, one of [`line::BAUDS`]. Receivers on USB work with any.
    #[serde(deserialize_with = "baud")]
    pub baud: u32,
    /// A fix older than these seconds is no fix, 1..=60.
    #[serde(deserialize_with = "stale_s")]
    pub stale_s: f64,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        ReceiverSettings { source: "/dev/ttyACM0".to_owned(), baud: 9600, stale_s: 3.0 }
    }
}

/// A source, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Path of the device.
    Serial(String),
    /// `host:port`.
    Gpsd(String),
}

impl ReceiverSettings {
    /// The same checks for settings that were not read from a file.
    ///
    /// # Errors
    /// When one is impossible, with what would be right.
    pub fn check(&self) -> Result<(), BoardError> {
        let checks = [parse(&self.source).map(drop), line::one_of_bauds(self.baud), fresh(self.stale_s)];
        checks.into_iter().collect::<Result<(), _>>().map_err(BoardError::Setting)
    }

    pub(super) fn source(&self) -> Result<Source, BoardError> {
        parse(&self.source).map_err(BoardError::Setting)
    }
}

fn parse(source: &str) -> Result<Source, String> {
    if let Some(rest) = source.strip_prefix(GPSD) {
        return line::address(rest, Some(GPSD_PORT)).map(Source::Gpsd).map_err(|e| format!("source: {e}"));
    }
    match source.is_empty() || source.contains("://") {
        true => Err(format!("source is {source:?}, need a serial device such as /dev/ttyACM0, or gpsd://host:port")),
        false => Ok(Source::Serial(source.to_owned())),
    }
}

fn fresh(stale_s: f64) -> Result<(), String> {
    match STALE_S.contains(&stale_s) {
        true => Ok(()),
        false => Err(format!("stale_s is {stale_s}, need {}..={}", STALE_S.start(), STALE_S.end())),
    }
}

fn source<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    let source = String::deserialize(value)?;
    parse(&source).map(|_| source).map_err(D::Error::custom)
}

fn baud<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    let baud = u32::deserialize(value)?;
    line::one_of_bauds(baud).map(|()| baud).map_err(D::Error::custom)
}

fn stale_s<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    let s = f64::deserialize(value)?;
    fresh(s).map(|()| s).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        assert_eq!(parse("/dev/ttyACM0").unwrap(), Source::Serial("/dev/ttyACM0".to_owned()));
        assert_eq!(parse("gpsd://localhost").unwrap(), Source::Gpsd("localhost:2947".to_owned()));
        assert_eq!(parse("gpsd://[::1]:3000").unwrap(), Source::Gpsd("[::1]:3000".to_owned()));
        assert!(parse("gpsd://").unwrap_err().contains("need host:port"));
        assert!(parse("tcp://a:1").unwrap_err().contains("or gpsd://host:port"));
    }

    #[test]
    fn impossible_settings_are_refused_in_one_line() {
        ReceiverSettings::default().check().unwrap();
        let read = |json: &str| serde_json::from_str::<ReceiverSettings>(json);
        assert_eq!(read("{}").unwrap(), ReceiverSettings::default());
        assert_eq!(read(r#"{"source":"gpsd://a:1","baud":38400,"stale_s":2}"#).unwrap().baud, 38_400);
        for (json, says) in [
            (r#"{"source":""}"#, "source is \"\", need a serial device"),
            (r#"{"baud":12}"#, "baud is 12, need one of 4800"),
            (r#"{"stale_s":0.1}"#, "stale_s is 0.1, need 1..=60"),
            (r#"{"speed":1}"#, "unknown field `speed`"),
        ] {
            let e = read(json).unwrap_err().to_string();
            assert!(e.contains(says), "{e}");
        }
        let wrong = ReceiverSettings { stale_s: f64::NAN, ..ReceiverSettings::default() };
        assert_eq!(wrong.check().unwrap_err().to_string(), "stale_s is NaN, need 1..=60");
    }
}
