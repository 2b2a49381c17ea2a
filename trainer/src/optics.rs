//! OPTICS on the sphere (Ankerst, Breunig, Kriegel, Sander 1999): an order of points in which clusters are valleys.
//!
//! Points are visited by smallest reachability first, ties by smallest index, as scikit-learn does; the result is a
//! function of the points alone, whatever the number of threads. Labels come from the reachability plot by the xi
//! method ([`Ordering::xi_labels`]).

mod xi;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZero;

use homing_models::LatLon;
use homing_models::geo::EARTH_RADIUS_KM;
use kiddo::{ImmutableKdTree, SquaredEuclidean};
use rayon::prelude::*;
use rstar::primitives::GeomWithData;
use rstar::{PointDistance, RTree};

/// What OPTICS says about a set of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordering {
    /// Point indices in the order of visit.
    pub order: Vec<u32>,
    /// Reachability distance of each *point* (not of each place in the order) in kilometres; infinite where a
    /// component begins.
    pub reachability_km: Vec<f64>,
    /// Distance of each point to its `min_samples`-th neighbour, itself included, in kilometres; infinite beyond the
    /// bound.
    pub core_km: Vec<f64>,
    /// The point from which each point was reached.
    pub predecessor: Vec<Option<u32>>,
}

/// Orders `points` for neighbourhoods of `min_samples` points within `max_eps_km` (great-circle; may be infinite).
///
/// A set smaller than `min_samples` has no core point: every reachability is infinite.
pub fn optics(points: &[LatLon], min_samples: usize, max_eps_km: f64) -> Ordering {
    let units: Vec<[f64; 3]> = points.iter().map(|p| p.unit()).collect();
    // Squared chords grow with the great-circle distance, so the order can be found without trigonometry.
    let bound = squared_chord(max_eps_km);
    let walk = match ImmutableKdTree::new_from_slice(&units) {
        Ok(tree) => Walk::new(&units, &tree, min_samples, bound).run(),
        // An empty set has no tree, and no order.
        Err(_) => Walked::default(),
    };
    Ordering {
        order: walk.order,
        reachability_km: walk.reachability.iter().map(|&c| kilometres(c)).collect(),
        core_km: walk.core.iter().map(|&c| kilometres(c)).collect(),
        predecessor: walk.predecessor,
    }
}

/// The squared chord of the unit sphere below an arc of `km`.
fn squared_chord(km: f64) -> f64 {
    let half = (km / EARTH_RADIUS_KM / 2.0).min(std::f64::consts::FRAC_PI_2).sin();
    // A hair wider, so that rounding cannot lose the antipode of an unbounded search.
    if half < 1.0 { 4.0 * half * half } else { 4.0 + 1e-9 }
}

fn kilometres(squared_chord: f64) -> f64 {
    if squared_chord.is_infinite() {
        return f64::INFINITY;
    }
    2.0 * EARTH_RADIUS_KM * (squared_chord.sqrt() / 2.0).min(1.0).asin()
}

/// A place in the queue, smallest key first: a point to visit, or the frontier of a visited point's neighbourhood.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    key: f64,
    kind: Kind,
}

/// At equal keys frontiers come before points: what lies behind one may be as near, and of a smaller number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Frontier(u32),
    Point(u32),
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.total_cmp(&other.key).then(self.kind.cmp(&other.kind))
    }
}

#[derive(Default)]
struct Walked {
    order: Vec<u32>,
    reachability: Vec<f64>,
    core: Vec<f64>,
    predecessor: Vec<Option<u32>>,
}

/// The walk over the points. All distances are squared chords.
///
/// Textbook OPTICS lists the whole neighbourhood of each visited point, thousands of points in a town when the bound is
/// hundreds of kilometres. Here a neighbourhood is listed out to a small radius first; its frontier waits in the same
/// queue and is moved out when everything nearer has been visited: to the nearest point that is left, and where that is
/// reached, over those beyond it. The order is the same.
struct Walk<'p> {
    units: &'p [[f64; 3]],
    tree: &'p ImmutableKdTree<f64, 3>,
    /// The points that have not been visited, from which visited ones are taken out.
    left: RTree<Left>,
    bound: f64,
    place: Vec<u32>,
    queue: BinaryHeap<Reverse<Entry>>,
    walked: Walked,
}

/// A point by its number.
type Left = GeomWithData<[f64; 3], u32>;

/// `place` of a point that has not been visited.
const UNVISITED: u32 = u32::MAX;

