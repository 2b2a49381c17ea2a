//! Cameras of the kernel's V4L2 interface, read through memory-mapped buffers.

use std::{
    io, mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::io::Errno;
use v4l::{
    Device, Format, FourCC,
    buffer::{Flags, Type},
    capability::Flags as Capability,
    io::{
        mmap,
        traits::{CaptureStream, Stream as _},
    },
    video::Capture,
};

use super::{
    CameraFormat, CameraSettings,
    device::{Fault, Shot, Source, Step, Stream},
    pixels::Layout,
};

/// Buffers that the driver fills in turn.
const BUFFERS: u32 = 4;
/// Streams that could not be stopped and are therefore kept; each holds a file and its buffers.
const MAX_STUCK: u32 = 8;

/// A camera by its device path.
pub(super) struct V4l2Source {
    path: PathBuf,
    asked: Format,
    timeout: Duration,
    stuck: Arc<AtomicU32>,
}

impl V4l2Source {
    /// Opens nothing yet.
    pub fn new(settings: &CameraSettings, path: PathBuf) -> Self {
        let code = match settings.format {
            CameraFormat::Mjpeg => FourCC::new(b"MJPG"),
            CameraFormat::Yuyv => FourCC::new(b"YUYV"),
        };
        // A new format has no row length and no size, so that the driver works them out.
        let asked = Format::new(settings.width, settings.height, code);
        V4l2Source { path, asked, timeout: settings.timeout(), stuck: Arc::default() }
    }
}

impl Source for V4l2Source {
    fn open(&mut self) -> Result<Box<dyn Stream>, Fault> {
        if self.stuck.load(Ordering::Relaxed) >= MAX_STUCK {
            return Err(Fault::Unusable("is not let go of by its driver any more; restart the device".to_owned()));
        }
        let at = |step| move |e| Fault::System(step, e);
        let device = Device::with_path(&self.path).map_err(at(Step::Open))?;
        let able = device.query_caps().map_err(at(Step::Ask))?;
        can_stream(able.capabilities, &able.driver)?;
        let layout = layout(&device.set_format(&self.asked).map_err(at(Step::SetFormat))?, &able.driver)?;
        let mut stream = mmap::Stream::with_buffers(&device, Type::VideoCapture, BUFFERS).map_err(at(Step::Buffers))?;
        stream.set_timeout(self.timeout);
        Ok(Box::new(V4l2Stream { stream: Some(stream), layout, stuck: Arc::clone(&self.stuck) }))
    }
}

/// Whether a device gives frames in the plain way.
fn can_stream(able: Capability, driver: &str) -> Result<(), Fault> {
    let needed = Capability::VIDEO_CAPTURE | Capability::STREAMING;
    if able.contains(needed) {
        return Ok(());
    }
    let why = match () {
        () if able.contains(Capability::META_CAPTURE) => {
            "gives only data about pictures; set its neighbour, the one that ends in -video-index0"
        }
        () if able
            .intersects(Capability::VIDEO_CAPTURE_MPLANE | Capability::VIDEO_M2M_MPLANE | Capability::VIDEO_M2M) =>
        {
            "is a part of the processor's own picture path, not a camera that gives whole pictures; use a USB camera, \
             or bring a CSI camera there by libcamera and v4l2loopback"
        }
        () => "is no camera; set one of /dev/v4l/by-path/*-video-index0",
    };
    Err(Fault::Unusable(format!("(driver {driver}) {why}")))
}

/// How the driver lays out frames, which need not be what it was asked for.
fn layout(given: &Format, driver: &str) -> Result<Layout, Fault> {
    let format = match &given.fourcc.repr {
        b"MJPG" | b"JPEG" => CameraFormat::Mjpeg,
        b"YUYV" => CameraFormat::Yuyv,
        other => {
            let code = String::from_utf8_lossy(other).trim_end().escape_default().to_string();
            return Err(Fault::Unusable(format!(
                "(driver {driver}) gives {code} pictures, neither MJPG nor YUYV; a CSI sensor does that, which needs \
                 libcamera: use a USB camera, or bring it there by libcamera and v4l2loopback"
            )));
        }
    };
    Ok(Layout { width: given.width, height: given.height, format, stride: given.stride })
}

/// An open camera.
struct V4l2Stream {
    // `None` only while it is dropped.
    stream: Option<mmap::Stream<'static>>,
    layout: Layout,
    stuck: Arc<AtomicU32>,
}

impl Stream for V4l2Stream {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn next(&mut self) -> Result<Shot<'_>, Fault> {
        let stream = self.stream.as_mut().ok_or(Fault::TimedOut)?;
        let (mapping, about) = CaptureStream::next(stream).map_err(|e| match e.kind() {
            io::ErrorKind::TimedOut => Fault::TimedOut,
            _ => Fault::System(Step::Stream, e),
        })?;
        // The mapping is the whole buffer, of which the frame is the beginning.
        let used = mapping.len().min(about.bytesused as usize);
        // Drivers' own stamps are of several clocks and at times wrong by seconds; the thread that waits here takes
        // each frame as it comes.
        Ok(Shot { bytes: &mapping[..used], taken: Instant::now(), damaged: about.flags.contains(Flags::ERROR) })
    }
}

impl Drop for V4l2Stream {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        match stream.stop() {
            Ok(()) => {}
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NODEV) => {}
            // Dropped, a stream that cannot be stopped panics, and its buffers panic during that, which ends the
            // program. It is rather kept.
            Err(_) => {
                self.stuck.fetch_add(1, Ordering::Relaxed);
                mem::forget(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn opened(path: &Path) -> String {
        let mut source = V4l2Source::new(&CameraSettings::default(), path.to_owned());
        match source.open() {
            Ok(_) => panic!("{} is a camera", path.display()),
            Err(fault) => fault.in_words(path),
        }
    }

    #[test]
    fn what_is_no_camera_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert!(opened(&dir.path().join("video0")).contains("is not there"));
        let file = dir.path().join("file");
        std::fs::write(&file, "no camera").unwrap();
        assert!(opened(&file).contains("is no V4L2 device"));
        assert!(opened(Path::new("/dev/null")).contains("is no V4L2 device"));
    }

    #[test]
    fn the_layout_is_the_drivers() {
        let mut format = Format::new(800, 600, FourCC::new(b"YUYV"));
        format.stride = 1664;
        let got = layout(&format, "uvcvideo").unwrap();
        assert_eq!(got, Layout { width: 800, height: 600, format: CameraFormat::Yuyv, stride: 1664 });
        format.fourcc = FourCC::new(b"JPEG");
        assert_eq!(layout(&format, "uvcvideo").unwrap().format, CameraFormat::Mjpeg);
    }

    #[test]
    fn a_csi_camera_is_told_from_a_usb_camera() {
        let raw = Format::new(1920, 1080, FourCC::new(b"pBAA"));
        let e = layout(&raw, "unicam").unwrap_err().in_words(Path::new("/dev/video0"));
        assert!(e.contains("pBAA") && e.contains("libcamera") && e.contains("USB camera"), "{e}");
        let words = |able| can_stream(able, "rp1-cfe").unwrap_err().in_words(Path::new("/dev/video0"));
        assert!(words(Capability::VIDEO_CAPTURE_MPLANE | Capability::STREAMING).contains("libcamera"));
        assert!(words(Capability::META_CAPTURE | Capability::STREAMING).contains("-video-index0"));
        assert!(words(Capability::RADIO).contains("is no camera"));
        assert!(can_stream(Capability::VIDEO_CAPTURE | Capability::STREAMING, "uvcvideo").is_ok());
    }
}
