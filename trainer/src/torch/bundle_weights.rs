//! A finished bundle as the start of a training: its bytes back to floats, which loses next to nothing.
//!
//! So a model grows with its data: what was trained for days on one collection is trained for an hour on the next. The
//! stem's batch normalisation, folded away in a bundle, is unfolded again from the statistics of the training's own
//! pictures: the network computes what the bundle computes, and can be trained on. It may also grow: see larger pictures,
//! with the table of positions interpolated (Dosovitskiy and others 2021, section 3.2), or have blocks behind the bundle's,
//! which at first pass on what they get.

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
use crate::recipe;

/// Sites whose pictures give the statistics.
const SITES: usize = 64;
/// Names of the tower's variables begin with it.
const TOWER: &str = "vision_model.";
const LAST_NORM: &str = "vision_model.post_layernorm.";
/// The stem's variables, which are unfolded and not copied.
const STEM: &str = "vision_model.embeddings.stem.";
const CLASS: &str = "vision_model.embeddings.class_embedding";
const POSITIONS: &str = "vision_model.embeddings.position_embedding.weight";
/// The blocks' variables, with the block's number behind it.
const BLOCKS: &str = "vision_model.encoder.layers.";
/// The layers of a block whose output is added to what the block got.
const INTO_RESIDUAL: [&str; 2] = [".self_attn.out_proj.", ".mlp.fc2."];

/// Whether this is the folder of a bundle.
pub fn is_bundle(path: &Path) -> bool {
    path.join(MANIFEST).is_file()
}

/// Puts a bundle's encoder into a network, and its heads where they are for the same classes: the geocells' head where
/// the geocells are the same, a task's where it has as many outputs. Says which heads stay fresh.
///
/// # Errors
/// When the bundle is damaged, or its tower is not the recipe's or a smaller one; some variables may then have been set.
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
    let shape = &bench.recipe.tower;
    // The graph has both as one table.
    if let Some(table) = weights.get_mut(POSITIONS) {
        let before = recipe::Tower { image_px: bundle.manifest.image.size, ..shape.clone() };
        *table = table.squeeze_dim(0);
        ensure!(
            table.size()[0] == i64::from(before.tokens()),
            "{} has {} tokens, a tower of the recipe's stem or patches {}; is it the recipe's?",
            path.display(),
            table.size()[0],
            before.tokens()
        );
        *table = resized(table, i64::from(shape.grid()))?;
    }
    let depth = weights.keys().filter_map(|name| block(name)).max().map_or(0, |last| last + 1);
    ensure!(
        depth <= shape.layers,
        "{} has {depth} blocks, the recipe's tower.layers is {}: set it to {depth} or more",
        path.display(),
        shape.layers
    );
    for (name, mut variable) in variables.variables() {
        // A bundle's embedding is taken before CLIP's last norm, which contrastive pretraining has.
        if !name.starts_with(TOWER) || name.starts_with(STEM) || name.starts_with(LAST_NORM) {
            continue;
        }
        let further = block(&name).is_some_and(|number| number >= depth);
        let value = if further && !INTO_RESIDUAL.iter().any(|layer| name.contains(layer)) {
            continue;
        } else if further || name == CLASS {
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
    let pictures = Panoramas::load(&*bench.training, &sites, shape.image_px as usize, 0)?;
    let unfolded = tower.unfold(&pictures.pixels().to_device(variables.device()), &weights);
    unfolded.with_context(|| format!("{}: is its stem the recipe's?", path.display()))
}

/// The number of the block that a variable is of.
fn block(name: &str) -> Option<u32> {
    name.strip_prefix(BLOCKS)?.split('.').next()?.parse().ok()
}

/// A table of positions [1 + g * g, d], the class token's first, for a grid of another side.
fn resized(table: &Tensor, grid: i64) -> Result<Tensor> {
    let &[tokens, d] = table.size().as_slice() else { bail!("{POSITIONS} is no table") };
    let own = (tokens - 1).isqrt();
    ensure!(own * own == tokens - 1, "{POSITIONS} has {tokens} rows, which is no class token and a square grid");
    if own == grid {
        return Ok(table.shallow_clone());
    }
    let places = table.narrow(0, 1, tokens - 1).transpose(0, 1).reshape([1, d, own, own]);
    let places = places.f_upsample_bicubic2d([grid, grid], false, None, None)?;
    Ok(Tensor::cat(&[table.narrow(0, 0, 1), places.view([d, grid * grid]).transpose(0, 1)], 0))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::network;

    #[test]
    fn positions_for_larger_pictures_lie_between_the_old_ones() {
        // A class token, then four by four places that say their row and column.
        let row = |i: i64| if i == 0 { [9.0, 9.0] } else { [((i - 1) / 4) as f32, ((i - 1) % 4) as f32] };
        let table = Tensor::from_slice(&(0..17).flat_map(row).collect::<Vec<f32>>()).view([17, 2]);
        assert!(resized(&table, 4).unwrap().equal(&table));
        let larger = resized(&table, 6).unwrap();
        assert_eq!(larger.size(), [37, 2]);
        let values = network::values(&larger);
        assert_eq!(values[..2], [9.0, 9.0]);
        // Middles of six places on the middles of four; the edges stand still.
        for (i, place) in values[2..].chunks_exact(2).enumerate() {
            let middle = |n: usize| ((n as f32 + 0.5) * 4.0 / 6.0 - 0.5).clamp(0.0, 3.0);
            assert!((place[0] - middle(i / 6)).abs() < 0.12 && (place[1] - middle(i % 6)).abs() < 0.12, "{place:?}");
        }
        let message = resized(&table.narrow(0, 0, 16), 6).unwrap_err().to_string();
        assert!(message.contains("16 rows"), "{message}");
    }
}
