//! Our OPTICS against scikit-learn's on the same points.

use std::time::Instant;

use homing_models::LatLon;
use homing_planet::{Planet, Split};
use homing_tests::peers;
use homing_trainer::optics::optics;
use serde_json::json;

fn sites(seed: u64, count: u64) -> Vec<LatLon> {
    (0..count).map(|i| Planet::get().site(Split::Train, seed, i).position).collect()
}

/// Sites of one country, near together: what a geocell about to be split looks like.
fn country(iso: &[u8; 2], count: usize) -> Vec<LatLon> {
    let planet = Planet::get();
    let at = |i| planet.site(Split::Train, 3, i).position;
    let inside = |p: &LatLon| planet.country_at(*p).is_some_and(|id| planet.country(id).iso == *iso);
    (0..).map(at).filter(inside).take(count).collect()
}

/// Compares order, reachability, predecessors and labels; gives both times in seconds (ours, theirs).
fn compare(points: &[LatLon], min_samples: usize, max_eps_km: f64, xis: &[f64]) -> (f64, f64) {
    let coordinates: Vec<[f64; 2]> = points.iter().map(|p| [p.lat(), p.lon()]).collect();
    let bound = max_eps_km.is_finite().then_some(max_eps_km);
    let request = json!({"points": coordinates, "min_samples": min_samples, "max_eps_km": bound, "xi": xis});
    let peer = peers::run("optics.py", &[], &request);

    let start = Instant::now();
    let ours = optics(points, min_samples, max_eps_km);
    let labels: Vec<Vec<i64>> = xis
        .iter()
        .map(|&xi| ours.xi_labels(xi, min_samples).iter().map(|l| l.map_or(-1, i64::from)).collect())
        .collect();
    let seconds = start.elapsed().as_secs_f64();

    assert_eq!(json!(ours.order), peer["order"], "order of visit");
    for (i, (found, expected)) in
        ours.reachability_km.iter().zip(peer["reachability_km"].as_array().unwrap()).enumerate()
    {
        match expected.as_f64() {
            Some(expected) => assert!((found - expected).abs() < 1e-6 * (1.0 + expected), "{i}: {found} {expected}"),
            None => assert!(found.is_infinite(), "{i}: {found} should be infinite"),
        }
    }
    let predecessors: Vec<i64> = ours.predecessor.iter().map(|p| p.map_or(-1, i64::from)).collect();
    assert_eq!(json!(predecessors), peer["predecessor"]);
    assert_eq!(json!(labels), peer["labels"]);
    for (xi, labels) in xis.iter().zip(&labels) {
        let clusters = labels.iter().max().map_or(0, |l| l + 1);
        println!("{} points, min_samples {min_samples}, xi {xi}: {clusters} clusters", points.len());
    }
    (seconds, peer["seconds"].as_f64().unwrap())
}

#[test]
fn the_same_clusters_as_scikit_learn() {
    // The rounds of splitting, the prototypes' parameters, and a bound that cuts the world apart.
    for (min_samples, max_eps_km, xis) in [
        (8, f64::INFINITY, &[0.05, 0.15][..]),
        (10, 200.0, &[0.025]),
        (15, f64::INFINITY, &[0.015]),
        (3, 60.0, &[0.15, 0.5]),
    ] {
        compare(&sites(1, 3000), min_samples, max_eps_km, xis);
    }
    for iso in [b"FR", b"FJ", b"NZ"] {
        compare(&country(iso, 150), 3, f64::INFINITY, &[0.05, 0.15]);
        compare(&country(iso, 150), 8, f64::INFINITY, &[0.05, 0.15]);
    }
}

#[test]
fn the_same_clusters_of_many_points() {
    let (ours, theirs) = compare(&sites(2, 12_000), 10, 200.0, &[0.05]);
    println!("12,000 points: ours {ours:.2} s, scikit-learn {theirs:.2} s");
}
