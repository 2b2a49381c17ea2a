//! What supervision needs of a camera, so that it is the same for the kernel's interface and for a fake in tests:
//! a source that is opened, a stream of frames from it, and what can go wrong, in words.

use std::{io, path::Path, time::Instant};

use rustix::io::Errno;

use super::pixels::Layout;

/// A camera that can be opened, and after a failure opened again.
pub(super) trait Source: Send + 'static {
    /// Opens it and starts its stream.
    fn open(&mut self) -> Result<Box<dyn Stream>, Fault>;
}

/// The frames of an open camera. After a fault the stream is of no more use.
pub(super) trait Stream {
    /// How its frames are laid out: what the driver made of what was asked for.
    fn layout(&self) -> Layout;

    /// Waits for the next frame, no longer than the time-out.
    fn next(&mut self) -> Result<Shot<'_>, Fault>;
}

/// One frame as the driver gave it.
pub(super) struct Shot<'a> {
    /// Its bytes, as many as are used.
    pub bytes: &'a [u8],
    /// When it was taken.
    pub taken: Instant,
    /// The driver's own mark that the data is damaged.
    pub damaged: bool,
}

/// What was being done to a camera when the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Open,
    Ask,
    SetFormat,
    Buffers,
    Stream,
}

/// Why a camera gives no frames.
#[derive(Debug)]
pub(super) enum Fault {
    /// No frame came in time.
    TimedOut,
    /// The system refused a step.
    System(Step, io::Error),
    /// It cannot be used as it is; the words say why and what to do.
    Unusable(String),
}

impl Fault {
    /// What happened, where, and what to do.
    pub(super) fn in_words(&self, path: &Path) -> String {
        let at = path.display();
        let (step, error) = match self {
            Fault::TimedOut => return format!("{at} gives no frames; check its cable and power supply"),
            Fault::Unusable(words) => return format!("{at} {words}"),
            Fault::System(step, error) => (*step, error),
        };
        match (Errno::from_io_error(error), step) {
            (Some(Errno::NOENT | Errno::NXIO), _) | (Some(Errno::NODEV), Step::Open) => {
                format!("{at} is not there; plug the camera in, or set one of /dev/v4l/by-path/*-video-index0")
            }
            (Some(Errno::NODEV), _) => format!("{at} was unplugged; plug the camera in again"),
            (Some(Errno::ACCESS | Errno::PERM), _) => {
                format!("{at} may not be opened; add this user to the group video and log in again")
            }
            (Some(Errno::BUSY), _) => {
                format!("{at} is used by another program; close that one (fuser -v {at} names it)")
            }
            (Some(Errno::NOSPC), _) => format!(
                "the USB bus of {at} has no bandwidth left for it; lower width and height, use format = \"mjpeg\", plug \
                 the cameras into ports of separate controllers, or set round_robin = true"
            ),
            (Some(Errno::NOTTY), Step::Open | Step::Ask) => {
                format!("{at} is no V4L2 device; set one of /dev/v4l/by-path/*-video-index0")
            }
            (Some(Errno::IO | Errno::PROTO | Errno::OVERFLOW | Errno::ILSEQ), _) => {
                format!("{at} fails in transfer ({error}); check its cable, hub and power supply")
            }
            (_, step) => {
                let doing = match step {
                    Step::Open => "opened",
                    Step::Ask => "asked what it can do",
                    Step::SetFormat => "set to the picture format",
                    Step::Buffers => "given buffers",
                    Step::Stream => "read",
                };
                format!("{at} cannot be {doing}: {error}; check that it is a camera, and plug it in again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(step: Step, errno: Errno) -> String {
        let words = Fault::System(step, errno.into()).in_words(Path::new("/dev/v4l/front"));
        assert!(words.contains("/dev/v4l/front") && words.contains("; ") && !words.contains('\n'), "{words}");
        words
    }

    #[test]
    fn what_the_system_says_becomes_what_to_do() {
        assert!(words(Step::Open, Errno::NOENT).contains("is not there; plug the camera in"));
        assert!(words(Step::Stream, Errno::NODEV).contains("was unplugged"));
        assert!(words(Step::Open, Errno::ACCESS).contains("group video"));
        assert!(words(Step::SetFormat, Errno::BUSY).contains("another program"));
        assert!(words(Step::Ask, Errno::NOTTY).contains("no V4L2 device"));
        assert!(words(Step::Stream, Errno::IO).contains("cable"));
        assert!(words(Step::Buffers, Errno::NOMEM).contains("cannot be given buffers: "));
        let bandwidth = words(Step::Stream, Errno::NOSPC);
        for way_out in ["USB bus", "lower width", "mjpeg", "separate controllers", "round_robin"] {
            assert!(bandwidth.contains(way_out), "{bandwidth}");
        }
    }
}
