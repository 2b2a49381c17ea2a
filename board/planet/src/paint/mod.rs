//! Painting a scene: background first, then what stands on it from far to near.

mod background;
mod buildings;
pub(crate) mod canvas;
pub(crate) mod colour;
mod furniture;
mod lettering;
mod plants;
mod traffic;
mod upright;
pub(crate) mod view;

use canvas::Canvas;
use view::{NEAR_M, View};

use crate::camera::Camera;
use crate::scene::{Object, Scene, Thing};

/// Paints what `camera` sees towards `bearing_deg` (clockwise from the vehicle's heading).
pub(crate) fn scene(scene: &Scene, bearing_deg: f32, camera: &Camera, canvas: &mut Canvas) {
    let view = View::new(scene, bearing_deg, camera);
    background::paint(scene, &view, canvas);
    let seen = |o: &&Object| {
        let spot = view.spot(o.forward, o.right);
        let reach = match o.thing {
            Thing::House(h) => h.length.max(h.depth),
            Thing::Car { .. } => 3.0,
            _ => 0.0,
        };
        spot.z > NEAR_M - reach && spot.x.abs() < (spot.z + reach) * 1.25 * view.size / (2.0 * view.focal) + 14.0
    };
    for object in scene.objects.iter().filter(seen) {
        background::shadow(scene, &view, object, canvas);
    }
    // Far to near. The fence stands between what is behind it and what is on the road's side of it.
    let fence = scene.road.fence_offset;
    let behind_fence = |o: &Object| (o.right + scene.road.lane).abs() > fence;
    for object in scene.objects.iter().rev().filter(seen).filter(|o| behind_fence(o)) {
        paint_object(scene, &view, object, canvas);
    }
    buildings::fences(scene, &view, canvas);
    for object in scene.objects.iter().rev().filter(seen).filter(|o| !behind_fence(o)) {
        paint_object(scene, &view, object, canvas);
    }
}

fn paint_object(scene: &Scene, view: &View, object: &Object, canvas: &mut Canvas) {
    match &object.thing {
        Thing::Tree { kind, tone } => plants::tree(scene, view, object, *kind, *tone, canvas),
        Thing::Bush => plants::bush(scene, view, object, canvas),
        Thing::House(house) => buildings::house(scene, view, object, house, canvas),
        Thing::Pole => furniture::pole(scene, view, object, canvas),
        Thing::Lamp => furniture::lamp(scene, view, object, canvas),
        Thing::Bollard(post) => furniture::bollard(view, object, post, canvas),
        Thing::Sign { face, facing } => furniture::sign(scene, view, object, *face, *facing, canvas),
        Thing::Shelter => furniture::shelter(scene, view, object, canvas),
        Thing::Tower => furniture::tower(scene, view, object, canvas),
        Thing::Car { paint, ours } => traffic::car(scene, view, object, *paint, *ours, canvas),
    }
}
