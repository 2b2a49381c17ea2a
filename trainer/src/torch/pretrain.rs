//! Contrastive pretraining (poster, contribution 4): views and captions of the training sites through both towers of
//! CLIP, with a checkpoint to go on from at any time. The training then starts from the vision tower.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use homing_planet::hash::{Rng, fold};
use tch::Tensor;

use crate::captions::{ViewLabels, web_caption};
use crate::dataset::{Gallery, Selection};
use crate::recipe::{CaptionStyle, Contrastive, Recipe, ViewShares};
use crate::tokens::CaptionTokenizer;

use super::adamw::{AdamW, learning_rate};
use super::batch::Part;
use super::bundle_weights;
use super::checkpoint::{self, fingerprint};
use super::clip::Clip;
use super::clip_weights::load_known;
use super::contrastive::{Pairs, backward};
use super::loader::{Batch, Loaders};
use super::text::rows;
use super::train::{StopRequest, progress_bar};
use super::transformer::Products;
use super::workbench::Workbench;

/// All weights of the pretrained model, with Hugging Face's names, in the working directory.
pub const PRETRAINED: &str = "pretrained.safetensors";
/// The checkpoint of a pretraining.
const CHECKPOINT: &str = "pretraining.safetensors";
/// The learnt factor on cosines stays at 100 or below, as in CLIP: beyond, training is not stable.
const LARGEST_LOGIT_SCALE: f64 = 4.605_17;
/// Guard of the optimiser's division, CLIP's own.
const EPSILON: f64 = 1e-6;

/// Where the pretrained weights of a run are, if its recipe asks for any.
pub fn pretrained(bench: &Workbench) -> Option<PathBuf> {
    bench.recipe.contrastive.as_ref().map(|_| bench.out.join(PRETRAINED))
}

/// A model with the weights of [`PRETRAINED`].
///
/// # Errors
/// When the recipe has no pretraining, or it is not finished.
pub fn open(bench: &Workbench) -> Result<Clip> {
    let (contrastive, path) = (section(bench)?, bench.out.join(PRETRAINED));
    let mut clip = Clip::new(&bench.recipe.tower, &contrastive.text, bench.recipe.seed, tch::Device::Cpu);
    checkpoint::load_weights(&mut clip.variables, &path, fingerprint_of(bench, contrastive), "pretrain")?;
    clip.variables.set_device(bench.device);
    Ok(clip)
}

/// Whether there are pretrained weights for this recipe; where it asks for none, there is nothing left to do.
///
/// # Errors
/// When there are weights, but of another recipe or data set.
pub fn is_done(bench: &Workbench) -> Result<bool> {
    let Some(contrastive) = &bench.recipe.contrastive else { return Ok(true) };
    let path = bench.out.join(PRETRAINED);
    if path.exists() {
        checkpoint::check_weights(&path, fingerprint_of(bench, contrastive))?;
    }
    Ok(path.exists())
}

/// Pretrains to the recipe's last step and writes the weights. A checkpoint is taken up; finished weights are kept.
///
/// # Errors
/// When data cannot be read, a file cannot be written, the loss is not finite, or `stop` says so.
pub fn pretrain(bench: &Workbench, stop: StopRequest) -> Result<()> {
    let contrastive = section(bench)?;
    let fingerprint = fingerprint_of(bench, contrastive);
    let held_out = |country: &[u8; 2]| contrastive.held_out.iter().any(|code| code.as_bytes() == country);
    let seen = Selection::of(&*bench.training, |sample| !held_out(&sample.country));
    ensure!(!seen.samples().is_empty(), "contrastive.held_out leaves no site to pretrain on");

    let recipe = plan(&bench.recipe, contrastive);
    let mut clip = Clip::new(&recipe.tower, &contrastive.text, recipe.seed, bench.device);
    clip.compute(Products::on(recipe.training.arithmetic, bench.device));
    let optimiser = AdamW::new(&clip.variables, contrastive.weight_decay).with_epsilon(EPSILON);
    let mut run = Run { bench, contrastive, recipe: &recipe, clip, optimiser, step: 0, fingerprint };
    run.resume()?;
    run.steps(&seen, stop)?;
    let weights: Vec<(String, Tensor)> = run.clip.variables.variables().into_iter().collect();
    checkpoint::save_weights(&bench.out.join(PRETRAINED), fingerprint, weights)
}

fn section(bench: &Workbench) -> Result<&Contrastive> {
    bench.recipe.contrastive.as_ref().context("the recipe has no [contrastive] section, so there is no pretraining")
}

fn fingerprint_of(bench: &Workbench, contrastive: &Contrastive) -> i64 {
    let r = &bench.recipe;
    // As that of a training: not of the learning rate.
    let contrastive = Contrastive { lr: 0.0, ..contrastive.clone() };
    fingerprint(&[format!("{} {:?} {:?} {contrastive:?}", r.seed, r.data, r.tower).as_bytes()])
}

