//! What can be read from the planet's pictures: a fixed small network learns the planet's own latents.
//!
//! The refinement pays only where the regional fields can be read from four views, and a driving side that nobody can
//! see would be a label without a cue. Neither is ever a target of a model that is shipped: real data has no such
//! labels. This measures the planet, not a model.

use std::fmt;

use anyhow::Result;
use homing_planet::field::{Fields, REGIONAL, REGIONAL_FIELDS};
use homing_planet::{Planet, Site, Split};
use indicatif::ProgressBar;
use tch::{Device, Kind, Tensor, nn, nn::Init};

use crate::dataset::PlanetGallery;
use crate::recipe::{Recipe, ViewShares};

use super::adamw::{AdamW, learning_rate};
use super::batch::Part;
use super::embed::Panoramas;
use super::loader::Loaders;
use super::network;
use super::tower::Tower;

/// Sites that the network is examined on, all of other towns than it learned from.
const EXAMINED: usize = 2000;
/// Sites whose views are in memory at once.
const SITES_AT_ONCE: usize = 250;

/// What the network could read from four views of towns that it never saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Legibility {
    /// Root mean square error of each regional field in its standard deviations, in the fields' order: 1 for a network
    /// that sees nothing.
    pub fields: [f64; REGIONAL],
    /// Mean of the shares of left-hand and of right-hand sites that were told right: 0.5 by chance.
    pub driving_side: f64,
}

impl Legibility {
    /// Number of fields read to within `sigmas` standard deviations.
    pub fn within(&self, sigmas: f64) -> usize {
        self.fields.iter().filter(|&&rmse| rmse < sigmas).count()
    }
}

impl fmt::Display for Legibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:14} error in standard deviations", "field")?;
        for ((name, _), rmse) in REGIONAL_FIELDS.iter().zip(self.fields) {
            writeln!(f, "{name:14} {rmse:.2}")?;
        }
        writeln!(f, "below 0.7: {} of {REGIONAL}", self.within(0.7))?;
        writeln!(f, "driving side, balanced accuracy: {:.1} %", 100.0 * self.driving_side)
    }
}

/// The latents of a site: its regional fields without the local deviation, then 1 where traffic keeps left.
type Latents = [f32; REGIONAL + 1];

fn latents(planet: &Planet, site: &Site) -> Latents {
    let left = planet.country_at(site.position).is_some_and(|id| planet.country(id).facts.left);
    let mut all = [0.0; REGIONAL + 1];
    all[..REGIONAL].copy_from_slice(&Fields::at(site.position).regional);
    all[REGIONAL] = f32::from(u8::from(left));
    all
}

fn all_latents(gallery: &PlanetGallery) -> Vec<Latents> {
    gallery.sites().iter().map(|site| latents(Planet::get(), site)).collect()
}

/// Trains the recipe's tower on the latents for `steps` steps, and examines it on towns never seen.
///
/// # Errors
/// When a view cannot be rendered.
pub fn probe(recipe: &Recipe, sites: usize, steps: u32, threads: usize) -> Result<Legibility> {
    let mut recipe = recipe.clone();
    recipe.training.steps = steps;
    recipe.training.views = ViewShares { one: 0.0, two: 0.0, four: 1.0 };
    recipe.training.batch_sites = recipe.training.batch_sites.div_ceil(2);
    let gallery = PlanetGallery::draw(Split::Train, recipe.seed, sites);
    let truths = all_latents(&gallery);
    let reader = Reader::new(&recipe, &truths);
    reader.learn(&recipe, &gallery, &truths, threads)?;
    let unseen = PlanetGallery::draw(Split::Towns, recipe.seed, EXAMINED);
    reader.examine(&recipe, &unseen)
}

/// A tower with one linear layer on the mean embedding.
struct Reader {
    variables: nn::VarStore,
    tower: Tower,
    weight: Tensor,
    bias: Tensor,
    /// Mean and standard deviation of each field over the training sites.
    scale: [(f32, f32); REGIONAL],
    /// Right-hand sites for each left-hand one: the rarer class counts as much.
    rarity: f64,
}

impl Reader {
    fn new(recipe: &Recipe, truths: &[Latents]) -> Self {
        tch::manual_seed(recipe.seed.cast_signed());
        let variables = nn::VarStore::new(Device::Cpu);
        let root = variables.root();
        let tower = Tower::new(&root, &recipe.tower);
        let shape = [REGIONAL as i64 + 1, i64::from(recipe.tower.width)];
        let head = &root / "head";
        let weight = head.var("weight", &shape, Init::Randn { mean: 0.0, stdev: 0.02 });
        let bias = head.var("bias", &shape[..1], Init::Const(0.0));
        let n = truths.len() as f32;
        let scale = std::array::from_fn(|i| {
            let mean = truths.iter().map(|t| t[i]).sum::<f32>() / n;
            (mean, (truths.iter().map(|t| (t[i] - mean).powi(2)).sum::<f32>() / n).sqrt())
        });
        let left = truths.iter().filter(|t| t[REGIONAL] > 0.5).count().max(1);
        Reader { variables, tower, weight, bias, scale, rarity: truths.len() as f64 / left as f64 - 1.0 }
    }

