//! Track: estimates over time. Fixes that agree, given how far a vehicle can have gone, support each other.
//!
//! A tracked fix is where the recent candidates agree best. Its radius is never tighter than what the newest
//! estimate claims for itself: agreement of a model with itself is no evidence of accuracy.

use std::time::SystemTime;

use homing_models::{Candidate, LatLon, Radius, geo::unit_distance_km};

use crate::locate::Estimate;

/// Estimates that are remembered.
pub const WINDOW: usize = 8;
/// Candidates of each that take part.
const CANDIDATES: usize = 5;
/// What a road vehicle can do.
const MAX_SPEED_KM_H: f64 = 130.0;
/// How much an estimate counts that is one fix older.
const FADING: f64 = 0.85;
/// No place is farther away.
const HALF_WAY_ROUND_KM: f32 = 20_015.0;
/// Two candidates cannot be told apart below this distance.
const RESOLUTION_KM: f64 = 15.0;

/// A position over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tracked {
    /// Where the vehicle is thought to be.
    pub position: LatLon,
    /// How far the truth may be.
    pub radius: Radius,
    /// The candidate, of any estimate in the window, that is best supported.
    pub candidate: Candidate,
    /// Estimates in the window that support it, the newest included.
    pub support: usize,
}

struct Remembered {
    time: SystemTime,
    radius: Radius,
    candidates: heapless::Vec<Remembrance, CANDIDATES>,
}

/// A candidate of a remembered estimate.
struct Remembrance {
    candidate: Candidate,
    at: [f64; 3],
    /// How strongly each estimate of the window agrees that the vehicle was there, the oldest first.
    agreed: heapless::Vec<f64, WINDOW>,
}

/// The recent estimates.
#[derive(Default)]
pub struct Track {
    window: heapless::Deque<Remembered, WINDOW>,
}

impl Track {
    /// An empty track.
    pub fn new() -> Self {
        Track::default()
    }

    /// Adds an estimate and answers with the consensus.
    pub fn push(&mut self, time: SystemTime, estimate: &Estimate) -> Tracked {
        self.remember(time, estimate);
        let mut best = (0.0, estimate.candidates[0], time, estimate.position().unit());
        for (age, from) in self.window.iter().rev().enumerate() {
            for place in &from.candidates {
                let faded = place.agreed.iter().rev().enumerate().map(|(age, share)| FADING.powi(age as i32) * share);
                // Of equally supported candidates the newest stays.
                let support = faded.sum::<f64>() * FADING.powi(age as i32);
                if support > best.0 + 1e-9 {
                    best = (support, place.candidate, from.time, place.at);
                }
            }
        }
        let (_, candidate, when, at) = best;
        let (mut sum, mut support) = ([0.0; 3], 0);
        for (age, from) in self.window.iter().rev().enumerate() {
            let (share, unit) = from.agreement(at, when);
            (0..3).for_each(|i| sum[i] += share * FADING.powi(age as i32) * unit[i]);
            support += usize::from(share > 0.1);
        }
        let position = LatLon::from_unit(sum).unwrap_or(candidate.position);
        let newest = estimate.radius;
        // Where the newest estimate and the consensus differ, both lie inside.
        let apart = position.distance_km(estimate.position()) as f32;
        let radius =
            Radius { p50_km: newest.p50_km, p95_km: newest.p95_km.max((apart + newest.p50_km).min(HALF_WAY_ROUND_KM)) };
        Tracked { position, radius, candidate, support }
    }

    /// Puts an estimate into the window. Whether two estimates agree does not change later: only this one is asked about the
    /// candidates of the others, and they about its own.
    fn remember(&mut self, time: SystemTime, estimate: &Estimate) {
        if self.window.is_full() {
            self.window.pop_front();
            for place in self.window.iter_mut().flat_map(|from| &mut from.candidates) {
                place.agreed.remove(0);
            }
        }
        let place = |c: &Candidate| Remembrance { candidate: *c, at: c.position.unit(), agreed: heapless::Vec::new() };
        let candidates = estimate.candidates.iter().take(CANDIDATES).map(place).collect();
        let mut newest = Remembered { time, radius: estimate.radius, candidates };
        for i in 0..newest.candidates.len() {
            let at = newest.candidates[i].at;
            let agreed = self.window.iter().chain([&newest]).map(|from| from.agreement(at, time).0).collect();
            newest.candidates[i].agreed = agreed;
        }
        for from in &mut self.window {
            for place in &mut from.candidates {
                // There is room, here and below: a full window lost its oldest entry above.
                let _ = place.agreed.push(newest.agreement(place.at, from.time).0);
            }
        }
        let _ = self.window.push_back(newest);
    }
}

impl Remembered {
    /// How strongly it agrees that the vehicle was at `at` at the time `when`, and the candidate that does. One speaks for
    /// all: what several say together favours places between many candidates, where none of them is.
    fn agreement(&self, at: [f64; 3], when: SystemTime) -> (f64, [f64; 3]) {
        let reach = reach_km(self, when);
        let share = |p: &Remembrance| f64::from(p.candidate.weight) * near(unit_distance_km(at, p.at), reach);
        let shares = self.candidates.iter().map(|place| (share(place), place.at));
        shares.fold((0.0, at), |best, next| if next.0 > best.0 { next } else { best })
    }
}