/// The recipe as the loaders and the learning rate see it: one view a site.
fn plan(recipe: &Recipe, contrastive: &Contrastive) -> Recipe {
    let mut plan = recipe.clone();
    let t = &mut plan.training;
    (t.steps, t.batch_sites, t.lr) = (contrastive.steps, contrastive.batch_views, contrastive.lr);
    t.warmup_steps = (contrastive.warmup * f64::from(contrastive.steps)) as u32;
    (t.views, t.echo) = (ViewShares { one: 1.0, two: 0.0, four: 0.0 }, 1);
    plan
}

struct Run<'a> {
    bench: &'a Workbench,
    contrastive: &'a Contrastive,
    recipe: &'a Recipe,
    clip: Clip,
    optimiser: AdamW,
    step: u32,
    fingerprint: i64,
}

impl Run<'_> {
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut named: Vec<(String, Tensor)> = self.clip.variables.variables().into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named.into_iter().chain(self.optimiser.state()).collect()
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.bench.out.join(CHECKPOINT);
        if path.exists() {
            self.step = checkpoint::restore_tensors(&path, self.fingerprint, self.tensors())?;
            eprintln!("pretraining goes on from step {} of {}", self.step, path.display());
        } else if let Some(weights) = self.recipe.tower.weights.as_ref().filter(|path| bundle_weights::is_bundle(path))
        {
            bundle_weights::load_tower(&self.clip.variables, &self.clip.vision, self.bench, weights)?;
        } else if let Some(weights) = &self.recipe.tower.weights {
            load_known(&self.clip.variables, &self.recipe.tower, &self.contrastive.text, weights)?;
        }
        Ok(())
    }

    fn save(&self) -> Result<()> {
        let path = self.bench.out.join(CHECKPOINT);
        checkpoint::save_tensors(&path, self.fingerprint, self.step, "contrastive.lr", self.tensors())
    }

    fn steps(&mut self, gallery: &dyn Gallery, stop: StopRequest) -> Result<()> {
        let (first, steps) = (self.step, self.contrastive.steps);
        if first >= steps {
            return Ok(());
        }
        let tokenizer = CaptionTokenizer::new();
        let bar = progress_bar(steps, first);
        let started = Instant::now();
        std::thread::scope(|scope| {
            let loaders = Loaders::start(scope, self.recipe, gallery, Part::WHOLE, first, self.bench.threads);
            let mut recent = 0.0;
            while self.step < steps {
                if stop() {
                    self.save()?;
                    bail!("interrupted at step {} of the pretraining; run the same command again to go on", self.step);
                }
                let batch = loaders.batch(self.step - first)?;
                let loss = self.step(&batch, gallery, &tokenizer)?;
                recent = if recent == 0.0 { loss } else { 0.98 * recent + 0.02 * loss };
                let views = f64::from(self.step - first) * f64::from(self.contrastive.batch_views);
                let rate = views / started.elapsed().as_secs_f64();
                bar.set_position(u64::from(self.step));
                bar.set_message(format!("contrastive loss {recent:.3}, {rate:.0} views/s"));
                if self.step.is_multiple_of(self.contrastive.checkpoint_every) || self.step == steps {
                    bar.suspend(|| {
                        eprintln!("pretraining step {}: loss {recent:.3}, {rate:.0} views/s", self.step);
                    });
                    self.save()?;
                }
            }
            bar.finish_and_clear();
            Ok(())
        })
    }

    fn step(&mut self, batch: &Batch, gallery: &dyn Gallery, tokenizer: &CaptionTokenizer) -> Result<f64> {
        let device = self.bench.device;
        let captions =
            captions(self.contrastive.captions, fold(self.recipe.seed, u64::from(self.step)), batch, gallery);
        let tokens = rows(&tokenizer.batch(&captions), device);
        let pairs = Pairs { pixels: batch.pixels(self.recipe.tower.image_px, device), tokens };
        self.optimiser.zero_grad();
        let loss = backward(&self.clip, &pairs, self.contrastive.accumulate);
        let norm = self.optimiser.clip(self.contrastive.clip_norm);
        if !loss.is_finite() || !norm.is_finite() {
            let way_out = checkpoint::way_out(&self.bench.out.join(CHECKPOINT), "contrastive.lr");
            bail!("the contrastive loss is {loss}, its gradient {norm} at step {}: {way_out}", self.step + 1);
        }
        self.optimiser.step(self.step + 1, learning_rate(&self.recipe.training, self.step));
        tch::no_grad(|| {
            let _ = self.clip.logit_scale.clamp_max_(LARGEST_LOGIT_SCALE);
        });
        self.step += 1;
        Ok(loss)
    }
}

/// The captions of a batch's views, drawn from `seed`.
fn captions(style: CaptionStyle, seed: u64, batch: &Batch, gallery: &dyn Gallery) -> Vec<String> {
    let views = batch.sites.iter().zip(&batch.bearings).enumerate();
    views
        .map(|(i, (&(sample, variant), &bearing))| {
            let rng = &mut Rng::new(fold(fold(seed, 0x63_61_70), i as u64));
            let labels = ViewLabels::of(gallery, sample, variant, bearing);
            match style {
                CaptionStyle::Place => labels.caption(rng),
                CaptionStyle::Web => web_caption(gallery.scenery(sample, variant), labels.country, rng),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "pretrain_tests.rs"]
mod tests;
