//! `cargo bench -p homing-planet --bench rendering`: views rendered in one second of one core, scenes included.
//!
//! Processor time of this one thread, so that other work on the machine changes little. The training needs at least
//! 1,400 views a second at 96 px and 250 at 224 px, or rendering would hold it up.

use std::hint::black_box;

use homing_planet::hash::fold;
use homing_planet::{Camera, Planet, Split};
use rustix::time::{ClockId, clock_gettime};

/// Sites of one measurement, four views each.
const SITES: u64 = 400;
/// Measurements; the best one counts, as others were disturbed.
const ROUNDS: usize = 5;

fn thread_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn main() {
    let planet = Planet::get();
    let sites: Vec<_> = (0..SITES).map(|i| planet.site(Split::Random, 1, i)).collect();
    println!("size    views per second of one core (best of {ROUNDS})    least wanted");
    for (size, wanted) in [(64, None), (96, Some(1400)), (224, Some(250))] {
        let mut rgb = vec![0; 3 * size * size];
        let once = |rgb: &mut [u8]| {
            let before = thread_seconds();
            for site in &sites {
                let scene = planet.scene(site.position, site.heading_deg, &site.moment);
                for bearing in 0..4 {
                    let camera = Camera::used(size, fold(site.moment.seed, bearing));
                    scene.view_into(90.0 * bearing as f32, &camera, rgb);
                    black_box(&mut *rgb);
                }
            }
            4.0 * SITES as f64 / (thread_seconds() - before)
        };
        let best = (0..ROUNDS).map(|_| once(&mut rgb)).fold(0.0, f64::max);
        println!("{size:3} px  {best:8.0}    {}", wanted.map_or("-".to_owned(), |n| n.to_string()));
    }
}
