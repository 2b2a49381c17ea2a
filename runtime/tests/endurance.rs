//! An hour of a vehicle at one fix a second, as fast as it goes, with faults in all that is plugged in: nothing grows,
//! nothing is lost, everything is told, and all comes back. What it found is printed (`--nocapture`).

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/tiny.rs"]
mod tiny;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, Utc};
use homing::{
    Model,
    capture::Panorama,
    event::{Event, Part},
    report::{Fix, OutDir, nmea::checksum},
    supervise::{FIXES_FILE, Files, NMEA_FILE, Observer, Supervisor},
};
use homing_board::{
    Board, BoardError, Camera, Clock, Display, Epoch, Frame, Link, Screen,
    host::{self, HostOutput, HostSettings},
    line::PtyLink,
    planet::hash::Rng,
    receiver::{Receiver, ReceiverSettings},
};

/// An hour at one fix a second.
const FIXES: u64 = 3600;
/// By then every buffer has its size.
const SETTLED: u64 = 1200;
/// What a process of this size may gain by chance, kilobytes.
const SLACK_KB: u64 = 2048;
/// Fixes at which the receiver falls silent.
const SILENCES: [u64; 3] = [700, 1900, 3100];
/// Every so many fixes the reader of the line stops for a while.
const STALL: u64 = 600;

/// Counts of what was done to the vehicle.
#[derive(Default)]
struct Injected {
    fix: AtomicU64,
    cameras: AtomicU64,
    displays: AtomicU64,
    noise: AtomicU64,
    /// The most fixes from the end of a camera's fault to its next picture.
    slowest_camera: AtomicU64,
}

/// A camera that fails now and then in one of four ways.
struct Shaky {
    camera: Box<dyn Camera>,
    rng: Rng,
    fault: u64,
    left: u64,
    /// It gave a picture since the last fault.
    well: bool,
    over: u64,
    injected: Arc<Injected>,
}

impl Camera for Shaky {
    fn name(&self) -> &str {
        self.camera.name()
    }

    fn grab(&mut self, deadline: Duration, frame: &mut Frame) -> Result<(), BoardError> {
        let now = self.injected.fix.load(Relaxed);
        if self.left == 0 && self.well && self.rng.u64().is_multiple_of(60) {
            (self.fault, self.left) = (self.rng.u64() % 4, 1 + self.rng.u64() % 6);
            self.injected.cameras.fetch_add(1, Relaxed);
        }
        if self.left > 0 {
            self.left -= 1;
            (self.well, self.over) = (false, now);
            let cause = match self.fault {
                0 => "unplugged",
                1 => {
                    std::thread::sleep(Duration::from_millis(12));
                    "no picture in time"
                }
                2 => {
                    *frame = Frame { width: 8, height: 8, rgb: vec![0; 192] };
                    return Ok(());
                }
                _ => {
                    // A picture that was cut off.
                    *frame = Frame { width: 64, height: 64, rgb: vec![9; 100] };
                    return Ok(());
                }
            };
            return Err(BoardError::Camera { camera: self.name().to_owned(), cause: cause.to_owned() });
        }
        if !self.well {
            self.injected.slowest_camera.fetch_max(now - self.over, Relaxed);
        }
        self.well = true;
        self.camera.grab(deadline, frame)
    }
}

/// A display that does not take every picture.
struct Flaky(Rng, Arc<Injected>);

impl Display for Flaky {
    fn show(&mut self, _: &Screen) -> Result<(), BoardError> {
        if self.0.u64().is_multiple_of(4) {
            self.1.displays.fetch_add(1, Relaxed);
            return Err(BoardError::Part { part: "display".into(), cause: "no answer on the bus".into() });
        }
        Ok(())
    }
}

/// The vehicle's clock, which also feeds the receiver: sentences, noise, silence.
struct Feeding {
    clock: Box<dyn Clock>,
    antenna: PtyLink,
    rng: Rng,
    injected: Arc<Injected>,
}

