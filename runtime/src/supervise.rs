//! Supervise: owns the stages and runs them fix by fix, with a deadline for each. A stage that fails costs
//! its own part of one fix and nothing else.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use homing_board::{
    Board, Clock, Display, Gnss, Link, Screen,
    panel::{Panel, Signal},
};

use crate::{
    Model,
    capture::{Capture, Panorama},
    compare::{Compare, Verdict},
    encode::Embeddings,
    event::{Event, Part},
    report::{
        Fix, Latency, OutDir, OutError, OutFile, draw_screen, json,
        mavlink::{Component, MavlinkSettings},
        nmea,
        nmea::SentenceSettings,
    },
    track::Track,
};

/// A display is not updated more often than this.
const DISPLAY_PAUSE: Duration = Duration::from_millis(200);
/// A stage that takes longer is told about.
const STAGE_DEADLINE: Duration = Duration::from_secs(2);

/// Bytes of a part of an output file: with one fix a second a day and a half of JSON lines.
const PART_BYTES: u64 = 64 << 20;

/// File names in the output directory.
pub const NMEA_FILE: &str = "drive.nmea";
/// One JSON object per fix.
pub const FIXES_FILE: &str = "fixes.jsonl";
/// The last picture of the display.
pub const DISPLAY_FILE: &str = "display.png";
/// The drive on a map.
pub const MAP_FILE: &str = "drive.png";

/// The files of one run; they have their final names once [`Files::finish`] has run.
pub struct Files {
    nmea: OutFile,
    fixes: OutFile,
}

impl Files {
    /// Opens the files in the directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(dir: &OutDir) -> Result<Self, OutError> {
        let open = |name: &str| OutFile::create(&dir.path().join(name), PART_BYTES);
        Ok(Files { nmea: open(NMEA_FILE)?, fixes: open(FIXES_FILE)? })
    }

    fn append(&mut self, sentences: &str, line: &[u8]) -> Result<(), OutError> {
        self.nmea.append(sentences.as_bytes())?;
        self.fixes.append(line)
    }

    /// Gives the files their final names.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn finish(self) -> Result<(), OutError> {
        self.nmea.finish()?;
        self.fixes.finish()
    }
}

/// Watches a run: hears of each fix, and of what went wrong beside it.
pub trait Observer {
    /// A fix is complete. That nobody reads what is said of it is no reason for a vehicle to stop.
    fn fix(&mut self, fix: &Fix, panorama: &Panorama, model: &Model);

    /// Something happened that a person should know.
    fn told(&mut self, event: Event<'_>);
}

/// Tells an observer of the events of one fix.
struct Log<'o> {
    observer: &'o mut dyn Observer,
    fix: u64,
}

impl Log<'_> {
    fn tell(&mut self, part: Part, line: &str) {
        self.observer.told(Event { part, fix: self.fix, line, change: None });
    }

    /// Tells of a failure, and of nothing when there is none.
    fn failed<E: std::fmt::Display>(&mut self, part: Part, outcome: Result<(), E>) {
        outcome.unwrap_or_else(|e| self.tell(part, &e.to_string()));
    }
}

/// The stages of a vehicle.
pub struct Supervisor {
    model: Model,
    sentences: SentenceSettings,
    mavlink: Option<Component>,
    clock: Box<dyn Clock>,
    capture: Capture,
    gnss: Option<Box<dyn Gnss>>,
    display: Option<Box<dyn Display>>,
    link: Option<Box<dyn Link>>,
    panel: Panel,
    track: Track,
    compare: Compare,
    panorama: Panorama,
    embeddings: Embeddings,
    line: Vec<u8>,
    screen: Screen,
    shown: Option<Instant>,
    last: Option<Fix>,
    fixes: u64,
}

impl Supervisor {
    /// Takes over a board's parts; `sentences` go over its link and into the file.
    pub fn new(board: Board, model: Model, sentences: SentenceSettings) -> Self {
        let Board { clock, cameras, gnss, display, link, panel, .. } = board;
        Supervisor {
            model,
            sentences,
            mavlink: None,
            clock,
            capture: Capture::new(cameras),
            gnss,
            display,
            link,
            panel,
            track: Track::new(),
            compare: Compare::new(),
            panorama: Panorama::default(),
            embeddings: Embeddings::default(),
            line: Vec::new(),
            screen: Screen::new(),
            shown: None,
            last: None,
            fixes: 0,
        }
    }

