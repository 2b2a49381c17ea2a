//! A training run on disk: everything the next step depends on, in one safetensors file that is replaced as a whole.
//!
//! Batches and augmentation are functions of the recipe's seed and the step, so that weights, their average, the
//! optimiser's moments and the step are the complete state: a resumed run goes on bit for bit.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tch::{Kind, Tensor, nn};

use super::adamw::AdamW;
use super::network::Network;
use super::ranks::Ranks;
use crate::safetensors::TensorFile;

/// The checkpoint's file name in the run's directory.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The averaged weights of a finished training, with Hugging Face's names.
pub const WEIGHTS: &str = "weights.safetensors";

/// The name under which a checkpoint has the hash of all else in it.
const CONTENT: &str = "content";
/// The name under which files have the number of the run that they are of.
const FINGERPRINT: &str = "fingerprint";

/// What a training run consists of at a step.
#[derive(Debug)]
pub struct State {
    /// The weights under training.
    pub trained: Network,
    /// Their running average, which is evaluated and exported.
    pub averaged: Network,
    /// The optimiser's moments.
    pub optimiser: AdamW,
    /// Steps done.
    pub step: u32,
}

impl State {
    /// Every tensor under its name in the file, sharing memory with the state.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let prefixed = |prefix: &'static str, network: &Network| {
            network.named().into_iter().map(move |(name, tensor)| (format!("{prefix}.{name}"), tensor))
        };
        prefixed("trained", &self.trained)
            .chain(prefixed("averaged", &self.averaged))
            .chain(self.optimiser.state())
            .collect()
    }

    /// Writes the checkpoint of the run with this fingerprint (see [`fingerprint`]).
    ///
    /// # Errors
    /// When a number is not finite or the file cannot be written; an older checkpoint then stays.
    pub fn save(&self, path: &Path, fingerprint: i64) -> Result<()> {
        save_tensors(path, fingerprint, self.step, "training.lr", self.tensors())
    }

    /// Takes over the checkpoint.
    ///
    /// # Errors
    /// When the file is damaged or was written by a run with another fingerprint.
    pub fn restore(&mut self, path: &Path, fingerprint: i64) -> Result<()> {
        self.step = restore_tensors(path, fingerprint, self.tensors())?;
        Ok(())
    }

    /// Takes over rank 0's state.
    pub fn share(&mut self, ranks: &dyn Ranks) {
        let mut tensors: Vec<Tensor> = self.tensors().into_iter().map(|(_, tensor)| tensor.detach()).collect();
        ranks.share(&mut tensors);
        // What comes back is rank 0's own, a u32.
        self.step = u32::try_from(ranks.shared_number(i64::from(self.step))).unwrap_or_default();
    }
}

/// What to do about a loss that is not finite any more; `key` is the learning rate's in the recipe.
pub fn way_out(checkpoint: &Path, key: &str) -> String {
    match checkpoint.exists() {
        true => {
            format!("lower {key} and run it again, it goes on from {}, whose numbers are finite", checkpoint.display())
        }
        false => format!("lower {key} and start again, there was no checkpoint yet"),
    }
}

