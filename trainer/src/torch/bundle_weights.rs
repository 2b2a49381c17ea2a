//! A finished bundle as the start of a training: its bytes back to floats, which loses next to nothing.
//!
//! So a model grows with its data: what was trained for days on one collection is trained for an hour on the next. The
//! stem's batch normalisation, folded away in a bundle, is unfolded again from the statistics of the training's own
//! pictures: the network computes what the bundle computes, and can be trained on.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use homing_models::Bundle;
use homing_models::bundle::{ENCODER, HEADS, MANIFEST};
use prost::Message;
use tch::{Kind, Tensor, nn::VarStore};
use tract_onnx::pb::{ModelProto, TensorProto, tensor_proto::DataType};

use super::embed::Panoramas;
use super::network::Network;
use super::tower::Tower;
use super::workbench::Workbench;

/// Sites whose pictures give the statistics.
const SITES: usize = 64;
/// Names of the tower's variables begin with it.
const TOWER: &str = "vision_model.";
const LAST_NORM: &str = "vision_model.post_layernorm.";
/// The stem's variables, which are unfolded and not copied.
const STEM: &str = "vision_model.embeddings.stem.";
const CLASS: &str = "vision_model.embeddings.class_embedding";
const POSITIONS: &str = "vision_model.embeddings.position_embedding.weight";

/// Whether this is the folder of a bundle.
pub fn is_bundle(path: &Path) -> bool {
    path.join(MANIFEST).is_file()
}

/// Puts a bundle's encoder into a network, and its heads where they are for the same classes: the geocells' head where
/// the geocells are the same, a task's where it has as many outputs. Says which heads stay fresh.
///
/// # Errors
/// When the bundle is damaged, or its tower is not the recipe's; some variables may then have been set.
pub fn load(network: &Network, bench: &Workbench, path: &Path) -> Result<()> {
    let bundle = Bundle::open(path)?;
    let heads = initialisers(&bundle.heads).with_context(|| path.join(HEADS).display().to_string())?;
    let same_cells = bundle.geocells.encode() == bench.geocells.encode();
    let mut fresh = Vec::new();
    for (name, mut variable) in network.named().into_iter().filter(|(name, _)| !name.starts_with(TOWER)) {
        match heads.get(&name).filter(|value| value.size() == variable.size()) {
            Some(value) if same_cells || !name.starts_with("cells.") => {
                tch::no_grad(|| variable.copy_(value));
            }
            _ => fresh.push(name),
        }
    }
    if !fresh.is_empty() {
        eprintln!("from {}; these heads start fresh: {}", path.display(), fresh.join(", "));
    }
    put(&bundle, &network.variables, &network.tower, bench, path)
}

/// Puts a bundle's encoder into the vision tower of variables that hold more than that.
///
/// # Errors
/// As [`load`].
pub fn load_tower(variables: &VarStore, tower: &Tower, bench: &Workbench, path: &Path) -> Result<()> {
    put(&Bundle::open(path)?, variables, tower, bench, path)
}

fn put(bundle: &Bundle, variables: &VarStore, tower: &Tower, bench: &Workbench, path: &Path) -> Result<()> {
    let mut weights = initialisers(&bundle.encoder).with_context(|| path.join(ENCODER).display().to_string())?;
    let side = bench.recipe.tower.image_px;
    ensure!(
        bundle.manifest.image.size == side,
        "{} is for images of {} px, the recipe's tower.image_px is {side}",
        path.display(),
        bundle.manifest.image.size
    );
    // The graph has both as one table.
    if let Some(table) = weights.get_mut(POSITIONS) {
        *table = table.squeeze_dim(0);
    }
    for (name, mut variable) in variables.variables() {
        // A bundle's embedding is taken before CLIP's last norm, which contrastive pretraining has.
        if !name.starts_with(TOWER) || name.starts_with(STEM) || name.starts_with(LAST_NORM) {
            continue;
        }
        let value = if name == CLASS {
            variable.zeros_like()
        } else if let Some(value) = weights.get(&name) {
            value.shallow_clone()
        } else {
            bail!("{} has no {name}; is its tower the recipe's?", path.display());
        };
        ensure!(
            value.size() == variable.size(),
            "{name} in {} has shape {:?}, the recipe's tower needs {:?}",
            path.display(),
            value.size(),
            variable.size()
        );
        tch::no_grad(|| variable.copy_(&value));
    }
    let sites: Vec<usize> = (0..bench.training.samples().len().min(SITES)).collect();
    let pictures = Panoramas::load(&*bench.training, &sites, side as usize, 0)?;
    let unfolded = tower.unfold(&pictures.pixels().to_device(variables.device()), &weights);
    unfolded.with_context(|| format!("{}: is its stem the recipe's?", path.display()))
}

/// A graph's floats, and its bytes times their scales, as libtorch lays them out: linear layers [outputs, inputs].
fn initialisers(onnx: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let graph = ModelProto::decode(onnx)?.graph.context("there is no graph")?;
    let by_name: BTreeMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut found = BTreeMap::new();
    for (name, tensor) in &by_name {
        let kind = match tensor.data_type {
            t if t == DataType::Float as i32 => Kind::Float,
            t if t == DataType::Int8 as i32 => Kind::Int8,
            _ => continue,
        };
        let values = Tensor::f_from_data_size(&tensor.raw_data, &tensor.dims, kind)?.to_kind(Kind::Float);
        let value = match (kind, name.strip_suffix(".weight")) {
            (Kind::Int8, Some(layer)) => {
                let scale = by_name.get(format!("{layer}.weight_scale").as_str());
                let scale = scale.with_context(|| format!("{name} has no scales"))?;
                let scale = Tensor::f_from_data_size(&scale.raw_data, &scale.dims, Kind::Float)?;
                (values * scale).transpose(0, 1).contiguous()
            }
            (Kind::Int8, None) => continue,
            _ => values,
        };
        found.insert((*name).to_owned(), value);
    }
    Ok(found)
}
