//! The validation during training: where the averaged weights' best cell lies, site by site.

use std::fmt;

use anyhow::Result;
use homing_models::figures::median;
use homing_models::{Geocells, LatLon};
use tch::Kind;

use crate::dataset::Gallery;
use crate::recipe::Recipe;

use super::embed::Panoramas;
use super::network::Network;

/// How the best cells' centroids did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    /// Best cell in the true country, per cent of the sites.
    pub country_per_cent: f64,
    /// Median distance between the best cell's centroid and the site.
    pub median_km: f64,
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "country {:.1} %, median {:.0} km", self.country_per_cent, self.median_km)
    }
}

/// Validation sites with their views in memory: they are asked many times.
#[derive(Debug)]
pub struct Examination {
    panoramas: Panoramas,
    truths: Vec<(LatLon, [u8; 2])>,
}

impl Examination {
    /// Reads the views of every site of a gallery.
    ///
    /// # Errors
    /// When a view cannot be read.
    pub fn load(gallery: &dyn Gallery, recipe: &Recipe) -> Result<Self> {
        let sites: Vec<usize> = (0..gallery.samples().len()).collect();
        let panoramas = Panoramas::load(gallery, &sites, recipe.tower.image_px as usize, 0)?;
        let truths = gallery.samples().iter().map(|s| (s.position, s.country)).collect();
        Ok(Examination { panoramas, truths })
    }

    /// The marks of a network.
    pub fn mark(&self, network: &Network, geocells: &Geocells) -> Marks {
        let embedded = self.panoramas.embed(network);
        let probabilities = network.predict(&embedded.tensor(network.variables.device()));
        let best = super::network::values(&probabilities[0].argmax(-1, false).to_kind(Kind::Float));
        let (mut distances, mut hits) = (Vec::with_capacity(best.len()), 0u32);
        for (cell, (position, country)) in best.iter().zip(&self.truths) {
            let cell = &geocells.cells()[*cell as usize];
            distances.push(cell.centroid.distance_km(*position));
            hits += u32::from(cell.country == *country);
        }
        let country_per_cent = 100.0 * f64::from(hits) / best.len().max(1) as f64;
        Marks { country_per_cent, median_km: median(distances) }
    }
}
