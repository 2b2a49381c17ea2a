//! What must hold of scenes: fixed things stay where they are, whoever looks and whenever.

use std::collections::BTreeSet;

use super::*;
use crate::roads;
use crate::{Camera, Moment, Split};

/// Position (decimetres along and across, canonical) and kind of everything fixed within `reach` metres along the road.
fn fixed(scene: &Scene, reach: f32) -> BTreeSet<(i64, i64, u32, u8)> {
    let road = &scene.road;
    scene
        .objects
        .iter()
        .filter(|o| !matches!(o.thing, Thing::Car { .. }) && o.forward.abs() < reach)
        .map(|o| {
            let (u, v) = (road.along + o.forward * road.direction, (o.right + road.lane) * road.direction);
            let kind = match o.thing {
                Thing::Tree { .. } => 0,
                Thing::Bush => 1,
                Thing::House(_) => 2,
                Thing::Pole => 3,
                Thing::Lamp => 4,
                Thing::Bollard(_) => 5,
                Thing::Sign { .. } => 6,
                Thing::Shelter => 7,
                Thing::Tower => 8,
                Thing::Car { .. } => 9,
            };
            ((u * 10.0).round() as i64, (v * 10.0).round() as i64, o.seed, kind)
        })
        .collect()
}

fn sites(n: u64) -> impl Iterator<Item = crate::Site> {
    (0..n).map(|i| Planet::get().site(Split::Validation, 5, i))
}

#[test]
fn the_same_site_gives_the_same_pixels() {
    let planet = Planet::get();
    for site in sites(12) {
        let look = |b: f32| {
            planet.scene(site.position, site.heading_deg, &site.moment).view(b, &Camera::used(64, site.moment.seed))
        };
        assert_eq!(look(0.0), look(0.0));
        assert_ne!(look(0.0), look(90.0), "the four views differ");
    }
}

#[test]
fn five_metres_on_the_same_things_stand_there() {
    let planet = Planet::get();
    let mut shared = (0, 0);
    for site in sites(60) {
        let (next, heading) = roads::ahead(site.position, site.heading_deg, 5.0);
        let here = planet.scene(site.position, site.heading_deg, &site.moment);
        let there = planet.scene(next, heading, &site.moment);
        if here.terrain != there.terrain {
            continue; // Five metres crossed a tile's border: another road.
        }
        let (a, b) = (fixed(&here, 60.0), fixed(&there, 70.0));
        shared.0 += a.intersection(&b).count();
        shared.1 += a.len();
    }
    assert!(shared.1 > 1000, "{shared:?}");
    // Density follows the surroundings, so a slot in a hundred may fill or empty between two positions.
    assert!(shared.0 as f32 > 0.98 * shared.1 as f32, "{shared:?}");
}

#[test]
fn another_season_keeps_every_house_and_tree() {
    let planet = Planet::get();
    for site in sites(40) {
        let at = |day, hour, seed| {
            let moment = Moment::weathered(planet, site.position, day, hour, seed);
            planet.scene(site.position, site.heading_deg, &moment)
        };
        let (summer, winter) = (at(200.0, 12.0, 1), at(15.0, 9.0, 2));
        assert_eq!(fixed(&summer, 95.0), fixed(&winter, 95.0));
    }
}

#[test]
fn the_way_back_passes_the_same_things() {
    let planet = Planet::get();
    for site in sites(40) {
        let there = planet.scene(site.position, site.heading_deg, &site.moment);
        let back = planet.scene(site.position, site.heading_deg + 180.0, &site.moment);
        assert_eq!(fixed(&there, 90.0), fixed(&back, 90.0));
        assert!((there.heading - back.heading).abs() > 3.0, "the vehicle turned");
    }
}

#[test]
fn signs_show_their_faces_on_the_driving_side() {
    let planet = Planet::get();
    let mut ahead = 0;
    for site in sites(80) {
        let scene = planet.scene(site.position, site.heading_deg, &site.moment);
        let keep = if scene.facts.left { -1.0 } else { 1.0 };
        for o in &scene.objects {
            if let Thing::Sign { facing, .. } = o.thing {
                let side = (o.right + scene.road.lane).signum();
                assert_eq!(side, keep * facing, "readers find their signs on their own side");
                ahead += 1;
            }
        }
        assert_eq!(scene.road.lane.signum(), keep, "the vehicle keeps to its side");
    }
    assert!(ahead > 100);
}

#[test]
fn faults_do_what_they_say() {
    let planet = Planet::get();
    let site = planet.site(Split::Validation, 5, 1);
    let noon = Moment { hour: 12.0, ..site.moment };
    let mean = |moment: &Moment, camera: &Camera| {
        let frame = planet.scene(site.position, site.heading_deg, moment).view(0.0, camera);
        frame.rgb.iter().map(|v| *v as f32).sum::<f32>() / frame.rgb.len() as f32
    };
    let clear = Camera::level(64);
    let with = |f: crate::Faults| Camera { faults: f, ..clear };
    let day = mean(&noon, &clear);
    assert_eq!(mean(&noon, &with(crate::Faults { dead: true, ..Default::default() })), 0.0);
    assert!(mean(&noon, &with(crate::Faults { glare: 1.0, ..Default::default() })) > day + 20.0);
    assert!(mean(&noon, &with(crate::Faults { dirt: 1.0, ..Default::default() })) < day);
    let dark = Moment { day: 355.0, hour: 0.0, ..site.moment };
    assert!(mean(&dark, &clear) < 0.4 * day, "night is dark");
}