    /// Has the link speak MAVLink in place of the sentences, which then go into the file only.
    pub fn speak_mavlink(&mut self, settings: MavlinkSettings) {
        self.mavlink = Some(Component::new(settings));
    }

    /// Runs until `limit` fixes are made or `stop` is set. The display shows the last fix in the end.
    ///
    /// # Errors
    /// When a file cannot be written. Everything else is told and survived.
    pub fn run(
        &mut self,
        limit: Option<u64>,
        pace: Option<Duration>,
        files: &mut Option<Files>,
        stop: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(), OutError> {
        let mut outcome = Ok(());
        while outcome.is_ok() && limit.is_none_or(|n| self.fixes < n) && !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            outcome = self.one_fix(files, observer);
            if let Some(pause) = pace.and_then(|p| p.checked_sub(started.elapsed())) {
                self.rest(pause, stop, observer);
            }
        }
        if let Some(last) = self.last.take() {
            self.show(&last, &mut Log { observer, fix: self.fixes });
        }
        outcome
    }

    /// What became of line, receiver and cameras where they say: name and counts.
    pub fn summaries(&self) -> impl Iterator<Item = (String, String)> {
        let line = self.link.as_ref().and_then(|l| l.summary()).map(|said| ("line".to_owned(), said));
        let receiver = self.gnss.as_ref().and_then(|g| g.summary()).map(|said| ("receiver".to_owned(), said));
        line.into_iter().chain(receiver).chain(self.capture.summaries())
    }

    /// Counts of the cameras: front, right, back, left.
    pub fn cameras(&self) -> [crate::capture::CameraCount; 4] {
        self.capture.counts()
    }

    fn one_fix(&mut self, files: &mut Option<Files>, observer: &mut dyn Observer) -> Result<(), OutError> {
        let epoch = self.clock.next_epoch();
        self.fixes += 1;
        let mut latency = Latency::default();
        let mut stage = Stage::begin();
        let log = &mut Log { observer, fix: self.fixes };

        self.capture.take(epoch, &mut self.panorama, |line| log.tell(Part::Camera, line));
        latency.capture = stage.end("capture", log);

        if let Err(e) = self.model.encoder.encode(&self.panorama, &mut self.embeddings) {
            log.tell(Part::Model, &e.to_string());
            self.embeddings = Embeddings::default();
        }
        latency.encode = stage.end("encode", log);
        latency.cut = self.embeddings.cut();

        let estimate = self.model.locator.locate(&self.embeddings).unwrap_or_else(|e| {
            log.tell(Part::Model, &e.to_string());
            None
        });
        latency.heads = estimate.as_ref().map_or(Duration::ZERO, |_| self.model.locator.heads());
        let latest = self.gnss.as_mut().map_or(Ok(None), |gnss| gnss.latest());
        let gnss = latest.unwrap_or_else(|e| {
            log.tell(Part::Receiver, &e.to_string());
            None
        });
        let tracked = estimate.as_ref().map(|e| self.track.push(epoch.time, e));
        let comparison = self.compare.push(gnss.as_ref(), tracked.as_ref());
        if let Some(change) = &comparison.change {
            let line = &change.to_string();
            log.observer.told(Event { part: Part::Verdict, fix: self.fixes, line, change: Some(change) });
        }
        latency.locate = stage.end("locate", log);

        let mut fix = Fix {
            number: self.fixes,
            time: epoch.time,
            truth: epoch.truth,
            views: self.embeddings.views(),
            estimate,
            tracked,
            gnss,
            comparison,
            latency,
        };
        let sentences = nmea::burst(&fix, &self.model.card.id, self.sentences);
        let frames = self.mavlink.as_mut().map(|component| component.burst(&fix));
        self.send(frames.as_deref().unwrap_or(sentences.as_bytes()), log);
        while let Some(line) = self.link.as_mut().and_then(|l| l.news()) {
            log.tell(Part::Line, &line);
        }
        while let Some(line) = self.gnss.as_mut().and_then(|g| g.news()) {
            log.tell(Part::Receiver, &line);
        }
        self.tell_panel(&fix, log);
        if self.shown.is_none_or(|t| t.elapsed() >= DISPLAY_PAUSE) {
            self.show(&fix, log);
        }
        fix.latency.report = stage.end("report", log);
        let mut written = Ok(());
        if let Some(files) = files {
            json::line(&mut self.line, &fix, &self.model.locator, &self.model.card.id);
            written = files.append(&sentences, &self.line);
        }
        if written.is_ok() {
            observer.fix(&fix, &self.panorama, &self.model);
        }
        self.last = Some(fix);
        written
    }