/// Writes named tensors with the step and the fingerprint of their run; `lr` is the learning rate's key in the recipe.
///
/// # Errors
/// When a number is not finite or the file cannot be written; an older one then stays.
pub fn save_tensors(
    path: &Path,
    fingerprint: i64,
    step: u32,
    lr: &str,
    mut tensors: Vec<(String, Tensor)>,
) -> Result<()> {
    // A step may break the weights of which the next step's loss would tell, and this file is what to go back to.
    let is_finite = |tensor: &Tensor| tch::no_grad(|| tensor.isfinite().all().int64_value(&[])) != 0;
    if let Some((name, _)) = tensors.iter().find(|(_, tensor)| !is_finite(tensor)) {
        bail!("{name} is not finite after step {step}: {}", way_out(path, lr));
    }
    tensors.push(("step".to_owned(), Tensor::from_slice(&[i64::from(step)])));
    tensors.push((FINGERPRINT.to_owned(), Tensor::from_slice(&[fingerprint])));
    let content = content(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
    tensors.push((CONTENT.to_owned(), Tensor::from_slice(&[content])));
    write_tensors(path, &tensors)
}

/// Puts the stored values into tensors of the same names and shapes, and gives the step.
///
/// # Errors
/// When the file is damaged or was written by a run with another fingerprint.
pub fn restore_tensors(path: &Path, fingerprint: i64, tensors: Vec<(String, Tensor)>) -> Result<u32> {
    let stored: BTreeMap<String, Tensor> = Tensor::read_safetensors(path)
        .with_context(|| format!("{} is damaged: delete it to start again", path.display()))?
        .into_iter()
        .collect();
    let number = |name: &str| {
        let scalar = stored.get(name).filter(|t| t.kind() == Kind::Int64 && t.numel() == 1);
        scalar.map(|t| t.int64_value(&[0]))
    };
    if number(FINGERPRINT) != Some(fingerprint) {
        bail!("{} belongs to another recipe or data set: give another --out, or delete it", path.display());
    }
    let numbers = stored.iter().filter(|(name, _)| *name != CONTENT).map(|(name, tensor)| (name.as_str(), tensor));
    let Some(written) = number(CONTENT) else {
        bail!("{} lacks its hash: it is from another version, delete it to start again", path.display());
    };
    if written != content(numbers)? {
        bail!("{} is damaged, its numbers are not those that were written: delete it to start again", path.display());
    }
    for (name, mut tensor) in tensors {
        let source = stored.get(&name).filter(|t| t.size() == tensor.size());
        let Some(source) = source else {
            bail!("{} lacks {name}: it is from another version, delete it to start again", path.display());
        };
        tch::no_grad(|| tensor.f_copy_(source))?;
    }
    let step = number("step").and_then(|step| u32::try_from(step).ok());
    step.with_context(|| format!("{} lacks its step: delete it to start again", path.display()))
}

/// Writes the weights of a finished run under their own names, with the run's fingerprint.
///
/// # Errors
/// When the file cannot be written.
pub fn save_weights(path: &Path, fingerprint: i64, mut weights: Vec<(String, Tensor)>) -> Result<()> {
    weights.push((FINGERPRINT.to_owned(), Tensor::from_slice(&[fingerprint])));
    write_tensors(path, &weights)
}

/// Takes over weights written by [`save_weights`]; `command` makes them.
///
/// # Errors
/// When the file is missing, damaged, of another shape, or of a run with another fingerprint.
pub fn load_weights(variables: &mut nn::VarStore, path: &Path, fingerprint: i64, command: &str) -> Result<()> {
    if !path.exists() {
        bail!("{} does not exist: run `homing-trainer {command}` first", path.display());
    }
    let damaged = || format!("{} is damaged: delete it and run `homing-trainer {command}` again", path.display());
    check_weights(path, fingerprint)?;
    tch::no_grad(|| variables.read_safetensors(path)).with_context(damaged)
}

/// Whether the weights are of the run with this fingerprint.
///
/// # Errors
/// When they are not, or the file cannot be read.
pub fn check_weights(path: &Path, fingerprint: i64) -> Result<()> {
    let mut file = TensorFile::open(path)?;
    let entry = file.entries().get(FINGERPRINT).cloned();
    let stored = entry.map(|entry| file.bytes(&entry)).transpose()?;
    if stored.as_deref() != Some(&fingerprint.to_le_bytes()[..]) {
        bail!(
            "{} is of another recipe or data set: restore the recipe, give another --out, or delete it",
            path.display()
        );
    }
    Ok(())
}

/// Writes named tensors beside the final name, to the disk, and renames: a reader never sees half a file.
///
/// # Errors
/// When the file cannot be written; an older one then stays.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let on_host = |(name, t): &(String, Tensor)| (name.clone(), t.detach().to_device(tch::Device::Cpu));
    let tensors: Vec<(String, Tensor)> = tensors.iter().map(on_host).collect();
    let partial = path.with_extension("partial");
    let written = Tensor::write_safetensors(&tensors, &partial)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(File::open(&partial)?.sync_all()?))
        .and_then(|()| Ok(std::fs::rename(&partial, path)?));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// A number for all names, kinds, shapes and bytes of tensors, in whatever order.
fn content<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<i64> {
    let mut hashes = BTreeMap::new();
    for (name, tensor) in tensors {
        let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let hash = homing_models::manifest::sha256_hex(&bytes);
        hashes.insert(name, format!("{:?} {:?} {hash}", tensor.kind(), tensor.size()));
    }
    let parts: Vec<&[u8]> = hashes.iter().flat_map(|(name, hash)| [name.as_bytes(), hash.as_bytes()]).collect();
    Ok(fingerprint(&parts))
}

/// A number for everything that a run's weights depend on, given as text and bytes.
pub fn fingerprint(parts: &[&[u8]]) -> i64 {
    let joined =
        parts.iter().flat_map(|part| (part.len() as u64).to_le_bytes().into_iter().chain(part.iter().copied()));
    let hash = homing_models::manifest::sha256_hex(&joined.collect::<Vec<u8>>());
    // 15 hexadecimal digits are a positive number of 60 bits.
    i64::from_str_radix(&hash[..15], 16).unwrap_or_default()
}
