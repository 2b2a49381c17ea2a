//! Sky, hills and ground: one pass over all pixels, and the shadows on the ground.

use std::f32::consts::PI;

use super::canvas::{Canvas, Shading};
use super::colour::{blend, scale};
use super::view::{CAMERA_HEIGHT_M, View};
use crate::country::{KerbKind, Rgb};
use crate::field::{grain, noise2};
use crate::scene::{Object, Scene, Thing};

pub(super) fn paint(scene: &Scene, view: &View, canvas: &mut Canvas) {
    let size = canvas.size;
    let skyline = skyline(scene, view, size);
    let ground = Ground::new(scene, view);
    for y in 0..size {
        let below = y as f32 + 0.5 - view.horizon;
        if below > 0.3 {
            ground.row(below, &mut canvas.pixels[y * size..(y + 1) * size]);
        } else {
            sky_row(scene, view, y, &skyline, &mut canvas.pixels[y * size..(y + 1) * size]);
        }
    }
}

/// What stands before the sky in one pixel column, as rows, and its colours.
struct Column {
    far: f32,
    near: f32,
    roofs: f32,
    sin: f32,
    cos: f32,
    azimuth: f32,
}

/// Mountains, the nearer ridge, and the roofs of a city, for each pixel column.
fn skyline(scene: &Scene, view: &View, size: usize) -> Vec<Column> {
    let seed = scene.terrain;
    (0..size)
        .map(|x| {
            let azimuth = view.azimuth + ((x as f32 + 0.5 - view.size / 2.0) / view.focal).atan();
            let (sin, cos) = azimuth.sin_cos();
            let hills = |k: f32, q: u32| {
                noise2(sin * k + 40.0, cos * k + 40.0, seed ^ q) * 0.6
                    + noise2(sin * k * 2.3 + 9.0, cos * k * 2.3, seed ^ q ^ 9) * 0.28
                    + noise2(sin * k * 5.7, cos * k * 5.7 + 3.0, seed ^ q ^ 5) * 0.12
            };
            let f = view.focal;
            let far = view.horizon - f * 0.68 * scene.relief * (hills(2.1, 1) - 0.15).max(0.0);
            let woods = 0.04 * scene.biome.tree_cover * (1.0 - 0.5 * scene.urban);
            let near = view.horizon - f * ((0.27 + 0.2 * scene.relief) * (hills(3.7, 2) - 0.05).max(0.0) + woods);
            let block = (azimuth.rem_euclid(2.0 * PI) * 14.0) as i32;
            let height = (scene.urban - 0.5).max(0.0) * 0.5 * grain(block, 7, seed);
            Column { far, near, roofs: view.horizon - f * height, sin, cos, azimuth }
        })
        .collect()
}

fn sky_row(scene: &Scene, view: &View, y: usize, skyline: &[Column], pixels: &mut [Rgb]) {
    let light = &view.light;
    let fy = y as f32 + 0.5;
    let elevation = ((view.horizon - fy) / view.focal).atan();
    let clear = blend(light.haze, light.zenith, (elevation / 0.9).clamp(0.0, 1.0).powf(0.6));
    let clouded = light.cloud > 0.05 && light.cloud < 0.97;
    let k = 1.0 / (elevation.max(0.02) + 0.14);
    let cloud_white = blend([0.93, 0.93, 0.94], [0.05, 0.05, 0.07], light.night);
    let weather = scene.moment_seed as u32;
    let mountain = if scene.alpine { [0.76, 0.79, 0.85] } else { blend(scene.look.leaf, scene.look.ground, 0.5) };
    let mountain = blend(light.on(mountain), light.haze, 0.6);
    let ridge = blend(light.on(scene.look.ridge), light.haze, (60.0 / light.sight_m).min(0.95));
    let roofs = blend(light.on(scale(scene.look.wall, 0.8)), light.haze, 0.45);
    for (pixel, column) in pixels.iter_mut().zip(skyline) {
        let mut colour = clear;
        if fy < column.near.min(column.roofs) {
            if clouded {
                let n = noise2(column.sin * k * 2.2 + 50.0, column.cos * k * 2.2 + 50.0, weather ^ 31) * 0.62
                    + noise2(column.sin * k * 5.0 + 50.0, column.cos * k * 5.0 + 50.0, weather ^ 32) * 0.38;
                colour = blend(colour, cloud_white, 0.75 * ((n - (1.0 - light.cloud)) * 3.5).clamp(0.0, 1.0));
            }
            if light.direct > 0.1 && light.sun_elevation > -0.05 {
                let side = (scene.sun.azimuth - column.azimuth + PI).rem_euclid(2.0 * PI) - PI;
                let apart = ((side * elevation.cos()).powi(2) + (elevation - light.sun_elevation).powi(2)).sqrt();
                let glow = 0.5 * (-5.0 * apart).exp() + ((0.05 - apart) * 60.0).clamp(0.0, 1.0);
                colour = blend(colour, [1.0, 0.97, 0.88], light.direct * glow);
            }
        }
        let cover = |edge: f32| (fy - edge + 0.5).clamp(0.0, 1.0);
        colour = blend(colour, mountain, cover(column.far));
        colour = blend(colour, ridge, cover(column.near));
        colour = blend(colour, roofs, if column.roofs < view.horizon - 0.5 { cover(column.roofs) } else { 0.0 });
        *pixel = colour;
    }
}

