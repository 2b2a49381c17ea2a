//! `drive.png`: the drive on a map, the fixes with their radii beside the truth, and what the cameras saw.

use homing_board::{Frame, planet::Planet};
use homing_models::{LatLon, figures::median, geo::centroid};
use image::{RgbImage, imageops};

use super::{
    Fix,
    paint::{Canvas, Colour, Weight, coverage, rgb},
};
use crate::ModelCard;

const SIZE: (usize, usize) = (1600, 1000);
const MAP: Area = Area { x: 0, y: 0, width: 1180, height: 752 };
const GROUND: Colour = rgb(0x0b1119);
const INK: Colour = rgb(0xe8eef4);
const DIM: Colour = rgb(0x8fa1b3);
/// Panoramas in the strip below the map, and the side of one picture there.
const PANORAMAS: usize = 3;
const VIEW_PX: u32 = 128;
/// How much land around the drive is shown at least and at most.
const HALF_HEIGHT_KM: (f64, f64) = (90.0, 1200.0);

#[derive(Clone, Copy)]
struct Area {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

struct Step {
    truth: Option<LatLon>,
    fix: Option<(LatLon, f32)>,
    error_km: Option<f64>,
    verdict: crate::compare::Verdict,
}

struct Portrait {
    caption: String,
    views: Vec<RgbImage>,
}

/// Gathers a drive and paints it.
#[derive(Default)]
pub struct DriveMap {
    steps: Vec<Step>,
    portraits: Vec<Portrait>,
}

impl DriveMap {
    /// Fixes that a map of this many fixes wants panoramas of.
    pub fn portrait_at(number: u64, fixes: u64) -> bool {
        let n = PANORAMAS as u64;
        (0..n).any(|i| number == 1 + (fixes.saturating_sub(1) * (2 * i + 1)) / (2 * n))
    }

    /// Adds a fix.
    pub fn push(&mut self, fix: &Fix) {
        self.steps.push(Step {
            truth: fix.truth,
            fix: fix.tracked.map(|t| (t.position, t.radius.p50_km)),
            error_km: fix.error_km(),
            verdict: fix.comparison.verdict,
        });
    }

    /// Adds what the cameras saw, front first.
    pub fn portrait<'f>(&mut self, caption: String, frames: impl Iterator<Item = &'f Frame>) {
        let view = |f: &Frame| {
            let picture = RgbImage::from_raw(f.width, f.height, f.rgb.clone())?;
            Some(imageops::resize(&picture, VIEW_PX, VIEW_PX, imageops::FilterType::CatmullRom))
        };
        if self.portraits.len() < PANORAMAS {
            self.portraits.push(Portrait { caption, views: frames.filter_map(view).collect() });
        }
    }

    /// Paints the drive; `None` when no position is known at all.
    pub fn paint(&self, card: &ModelCard, summary: &[(String, String)]) -> Option<RgbImage> {
        let truth: Vec<LatLon> = self.steps.iter().filter_map(|s| s.truth).collect();
        let way: Vec<LatLon> =
            if truth.is_empty() { self.steps.iter().filter_map(|s| Some(s.fix?.0)).collect() } else { truth.clone() };
        let centre = centroid(way.iter().copied())?;
        let view = View::around(centre, &way, self.steps.iter().filter_map(|s| s.fix.map(|f| f.0)));
        let planet = Planet::get();
        let mut canvas = Canvas::new(SIZE.0, SIZE.1, GROUND);
        land(&mut canvas, &view, planet);
        towns(&mut canvas, &view, planet);
        self.fixes(&mut canvas, &view, &truth);
        scale_bar(&mut canvas, &view);
        self.panel(&mut canvas, card, summary, centre, planet);
        self.strip(&mut canvas);
        Some(canvas.finish())
    }

