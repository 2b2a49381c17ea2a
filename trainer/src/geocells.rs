//! Semantic geocells (poster, contribution 1): the classes of the model, drawn along administrative borders where the
//! world is sparse and along clusters of samples where it is dense.
//!
//! One cell for each second-level unit; small cells are fused inside their country (`merge`), large ones split by
//! OPTICS and a Voronoi tessellation (`split`). All on the sphere, and a function of the samples alone. For comparison
//! a recipe may ask for plain `rectangles` instead.

mod merge;
mod rectangles;
mod split;

use std::collections::BTreeMap;
use std::fmt;

use homing_models::geo::centroid;
use homing_models::geocells::{Cell, CellId, FormatError, Geocells, LabelledSite};
use rayon::prelude::*;

use crate::dataset::Sample;
use crate::recipe::GeocellRecipe;

/// A division of samples into geocells.
pub struct Division {
    /// The cells, sorted by country, first-level unit and place, with all samples as labelled sites.
    pub geocells: Geocells,
    /// The cell of each sample.
    pub cell_of: Vec<CellId>,
    /// For each cell, why its size is outside the recipe's bounds; `None` inside them.
    pub outside: Vec<Option<Outside>>,
}

/// Why a cell has fewer than `min` samples, or `max` or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// The whole country has fewer, and countries are never crossed.
    SmallCountry,
    /// More than half of its samples belong to one town, in which OPTICS finds no two clusters.
    DenseTown,
    /// OPTICS finds no two clusters of `min` samples in it.
    NoClusters,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outside::SmallCountry => "country has fewer than min samples",
            Outside::DenseTown => "could not be split: one dense town",
            Outside::NoClusters => "could not be split: no two clusters of min samples",
        })
    }
}

/// A cell in the making: samples of one country, and the first-level unit it belongs to.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    admin1: String,
    members: Vec<u32>,
}

/// Divides samples into geocells.
///
/// # Errors
/// When there are no samples.
pub fn divide(samples: &[Sample], recipe: &GeocellRecipe) -> Result<Division, FormatError> {
    let groups = match recipe.rectangles {
        Some(count) => rectangles::rectangles(samples, count as usize),
        None => semantic(samples, recipe),
    };
    let mut cells: Vec<(Cell, Vec<u32>)> = groups.into_iter().map(|group| finish(group, samples)).collect();
    let key = |(cell, members): &(Cell, Vec<u32>)| (cell.country, cell.admin1.clone(), cell.place.clone(), members[0]);
    cells.sort_by_cached_key(key);

    let mut cell_of = vec![CellId(0); samples.len()];
    for (id, (_, members)) in cells.iter().enumerate() {
        members.iter().for_each(|&m| cell_of[m as usize] = CellId(id as u32));
    }
    let (min, max) = (recipe.min as usize, recipe.max as usize);
    let semantic = recipe.rectangles.is_none();
    let reason = |(_, members): &(Cell, Vec<u32>)| semantic.then(|| reason(members, samples, min, max)).flatten();
    let outside = cells.iter().map(reason).collect();
    let sites = samples.iter().zip(&cell_of).map(|(s, &cell)| LabelledSite { position: s.position, cell }).collect();
    let geocells = Geocells::new(cells.into_iter().map(|(cell, _)| cell).collect(), sites)?;
    Ok(Division { geocells, cell_of, outside })
}

/// Second-level units, fused and split country by country.
fn semantic(samples: &[Sample], recipe: &GeocellRecipe) -> Vec<Group> {
    let mut countries = BTreeMap::<[u8; 2], BTreeMap<(&str, &str), Vec<u32>>>::new();
    for (i, s) in samples.iter().enumerate() {
        let units = countries.entry(s.country).or_default();
        units.entry((&s.admin1, &s.admin2)).or_default().push(i as u32);
    }
    let min = recipe.min as usize;
    // Countries are independent of each other, and collected in their order: threads cannot change the result.
    let by_country: Vec<Vec<Group>> = countries
        .into_par_iter()
        .map(|(_, units)| {
            let start =
                units.into_iter().map(|((admin1, _), members)| Group { admin1: admin1.to_owned(), members }).collect();
            let merged = merge::merge(start, samples, min);
            merged.into_par_iter().flat_map_iter(|group| split::split(group, samples, recipe)).collect()
        })
        .collect();
    by_country.into_iter().flatten().collect()
}

fn finish(mut group: Group, samples: &[Sample]) -> (Cell, Vec<u32>) {
    group.members.sort_unstable();
    let members = || group.members.iter().map(|&m| &samples[m as usize]);
    let first = members().next().expect("a group has members");
    // All are of one country, save in rectangles.
    let mut countries = BTreeMap::new();
    members().for_each(|s| *countries.entry(s.country).or_insert(0) += 1);
    let country = countries.into_iter().rev().max_by_key(|&(_, count)| count).map_or(first.country, |(c, _)| c);
    // The town of the most samples; `admin1` is that town's, since a fused cell may reach over its border.
    let (place, _) = commonest(members().map(|s| s.town.as_str()));
    let (admin1, _) = commonest(members().filter(|s| s.town == place).map(|s| s.admin1.as_str()));
    let cell = Cell {
        // Members of one cell never surround the planet; should they, any of them will do.
        centroid: centroid(members().map(|s| s.position)).unwrap_or(first.position),
        country,
        place: place.to_owned(),
        admin1: admin1.to_owned(),
        samples: group.members.len() as u32,
    };
    (cell, group.members)
}

/// The commonest name and its count; of equals the first in the alphabet.
pub(crate) fn commonest<'a>(names: impl Iterator<Item = &'a str>) -> (&'a str, usize) {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_insert(0) += 1);
    counts.into_iter().rev().max_by_key(|&(_, count)| count).unwrap_or_default()
}

fn reason(members: &[u32], samples: &[Sample], min: usize, max: usize) -> Option<Outside> {
    if members.len() < min {
        return Some(Outside::SmallCountry);
    }
    if members.len() < max {
        return None;
    }
    let (_, largest) = commonest(members.iter().map(|&m| samples[m as usize].town.as_str()));
    Some(if 2 * largest > members.len() { Outside::DenseTown } else { Outside::NoClusters })
}

impl Division {
    /// What a person wants to know of the division, as text.
    pub fn report(&self) -> String {
        let mut sizes: Vec<u32> = self.geocells.cells().iter().map(|c| c.samples).collect();
        sizes.sort_unstable();
        let countries: std::collections::BTreeSet<_> = self.geocells.cells().iter().map(|c| c.country).collect();
        let at = |share: f64| sizes[((sizes.len() - 1) as f64 * share) as usize];
        let mut text = format!(
            "{} geocells in {} countries from {} samples\nsamples in a cell: {} least, {} median, {} at 95 %, {} most\n",
            sizes.len(),
            countries.len(),
            self.cell_of.len(),
            at(0.0),
            at(0.5),
            at(0.95),
            at(1.0),
        );
        let mut reasons = BTreeMap::new();
        for (cell, outside) in self.geocells.cells().iter().zip(&self.outside) {
            if let Some(reason) = outside {
                let (cells, samples) = reasons.entry(*reason).or_insert((0, 0));
                (*cells, *samples) = (*cells + 1, *samples + cell.samples);
            }
        }
        for (reason, (cells, samples)) in reasons {
            text += &format!("outside the bounds: {cells} cells with {samples} samples: {reason}\n");
        }
        text
    }
}

#[cfg(test)]
#[path = "geocells/tests.rs"]
mod tests;
