//! Loader threads: views are rendered or read, varied and normalised while the network is busy with the step before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use anyhow::{Context, Result};
use homing_planet::hash::{Rng, fold};
use tch::{Cuda, Device, Kind, Tensor};

use crate::dataset::{Gallery, ViewError};
use crate::recipe::Recipe;

use super::batch::{Example, Part, Plan, Variation, normalise, turn};
use super::network;

/// The pixels of one step, or of one rank's part of it.
#[derive(Debug)]
pub struct Batch {
    /// Normalised views, [views * S * S * 3], in the host's memory.
    pixels: Tensor,
    /// For each view the number of its example.
    owners: Vec<usize>,
    /// For each view where it looks: 0 front, 1 right, 2 back, 3 left.
    pub bearings: Vec<usize>,
    /// The examples' sites and variants.
    pub sites: Vec<(usize, u64)>,
}

impl Batch {
    /// The views as [views, 3, S, S]. A CUDA device copies them while this thread goes on.
    pub fn pixels(&self, side: u32, device: Device) -> Tensor {
        network::pixels(&self.pixels.to_device_(device, Kind::Float, true, false), side)
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
    first_step: u32,
    echo: u32,
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
        let echo = recipe.training.echo;
        let queues = (0..threads).map(|thread| {
            // Two batches in hand, or what one panorama teaches: then the next ones are rendered meanwhile. More would
            // cost memory, which a device's copies round up to a power of two.
            let (sender, receiver) = sync_channel(echo.max(2) as usize);
            let steps = (first_step..recipe.training.steps)
                .filter(move |&step| turn(step, echo).0 as usize % threads == thread);
            scope.spawn(move || load(recipe, gallery, part, steps, &sender));
            receiver
        });
        Loaders { queues: queues.collect(), first_step, echo }
    }

    /// The batch of the `n`-th step since the start.
    ///
    /// # Errors
    /// When a view cannot be read.
    pub fn batch(&self, n: u32) -> Result<Batch> {
        let (batch, _) = turn(self.first_step + n, self.echo);
        self.queues[batch as usize % self.queues.len()].recv().context("a loader thread ended early")?
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
    let mut pictures = Pictures { gallery, side: recipe.tower.image_px as usize, kept: HashMap::new() };
    for step in steps {
        let examples = plan.part(step, part);
        let (_, time) = turn(step, recipe.training.echo);
        let batch = fill(recipe, &mut pictures, &examples, recipe.training.echo - 1 - time);
        let failed = batch.is_err();
        // A closed queue means that nobody trains any more.
        if queue.send(batch).is_err() || failed {
            return;
        }
    }
}

/// Where a loader thread gets its views from.
struct Pictures<'a> {
    gallery: &'a dyn Gallery,
    side: usize,
    /// Whole panoramas that later steps ask for again, by site and variant.
    kept: HashMap<(usize, u64), Vec<u8>>,
}

impl Pictures<'_> {
    /// Some views of a site, by rising number, one after the other; `again` tells whether a later step wants it too.
    fn views(&mut self, site: usize, variant: u64, chosen: &[usize], again: bool) -> Result<Vec<u8>, ViewError> {
        let (gallery, side, bytes) = (self.gallery, self.side, 3 * self.side * self.side);
        let key = (site, variant);
        if again || self.kept.contains_key(&key) {
            let whole = match self.kept.entry(key) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(place) => {
                    let mut rgb = vec![0; gallery.views(site) * bytes];
                    gallery.views_into(site, variant, side, &mut rgb)?;
                    place.insert(rgb)
                }
            };
            let views = chosen.iter().flat_map(|&view| &whole[view * bytes..][..bytes]).copied().collect();
            if !again {
                self.kept.remove(&key);
            }
            return Ok(views);
        }
        let mut rgb = vec![0; chosen.len() * bytes];
        if chosen.iter().copied().eq(0..chosen.len()) {
            gallery.views_into(site, variant, side, &mut rgb)?;
        } else {
            for (&view, out) in chosen.iter().zip(rgb.chunks_exact_mut(bytes)) {
                gallery.view_into(site, variant, view, side, out)?;
            }
        }
        Ok(rgb)
    }
}

/// The batch of some examples, which so many later steps see `again`.
fn fill(recipe: &Recipe, pictures: &mut Pictures, examples: &[Example], again: u32) -> Result<Batch> {
    let side = pictures.side;
    let views: usize = examples.iter().map(|example| example.views.len()).sum();
    let mut pixels = Vec::with_capacity(views * 3 * side * side);
    let (mut owners, mut bearings) = (Vec::with_capacity(views), Vec::with_capacity(views));
    let mut sites = Vec::with_capacity(examples.len());
    for (owner, example) in examples.iter().enumerate() {
        let mut rng = Rng::new(fold(example.seed, 1));
        // Each epoch sees a simulated site at another moment.
        let variant = u64::from(example.epoch);
        sites.push((example.site, variant));
        let views = pictures.gallery.views(example.site);
        let present = example.views.iter().filter(|&&view| view < views).count();
        // A site that has none of the views drawn shows its front.
        let chosen = if present == 0 { &[0][..] } else { &example.views[..present] };
        let rgb = pictures.views(example.site, variant, chosen, again > 0)?;
        for (&bearing, view) in chosen.iter().zip(rgb.chunks_exact(3 * side * side)) {
            normalise(view, side, Variation::draw(&recipe.training, &mut rng), &mut pixels);
            owners.push(owner);
            bearings.push(bearing);
        }
    }
    Ok(Batch { pixels: on_host(&pixels), owners, bearings, sites })
}

/// The numbers where the device copies from fastest: in memory that stays in its place, when a device is in use.
fn on_host(values: &[f32]) -> Tensor {
    let plain = Tensor::from_slice(values);
    if !Cuda::is_available() {
        return plain;
    }
    // All devices may copy from there, whichever is named. A host short of memory copies from where the numbers are.
    plain.f_internal_pin_memory(Device::Cuda(0)).unwrap_or(plain)
}
