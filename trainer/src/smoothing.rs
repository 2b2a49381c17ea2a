//! Haversine label smoothing (poster, Equation 2): a wrong cell nearby is less wrong than one far away.

use homing_models::LatLon;
use homing_models::geo::unit_distance_km;
use rayon::prelude::*;

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
        let mut nearest = f32::INFINITY;
        for (target, centroid) in row.iter_mut().zip(centroids) {
            *target = unit_distance_km(unit, *centroid) as f32;
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