/// The ground plane with the road on it.
struct Ground<'a> {
    scene: &'a Scene,
    view: &'a View,
    seed: u32,
    wet: f32,
    asphalt: Rgb,
    kerb_period: f32,
    kerb_other: Rgb,
}

const WHITE: Rgb = [0.93, 0.93, 0.91];

impl<'a> Ground<'a> {
    fn new(scene: &'a Scene, view: &'a View) -> Self {
        let wet = scene.weather.rain;
        let asphalt =
            if scene.road.paved { scale(scene.look.asphalt, 1.0 - 0.35 * wet) } else { scale(scene.look.soil, 1.08) };
        let snow = 0.35 * scene.weather.snow;
        let (kerb_other, kerb_period) = match scene.facts.kerb {
            KerbKind::Plain => (scene.look.kerb, 1e9),
            KerbKind::Painted { tones, period_m } => (tones[1], period_m / 2.0),
        };
        Ground { scene, view, seed: scene.terrain, wet, asphalt: blend(asphalt, WHITE, snow), kerb_period, kerb_other }
    }

    fn row(&self, below: f32, pixels: &mut [Rgb]) {
        let (view, road) = (self.view, &self.scene.road);
        let depth = CAMERA_HEIGHT_M * view.focal / below;
        let metres_per_px = depth / view.focal;
        let fog = 1.0 - (-depth / view.light.sight_m).exp();
        // Reflection of the sky on a wet road, stronger at a flat angle.
        let mirror = self.wet * (0.2 + 0.5 * (depth / 30.0).min(1.0));
        for (x, pixel) in pixels.iter_mut().enumerate() {
            let side = (x as f32 + 0.5 - view.size / 2.0) * metres_per_px;
            let forward = depth * view.cos - side * view.sin;
            let right = depth * view.sin + side * view.cos + road.lane;
            let colour = self.colour(forward, right, metres_per_px, depth, mirror);
            *pixel = blend(view.light.on(colour), view.light.haze, fog);
        }
    }

    /// Ground `forward` metres ahead and `right` metres right of the road's centre line.
    #[inline]
    fn colour(&self, forward: f32, right: f32, foot: f32, depth: f32, mirror: f32) -> Rgb {
        let (scene, road, look) = (self.scene, &self.scene.road, &self.scene.look);
        let (u, v) = (road.along + forward * road.direction, right * road.direction);
        let half = road.half_width;
        let across = right.abs();
        let detail = 1.0 / (1.0 + foot * 0.8);
        let mut n = if depth < 400.0 { noise2(u * 0.13, v * 0.13, self.seed ^ 4) } else { 0.5 };
        if depth < 45.0 {
            n = 0.5 * n + 0.5 * noise2(u * 0.9, v * 0.9, self.seed ^ 3);
        }
        let mut colour = look.ground;
        if across > half - foot {
            let bare = ((n - 0.45) * 1.6 * (0.3 + scene.biome.dry)).clamp(0.0, 1.0);
            colour = scale(blend(colour, look.soil, bare), 1.0 + (n - 0.5) * 0.5 * detail);
            if across < half + 4.4 {
                let pavement = if scene.urban > 0.6 { blend([0.55, 0.53, 0.5], look.verge, 0.6) } else { look.verge };
                let verge = scale(pavement, 1.0 + (n - 0.5) * 0.25 * detail);
                colour = blend(colour, verge, (half + 4.2 - across) / foot + 0.5);
            }
            if across < half + 2.0 + foot {
                let stone = scale(look.shoulder, 1.0 + (n - 0.5) * 0.3 * detail);
                colour = blend(colour, stone, ((half + 1.9 - across) / foot + 0.5).clamp(0.0, 1.0));
            }
            if road.kerbs && across < half + 0.65 + foot {
                let cover = ((half + 0.65 - across) / foot + 0.5).clamp(0.0, 1.0) * (0.65 / foot).clamp(0.3, 1.0);
                let odd = (u / self.kerb_period).rem_euclid(2.0) < 1.0;
                colour = blend(colour, if odd { look.kerb } else { self.kerb_other }, cover);
            }
        }
        if across < half + foot {
            let cover = ((half - across) / foot + 0.5).clamp(0.0, 1.0);
            let mut surface = scale(self.asphalt, 1.0 + (n - 0.5) * 0.22);
            if road.paved {
                surface = self.paint(surface, u, v, right, foot);
                surface = blend(surface, self.view.light.haze, mirror);
            }
            colour = blend(colour, surface, cover);
        }
        colour
    }

