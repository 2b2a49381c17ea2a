use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::io::Errno;

use super::*;
use crate::cameras::{
    device::{Fault, Shot, Step, Stream},
    pixels::{Layout, tests::sample_jpeg},
};

/// What a fake camera does in one of its sessions, from opening to closing.
#[derive(Clone, Debug)]
enum Act {
    /// Cannot be opened.
    NotOpened(Errno),
    /// So many good frames, then a failure in reading.
    Frames(u32, Errno),
    /// So many good frames, then none within the time-out.
    Silence(u32),
    /// Frames for ever.
    Works,
    /// Frames that the driver marks, that are no JPEG, or that are cut.
    Marked,
    Garbage,
    Cut,
    /// The driver does not come back, from opening or from reading.
    HangsOpening,
    HangsReading,
    /// The layer below panics, in reading and again in closing.
    Panics,
}

/// A camera that acts one session after the other; the last act goes on.
struct Fake {
    acts: Vec<Act>,
    sessions: Arc<AtomicU32>,
    tint: u8,
}

struct FakeStream {
    act: Act,
    frames: u32,
    jpeg: Vec<u8>,
    cut: usize,
}

/// Of tests on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const FRAME_TIME: Duration = Duration::from_millis(4);
const ASKED: (u32, u32, CameraFormat) = (64, 48, CameraFormat::Mjpeg);

fn hang() -> ! {
    loop {
        thread::park();
    }
}

impl Source for Fake {
    fn open(&mut self) -> Result<Box<dyn Stream>, Fault> {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed) as usize;
        let act = self.acts[session.min(self.acts.len() - 1)].clone();
        match act {
            Act::NotOpened(errno) => return Err(Fault::System(Step::Open, errno.into())),
            Act::HangsOpening => hang(),
            _ => {}
        }
        let jpeg = sample_jpeg(self.tint);
        let cut = if matches!(act, Act::Cut) { jpeg.len() / 2 } else { jpeg.len() };
        Ok(Box::new(FakeStream { act, frames: 0, jpeg, cut }))
    }
}

impl Stream for FakeStream {
    fn layout(&self) -> Layout {
        Layout { width: 64, height: 48, format: CameraFormat::Mjpeg, stride: 0 }
    }

    fn next(&mut self) -> Result<Shot<'_>, Fault> {
        thread::sleep(FRAME_TIME);
        self.frames += 1;
        let mut shot = Shot { bytes: &self.jpeg[..self.cut], taken: Instant::now(), damaged: false };
        match self.act {
            Act::Frames(n, errno) if self.frames > n => {
                return Err(Fault::System(Step::Stream, io::Error::from(errno)));
            }
            Act::Silence(n) if self.frames > n => return Err(Fault::TimedOut),
            Act::HangsReading => hang(),
            Act::Panics => panic!("Invalid colorspace"),
            Act::Marked => shot.damaged = true,
            Act::Garbage => shot.bytes = b"garbage",
            _ => {}
        }
        Ok(shot)
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        if matches!(self.act, Act::Panics) {
            panic!("the stream cannot be stopped");
        }
    }
}

/// A camera of these acts, and how often it was opened.
struct Rig {
    panorama: Arc<Mutex<PanoramaWindow>>,
    bus: Option<Arc<Bus>>,
    asked: (u32, u32, CameraFormat),
}

impl Rig {
    fn new() -> Self {
        Rig { panorama: Arc::default(), bus: None, asked: ASKED }
    }

    fn camera(&self, index: usize, acts: &[Act]) -> (SupervisedCamera, Arc<AtomicU32>) {
        let plan = Plan {
            path: format!("/dev/v4l/{}", CAMERA_NAMES[index]).into(),
            asked: self.asked,
            timeout: Duration::from_millis(100),
            window: Duration::from_millis(400),
            pauses: (Duration::from_millis(10), Duration::from_millis(80)),
            bus: self.bus.clone(),
        };
        let sessions = Arc::new(AtomicU32::new(0));
        let source = Fake { acts: acts.to_vec(), sessions: Arc::clone(&sessions), tint: 50 * index as u8 };
        let camera = SupervisedCamera::start(index, plan, Arc::clone(&self.panorama), source).unwrap();
        (camera, sessions)
    }
}