    fn fixes(&self, canvas: &mut Canvas, view: &View, truth: &[LatLon]) {
        let inside = |p: (f32, f32)| (p.0 < MAP.width as f32 && p.1 < MAP.height as f32).then_some(p);
        for step in &self.steps {
            let Some((at, radius_km)) = step.fix else { continue };
            let (p, colour) = (view.pixel(at), error_colour(step.error_km));
            let radius = (f64::from(radius_km) * view.px_per_km) as f32;
            if inside((p.0 + radius, p.1 + radius)).is_some() && p.0 > radius && p.1 > radius {
                canvas.disc(p, radius, colour, 0.018);
                canvas.circle(p, radius, 1.0, colour, 0.16);
            }
        }
        for step in &self.steps {
            if let (Some((at, _)), Some(truth)) = (step.fix, step.truth)
                && let Some(p) = inside(view.pixel(at))
            {
                canvas.line(&[view.pixel(truth), p], 1.2, error_colour(step.error_km), 0.45);
            }
        }
        let way: Vec<(f32, f32)> = truth.iter().map(|p| view.pixel(*p)).collect();
        canvas.line(&way, 9.0, rgb(0x05080c), 0.35);
        canvas.line(&way, 4.0, rgb(0xffffff), 0.95);
        for step in &self.steps {
            if let Some(p) = step.fix.and_then(|f| inside(view.pixel(f.0))) {
                canvas.disc(p, 5.2, rgb(0x05080c), 0.8);
                canvas.disc(p, 4.0, error_colour(step.error_km), 1.0);
            }
        }
        if let (Some(first), Some(last)) = (way.first(), way.last()) {
            canvas.disc(*first, 7.0, rgb(0xffffff), 1.0);
            canvas.disc(*first, 4.0, rgb(0x1c5d99), 1.0);
            canvas.disc(*last, 9.0, rgb(0xffffff), 1.0);
            canvas.disc(*last, 6.0, rgb(0xd7263d), 1.0);
            canvas.label((first.0 + 11.0, first.1 - 8.0), "start", 16.0, Weight::Bold, INK);
            canvas.label((last.0 + 13.0, last.1 - 8.0), "end", 16.0, Weight::Bold, INK);
        }
    }

    fn panel(&self, canvas: &mut Canvas, card: &ModelCard, summary: &[(String, String)], centre: LatLon, planet: &Planet) {
        let x = MAP.width as f32 + 32.0;
        canvas.text((x, 62.0), "homing", 44.0, Weight::Bold, INK, 1.0);
        let world = if card.simulated_planet { "a drive on the simulated planet" } else { "a drive" };
        canvas.text((x, 92.0), world, 17.0, Weight::Regular, DIM, 1.0);
        globe(canvas, (x + 92.0, 214.0), 92.0, centre, planet);
        let legend = [("within 25 km", 10.0), ("within 200 km", 100.0), ("within 750 km", 500.0), ("farther", 5000.0)];
        for (i, (words, km)) in legend.into_iter().enumerate() {
            let y = 156.0 + 26.0 * i as f32;
            canvas.disc((x + 222.0, y - 5.0), 5.0, error_colour(Some(km)), 1.0);
            canvas.text((x + 236.0, y), words, 14.0, Weight::Regular, INK, 1.0);
        }
        canvas.line(&[(x + 214.0, 256.0), (x + 230.0, 256.0)], 4.0, rgb(0xffffff), 1.0);
        canvas.text((x + 236.0, 261.0), "driven", 14.0, Weight::Regular, INK, 1.0);
        canvas.circle((x + 222.0, 282.0), 7.0, 1.2, DIM, 0.9);
        canvas.text((x + 236.0, 287.0), "50 % radius", 14.0, Weight::Regular, INK, 1.0);
        for (i, (name, value)) in summary.iter().enumerate() {
            let y = 352.0 + 32.0 * i as f32;
            canvas.text((x, y), name, 15.0, Weight::Regular, DIM, 1.0);
            let width = canvas.text_width(value, 17.0, Weight::Bold);
            canvas.text((SIZE.0 as f32 - 32.0 - width, y), value, 17.0, Weight::Bold, INK, 1.0);
            canvas.rectangle((x as i32, y as i32 + 9), (SIZE.0 as i32 - 32 - x as i32, 1), rgb(0x223140), 1.0);
        }
        self.verdicts(canvas, (x, 668.0));
    }