impl<'p> Walk<'p> {
    fn new(units: &'p [[f64; 3]], tree: &'p ImmutableKdTree<f64, 3>, min_samples: usize, bound: f64) -> Self {
        let n = units.len();
        let core_of = |unit: &[f64; 3]| {
            let count = NonZero::new(min_samples).unwrap_or(NonZero::<usize>::MIN);
            let near = tree.query(unit).nearest_n::<SquaredEuclidean<f64>>(count).execute();
            let core = near.iter().map(|item| item.distance).fold(0.0, f64::max);
            if near.len() == count.get() && core <= bound { core } else { f64::INFINITY }
        };
        let core = units.par_iter().map(core_of).collect();
        let walked = Walked {
            order: Vec::with_capacity(n),
            reachability: vec![f64::INFINITY; n],
            core,
            predecessor: vec![None; n],
        };
        let left = RTree::bulk_load((0..).zip(units).map(|(i, unit)| Left::new(*unit, i)).collect());
        Walk { units, tree, left, bound, place: vec![UNVISITED; n], queue: BinaryHeap::new(), walked }
    }

    fn run(mut self) -> Walked {
        for start in 0..self.units.len() as u32 {
            if self.place[start as usize] == UNVISITED {
                self.visit(start);
                self.drain();
            }
        }
        self.walked
    }

    fn drain(&mut self) {
        // Behind the last point there is nothing left to reach, and each frontier would still grow to the bound.
        while self.walked.order.len() < self.units.len()
            && let Some(Reverse(Entry { key, kind })) = self.queue.pop()
        {
            match kind {
                Kind::Frontier(point) => self.move_frontier(point, key),
                // An entry is stale when its point was visited, or reached from nearer by; both leave it behind.
                Kind::Point(point) if self.place[point as usize] == UNVISITED => self.visit(point),
                Kind::Point(_) => {}
            }
        }
    }

    fn visit(&mut self, point: u32) {
        self.place[point as usize] = self.walked.order.len() as u32;
        self.walked.order.push(point);
        self.left.remove(&Left::new(self.units[point as usize], point));
        if self.walked.core[point as usize].is_finite() {
            self.list_neighbours(point);
        }
    }

    /// Offers the nearest neighbours of a point a way through it.
    fn list_neighbours(&mut self, point: u32) {
        let core = self.walked.core[point as usize];
        // The floor gets duplicates going (0.6 m).
        let radius = (2.0 * core).max(1e-14).min(self.bound);
        let within = self.tree.query(&self.units[point as usize]).within::<SquaredEuclidean<f64>>(radius);
        for near in within.unsorted().execute() {
            if self.place[near.item as usize] == UNVISITED {
                self.offer(point, near.item, near.distance.max(core));
            }
        }
        self.push_frontier(point, radius);
    }

    /// Everything nearer than `chord` has been visited: on to what is left beyond.
    fn move_frontier(&mut self, point: u32, chord: f64) {
        let unit = &self.units[point as usize];
        let Some(nearest) = self.left.nearest_neighbor(unit).map(|near| near.distance_2(unit)) else { return };
        if nearest > chord {
            return self.push_frontier(point, nearest);
        }
        let core = self.walked.core[point as usize];
        // A squared chord: twice as far. Those offered before are offered the same again.
        let radius = (4.0 * chord).min(self.bound);
        let near: Vec<(u32, f64)> =
            self.left.locate_within_distance(*unit, radius).map(|near| (near.data, near.distance_2(unit))).collect();
        near.into_iter().for_each(|(other, distance)| self.offer(point, other, distance.max(core)));
        self.push_frontier(point, radius);
    }

    fn push_frontier(&mut self, point: u32, chord: f64) {
        if chord < self.bound {
            self.queue.push(Reverse(Entry { key: chord, kind: Kind::Frontier(point) }));
        }
    }

