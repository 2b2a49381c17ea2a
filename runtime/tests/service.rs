//! What a service manager relies on: it hears of the start, of every fix and of the end, and a program that is killed
//! leaves files that can be read.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/place.rs"]
mod place;

use std::{
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use place::Place;

/// What the program says to a service manager until nothing comes any more.
fn said(socket: &UnixDatagram) -> Vec<String> {
    socket.set_nonblocking(true).unwrap();
    let mut messages = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    messages
}

#[test]
fn systemd_hears_of_the_start_of_each_fix_and_of_the_end() {
    let place = Place::new();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = place.command(&["--fixes", "3", "--bundle", "bundle", "--out", "out"]);
    let output = command.env("NOTIFY_SOCKET", &path).output().unwrap();
    assert!(output.status.success());
    let messages = said(&socket);
    assert_eq!(messages.first().map(|m| m.trim()), Some("READY=1"));
    assert_eq!(messages.last().map(|m| m.trim()), Some("STOPPING=1"));
    let fed: Vec<&String> = messages.iter().filter(|m| m.contains("WATCHDOG=1")).collect();
    assert_eq!(fed.len(), 3, "{messages:?}");
    assert!(fed[2].contains("STATUS=fix 3, 4 of 4 views, ") && fed[2].contains("GPS: "), "{messages:?}");
}

#[test]
fn a_killed_run_leaves_whole_lines() {
    let place = Place::new();
    for round in 0..3 {
        let mut run =
            place.command(&["--forever", "--bundle", "bundle", "--out", "out"]).stdout(Stdio::null()).spawn().unwrap();
        let partial = place.path().join("out/fixes.jsonl.partial");
        let begun = Instant::now();
        while std::fs::read_to_string(&partial).map_or(0, |t| t.lines().count()) < 5 + round {
            assert!(begun.elapsed() < Duration::from_secs(60), "the drive begins");
        }
        assert!(Command::new("kill").args(["-KILL", &run.id().to_string()]).status().unwrap().success());
        run.wait().unwrap();
        let fixes = std::fs::read_to_string(&partial).unwrap();
        assert!(fixes.ends_with('\n'), "a record is written at once or not at all");
        for line in fixes.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        let nmea = std::fs::read_to_string(place.path().join("out/drive.nmea.partial")).unwrap();
        assert!(nmea.ends_with("\r\n"));
        // The next start is not held up by what the killed one left.
        assert!(place.homing(&["--fixes", "1", "--out", "out"]).status.success());
        std::fs::remove_dir_all(place.path().join("out")).unwrap();
    }
}