    /// The error of each fix as a bar, and below it what GNSS was worth at that time.
    fn verdicts(&self, canvas: &mut Canvas, (x, y): (f32, f32)) {
        use crate::compare::Verdict::{Agree, Disagree, GpsAbsent, VisionUnsure};
        let width = SIZE.0 as f32 - 32.0 - x;
        let step = width / self.steps.len().max(1) as f32;
        canvas.text((x, y - 62.0), "error of each fix", 13.0, Weight::Regular, DIM, 1.0);
        for (i, s) in self.steps.iter().enumerate() {
            let left = x + step * i as f32;
            if let Some(km) = s.error_km {
                let height = ((1.0 + km as f32).log10() * 14.0).clamp(1.0, 56.0);
                let at = ((left) as i32, (y - height) as i32);
                canvas.rectangle(at, ((step - 1.0).max(1.0) as i32, height as i32), error_colour(Some(km)), 0.95);
            }
            let colour = match s.verdict {
                Agree => rgb(0x3ddc97),
                Disagree => rgb(0xff5470),
                GpsAbsent => rgb(0x3a4a5a),
                VisionUnsure => rgb(0xf2c14e),
            };
            canvas.rectangle((left as i32, y as i32 + 6), ((step.ceil()) as i32, 8), colour, 1.0);
        }
        let mut at = x;
        for (words, hex) in [("GPS agrees", 0x3ddc97), ("absent", 0x3a4a5a), ("disagrees", 0xff5470)] {
            canvas.rectangle((at as i32, y as i32 + 24), (10, 10), rgb(hex), 1.0);
            canvas.text((at + 15.0, y + 34.0), words, 13.0, Weight::Regular, INK, 1.0);
            at += 34.0 + canvas.text_width(words, 13.0, Weight::Regular);
        }
    }

    fn strip(&self, canvas: &mut Canvas) {
        let width = 4 * VIEW_PX as i32 + 6;
        let gap = (SIZE.0 as i32 - PANORAMAS as i32 * width) / (PANORAMAS as i32 + 1);
        let top = MAP.height + 66;
        for (i, portrait) in self.portraits.iter().enumerate() {
            let left = gap + i as i32 * (width + gap);
            canvas.text((left as f32, top as f32 - 14.0), &portrait.caption, 16.0, Weight::Bold, INK, 1.0);
            for (k, view) in portrait.views.iter().enumerate() {
                let x = left + k as i32 * (VIEW_PX as i32 + 2);
                canvas.picture((x, top), view);
                let name = homing_board::CAMERA_NAMES.get(k).copied().unwrap_or_default();
                canvas.text((x as f32 + 2.0, top as f32 + VIEW_PX as f32 + 18.0), name, 13.0, Weight::Regular, DIM, 1.0);
            }
        }
    }

    /// Median error of the fixes so far, km.
    pub fn median_error_km(&self) -> Option<f64> {
        let errors: Vec<f64> = self.steps.iter().filter_map(|s| s.error_km).collect();
        (!errors.is_empty()).then(|| median(errors))
    }
}

/// An azimuthal equidistant map: distances and directions from the centre are true.
struct View {
    centre: LatLon,
    px_per_km: f64,
}

