//! Prototypes (poster, contribution 6): the clusters of samples inside each geocell, and their mean embeddings.

use homing_models::CellId;
use homing_models::LatLon;
use homing_models::geo::centroid;
use homing_models::prototypes::{Cluster, PrototypesWriter};
use rayon::prelude::*;

use crate::dataset::Sample;
use crate::geocells::commonest;
use crate::optics::optics;
use crate::recipe::PrototypeRecipe;

/// Samples that stand for one prototype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleCluster {
    /// The cell they lie in.
    pub cell: CellId,
    /// Sample numbers, rising.
    pub members: Vec<u32>,
}

/// OPTICS clusters inside each of `cells` geocells, ordered by cell and first member. Noise is dropped; a cell with
/// fewer samples than `min_samples` is one cluster.
pub fn clusters(samples: &[Sample], cell_of: &[CellId], cells: usize, recipe: &PrototypeRecipe) -> Vec<SampleCluster> {
    let mut members = vec![Vec::new(); cells];
    cell_of.iter().enumerate().for_each(|(i, cell)| members[cell.index()].push(i as u32));
    let of_cell = |(i, members): (usize, Vec<u32>)| {
        let cell = CellId(i as u32);
        let min_samples = recipe.min_samples as usize;
        if members.len() < min_samples {
            let all = (!members.is_empty()).then_some(SampleCluster { cell, members });
            return all.into_iter().collect::<Vec<_>>();
        }
        let positions: Vec<LatLon> = members.iter().map(|&m| samples[m as usize].position).collect();
        let labels = optics(&positions, min_samples, f64::INFINITY).xi_labels(recipe.xi, min_samples);
        let mut found = Vec::new();
        for (&member, label) in members.iter().zip(labels) {
            let Some(label) = label.map(|l| l as usize) else { continue };
            if found.len() <= label {
                found.resize(label + 1, SampleCluster { cell, members: Vec::new() });
            }
            found[label].members.push(member);
        }
        found.sort_by_key(|cluster| cluster.members[0]);
        found
    };
    members.into_par_iter().enumerate().flat_map_iter(of_cell).collect()
}

/// The bytes of `prototypes.bin`: the mean embedding of each cluster, with the members' own when `keep_members`.
///
/// `embeddings` is [samples, dims] row-major. A cluster is named after the town of most of its members.
///
/// # Panics
/// When `embeddings` has another length.
pub fn prototypes(
    samples: &[Sample],
    clusters: &[SampleCluster],
    cells: usize,
    embeddings: &[f32],
    dims: usize,
    keep_members: bool,
) -> Vec<u8> {
    assert_eq!(embeddings.len(), samples.len() * dims);
    let mut writer = PrototypesWriter::new(dims);
    for cluster in clusters {
        let row = |m: u32| &embeddings[m as usize * dims..][..dims];
        let members = || cluster.members.iter().map(|&m| &samples[m as usize]);
        let n = cluster.members.len() as f64;
        let mean: Vec<f32> = (0..dims)
            .map(|c| (cluster.members.iter().map(|&m| f64::from(row(m)[c])).sum::<f64>() / n) as f32)
            .collect();
        let position = centroid(members().map(|s| s.position)).unwrap_or(samples[cluster.members[0] as usize].position);
        let spread_km = members().map(|s| s.position.distance_km(position)).sum::<f64>() / n;
        let kept = if keep_members { &cluster.members[..] } else { &[] };
        writer.push(&Cluster {
            cell: cluster.cell,
            embedding: &mean,
            position,
            place: commonest(members().map(|s| s.town.as_str())).0,
            spread_km: spread_km as f32,
            members: cluster.members.len() as u32,
            member_rows: kept.iter().map(|&m| (samples[m as usize].position, row(m))).collect(),
        });
    }
    writer.encode(cells)
}

#[cfg(test)]
mod tests {
    use homing_models::Prototypes;

    use super::*;
    use homing_models::sites::Labels;

    fn sample(lat: f64, lon: f64, town: &str) -> Sample {
        Sample {
            position: LatLon::new(lat, lon).unwrap(),
            country: *b"AA",
            admin1: String::new(),
            admin2: String::new(),
            town: town.to_owned(),
            labels: Labels::default(),
        }
    }

    /// Cell 0: two groups of three and a straggler. Cell 1: two samples. Cell 2: none.
    fn samples() -> (Vec<Sample>, Vec<CellId>) {
        let mut samples: Vec<Sample> = [0.0, 0.001, 0.002].iter().map(|&x| sample(x, 10.0, "A")).collect();
        samples.extend([0.5, 0.501, 0.502].iter().map(|&x| sample(x, 10.0, "B")));
        samples.push(sample(2.0, 10.0, "C"));
        samples.extend([5.0, 6.0].iter().map(|&x| sample(x, 10.0, "D")));
        let cells = [0, 0, 0, 0, 0, 0, 0, 1, 1].map(CellId).to_vec();
        (samples, cells)
    }

    const RECIPE: PrototypeRecipe = PrototypeRecipe { min_samples: 3, xi: 0.15, variants: 1 };

    #[test]
    fn groups_become_clusters_and_a_small_cell_is_one() {
        let (samples, cells) = samples();
        let found = clusters(&samples, &cells, 3, &RECIPE);
        let members: Vec<&[u32]> = found.iter().map(|c| &c.members[..]).collect();
        assert_eq!(members.last(), Some(&&[7, 8][..]));
        assert_eq!(members[0], [0, 1, 2]);
        assert!(members[1].starts_with(&[3, 4, 5]), "{members:?}");
    }

    #[test]
    fn a_prototype_is_the_mean_of_its_members() {
        let (samples, cells) = samples();
        let found = clusters(&samples, &cells, 3, &RECIPE);
        let embeddings: Vec<f32> = (0..samples.len()).flat_map(|i| [i as f32, 1.0, -2.0 * i as f32]).collect();
        let bytes = prototypes(&samples, &found, 3, &embeddings, 3, true);
        let read = Prototypes::from_bytes(bytes).unwrap();
        assert_eq!((read.len(), read.cells(), read.dims()), (found.len(), 3, 3));
        assert!(read.range(CellId(2)).is_empty());
        let first = read.get(read.range(CellId(0)).start);
        assert_eq!((first.place, first.members), ("A", 3));
        for (got, want) in first.embedding().zip([1.0, 1.0, -2.0]) {
            assert!((got - want).abs() < 0.02);
        }
        assert!((first.position.lat() - 0.001).abs() < 1e-6);
        assert!((first.spread_km - 2.0 / 3.0 * 0.11119).abs() < 1e-3);
        let near = read.nearest_member(read.range(CellId(0)).start, &[2.0, 1.0, -4.0]).unwrap();
        assert!((near.lat() - 0.002).abs() < 1e-6);
    }
}
