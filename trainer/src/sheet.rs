//! A contact sheet of the simulated planet: panoramas from around the world with what they show written below.

use homing_models::LatLon;
use homing_models::sites::KOEPPEN;
use homing_planet::Planet;
use image::{Rgb, RgbImage, imageops};

use crate::canvas::write;
use crate::dataset::{Gallery, MONTHS, PlanetGallery};

/// Space between panoramas, and height of a caption, in pixels.
const GAP: u32 = 8;
const CAPTION: u32 = 32;
const GROUND: Rgb<u8> = Rgb([24, 24, 24]);

/// Chooses `count` samples that show as much of the world as possible: each is the one farthest from those before it,
/// in kilometres and, a little, in climate.
pub fn spread_out(gallery: &PlanetGallery, count: usize) -> Vec<usize> {
    let samples = gallery.samples();
    let zone = |i: usize| samples[i].labels.koeppen;
    let distance = |a: usize, b: usize| {
        let km = samples[a].position.distance_km(samples[b].position);
        let same_zone = zone(a) == zone(b);
        let same_country = samples[a].country == samples[b].country;
        km - if same_zone { 1500.0 } else { 0.0 } - if same_country { 1500.0 } else { 0.0 }
    };
    let mut chosen: Vec<usize> = (!samples.is_empty()).then_some(0).into_iter().collect();
    let mut nearest = vec![f64::INFINITY; samples.len()];
    while let Some(&last) = chosen.last().filter(|_| chosen.len() < count.min(samples.len())) {
        nearest.iter_mut().enumerate().for_each(|(i, near)| *near = near.min(distance(i, last)));
        chosen.iter().for_each(|&c| nearest[c] = f64::NEG_INFINITY);
        let next = (0..samples.len()).max_by(|&a, &b| nearest[a].total_cmp(&nearest[b]));
        chosen.extend(next);
    }
    chosen
}

/// Draws the panoramas of samples in `columns`, each as four views (front, right, back, left) of `size_px`.
///
/// # Errors
/// When a view cannot be rendered.
pub fn contact_sheet(
    gallery: &PlanetGallery,
    samples: &[usize],
    columns: u32,
    size_px: u32,
) -> anyhow::Result<RgbImage> {
    let rows = (samples.len() as u32).div_ceil(columns);
    let (width, height) = (4 * size_px + GAP, size_px + CAPTION + GAP);
    let mut sheet = RgbImage::from_pixel(columns * width + GAP, rows * height + GAP, GROUND);
    let bytes = (3 * size_px * size_px) as usize;
    let mut views = vec![0; 4 * bytes];
    for (i, &sample) in (0u32..).zip(samples) {
        let (x, y) = (GAP + i % columns * width, GAP + i / columns * height);
        gallery.views_into(sample, 0, size_px as usize, &mut views)?;
        for (bearing, rgb) in (0u32..).zip(views.chunks_exact(bytes)) {
            if let Some(view) = RgbImage::from_raw(size_px, size_px, rgb.to_vec()) {
                imageops::replace(&mut sheet, &view, i64::from(x + bearing * size_px), i64::from(y));
            }
        }
        // On a strip of its own, so that a long caption ends where its panorama ends.
        let mut strip = RgbImage::from_pixel(4 * size_px, CAPTION, GROUND);
        for (line, text) in (0i32..).zip(caption(gallery, sample)) {
            write(&mut strip, &text, 0, 2 + 14 * line, 13.0, [230, 230, 230]);
        }
        imageops::replace(&mut sheet, &strip, i64::from(x), i64::from(y + size_px));
    }
    Ok(sheet)
}

/// Two lines: the place, and what the light, the season and the climate should look like.
fn caption(gallery: &PlanetGallery, sample: usize) -> [String; 2] {
    let planet = Planet::get();
    let (site, sample) = (&gallery.sites()[sample], &gallery.samples()[sample]);
    let country = planet.country_at(site.position).map_or("", |id| planet.country(id).name.as_str());
    let side = planet.country_at(site.position).is_some_and(|id| planet.country(id).facts.left);
    let koeppen = sample.labels.koeppen.map_or("", |zone| KOEPPEN[zone]);
    let (hour, minute) = (site.moment.hour as u32, (site.moment.hour.fract() * 60.0) as u32);
    let month = &MONTHS[site.moment.month()][..3];
    let w = site.moment.weather;
    let weather = match w {
        _ if w.snow > 0.0 => "snow",
        _ if w.rain > 0.0 => "rain",
        _ if w.fog > 0.0 => "fog",
        _ if w.cloud > 0.6 => "overcast",
        _ => "fair",
    };
    [
        format!("{}, {}, {country}  {}", sample.town, sample.admin1, degrees(site.position)),
        format!(
            "{koeppen}  {month} {hour:02}:{minute:02} {weather}  {:.0} m  {:.0}/km2  heading {:.0}  {} traffic",
            sample.labels.quantities[0].unwrap_or(0.0),
            sample.labels.quantities[1].unwrap_or(0.0),
            site.heading_deg,
            if side { "left" } else { "right" },
        ),
    ]
}

fn degrees(p: LatLon) -> String {
    let (ns, ew) = (if p.lat() < 0.0 { 'S' } else { 'N' }, if p.lon() < 0.0 { 'W' } else { 'E' });
    format!("{:.1}{ns} {:.1}{ew}", p.lat().abs(), p.lon().abs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use homing_planet::Split;

    use super::*;

    #[test]
    fn a_sheet_shows_many_countries() {
        let gallery = PlanetGallery::draw(Split::Random, 1, 300);
        let chosen = spread_out(&gallery, 12);
        let countries: BTreeSet<_> = chosen.iter().map(|&i| gallery.samples()[i].country).collect();
        assert!(countries.len() >= 11, "{countries:?}");
        let sheet = contact_sheet(&gallery, &chosen[..3], 2, 32).unwrap();
        assert_eq!(sheet.dimensions(), (2 * 136 + 8, 2 * 72 + 8));
        let dark = sheet.pixels().filter(|p| p.0 == [24, 24, 24]).count();
        assert!(dark < sheet.pixels().len() * 3 / 4, "three of four places hold pictures");
    }
}
