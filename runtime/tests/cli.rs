//! The program from outside: what it prints and what it leaves.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/place.rs"]
mod place;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use place::{LEFT_BEHIND, Place, fails, full, json_lines, names, text, tiny};

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
    // Nobody is told, and the answer is there all the same.
    let mut command = place.command(&["locate", "front.jpg", "--json", "--bundle", "bundle"]);
    let output = command.stderr(full()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(0), false));
}

#[test]
fn place_country_cells_and_position_of_a_picture_belong_together() {
    let place = Place::new();
    let (mut refined, mut unrefined) = (0, 0);
    for shade in 0..12u32 {
        let pixel = |x, y| image::Rgb([(x * shade % 256) as u8, (y * (shade ^ 5) % 256) as u8, (shade * 20) as u8]);
        image::RgbImage::from_fn(40, 40, pixel).save(place.path().join("a.png")).unwrap();
        let output = place.homing(&["locate", "a.png", "--json"]);
        let fix: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let cells = fix["cells"].as_array().unwrap();
        let at = |v: &serde_json::Value| {
            homing_models::LatLon::new(v["lat"].as_f64().unwrap(), v["lon"].as_f64().unwrap()).unwrap()
        };
        let winner = cells[0]["id"].as_u64().unwrap() as usize;
        let country = std::str::from_utf8(&tiny::COUNTRIES[winner % tiny::COUNTRIES.len()]).unwrap();
        assert_eq!(fix["country"], country, "{fix}");
        assert!(at(&fix).distance_km(at(&cells[0])) < 12.1, "{fix}");
        match fix["prototype"].as_u64() {
            Some(prototype) => {
                assert_eq!((prototype as usize / 2, &fix["place"]), (winner, &format!("Village {prototype}").into()));
                refined += 1;
            }
            None => {
                assert_eq!(fix["place"], format!("Town {winner}"));
                unrefined += 1;
            }
        }
        let p: Vec<f64> = cells.iter().map(|c| c["p"].as_f64().unwrap()).collect();
        assert!(p[1..].is_sorted_by(|a, b| a >= b), "{p:?}");
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-3, "all five cells that were considered: {p:?}");

        // The text names the same cells in the same order.
        let said = text(&place.homing(&["locate", "a.png"]).stdout);
        assert!(said.lines().next().unwrap().ends_with(country), "{said}");
        let rows = said.lines().filter_map(|l| l.split_once(" %  ").filter(|(p, _)| p.trim().parse::<f64>().is_ok()));
        let ids: Vec<u64> = rows.map(|(_, rest)| rest.split_whitespace().next().unwrap().parse().unwrap()).collect();
        assert_eq!(ids, cells.iter().map(|c| c["id"].as_u64().unwrap()).collect::<Vec<_>>(), "{said}");
    }
    assert!(refined > 0 && unrefined > 0, "{refined} answers of prototypes, {unrefined} beyond the distance limit");
}

