//! The training loop: from fresh or stored weights to the last step, with a checkpoint to go on from at any time.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tch::{Device, Tensor};

use super::adamw::learning_rate;
use super::batch::views_per_step;
use super::bundle_weights;
use super::checkpoint::{CHECKPOINT, State, WEIGHTS, save_weights};
use super::clip_weights::load_vision;
use super::curve::{Curve, Row};
use super::examination::Examination;
use super::labels::Labels;
use super::loader::{Batch, Loaders};
use super::loss::{Targets, loss};
use super::network::{self, Network};
use super::pretrain::pretrained;
use super::ranks::Ranks;
use super::teacher::Teacher;
use super::transformer::Products;
use super::workbench::Workbench;
use crate::recipe::Trainable;

/// Asked before each step: whether the user wants the run to stop.
pub type StopRequest<'a> = &'a dyn Fn() -> bool;

/// Trains to the recipe's last step and gives the averaged weights. A checkpoint in the working directory is taken up.
///
/// All ranks call it with workbenches of the same recipe and data and get the same weights; rank 0 reads and writes the
/// working directory.
///
/// # Errors
/// When data cannot be read, a file cannot be written, the loss is not finite, or `stop` says so on any rank; in the
/// last two cases the message names the checkpoint that a second run goes on from.
pub fn train(bench: &Workbench, ranks: &dyn Ranks, stop: StopRequest) -> Result<Network> {
    let recipe = &bench.recipe;
    let fresh = || Network::new(&recipe.tower, bench.geocells.len(), &bench.tasks, recipe.seed, bench.device);
    let (trained, mut averaged) = (fresh(), fresh());
    averaged.variables.freeze();
    trained.train_only(recipe.training.trainable);
    let optimiser = super::adamw::AdamW::new(&trained.variables, recipe.training.weight_decay);
    let mut run = Run {
        bench,
        ranks,
        state: State { trained, averaged, optimiser, step: 0 },
        curve: Curve::default(),
        fingerprint: bench.fingerprint(),
    };
    run.resume()?;
    run.steps(stop)?;
    let weights = bench.out.join(WEIGHTS);
    let write = || save_weights(&weights, run.fingerprint, run.state.averaged.named().into_iter().collect());
    ranks.together(if ranks.first() { write() } else { Ok(()) })?;
    Ok(run.state.averaged)
}

struct Run<'a> {
    bench: &'a Workbench,
    ranks: &'a dyn Ranks,
    state: State,
    curve: Curve,
    fingerprint: i64,
}

