//! A finished run to a bundle: averaged weights as int8 graphs, geocells, prototypes, measured figures and the card.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use homing_kernels::Kernel;
use homing_models::bundle::{ENCODER, GEOCELLS, HEADS, PROTOTYPES};
use homing_models::figures::Evaluation;
use homing_models::manifest::{FORMAT, ImageInput};
use homing_models::{Bundle, BundleWriter, Manifest, Prototypes};
use homing_planet::Split;

use crate::card::{CARD, card};
use crate::dataset::{Gallery, PlanetGallery};
use crate::encoder_graph::{Precision, encoder_graph, heads_graph};
use crate::onnx::to_bytes;

use super::batch::views_per_step;
use super::evaluate::{Judge, Refinement};
use super::heads::outputs;
use super::network::{IMAGE_MEAN, IMAGE_STD, Network};
use super::predictor::{Exported, Predictor};
use super::prototypes::Calibration;
use super::workbench::Workbench;

/// The bytes of the two graphs.
#[derive(Clone, Debug)]
pub struct Graphs {
    /// `encoder.onnx`.
    pub encoder: Vec<u8>,
    /// `heads.onnx`.
    pub heads: Vec<u8>,
}

/// Writes a network's graphs.
///
/// # Errors
/// When a weight is not finite.
pub fn graphs(bench: &Workbench, network: &Network, precision: Precision) -> Result<Graphs> {
    let (tower, weights) = (&bench.recipe.tower, network.weights());
    let heads = outputs(bench.geocells.len(), &bench.tasks);
    Ok(Graphs {
        encoder: to_bytes(&encoder_graph(tower, &weights, precision)?),
        heads: to_bytes(&heads_graph(tower.width as usize, &heads, &weights, precision)?),
    })
}

/// The exported graphs as a device with this kernel runs them, or by tract alone, to the letter of the files.
///
/// # Errors
/// When tract refuses them.
pub fn exported(bench: &Workbench, graphs: &Graphs, kernel: Option<Kernel>) -> Result<Exported> {
    let (side, dims) = (bench.recipe.tower.image_px as usize, bench.recipe.tower.width as usize);
    Exported::load(&graphs.encoder, &graphs.heads, kernel, side, dims, bench.geocells.len(), &bench.tasks)
}

/// Evaluates a predictor on every hold-out of a run, by its name: `random` and `towns` of the planet, or `validation`,
/// the part of the user's files that was put aside (the constants of the refinement and the radius were chosen on it).
///
/// # Errors
/// When a view cannot be read or the model cannot run.
pub fn figures(
    bench: &Workbench,
    predictor: &dyn Predictor,
    prototypes: &Prototypes,
    calibration: &Calibration,
    (sites, seed): (usize, u64),
) -> Result<BTreeMap<String, Evaluation>> {
    let judge = Judge {
        geocells: &bench.geocells,
        tasks: &bench.tasks,
        refinement: Some(Refinement { prototypes, params: &calibration.refine, radius: &calibration.radius }),
    };
    let side = bench.recipe.tower.image_px as usize;
    let evaluate =
        |name: &str, gallery: &dyn Gallery| Ok((name.to_owned(), judge.evaluate(predictor, gallery, side, name)?));
    if !bench.simulated() {
        return Ok(BTreeMap::from([evaluate("validation", &*bench.validation)?]));
    }
    let of_planet = |(name, split)| evaluate(name, &PlanetGallery::draw(split, seed, sites));
    [("random", Split::Random), ("towns", Split::Towns)].into_iter().map(of_planet).collect()
}

