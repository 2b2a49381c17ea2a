//! A fix asks the system for no memory once everything has its size: what runs for months must not depend on luck with
//! it. What tract and the resizing library take inside the encoder is counted apart, and returned after each fix.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/tiny.rs"]
mod tiny;

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, SystemTime},
};

use allocation_counter::{AllocationInfo, measure};
use homing::{
    Model,
    capture::{Capture, Panorama},
    compare::Compare,
    encode::Embeddings,
    event::Event,
    report::{Fix, Latency, OutDir, draw_screen, json, nmea, nmea::SentenceSettings},
    supervise::{Files, Observer, Supervisor},
    track::Track,
};
use homing_board::{Board, BoardError, Camera, Clock, Display, Epoch, Frame, GnssFix, Link, Screen, panel::Panel};
use homing_models::LatLon;

/// A part of the vehicle that needs no memory of its own.
struct Part(u8);

impl Camera for Part {
    fn name(&self) -> &str {
        "front"
    }

    fn grab(&mut self, _: Duration, frame: &mut Frame) -> Result<(), BoardError> {
        (frame.width, frame.height) = (64, 48);
        frame.rgb.resize(3 * 64 * 48, 0);
        self.0 = self.0.wrapping_add(1);
        // Zero times anything would be a blank picture.
        let tint = self.0 | 1;
        frame.rgb.iter_mut().enumerate().for_each(|(i, v)| *v = (i as u8).wrapping_mul(tint));
        Ok(())
    }
}

impl Clock for Part {
    fn next_epoch(&mut self) -> Epoch {
        self.0 = self.0.wrapping_add(1);
        Epoch { time: SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.into()), truth: None }
    }
}

impl homing_board::Gnss for Part {
    fn latest(&mut self) -> Result<Option<GnssFix>, BoardError> {
        Ok(Some(GnssFix { position: LatLon::new(48.0, 11.0).unwrap(), accuracy_m: Some(4.0) }))
    }
}

impl Display for Part {
    fn show(&mut self, _: &Screen) -> Result<(), BoardError> {
        Ok(())
    }
}

impl Link for Part {
    fn name(&self) -> String {
        "line".to_owned()
    }

    fn send(&mut self, _: &[u8]) -> Result<(), BoardError> {
        Ok(())
    }
}

fn cameras() -> [Option<Box<dyn Camera>>; 4] {
    [1, 60, 120, 180].map(|tint| Some(Box::new(Part(tint)) as Box<dyn Camera>))
}

fn model() -> Model {
    let dir = tempfile::tempdir().unwrap();
    Model::load(tiny::bundle(&dir.path().join("bundle"))).unwrap()
}

#[test]
fn our_stages_ask_for_no_memory() {
    let mut model = model();
    let (mut capture, mut clock) = (Capture::new(cameras()), Part(0));
    let (mut track, mut compare) = (Track::new(), Compare::new());
    let (mut panorama, mut embeddings) = (Panorama::default(), Embeddings::default());
    let (mut screen, mut line) = (Screen::new(), Vec::new());
    let position = LatLon::new(48.0, 11.0).unwrap();
    for number in 1..=20 {
        let epoch = clock.next_epoch();
        let taken = measure(|| capture.take(epoch, &mut panorama, |line| panic!("{line}")));
        model.encoder.encode(&panorama, &mut embeddings).unwrap();
        let estimate = model.locator.locate(&embeddings).unwrap();
        // What `locate` does beside running the heads.
        let probabilities = vec![1.0 / model.locator.geocells().len() as f32; model.locator.geocells().len()];
        let params = homing_models::RefineParams { k: 40, ..homing_models::RefineParams::STREET_VIEW };
        let (geocells, prototypes) = (model.locator.geocells(), model.locator.prototypes());
        let refined = measure(|| {
            homing_models::refine(geocells, prototypes, &probabilities, embeddings.mean(), &params);
        });
        let gnss = Some(GnssFix { position, accuracy_m: None });
        let reported = measure(|| {
            let tracked = estimate.as_ref().map(|e| track.push(epoch.time, e));
            let comparison = compare.push(gnss.as_ref(), tracked.as_ref());
            let (time, truth, latency) = (epoch.time, Some(position), Latency::default());
            let fix = Fix { number, time, truth, views: 4, estimate, tracked, gnss, comparison, latency };
            let place = fix.tracked.as_ref().map(|t| model.locator.place(&t.candidate));
            draw_screen(&mut screen, &fix, place, true);
            assert!(!nmea::burst(&fix, "0123456789ab", SentenceSettings::default()).is_empty());
            json::line(&mut line, &fix, &model.locator, "0123456789ab");
        });
        if number > 2 {
            for (stage, info) in [("capture", taken), ("refinement", refined), ("report", reported)] {
                assert_eq!(info.count_total, 0, "{stage} of fix {number}: {info:?}");
            }
        }
    }
}

/// What each fix asked for since the one before.
#[derive(Default)]
struct Nothing;

impl Observer for Nothing {
    fn fix(&mut self, _: &Fix, _: &Panorama, _: &Model) {}

    fn told(&mut self, event: Event<'_>) {
        assert!(event.change.is_some(), "{}", event.line);
    }
}

#[test]
fn whole_fixes_keep_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let out = OutDir::claim(&dir.path().join("out")).unwrap();
    let mut files = Some(Files::create(&out).unwrap());
    let board = Board {
        name: "parts".to_owned(),
        clock: Box::new(Part(0)),
        cameras: cameras(),
        gnss: Some(Box::new(Part(0))),
        display: Some(Box::new(Part(0))),
        link: Some(Box::new(Part(0))),
        panel: Panel::default(),
    };
    let mut supervisor = Supervisor::new(board, model(), SentenceSettings::default());
    let never = AtomicBool::new(false);
    let mut until = |fixes: u64| -> AllocationInfo {
        measure(|| supervisor.run(Some(fixes), None, &mut files, &never, &mut Nothing).unwrap())
    };
    until(50);
    let info = until(550);
    println!("{:.1} allocations a fix, all in the encoder and the heads", info.count_total as f64 / 500.0);
    assert_eq!(info.count_current, 0, "{info:?}");
    assert_eq!(info.bytes_current, 0, "{info:?}");
}