    /// `other` can be reached from `point` over `chord`. Of equal ways the earliest visited point's counts.
    fn offer(&mut self, point: u32, other: u32, chord: f64) {
        let o = other as usize;
        let best = self.walked.reachability[o];
        let earlier = |p: u32| self.place[point as usize] < self.place[p as usize];
        if chord < best {
            self.walked.reachability[o] = chord;
            self.walked.predecessor[o] = Some(point);
            self.queue.push(Reverse(Entry { key: chord, kind: Kind::Point(other) }));
        } else if chord == best && self.walked.predecessor[o].is_some_and(earlier) {
            self.walked.predecessor[o] = Some(point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    /// Points on the equator, `km` east of the Greenwich meridian.
    fn line(km: &[f64]) -> Vec<LatLon> {
        km.iter().map(|km| LatLon::wrapped(0.0, (km / EARTH_RADIUS_KM).to_degrees())).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!(f == e || (f - e).abs() < 1e-6, "{found:?} should be {expected:?}");
        }
    }

    /// Textbook OPTICS in O(n^2): the whole neighbourhood of each point, a linear search for the next one.
    fn textbook(points: &[LatLon], min_samples: usize, max_eps_km: f64) -> Ordering {
        let n = points.len();
        let d = |a: usize, b: usize| homing_models::geo::unit_distance_km(points[a].unit(), points[b].unit());
        let core = |a: usize| {
            let mut all: Vec<f64> = (0..n).map(|b| d(a, b)).collect();
            all.sort_by(f64::total_cmp);
            all.get(min_samples - 1).copied().filter(|c| *c <= max_eps_km).unwrap_or(f64::INFINITY)
        };
        let core_km: Vec<f64> = (0..n).map(core).collect();
        let (mut reach, mut predecessor) = (vec![f64::INFINITY; n], vec![None; n]);
        let (mut order, mut left): (Vec<u32>, Vec<usize>) = (Vec::new(), (0..n).collect());
        while let Some(next) = left.iter().copied().min_by(|&a, &b| reach[a].total_cmp(&reach[b]).then(a.cmp(&b))) {
            left.retain(|&p| p != next);
            order.push(next as u32);
            for &o in left.iter().filter(|&&o| core_km[next].is_finite() && d(next, o) <= max_eps_km) {
                let way = core_km[next].max(d(next, o));
                if way < reach[o] {
                    (reach[o], predecessor[o]) = (way, Some(next as u32));
                }
            }
        }
        Ordering { order, reachability_km: reach, core_km, predecessor }
    }

    #[test]
    fn two_groups_on_a_line() {
        let found = optics(&line(&[0.0, 1.0, 3.0, 100.0, 101.0]), 2, 1000.0);
        assert_eq!(found.order, [0, 1, 2, 3, 4]);
        assert_close(&found.core_km, &[1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_close(&found.reachability_km, &[f64::INFINITY, 1.0, 2.0, 97.0, 1.0]);
        assert_eq!(found.predecessor, [None, Some(0), Some(1), Some(2), Some(3)]);
        // With a bound of 50 km the second group begins anew.
        let bounded = optics(&line(&[0.0, 1.0, 3.0, 100.0, 101.0]), 2, 50.0);
        assert_eq!(bounded.reachability_km[3], f64::INFINITY);
        assert_eq!(bounded.predecessor[3], None);
    }

    #[test]
    fn the_antimeridian_and_the_pole_are_ordinary_places() {
        let east = optics(&[at(0.0, 179.99), at(0.0, -179.99), at(0.0, 179.97)], 2, 100.0);
        assert!(east.reachability_km[1..].iter().all(|r| (r - 2.2239).abs() < 1e-4));
        let pole = optics(&[at(89.99, 0.0), at(89.99, 180.0)], 2, 100.0);
        assert!((pole.reachability_km[1] - 2.2239).abs() < 1e-3);
    }

    #[test]
    fn few_and_equal_points() {
        assert_eq!(optics(&[], 3, 10.0).order, Vec::<u32>::new());
        let lonely = optics(&[at(1.0, 1.0), at(1.0, 1.1)], 3, 1000.0);
        assert!(lonely.reachability_km.iter().all(|r| r.is_infinite()));
        let same = optics(&vec![at(48.0, 2.0); 500], 5, f64::INFINITY);
        assert_eq!(same.order, (0..500).collect::<Vec<u32>>());
        assert!(same.reachability_km[1..].iter().all(|&r| r == 0.0));
    }

    #[test]
    fn moving_frontiers_give_the_textbook_order() {
        let mut rng = homing_planet::hash::Rng::new(7);
        for (case, (min_samples, eps)) in
            [(2, 300.0), (5, 40.0), (3, f64::INFINITY), (8, 1500.0)].into_iter().enumerate()
        {
            let points: Vec<LatLon> = (0..300)
                .map(|i| {
                    let town = at(f64::from(i % 7) * 3.0 - 80.0 * f64::from(case as u32 % 2), 170.0 + f64::from(i % 7));
                    town.destination(f64::from(rng.range(0.0, 360.0)), f64::from(rng.range(0.0, 40.0 + i as f32)))
                })
                .collect();
            let (found, expected) = (optics(&points, min_samples, eps), textbook(&points, min_samples, eps));
            assert_eq!(found.order, expected.order);
            assert_eq!(found.predecessor, expected.predecessor);
            assert_close(&found.reachability_km, &expected.reachability_km);
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let mut rng = homing_planet::hash::Rng::new(3);
        let points: Vec<LatLon> = (0..2000)
            .map(|_| LatLon::wrapped(f64::from(rng.range(-5.0, 5.0)), f64::from(rng.range(-5.0, 5.0))))
            .collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| optics(&points, 6, 200.0))
        };
        assert_eq!(run(1), run(5));
    }
}