impl View {
    /// Shows the whole way, and those fixes that do not make the map more than twice as wide.
    fn around(centre: LatLon, way: &[LatLon], fixes: impl Iterator<Item = LatLon>) -> Self {
        let unit = View { centre, px_per_km: 1.0 };
        let (half_width, half_height) = (f64::from(MAP.width) / 2.0, f64::from(MAP.height) / 2.0);
        // The half height in km at which a point is just inside.
        let needs = |p: LatLon| {
            let (x, y) = unit.offset_km(p);
            y.abs().max(x.abs() * half_height / half_width)
        };
        let whole_way = way.iter().map(|p| needs(*p)).fold(0.0, f64::max);
        let mut all: Vec<f64> = fixes.map(needs).collect();
        all.sort_by(f64::total_cmp);
        let most = all.get((all.len() * 9 / 10).min(all.len().saturating_sub(1))).copied().unwrap_or(0.0);
        let half_km = (1.12 * whole_way.max(most.min(2.0 * whole_way.max(HALF_HEIGHT_KM.0))));
        View { centre, px_per_km: half_height / half_km.clamp(HALF_HEIGHT_KM.0, HALF_HEIGHT_KM.1) }
    }

    fn offset_km(&self, p: LatLon) -> (f64, f64) {
        let (distance, bearing) = (self.centre.distance_km(p), self.centre.bearing_deg(p).to_radians());
        (distance * bearing.sin(), -distance * bearing.cos())
    }

    fn pixel(&self, p: LatLon) -> (f32, f32) {
        let (x, y) = self.offset_km(p);
        let (cx, cy) = (f64::from(MAP.x) + f64::from(MAP.width) / 2.0, f64::from(MAP.y) + f64::from(MAP.height) / 2.0);
        ((cx + x * self.px_per_km) as f32, (cy + y * self.px_per_km) as f32)
    }

    fn position(&self, x: f32, y: f32) -> LatLon {
        let (dx, dy) = (x - MAP.x as f32 - MAP.width as f32 / 2.0, y - MAP.y as f32 - MAP.height as f32 / 2.0);
        let km = f64::from((dx * dx + dy * dy).sqrt()) / self.px_per_km;
        self.centre.destination(f64::from(dx).atan2(-f64::from(dy)).to_degrees(), km)
    }

    /// Kilometres from the centre to a corner.
    fn reach_km(&self) -> f64 {
        (f64::from(MAP.width).hypot(f64::from(MAP.height))) / 2.0 / self.px_per_km
    }
}

fn error_colour(error_km: Option<f64>) -> Colour {
    match error_km {
        None => rgb(0x8ecae6),
        Some(km) if km <= 25.0 => rgb(0x3ddc97),
        Some(km) if km <= 200.0 => rgb(0xf2c14e),
        Some(km) if km <= 750.0 => rgb(0xff8c42),
        Some(_) => rgb(0xff5470),
    }
}