/// How far apart two candidates may be and still be the same vehicle's: the estimate's own uncertainty and
/// the way driven in between.
fn reach_km(from: &Remembered, when: SystemTime) -> f64 {
    let between = when.duration_since(from.time).unwrap_or_else(|e| e.duration());
    f64::from(from.radius.p50_km).clamp(RESOLUTION_KM, 200.0) + MAX_SPEED_KM_H * between.as_secs_f64() / 3600.0
}

fn near(distance_km: f64, reach_km: f64) -> f64 {
    (-0.5 * (distance_km / reach_km).powi(2)).exp()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homing_models::CellId;

    use super::*;

    fn estimate(candidates: &[(f64, f64, f32)], p50_km: f32) -> Estimate {
        let candidates: homing_models::refine::Candidates = candidates
            .iter()
            .enumerate()
            .map(|(i, (lat, lon, weight))| Candidate {
                cell: CellId(i as u32),
                probability: *weight,
                weight: *weight,
                position: LatLon::new(*lat, *lon).unwrap(),
                prototype: None,
            })
            .collect();
        Estimate {
            centroid: candidates[0].position,
            candidates,
            radius: Radius { p50_km, p95_km: 6.0 * p50_km },
            views: 4,
            tasks: heapless::Vec::new(),
        }
    }

    fn minutes(n: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(60 * n)
    }

    #[test]
    fn one_fix_is_itself() {
        let e = estimate(&[(48.0, 11.0, 0.7), (10.0, 20.0, 0.3)], 30.0);
        let t = Track::new().push(minutes(0), &e);
        assert!(t.position.distance_km(e.position()) < 1e-6 && t.support == 1);
        assert_eq!(t.radius, e.radius);
    }

    #[test]
    fn what_is_remembered_of_agreement_is_what_asking_anew_gives() {
        let mut track = Track::new();
        for i in 0..3 * WINDOW {
            // One to five candidates, near each other and far.
            let candidates: Vec<_> = (0..=i % CANDIDATES)
                .map(|c| (48.0 + 0.2 * c as f64, (7 * i * c % 90) as f64, 0.5 / (c + 1) as f32))
                .collect();
            track.push(minutes((i * i) as u64), &estimate(&candidates, 10.0 + i as f32));
            for from in &track.window {
                for place in &from.candidates {
                    let anew: Vec<f64> = track.window.iter().map(|e| e.agreement(place.at, from.time).0).collect();
                    assert_eq!(&place.agreed[..], &anew[..], "estimate {i}");
                }
            }
        }
    }

    #[test]
    fn an_outlier_is_outvoted_by_its_own_second_candidate() {
        let mut track = Track::new();
        for i in 0..5 {
            track.push(minutes(3 * i), &estimate(&[(48.0, 11.0 + 0.05 * i as f64, 0.8), (-30.0, 140.0, 0.2)], 40.0));
        }
        let wrong = estimate(&[(-20.0, -50.0, 0.6), (48.1, 11.3, 0.4)], 40.0);
        let t = track.push(minutes(15), &wrong);
        let truth = LatLon::new(48.0, 11.25).unwrap();
        assert!(t.position.distance_km(truth) < 60.0, "{}", t.position);
        assert_eq!(t.support, 6);
        let claimed = wrong.radius;
        assert!(t.radius.p50_km >= claimed.p50_km, "never tighter than the newest estimate");
        assert!(t.radius.p95_km as f64 > t.position.distance_km(wrong.position()), "the disagreement is inside");
    }

    #[test]
    fn a_place_between_many_unlikely_candidates_does_not_win() {
        let mut track = Track::new();
        let around = [(48.0, 11.0, 0.4), (50.0, 13.0, 0.2), (50.2, 13.0, 0.2), (50.0, 13.3, 0.2)];
        let t = (0..4).map(|i| track.push(minutes(i), &estimate(&around, 20.0))).last().unwrap();
        assert!(t.position.distance_km(LatLon::new(48.0, 11.0).unwrap()) < 1.0, "{}", t.position);
    }

    #[test]
    fn the_track_follows_a_vehicle_that_moves_on() {
        let mut track = Track::new();
        let mut last = None;
        for i in 0..40u64 {
            let here = LatLon::new(45.0, 5.0).unwrap().destination(60.0, 4.0 * i as f64);
            last = Some((track.push(minutes(3 * i), &estimate(&[(here.lat(), here.lon(), 1.0)], 20.0)), here));
        }
        let (tracked, here) = last.unwrap();
        assert!(tracked.position.distance_km(here) < 20.0, "lag {}", tracked.position.distance_km(here));
        assert_eq!(track.window.len(), WINDOW, "bounded");
    }

    #[test]
    fn after_a_ferry_of_a_day_the_old_place_is_given_up() {
        let mut track = Track::new();
        for i in 0..8 {
            track.push(minutes(i), &estimate(&[(48.0, 11.0, 1.0)], 20.0));
        }
        let mut t = None;
        for i in 0..5 {
            t = Some(track.push(minutes(1440 + i), &estimate(&[(35.0, 139.0, 1.0)], 20.0)));
        }
        assert!(t.unwrap().position.distance_km(LatLon::new(35.0, 139.0).unwrap()) < 400.0);
    }
}