impl Clock for Feeding {
    fn next_epoch(&mut self) -> Epoch {
        let fix = 1 + self.injected.fix.fetch_add(1, Relaxed);
        if SILENCES.contains(&fix) {
            // Longer than a fix may be old.
            std::thread::sleep(Duration::from_millis(1500));
        }
        // So much that one silent fix at least comes before the sentences begin again.
        if !SILENCES.iter().any(|silence| (*silence..silence + 5).contains(&fix)) {
            let said = sentences();
            let (said, counted) = match self.rng.u64() % 60 {
                // A bit that fell over on the way, half a sentence, and what is no sentence at all.
                0 => (said.replacen("4800", "4900", 1), 1),
                1 => (said[..said.len() / 3].to_owned() + "\r\n" + &said, 1),
                2 => (said.replacen("$GP", "\u{7f}\u{3}xx", 1), 0),
                _ => (said, 0),
            };
            let before = self.antenna.summary();
            self.antenna.send(said.as_bytes()).unwrap();
            // As fast as this goes, some do not fit the line.
            if self.antenna.summary() == before {
                self.injected.noise.fetch_add(counted, Relaxed);
            }
        }
        self.clock.next_epoch()
    }
}

fn sentences() -> String {
    let now = DateTime::<Utc>::from(SystemTime::now());
    let (clock, date) = (now.format("%H%M%S%.3f"), now.format("%d%m%y"));
    let whole = |body: String| format!("${body}*{:02X}\r\n", checksum(&body));
    whole(format!("GPRMC,{clock},A,4800.0000,N,01100.0000,E,0.0,0.0,{date},,,A"))
        + &whole(format!("GPGGA,{clock},4800.0000,N,01100.0000,E,1,08,1.0,500.0,M,47.0,M,,"))
}

/// What the process holds: kilobytes of memory, threads, descriptors.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    memory_kb: u64,
    threads: u64,
    descriptors: u64,
}

impl Held {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let of = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        Held { memory_kb: of("VmRSS:").unwrap(), threads: of("Threads:").unwrap(), descriptors }
    }
}

struct Watcher {
    injected: Arc<Injected>,
    told: BTreeMap<&'static str, u64>,
    lost: Vec<String>,
    settled: Held,
    ended: Held,
    /// When GNSS was last there, and the longest that it was away.
    gnss: Option<Instant>,
    silences: u64,
    longest_silence: Duration,
    reading: Arc<AtomicBool>,
}

impl Observer for Watcher {
    fn fix(&mut self, fix: &Fix, _: &Panorama, _: &Model) {
        assert_eq!(fix.number, self.injected.fix.load(Relaxed));
        match (fix.gnss, self.gnss) {
            (Some(_), Some(last)) => {
                self.longest_silence = self.longest_silence.max(last.elapsed());
                self.gnss = Some(Instant::now());
            }
            (Some(_), None) => self.gnss = Some(Instant::now()),
            (None, _) => self.silences += 1,
        }
        self.reading.store(fix.number % STALL < STALL / 2, Relaxed);
        match fix.number {
            SETTLED => self.settled = Held::now(),
            FIXES => self.ended = Held::now(),
            _ => {}
        }
    }

    fn told(&mut self, event: Event<'_>) {
        *self.told.entry(event.part.name()).or_default() += 1;
        if event.part == Part::Line {
            self.lost.push(event.line.to_owned());
        }
    }
}

/// Reads the vehicle's line until it hangs up, but for times in which it is told not to.
fn read_line(device: File, reading: &AtomicBool) -> Vec<u8> {
    let (mut device, mut all, mut bytes) = (device, Vec::new(), [0; 4096]);
    loop {
        while !reading.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        match device.read(&mut bytes) {
            Ok(0) | Err(_) => return all,
            Ok(n) => all.extend_from_slice(&bytes[..n]),
        }
    }
}

