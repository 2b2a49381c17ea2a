//! Capture: up to four frames that belong together, under one time stamp. A missing view is no failure.

use std::time::{Duration, Instant, SystemTime};

use homing_board::{Camera, Epoch, Frame};
use homing_models::{LatLon, MAX_VIEWS};

/// How long all cameras together may take for their frames before the fix goes on without those that are missing.
pub const CAMERA_DEADLINE: Duration = Duration::from_millis(500);
/// A camera whose failure held up the fix for longer than this is left alone for a while.
const QUICK: Duration = Duration::from_millis(10);
/// For how many fixes it is left alone, doubling up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: u32 = 1;
const LONGEST_PAUSE: u32 = 16;

/// The views around the vehicle at one moment. Buffers are used again from fix to fix.
#[derive(Clone, Debug)]
pub struct Panorama {
    /// When.
    pub time: SystemTime,
    /// Where the vehicle really was, in a simulation.
    pub truth: Option<LatLon>,
    frames: [Frame; MAX_VIEWS],
    alive: [bool; MAX_VIEWS],
}

impl Default for Panorama {
    fn default() -> Self {
        let time = SystemTime::UNIX_EPOCH;
        Panorama { time, truth: None, frames: Default::default(), alive: [false; MAX_VIEWS] }
    }
}

impl Panorama {
    /// A panorama of given frames, front first; more than four are left out.
    pub fn of(time: SystemTime, frames: impl IntoIterator<Item = Frame>) -> Self {
        let mut p = Panorama { time, ..Panorama::default() };
        for (i, frame) in frames.into_iter().take(MAX_VIEWS).enumerate() {
            p.frames[i] = frame;
            p.alive[i] = true;
        }
        p
    }

    /// The frames that are there.
    pub fn views(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().zip(self.alive).filter(|(_, alive)| *alive).map(|(f, _)| f)
    }

    /// The frame of a camera (front, right, back, left), when it is there.
    pub fn view(&self, camera: usize) -> Option<&Frame> {
        self.alive.get(camera).copied().unwrap_or(false).then(|| &self.frames[camera])
    }

    /// Which of front, right, back, left are there.
    pub fn alive(&self) -> [bool; MAX_VIEWS] {
        self.alive
    }
}

/// What one camera did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CameraCount {
    /// Pictures that came.
    pub pictures: u64,
    /// Times that none came.
    pub failures: u64,
}

struct Slot {
    camera: Option<Box<dyn Camera>>,
    count: CameraCount,
    pause: u32,
    next_pause: u32,
    /// It gave no picture when it was asked last.
    failing: bool,
}

/// The cameras, each with its own fate.
pub struct Capture {
    slots: [Slot; MAX_VIEWS],
}

impl Capture {
    /// Takes over the cameras of a board.
    pub fn new(cameras: [Option<Box<dyn Camera>>; MAX_VIEWS]) -> Self {
        let slot =
            |camera| Slot { camera, count: CameraCount::default(), pause: 0, next_pause: FIRST_PAUSE, failing: false };
        Capture { slots: cameras.map(slot) }
    }

    /// Takes one panorama. `told` hears of each camera that begins to fail, and of what cameras have to say.
    pub fn take(&mut self, epoch: Epoch, panorama: &mut Panorama, mut told: impl FnMut(&str)) {
        (panorama.time, panorama.truth) = (epoch.time, epoch.truth);
        let begun = Instant::now();
        for (i, slot) in self.slots.iter_mut().enumerate() {
            panorama.alive[i] = false;
            let Some(camera) = &mut slot.camera else {
                continue;
            };
            if slot.pause > 0 {
                slot.pause -= 1;
                continue;
            }
            let frame = &mut panorama.frames[i];
            let asked = Instant::now();
            // Whoever comes after a camera that did not answer has had its time too.
            let grabbed = camera.grab(CAMERA_DEADLINE.saturating_sub(begun.elapsed()), frame);
            let why = match grabbed {
                Ok(()) if !frame.is_blank() => None,
                Ok(()) => Some(format!("{} camera: the picture is blank; check lens and cable", camera.name())),
                Err(e) => Some(e.to_string()),
            };
            let spoke = tell_news(camera.as_mut(), &mut told);
            let Some(why) = why else {
                panorama.alive[i] = true;
                slot.count.pictures += 1;
                (slot.next_pause, slot.failing) = (FIRST_PAUSE, false);
                continue;
            };
            slot.count.failures += 1;
            if asked.elapsed() > QUICK {
                slot.pause = slot.next_pause;
                slot.next_pause = (2 * slot.next_pause).min(LONGEST_PAUSE);
            }
            // A camera that looks after itself has its own words for what happened, once.
            if !spoke && !slot.failing {
                told(&why);
            }
            slot.failing = true;
        }
    }

