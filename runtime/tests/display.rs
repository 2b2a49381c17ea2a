//! The display: of a drive that is faster than it the first fix, and in the end the last.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/tiny.rs"]
mod tiny;

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use homing::{
    Model,
    capture::Panorama,
    event::Event,
    report::{Fix, draw_screen, nmea::SentenceSettings},
    supervise::{Observer, Supervisor},
};
use homing_board::{
    BoardError, Display, Screen,
    host::{self, HostOutput, HostSettings},
};

/// What was shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<Screen>>>);

impl Display for Shown {
    fn show(&mut self, screen: &Screen) -> Result<(), BoardError> {
        self.0.lock().unwrap().push(screen.clone());
        Ok(())
    }
}

/// Draws each fix by itself.
#[derive(Default)]
struct Drawn(Vec<Screen>);

impl Observer for Drawn {
    fn fix(&mut self, fix: &Fix, _: &Panorama, model: &Model) {
        let place = fix.tracked.as_ref().map(|t| model.locator.place(&t.candidate));
        let mut screen = Screen::new();
        draw_screen(&mut screen, fix, place, model.card.simulated_planet);
        self.0.push(screen);
    }

    fn told(&mut self, _: Event<'_>) {}
}

#[test]
fn the_display_shows_the_last_fix_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let model = Model::load(tiny::bundle(&dir.path().join("bundle"))).unwrap();
    let (mut board, _) = host::board(&HostSettings::default(), tiny::SIZE, 20, &HostOutput::default()).unwrap();
    let (shown, mut drawn) = (Shown::default(), Drawn::default());
    board.display = Some(Box::new(shown.clone()));
    let mut supervisor = Supervisor::new(board, model, SentenceSettings::default());
    for until in [10, 20] {
        supervisor.run(Some(until), None, &mut None, &AtomicBool::new(false), &mut drawn).unwrap();
        let shown = shown.0.lock().unwrap();
        assert_eq!(drawn.0.len() as u64, until);
        assert!(drawn.0[until as usize - 2..] != [drawn.0[0].clone(), drawn.0[0].clone()], "fixes look different");
        assert_eq!(shown.first(), drawn.0.first());
        assert_eq!(shown.last(), drawn.0.last(), "after {until} fixes");
    }
}
