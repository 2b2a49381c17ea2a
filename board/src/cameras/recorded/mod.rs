//! Frames of a drive in a folder, in place of cameras.
//!
//! The folder holds the frames as `000001-front.jpg`, `000001-right.jpg`, `000002-front.jpg` and so on: the number of
//! the panorama, six digits or more, and the camera's name. `.jpeg` and `.png` are read too. A frame that is missing is
//! a camera that gave none. `panoramas.jsonl` has a line for each panorama. [`open`] gives the cameras alone and does
//! not need it; [`Replay`] gives the drive again, with what GNSS said and when:
//!
//! ```text
//! {"panorama":1,"time_s":1717171717.25,"lat":47.37,"lon":8.54,"accuracy_m":4.0}
//! ```
//!
//! `time_s` are seconds since 1970; `lat` and `lon` are what GNSS said, in degrees, and are left out when it said
//! nothing, as is `accuracy_m`, its own estimate of the horizontal error in metres.
//!
//! `sites.jsonl` has those with a position once more, as a [data set](homing_models::sites) to train and to measure with.

mod replay;
mod writer;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use homing_models::{LatLon, pictures};
use serde::{Deserialize, Serialize};

pub use self::replay::{RecordedGnss, Replay};
pub use self::writer::Recorder;
use super::lock;
use crate::{BoardError, CAMERA_NAMES, Camera, Frame, GnssFix};

/// The lines of the panoramas.
const LINES: &str = "panoramas.jsonl";

/// What the panoramas are as a data set.
const SITES: &str = "sites.jsonl";

/// One line of `panoramas.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedPanorama {
    /// Its number, from 1.
    pub number: u32,
    /// When it was taken.
    pub time: SystemTime,
    /// What GNSS said.
    pub gnss: Option<GnssFix>,
}

/// The line as it is written.
#[derive(Serialize, Deserialize)]
struct Line {
    panorama: u32,
    time_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lat: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lon: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accuracy_m: Option<f32>,
}

/// A line of `sites.jsonl`.
#[derive(Serialize)]
struct Site {
    images: Vec<String>,
    lat: f64,
    lon: f64,
}

fn unreadable(path: &Path, cause: &dyn std::fmt::Display) -> BoardError {
    BoardError::Setting(format!(
        "cannot read the recording {}: {cause}; name a folder that homing record made",
        path.display()
    ))
}

/// The lines of a recording. One that a loss of power cut off at the end is left out.
///
/// # Errors
/// When the file cannot be read, or a line is none; the message has its number.
pub fn panoramas(folder: &Path) -> Result<Vec<RecordedPanorama>, BoardError> {
    let path = folder.join(LINES);
    let text = fs::read_to_string(&path).map_err(|e| unreadable(&path, &e))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parsed = whole
        .lines()
        .enumerate()
        .map(|(i, line)| line_of(line).map_err(|cause| unreadable(&path, &format!("line {}: {cause}", i + 1))));
    parsed.collect()
}

fn line_of(line: &str) -> Result<RecordedPanorama, String> {
    let line: Line = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let since = Duration::try_from_secs_f64(line.time_s).map_err(|e| e.to_string())?;
    let time = SystemTime::UNIX_EPOCH.checked_add(since).ok_or("time_s is too large")?;
    let gnss = match (line.lat, line.lon) {
        (Some(lat), Some(lon)) => {
            let position = LatLon::new(lat, lon).map_err(|e| e.to_string())?;
            Some(GnssFix { position, accuracy_m: line.accuracy_m })
        }
        _ => None,
    };
    Ok(RecordedPanorama { number: line.panorama, time, gnss })
}

/// Numbers of the panoramas with the files of their cameras.
type Files = BTreeMap<u32, [Option<PathBuf>; 4]>;

fn files(folder: &Path) -> Result<Files, BoardError> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder).map_err(|e| unreadable(folder, &e))? {
        let path = entry.map_err(|e| unreadable(folder, &e))?.path();
        if let Some((number, camera)) = path.file_name().and_then(|name| name.to_str()).and_then(place) {
            files.entry(number).or_default()[camera] = Some(path);
        }
    }
    Ok(files)
}

/// Panorama and camera of a frame's file name; other files are none.
fn place(name: &str) -> Option<(u32, usize)> {
    let (stem, kind) = name.rsplit_once('.')?;
    let (number, camera) = stem.split_once('-')?;
    let known = ["jpg", "jpeg", "png"].contains(&kind) && number.len() >= 6;
    let camera = CAMERA_NAMES.iter().position(|n| *n == camera)?;
    number.parse().ok().filter(|_| known).map(|number| (number, camera))
}

/// Opens a recording: a camera for each that has a frame in it.
///
/// # Errors
/// When the folder cannot be read or holds no frame.
pub fn open(folder: &Path) -> Result<[Option<RecordedCamera>; 4], BoardError> {
    let files = files(folder)?;
    if files.is_empty() {
        return Err(unreadable(folder, &"it holds no frame such as 000001-front.jpg"));
    }
    let panoramas: Vec<_> = files.into_iter().collect();
    Ok(cameras(folder, &Arc::new(Mutex::new(Reel { panoramas, next: 0, last: None, driven: false }))))
}

/// A camera for each that has a frame.
fn cameras(folder: &Path, reel: &Arc<Mutex<Reel>>) -> [Option<RecordedCamera>; 4] {
    std::array::from_fn(|index| {
        let there = lock(reel).panoramas.iter().any(|(_, of)| of[index].is_some());
        there.then(|| RecordedCamera { index, folder: folder.to_owned(), reel: Arc::clone(reel) })
    })
}