    /// Sends what there is to say, where there is a link.
    fn send(&mut self, bytes: &[u8], log: &mut Log<'_>) {
        if let Some(link) = self.link.as_mut().filter(|_| !bytes.is_empty()) {
            log.failed(Part::Line, link.send(bytes));
        }
    }

    /// Rests, while a heartbeat goes out whenever it is due.
    fn rest(&mut self, pause: Duration, stop: &AtomicBool, observer: &mut dyn Observer) {
        let end = Instant::now() + pause;
        while let Some(left) = left_until(end, stop) {
            std::thread::sleep(left);
            if let Some(frames) = self.mavlink.as_mut().map(Component::heartbeat) {
                self.send(&frames, &mut Log { observer, fix: self.fixes });
            }
        }
    }

    /// Lights the lamp as the verdict is, and hears whether somebody marks this fix with the button.
    fn tell_panel(&mut self, fix: &Fix, log: &mut Log<'_>) {
        if let Some(lamp) = &mut self.panel.lamp {
            let signal = match (&fix.tracked, fix.comparison.verdict) {
                (None, _) | (_, Verdict::VisionUnsure) => Signal::NoEstimate,
                (_, Verdict::Agree) => Signal::Agree,
                (_, Verdict::Disagree) => Signal::Disagree,
                (_, Verdict::GpsAbsent) => Signal::Absent,
            };
            log.failed(Part::Panel, lamp.say(signal));
        }
        match self.panel.button.as_mut().map(|button| button.pressed()) {
            Some(Ok(true)) => log.tell(Part::Panel, &format!("marked by the button: fix {}", fix.number)),
            Some(Err(e)) => log.tell(Part::Panel, &e.to_string()),
            Some(Ok(false)) | None => (),
        }
    }

    /// Draws a fix and shows it, where there is a display.
    fn show(&mut self, fix: &Fix, log: &mut Log<'_>) {
        self.shown = Some(Instant::now());
        if let Some(display) = &mut self.display {
            let place = fix.tracked.as_ref().map(|t| self.model.locator.place(&t.candidate));
            draw_screen(&mut self.screen, fix, place, self.model.card.simulated_planet);
            log.failed(Part::Display, display.show(&self.screen));
        }
    }
}

/// Sleeps in short pieces, so that a stop is not kept waiting.
pub(crate) fn sleep_unless(stop: &AtomicBool, pause: Duration) {
    let end = Instant::now() + pause;
    while let Some(left) = left_until(end, stop) {
        std::thread::sleep(left);
    }
}

/// The next piece of a sleep; none at its end, and when it is to stop.
fn left_until(end: Instant, stop: &AtomicBool) -> Option<Duration> {
    let left = end.checked_duration_since(Instant::now())?;
    (!stop.load(Ordering::Relaxed)).then(|| left.min(Duration::from_millis(50)))
}

struct Stage(Instant);

impl Stage {
    fn begin() -> Self {
        Stage(Instant::now())
    }

    fn end(&mut self, name: &str, log: &mut Log<'_>) -> Duration {
        let took = self.0.elapsed();
        if took > STAGE_DEADLINE {
            let (took, deadline) = (took.as_secs_f64(), STAGE_DEADLINE.as_secs_f64());
            log.tell(Part::Pace, &format!("{name} took {took:.1} s, its deadline is {deadline:.0} s"));
        }
        self.0 = Instant::now();
        took
    }
}