#[test]
fn an_hour_of_faults_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let model = Model::load(tiny::bundle(&dir.path().join("bundle"))).unwrap();
    let injected = Arc::new(Injected::default());
    let settings = HostSettings { step_km: 0.02, camera_px: Some(32), ..HostSettings::default() };
    let (board, _) = host::board(&settings, 32, FIXES, &HostOutput::default()).unwrap();
    let (antenna, link) = (PtyLink::open().unwrap(), PtyLink::open().unwrap());
    let source = antenna.other_end().display().to_string();
    let receiver = Receiver::open(&ReceiverSettings { source, stale_s: 1.0, ..ReceiverSettings::default() }).unwrap();
    let reading = Arc::new(AtomicBool::new(true));
    let device = File::open(link.other_end()).unwrap();
    let flag = Arc::clone(&reading);
    let reader = std::thread::spawn(move || read_line(device, &flag));
    let mut seeds = 0..;
    let mut rng = || Rng::new(seeds.next().unwrap());
    let board = Board {
        clock: Box::new(Feeding { clock: board.clock, antenna, rng: rng(), injected: Arc::clone(&injected) }),
        cameras: board.cameras.map(|camera| {
            let (camera, injected) = (camera?, Arc::clone(&injected));
            let shaky = Shaky { camera, rng: rng(), fault: 0, left: 0, well: true, over: 0, injected };
            Some(Box::new(shaky) as Box<dyn Camera>)
        }),
        gnss: Some(Box::new(receiver)),
        display: Some(Box::new(Flaky(rng(), Arc::clone(&injected)))),
        link: Some(Box::new(link)),
        ..board
    };
    let out = OutDir::claim(&dir.path().join("out")).unwrap();
    let mut files = Some(Files::create(&out).unwrap());
    let mut supervisor = Supervisor::new(board, model, Default::default());
    let mut watcher = Watcher {
        injected: Arc::clone(&injected),
        told: BTreeMap::new(),
        lost: Vec::new(),
        settled: Held::default(),
        ended: Held::default(),
        gnss: None,
        silences: 0,
        longest_silence: Duration::ZERO,
        reading: Arc::clone(&reading),
    };
    supervisor.run(Some(FIXES), None, &mut files, &AtomicBool::new(false), &mut watcher).unwrap();
    files.take().unwrap().finish().unwrap();
    let summaries: BTreeMap<String, String> = supervisor.summaries().collect();
    // The line hangs up.
    drop(supervisor);
    reading.store(true, Relaxed);
    let received = String::from_utf8(reader.join().unwrap()).unwrap();

    let count = |n: &AtomicU64| n.load(Relaxed);
    let told = |part: Part| watcher.told.get(part.name()).copied().unwrap_or(0);
    println!("held after {SETTLED} fixes: {:?}, after {FIXES}: {:?}", watcher.settled, watcher.ended);
    println!(
        "faults of cameras {}, of the display {}, noise at the receiver {}; told: {:?}",
        count(&injected.cameras),
        count(&injected.displays),
        count(&injected.noise),
        watcher.told
    );
    println!("a camera was back {} fixes after its fault at most", count(&injected.slowest_camera));
    println!("GNSS was away for {:?} at most, of silences of 1.5 s; {summaries:?}", watcher.longest_silence);

    // Nothing grows.
    let (settled, ended) = (watcher.settled, watcher.ended);
    assert!(ended.memory_kb < settled.memory_kb + SLACK_KB, "{settled:?} {ended:?}");
    assert_eq!((ended.threads, ended.descriptors), (settled.threads, settled.descriptors));
    // No line is lost where there is room for it.
    let fixes = fs::read_to_string(out.path().join(FIXES_FILE)).unwrap();
    assert_eq!(fixes.lines().count() as u64, FIXES);
    let sentences = fs::read_to_string(out.path().join(NMEA_FILE)).unwrap();
    let bursts = |text: &str| text.lines().filter(|line| line.starts_with("$GPRMC,")).count() as u64;
    assert_eq!(bursts(&sentences), FIXES);
    // And where there is none, whole bursts are, are counted and told.
    let dropped: u64 = summaries["line"].split(' ').next().unwrap().parse().unwrap();
    assert_eq!(bursts(&received) + dropped, FIXES);
    // Hanging up may tear the last one.
    let whole = &received[..=received.rfind('\n').unwrap()];
    let mut written = sentences.lines();
    for line in whole.lines() {
        assert!(written.any(|other| other == line), "{line:?} is no line of the file, or not in its order");
    }
    assert!(watcher.lost.iter().any(|line| line.contains("nobody reads")), "{:?}", watcher.lost);
    assert!(watcher.lost.iter().any(|line| line.contains("read again")), "{:?}", watcher.lost);
    // Every fault is told.
    assert!(count(&injected.cameras) > 100 && count(&injected.displays) > 0 && count(&injected.noise) > 50);
    assert_eq!(told(Part::Camera), count(&injected.cameras));
    assert_eq!(told(Part::Display), count(&injected.displays));
    let garbled: u64 =
        summaries["receiver"].split(" garbled").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(garbled >= count(&injected.noise), "{garbled} of {}", count(&injected.noise));
    assert!(told(Part::Verdict) >= 2 * SILENCES.len() as u64, "GNSS goes and comes back: {:?}", watcher.told);
    // All comes back.
    assert!(count(&injected.slowest_camera) <= 17, "a pause is 16 fixes at most");
    assert!(watcher.silences >= 3 && watcher.longest_silence < Duration::from_secs(5), "{:?}", watcher.longest_silence);
}