    /// Latents as the network gives them: fields standardised, the driving side as it is.
    fn standardised(&self, truths: impl Iterator<Item = Latents>) -> Tensor {
        let row = |mut t: Latents| {
            for (value, (mean, deviation)) in t.iter_mut().zip(self.scale) {
                *value = (*value - mean) / deviation;
            }
            t
        };
        Tensor::from_slice(&truths.flat_map(row).collect::<Vec<f32>>()).view([-1, REGIONAL as i64 + 1])
    }

    fn learn(&self, recipe: &Recipe, gallery: &PlanetGallery, truths: &[Latents], threads: usize) -> Result<()> {
        let training = &recipe.training;
        let mut optimiser = AdamW::new(&self.variables, training.weight_decay);
        let rarity = Tensor::from(self.rarity as f32);
        let bar = ProgressBar::new(u64::from(training.steps)).with_message("probe");
        std::thread::scope(|scope| {
            let loaders = Loaders::start(scope, recipe, gallery, Part::WHOLE, 0, threads);
            for step in 0..training.steps {
                let batch = loaders.batch(step)?;
                let embeddings = self.tower.embed(&batch.pixels(recipe.tower.image_px, Device::Cpu), true);
                let outputs = batch.means(Device::Cpu).matmul(&embeddings).linear(&self.weight, Some(&self.bias));
                let targets = self.standardised(batch.sites.iter().map(|&(site, _)| truths[site]));
                let fields = |t: &Tensor| t.narrow(1, 0, REGIONAL as i64);
                let side = |t: &Tensor| t.select(1, REGIONAL as i64);
                let loss = fields(&outputs).mse_loss(&fields(&targets), tch::Reduction::Mean)
                    + side(&outputs).binary_cross_entropy_with_logits::<Tensor>(
                        &side(&targets),
                        None,
                        Some(rarity.shallow_clone()),
                        tch::Reduction::Mean,
                    );
                optimiser.zero_grad();
                loss.backward();
                optimiser.clip(training.clip_norm);
                optimiser.step(step + 1, learning_rate(training, step));
                bar.inc(1);
            }
            bar.finish_and_clear();
            Ok(())
        })
    }

    fn examine(&self, recipe: &Recipe, gallery: &PlanetGallery) -> Result<Legibility> {
        let truths = all_latents(gallery);
        let sites: Vec<usize> = (0..truths.len()).collect();
        let mut found = Vec::with_capacity(truths.len() * (REGIONAL + 1));
        for chunk in sites.chunks(SITES_AT_ONCE) {
            let panoramas = Panoramas::load(gallery, chunk, recipe.tower.image_px as usize, 0)?;
            let embedded = tch::no_grad(|| panoramas.embed_with(&|pixels| self.tower.embed(pixels, false)));
            let outputs = tch::no_grad(|| embedded.tensor(Device::Cpu).linear(&self.weight, Some(&self.bias)));
            found.extend(network::values(&outputs));
        }
        let wanted = network::values(&self.standardised(truths.iter().copied()).to_kind(Kind::Float));
        let rows = || found.chunks_exact(REGIONAL + 1).zip(wanted.chunks_exact(REGIONAL + 1));
        // In the deviations of the examined sites, so that a blind network has 1.
        let fields = std::array::from_fn(|i| {
            let n = rows().count() as f64;
            let mean = rows().map(|(_, w)| f64::from(w[i])).sum::<f64>() / n;
            let spread = rows().map(|(_, w)| (f64::from(w[i]) - mean).powi(2)).sum::<f64>();
            (rows().map(|(f, w)| f64::from(f[i] - w[i]).powi(2)).sum::<f64>() / spread).sqrt()
        });
        Ok(Legibility { fields, driving_side: balanced(rows().map(|(f, w)| (f[REGIONAL], w[REGIONAL] > 0.5))) })
    }
}

/// Mean of the two classes' shares told right, from logits and truths.
fn balanced(answers: impl Iterator<Item = (f32, bool)> + Clone) -> f64 {
    let share = |class: bool| {
        let of_class = answers.clone().filter(|a| a.1 == class);
        of_class.clone().filter(|a| (a.0 > 0.0) == class).count() as f64 / of_class.count() as f64
    };
    (share(true) + share(false)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_one_half_and_a_seer_has_all() {
        let blind = (0..1000).map(|i| (((i * 7919) % 1000) as f32 - 500.0, i % 4 == 0));
        assert!((balanced(blind) - 0.5).abs() < 0.05);
        let stubborn = (0..1000).map(|i| (-1.0, i % 4 == 0));
        assert!((balanced(stubborn) - 0.5).abs() < 1e-9);
        let seer = (0..1000).map(|i| (if i % 4 == 0 { 0.1 } else { -0.2 }, i % 4 == 0));
        assert!((balanced(seer) - 1.0).abs() < 1e-9);
    }
}
