//! What can be set about a vehicle's cameras, checked while it is read, so that a message has the line.

use std::{ops::RangeInclusive, path::PathBuf};

use serde::{Deserialize, Deserializer, de::Error};

use crate::{BoardError, CAMERA_NAMES};

/// Sides of a picture that are asked for.
const SIDE_PX: RangeInclusive<u32> = 64..=4096;
/// Windows of one panorama.
const WINDOW_MS: RangeInclusive<u32> = 10..=60_000;
/// Time-outs of a camera.
const TIMEOUT_MS: RangeInclusive<u32> = 100..=60_000;
/// A round of four cameras that are opened one after the other takes seconds.
const ROUND_MS: u32 = 2000;

/// How a camera codes its pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CameraFormat {
    /// Each picture a JPEG: little on the bus, some work for the processor.
    #[default]
    Mjpeg,
    /// Uncompressed, two bytes a pixel: 18 MB/s for 640 x 480 at 30 pictures a second.
    Yuyv,
}

/// The cameras of a vehicle.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraSettings {
    /// Device of the camera that looks ahead, such as `/dev/v4l/by-path/...-video-index0`: that name follows the
    /// socket, while `/dev/video0` is whichever camera was found first.
    pub front: Option<PathBuf>,
    /// Device of the camera that looks to the right.
    pub right: Option<PathBuf>,
    /// Device of the camera that looks behind.
    pub back: Option<PathBuf>,
    /// Device of the camera that looks to the left.
    pub left: Option<PathBuf>,
    /// Pixels in a row that are asked for, 64..=4096; the driver may give another size.
    #[serde(deserialize_with = "width")]
    pub width: u32,
    /// Rows that are asked for, 64..=4096.
    #[serde(deserialize_with = "height")]
    pub height: u32,
    /// Coding that is asked for, `"mjpeg"` or `"yuyv"`.
    pub format: CameraFormat,
    /// The frames of one panorama lie within this time, and none is older, milliseconds, 10..=60000.
    #[serde(deserialize_with = "window_ms")]
    pub window_ms: u32,
    /// A camera that gives no frame for this time is closed and opened again, milliseconds, 100..=60000.
    #[serde(deserialize_with = "timeout_ms")]
    pub timeout_ms: u32,
    /// Opens, reads and closes one camera after the other, for cameras that one USB bus cannot carry together. Wants
    /// a `window_ms` of a whole round, 2000 at least.
    pub round_robin: bool,
    /// Folder of recorded frames that stand for cameras.
    pub recorded: Option<PathBuf>,
}

impl Default for CameraSettings {
    fn default() -> Self {
        CameraSettings {
            front: None,
            right: None,
            back: None,
            left: None,
            width: 640,
            height: 480,
            format: CameraFormat::default(),
            window_ms: 200,
            timeout_ms: 2000,
            round_robin: false,
            recorded: None,
        }
    }
}

impl CameraSettings {
    /// The devices in the order front, right, back, left.
    pub fn devices(&self) -> [Option<&PathBuf>; 4] {
        [&self.front, &self.right, &self.back, &self.left].map(Option::as_ref)
    }

    /// Whether the settings can work together; opens nothing.
    ///
    /// # Errors
    /// The first that cannot, in one line.
    pub fn check(&self) -> Result<(), BoardError> {
        let checks = [
            within("width", self.width, SIDE_PX),
            within("height", self.height, SIDE_PX),
            within("window_ms", self.window_ms, WINDOW_MS),
            within("timeout_ms", self.timeout_ms, TIMEOUT_MS),
            self.sources(),
            self.round(),
        ];
        checks.into_iter().collect::<Result<(), _>>().map_err(BoardError::Setting)
    }

