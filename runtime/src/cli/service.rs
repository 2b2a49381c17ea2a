//! What systemd hears of a run (`Type=notify`): that it has begun, that it moves, and that it ends. Under no systemd
//! nothing is said.

use std::fmt::Write as _;

use sd_notify::{NotifyState, notify};

use crate::report::Fix;

/// The vehicle is about to make its first fix.
pub(super) fn begun() {
    say(&[NotifyState::Ready]);
}

/// A fix is complete: capture, encoding, locating and report have all moved since the last one, which is what the
/// watchdog asks. A stage that hangs makes no fix, and systemd starts the program anew.
pub(super) fn moved(fix: &Fix, place: &str) {
    let mut status = format!("fix {}, {} of 4 views", fix.number, fix.views);
    if let Some(t) = &fix.tracked {
        let _ = write!(status, ", {place}, within {:.0} km (50 %)", t.radius.p50_km);
    }
    let _ = write!(status, ", GPS: {}", fix.comparison.verdict.words());
    say(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
}

/// No further fix comes.
pub(super) fn ends() {
    say(&[NotifyState::Stopping]);
}

fn say(states: &[NotifyState<'_>]) {
    // That systemd does not listen is no reason for a vehicle to stop; its watchdog will have its own opinion.
    let _ = notify(states);
}
