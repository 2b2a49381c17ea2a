//! The calibrated radius: how far the truth may lie from the guess, measured on held-out data.
//!
//! The spread of the cell probabilities around the guess says how sure the model is; a table fitted on
//! validation sites turns it into the radius that held 50 and 95 per cent of the true positions. Inside a
//! bin of similar spread the quantile is the conformal one (rank `ceil((n + 1) q)`, split conformal
//! prediction), made monotone over the bins by pooling adjacent violators.

use serde::{Deserialize, Serialize};

use crate::{
    geo::{EARTH_RADIUS_KM, LatLon, unit_distance_km},
    geocells::Geocells,
    likeliest::likeliest,
};

/// Cells that take part in the spread.
pub const SPREAD_CELLS: usize = 32;

/// Fewest sites a bin of the table is fitted on: below 19 a 95 per cent conformal quantile does not exist.
const MIN_BIN: usize = 60;
/// Most bins of a table.
const MAX_BINS: usize = 16;

/// Radii around a guess, in kilometres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Radius {
    /// Holds half of the true positions.
    #[serde(rename = "p50")]
    pub p50_km: f32,
    /// Holds 95 per cent of them.
    #[serde(rename = "p95")]
    pub p95_km: f32,
}

/// One step of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knot {
    /// Spread of the probabilities, km.
    pub spread_km: f64,
    /// Radius that held 50 per cent.
    pub p50_km: f64,
    /// Radius that held 95 per cent.
    pub p95_km: f64,
}

/// Spread to radius, by interpolation between measured knots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RadiusTable {
    /// Knots by rising spread; radii never fall.
    pub knots: Vec<Knot>,
}

impl RadiusTable {
    /// Fits the table to `(spread_km, error_km)` of held-out sites; `None` without finite values.
    pub fn fit(samples: &[(f64, f64)]) -> Option<Self> {
        let mut samples: Vec<(f64, f64)> =
            samples.iter().copied().filter(|(s, e)| s.is_finite() && e.is_finite()).collect();
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));
        let bins = (samples.len() / MIN_BIN).clamp(1, MAX_BINS);
        let mut rows = Vec::new();
        for b in 0..bins {
            let bin = &samples[b * samples.len() / bins..(b + 1) * samples.len() / bins];
            if bin.is_empty() {
                return None;
            }
            let spread = bin.iter().map(|s| s.0).sum::<f64>() / bin.len() as f64;
            let mut errors: Vec<f64> = bin.iter().map(|s| s.1).collect();
            errors.sort_by(f64::total_cmp);
            rows.push((spread, bin.len() as f64, conformal(&errors, 0.5), conformal(&errors, 0.95)));
        }
        let weights: Vec<f64> = rows.iter().map(|r| r.1).collect();
        let p50 = monotone(rows.iter().map(|r| r.2), &weights);
        let p95 = monotone(rows.iter().map(|r| r.3), &weights);
        let mut knots: Vec<Knot> = rows
            .iter()
            .zip(p50.into_iter().zip(p95))
            .map(|(r, (p50_km, p95_km))| Knot { spread_km: r.0, p50_km, p95_km: p95_km.max(p50_km) })
            .collect();
        knots.dedup_by(|b, a| b.spread_km <= a.spread_km);
        Some(RadiusTable { knots })
    }

    /// The radius for a spread. Below the first knot its values; above the last they grow with the spread.
    pub fn lookup(&self, spread_km: f64) -> Radius {
        let (Some(first), Some(last)) = (self.knots.first(), self.knots.last()) else {
            return Radius { p50_km: HALF_WAY_ROUND as f32, p95_km: HALF_WAY_ROUND as f32 };
        };
        let after = self.knots.partition_point(|k| k.spread_km <= spread_km);
        let (p50, p95) = if after == 0 {
            (first.p50_km, first.p95_km)
        } else if after == self.knots.len() {
            let grown = if last.spread_km > 0.0 { (spread_km / last.spread_km).max(1.0) } else { 1.0 };
            (last.p50_km * grown, last.p95_km * grown)
        } else {
            let (a, b) = (self.knots[after - 1], self.knots[after]);
            let t = (spread_km - a.spread_km) / (b.spread_km - a.spread_km);
            (a.p50_km + t * (b.p50_km - a.p50_km), a.p95_km + t * (b.p95_km - a.p95_km))
        };
        Radius { p50_km: p50.min(HALF_WAY_ROUND) as f32, p95_km: p95.min(HALF_WAY_ROUND) as f32 }
    }

    /// What is wrong with the table, if anything.
    pub fn fault(&self) -> Option<String> {
        if self.knots.is_empty() {
            return Some("radius: the table is empty".to_owned());
        }
        let sound = |k: &Knot| {
            [k.spread_km, k.p50_km, k.p95_km].iter().all(|v| v.is_finite() && *v >= 0.0) && k.p95_km >= k.p50_km
        };
        if let Some(i) = self.knots.iter().position(|k| !sound(k)) {
            return Some(format!("radius: knot {i} needs finite numbers with p95_km >= p50_km >= 0"));
        }
        let rising =
            |w: &[Knot]| w[0].spread_km < w[1].spread_km && w[0].p50_km <= w[1].p50_km && w[0].p95_km <= w[1].p95_km;
        (!self.knots.windows(2).all(rising)).then(|| "radius: the knots do not rise".to_owned())
    }
}

