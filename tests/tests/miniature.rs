//! The whole chain in small: recipe -> geocells -> training -> prototypes -> int8 bundle -> the device's own evaluation.
#![cfg(feature = "torch")]

use std::collections::BTreeMap;

use homing_models::LatLon;
use homing_planet::{Planet, Split};
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