    /// Lines and arrows on the asphalt.
    #[inline]
    fn paint(&self, surface: Rgb, u: f32, v: f32, right: f32, foot: f32) -> Rgb {
        let (road, facts) = (&self.scene.road, &self.scene.facts);
        let line = |centre: f32, half: f32| {
            let apart = (right - centre).abs();
            ((half - apart) / foot.max(0.02) + 0.5).clamp(0.0, 1.0) * (2.0 * half / foot).min(1.0)
        };
        let mut surface = surface;
        let centre = if road.double_line {
            line(-0.17, 0.08).max(line(0.17, 0.08))
        } else if (u / facts.dash_m).rem_euclid(2.0) < 1.0 {
            line(0.0, 0.1)
        } else {
            0.0
        };
        surface = blend(surface, facts.centre_line, 0.95 * centre);
        let half = road.half_width;
        if let Some(edge) = facts.edge_line {
            surface = blend(surface, edge, 0.9 * line(half - 0.3, 0.09).max(line(-half + 0.3, 0.09)));
        }
        if road.arrows {
            // Arrows point the way their lane drives: along +u on the side that traffic keeps to.
            let onward = if (v > 0.0) != facts.left { 1.0 } else { -1.0 };
            let q = (u * onward).rem_euclid(18.0);
            let wide = if q < 3.2 {
                0.16
            } else if q < 5.2 {
                (5.2 - q) * 0.42
            } else {
                0.0
            };
            let apart = (right.abs() - half * 0.5).abs();
            let cover = if wide > 0.0 {
                ((wide - apart) / foot.max(0.03) + 0.5).clamp(0.0, 1.0) * (2.0 * wide / foot).min(1.0)
            } else {
                0.0
            };
            surface = blend(surface, WHITE, 0.9 * cover);
        }
        surface
    }
}

/// The shadow of one object: a soft dark shape that leads away from the sun.
pub(super) fn shadow(scene: &Scene, view: &View, object: &Object, canvas: &mut Canvas) {
    let direct = view.light.direct;
    if direct < 0.25 || scene.sun.elevation < 0.05 {
        return;
    }
    let half_width = match object.thing {
        Thing::Tree { .. } => object.height * 0.26,
        Thing::House(h) => h.length * 0.4,
        Thing::Car { .. } => 1.2,
        Thing::Bush | Thing::Shelter => 0.9,
        _ => return,
    };
    let length = object.height * (1.0 / scene.sun.elevation.tan()).min(3.0);
    let away = scene.sun.azimuth + PI - scene.heading;
    let (dx, dy) = (away.cos(), away.sin());
    let dark = 0.34 * direct;
    let steps = 4;
    for i in 0..steps {
        let reach = length * (i as f32 + 0.5) / steps as f32;
        let spot = view.spot(object.forward + dx * reach, object.right + dy * reach);
        // A shadow right before the camera would only be a dark smear.
        if spot.z < 4.0 {
            continue;
        }
        let k = view.per_metre(spot.z);
        let along = length / steps as f32;
        let (rx, ry) = ((half_width + 0.4 * along) * k, (half_width + 0.3 * along) * k * CAMERA_HEIGHT_M / spot.z);
        let fade = dark * (1.0 - 0.15 * i as f32);
        canvas.ellipse(
            (view.column(spot), view.row(spot.z, 0.0)),
            (rx, ry.max(0.4)),
            [0.03, 0.03, 0.05],
            fade * 0.6,
            0.0,
            0,
            Shading::FLAT,
        );
    }
}