/// Sea, land with relief, borders, and a graticule.
fn land(canvas: &mut Canvas, view: &View, planet: &Planet) {
    let reach = view.reach_km();
    let near: Vec<Vec<(f32, f32)>> = planet
        .rings()
        .iter()
        .filter(|r| r.points.iter().step_by(8).any(|p| p.distance_km(view.centre) < 1.5 * reach + 400.0))
        .map(|r| r.points.iter().map(|p| view.pixel(*p)).collect())
        .collect();
    let cover = coverage(&near, MAP.width as usize, MAP.height as usize);
    let (sea, deep) = (rgb(0x163a5a), rgb(0x0e2740));
    canvas.shade((MAP.x, MAP.y), (MAP.width, MAP.height), |x, y| {
        let here = cover[y as usize * MAP.width as usize + x as usize];
        let t = ((x / MAP.width as f32 - 0.5).powi(2) + (y / MAP.height as f32 - 0.5).powi(2)).sqrt();
        let water = mix(sea, deep, t);
        if here <= 0.0 {
            return Some(water);
        }
        let at = view.position(x, y);
        // Light from the north-west over a few kilometres of relief.
        let (up, down) = (planet.elevation_m(at.destination(315.0, 9.0)), planet.elevation_m(at.destination(135.0, 9.0)));
        let shade = 1.0 + ((down - up) / 1500.0).clamp(-0.32, 0.38) * -1.0;
        let tint = terrain(planet.elevation_m(at)).map(|c| (c * shade).clamp(0.0, 1.0));
        Some(mix(water, tint, here))
    });
    for ring in &near {
        canvas.line_inside(ring);
    }
    for degree in -180..=180 {
        let step = if reach > 800.0 { 5 } else { 1 };
        if degree % step != 0 {
            continue;
        }
        let spread = (reach / 111.0 * 1.5).min(60.0);
        let ease = |i: i32| spread * f64::from(i) / 24.0;
        let (lat0, lon0) = (view.centre.lat(), view.centre.lon());
        let meridian: Vec<_> = (-24..=24).map(|i| view.pixel(LatLon::wrapped(lat0 + ease(i), f64::from(degree)))).collect();
        let widen = 1.0 / lat0.to_radians().cos().max(0.15);
        let parallel: Vec<_> =
            (-24..=24).map(|i| view.pixel(LatLon::wrapped(f64::from(degree), lon0 + widen * ease(i)))).collect();
        let apart = (f64::from(degree) - lon0 + 540.0).rem_euclid(360.0) - 180.0;
        if apart.abs() < spread * widen {
            canvas.clipped_line(&meridian, 1.0, rgb(0xffffff), 0.07);
        }
        if degree.abs() < 90 && (f64::from(degree) - lat0).abs() < spread {
            canvas.clipped_line(&parallel, 1.0, rgb(0xffffff), 0.07);
        }
    }
}

impl Canvas {
    fn line_inside(&mut self, ring: &[(f32, f32)]) {
        self.clipped_line(ring, 1.3, rgb(0x0b1119), 0.55);
        self.clipped_line(ring, 0.8, rgb(0xdfe7ee), 0.35);
    }

    /// The parts of a line that lie on the map.
    fn clipped_line(&mut self, points: &[(f32, f32)], width: f32, colour: Colour, alpha: f32) {
        let on = |p: &(f32, f32)| p.0 > -40.0 && p.1 > -40.0 && p.0 < MAP.width as f32 - 2.0 && p.1 < MAP.height as f32 - 2.0;
        for part in points.split(|p| !on(p)) {
            self.line(part, width, colour, alpha);
        }
    }
}

fn terrain(elevation_m: f32) -> Colour {
    let steps = [
        (0.0, rgb(0x3f5d4a)),
        (200.0, rgb(0x55704f)),
        (600.0, rgb(0x837c55)),
        (1300.0, rgb(0x94785a)),
        (2400.0, rgb(0x8f8078)),
        (4200.0, rgb(0xd9dde0)),
    ];
    let i = steps.iter().rposition(|s| elevation_m >= s.0).unwrap_or(0).min(steps.len() - 2);
    let ((low, a), (high, b)) = (steps[i], steps[i + 1]);
    mix(a, b, ((elevation_m - low) / (high - low)).clamp(0.0, 1.0))
}

fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// The largest towns, as many as have room.
fn towns(canvas: &mut Canvas, view: &View, planet: &Planet) {
    let mut places = planet.places_within(view.centre, view.reach_km());
    places.sort_by_key(|p| std::cmp::Reverse(p.population));
    let mut taken: Vec<(f32, f32, f32)> = Vec::new(); // left, base line, right
    for place in places.iter().take(400) {
        if taken.len() >= 22 {
            break;
        }
        let (x, y) = view.pixel(place.position);
        let size = if place.population > 500_000 { 17.0 } else { 14.0 };
        let right = x + 8.0 + canvas.text_width(place.name, size, Weight::Regular);
        let fits = x > 12.0 && right < MAP.width as f32 - 10.0 && y > 20.0 && y < MAP.height as f32 - 14.0;
        if !fits || taken.iter().any(|t| x < t.2 + 26.0 && right + 26.0 > t.0 && (y - t.1).abs() < 34.0) {
            continue;
        }
        canvas.disc((x, y), 3.0, rgb(0x0a1018), 0.8);
        canvas.disc((x, y), 2.0, INK, 1.0);
        canvas.label((x + 7.0, y + 5.0), place.name, size, Weight::Regular, INK);
        taken.push((x, y, right));
    }
}

