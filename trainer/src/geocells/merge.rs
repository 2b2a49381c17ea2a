//! Fusing small cells of one country until each holds enough samples.

use std::collections::BTreeSet;
use std::num::NonZero;

use kiddo::{ImmutableKdTree, SquaredEuclidean};

use super::Group;
use crate::dataset::Sample;

/// So many groups with the nearest centroids are looked at for neighbours.
const CANDIDATES: usize = 24;

/// Fuses the groups of one country until each has `min` members, or there is one left.
///
/// The smallest goes first, into the largest of the best kind of neighbour: a small one in the same first-level unit,
/// any in the same unit, a small one elsewhere, any elsewhere.
pub(super) fn merge(groups: Vec<Group>, samples: &[Sample], min: usize) -> Vec<Group> {
    let mut country = Country::new(groups, samples);
    // Ties go by number, which is the order of the units' names.
    let mut small: BTreeSet<(usize, usize)> =
        country.groups.iter().enumerate().map(|(i, g)| (g.members.len(), i)).filter(|&(n, _)| n < min).collect();
    while let Some((size, i)) = small.pop_first() {
        let Some(target) = country.best_neighbour(i, min) else { continue };
        let target_size = country.groups[target].members.len();
        small.remove(&(target_size, target));
        country.fuse(i, target);
        if target_size + size < min {
            small.insert((target_size + size, target));
        }
    }
    country.groups.into_iter().filter(|g| !g.members.is_empty()).collect()
}

/// The groups of a country and where their members lie.
struct Country {
    groups: Vec<Group>,
    units: Vec<[f64; 3]>,
    /// Sample number of each point of the tree.
    samples: Vec<u32>,
    /// Group of each point of the tree.
    owner: Vec<usize>,
    /// Points of each group; empty once it has been fused into another.
    points: Vec<Vec<u32>>,
    /// Sum of the unit vectors of each group.
    sums: Vec<[f64; 3]>,
    tree: Option<ImmutableKdTree<f64, 3>>,
}

impl Country {
    fn new(groups: Vec<Group>, samples: &[Sample]) -> Self {
        let (mut numbers, mut owner, mut points) = (Vec::new(), Vec::new(), Vec::new());
        for (i, group) in groups.iter().enumerate() {
            points.push((numbers.len() as u32..(numbers.len() + group.members.len()) as u32).collect());
            numbers.extend(&group.members);
            owner.resize(numbers.len(), i);
        }
        let units: Vec<[f64; 3]> = numbers.iter().map(|&m| samples[m as usize].position.unit()).collect();
        let mut sums = vec![[0.0; 3]; groups.len()];
        units.iter().zip(&owner).for_each(|(unit, &i)| sums[i] = sum(sums[i], *unit));
        let tree = ImmutableKdTree::new_from_slice(&units).ok();
        Country { groups, units, samples: numbers, owner, points, sums, tree }
    }

    /// The owners of the points nearest to a place, nearest first.
    fn owners_near(&self, place: &[f64; 3], count: usize) -> impl Iterator<Item = usize> {
        let near = self
            .tree
            .as_ref()
            .zip(NonZero::new(count))
            .map(|(tree, count)| tree.query(place).nearest_n::<SquaredEuclidean<f64>>(count).execute());
        near.into_iter().flatten().map(|item| self.owner[item.item as usize])
    }

    /// The groups that lie next to group `i`: no sample of a third group is nearer to the middle between the two
    /// (Gabriel's criterion, on their nearest samples).
    fn neighbours(&self, i: usize) -> Vec<usize> {
        let centre = direction(self.sums[i]);
        let mut candidates: Vec<(f64, usize)> = (0..self.groups.len())
            .filter(|&other| other != i && !self.points[other].is_empty())
            .map(|other| (chord(centre, direction(self.sums[other])), other))
            .collect();
        if candidates.len() > CANDIDATES {
            candidates.select_nth_unstable_by(CANDIDATES, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            candidates.truncate(CANDIDATES);
        }
        // The owner of the nearest sample of all is a neighbour wherever its centroid lies.
        let members = self.points[i].iter().map(|&p| &self.units[p as usize]);
        let foreign = |unit: &[f64; 3]| self.owners_near(unit, self.points[i].len() + 1).find(|&owner| owner != i);
        let nearest: BTreeSet<usize> = members.filter_map(foreign).collect();
        let known = candidates.into_iter().map(|(_, other)| other);
        let all: BTreeSet<usize> = known.chain(nearest.iter().copied()).collect();
        let next_to: Vec<usize> = all.into_iter().filter(|&other| self.is_next_to(i, other)).collect();
        if next_to.is_empty() { nearest.into_iter().collect() } else { next_to }
    }

    fn is_next_to(&self, i: usize, other: usize) -> bool {
        let nearest_of = |group: usize, place: [f64; 3]| {
            let units = self.points[group].iter().map(|&p| self.units[p as usize]);
            units.min_by(|a, b| chord(*a, place).total_cmp(&chord(*b, place))).unwrap_or(place)
        };
        let theirs = nearest_of(other, direction(self.sums[i]));
        let ours = nearest_of(i, theirs);
        let theirs = nearest_of(other, ours);
        let middle = direction(sum(ours, theirs));
        self.owners_near(&middle, 1).all(|owner| owner == i || owner == other)
    }

    fn best_neighbour(&self, i: usize, min: usize) -> Option<usize> {
        let rank = |&other: &usize| {
            let group = &self.groups[other];
            let same_unit = group.admin1 == self.groups[i].admin1;
            let is_small = group.members.len() < min;
            // Greater is better; of equals the one with the lower number.
            (same_unit, is_small, group.members.len(), std::cmp::Reverse(other))
        };
        self.neighbours(i).into_iter().max_by_key(rank)
    }

    fn fuse(&mut self, from: usize, into: usize) {
        let points = std::mem::take(&mut self.points[from]);
        for &point in &points {
            self.owner[point as usize] = into;
            self.groups[into].members.push(self.samples[point as usize]);
        }
        self.groups[from].members.clear();
        self.points[into].extend(points);
        self.sums[into] = sum(self.sums[into], self.sums[from]);
    }
}

fn sum(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|k| a[k] + b[k])
}

fn chord(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|k| (a[k] - b[k]).powi(2)).sum()
}

/// The unit vector along `v`; opposite vectors have no middle, any will do.
fn direction(v: [f64; 3]) -> [f64; 3] {
    let length = chord(v, [0.0; 3]).sqrt();
    if length > 1e-12 { v.map(|x| x / length) } else { [0.0, 0.0, 1.0] }
}
