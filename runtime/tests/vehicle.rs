//! A vehicle of hardware, as far as a machine without any can be one: recorded frames for cameras, a pseudo-terminal for
//! the receiver, a file for the line.
#![cfg(feature = "jetson")]
// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/place.rs"]
mod place;

use std::{
    process::{Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use homing_board::{Frame, Link, cameras::recorded::Recorder, line::PtyLink};
use place::{Place, fails, json_lines, names, text};

/// It needs no model.
fn map(place: &Place, arguments: &[&str]) -> Output {
    place.command(arguments).output().unwrap()
}

fn record(place: &Place, panoramas: u32) {
    let mut recorder = Recorder::open(&place.path().join("recording")).unwrap();
    for n in 0..panoramas {
        let frames: Vec<Frame> = (0..4u32)
            .map(|camera| {
                let pixel = |i: u32| (20 + 50 * camera + 7 * n + i % 40) as u8;
                Frame { width: 40, height: 30, rgb: (0..3 * 40 * 30).map(pixel).collect() }
            })
            .collect();
        // The camera on the left stops half way.
        let left = (n < panoramas / 2).then_some(&frames[3]);
        recorder.add(SystemTime::now(), [Some(&frames[0]), Some(&frames[1]), Some(&frames[2]), left], None).unwrap();
    }
}

/// A receiver's RMC and GGA for now, at 48 N 11 E.
fn sentences() -> String {
    let now = DateTime::<Utc>::from(SystemTime::now());
    let (clock, date) = (now.format("%H%M%S.00"), now.format("%d%m%y"));
    let whole = |body: String| format!("${body}*{:02X}\r\n", homing::report::nmea::checksum(&body));
    whole(format!("GPRMC,{clock},A,4800.0000,N,01100.0000,E,0.0,0.0,{date},,,A"))
        + &whole(format!("GPGGA,{clock},4800.0000,N,01100.0000,E,1,08,1.0,500.0,M,47.0,M,,"))
}

#[test]
fn recorded_cameras_a_receiver_and_a_line_make_a_vehicle() {
    let place = Place::new();
    record(&place, 6);
    let mut antenna = PtyLink::open().unwrap();
    let config = format!(
        "board = \"jetson\"\nout = \"out\"\nlink = \"line.nmea\"\nrate_hz = 1.0\n[cameras]\nrecorded = \"recording\"\n\
         [gnss]\nsource = \"{}\"\n",
        antenna.other_end().display()
    );
    std::fs::write(place.path().join("homing.toml"), config).unwrap();
    let child = place
        .command(&["run", "--config", "homing.toml", "--bundle", "bundle", "--fixes", "6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                antenna.send(sentences().as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let output = child.wait_with_output().unwrap();
        over.store(true, Ordering::Relaxed);
        output
    });
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{complained}");
    assert!(said.contains("board jetson, writing to out") && said.contains("receiver "), "{said}");
    let fixes = json_lines(&place.path().join("out/fixes.jsonl"));
    assert_eq!(fixes.iter().map(|f| f["views"].as_u64().unwrap()).collect::<Vec<_>>()[..3], [4, 4, 4]);
    assert_eq!(fixes[5]["views"], 3, "the left camera has stopped: {complained}");
    assert!(complained.contains("left camera"), "{complained}");
    let last = &fixes[5]["gnss"];
    assert!((last["lat"].as_f64().unwrap() - 48.0).abs() < 1e-4 && (last["lon"].as_f64().unwrap() - 11.0).abs() < 1e-4);
    assert!(last["distance_km"].is_number(), "{last}");
    let line = std::fs::read_to_string(place.path().join("line.nmea")).unwrap();
    assert_eq!(line.lines().filter(|l| l.starts_with("$GPRMC,")).count(), 6);
    assert_eq!(line, std::fs::read_to_string(place.path().join("out/drive.nmea")).unwrap());

    // A vehicle is switched off when its fixes are on the disk; who wants to see them draws them elsewhere.
    assert_eq!(names(&place.path().join("out")), ["drive.nmea", "fixes.jsonl"]);
    let drawn = map(&place, &["map", "out"]);
    assert_eq!(text(&drawn.stdout), "6 fixes on drive.png\n", "{}", text(&drawn.stderr));
    assert_eq!(
        image::open(place.path().join("drive.png")).unwrap().to_rgb8().dimensions(),
        (1600, 752),
        "no strip of pictures"
    );
}

#[test]
fn a_log_that_was_cut_off_is_drawn_and_a_damaged_one_named() {
    let place = Place::new();
    assert!(place.homing(&["--fixes", "3", "--out", "out"]).status.success());
    let log = std::fs::read_to_string(place.path().join("out/fixes.jsonl")).unwrap();
    // Inside a letter of two bytes, as a name may have.
    std::fs::write(place.path().join("cut.jsonl"), [&log.as_bytes()[..log.len() - 40], &b"\xc3"[..]].concat()).unwrap();
    let drawn = map(&place, &["map", "cut.jsonl", "out", "--out", "both.png"]);
    assert_eq!(text(&drawn.stdout), "5 fixes on both.png\n", "{}", text(&drawn.stderr));
    std::fs::write(place.path().join("damaged.jsonl"), log.replacen("views", "eyes", 3).replacen("\"lat\"", "lat", 3))
        .unwrap();
    fails(&map(&place, &["map", "damaged.jsonl"]), &["damaged.jsonl, line 1, is no fix of homing"]);
    fails(&map(&place, &["map", "absent.jsonl"]), &["cannot read absent.jsonl"]);
    std::fs::write(place.path().join("empty.jsonl"), "").unwrap();
    fails(&map(&place, &["map", "empty.jsonl"]), &["there is no fix in empty.jsonl"]);
}

#[test]
fn check_names_each_part_of_a_vehicle() {
    let place = Place::new();
    record(&place, 2);
    let config = "board = \"jetson\"\nlink = \"/dev/no-such-adapter\"\n[cameras]\nrecorded = \"recording\"\n";
    std::fs::write(place.path().join("homing.toml"), config).unwrap();
    let output = place.homing(&["check", "--config", "homing.toml"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().filter(|l| l.starts_with("ok   camera")).count(), 4, "{said}");
    // A camera that is not there is waited for a little, and the words are its own.
    let gone = "board = \"jetson\"\n[cameras]\nfront = \"/dev/v4l/no-such-camera\"\n";
    std::fs::write(place.path().join("homing.toml"), gone).unwrap();
    let missing = text(&place.homing(&["check", "--config", "homing.toml"]).stdout);
    assert!(missing.contains("FAIL camera         front camera: ") && missing.contains("no-such-camera"), "{missing}");
    assert!(said.contains("FAIL link           /dev/no-such-adapter is not there; plug it in"), "{said}");
    // A speed that does not carry the sentences is found before the road.
    let fast = config.replace("link", "rate_hz = 10.0\nlink").replace("/dev/no-such-adapter", "/dev/null");
    std::fs::write(place.path().join("homing.toml"), fast).unwrap();
    let said = text(&place.homing(&["check", "--config", "homing.toml"]).stdout);
    assert!(said.contains("FAIL link") && said.contains("set baud ="), "{said}");
}
