//! Houses and fences.

use super::canvas::Canvas;
use super::colour::{blend, scale};
use super::lettering;
use super::upright::{Upright, polygon};
use super::view::View;
use crate::country::{FenceKind, Rgb, WindowStyle};
use crate::field::{grain, noise2};
use crate::scene::{House, Object, Scene};

const STOREY_M: f32 = 3.1;

/// A box of walls with windows under a flat or pitched roof whose ridge runs along the road.
pub(super) fn house(scene: &Scene, view: &View, object: &Object, house: &House, canvas: &mut Canvas) {
    let (f, r) = (object.forward, object.right);
    let (near_end, far_end) = (f - house.length / 2.0, f + house.length / 2.0);
    let inward = -(r + scene.road.lane).signum();
    let (front, middle, back) = (r + inward * house.depth / 2.0, r, r - inward * house.depth / 2.0);
    let eaves = house.storeys * STOREY_M;
    let ridge = eaves + house.pitch * house.depth * 0.5;
    let z = view.spot(f, r).z.max(2.0);
    let snow = scene.weather.snow > 0.3;
    let roof = if snow { [0.88, 0.9, 0.93] } else { house.roof };
    let sun = scene.sun.azimuth - scene.heading;
    // A wall turned to the sun is brighter: the front wall looks `inward`, the end wall looks at the vehicle.
    let front_light = 1.0 + 0.22 * view.light.direct * (sun.sin() * inward);
    let end_faces = if near_end > 0.0 {
        Some((near_end, -1.0))
    } else if far_end < 0.0 {
        Some((far_end, 1.0))
    } else {
        None
    };
    if let Some((end, looks)) = end_faces {
        let light = 1.0 + 0.22 * view.light.direct * sun.cos() * looks;
        let wall = Upright { from: (end, front), to: (end, back), low: 0.0, high: eaves };
        wall.paint(view, canvas, |s, h, m, z| {
            (view.lit(scale(facade(scene, house, object.seed ^ 1, s, h, m, false), 0.94 * light), z), 1.0)
        });
        if house.pitch > 0.05 {
            let gable = [(end, front, eaves), (end, back, eaves), (end, middle, ridge)];
            polygon(view, canvas, &gable, view.lit(scale(house.wall, 0.92 * light), z));
        }
    }
    if house.pitch > 0.05 {
        let over = 0.5;
        let slope = [
            (near_end - over, front + inward * over, eaves),
            (far_end + over, front + inward * over, eaves),
            (far_end + over, middle, ridge),
            (near_end - over, middle, ridge),
        ];
        polygon(view, canvas, &slope, view.lit(scale(roof, 0.55 + 0.45 * front_light), z));
    }
    let wall = Upright { from: (near_end, front), to: (far_end, front), low: 0.0, high: eaves };
    let script = scene.facts.script;
    let letters = scene.town.lettering(object.seed);
    wall.paint(view, canvas, |s, h, m, z| {
        if let Some(fascia) = house.shop
            && h < STOREY_M
        {
            // On the right-hand side the way ahead runs to the left of who looks at the wall; letters still run right.
            let s = if inward < 0.0 { house.length - s } else { s };
            return (view.lit(shop_front(fascia, script, letters, house, s, h, m), z), 1.0);
        }
        (view.lit(scale(facade(scene, house, object.seed, s, h, m, true), front_light), z), 1.0)
    });
    if view.light.night > 0.5 && house.shop.is_some() {
        let glow = Upright { from: (near_end, front), to: (far_end, front), low: 0.6, high: 2.3 };
        glow.paint(view, canvas, |_, _, _, z| (view.glowing([0.9, 0.8, 0.55], z), 0.7));
    }
}