    fn sources(&self) -> Result<(), String> {
        let devices = self.devices();
        match (&self.recorded, devices.iter().flatten().next()) {
            (None, None) => {
                return Err(
                    "no camera is set: set front, right, back or left to a /dev/v4l/by-path/*-video-index0, or \
                            recorded to a folder of recorded frames"
                        .to_owned(),
                );
            }
            (Some(_), Some(device)) => {
                return Err(format!("recorded and {} are both set: take one out", device.display()));
            }
            _ => {}
        }
        for (i, device) in devices.iter().enumerate().filter(|(_, d)| d.is_some()) {
            if let Some(first) = devices[..i].iter().position(|d| d == device) {
                let path = device.map_or_else(String::new, |d| d.display().to_string());
                return Err(format!(
                    "{} and {} are both {path}: name two cameras",
                    CAMERA_NAMES[first], CAMERA_NAMES[i]
                ));
            }
        }
        Ok(())
    }

    fn round(&self) -> Result<(), String> {
        match self.round_robin && self.window_ms < ROUND_MS {
            true => Err(format!(
                "window_ms is {}, but with round_robin a round of the cameras takes seconds: set {ROUND_MS} or more",
                self.window_ms
            )),
            false => Ok(()),
        }
    }

    /// The window as a duration.
    #[cfg(feature = "cameras")]
    pub(super) fn window(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.window_ms.into())
    }

    /// The time-out as a duration.
    #[cfg(feature = "cameras")]
    pub(super) fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.timeout_ms.into())
    }
}

fn within(name: &str, value: u32, range: RangeInclusive<u32>) -> Result<(), String> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(format!("{name} is {value}, need {}..={}", range.start(), range.end())),
    }
}

fn read<'de, D: Deserializer<'de>>(value: D, name: &str, range: RangeInclusive<u32>) -> Result<u32, D::Error> {
    let number = u32::deserialize(value)?;
    within(name, number, range).map(|()| number).map_err(D::Error::custom)
}

fn width<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    read(value, "width", SIDE_PX)
}

fn height<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    read(value, "height", SIDE_PX)
}

fn window_ms<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    read(value, "window_ms", WINDOW_MS)
}

fn timeout_ms<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    read(value, "timeout_ms", TIMEOUT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<CameraSettings, String> {
        let settings: CameraSettings = serde_json::from_str(json).map_err(|e| e.to_string())?;
        settings.check().map_err(|e| e.to_string())?;
        Ok(settings)
    }

    #[test]
    fn a_device_alone_is_enough() {
        let settings = read(r#"{"back": "/dev/video2", "format": "yuyv"}"#).unwrap();
        assert_eq!(settings.devices()[2], Some(&PathBuf::from("/dev/video2")));
        assert_eq!((settings.format, settings.width, settings.window_ms), (CameraFormat::Yuyv, 640, 200));
        assert!(read(r#"{"recorded": "/data/drive"}"#).is_ok());
    }

    #[test]
    fn what_cannot_work_is_said_in_one_line() {
        for (json, says) in [
            ("{}", "no camera is set: set front"),
            (r#"{"front": "/dev/video0", "recorded": "x"}"#, "recorded and /dev/video0 are both set"),
            (r#"{"front": "/dev/a", "left": "/dev/a"}"#, "front and left are both /dev/a"),
            (r#"{"front": "/dev/a", "width": 20}"#, "width is 20, need 64..=4096"),
            (r#"{"front": "/dev/a", "timeout_ms": 1}"#, "timeout_ms is 1, need 100..=60000"),
            (r#"{"front": "/dev/a", "round_robin": true}"#, "with round_robin a round of the cameras takes seconds"),
            (r#"{"front": "/dev/a", "format": "h264"}"#, "unknown variant"),
            (r#"{"frnt": "/dev/a"}"#, "unknown field"),
        ] {
            let e = read(json).unwrap_err();
            assert!(e.contains(says) && !e.contains('\n'), "{e}");
        }
        assert!(read(r#"{"front": "/dev/a", "round_robin": true, "window_ms": 5000}"#).is_ok());
        let unread = CameraSettings { height: 9, ..CameraSettings::default() };
        assert!(unread.check().unwrap_err().to_string().contains("height is 9"));
    }
}