impl Run<'_> {
    fn resume(&mut self) -> Result<()> {
        let ranks = self.ranks;
        let same = ranks.shared_number(self.fingerprint) == self.fingerprint;
        let differs = || anyhow!("its recipe or data are not those of rank 0: give all ranks the same files");
        ranks.together(if same { Ok(()) } else { Err(differs()) })?;
        let restored = if ranks.first() { self.restore() } else { Ok(()) };
        ranks.together(restored)?;
        self.state.share(ranks);
        Ok(())
    }

    fn restore(&mut self) -> Result<()> {
        let path = self.bench.out.join(CHECKPOINT);
        if !path.exists() {
            return self.start_from_given_weights();
        }
        self.state.restore(&path, self.fingerprint)?;
        self.curve = Curve::read(&self.bench.out, self.state.step)?;
        eprintln!("going on from step {} of {}", self.state.step, path.display());
        Ok(())
    }

    /// Puts the recipe's weights into the tower, where it names some.
    fn start_from_given_weights(&self) -> Result<()> {
        let shape = &self.bench.recipe.tower;
        // Pretraining has itself started from the weights that the recipe names.
        if let Some(weights) = &pretrained(self.bench).or(shape.weights.clone()) {
            for network in [&self.state.trained, &self.state.averaged] {
                if bundle_weights::is_bundle(weights) {
                    bundle_weights::load(network, self.bench, weights)?;
                } else {
                    load_vision(&network.variables, shape, weights)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the checkpoint, which is the same on all ranks, from the first.
    fn save(&self) -> Result<()> {
        let write = || {
            let path = self.bench.out.join(CHECKPOINT);
            self.curve.write(&self.bench.out)?;
            self.state.save(&path, self.fingerprint)
        };
        self.ranks.together(if self.ranks.first() { write() } else { Ok(()) })
    }

    fn steps(&mut self, stop: StopRequest) -> Result<()> {
        let (bench, ranks, first) = (self.bench, self.ranks, self.state.step);
        let training = &bench.recipe.training;
        if first >= training.steps {
            return Ok(());
        }
        let labels = Labels::of(&*bench.training, &bench.tasks);
        let teacher = ranks.together(Teacher::open(bench))?;
        let load = || Examination::load(&*bench.validation, &bench.recipe);
        let examination = ranks.together(ranks.first().then(load).transpose())?;
        let bar = if ranks.first() { progress_bar(training.steps, first) } else { ProgressBar::hidden() };
        let (started, views) = (Instant::now(), views_per_step(training));
        std::thread::scope(|scope| {
            let loaders = Loaders::start(scope, &bench.recipe, &*bench.training, ranks.part(), first, bench.threads);
            while self.state.step < training.steps {
                if ranks.any(stop()) {
                    self.save()?;
                    return ranks.together(Err(anyhow!(
                        "interrupted at step {}: {} is written; run the same command again to go on",
                        self.state.step,
                        bench.out.join(CHECKPOINT).display()
                    )));
                }
                let asked = loaders.batch(self.state.step - first).and_then(|batch| {
                    let taught = teacher.as_ref().map(|teacher| teacher.cells(&batch)).transpose()?;
                    Ok((batch, taught))
                });
                let (batch, taught) = ranks.together(asked)?;
                let mut targets = self.targets(&batch, &labels);
                if let (Some(teacher), Some(cells)) = (&teacher, taught) {
                    targets.cells = teacher.blend(&targets.cells, &cells);
                }
                let mut row = ranks.together(self.step(&batch, &targets))?;
                let done = self.state.step;
                let last = done == training.steps;
                let rate = f64::from(done - first) * views as f64 / started.elapsed().as_secs_f64();
                bar.set_position(u64::from(done));
                bar.set_message(format!("loss {:.3}, {rate:.0} views/s", row.loss));
                if let Some(examination) =
                    examination.as_ref().filter(|_| last || done.is_multiple_of(training.validate_every))
                {
                    let marks = examination.mark(&self.state.averaged, &bench.geocells);
                    row.validation = Some(marks);
                    bar.suspend(|| {
                        eprintln!(
                            "step {done}: loss {:.3}, validation {marks}, {rate:.0} views/s",
                            self.curve.recent_loss(50)
                        );
                    });
                }
                self.curve.push(row);
                if last || done.is_multiple_of(training.checkpoint_every) {
                    self.save()?;
                }
            }
            bar.finish_and_clear();
            Ok(())
        })
    }

    fn targets(&self, batch: &Batch, labels: &Labels) -> Targets {
        let Workbench { recipe, training, geocells, device, .. } = self.bench;
        labels.targets(&**training, &batch.sites, geocells, &recipe.training, *device)
    }

    /// One optimiser step on this rank's part of a batch, whose gradients are summed over the ranks.
    ///
    /// The state is untouched when the loss or its gradient is not finite, which all ranks see at the same step.
    fn step(&mut self, batch: &Batch, targets: &Targets) -> Result<Row> {
        let (bench, ranks, step) = (self.bench, self.ranks, self.state.step);
        let (training, device) = (&bench.recipe.training, bench.device);
        let State { trained, averaged, optimiser, .. } = &mut self.state;
        let rounded = training.steps - step <= training.int8_steps;
        let products = Products::on(training.arithmetic, device);
        trained.tower.compute(if rounded { Products::Int8 } else { products });
        trained.heads.round(rounded);
        // A stem that stays as it is keeps its statistics too.
        let whole = training.trainable == Trainable::All;
        // What is copied to the device comes first, as the targets did: a copy waits for the products under way there.
        let (means, pixels) = (batch.means(device), batch.pixels(bench.recipe.tower.image_px, device));
        let embeddings = trained.tower.embed(&pixels, whole);
        let outputs = trained.heads.forward(&means.matmul(&embeddings));
        let mut known = targets.known();
        ranks.sum(std::slice::from_mut(&mut known));
        let part = loss(&outputs, targets, &known, &bench.tasks, bench.recipe.tasks);
        optimiser.zero_grad();
        part.total.backward();

        let losses = part.values();
        let mut sums: Vec<Tensor> = optimiser.gradients().chain([losses.shallow_clone()]).collect();
        if whole {
            // Their mean over the ranks: each has seen other pictures.
            sums.extend(trained.statistics().into_iter().map(|mut t| t.g_div_scalar_(ranks.count() as f64)));
        }
        ranks.sum(&mut sums);
        let losses: Vec<f64> = network::values(&losses).into_iter().map(f64::from).collect();
        let way_out = || super::checkpoint::way_out(&bench.out.join(CHECKPOINT), "training.lr");
        if !losses[0].is_finite() {
            bail!("the loss is {} at step {}: {}", losses[0], step + 1, way_out());
        }
        let gradient_norm = optimiser.clip(training.clip_norm);
        if !gradient_norm.is_finite() {
            bail!("the gradient is {gradient_norm} at step {}: {}", step + 1, way_out());
        }
        let lr = learning_rate(training, step);
        optimiser.step(step + 1, lr);
        averaged.follow(trained, training.average_decay, step);
        self.state.step += 1;
        Ok(Row {
            step: self.state.step,
            lr,
            gradient_norm,
            loss: losses[0],
            cells: losses[1],
            regression: losses[2],
            classes: losses[3..].to_vec(),
            validation: None,
        })
    }
}

/// A bar for a loop of steps that is at step `first`.
pub(super) fn progress_bar(steps: u32, first: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(steps)).with_position(u64::from(first));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {msg}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.reset_eta();
    bar
}

/// Trained weights of a finished run.
///
/// # Errors
/// When the run has not finished, or was another recipe's.
pub fn trained(bench: &Workbench, path: &Path) -> Result<Network> {
    let recipe = &bench.recipe;
    let mut network = Network::new(&recipe.tower, bench.geocells.len(), &bench.tasks, recipe.seed, Device::Cpu);
    super::checkpoint::load_weights(&mut network.variables, path, bench.fingerprint(), "train")?;
    network.variables.freeze();
    network.variables.set_device(bench.device);
    Ok(network)
}
