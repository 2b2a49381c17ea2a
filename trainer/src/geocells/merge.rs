//! Fusing small cells of one country until each holds enough samples.

use std::collections::BTreeSet;
use std::num::NonZero;

use kiddo::{ImmutableKdTree, SquaredEuclidean};

use super::Group;
use crate::dataset::Sample;

/// A cell's neighbours are the cells that own one of this many nearest foreign samples of any of its samples.
const NEAREST_FOREIGN: usize = 8;

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
    /// Points of each group.
    points: Vec<Vec<u32>>,
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
        let tree = ImmutableKdTree::new_from_slice(&units).ok();
        Country { groups, units, samples: numbers, owner, points, tree }
    }

    fn neighbours(&self, i: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let count = NonZero::new(self.points[i].len() + NEAREST_FOREIGN);
        let (Some(tree), Some(count)) = (&self.tree, count) else { return found };
        for &point in &self.points[i] {
            let near = tree.query(&self.units[point as usize]).nearest_n::<SquaredEuclidean<f64>>(count).execute();
            let owners = near.iter().map(|item| self.owner[item.item as usize]);
            found.extend(owners.filter(|&owner| owner != i).take(NEAREST_FOREIGN));
        }
        found
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
    }
}
