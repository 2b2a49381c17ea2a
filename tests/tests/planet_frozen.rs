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

/// What `tests/calibration` wrote, which holds for exactly these pictures, this network and this way of measuring.
fn calibration() -> String {
    let text = std::fs::read_to_string(root().join("board/planet/CALIBRATION.md")).unwrap();
    for file in [
        "tests/goldens/planet.png",
        "trainer/recipes/calibration.toml",
        "trainer/src/torch/probe.rs",
        "trainer/src/observer.rs",
    ] {
        let bytes = std::fs::read(root().join(file)).unwrap();
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert!(
            text.contains(&format!("{hash}  {file}")),
            "{file} changed since the calibration; run tests/calibration"
        );
    }
    text
}

/// The share of right countries in a row of the model card's table.
fn country(text: &str, heading: &str, row: &str) -> f64 {
    let section = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}")).1;
    let line = section.lines().find(|l| l.starts_with(&format!("| {row} |"))).unwrap_or_else(|| panic!("no {row:?}"));
    line.split('|').nth(7).unwrap().trim().parse().unwrap()
}

/// The first number after `label` on the first line after `heading` that starts with it.
fn number(text: &str, heading: &str, label: &str) -> f64 {
    let section = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}")).1;
    let line = section.lines().find(|l| l.trim_start().starts_with(label)).unwrap_or_else(|| panic!("no {label:?}"));
    let rest = line.trim_start().strip_prefix(label).unwrap();
    let number = rest.split_whitespace().find_map(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {line:?}"))
}

#[test]
fn the_calibration_lies_in_its_bands() {
    let text = calibration();
    assert!(
        number(&text, "What a small network reads", "below 0.7:") >= 6.0,
        "fields that can be read from four views"
    );
    assert!(number(&text, "What a small network reads", "driving side, balanced accuracy:") >= 65.0);
    let views_per_s = number(&text, "How fast", "96 px");
    assert!(views_per_s >= 1400.0, "{views_per_s} views/s/core");
    let (four, one) =
        ["four views, refined", "one view, refined"].map(|row| country(&text, "### Towns never seen", row)).into();
    assert!((50.0..=72.0).contains(&four), "country of unseen towns by the fixed network: {four} %");
    assert!(one <= four - 15.0, "one view {one} %, four {four} %");
}
