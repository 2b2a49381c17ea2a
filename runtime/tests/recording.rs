//! What the cameras saw can be driven again, with its times and its GNSS, as often as one likes.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/place.rs"]
mod place;

use place::{Place, fails, json_lines, text};

fn of<'a>(fixes: &'a [serde_json::Value], key: &str) -> Vec<&'a serde_json::Value> {
    fixes.iter().map(|fix| &fix[key]).collect()
}

#[test]
fn a_recorded_drive_is_driven_again() {
    let place = Place::new();
    let config = "[host]\ndead_cameras = [\"back\"]\n";
    std::fs::write(place.path().join("homing.toml"), config).unwrap();
    let recorded = place.homing(&["record", "drive", "--config", "homing.toml", "--fixes", "8", "--seed", "3"]);
    assert!(recorded.status.success(), "{}", text(&recorded.stderr));
    assert!(text(&recorded.stdout).contains("8 panoramas, 24 pictures in drive"), "{}", text(&recorded.stdout));
    assert_eq!(text(&recorded.stderr).matches("back camera: no picture").count(), 1, "said once");

    let live = place.homing(&["--config", "homing.toml", "--fixes", "8", "--seed", "3", "--out", "live"]);
    assert!(live.status.success());
    for out in ["once", "again"] {
        let replayed = place.homing(&["run", "--replay", "drive", "--out", out]);
        assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed.stderr));
        assert!(text(&replayed.stdout).contains("board replay of drive"), "{}", text(&replayed.stdout));
    }
    let fixes = |out: &str| json_lines(&place.path().join(out).join("fixes.jsonl"));
    let (live, once, again) = (fixes("live"), fixes("once"), fixes("again"));
    assert_eq!(once.len(), 8);
    for key in ["time", "views"] {
        assert_eq!(of(&live, key), of(&once, key));
    }
    for (live, once) in live.iter().zip(&once) {
        assert_eq!((&live["gnss"]["lat"], &live["gnss"]["lon"]), (&once["gnss"]["lat"], &once["gnss"]["lon"]));
    }
    for key in ["lat", "lon", "radius_km", "cells", "gnss"] {
        assert_eq!(of(&once, key), of(&again, key), "a replay is the same each time");
    }
    let nmea = |out: &str| std::fs::read(place.path().join(out).join("drive.nmea")).unwrap();
    assert_eq!(nmea("once"), nmea("again"));
    // The places that GNSS knew are a data set.
    let known = once.iter().filter(|fix| fix["gnss"]["lat"].is_number()).count();
    let measured = place.homing(&["eval", "--dataset", "drive/sites.jsonl", "--json"]);
    assert!(measured.status.success(), "{}", text(&measured.stderr));
    assert!((1..8).contains(&known) && text(&measured.stdout).contains(&format!("\"sites\":{known}")), "{known}");
    // Less than all of it.
    let three = place.homing(&["run", "--replay", "drive", "--fixes", "3", "--out", "three"]);
    assert!(three.status.success());
    assert_eq!(fixes("three").len(), 3);
}

#[test]
fn a_second_recording_goes_on_with_the_first() {
    let place = Place::new();
    for n in [2, 3] {
        assert!(place.homing(&["record", "drive", "--fixes", &n.to_string()]).status.success());
    }
    let lines = json_lines(&place.path().join("drive/panoramas.jsonl"));
    assert_eq!(of(&lines, "panorama"), [1, 2, 3, 4, 5]);
}

#[test]
fn what_is_no_recording_is_named() {
    let place = Place::new();
    fails(&place.homing(&["run", "--replay", "nowhere"]), &["nowhere", "homing record"]);
    std::fs::write(place.path().join("file"), "").unwrap();
    fails(&place.homing(&["record", "file", "--fixes", "1"]), &["cannot write file"]);
}
