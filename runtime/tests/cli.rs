//! The program from outside: what it prints, what it leaves, and how it fails.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/tiny.rs"]
mod tiny;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        tiny::bundle(&dir.path().join("bundle"));
        Place { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_homing"));
        c.current_dir(self.path()).args(args);
        c
    }

    /// Runs with `--bundle bundle` added.
    fn homing(&self, args: &[&str]) -> Output {
        self.command(args).args(["--bundle", "bundle"]).output().unwrap()
    }

    fn picture(&self, name: &str, width: u32, height: u32) {
        let pixel = |x, y| image::Rgb([(x * 5 % 256) as u8, (y * 3 % 256) as u8, 90]);
        image::RgbImage::from_fn(width, height, pixel).save(self.path().join(name)).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code 1 and one line on stderr that has all the words.
fn fails(output: &Output, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("homing: ") && said.trim_end().lines().count() == 1, "{said}");
    words.iter().for_each(|w| assert!(said.contains(w), "{w} in {said}"));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

const LEFT_BEHIND: [&str; 4] = ["display.png", "drive.nmea", "drive.png", "fixes.jsonl"];

#[test]
fn a_drive_leaves_complete_files_that_say_the_same() {
    let place = Place::new();
    let output = place.homing(&["--fixes", "12", "--seed", "4", "--out", "out"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(said.contains("simulated planet: this model knows nothing about real pictures"));
    assert!(said.contains("median error") && said.contains("in the right country") && said.contains("time per fix"));
    assert_eq!(said.lines().filter(|l| l.contains("/") && l.contains(" 2026-")).count(), 12, "{said}");
    let out = place.path().join("out");
    assert_eq!(names(&out), LEFT_BEHIND);

    let fixes = json_lines(&out.join("fixes.jsonl"));
    assert_eq!(fixes.len(), 12);
    let keys: Vec<&String> = fixes[0].as_object().unwrap().keys().collect();
    let contract = [
        "cells",
        "country",
        "gnss",
        "lat",
        "latency_ms",
        "lon",
        "model",
        "place",
        "prototype",
        "radius_km",
        "time",
        "views",
    ];
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(sorted, contract);
    for fix in &fixes {
        assert_eq!(fix["views"], 4);
        assert!(fix["radius_km"]["p50"].as_f64() <= fix["radius_km"]["p95"].as_f64());
        assert_eq!(fix["cells"].as_array().unwrap().len(), 5);
        let latency = &fix["latency_ms"];
        let sum: f64 = ["capture", "encode", "locate", "report"].iter().map(|s| latency[s].as_f64().unwrap()).sum();
        assert!((sum - latency["total"].as_f64().unwrap()).abs() < 0.01);
    }
    let verdicts: Vec<&str> = fixes.iter().map(|f| f["gnss"]["verdict"].as_str().unwrap()).collect();
    assert!(verdicts.contains(&"gps absent"), "{verdicts:?}");
    let absent = fixes.iter().find(|f| f["gnss"]["lat"].is_null()).unwrap();
    assert!(absent["gnss"]["distance_km"].is_null(), "absent values are null");

    let sentences = std::fs::read_to_string(out.join("drive.nmea")).unwrap();
    let mut positions = fixes.iter().map(|f| (f["lat"].as_f64().unwrap(), f["lon"].as_f64().unwrap()));
    let mut last = None;
    for line in sentences.split_terminator("\r\n") {
        assert!(line.len() + 2 <= 82);
        if let Ok(nmea::ParseResult::RMC(rmc)) = nmea::parse_str(line) {
            let (lat, lon) = positions.next().unwrap();
            assert!((rmc.lat.unwrap() - lat).abs() < 2e-6 && (rmc.lon.unwrap() - lon).abs() < 2e-6);
            let now = rmc.fix_date.unwrap().and_time(rmc.fix_time.unwrap());
            assert!(last.is_none_or(|t| now > t), "rising time");
            last = Some(now);
        }
    }
    assert!(positions.next().is_none(), "one RMC for each fix");
    let map = image::open(out.join("drive.png")).unwrap();
    assert!(map.width() >= 1000);
}

#[test]
fn the_same_seed_is_the_same_drive() {
    let place = Place::new();
    let drive = |seed: &str, out: &str| {
        assert!(place.homing(&["--fixes", "4", "--seed", seed, "--out", out]).status.success());
        std::fs::read(place.path().join(out).join("drive.nmea")).unwrap()
    };
    assert_eq!(drive("7", "a"), drive("7", "b"));
    assert_ne!(drive("7", "a"), drive("8", "c"));
}

#[test]
fn pictures_of_any_size_are_located() {
    let place = Place::new();
    place.picture("front.jpg", 640, 480);
    place.picture("right.png", 33, 900);
    let output = place.homing(&["locate", "front.jpg", "right.png", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("simulated planet"));
    let fix: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&fix["views"], &fix["gnss"]["verdict"]), (&2.into(), &"gps absent".into()));
    let output = place.homing(&["locate", "front.jpg"]);
    let said = text(&output.stdout);
    assert!(said.contains("position") && said.contains("from 1 view") && said.contains("simulated planet"), "{said}");
    std::fs::create_dir(place.path().join("views")).unwrap();
    place.picture("views/left.png", 50, 50);
    assert!(place.homing(&["locate", "views"]).status.success());
}

#[test]
fn bad_pictures_and_arguments() {
    let place = Place::new();
    place.picture("dot.png", 1, 1);
    place.picture("wide.png", 20_000, 10);
    std::fs::write(place.path().join("words.jpg"), "words").unwrap();
    fails(&place.homing(&["locate", "none.jpg"]), &["none.jpg", "check the path"]);
    fails(&place.homing(&["locate", "words.jpg"]), &["words.jpg", "no whole JPEG or PNG"]);
    fails(&place.homing(&["locate", "dot.png"]), &["dot.png", "1 x 1"]);
    fails(&place.homing(&["locate", "wide.png"]), &["wide.png", "20000 x 10", "resize"]);
    for wrong in [&["locate", "1", "2", "3", "4", "5"][..], &["eval"], &["--fixes", "0"], &["fly"]] {
        assert_eq!(place.homing(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn bad_bundles() {
    let place = Place::new();
    place.picture("front.jpg", 64, 64);
    let bundle = place.path().join("bundle");
    fails(&place.command(&["locate", "front.jpg", "--bundle", "no"]).output().unwrap(), &["no model bundle at no"]);
    for name in ["encoder.onnx", "heads.onnx", "geocells.bin", "prototypes.bin"] {
        let good = std::fs::read(bundle.join(name)).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 3] ^= 4;
        std::fs::write(bundle.join(name), flipped).unwrap();
        fails(&place.homing(&["locate", "front.jpg"]), &[name, "is damaged", "copy the bundle again"]);
        std::fs::remove_file(bundle.join(name)).unwrap();
        fails(&place.homing(&["--fixes", "1"]), &[name, "is missing"]);
        std::fs::write(bundle.join(name), good).unwrap();
    }
    let manifest = std::fs::read_to_string(bundle.join("manifest.toml")).unwrap();
    std::fs::write(bundle.join("manifest.toml"), manifest.replace("format = 1", "format = 3")).unwrap();
    fails(&place.homing(&["locate", "front.jpg"]), &["manifest.toml", "format is 3", "update the program"]);
    // A NaN weight under a hash that holds.
    let encoder = tiny::encoder_onnx(Some(f32::NAN));
    let hash = homing_models::manifest::sha256_hex;
    let good = hash(&std::fs::read(bundle.join("encoder.onnx")).unwrap());
    std::fs::write(bundle.join("manifest.toml"), manifest.replace(&good, &hash(&encoder))).unwrap();
    std::fs::write(bundle.join("encoder.onnx"), encoder).unwrap();
    fails(&place.homing(&["locate", "front.jpg"]), &["encoder.onnx", "patch", "NaN"]);
}

#[test]
fn an_output_directory_that_cannot_be_written() {
    let place = Place::new();
    std::fs::write(place.path().join("file"), "").unwrap();
    fails(&place.homing(&["--fixes", "1", "--out", "file/out"]), &["cannot write file/out", "--out"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let mut child = place
        .command(&["--fixes", "40", "--bundle", "bundle", "--out", "out"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(!names(&place.path().join("out")).iter().any(|n| n.ends_with(".partial")));
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_complete_files() {
    let place = Place::new();
    let child = place
        .command(&["--forever", "--pace", "0.05", "--bundle", "bundle", "--out", "out"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let partial = place.path().join("out/fixes.jsonl.partial");
    let begun = Instant::now();
    while std::fs::read_to_string(&partial).map_or(0, |t| t.lines().count()) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the drive begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let out = place.path().join("out");
    assert_eq!(names(&out), LEFT_BEHIND);
    let fixes = json_lines(&out.join("fixes.jsonl")).len();
    let sentences = std::fs::read_to_string(out.join("drive.nmea")).unwrap();
    assert!(fixes >= 3 && sentences.ends_with("\r\n"));
    assert_eq!(sentences.matches("$GPRMC").count(), fixes);
    assert!(text(&output.stdout).contains("median error"), "a summary all the same");
}

#[test]
fn an_evaluation_has_the_public_columns() {
    let place = Place::new();
    let output = place.homing(&["eval", "--planet", "--sites", "6", "--seed", "1", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["holdout"], &lines[1]["holdout"]), (&"random".into(), &"towns".into()));
    for e in &lines {
        assert_eq!(e["sites"], 6);
        for part in [e, &e["one_view"], &e["centroid"]] {
            for key in ["within", "country", "median_km", "mean_km", "score", "tasks"] {
                assert!(!part[key].is_null(), "{key} in {part}");
            }
            assert!(part["within"]["2500"].as_f64() >= part["within"]["25"].as_f64());
            assert!(part["tasks"]["elevation_m"].is_number() && part["tasks"]["season"].is_number());
        }
    }
    let again = place.homing(&["eval", "--planet", "--sites", "6", "--json", "--holdout", "random"]);
    assert_eq!(text(&again.stdout).lines().next(), text(&output.stdout).lines().next(), "the same on any run");

    place.picture("a.png", 60, 60);
    let rows = "{\"images\":[\"a.png\",\"a.png\"],\"lat\":48.8,\"lon\":2.3,\"country\":\"FR\"}\n{\"images\":[\"a.png\"],\"lat\":0,\"lon\":0}\n";
    std::fs::write(place.path().join("set.jsonl"), rows).unwrap();
    let output = place.homing(&["eval", "--dataset", "set.jsonl", "--json"]);
    let e: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&e["sites"], &e["holdout"]), (&2.into(), &"set".into()));
    std::fs::write(place.path().join("set.jsonl"), "\n{\"images\":[],\"lat\":0,\"lon\":0}\n").unwrap();
    fails(&place.homing(&["eval", "--dataset", "set.jsonl"]), &["set.jsonl", "line 2", "0 images"]);
}

#[test]
fn bench_and_check() {
    let place = Place::new();
    let output = place.homing(&["bench", "--queries", "12", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["queries"], 12);
    for stage in ["capture", "encode", "locate", "report", "total"] {
        let t = &report["stages"][stage];
        assert!(t["p50_ms"].as_f64() <= t["p90_ms"].as_f64() && t["p99_ms"].as_f64() <= t["max_ms"].as_f64());
    }
    assert!(report["first_ms"].is_number() && report["load_ms"].is_number() && report["model"].is_string());

    let output = place.homing(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).lines().all(|l| l.starts_with("ok ")));
    std::fs::write(place.path().join("homing.toml"), "[host]\ndead_cameras = [\"left\"]\nseeds = 3\n").unwrap();
    let output = place.homing(&["check", "--config", "homing.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("homing.toml: line 3: unknown field `seeds`"), "{}", text(&output.stdout));
}

#[test]
fn a_dead_camera_costs_one_view() {
    let place = Place::new();
    std::fs::write(place.path().join("homing.toml"), "[host]\ndead_cameras = [\"left\"]\n").unwrap();
    let output = place.homing(&["--config", "homing.toml", "--fixes", "5", "--out", "out"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("left camera: no picture"));
    assert!(json_lines(&place.path().join("out/fixes.jsonl")).iter().all(|f| f["views"] == 3));
}
