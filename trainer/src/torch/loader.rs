//! Loader threads: views are rendered or read, varied and normalised while the network is busy with the step before.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use anyhow::{Context, Result};
use homing_planet::hash::{Rng, fold};
use tch::{Device, Tensor};

use crate::dataset::Gallery;
use crate::recipe::Recipe;

use super::batch::{Example, Part, Plan, Variation, normalise};
use super::network;

/// The pixels of one step, or of one rank's part of it.
#[derive(Debug)]
pub struct Batch {
    /// Normalised views, [views, S, S, 3].
    pixels: Vec<f32>,
    /// For each view the number of its example.
    owners: Vec<usize>,
    /// For each view where it looks: 0 front, 1 right, 2 back, 3 left.
    pub bearings: Vec<usize>,
    /// The examples' sites and variants.
    pub sites: Vec<(usize, u64)>,
}

impl Batch {
    /// The views as [views, 3, S, S].
    pub fn pixels(&self, side: u32, device: Device) -> Tensor {
        network::pixels(&self.pixels, side, device)
    }

    /// The matrix [sites, views] that takes views' embeddings to their means by site.
    pub fn means(&self, device: Device) -> Tensor {
        let mut counts = vec![0f32; self.sites.len()];
        self.owners.iter().for_each(|&owner| counts[owner] += 1.0);
        let mut means = vec![0f32; self.sites.len() * self.owners.len()];
        for (view, &owner) in self.owners.iter().enumerate() {
            means[owner * self.owners.len() + view] = 1.0 / counts[owner];
        }
        Tensor::from_slice(&means).view([self.sites.len() as i64, -1]).to_device(device)
    }
}

/// The batches of a run, in order, from as many threads as asked for.
#[derive(Debug)]
pub struct Loaders {
    queues: Vec<Receiver<Result<Batch>>>,
}

impl Loaders {
    /// Starts the threads inside `scope`; they end when this value is dropped, or with the last step. They load `part`
    /// of each batch.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        recipe: &'scope Recipe,
        gallery: &'scope dyn Gallery,
        part: Part,
        first_step: u32,
        threads: usize,
    ) -> Self {
        let queues = (0..threads).map(|thread| {
            // Two batches in hand: more would only cost memory.
            let (sender, receiver) = sync_channel(2);
            let steps = (first_step..recipe.training.steps).skip(thread).step_by(threads);
            scope.spawn(move || load(recipe, gallery, part, steps, &sender));
            receiver
        });
        Loaders { queues: queues.collect() }
    }

    /// The batch of the `n`-th step since the start.
    ///
    /// # Errors
    /// When a view cannot be read.
    pub fn batch(&self, n: u32) -> Result<Batch> {
        self.queues[n as usize % self.queues.len()].recv().context("a loader thread ended early")?
    }
}

fn load(
    recipe: &Recipe,
    gallery: &dyn Gallery,
    part: Part,
    steps: impl Iterator<Item = u32>,
    queue: &SyncSender<Result<Batch>>,
) {
    let mut plan = Plan::new(recipe.seed, gallery.samples().len(), &recipe.training);
    for step in steps {
        let batch = fill(recipe, gallery, &plan.part(step, part));
        let failed = batch.is_err();
        // A closed queue means that nobody trains any more.
        if queue.send(batch).is_err() || failed {
            return;
        }
    }
}

fn fill(recipe: &Recipe, gallery: &dyn Gallery, examples: &[Example]) -> Result<Batch> {
    let side = recipe.tower.image_px as usize;
    let mut batch = Batch {
        pixels: Vec::new(),
        owners: Vec::new(),
        bearings: Vec::new(),
        sites: Vec::with_capacity(examples.len()),
    };
    for (owner, example) in examples.iter().enumerate() {
        let mut rng = Rng::new(fold(example.seed, 1));
        // Each epoch sees a simulated site at another moment.
        let variant = u64::from(example.epoch);
        batch.sites.push((example.site, variant));
        let views = gallery.views(example.site);
        let present = example.views.iter().filter(|&&view| view < views).count();
        // A site that has none of the views drawn shows its front.
        let chosen = if present == 0 { &[0][..] } else { &example.views[..present] };
        let mut rgb = vec![0; chosen.len() * 3 * side * side];
        if chosen.iter().copied().eq(0..chosen.len()) {
            gallery.views_into(example.site, variant, side, &mut rgb)?;
        } else {
            for (&view, out) in chosen.iter().zip(rgb.chunks_exact_mut(3 * side * side)) {
                gallery.view_into(example.site, variant, view, side, out)?;
            }
        }
        for (&bearing, view) in chosen.iter().zip(rgb.chunks_exact(3 * side * side)) {
            normalise(view, side, Variation::draw(&recipe.training, &mut rng), &mut batch.pixels);
            batch.owners.push(owner);
            batch.bearings.push(bearing);
        }
    }
    Ok(batch)
}