/// Exports and measures a run, and puts the bundle in place of `target`.
///
/// # Errors
/// When a stage before it has not run, or the bundle cannot be written.
pub fn export(bench: &Workbench, network: &Network, target: &Path, (sites, seed): (usize, u64)) -> Result<Bundle> {
    let calibration = Calibration::read(&bench.out)?;
    let path = bench.out.join(PROTOTYPES);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let prototypes = Prototypes::from_bytes(bytes.clone()).with_context(|| path.display().to_string())?;
    let graphs = graphs(bench, network, Precision::Int8)?;
    let measured = |predictor: &dyn Predictor| figures(bench, predictor, &prototypes, &calibration, (sites, seed));
    let mut figures = measured(&exported(bench, &graphs, Some(Kernel::chosen()?))?)?;
    for (name, float) in measured(network)? {
        if let Some(int8) = figures.get_mut(&name) {
            int8.float = Some(float.figures);
        }
    }

    let recipe = &bench.recipe;
    let manifest = Manifest {
        format: FORMAT,
        name: recipe.export.name.clone(),
        created_by: format!("homing-trainer {}", env!("CARGO_PKG_VERSION")),
        licence: recipe.export.licence.clone(),
        simulated_planet: bench.simulated(),
        embedding: recipe.tower.width as usize,
        cells: bench.geocells.len(),
        tau_km: recipe.training.tau_km,
        image: ImageInput { size: recipe.tower.image_px, mean: IMAGE_MEAN, std: IMAGE_STD },
        refine: calibration.refine,
        radius: calibration.radius,
        tasks: bench.tasks.clone(),
        training: provenance(bench),
        figures,
        files: BTreeMap::new(),
    };
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make the directory {}", parent.display()))?;
    }
    let mut writer = BundleWriter::new(target)?;
    writer.file(ENCODER, &graphs.encoder)?;
    writer.file(HEADS, &graphs.heads)?;
    writer.file(GEOCELLS, &bench.geocells.encode())?;
    writer.file(PROTOTYPES, &bytes)?;
    writer.file(CARD, card(&manifest).as_bytes())?;
    Ok(writer.finish(manifest)?)
}

/// The size of all files of a bundle in megabytes (10^6 bytes).
///
/// # Errors
/// When the directory cannot be read.
pub fn size_mb(bundle: &Path) -> Result<f64> {
    let files = std::fs::read_dir(bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
    let sizes: Vec<u64> = files.map(|file| Ok(file?.metadata()?.len())).collect::<std::io::Result<_>>()?;
    Ok(sizes.iter().sum::<u64>() as f64 / 1e6)
}

fn provenance(bench: &Workbench) -> BTreeMap<String, toml::Value> {
    let (recipe, training) = (&bench.recipe, &bench.recipe.training);
    let number = |n: usize| toml::Value::Integer(n as i64);
    let text = |s: &str| toml::Value::String(s.to_owned());
    let tower = &recipe.tower;
    let mut rows = BTreeMap::from([
        ("recipe".to_owned(), text(&recipe.name)),
        ("seed".to_owned(), number(recipe.seed as usize)),
        ("data".to_owned(), text(if bench.simulated() { "simulated planet" } else { "the user's files" })),
        ("sites".to_owned(), number(bench.training.samples().len())),
        ("mapped_sites".to_owned(), number(bench.geocells.sites().len())),
        ("steps".to_owned(), number(training.steps as usize)),
        ("batch_sites".to_owned(), number(training.batch_sites as usize)),
        ("views_seen".to_owned(), number(training.steps as usize * views_per_step(training))),
        ("times_each_was_seen".to_owned(), number(training.echo as usize)),
        (
            "encoder".to_owned(),
            text(&format!(
                "vision transformer, {} tokens of {}, {} blocks, {} heads",
                tower.tokens(),
                tower.width,
                tower.layers,
                tower.heads
            )),
        ),
    ]);
    if let Some(weights) = &tower.weights {
        rows.insert("began_from".to_owned(), text(&began_from(weights)));
    }
    if let Some(distillation) = &recipe.distillation {
        rows.insert("taught_by".to_owned(), text(&began_from(&distillation.teacher)));
    }
    rows
}

/// What the tower's first weights, or its teacher, were; of a bundle also how much it had seen, which `views_seen` does not count.
fn began_from(weights: &Path) -> String {
    let name = weights.file_name().unwrap_or(weights.as_os_str()).display();
    // The run may have outlived them.
    match Bundle::open(weights) {
        Ok(bundle) => {
            let seen =
                bundle.manifest.training.get("views_seen").map_or_else(String::new, |n| format!(", {n} views seen"));
            format!("{name} ({}{seen})", bundle.model_id)
        }
        Err(_) => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_tells_what_the_tower_began_from() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shipped");
        let id = Bundle::open(&shipped).unwrap().model_id;
        let said = began_from(&shipped);
        let seen = said.strip_prefix(&format!("shipped ({id}, ")).and_then(|rest| rest.strip_suffix(" views seen)"));
        assert!(seen.and_then(|n| n.parse().ok()).is_some_and(|n: u64| n > 1_000_000), "{said}");
        assert_eq!(began_from(Path::new("weights/tower.safetensors")), "tower.safetensors");
    }
}
