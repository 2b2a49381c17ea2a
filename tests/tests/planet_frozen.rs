//! The planet is frozen: figures measured on it stay comparable only while its pictures stay the same.
//!
//! `HOMING_BLESS=1 cargo test -p homing-tests --test planet_frozen` draws the recorded pictures anew; do that only
//! together with a new calibration (`tests/calibration`) and a new shipped model.

use std::path::PathBuf;

use homing_planet::hash::fold;
use homing_planet::{Camera, Planet, Split};
use homing_tests::peers::root;
use image::RgbImage;
use sha2::{Digest, Sha256};

const SIZE: usize = 96;
const SITES: u64 = 6;

fn recorded() -> PathBuf {
    root().join("tests/goldens/planet.png")
}

/// A row a site: its four views.
fn draw() -> RgbImage {
    let planet = Planet::get();
    let mut sheet = RgbImage::new(4 * SIZE as u32, SITES as u32 * SIZE as u32);
    for row in 0..SITES {
        let site = planet.site(Split::Towns, 2, row);
        let scene = planet.scene(site.position, site.heading_deg, &site.moment);
        for column in 0..4 {
            let camera = Camera::used(SIZE, fold(site.moment.seed, column));
            let frame = scene.view(90.0 * column as f32, &camera);
            let view = RgbImage::from_raw(SIZE as u32, SIZE as u32, frame.rgb).unwrap();
            image::imageops::replace(&mut sheet, &view, (column as usize * SIZE) as i64, (row as usize * SIZE) as i64);
        }
    }
    sheet
}

#[test]
fn the_pictures_are_the_recorded_ones() {
    let drawn = draw();
    if std::env::var_os("HOMING_BLESS").is_some() {
        drawn.save(recorded()).unwrap();
    }
    let golden = image::open(recorded()).unwrap().into_rgb8();
    assert_eq!(drawn.dimensions(), golden.dimensions());
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b) as u64).sum::<u64>() as f64;
    let mean = differ(drawn.as_raw(), golden.as_raw()) / golden.as_raw().len() as f64;
    // Sines differ in the last bit between C libraries: a pixel on an edge may round the other way, no more.
    assert!(mean < 0.05, "the planet's pictures changed: {mean:.3} grey levels on average");
}

/// The numbers of the table row that begins with `name`, under the heading that holds `heading`.
fn row(text: &str, heading: &str, name: &str) -> Vec<f64> {
    let part = text.split(heading).nth(1).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let line = part.lines().find(|l| l.starts_with(&format!("| {name} |"))).unwrap_or_else(|| panic!("no row {name:?}"));
    line.split('|').skip(2).filter_map(|cell| cell.trim().parse().ok()).collect()
}

/// The number that ends the line that begins with `name`.
fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no line {name:?}"));
    line.trim_end_matches(" %").trim_end_matches(" of 10").rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_pictures_are_as_hard_as_they_should_be() {
    let text = std::fs::read_to_string(root().join("board/planet/CALIBRATION.md")).unwrap();
    let hash = Sha256::digest(std::fs::read(recorded()).unwrap());
    let hash: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    assert!(text.contains(&hash), "the pictures changed since the last calibration: run tests/calibration");

    assert!(figure(&text, "below 0.7:") >= 6.0, "fields that four views show");
    assert!(figure(&text, "driving side, balanced accuracy:") >= 65.0);
    // The sixth column is the share of guesses in the true country.
    let country = |name| row(&text, "Towns never seen", name)[5];
    let (four, one) = (country("four views, refined"), country("one view, refined"));
    assert!((50.0..=72.0).contains(&four), "towns never seen, four views: country {four} %");
    assert!(four - one >= 15.0, "one view: country {one} %, four: {four} %");
}