/// The panoramas in their order. Where no clock [drives](Replay) them, cameras are asked in the order front, right,
/// back, left, so that one asked out of this order takes all to the next panorama: frames of one moment stay together
/// although a camera is left out.
struct Reel {
    panoramas: Vec<(u32, [Option<PathBuf>; 4])>,
    next: usize,
    last: Option<usize>,
    driven: bool,
}

impl Reel {
    fn take(&mut self, camera: usize) -> Option<&(u32, [Option<PathBuf>; 4])> {
        if !self.driven && self.last.is_none_or(|last| camera <= last) {
            self.next += 1;
        }
        self.last = Some(camera);
        self.panoramas.get(self.next.checked_sub(1)?)
    }
}

/// A camera that gives its recorded frames one after the other.
pub struct RecordedCamera {
    index: usize,
    folder: PathBuf,
    reel: Arc<Mutex<Reel>>,
}

impl Camera for RecordedCamera {
    fn name(&self) -> &str {
        CAMERA_NAMES[self.index]
    }

    fn grab(&mut self, _deadline: Duration, frame: &mut Frame) -> Result<(), BoardError> {
        let folder = self.folder.display();
        let path = match lock(&self.reel).take(self.index) {
            None => Err(format!("the recording {folder} has ended; start again to see it once more")),
            Some((_, files)) => {
                files[self.index].clone().ok_or_else(|| format!("the recording {folder} has no frame of it"))
            }
        };
        let picture = path.and_then(|path| pictures::read(&path).map_err(|e| e.to_string()));
        *frame = picture.map_err(|cause| BoardError::Camera { camera: self.name().to_owned(), cause })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tint: u8) -> Frame {
        let rgb = (0..32 * 24u32).flat_map(|i| [(i % 32 * 8) as u8, (i / 32 * 10) as u8, tint]).collect();
        Frame { width: 32, height: 24, rgb }
    }

    fn grab(camera: &mut Option<RecordedCamera>) -> Result<u8, String> {
        let mut got = Frame::default();
        let grabbed = camera.as_mut().unwrap().grab(Duration::ZERO, &mut got);
        grabbed.map(|()| got.rgb[3 * (12 * 32 + 16) + 2]).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_recorded_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("drive");
        let time = |s: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(s);
        let fix = GnssFix { position: LatLon::new(47.37, 8.54).unwrap(), accuracy_m: Some(4.0) };
        let (dark, light, other) = (frame(40), frame(220), frame(130));
        let mut recorder = Recorder::open(&folder).unwrap();
        assert_eq!(recorder.add(time(1e9 + 0.25), [Some(&dark), None, None, Some(&light)], Some(fix)).unwrap(), 1);
        assert_eq!(recorder.add(time(1e9 + 1.5), [Some(&other), None, None, None], None).unwrap(), 2);
        drop(recorder);
        // The power went while a line was written.
        let torn = fs::read_to_string(folder.join(LINES)).unwrap() + "{\"panor";
        fs::write(folder.join(LINES), torn).unwrap();
        assert_eq!(panoramas(&folder).unwrap().len(), 2);
        let mut recorder = Recorder::open(&folder).unwrap();
        assert_eq!(recorder.add(time(1e9 + 2.0), [Some(&light), None, None, Some(&dark)], None).unwrap(), 3);

        let lines = panoramas(&folder).unwrap();
        assert_eq!(lines[0], RecordedPanorama { number: 1, time: time(1e9 + 0.25), gnss: Some(fix) });
        assert_eq!(
            lines.iter().map(|l| (l.number, l.gnss.is_some())).collect::<Vec<_>>(),
            [(1, true), (2, false), (3, false)]
        );

        let [mut front, right, back, mut left] = open(&folder).unwrap();
        assert!(right.is_none() && back.is_none());
        let near = |got: Result<u8, String>, tint: u8| got.is_ok_and(|got| got.abs_diff(tint) < 12);
        assert!(near(grab(&mut front), 40) && near(grab(&mut left), 220));
        assert!(near(grab(&mut front), 130));
        let e = grab(&mut left).unwrap_err();
        assert!(e.starts_with("left camera: the recording ") && e.ends_with("has no frame of it"), "{e}");
        assert!(near(grab(&mut front), 220) && near(grab(&mut left), 40));
        assert!(grab(&mut front).unwrap_err().contains("has ended"));
        assert!(grab(&mut front).unwrap_err().contains("has ended"));
    }

    #[test]
    fn cameras_stay_together_when_one_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(dir.path()).unwrap();
        for tint in [40, 130, 220] {
            let frame = frame(tint);
            recorder.add(SystemTime::UNIX_EPOCH, [Some(&frame), Some(&frame), None, None], None).unwrap();
        }
        let [mut front, mut right, ..] = open(dir.path()).unwrap();
        assert!(grab(&mut front).is_ok() && grab(&mut right).is_ok());
        assert!(grab(&mut front).is_ok());
        assert_eq!(grab(&mut front).unwrap().abs_diff(grab(&mut right).unwrap()), 0);
    }

    #[test]
    fn a_folder_without_frames_and_a_wrong_line_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let says = |e: BoardError| e.to_string();
        assert!(says(open(dir.path()).err().unwrap()).contains("no frame such as 000001-front.jpg"));
        assert!(says(open(&dir.path().join("gone")).err().unwrap()).contains("gone"));
        fs::write(dir.path().join(LINES), "{\"panorama\":1,\"time_s\":5}\n{\"panorama\":2}\n").unwrap();
        assert!(says(panoramas(dir.path()).unwrap_err()).contains("line 2: missing field `time_s`"));
        for name in ["000001-front.txt", "1-front.jpg", "000001-roof.jpg", "readme.md"] {
            assert_eq!(place(name), None, "{name}");
        }
        assert_eq!(place("1000000-left.png"), Some((1_000_000, 3)));
    }
}
