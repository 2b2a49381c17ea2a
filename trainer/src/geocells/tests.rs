//! Properties of whole divisions.

use homing_models::LatLon;
use homing_models::sites::Labels;
use homing_planet::hash::Rng;

use super::*;

fn recipe() -> GeocellRecipe {
    GeocellRecipe { sites: None, min: 30, max: 60, rounds: vec![(8, 0.05), (10, 0.025), (15, 0.015)], rectangles: None }
}

fn sample(position: LatLon, country: &[u8; 2], admin1: &str, admin2: &str, town: &str) -> Sample {
    let [admin1, admin2, town] = [admin1, admin2, town].map(str::to_owned);
    Sample { position, country: *country, admin1, admin2, town, labels: Labels::default() }
}

/// `n` samples within `km` of a centre.
fn around(rng: &mut Rng, lat: f64, lon: f64, km: f32, n: usize) -> Vec<LatLon> {
    let centre = LatLon::wrapped(lat, lon);
    (0..n).map(|_| centre.destination(f64::from(rng.range(0.0, 360.0)), f64::from(rng.range(0.0, km)))).collect()
}

/// Two countries that meet at the antimeridian, with towns of very different size, and an atoll.
fn world() -> Vec<Sample> {
    let mut rng = Rng::new(5);
    let mut samples = Vec::new();
    for (country, west) in [(b"AA", 172.0), (b"BB", 180.0)] {
        for unit in 0..40 {
            let (lat, lon) = (-10.0 + f64::from(unit / 8) * 2.0, west + f64::from(unit % 8));
            let admin1 = format!("R{}", unit / 8);
            for town in 0..3 {
                let n = 3 + (rng.f32().powi(3) * 90.0) as usize;
                let (lat, lon) = (lat + 0.3 * f64::from(rng.normal()), lon + 0.3 * f64::from(rng.normal()));
                let name = format!("T{unit}-{town}");
                let of = |p| sample(p, country, &admin1, &format!("D{unit}"), &name);
                samples.extend(around(&mut rng, lat, lon, 15.0, n).into_iter().map(of));
            }
        }
    }
    samples.extend(around(&mut rng, 0.0, -160.0, 5.0, 7).into_iter().map(|p| sample(p, b"CC", "", "", "Atoll")));
    samples
}

#[test]
fn each_cell_is_inside_its_country_and_its_bounds_or_says_why() {
    let samples = world();
    let division = divide(&samples, &recipe()).unwrap();
    let cells = division.geocells.cells();
    let mut counts = vec![0; cells.len()];
    for (s, cell) in samples.iter().zip(&division.cell_of) {
        assert_eq!(cells[cell.index()].country, s.country, "no country border is crossed");
        counts[cell.index()] += 1;
    }
    for ((cell, count), outside) in cells.iter().zip(&counts).zip(&division.outside) {
        assert_eq!(cell.samples, *count);
        assert_eq!((30..60).contains(count), outside.is_none(), "{count} {outside:?}");
        assert_eq!(cell.country == *b"CC", *outside == Some(Outside::SmallCountry));
    }
    let within = division.outside.iter().filter(|o| o.is_none()).count();
    // Towns here are even discs, which nothing can split; still most cells are inside.
    assert!(2 * within >= cells.len(), "{}", division.report());
    assert!(division.report().contains("country has fewer than min samples"));
}

#[test]
fn neither_threads_nor_a_second_run_change_a_division() {
    let samples = world();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let division = pool.install(|| divide(&samples, &recipe()).unwrap());
        (division.geocells.encode(), division.cell_of)
    };
    let one = run(1);
    assert_eq!(one, run(4));
    assert_eq!(one, run(3));
}

#[test]
fn the_planet_has_no_preferred_meridian() {
    let turned = |degrees: f64| -> Vec<Sample> {
        let turn = |s: Sample| Sample { position: LatLon::wrapped(s.position.lat(), s.position.lon() + degrees), ..s };
        world().into_iter().map(turn).collect()
    };
    // The same world away from the antimeridian has the same cells.
    let (here, there) = (divide(&turned(0.0), &recipe()).unwrap(), divide(&turned(-90.0), &recipe()).unwrap());
    assert_eq!(here.cell_of, there.cell_of);
}

#[test]
fn small_cells_prefer_their_own_first_level_unit() {
    // Four districts in a row: a small one between a large one of its own region and a nearer one of another.
    let mut rng = Rng::new(2);
    let mut samples = Vec::new();
    for (lon, n, admin1, admin2) in [(0.0, 35, "West", "a"), (1.0, 10, "West", "b"), (1.4, 35, "East", "c")] {
        samples
            .extend(around(&mut rng, 0.0, lon, 10.0, n).into_iter().map(|p| sample(p, b"AA", admin1, admin2, admin2)));
    }
    let division = divide(&samples, &recipe()).unwrap();
    assert_eq!(division.cell_of[0], division.cell_of[40]);
    assert_ne!(division.cell_of[40], division.cell_of[50]);
    assert_eq!(division.geocells.cell(division.cell_of[0]).samples, 45);
}

#[test]
fn small_neighbours_fuse_before_a_large_one_takes_them() {
    let mut rng = Rng::new(3);
    let mut samples = Vec::new();
    for (lon, n, admin2) in [(0.0, 50, "large"), (1.0, 20, "small"), (2.0, 15, "smaller")] {
        samples.extend(around(&mut rng, 0.0, lon, 30.0, n).into_iter().map(|p| sample(p, b"AA", "R", admin2, admin2)));
    }
    let division = divide(&samples, &recipe()).unwrap();
    let sizes: Vec<u32> = division.geocells.cells().iter().map(|c| c.samples).collect();
    assert_eq!(sizes, [50, 35]);
    assert_eq!(division.geocells.cells()[1].place, "small");
}

#[test]
fn a_dense_town_that_cannot_be_split_says_so() {
    let same = vec![sample(LatLon::wrapped(5.0, 5.0), b"AA", "R", "D", "Town"); 200];
    let division = divide(&same, &recipe()).unwrap();
    assert_eq!(division.outside, [Some(Outside::DenseTown)]);
    assert!(divide(&[], &recipe()).is_err());
}

#[test]
fn rectangles_are_about_as_many_as_asked_for_and_hold_every_sample() {
    let samples = world();
    for count in [20, 100] {
        let division = divide(&samples, &GeocellRecipe { rectangles: Some(count), ..recipe() }).unwrap();
        let cells = division.geocells.cells();
        assert!((cells.len() as f64 / f64::from(count) - 1.0).abs() < 0.15, "{} for {count}", cells.len());
        assert_eq!(cells.iter().map(|c| c.samples as usize).sum::<usize>(), samples.len());
        assert!(division.outside.iter().all(Option::is_none));
    }
}
