//! A recorded drive once more: its cameras, its GNSS and its times.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use super::{RecordedCamera, RecordedPanorama, Reel, cameras, files, panoramas, unreadable};
use crate::{BoardError, Clock, Epoch, Gnss, GnssFix, cameras::lock};

/// The clock of a recorded drive. Each epoch is that of the next panorama; cameras and GNSS then give what belongs to
/// it. A panorama without a line, whose time nobody knows, is left out.
pub struct Replay {
    drive: Arc<Drive>,
}

/// The GNSS receiver of a recorded drive.
pub struct RecordedGnss {
    drive: Arc<Drive>,
}

/// What clock and receiver share: the reel, and the lines by the numbers of the panoramas.
struct Drive {
    reel: Arc<Mutex<Reel>>,
    lines: BTreeMap<u32, RecordedPanorama>,
}

impl Drive {
    /// The line of the panorama that is on.
    fn now(&self) -> Option<&RecordedPanorama> {
        let reel = lock(&self.reel);
        let (number, _) = reel.panoramas.get(reel.next.checked_sub(1)?)?;
        self.lines.get(number)
    }
}

impl Replay {
    /// Opens a recording: clock, cameras and receiver.
    ///
    /// # Errors
    /// When the folder or its lines cannot be read, or there is no panorama.
    pub fn open(folder: &Path) -> Result<(Self, [Option<RecordedCamera>; 4], RecordedGnss), BoardError> {
        let lines: BTreeMap<u32, _> = panoramas(folder)?.into_iter().map(|line| (line.number, line)).collect();
        if lines.is_empty() {
            return Err(unreadable(folder, &"it holds no panorama"));
        }
        let mut files = files(folder)?;
        let panoramas = lines.keys().map(|number| (*number, files.remove(number).unwrap_or_default())).collect();
        let reel = Arc::new(Mutex::new(Reel { panoramas, next: 0, last: None, driven: true }));
        let cameras = cameras(folder, &reel);
        let drive = Arc::new(Drive { reel, lines });
        Ok((Replay { drive: Arc::clone(&drive) }, cameras, RecordedGnss { drive }))
    }

    /// Panoramas from the beginning to the end; after them the cameras have no more pictures.
    pub fn panoramas(&self) -> usize {
        self.drive.lines.len()
    }
}

impl Clock for Replay {
    fn next_epoch(&mut self) -> Epoch {
        lock(&self.drive.reel).next += 1;
        let last = || self.drive.lines.values().next_back();
        let time = self.drive.now().or_else(last).map_or(SystemTime::UNIX_EPOCH, |line| line.time);
        Epoch { time, truth: None }
    }
}

impl Gnss for RecordedGnss {
    fn latest(&mut self) -> Result<Option<GnssFix>, BoardError> {
        Ok(self.drive.now().and_then(|line| line.gnss))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homing_models::LatLon;

    use super::{super::Recorder, *};
    use crate::{Camera, Frame};

    #[test]
    fn a_drive_comes_back_with_its_times_its_gnss_and_its_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let time = |s: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let fix = |lat| Some(GnssFix { position: LatLon::new(lat, 8.0).unwrap(), accuracy_m: None });
        // Half of it is darker: a picture of one colour would be none.
        let rgb = |tint: u8| [vec![tint; 384], vec![tint / 2; 384]].concat();
        let frame = |tint: u8| Frame { width: 16, height: 16, rgb: rgb(tint) };
        let mut recorder = Recorder::open(dir.path()).unwrap();
        recorder.add(time(10), [Some(&frame(40)), Some(&frame(50)), None, None], fix(47.0)).unwrap();
        // A moment in which no camera gave anything, and one without GNSS.
        recorder.add(time(11), [None; 4], fix(48.0)).unwrap();
        recorder.add(time(12), [None, Some(&frame(200)), None, None], None).unwrap();
        let (mut clock, [front, right, back, _], mut gnss) = Replay::open(dir.path()).unwrap();
        assert_eq!(clock.panoramas(), 3);
        let (mut front, mut right) = (front.unwrap(), right.unwrap());
        assert!(back.is_none());
        let mut got = Frame::default();
        let mut tint = |camera: &mut RecordedCamera| {
            camera.grab(Duration::ZERO, &mut got).map(|()| got.rgb[0]).map_err(|e| e.to_string())
        };
        let near = |got: Result<u8, String>, tint: u8| match got {
            Ok(got) => got.abs_diff(tint) < 4,
            Err(e) => panic!("{e}"),
        };
        assert_eq!(clock.next_epoch().time, time(10));
        // In whatever order, however often.
        assert!(near(tint(&mut right), 50) && near(tint(&mut front), 40) && near(tint(&mut right), 50));
        assert_eq!(gnss.latest().unwrap(), fix(47.0));
        assert_eq!(clock.next_epoch().time, time(11));
        assert!(tint(&mut front).is_err() && tint(&mut right).is_err());
        assert_eq!(gnss.latest().unwrap(), fix(48.0));
        assert_eq!(clock.next_epoch().time, time(12));
        assert!(tint(&mut front).is_err() && near(tint(&mut right), 200));
        assert_eq!(gnss.latest().unwrap(), None);
        clock.next_epoch();
        assert!(tint(&mut right).unwrap_err().contains("has ended"));
    }

    #[test]
    fn a_folder_without_lines_says_how_to_make_them() {
        let dir = tempfile::tempdir().unwrap();
        let says = |folder: &Path| Replay::open(folder).err().unwrap().to_string();
        assert!(says(dir.path()).contains("panoramas.jsonl"), "{}", says(dir.path()));
        std::fs::write(dir.path().join("panoramas.jsonl"), "").unwrap();
        assert!(says(dir.path()).contains("it holds no panorama; name a folder that homing record made"));
    }
}
