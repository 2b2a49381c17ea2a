//! Geocells of up to a million sites: seconds and memory, and OPTICS beside scikit-learn's on the same points.
//!
//! `cargo bench -p homing-tests --bench geocells`

use std::time::Instant;

use homing_models::LatLon;
use homing_planet::hash::Rng;
use homing_planet::{Planet, Split};
use homing_tests::peers::{self, root};
use homing_trainer::dataset::{Gallery, PlanetGallery};
use homing_trainer::geocells::divide;
use homing_trainer::optics::optics;
use homing_trainer::recipe::Recipe;
use serde_json::json;

/// Neighbourhoods of the comparison: the second round of splitting, bounded as geocells of street view are.
const MIN_SAMPLES: usize = 10;
const MAX_EPS_KM: f64 = 200.0;

fn main() {
    println!("OPTICS, min_samples {MIN_SAMPLES}, at most {MAX_EPS_KM} km, one thread each");
    println!("  points     ours s   scikit-learn s    ratio");
    for count in [5_000, 10_000, 20_000] {
        let points = sites(count);
        let ours = seconds(|| drop(optics(&points, MIN_SAMPLES, MAX_EPS_KM)));
        let coordinates: Vec<[f64; 2]> = points.iter().map(|p| [p.lat(), p.lon()]).collect();
        let request = json!({"points": coordinates, "min_samples": MIN_SAMPLES, "max_eps_km": MAX_EPS_KM, "xi": []});
        let theirs = peers::run("optics.py", &[], &request)["seconds"].as_f64().expect("the peer gives seconds");
        println!("{count:8}   {ours:8.2}   {theirs:14.2}   {:6.3}", ours / theirs);
    }
    for count in [100_000, 200_000] {
        let points = sites(count);
        println!("{count:8}   {:8.2}   {:>14}", seconds(|| drop(optics(&points, MIN_SAMPLES, MAX_EPS_KM))), "-");
    }

    println!("\nOPTICS of one town, no bound, as within an administrative unit, one thread");
    println!("  points          s");
    for count in [25_000, 50_000, 100_000] {
        let points = town(count);
        println!("{count:8}   {:8.2}", seconds(|| drop(optics(&points, MIN_SAMPLES, f64::INFINITY))));
    }

    let recipe = Recipe::load(&root().join("trainer/recipes/shipped.toml")).expect("the shipped recipe is valid");
    println!("\ngeocells of the shipped recipe, all threads");
    println!("   sites   geocells    seconds   most memory of the process so far, MB");
    for count in [100_000, 300_000, 1_000_000] {
        let gallery = PlanetGallery::draw(Split::Train, 1, count);
        let mut cells = 0;
        let spent = seconds(|| {
            cells = divide(gallery.samples(), &recipe.geocells).expect("there are sites").geocells.len();
        });
        println!("{count:8}   {cells:8}   {spent:8.2}   {:8.0}", most_memory_mb());
    }
}

fn sites(count: u64) -> Vec<LatLon> {
    (0..count).map(|i| Planet::get().site(Split::Train, 2, i).position).collect()
}

/// Pictures of one town, 10 km from its middle, one in a thousand ten times as far.
fn town(count: u64) -> Vec<LatLon> {
    let mut rng = Rng::new(3);
    let middle = LatLon::wrapped(52.5, 13.4);
    let mut one = |i: u64| {
        let km = if i.is_multiple_of(1000) { 100.0 } else { 10.0 };
        middle.destination(360.0 * rng.f64(), km * f64::from(rng.normal()).abs())
    };
    (0..count).map(&mut one).collect()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The high-water mark that Linux keeps of a process.
fn most_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|kb| kb.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1e3)
}
