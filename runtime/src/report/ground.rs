//! The ground under a drive: land with its relief, borders, towns, and the globe in the corner.

use homing_board::planet::Planet;
use homing_models::LatLon;

use super::paint::{Canvas, Colour, Weight, coverage, rgb};

/// Where the map lies on the picture.
pub const MAP: Area = Area { x: 0, y: 0, width: 1180, height: 752 };
/// Colour of text.
pub const INK: Colour = rgb(0xe8eef4);
/// How much land around the drive is shown at least and at most.
const HALF_HEIGHT_KM: (f64, f64) = (90.0, 1200.0);

/// A rectangle of the picture.
#[derive(Clone, Copy)]
pub struct Area {
    /// Left.
    pub x: i32,
    /// Top.
    pub y: i32,
    /// Columns.
    pub width: i32,
    /// Rows.
    pub height: i32,
}

/// A point of the picture, unless it lies beyond the map's right or lower rim.
pub fn on_map(p: (f32, f32)) -> Option<(f32, f32)> {
    (p.0 < MAP.width as f32 && p.1 < MAP.height as f32).then_some(p)
}

/// An azimuthal equidistant map: distances and directions from the centre are true.
pub struct View {
    centre: LatLon,
    /// Scale at the centre.
    pub px_per_km: f64,
}

impl View {
    /// Shows the whole way, and those fixes that do not make the map more than twice as wide.
    pub fn around(centre: LatLon, way: &[LatLon], fixes: impl Iterator<Item = LatLon>) -> Self {
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
        let half_km = 1.12 * whole_way.max(most.min(2.0 * whole_way.max(HALF_HEIGHT_KM.0)));
        View { centre, px_per_km: half_height / half_km.clamp(HALF_HEIGHT_KM.0, HALF_HEIGHT_KM.1) }
    }

    fn offset_km(&self, p: LatLon) -> (f64, f64) {
        let (distance, bearing) = (self.centre.distance_km(p), self.centre.bearing_deg(p).to_radians());
        (distance * bearing.sin(), -distance * bearing.cos())
    }

    /// Where a position is on the picture; anywhere when it is off the map.
    pub fn pixel(&self, p: LatLon) -> (f32, f32) {
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

/// Sea, land with relief, borders, and a graticule.
pub fn land(canvas: &mut Canvas, view: &View, planet: &Planet) {
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
        // Light from the north-west. The data has a point every 18 km: five samples hide its lattice.
        let around = |bearing: f64| planet.elevation_m(at.destination(bearing, 11.0));
        let [ne, se, sw, nw] = [45.0, 135.0, 225.0, 315.0].map(around);
        let shade = 1.0 + ((nw - se) / 1100.0).clamp(-0.35, 0.3);
        let height = (2.0 * planet.elevation_m(at) + ne + se + sw + nw) / 6.0;
        let tint = terrain(height).map(|c| (c * shade).clamp(0.0, 1.0));
        Some(mix(water, tint, here))
    });
    for ring in &near {
        canvas.line_inside(ring);
    }
    for degree in -180i32..=180 {
        let step = if reach > 800.0 { 5 } else { 1 };
        if degree % step != 0 {
            continue;
        }
        let spread = (reach / 111.0 * 1.5).min(60.0);
        let ease = |i: i32| spread * f64::from(i) / 24.0;
        let (lat0, lon0) = (view.centre.lat(), view.centre.lon());
        let meridian: Vec<_> =
            (-24..=24).map(|i| view.pixel(LatLon::wrapped(lat0 + ease(i), f64::from(degree)))).collect();
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
        let on = |p: &(f32, f32)| {
            p.0 > -40.0 && p.1 > -40.0 && p.0 < MAP.width as f32 - 2.0 && p.1 < MAP.height as f32 - 2.0
        };
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
pub fn towns(canvas: &mut Canvas, view: &View, planet: &Planet) {
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

pub fn scale_bar(canvas: &mut Canvas, view: &View) {
    let km =
        [10.0, 20.0, 50.0, 100.0, 200.0, 500.0].into_iter().rfind(|km| km * view.px_per_km < 240.0).unwrap_or(10.0);
    let (x, y) = (26.0, MAP.height as f32 - 26.0);
    let end = x + (km * view.px_per_km) as f32;
    canvas.line(&[(x, y - 5.0), (x, y), (end, y), (end, y - 5.0)], 3.5, rgb(0x0a1018), 0.6);
    canvas.line(&[(x, y - 5.0), (x, y), (end, y), (end, y - 5.0)], 2.0, INK, 1.0);
    canvas.label((x + 4.0, y - 10.0), &format!("{km:.0} km"), 14.0, Weight::Bold, INK);
}

/// The Earth seen from above the drive.
pub fn globe(canvas: &mut Canvas, (cx, cy): (f32, f32), radius: f32, centre: LatLon, planet: &Planet) {
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
                let Some(at) = LatLon::from_unit(v) else {
                    continue;
                };
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
}
