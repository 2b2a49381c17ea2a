//! Writes a recording.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use serde::Serialize;

use super::{LINES, Line, SITES, Site, files};
use crate::{BoardError, CAMERA_NAMES, Frame, GnssFix};

/// Of the JPEG frames: no visible loss at a tenth of the bytes.
const QUALITY: u8 = 92;

/// A recording that is being written.
pub struct Recorder {
    folder: PathBuf,
    lines: File,
    sites: File,
    next: u32,
}

impl Recorder {
    /// Begins a recording in a folder, which is made when it is not there, or goes on with the one that it holds.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn open(folder: &Path) -> Result<Self, BoardError> {
        let failed = |path: &Path, source| BoardError::Write { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
        let open = |name| lines(&folder.join(name)).map_err(|e| failed(&folder.join(name), e));
        let (lines, sites) = (open(LINES)?, open(SITES)?);
        let last = files(folder)?.keys().next_back().copied().unwrap_or(0);
        Ok(Recorder { folder: folder.to_owned(), lines, sites, next: last + 1 })
    }

    /// Writes the frames of one panorama, front, right, back, left as far as they are there, and its line. Answers
    /// with its number.
    ///
    /// # Errors
    /// When a file cannot be written, or a frame has not the bytes of its size.
    pub fn add(
        &mut self,
        time: SystemTime,
        frames: [Option<&Frame>; 4],
        gnss: Option<GnssFix>,
    ) -> Result<u32, BoardError> {
        let number = self.next;
        let mut images = Vec::new();
        for (frame, camera) in frames.into_iter().zip(CAMERA_NAMES) {
            let Some(frame) = frame else { continue };
            let name = format!("{number:06}-{camera}.jpg");
            let path = self.folder.join(&name);
            write(frame, &path).map_err(|source| BoardError::Write { path, source })?;
            images.push(name);
        }
        self.next += 1;
        let line = Line {
            panorama: number,
            time_s: time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()),
            lat: gnss.map(|fix| fix.position.lat()),
            lon: gnss.map(|fix| fix.position.lon()),
            accuracy_m: gnss.and_then(|fix| fix.accuracy_m),
        };
        append(&mut self.lines, &line).map_err(|source| self.refused(LINES, source))?;
        if let Some(fix) = gnss
            && !images.is_empty()
        {
            let site = Site { images, lat: fix.position.lat(), lon: fix.position.lon() };
            append(&mut self.sites, &site).map_err(|source| self.refused(SITES, source))?;
        }
        Ok(number)
    }

    fn refused(&self, name: &str, source: io::Error) -> BoardError {
        BoardError::Write { path: self.folder.join(name), source }
    }
}

/// Appends a line in one piece, so that it is there or not.
fn append(file: &mut File, line: &impl Serialize) -> io::Result<()> {
    file.write_all((serde_json::to_string(line)? + "\n").as_bytes())
}

/// The file of lines, open for more; a line that a loss of power cut off is taken away.
fn lines(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let whole = fs::read(path)?.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    file.set_len(whole as u64)?;
    Ok(file)
}

fn write(frame: &Frame, path: &Path) -> io::Result<()> {
    let bytes = 3 * frame.width as usize * frame.height as usize;
    if frame.rgb.len() != bytes {
        let cause = format!("a frame of {} x {} pixels has {} bytes", frame.width, frame.height, frame.rgb.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
    }
    let mut file = BufWriter::new(File::create(path)?);
    let mut jpeg = JpegEncoder::new_with_quality(&mut file, QUALITY);
    jpeg.encode(&frame.rgb, frame.width, frame.height, ExtendedColorType::Rgb8).map_err(io::Error::other)?;
    file.flush()
}
