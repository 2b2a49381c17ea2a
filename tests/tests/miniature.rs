//! The whole chain in small: recipe -> geocells -> training -> prototypes -> int8 bundle -> the device's own evaluation.
#![cfg(feature = "torch")]

use std::collections::BTreeMap;
use std::process::Command;

use homing_models::LatLon;
use homing_planet::{Planet, Split};
use homing_tests::peers::root;
use homing_tests::{homing, program};
use serde_json::Value;

/// What one gets without looking, per cent: the commonest country's share, and sites within 750 km of the best fixed answer.
fn chance(sites: u64) -> (f64, f64) {
    let planet = Planet::get();
    let positions: Vec<LatLon> = (0..sites).map(|i| planet.site(Split::Random, 1, i).position).collect();
    let mut countries = BTreeMap::new();
    for p in &positions {
        *countries.entry(planet.country_at(*p)).or_insert(0u32) += 1;
    }
    let commonest = f64::from(*countries.values().max().unwrap()) / sites as f64 * 100.0;
    let near = |answer: LatLon| positions.iter().filter(|p| p.distance_km(answer) <= 750.0).count();
    let nearest = positions.iter().map(|p| near(*p)).max().unwrap();
    (commonest, nearest as f64 / sites as f64 * 100.0)
}

#[test]
fn a_miniature_learns_and_runs_on_the_device() {
    let work = tempfile::tempdir().unwrap();
    let bundle = work.path().join("bundle");
    let trained = program("homing-trainer")
        .args(["train", "trainer/recipes/miniature.toml", "--device", "cpu", "--sites", "200"])
        .arg("--out")
        .arg(work.path().join("work"))
        .arg("--bundle")
        .arg(&bundle)
        .output()
        .unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    for file in ["manifest.toml", "encoder.onnx", "heads.onnx", "geocells.bin", "prototypes.bin", "README.md"] {
        assert!(bundle.join(file).exists(), "{file}");
    }
    let sites = 400;
    let eval = homing()
        .args(["eval", "--planet", "--holdout", "random", "--json", "--seed", "1", "--sites", &sites.to_string()])
        .arg("--bundle")
        .arg(&bundle)
        .output()
        .unwrap();
    assert!(eval.status.success(), "{}", String::from_utf8_lossy(&eval.stderr));
    let figures: Value = serde_json::from_slice(&eval.stdout).unwrap();
    let (country, near) = (figures["country"].as_f64().unwrap(), figures["within"]["750"].as_f64().unwrap());
    let (chance_country, chance_near) = chance(sites);
    assert!(country > 2.0 * chance_country, "country {country} %, by chance {chance_country} %");
    assert!(near > chance_near, "within 750 km {near} %, by chance {chance_near} %");
}

/// What the README tells somebody with pictures of their own: record a drive, learn from it, measure the model on it.
#[test]
fn a_recorded_drive_becomes_a_model_by_the_recipe_for_own_pictures() {
    let work = tempfile::tempdir().unwrap();
    let [drive, recipe, bundle] = ["drive", "own.toml", "mine"].map(|name| work.path().join(name));
    let done = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    done(homing().arg("record").arg(&drive).args(["--fixes", "60", "--seed", "3"]));
    let mut text = std::fs::read_to_string(root().join("trainer/recipes/own.toml")).unwrap();
    for (from, to) in [
        ("\"pictures.jsonl\"", "\"drive/sites.jsonl\""),
        ("min = 50\nmax = 150", "min = 3\nmax = 10"),
        ("\nsteps = 12000\nbatch_sites = 96", "\nsteps = 6\nbatch_sites = 8"),
        ("warmup_steps = 300", "warmup_steps = 2"),
        ("validation_sites = 500", "validation_sites = 12"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(&recipe, text).unwrap();
    let mut train = program("homing-trainer");
    train.args(["train", "--device", "cpu", "--out"]).arg(work.path().join("work"));
    done(train.arg("--bundle").arg(&bundle).arg(&recipe));
    let mut eval = program("homing");
    eval.args(["eval", "--json", "--dataset"]).arg(drive.join("sites.jsonl")).arg("--bundle").arg(&bundle);
    let figures: Value = serde_json::from_slice(&done(&mut eval)).unwrap();
    // Half of that drive has GPS; the prototypes are its own places, kilometres from one another.
    assert!(figures["sites"].as_u64().unwrap() >= 24, "{figures}");
    assert_eq!(figures["nearest"]["within"]["200"], 100.0, "{figures}");
}