fn grab(camera: &mut SupervisedCamera, deadline_ms: u64) -> Result<Frame, String> {
    let mut frame = Frame::default();
    let start = Instant::now();
    let grabbed = camera.grab(Duration::from_millis(deadline_ms), &mut frame);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(deadline_ms + 2000), "a grab of {deadline_ms} ms took {took:?}");
    grabbed.map(|()| frame).map_err(|e| e.to_string())
}

/// Asks until the message has these words.
fn fails_with(camera: &mut SupervisedCamera, words: &str) -> String {
    let start = Instant::now();
    loop {
        match grab(camera, 5) {
            Err(e) if e.contains(words) => return e,
            other => assert!(start.elapsed() < PATIENCE, "no {words:?}: {:?}", other.map(drop)),
        }
    }
}

fn news(camera: &SupervisedCamera) -> Vec<String> {
    let watch = camera.watch();
    std::iter::from_fn(|| watch.news()).collect()
}

#[test]
fn the_newest_frame_is_handed_over_at_once_and_each_camera_gives_its_own() {
    let rig = Rig::new();
    let (mut front, opened) = rig.camera(0, &[Act::Works]);
    let (mut left, _) = rig.camera(3, &[Act::Works]);
    let blue = |f: &Frame| f.rgb[3 * (24 * 64 + 32) + 2];
    assert!(blue(&grab(&mut front, 2000).unwrap()) < 20);
    assert!(blue(&grab(&mut left, 2000).unwrap()).abs_diff(150) < 20);
    // Without waiting: what came meanwhile.
    let until = Instant::now() + PATIENCE;
    while grab(&mut front, 0).is_err() {
        assert!(Instant::now() < until);
    }
    assert_eq!(opened.load(Ordering::Relaxed), 1);
    assert_eq!((front.name(), news(&front).len()), ("front", 0));
}

#[test]
fn a_camera_that_is_unplugged_comes_back_and_says_so_once() {
    let gone = [Act::NotOpened(Errno::NOENT), Act::NotOpened(Errno::NOENT)];
    let acts = [&[Act::Frames(3, Errno::NODEV)], &gone[..], &[Act::Works]].concat();
    let (mut camera, opened) = Rig::new().camera(1, &acts);
    assert!(grab(&mut camera, 2000).is_ok());
    let until = Instant::now() + PATIENCE;
    while opened.load(Ordering::Relaxed) < 4 || camera.watch().statistics().frames < 6 {
        assert!(Instant::now() < until);
        thread::sleep(FRAME_TIME);
    }
    assert!(grab(&mut camera, 2000).is_ok());
    assert_eq!(camera.watch().statistics().rebuilds, 3);
    let told = news(&camera);
    let says = ["/dev/v4l/right was unplugged", "/dev/v4l/right is not there", "/dev/v4l/right gives pictures again"];
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().zip(says).all(|(line, says)| line.starts_with(&format!("right camera: {says}"))), "{told:?}");
}

#[test]
fn what_the_driver_made_of_the_format_is_taken_and_told_once() {
    let rig = Rig { asked: (1280, 720, CameraFormat::Yuyv), ..Rig::new() };
    let (mut camera, opened) = rig.camera(0, &[Act::Frames(1, Errno::IO), Act::Works]);
    assert_eq!(grab(&mut camera, 2000).unwrap().width, 64);
    let until = Instant::now() + PATIENCE;
    while opened.load(Ordering::Relaxed) < 2 || camera.watch().statistics().frames < 3 {
        assert!(Instant::now() < until);
        thread::sleep(FRAME_TIME);
    }
    let told = news(&camera);
    assert!(told[0].ends_with("gives 64 x 48 mjpeg instead of 1280 x 720 yuyv, and that is used"), "{told:?}");
    assert_eq!(told.iter().filter(|line| line.contains("instead of")).count(), 1, "{told:?}");
}