/// A wall with rows of windows; `s` metres along it, `h` metres up.
fn facade(scene: &Scene, house: &House, seed: u32, s: f32, h: f32, m: f32, door: bool) -> Rgb {
    let modern = scene.look.modern;
    let style = scene.facts.window;
    let bay = match style {
        WindowStyle::Casement => 2.5,
        WindowStyle::Sash => 2.2,
        WindowStyle::Shuttered => 3.0,
        WindowStyle::Wide => 3.4,
    };
    if house.pitch <= 0.05 && h > house.storeys * STOREY_M - 0.35 {
        return scale(house.wall, 0.75);
    }
    if m > 1.3 {
        // Too far for windows: a darker wall keeps the picture's brightness.
        return scale(house.wall, 0.82);
    }
    let (x, y) = ((s / bay).fract() * bay - bay / 2.0, (h / STOREY_M).fract() * STOREY_M);
    let floor = (h / STOREY_M) as i32;
    let column = (s / bay) as i32;
    if door && floor == 0 && column == (seed % 3) as i32 && x.abs() < 0.55 && y < 2.1 {
        return super::colour::hsv((seed % 97) as f32 / 97.0, 0.5, 0.35);
    }
    let half = match style {
        WindowStyle::Wide => 1.15,
        WindowStyle::Shuttered => 0.5,
        _ => 0.55,
    } + 0.25 * modern;
    let (sill, head) = (0.9, if style == WindowStyle::Sash { 2.5 } else { 2.3 } + 0.2 * modern);
    if (sill..head).contains(&y) {
        if x.abs() < half {
            let bars = match style {
                WindowStyle::Sash => (y - 1.6).abs() < 0.07 || x.abs() < 0.05,
                WindowStyle::Casement => x.abs() < 0.08,
                _ => false,
            };
            if bars && m < 0.4 {
                return [0.9, 0.9, 0.87];
            }
            let lit = scene.sun.elevation < -0.05 && grain(column, floor, seed) < 0.35;
            // Light from within is brighter than anything outside at night.
            return if lit { [3.5, 2.9, 1.7] } else { blend([0.16, 0.2, 0.26], [0.4, 0.5, 0.6], modern) };
        }
        if style == WindowStyle::Shuttered && x.abs() < half + 0.5 {
            return blend(scene.look.roof, [0.25, 0.35, 0.3], 0.5);
        }
        if style != WindowStyle::Wide && x.abs() < half + 0.16 {
            return [0.9, 0.9, 0.87];
        }
    }
    house.wall
}

fn shop_front(fascia: Rgb, script: crate::country::Script, letters: u32, house: &House, s: f32, h: f32, m: f32) -> Rgb {
    if h > 1.95 {
        let (cap, margin) = (0.8, 0.6);
        let y = 1.0 - (h - 2.1) / cap;
        let x = (s - margin) / (0.62 * cap);
        if s < margin || s > house.length - margin {
            return fascia;
        }
        let light = fascia[0] + fascia[1] + fascia[2] > 1.9;
        let letter = if light { [0.08, 0.08, 0.1] } else { [0.97, 0.97, 0.95] };
        return blend(fascia, letter, lettering::ink(script, x, y, m / (0.62 * cap), letters));
    }
    if (s / 2.6).fract() < 0.08 { scale(house.wall, 0.9) } else { [0.2, 0.22, 0.25] }
}

/// The fences on both sides of the road.
pub(super) fn fences(scene: &Scene, view: &View, canvas: &mut Canvas) {
    let road = &scene.road;
    for (side, there) in [(-1.0f32, road.fences[0]), (1.0, road.fences[1])] {
        if !there {
            continue;
        }
        let right = side * road.direction * road.fence_offset - road.lane;
        let fence = Upright { from: (-60.0, right), to: (60.0, right), low: 0.0, high: 1.35 };
        let colour = scene.look.fence;
        let kind = scene.facts.fence;
        fence.paint(view, canvas, |s, h, m, z| {
            let u = (road.along + (s - 60.0) * road.direction).rem_euclid(4096.0);
            let (colour, opacity) = fence_ink(kind, colour, u, h, m);
            (view.lit(colour, z), opacity)
        });
    }
}

fn fence_ink(kind: FenceKind, colour: Rgb, u: f32, h: f32, m: f32) -> (Rgb, f32) {
    let post = |period: f32, width: f32| {
        let width = width.max(0.6 * m);
        if u.rem_euclid(period) < width { 1.0f32 } else { 0.0 }
    };
    let below = |top: f32| if h < top { 1.0f32 } else { 0.0 };
    let bar = |at: f32, half: f32| if (h - at).abs() < half.max(0.4 * m) { 1.0f32 } else { 0.0 };
    match kind {
        FenceKind::Rail => (colour, (post(2.4, 0.2) * below(1.15)).max(bar(0.95, 0.1)).max(bar(0.5, 0.1))),
        FenceKind::Picket => {
            let gap = if m > 0.2 { 0.75 } else { post(0.4, 0.26) };
            (colour, gap * below(1.1))
        }
        FenceKind::Wire => (
            scale(colour, 0.9),
            (post(3.0, 0.16) * below(1.3))
                .max(0.8 * bar(0.35, 0.03))
                .max(0.8 * bar(0.7, 0.03))
                .max(0.8 * bar(1.05, 0.03)),
        ),
        FenceKind::Hedge => {
            let n = noise2(u * 2.0, h * 3.0, 17);
            (scale(blend(colour, [0.2, 0.36, 0.14], 0.4), 0.75 + 0.5 * n), below(1.0 + 0.3 * n))
        }
        FenceKind::Wall => {
            let odd = (u / 0.9).rem_euclid(2.0) < 1.0;
            (scale(colour, if odd { 1.0 } else { 0.85 }), below(0.95))
        }
        FenceKind::Guardrail => {
            let rail = if (0.5..0.85).contains(&h) { 1.0 } else { 0.0 };
            (if rail > 0.0 { colour } else { [0.4, 0.4, 0.42] }, f32::max(rail, post(2.0, 0.14) * below(0.6)))
        }
    }
}
