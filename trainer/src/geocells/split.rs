//! Splitting large cells along the clusters of their samples.

use homing_models::LatLon;
use kiddo::{ImmutableKdTree, SquaredEuclidean};

use super::Group;
use crate::dataset::Sample;
use crate::optics::optics;
use crate::recipe::GeocellRecipe;

/// Splits a group until each part has fewer than `max` members or no round of the recipe finds two clusters in it.
pub(super) fn split(group: Group, samples: &[Sample], recipe: &GeocellRecipe) -> Vec<Group> {
    let (mut done, mut left) = (Vec::new(), vec![(group, 0)]);
    while let Some((group, round)) = left.pop() {
        let Some(&(min_samples, xi)) = recipe.rounds.get(round) else {
            done.push(group);
            continue;
        };
        if group.members.len() < recipe.max as usize {
            done.push(group);
            continue;
        }
        let positions: Vec<LatLon> = group.members.iter().map(|&m| samples[m as usize].position).collect();
        let labels = clusters(&positions, min_samples as usize, xi, recipe.min as usize);
        let parts = labels.iter().flatten().max().map_or(0, |&last| last as usize + 1);
        if parts < 2 {
            left.push((group, round + 1));
            continue;
        }
        let mut members = vec![Vec::new(); parts];
        for (&member, part) in group.members.iter().zip(voronoi(&positions, &labels)) {
            members[part as usize].push(member);
        }
        // A part that is still too large is tried from the same round on.
        left.extend(members.into_iter().map(|members| (Group { admin1: group.admin1.clone(), members }, round)));
    }
    done
}

/// OPTICS clusters of at least `min` points, labelled from 0; everything else is noise.
fn clusters(positions: &[LatLon], min_samples: usize, xi: f64, min: usize) -> Vec<Option<u32>> {
    let labels = optics(positions, min_samples, f64::INFINITY).xi_labels(xi, min_samples);
    let mut sizes = vec![0; positions.len()];
    labels.iter().flatten().for_each(|&l| sizes[l as usize] += 1);
    let mut next = 0;
    let renamed: Vec<Option<u32>> = sizes
        .iter()
        .map(|&size| {
            (size >= min.max(1)).then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    labels.iter().map(|label| label.and_then(|l| renamed[l as usize])).collect()
}

/// Assigns each position to the cluster of the nearest clustered position. At least one position has a label.
fn voronoi(positions: &[LatLon], labels: &[Option<u32>]) -> Vec<u32> {
    let clustered: Vec<([f64; 3], u32)> =
        positions.iter().zip(labels).filter_map(|(p, label)| label.map(|l| (p.unit(), l))).collect();
    let units: Vec<[f64; 3]> = clustered.iter().map(|(unit, _)| *unit).collect();
    let tree = ImmutableKdTree::<f64, 3>::new_from_slice(&units).expect("clustered points are finite and not none");
    let nearest = |p: &LatLon| {
        let found = tree.query(&p.unit()).nearest_one::<SquaredEuclidean<f64>>().execute();
        clustered[found.item as usize].1
    };
    positions.iter().zip(labels).map(|(p, label)| label.unwrap_or_else(|| nearest(p))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_goes_to_the_nearest_clustered_point_over_the_antimeridian() {
        let at = |lon: f64| LatLon::new(0.0, lon).unwrap();
        let positions = [at(179.0), at(170.0), at(-179.5), at(175.0), at(-171.0)];
        let labels = [Some(0), None, None, Some(1), None];
        assert_eq!(voronoi(&positions, &labels), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn small_clusters_are_noise() {
        let mut rng = homing_planet::hash::Rng::new(1);
        let mut around = |lat: f64, n: usize| -> Vec<LatLon> {
            let mut one = || LatLon::wrapped(lat + 0.01 * f64::from(rng.normal()), 0.01 * f64::from(rng.normal()));
            (0..n).map(|_| one()).collect()
        };
        let positions = [around(0.0, 40), around(1.0, 12), around(2.0, 40)].concat();
        let large = clusters(&positions, 8, 0.05, 10);
        let only_two = clusters(&positions, 8, 0.05, 30);
        let count = |labels: &[Option<u32>]| labels.iter().flatten().max().map_or(0, |m| m + 1);
        assert_eq!((count(&large), count(&only_two)), (3, 2), "{large:?}");
        assert!(only_two[40..52].iter().all(|l| l.is_none()));
    }
}