#[test]
fn after_a_time_out_the_stream_is_built_anew() {
    let (mut camera, opened) = Rig::new().camera(0, &[Act::Silence(2), Act::Silence(0), Act::Works]);
    let until = Instant::now() + PATIENCE;
    while opened.load(Ordering::Relaxed) < 3 {
        assert!(Instant::now() < until);
        thread::sleep(FRAME_TIME);
    }
    assert!(grab(&mut camera, 2000).is_ok());
    let counts = camera.watch().statistics();
    assert_eq!((counts.timeouts, counts.rebuilds, counts.corrupt), (2, 2, 0));
    assert!(news(&camera)[0].contains("gives no frames; check its cable"));
}

#[test]
fn no_bandwidth_is_explained_and_the_pauses_grow() {
    let (mut camera, opened) = Rig::new().camera(2, &[Act::Frames(0, Errno::NOSPC)]);
    let e = fails_with(&mut camera, "no bandwidth");
    assert!(e.starts_with("back camera: the USB bus of /dev/v4l/back") && e.contains("round_robin = true"), "{e}");
    let before = opened.load(Ordering::Relaxed);
    let start = Instant::now();
    thread::sleep(Duration::from_millis(300));
    // Pauses of 10, 20, 40 and then 80 ms.
    let tries = opened.load(Ordering::Relaxed) - before;
    assert!(tries <= 8 + start.elapsed().as_millis() as u32 / 80, "{tries} tries");
    assert!(fails_with(&mut camera, "tried again in").contains("time-outs: 0, opened again: "));
    assert_eq!(news(&camera).len(), 1, "the same failure is told once");
}

