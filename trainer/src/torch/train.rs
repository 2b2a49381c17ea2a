//! The training loop: from fresh or stored weights to the last step, with a checkpoint to go on from at any time.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tch::{Device, Tensor};

use super::adamw::learning_rate;
use super::batch::views_per_step;
use super::checkpoint::{CHECKPOINT, State, WEIGHTS, save_weights};
use super::curve::{Curve, Row};
use super::examination::Examination;
use super::labels::Labels;
use super::loader::Loaders;
use super::loss::loss;
use super::network::Network;
use super::workbench::Workbench;

/// Asked before each step: whether the user wants the run to stop.
pub type StopRequest<'a> = &'a dyn Fn() -> bool;

/// Trains to the recipe's last step and gives the averaged weights. A checkpoint in the working directory is taken up.
///
/// # Errors
/// When data cannot be read, a file cannot be written, the loss is not finite, or `stop` says so; in the last two
/// cases the message names the checkpoint that a second run goes on from.
pub fn train(bench: &Workbench, stop: StopRequest) -> Result<Network> {
    let recipe = &bench.recipe;
    let fresh = || Network::new(&recipe.tower, bench.geocells.len(), &bench.tasks, recipe.seed, bench.device);
    let (trained, mut averaged) = (fresh(), fresh());
    averaged.variables.freeze();
    let optimiser = super::adamw::AdamW::new(&trained.variables, recipe.training.weight_decay);
    let mut run = Run {
        bench,
        state: State { trained, averaged, optimiser, step: 0 },
        curve: Curve::default(),
        fingerprint: bench.fingerprint(),
    };
    run.resume()?;
    run.steps(stop)?;
    save_weights(&run.state.averaged, &bench.out.join(WEIGHTS))?;
    Ok(run.state.averaged)
}

struct Run<'a> {
    bench: &'a Workbench,
    state: State,
    curve: Curve,
    fingerprint: i64,
}

impl Run<'_> {
    fn resume(&mut self) -> Result<()> {
        let path = self.bench.out.join(CHECKPOINT);
        if !path.exists() {
            return Ok(());
        }
        self.state.restore(&path, self.fingerprint)?;
        self.curve = Curve::read(&self.bench.out, self.state.step)?;
        eprintln!("going on from step {} of {}", self.state.step, path.display());
        Ok(())
    }

    fn save(&self) -> Result<()> {
        let path = self.bench.out.join(CHECKPOINT);
        self.curve.write(&self.bench.out)?;
        self.state.save(&path, self.fingerprint)
    }

    fn steps(&mut self, stop: StopRequest) -> Result<()> {
        let (bench, first) = (self.bench, self.state.step);
        let training = &bench.recipe.training;
        if first >= training.steps {
            return Ok(());
        }
        let labels = Labels::of(&*bench.training, &bench.tasks);
        let examination = Examination::load(&*bench.validation, &bench.recipe)?;
        let bar = progress_bar(training.steps, first);
        let (started, views) = (Instant::now(), views_per_step(training));
        std::thread::scope(|scope| {
            let loaders = Loaders::start(scope, &bench.recipe, &*bench.training, first, bench.threads);
            while self.state.step < training.steps {
                if stop() {
                    self.save()?;
                    bail!(
                        "interrupted at step {}: {} is written; run the same command again to go on",
                        self.state.step,
                        bench.out.join(CHECKPOINT).display()
                    );
                }
                let batch = loaders.batch(self.state.step - first)?;
                let mut row = self.step(&batch, &labels)?;
                let done = self.state.step;
                let rate = f64::from(done - first) * views as f64 / started.elapsed().as_secs_f64();
                bar.set_position(u64::from(done));
                bar.set_message(format!("loss {:.3}, {rate:.0} views/s", row.loss));
                if done.is_multiple_of(training.validate_every) || done == training.steps {
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
                if done.is_multiple_of(training.checkpoint_every) || done == training.steps {
                    self.save()?;
                }
            }
            bar.finish_and_clear();
            Ok(())
        })
    }

    /// One optimiser step; the state is untouched when the loss or its gradient is not finite.
    fn step(&mut self, batch: &super::loader::Batch, labels: &Labels) -> Result<Row> {
        let (bench, step) = (self.bench, self.state.step);
        let (training, device) = (&bench.recipe.training, bench.device);
        let State { trained, averaged, optimiser, .. } = &mut self.state;
        let embeddings = trained.tower.embed(&batch.pixels(bench.recipe.tower.image_px, device), true);
        let outputs = trained.heads.forward(&batch.means(device).matmul(&embeddings));
        let targets = labels.targets(&*bench.training, &batch.sites, &bench.geocells, training.tau_km, device);
        let found = loss(&outputs, &targets, &bench.tasks, bench.recipe.tasks);
        let value = |t: &Tensor| t.double_value(&[]);
        let total = value(&found.total);
        let advice = || {
            format!(
                "step {}: try a lower training.lr; {} is the last good checkpoint",
                step + 1,
                bench.out.join(CHECKPOINT).display()
            )
        };
        if !total.is_finite() {
            bail!("the loss is {total} at {}", advice());
        }
        optimiser.zero_grad();
        found.total.backward();
        let gradient_norm = optimiser.clip(training.clip_norm);
        if !gradient_norm.is_finite() {
            bail!("the gradient is {gradient_norm} at {}", advice());
        }
        let lr = learning_rate(training, step);
        optimiser.step(step + 1, lr);
        averaged.follow(trained, training.average_decay, step);
        self.state.step += 1;
        Ok(Row {
            step: self.state.step,
            lr,
            gradient_norm,
            loss: total,
            cells: value(&found.cells),
            regression: value(&found.regression),
            classes: found.classes.iter().map(value).collect(),
            validation: None,
        })
    }
}

fn progress_bar(steps: u32, first: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(steps)).with_position(u64::from(first));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {msg}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.reset_eta();
    bar
}

/// Trained weights of a finished run.
///
/// # Errors
/// When the run has not finished.
pub fn trained(bench: &Workbench, path: &Path) -> Result<Network> {
    let recipe = &bench.recipe;
    let mut network = Network::new(&recipe.tower, bench.geocells.len(), &bench.tasks, recipe.seed, Device::Cpu);
    super::checkpoint::load_weights(&mut network, path).context("the training is not finished")?;
    network.variables.freeze();
    network.variables.set_device(bench.device);
    Ok(network)
}