#[test]
fn two_runs_cannot_have_the_same_directory() {
    let place = Place::new();
    let mut first = place
        .command(&["--forever", "--pace", "0.05", "--bundle", "bundle", "--out", "out"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_fixes(&place, 1);
    let second = place.homing(&["--fixes", "1", "--out", "out"]);
    interrupt(first.id());
    assert_eq!(first.wait().unwrap().code(), Some(0));
    fails(&second, &["another run writes into out", "--out"]);
    assert_eq!(names(&place.path().join("out")), LEFT_BEHIND);
    assert!(place.homing(&["--fixes", "1", "--out", "out"]).status.success(), "free again");
}

#[test]
fn a_named_pipe_without_a_reader_does_not_hold_up_the_drive() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.path().join("pipe")).status().unwrap().success());
    let output = place.homing(&["--fixes", "2", "--out", "out", "--link", "pipe"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

/// Waits until a drive into `out` has written so many fixes.
fn wait_for_fixes(place: &Place, fixes: usize) {
    let partial = place.path().join("out/fixes.jsonl.partial");
    let begun = Instant::now();
    while std::fs::read_to_string(&partial).map_or(0, |t| t.lines().count()) < fixes {
        assert!(begun.elapsed() < Duration::from_secs(60), "the drive begins");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).status().unwrap().success());
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
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).lines().all(|l| l.starts_with("homing: verdict ")), "{}", text(&output.stderr));
    let out = place.path().join("out");
    assert_eq!(names(&out), LEFT_BEHIND);
    assert_eq!(json_lines(&out.join("fixes.jsonl")).len(), 40, "the drive went on to its end");
    let sentences = std::fs::read_to_string(out.join("drive.nmea")).unwrap();
    assert!(sentences.ends_with("\r\n") && sentences.matches("$GPRMC").count() == 40);
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
    wait_for_fixes(&place, 3);
    interrupt(child.id());
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
    let rows = "{\"images\":[\"a.png\",\"a.png\"],\"lat\":48.8,\"lon\":2.3,\"country\":\"FR\",\"town\":\"Paris\",\
                \"admin1\":\"Ile-de-France\",\"month\":7,\"koeppen\":\"Cfb\",\"elevation_m\":35.5}\n\
                {\"images\":[\"a.png\"],\"lat\":0,\"lon\":0}\n";
    std::fs::write(place.path().join("set.jsonl"), rows).unwrap();
    let output = place.homing(&["eval", "--dataset", "set.jsonl", "--json"]);
    let e: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&e["sites"], &e["holdout"]), (&2.into(), &"set".into()));
    let tasks: Vec<&String> = e["tasks"].as_object().unwrap().keys().collect();
    assert_eq!(tasks, ["elevation_m", "month", "season"], "what the lines and the model both know");
    std::fs::write(place.path().join("empty.jsonl"), "\n \n").unwrap();
    fails(&place.homing(&["eval", "--dataset", "empty.jsonl"]), &["empty.jsonl has no line", "images"]);
    std::fs::write(place.path().join("set.jsonl"), rows.replace("FR", "XX")).unwrap();
    fails(&place.homing(&["eval", "--dataset", "set.jsonl"]), &["set.jsonl line 1: country \"XX\" does not exist"]);
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
    assert!(report["fixes_per_s"].as_f64().unwrap() > 0.0 && report["accuracy"].is_null());
    std::fs::write(place.path().join("before.json"), &output.stdout).unwrap();
    let more = ["bench", "--queries", "12", "--threads", "2", "--accuracy", "20", "--compare", "before.json"];
    let table = text(&place.homing(&more).stdout);
    let row = |name: &str| table.lines().find(|l| l.starts_with(name)).unwrap_or_default().to_owned();
    assert_eq!(row("threads").split_whitespace().collect::<Vec<_>>(), ["threads", "2", "1", "2.00"], "{table}");
    assert!(
        row("country %").split_whitespace().count() == 4 && row("total p90 ms").ends_with(char::is_numeric),
        "{table}"
    );
    std::fs::write(place.path().join("before.json"), "{}").unwrap();
    fails(&place.homing(&["bench", "--compare", "before.json"]), &["before.json is no report", "--json"]);

    let output = place.homing(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).lines().all(|l| l.starts_with("ok ")));
    std::fs::write(place.path().join("homing.toml"), "[host]\ndead_cameras = [\"left\"]\nseeds = 3\n").unwrap();
    let output = place.homing(&["check", "--config", "homing.toml"]);
    fails(&output, &["1 of 1 checks failed: configuration; its line says how to mend it"]);
    assert!(text(&output.stdout).contains("homing.toml: line 3: unknown field `seeds`"), "{}", text(&output.stdout));

    std::fs::write(place.path().join("homing.toml"), "link = \"x\"\nout = \"no/such\"\n").unwrap();
    let before = names(place.path());
    let output = place.homing(&["check", "--config", "homing.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(names(place.path()), before, "looking makes nothing");
    std::fs::write(place.path().join("homing.toml"), "link = \"no/x\"\n[host]\ndead_cameras = [\"left\"]\n").unwrap();
    let output = place.homing(&["check", "--config", "homing.toml"]);
    fails(&output, &["checks failed: camera, link; their lines say how to mend it"]);
    assert!(text(&output.stdout).contains("FAIL link           cannot write no/x"), "{}", text(&output.stdout));
    std::fs::write(place.path().join("homing.toml"), "link = \"x\"\n[mavlink]\ncomponent = 197\n").unwrap();
    let said = text(&place.homing(&["check", "--config", "homing.toml"]).stdout);
    assert!(said.contains("not there yet; MAVLink 2 as component 197 of system 1"), "{said}");
    std::fs::write(place.path().join("homing.toml"), "[mavlink]\n").unwrap();
    let output = place.homing(&["check", "--config", "homing.toml"]);
    fails(&output, &["checks failed: link; its line says how to mend it"]);
    assert!(text(&output.stdout).contains("FAIL link           none to speak MAVLink on; name one"));

    let help = |args: &[&str]| text(&place.command(args).output().unwrap().stdout).replace('\n', " ");
    assert!(help(&["bench", "--help"]).contains("single stream"));
    assert!(help(&["locate", "--help"]).contains("probability after refinement"));
    assert!(help(&["--help"]).contains("board/host.toml") && help(&["--help"]).contains("exit code 0"));
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