    /// What became of each camera's frames, as far as they say: name and counts.
    pub fn summaries(&self) -> impl Iterator<Item = (String, String)> {
        let cameras = self.slots.iter().filter_map(|slot| slot.camera.as_ref());
        cameras.filter_map(|camera| Some((format!("{} camera", camera.name()), camera.summary()?)))
    }

    /// Counts of front, right, back, left.
    pub fn counts(&self) -> [CameraCount; MAX_VIEWS] {
        std::array::from_fn(|i| self.slots[i].count)
    }
}

/// Whether the camera had news.
fn tell_news(camera: &mut dyn Camera, told: &mut impl FnMut(&str)) -> bool {
    let mut spoke = false;
    while let Some(line) = camera.news() {
        told(&line);
        spoke = true;
    }
    spoke
}

#[cfg(test)]
mod tests {
    use homing_board::BoardError;

    use super::*;

    struct Fake {
        grabs: u32,
        works: fn(u32) -> bool,
        takes: Duration,
        value: u8,
    }

    impl Camera for Fake {
        fn name(&self) -> &str {
            "left"
        }

        fn grab(&mut self, _: Duration, frame: &mut Frame) -> Result<(), BoardError> {
            self.grabs += 1;
            std::thread::sleep(self.takes);
            if !(self.works)(self.grabs) {
                return Err(BoardError::Camera { camera: "left".into(), cause: "unplugged".into() });
            }
            *frame = Frame { width: 2, height: 1, rgb: vec![0, 0, 0, 0, 0, self.value] };
            Ok(())
        }
    }

    fn capture(works: fn(u32) -> bool, takes: Duration, value: u8) -> Capture {
        let good = Fake { grabs: 0, works: |_| true, takes: Duration::ZERO, value: 9 };
        Capture::new([Some(Box::new(good)), None, None, Some(Box::new(Fake { grabs: 0, works, takes, value }))])
    }

    const EPOCH: Epoch = Epoch { time: SystemTime::UNIX_EPOCH, truth: None };

    /// In which of 20 panoramas the left camera was there, and what was told.
    fn twenty(c: &mut Capture) -> (Vec<bool>, Vec<String>) {
        let mut p = Panorama::default();
        let mut told = Vec::new();
        let alive = (0..20)
            .map(|_| {
                c.take(EPOCH, &mut p, |line| told.push(line.to_owned()));
                assert!(p.alive()[0] && !p.alive()[1]);
                p.alive()[3]
            })
            .collect();
        (alive, told)
    }

    #[test]
    fn a_failing_camera_does_not_stop_the_others_and_comes_back() {
        let mut c = capture(|n| n >= 4, Duration::ZERO, 7);
        let (alive, told) = twenty(&mut c);
        assert_eq!(alive.iter().position(|a| *a), Some(3), "{alive:?}");
        assert!(alive[3..].iter().all(|a| *a));
        assert_eq!(told, ["left camera: unplugged"], "once");
        assert_eq!(c.counts()[3], CameraCount { pictures: 17, failures: 3 });
        let mut c = capture(|n| n % 2 == 0, Duration::ZERO, 7);
        assert_eq!(twenty(&mut c).1.len(), 10, "after each picture it is new");
    }

    #[test]
    fn a_camera_whose_failures_take_time_is_left_alone_for_a_while() {
        let mut c = capture(|n| n >= 4, 2 * QUICK, 7);
        let (alive, told) = twenty(&mut c);
        // Asked at 0, 2, 5 and 10: pauses of 1, 2 and 4 fixes; then it works again.
        assert_eq!(alive.iter().position(|a| *a), Some(10), "{alive:?}");
        assert!(alive[10..].iter().all(|a| *a));
        assert_eq!(told, ["left camera: unplugged"]);
        assert_eq!(c.counts()[3], CameraCount { pictures: 10, failures: 3 });
    }

    #[test]
    fn a_blank_picture_is_no_view() {
        let mut c = capture(|_| true, Duration::ZERO, 0);
        let mut p = Panorama::default();
        c.take(EPOCH, &mut p, |line| assert!(line.contains("blank")));
        assert_eq!(p.alive(), [true, false, false, false]);
    }
}