fn scale_bar(canvas: &mut Canvas, view: &View) {
    let km = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0].into_iter().rfind(|km| km * view.px_per_km < 240.0).unwrap_or(10.0);
    let (x, y) = (26.0, MAP.height as f32 - 26.0);
    let end = x + (km * view.px_per_km) as f32;
    canvas.line(&[(x, y - 5.0), (x, y), (end, y), (end, y - 5.0)], 3.5, rgb(0x0a1018), 0.6);
    canvas.line(&[(x, y - 5.0), (x, y), (end, y), (end, y - 5.0)], 2.0, INK, 1.0);
    canvas.label((x + 4.0, y - 10.0), &format!("{km:.0} km"), 14.0, Weight::Bold, INK);
}

/// The Earth seen from above the drive.
fn globe(canvas: &mut Canvas, (cx, cy): (f32, f32), radius: f32, centre: LatLon, planet: &Planet) {
    let up = centre.unit();
    let (lat, lon) = (centre.lat().to_radians(), centre.lon().to_radians());
    let east = [-lon.sin(), lon.cos(), 0.0];
    let north = [-lat.sin() * lon.cos(), -lat.sin() * lon.sin(), lat.cos()];
    let reach = radius as i32 + 2;
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let (mut colour, mut covered) = ([0f32; 3], 0f32);
            for (sx, sy) in [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)] {
                let (x, y) = ((dx as f32 + sx) / radius, (dy as f32 + sy) / radius);
                let z2 = 1.0 - x * x - y * y;
                if z2 < 0.0 {
                    continue;
                }
                let z = f64::from(z2.sqrt());
                let v = std::array::from_fn(|i| f64::from(x) * east[i] - f64::from(y) * north[i] + z * up[i]);
                let Some(at) = LatLon::from_unit(v) else { continue };
                let ground = if planet.land_at(at).is_some() { rgb(0x6f8f6a) } else { rgb(0x1d4a70) };
                let light = (0.45 + 0.55 * (z as f32 * 0.8 - x * 0.35 - y * 0.45)).clamp(0.25, 1.15);
                (0..3).for_each(|i| colour[i] += ground[i] * light);
                covered += 1.0;
            }
            if covered > 0.0 {
                canvas.blend(cx as i32 + dx, cy as i32 + dy, colour.map(|c| (c / covered).min(1.0)), covered / 4.0);
            }
        }
    }
    canvas.circle((cx, cy), radius, 1.5, rgb(0x9fc4e0), 0.35);
    canvas.disc((cx, cy), 5.0, rgb(0xffffff), 1.0);
    canvas.disc((cx, cy), 3.2, rgb(0xd7263d), 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_true_from_its_centre_and_can_be_read_backwards() {
        let centre = LatLon::new(-17.0, 179.5).unwrap();
        let view = View::around(centre, &[centre, centre.destination(80.0, 150.0)], std::iter::empty());
        for (bearing, km) in [(10.0, 40.0), (95.0, 160.0), (275.0, 100.0)] {
            let p = centre.destination(bearing, km);
            let (x, y) = view.pixel(p);
            assert!(view.position(x, y).distance_km(p) < 0.1);
        }
    }

    #[test]
    fn a_drive_gets_its_panoramas_from_beginning_middle_and_end() {
        let wanted = |fixes| (1..=fixes).filter(|n| DriveMap::portrait_at(*n, fixes)).collect::<Vec<_>>();
        assert_eq!(wanted(60), [10, 30, 50]);
        assert_eq!(wanted(1), [1]);
        assert!(!wanted(2).is_empty());
    }
}
