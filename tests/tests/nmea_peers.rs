//! The sentences of a drive, read back by others: the `nmea` crate and pynmea2.

use homing_tests::{drive, peers};
use serde_json::{Value, json};

/// Seconds since midnight in a sentence's time field.
fn seconds(field: &str) -> f64 {
    let part = |range: std::ops::Range<usize>| field[range].parse::<f64>().unwrap();
    part(0..2) * 3600.0 + part(2..4) * 60.0 + field[4..].parse::<f64>().unwrap()
}

#[test]
fn every_sentence_is_well_formed_and_time_rises() {
    let run = drive(20);
    let text = std::fs::read_to_string(run.out.path().join("drive.nmea")).unwrap();
    assert!(text.ends_with("\r\n"));
    let mut last = -1.0;
    let mut positions = 0;
    for line in text.split_terminator("\r\n") {
        assert!(line.len() + 2 <= 82 && line.is_ascii(), "{line}");
        let (body, sum) = line.strip_prefix('$').and_then(|l| l.split_once('*')).unwrap();
        assert_eq!(format!("{:02X}", body.bytes().fold(0, |a, b| a ^ b)), sum, "{line}");
        if body.starts_with("GPRMC") {
            let now = seconds(body.split(',').nth(1).unwrap());
            // A drive may pass midnight.
            assert!(now > last || now + 86400.0 - last < 3600.0, "{line} after {last}");
            last = now;
            let parsed = nmea::parse_str(line).unwrap();
            let nmea::ParseResult::RMC(rmc) = parsed else { panic!("{parsed:?}") };
            let fix = &run.fixes[positions];
            match fix["lat"].as_f64() {
                Some(lat) => assert!((rmc.lat.unwrap() - lat).abs() < 1e-5, "{line} {fix}"),
                None => assert!(rmc.lat.is_none(), "no estimate, no position"),
            }
            positions += 1;
        }
    }
    assert_eq!(positions, 20, "one RMC a fix");
}

#[test]
fn pynmea2_reads_the_same_positions() {
    let run = drive(20);
    let text = std::fs::read_to_string(run.out.path().join("drive.nmea")).unwrap();
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    let read = peers::run("nmea_read.py", &[], &json!(lines));
    let read: Vec<&Value> = read.as_array().unwrap().iter().filter(|m| m["type"] == "RMC").collect();
    assert_eq!(read.len(), run.fixes.len());
    for (theirs, ours) in read.iter().zip(&run.fixes) {
        assert_eq!(theirs["status"], "A");
        for key in ["lat", "lon"] {
            assert!((theirs[key].as_f64().unwrap() - ours[key].as_f64().unwrap()).abs() < 1e-5, "{theirs} {ours}");
        }
    }
}
