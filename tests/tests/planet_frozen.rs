//! The planet is frozen: figures measured on it stay comparable only while its pictures stay the same.
//!
//! `HOMING_BLESS=1 cargo test -p homing-tests --test planet_frozen` draws the recorded pictures anew; do that only
//! together with a new calibration (`tests/calibration`) and a new shipped model.

use std::path::PathBuf;

use homing_planet::hash::fold;
use homing_planet::{Camera, Planet, Split};
use homing_tests::peers::root;
use image::RgbImage;

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