#[test]
fn damaged_frames_are_never_handed_over() {
    for (act, words) in [
        (Act::Marked, "pictures (so the driver"),
        (Act::Garbage, "pictures (they are not whole"),
        (Act::Cut, "pictures (its data"),
    ] {
        let (mut camera, opened) = Rig::new().camera(0, &[act.clone(), Act::Works]);
        let e = fails_with(&mut camera, words);
        assert!(e.contains("cable"), "{act:?}: {e}");
        assert!(camera.watch().statistics().corrupt > 0);
        // So many in a row are a failure, and the camera is opened anew.
        let until = Instant::now() + PATIENCE;
        while grab(&mut camera, 5).is_err() {
            assert!(Instant::now() < until, "{act:?}");
        }
        assert_eq!(opened.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn a_driver_that_hangs_delays_neither_the_others_nor_the_end() {
    for act in [Act::HangsOpening, Act::HangsReading] {
        let rig = Rig::new();
        let (mut hung, _) = rig.camera(0, &[act]);
        let (mut good, _) = rig.camera(1, &[Act::Works]);
        assert!(grab(&mut good, 2000).is_ok());
        let e = fails_with(&mut hung, "has not answered for");
        assert!(e.contains("unplug the camera, or restart the device"), "{e}");
        assert!(grab(&mut good, 2000).is_ok());
        let start = Instant::now();
        drop(hung);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

#[test]
fn panics_of_the_layer_below_are_failures_like_others() {
    let (mut camera, _) = Rig::new().camera(0, &[Act::Panics, Act::Works]);
    let until = Instant::now() + PATIENCE;
    while grab(&mut camera, 20).is_err() {
        assert!(Instant::now() < until);
    }
    assert!(news(&camera)[0].contains("(Invalid colorspace)"));
}

#[test]
fn dropped_cameras_leave_no_thread() {
    let rig = Rig::new();
    for acts in [vec![Act::Works], vec![Act::NotOpened(Errno::NOENT)]] {
        let (mut camera, _) = rig.camera(0, &acts);
        let _ = grab(&mut camera, 30);
        let shared = Arc::clone(&camera.shared);
        drop(camera);
        assert!(lock(&shared.state).ended);
    }
}

#[test]
fn on_a_shared_bus_cameras_take_turns_and_one_that_hangs_is_passed_over() {
    let rig = Rig { bus: Some(Bus::new(Duration::from_millis(100))), ..Rig::new() };
    let (mut hung, _) = rig.camera(0, &[Act::HangsReading]);
    let (mut right, right_opened) = rig.camera(1, &[Act::Works]);
    let (mut back, back_opened) = rig.camera(2, &[Act::NotOpened(Errno::NOENT)]);
    let (mut left, left_opened) = rig.camera(3, &[Act::Works]);
    let until = Instant::now() + PATIENCE;
    while right_opened.load(Ordering::Relaxed) < 3 || left_opened.load(Ordering::Relaxed) < 3 {
        assert!(Instant::now() < until);
        thread::sleep(FRAME_TIME);
    }
    assert!(grab(&mut right, 2000).is_ok() && grab(&mut left, 2000).is_ok());
    assert!(fails_with(&mut back, "is not there").starts_with("back camera"));
    assert!(fails_with(&mut hung, "has not answered").starts_with("front camera"));
    assert!(back_opened.load(Ordering::Relaxed) >= 1);
    assert_eq!(right.watch().statistics().rebuilds, 0, "its turns are no failures");
}

#[test]
fn frames_of_one_panorama_lie_within_the_window() {
    let window = Duration::from_millis(200);
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut panorama = PanoramaWindow::default();
    let mut moment = |index, ms, gives: Option<u64>| {
        let moment = panorama.moment(index, at(ms), window);
        panorama.grabbed(at(ms), gives.map(at));
        (moment.oldest.unwrap(), moment.latest)
    };
    assert_eq!(moment(0, 300, Some(290)), (at(100), None));
    assert_eq!(moment(1, 310, None), (at(100), Some(at(490))));
    assert_eq!(moment(3, 330, Some(280)), (at(100), Some(at(490))), "one that gave none changes nothing");
    // The next panorama, whichever camera is the first that is asked.
    assert_eq!(moment(3, 350, Some(350)), (at(150), None));
    assert_eq!(moment(0, 360, Some(360)), (at(160), None));
    assert_eq!(moment(2, 1360, None), (at(1160), None));
}

#[test]
fn frames_are_of_the_moment_at_which_the_panorama_began() {
    let rig = Rig::new();
    let (mut front, _) = rig.camera(0, &[Act::Works]);
    let (mut left, _) = rig.camera(3, &[Act::Works]);
    let numbered = |camera: &SupervisedCamera| camera.watch().statistics().frames;
    assert!(grab(&mut front, 2000).is_ok() && grab(&mut left, 2000).is_ok());
    let until = Instant::now() + PATIENCE;
    loop {
        // Frames come on while those of the panorama are fetched one by one.
        assert!(grab(&mut front, 2000).is_ok() && Instant::now() < until);
        let begun = Instant::now();
        let then = numbered(&left);
        while numbered(&left) < then + 5 {
            thread::sleep(FRAME_TIME);
        }
        let moment = Moment { oldest: None, latest: None };
        let slot = lock(&left.shared.state).frame_of(moment, 0, &mut Vec::new()).unwrap();
        assert!(slot.taken <= begun);
        if grab(&mut left, 0).is_ok() {
            break;
        }
    }
}

#[test]
fn a_frame_that_is_too_old_is_not_handed_over() {
    let (mut camera, _) = Rig::new().camera(0, &[Act::Frames(3, Errno::NODEV), Act::HangsOpening]);
    assert!(grab(&mut camera, 2000).is_ok());
    thread::sleep(Duration::from_millis(450));
    assert!(grab(&mut camera, 20).unwrap_err().contains("/dev/v4l/front"));
}
