//! Haversine label smoothing (poster, Equation 2): a wrong cell nearby is less wrong than one far away.

use std::f64::consts::PI;

use homing_models::LatLon;
use homing_models::geo::{EARTH_RADIUS_KM, unit_distance_km};
use rayon::prelude::*;

/// Cells farther than the nearest one by so many tau weigh nothing that a sum of `f32` would show: e^-30 is 1e-13.
const REACH_TAUS: f64 = 30.0;
/// What the cosine of two near places may be off by, in `f32`.
const COSINE_KM: f64 = 5.0;

/// Writes one row of targets for each position: `rows[i * cells + j]` proportional to
/// `exp(-(d(x_i, g_j) - d(x_i, g_true)) / tau)`, each row summing to 1.
///
/// `x` is the position, `g` the centroid of a cell as a unit vector. After normalising the true cell's distance
/// cancels; what is subtracted here is the nearest one's, so that nothing underflows.
///
/// # Panics
/// When `rows` has another length than positions times cells.
pub fn smoothed_targets(positions: &[LatLon], centroids: &[[f64; 3]], tau_km: f64, rows: &mut [f32]) {
    assert_eq!(rows.len(), positions.len() * centroids.len());
    rows.par_chunks_exact_mut(centroids.len()).zip(positions).for_each(|(row, position)| {
        let unit = position.unit();
        // Few cells are within reach, and cosines tell which much faster than distances.
        let mut highest = f32::NEG_INFINITY;
        for (cosine, centroid) in row.iter_mut().zip(centroids) {
            *cosine = dot(unit, *centroid) as f32;
            highest = highest.max(*cosine);
        }
        let reach = f64::from(highest).clamp(-1.0, 1.0).acos() + (REACH_TAUS * tau_km + COSINE_KM) / EARTH_RADIUS_KM;
        let least = if reach < PI { reach.cos() as f32 } else { f32::NEG_INFINITY };
        let mut nearest = f32::INFINITY;
        for (target, centroid) in row.iter_mut().zip(centroids) {
            let within = *target >= least;
            *target = if within { unit_distance_km(unit, *centroid) as f32 } else { f32::INFINITY };
            nearest = nearest.min(*target);
        }
        let mut sum = 0.0;
        for target in row.iter_mut() {
            *target = ((nearest - *target) / tau_km as f32).exp();
            sum += *target;
        }
        row.iter_mut().for_each(|target| *target /= sum);
    });
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// As [`smoothed_targets`], but as the paper writes it: 1 for the cell `own[i]` that holds the position, and more for a
/// cell whose centroid is nearer.
///
/// # Panics
/// When `rows` has another length than positions times cells.
pub fn unnormalised_targets(
    positions: &[LatLon],
    own: &[usize],
    centroids: &[[f64; 3]],
    tau_km: f64,
    rows: &mut [f32],
) {
    smoothed_targets(positions, centroids, tau_km, rows);
    for (row, &own) in rows.chunks_exact_mut(centroids.len()).zip(own) {
        // A cell so far from its own site that its target vanished would blow the others up.
        let scale = row[own].max(1e-6).recip();
        row.iter_mut().for_each(|target| *target *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    #[test]
    fn one_tau_farther_is_e_times_less() {
        // Centroids 10 km and 85 km from the position, on a meridian.
        let start = at(10.0, 20.0);
        let centroids = [start.destination(0.0, 10.0), start.destination(180.0, 85.0)].map(LatLon::unit);
        let mut row = [0.0; 2];
        smoothed_targets(&[start], &centroids, 75.0, &mut row);
        assert!((row[0] / row[1] - std::f32::consts::E).abs() < 1e-3);
        assert!((row[0] + row[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn cells_out_of_reach_make_no_difference() {
        let units: Vec<[f64; 3]> =
            (0..5000).map(|i| at(f64::from(i % 160) - 80.0, f64::from(i) * 0.072 - 180.0).unit()).collect();
        for (position, tau_km) in [(at(47.3, 8.5), 75.0), (at(-85.0, 10.0), 20.0), (at(0.0, 179.9), 750.0)] {
            let mut row = vec![0.0; units.len()];
            smoothed_targets(&[position], &units, tau_km, &mut row);
            let distances: Vec<f64> = units.iter().map(|&u| unit_distance_km(position.unit(), u)).collect();
            let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
            let plain: Vec<f64> = distances.iter().map(|d| ((nearest - d) / tau_km).exp()).collect();
            let sum: f64 = plain.iter().sum();
            for (found, plain) in row.iter().zip(plain) {
                assert!((f64::from(*found) - plain / sum).abs() < 1e-4 * plain / sum + 1e-12);
            }
        }
        let mut row = vec![0.0; units.len()];
        smoothed_targets(&[at(47.3, 8.5)], &units, 0.001, &mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "however small tau is, the nearest has it");
    }

    #[test]
    fn the_paper_form_is_the_same_up_to_a_factor() {
        let centroids: Vec<LatLon> = (0..50).map(|i| at(f64::from(i) - 25.0, f64::from(i * 7 % 360) - 180.0)).collect();
        let units: Vec<[f64; 3]> = centroids.iter().map(|c| c.unit()).collect();
        let (x, truth) = (at(3.0, -177.0), 28);
        let mut row = vec![0.0; 50];
        smoothed_targets(&[x], &units, 750.0, &mut row);
        let paper = |j: usize| (-(x.distance_km(centroids[j]) - x.distance_km(centroids[truth])) / 750.0).exp();
        let mut plain = vec![0.0; 50];
        let own = (0..50).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        unnormalised_targets(&[x], &[own], &units, 750.0, &mut plain);
        for (j, found) in plain.iter().enumerate() {
            let expected = paper(j) / paper(own);
            assert!((f64::from(*found) - expected).abs() < 1e-3 * expected + 1e-9, "{j}");
        }
        for j in 0..50 {
            let expected = paper(j) as f32 * row[truth];
            assert!((row[j] - expected).abs() < 1e-4 * expected + 1e-9, "{j}");
        }
    }

    #[test]
    fn a_position_far_from_all_cells_has_targets_too() {
        let mut row = [0.0; 2];
        smoothed_targets(&[at(0.0, 180.0)], &[at(0.0, 0.0).unit(), at(1.0, 0.0).unit()], 5.0, &mut row);
        assert!(row.iter().all(|t| t.is_finite()) && (row[0] + row[1] - 1.0).abs() < 1e-6);
    }
}
