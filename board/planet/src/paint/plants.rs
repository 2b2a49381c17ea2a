//! Trees and bushes.

use std::f32::consts::PI;

use super::canvas::{Canvas, Shading};
use super::colour::{blend, scale};
use super::view::View;
use crate::scene::{Object, Scene, TreeKind};

pub(super) fn tree(scene: &Scene, view: &View, object: &Object, kind: TreeKind, tone: f32, canvas: &mut Canvas) {
    let spot = view.spot(object.forward, object.right);
    let (x, y) = (view.column(spot), view.row(spot.z, 0.0));
    let h = object.height * view.per_metre(spot.z);
    let lit = |c| view.lit(c, spot.z);
    let light = view.light.shading;
    let trunk = lit([0.3, 0.22, 0.15]);
    let leaf = scene.look.leaf;
    let crown = lit(scale(blend(leaf, scale(leaf, 1.35), tone), 0.8 + 0.45 * tone));
    // Winter takes the leaves of trees that follow the seasons.
    let bare = scene.biome.seasonal > 0.35 && scene.season < -0.45;
    let seed = object.seed;
    match kind {
        TreeKind::Broadleaf | TreeKind::Birch => {
            let slender = kind == TreeKind::Birch;
            let bark = if slender { lit([0.85, 0.85, 0.82]) } else { trunk };
            canvas.bar(x, 0.024 * h, y - 0.58 * h, y, bark);
            let (colour, opacity) = if bare { (lit([0.36, 0.3, 0.25]), 0.32) } else { (crown, 0.97) };
            let wide = if slender { 0.19 } else { 0.32 };
            canvas.ellipse((x, y - 0.66 * h), (wide * h, 0.35 * h), colour, opacity, 0.45, seed, light);
            if !slender {
                let low = scale(colour, 0.93);
                canvas.ellipse((x - 0.16 * h, y - 0.53 * h), (0.2 * h, 0.2 * h), low, opacity, 0.45, seed ^ 1, light);
                canvas.ellipse(
                    (x + 0.17 * h, y - 0.56 * h),
                    (0.2 * h, 0.22 * h),
                    colour,
                    opacity,
                    0.45,
                    seed ^ 2,
                    light,
                );
            }
        }
        TreeKind::Conifer => {
            canvas.bar(x, 0.02 * h, y - 0.2 * h, y, trunk);
            let needles = scale(crown, 0.72);
            let needles = if scene.weather.snow > 0.3 { blend(needles, lit([0.9, 0.9, 0.95]), 0.4) } else { needles };
            let half = (0.14 + 0.08 * tone) * h;
            // Three skirts, each hiding the next one's top.
            for (top, base, share) in [(0.45, 0.1, 1.0), (0.72, 0.33, 0.78), (1.0, 0.58, 0.52)] {
                canvas.cone(x, y - top * h, y - base * h, half * share, needles, 0.35, seed);
            }
        }
        TreeKind::Palm => {
            canvas.bar(x, 0.02 * h, y - 0.85 * h, y, lit([0.45, 0.38, 0.3]));
            for i in 0..7 {
                let angle = i as f32 / 6.0 * PI;
                for j in 1..5 {
                    let reach = j as f32 / 4.0 * 0.3 * h;
                    let droop = reach * reach / (0.55 * h).max(0.1) * 0.6;
                    let at = (x + angle.cos() * reach, y - 0.86 * h - angle.sin() * reach * 0.55 + droop);
                    canvas.ellipse(at, (0.055 * h, 0.03 * h), crown, 0.95, 0.0, 0, light);
                }
            }
        }
        TreeKind::Cactus if scene.biome.dry > 0.6 && tone < 0.4 => {
            let c = lit([0.25, 0.4, 0.2]);
            canvas.rect(x - 0.07 * h, y - h, x + 0.07 * h, y, c, 1.0);
            canvas.rect(x - 0.3 * h, y - 0.5 * h, x, y - 0.4 * h, c, 1.0);
            canvas.rect(x - 0.3 * h, y - 0.75 * h, x - 0.2 * h, y - 0.42 * h, c, 1.0);
            canvas.rect(x, y - 0.6 * h, x + 0.27 * h, y - 0.5 * h, c, 1.0);
            canvas.rect(x + 0.18 * h, y - 0.85 * h, x + 0.27 * h, y - 0.5 * h, c, 1.0);
        }
        TreeKind::Cactus => canvas.ellipse((x, y - 0.35 * h), (0.55 * h, 0.4 * h), crown, 0.95, 0.5, seed, light),
        TreeKind::Acacia => {
            canvas.bar(x, 0.022 * h, y - 0.78 * h, y, trunk);
            canvas.ellipse((x, y - 0.82 * h), (0.55 * h, 0.15 * h), crown, 0.95, 0.4, seed, light);
        }
    }
}

pub(super) fn bush(scene: &Scene, view: &View, object: &Object, canvas: &mut Canvas) {
    let spot = view.spot(object.forward, object.right);
    let h = object.height * view.per_metre(spot.z);
    let at = (view.column(spot), view.row(spot.z, 0.4 * object.height));
    let colour = view.lit(scale(scene.look.leaf, 1.05), spot.z);
    canvas.ellipse(
        at,
        (0.75 * h, 0.5 * h),
        colour,
        0.95,
        0.5,
        object.seed,
        Shading { strength: 0.5, ..view.light.shading },
    );
}
