//! What is known about the training sites, as the numbers that the loss compares with.

use homing_models::{Classification, Geocells, LatLon, TaskList};
use tch::{Device, Tensor};

use crate::dataset::{Gallery, Sample, regression_target};
use crate::recipe::{Smoothing, Training};
use crate::smoothing::{smoothed_targets, unnormalised_targets};

use super::loss::{NO_CLASS, Targets};

/// Labels of all sites of a gallery that do not change with the moment.
#[derive(Debug)]
pub struct Labels<'a> {
    tasks: &'a TaskList,
    positions: Vec<LatLon>,
    /// [sites, regressions], standardised, NaN where unknown.
    regressions: Vec<f32>,
    /// Climate zones.
    koeppen: Vec<i64>,
}

impl<'a> Labels<'a> {
    /// The labels of every site for these tasks.
    pub fn of(gallery: &dyn Gallery, tasks: &'a TaskList) -> Self {
        let samples = gallery.samples();
        let encoded = |s| tasks.regressions.iter().map(move |task| regression_target(task, s).unwrap_or(f32::NAN));
        Labels {
            tasks,
            positions: samples.iter().map(|s| s.position).collect(),
            regressions: samples.iter().flat_map(encoded).collect(),
            koeppen: samples.iter().map(|s: &Sample| s.labels.koeppen.map_or(NO_CLASS, |zone| zone as i64)).collect(),
        }
    }

    /// The targets of some sites, each with the variant of its pictures.
    pub fn targets(
        &self,
        gallery: &dyn Gallery,
        sites: &[(usize, u64)],
        geocells: &Geocells,
        training: &Training,
        device: Device,
    ) -> Targets {
        let (n, widths) = (sites.len() as i64, (self.tasks.regressions.len(), self.tasks.classifications.len()));
        let positions: Vec<LatLon> = sites.iter().map(|&(s, _)| self.positions[s]).collect();
        let mut smoothed = vec![0.0; sites.len() * geocells.len()];
        let own = || positions.iter().map(|&p| geocells.cell_of(p).index()).collect::<Vec<_>>();
        let (centroids, tau_km) = (geocells.centroid_units(), training.tau_km);
        match training.smoothing {
            Smoothing::Haversine => smoothed_targets(&positions, centroids, tau_km, &mut smoothed),
            Smoothing::Unnormalised => unnormalised_targets(&positions, &own(), centroids, tau_km, &mut smoothed),
            Smoothing::None => own().iter().enumerate().for_each(|(i, cell)| smoothed[i * geocells.len() + cell] = 1.0),
        }
        let values: Vec<f32> =
            sites.iter().flat_map(|&(s, _)| &self.regressions[s * widths.0..][..widths.0]).copied().collect();
        let class = |task: &Classification, (site, variant): (usize, u64)| match task.name.as_str() {
            "koeppen" => self.koeppen[site],
            "month" => gallery.month(site, variant).map_or(NO_CLASS, |month| month as i64),
            _ => NO_CLASS,
        };
        let chosen: Vec<i64> =
            sites.iter().flat_map(|&s| self.tasks.classifications.iter().map(move |task| class(task, s))).collect();
        Targets {
            cells: Tensor::from_slice(&smoothed).view([n, -1]).to_device(device),
            regressions: Tensor::from_slice(&values).view([n, widths.0 as i64]).to_device(device),
            classes: Tensor::from_slice(&chosen).view([n, widths.1 as i64]).to_device(device),
        }
    }
}
