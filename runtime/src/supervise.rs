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
    report::{Fix, Latency, OutDir, OutError, OutFile, draw_screen, json, nmea, nmea::SentenceSettings},
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

    fn append(&mut self, sentences: &str, line: &str) -> Result<(), OutError> {
        self.nmea.append(sentences.as_bytes())?;
        self.fixes.append(line.as_bytes())
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

    /// Something happened that a person should know, in one line.
    fn told(&mut self, line: &str);
}

/// The stages of a vehicle.
pub struct Supervisor {
    model: Model,
    sentences: SentenceSettings,
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
    screen: Screen,
    shown: Option<Instant>,
    fixes: u64,
}

impl Supervisor {
    /// Takes over a board's parts; `sentences` go over its link and into the file.
    pub fn new(board: Board, model: Model, sentences: SentenceSettings) -> Self {
        let Board { clock, cameras, gnss, display, link, panel, .. } = board;
        Supervisor {
            model,
            sentences,
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
            screen: Screen::new(),
            shown: None,
            fixes: 0,
        }
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
                sleep_unless(stop, pause);
            }
        }
        self.show(observer);
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

        self.capture.take(epoch, &mut self.panorama, |line| observer.told(line));
        latency.capture = stage.end("capture", observer);

        if let Err(e) = self.model.encoder.encode(&self.panorama, &mut self.embeddings) {
            observer.told(&e.to_string());
            self.embeddings = Embeddings::default();
        }
        latency.encode = stage.end("encode", observer);

        let estimate = self.model.locator.locate(&self.embeddings).unwrap_or_else(|e| {
            observer.told(&e.to_string());
            None
        });
        let gnss = match self.gnss.as_mut().map(|g| g.latest()) {
            Some(Ok(fix)) => fix,
            Some(Err(e)) => {
                observer.told(&e.to_string());
                None
            }
            None => None,
        };
        let tracked = estimate.as_ref().map(|e| self.track.push(epoch.time, e));
        let comparison = self.compare.push(gnss.as_ref(), tracked.as_ref());
        if let Some(change) = comparison.change {
            observer.told(&change.to_string());
        }
        latency.locate = stage.end("locate", observer);

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
        if let Some(link) = &mut self.link
            && let Err(e) = link.send(sentences.as_bytes())
        {
            observer.told(&e.to_string());
        }
        while let Some(line) = self.link.as_mut().and_then(|l| l.news()) {
            observer.told(&line);
        }
        while let Some(line) = self.gnss.as_mut().and_then(|g| g.news()) {
            observer.told(&line);
        }
        self.tell_panel(&fix, observer);
        let place = fix.tracked.as_ref().map(|t| self.model.locator.place(&t.candidate));
        draw_screen(&mut self.screen, &fix, place, self.model.card.simulated_planet);
        if self.shown.is_none_or(|t| t.elapsed() >= DISPLAY_PAUSE) {
            self.show(observer);
        }
        fix.latency.report = stage.end("report", observer);
        if let Some(files) = files {
            files.append(&sentences, &(json::line(&fix, &self.model.locator, &self.model.card.id) + "\n"))?;
        }
        observer.fix(&fix, &self.panorama, &self.model);
        Ok(())
    }

    /// Lights the lamp as the verdict is, and hears whether somebody marks this fix with the button.
    fn tell_panel(&mut self, fix: &Fix, observer: &mut dyn Observer) {
        if let Some(lamp) = &mut self.panel.lamp {
            let signal = match (&fix.tracked, fix.comparison.verdict) {
                (None, _) | (_, Verdict::VisionUnsure) => Signal::NoEstimate,
                (_, Verdict::Agree) => Signal::Agree,
                (_, Verdict::Disagree) => Signal::Disagree,
                (_, Verdict::GpsAbsent) => Signal::Absent,
            };
            lamp.say(signal).unwrap_or_else(|e| observer.told(&e.to_string()));
        }
        match self.panel.button.as_mut().map(|button| button.pressed()) {
            Some(Ok(true)) => observer.told(&format!("marked by the button: fix {}", fix.number)),
            Some(Err(e)) => observer.told(&e.to_string()),
            Some(Ok(false)) | None => (),
        }
    }

    fn show(&mut self, observer: &mut dyn Observer) {
        self.shown = Some(Instant::now());
        if let Some(display) = &mut self.display
            && self.fixes > 0
            && let Err(e) = display.show(&self.screen)
        {
            observer.told(&e.to_string());
        }
    }
}

/// Sleeps in short pieces, so that a stop is not kept waiting.
pub(crate) fn sleep_unless(stop: &AtomicBool, pause: Duration) {
    let end = Instant::now() + pause;
    while !stop.load(Ordering::Relaxed) {
        let Some(left) = end.checked_duration_since(Instant::now()) else {
            return;
        };
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

struct Stage(Instant);

impl Stage {
    fn begin() -> Self {
        Stage(Instant::now())
    }

    fn end(&mut self, name: &str, observer: &mut dyn Observer) -> Duration {
        let took = self.0.elapsed();
        if took > STAGE_DEADLINE {
            observer.told(&format!(
                "{name} took {:.1} s, its deadline is {:.0} s",
                took.as_secs_f64(),
                STAGE_DEADLINE.as_secs_f64()
            ));
        }
        self.0 = Instant::now();
        took
    }
}