const HALF_WAY_ROUND: f64 = EARTH_RADIUS_KM * std::f64::consts::PI;

/// The conformal quantile of sorted errors; the largest when the rank lies beyond them.
fn conformal(sorted: &[f64], q: f64) -> f64 {
    let rank = ((sorted.len() + 1) as f64 * q).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Weighted isotonic regression by pooling adjacent violators.
fn monotone(values: impl Iterator<Item = f64>, weights: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new(); // mean, weight, entries
    for (value, &weight) in values.zip(weights) {
        pools.push((value, weight, 1));
        while let [.., a, b] = pools[..]
            && a.0 > b.0
        {
            pools.truncate(pools.len() - 2);
            pools.push(((a.0 * a.1 + b.0 * b.1) / (a.1 + b.1), a.1 + b.1, a.2 + b.2));
        }
    }
    pools.into_iter().flat_map(|(mean, _, n)| std::iter::repeat_n(mean, n)).collect()
}

/// The spread of the cell probabilities around a guess: the mean distance, in kilometres, from the guess to
/// the centroids of the [`SPREAD_CELLS`] most probable cells, weighted by probability. Allocates nothing.
///
/// # Panics
/// When `probabilities` are not one per cell.
pub fn spread_km(geocells: &Geocells, probabilities: &[f32], guess: LatLon) -> f64 {
    assert_eq!(probabilities.len(), geocells.len(), "one probability per cell");
    let guess = guess.unit();
    let (mut sum, mut total) = (0.0, 0.0);
    for i in likeliest::<SPREAD_CELLS>(probabilities, SPREAD_CELLS) {
        let p = probabilities[i];
        sum += f64::from(p) * unit_distance_km(guess, geocells.centroid_units()[i]);
        total += f64::from(p);
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geocells::Cell;

    fn chance(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*state >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Errors whose scale grows with the spread, heavy-tailed (exponential squared).
    fn synthetic(n: usize, state: &mut u64) -> Vec<(f64, f64)> {
        (0..n)
            .map(|_| {
                let spread = 1000.0 * chance(state).powi(2) + 5.0;
                (spread, spread * 0.4 * (-(1.0 - chance(state)).ln()).powi(2))
            })
            .collect()
    }

    #[test]
    fn the_radius_covers_what_it_claims_on_fresh_data() {
        let mut state = 3;
        let table = RadiusTable::fit(&synthetic(6000, &mut state)).unwrap();
        assert_eq!(table.fault(), None);
        let fresh = synthetic(20_000, &mut state);
        let share = |inside: &dyn Fn(Radius, f64) -> bool| {
            fresh.iter().filter(|(s, e)| inside(table.lookup(*s), *e)).count() as f64 / fresh.len() as f64
        };
        let half = share(&|r, e| e <= f64::from(r.p50_km));
        let most = share(&|r, e| e <= f64::from(r.p95_km));
        assert!((half - 0.5).abs() < 0.03, "{half}");
        assert!((most - 0.95).abs() < 0.015, "{most}");
    }

    #[test]
    fn radii_never_fall_with_the_spread_even_on_misleading_data() {
        let mut state = 11;
        // Errors that fall with the spread: the best monotone table is flat.
        let samples: Vec<(f64, f64)> =
            (0..1000).map(|i| (f64::from(i), f64::from(1000 - i) * chance(&mut state))).collect();
        let table = RadiusTable::fit(&samples).unwrap();
        let radii: Vec<Radius> = (0..300).map(|i| table.lookup(f64::from(i) * 10.0)).collect();
        assert!(radii.windows(2).all(|w| w[0].p50_km <= w[1].p50_km && w[0].p95_km <= w[1].p95_km));
        assert!(radii.iter().all(|r| r.p50_km <= r.p95_km && r.p95_km <= 20_016.0));
    }

    #[test]
    fn few_samples_give_the_plain_conformal_quantile() {
        let samples: Vec<(f64, f64)> = (1..=19).map(|i| (5.0, f64::from(i))).collect();
        let r = RadiusTable::fit(&samples).unwrap().lookup(5.0);
        assert_eq!((r.p50_km, r.p95_km), (10.0, 19.0), "ranks ceil(20 q)");
        assert_eq!(RadiusTable::fit(&[(f64::NAN, 1.0)]), None);
    }

    #[test]
    fn the_spread_is_the_mean_distance_of_the_probable_cells() {
        let cell = |lat| Cell {
            centroid: LatLon::new(lat, 0.0).unwrap(),
            country: *b"XX",
            place: String::new(),
            admin1: String::new(),
            samples: 1,
        };
        let g = Geocells::new((0..50).map(|i| cell(f64::from(i))).collect(), vec![]).unwrap();
        let mut p = vec![0f32; 50];
        (p[0], p[2]) = (0.75, 0.25);
        let degree = EARTH_RADIUS_KM.to_radians();
        assert!((spread_km(&g, &p, LatLon::new(0.0, 0.0).unwrap()) - 0.5 * degree).abs() < 1e-6);
        assert!((spread_km(&g, &p, LatLon::new(1.0, 0.0).unwrap()) - degree).abs() < 1e-6);
    }
}
