//! Training steps of the shipped recipe beside the same model in PyTorch eager, interleaved, on the same threads; and
//! how fast the loaders render what the steps use up.
//!
//! `cargo bench -p homing-tests --features torch --bench training`

use std::time::Instant;

use homing_planet::Split;
use homing_tests::peers::{self, root};
use homing_trainer::dataset::{PlanetGallery, task_list};
use homing_trainer::recipe::{Arithmetic, Recipe};
use homing_trainer::torch::adamw::AdamW;
use homing_trainer::torch::batch::{Part, views_per_step};
use homing_trainer::torch::loader::Loaders;
use homing_trainer::torch::loss::{Targets, loss};
use homing_trainer::torch::network::{self, Network};
use homing_trainer::torch::transformer::Products;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Cells of the model under measurement.
const CELLS: usize = 1000;
/// Steps before the clock starts, and on the clock.
const WARM_UP: u32 = 2;
const STEPS: u32 = 8;
const ROUNDS: usize = 3;

/// Wall and processor seconds.
#[derive(Clone, Copy)]
struct Spent {
    wall: f64,
    cpu: f64,
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn timed(work: impl FnOnce()) -> Spent {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    work();
    Spent { wall: wall.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}

/// The trainer's own step on views made of noise.
struct Ours {
    recipe: Recipe,
    trained: Network,
    averaged: Network,
    optimiser: AdamW,
    tasks: homing_models::TaskList,
    pixels: Tensor,
    means: Tensor,
    targets: Targets,
    step: u32,
}

impl Ours {
    fn new(recipe: &Recipe, products: Products) -> Self {
        let tasks = task_list(&PlanetGallery::draw(Split::Train, 1, 500));
        let fresh = || Network::new(&recipe.tower, CELLS, &tasks, 1, Device::Cpu);
        let (mut trained, mut averaged) = (fresh(), fresh());
        trained.tower.compute(products);
        averaged.variables.freeze();
        let optimiser = AdamW::new(&trained.variables, recipe.training.weight_decay);
        let (views, sites) = (views_per_step(&recipe.training) as i64, i64::from(recipe.training.batch_sites));
        let side = i64::from(recipe.tower.image_px);
        let cpu = (Kind::Float, Device::Cpu);
        let classes = Tensor::zeros([sites, tasks.classifications.len() as i64], (Kind::Int64, Device::Cpu));
        Ours {
            pixels: network::pixels(&Tensor::randn([views * 3 * side * side], cpu), recipe.tower.image_px),
            means: Tensor::full([sites, views], 1.0 / views as f64, cpu),
            targets: Targets {
                cells: Tensor::full([sites, CELLS as i64], 1.0 / CELLS as f64, cpu),
                regressions: Tensor::zeros([sites, tasks.regressions.len() as i64], cpu),
                classes,
            },
            recipe: recipe.clone(),
            trained,
            averaged,
            optimiser,
            tasks,
            step: 0,
        }
    }

    fn steps(&mut self, count: u32) {
        for _ in 0..count {
            let embeddings = self.trained.tower.embed(&self.pixels, true);
            let outputs = self.trained.heads.forward(&self.means.matmul(&embeddings));
            let part = loss(&outputs, &self.targets, &self.targets.known(), &self.tasks, self.recipe.tasks);
            self.optimiser.zero_grad();
            part.total.backward();
            self.optimiser.clip(self.recipe.training.clip_norm);
            self.step += 1;
            self.optimiser.step(self.step, 1e-4);
            self.averaged.follow(&self.trained, self.recipe.training.average_decay, self.step);
        }
    }
}

fn theirs(recipe: &Recipe, tasks: &homing_models::TaskList, autocast: bool, threads: usize) -> Spent {
    let tower = serde_json::to_value(&recipe.tower).expect("a recipe is plain data");
    let classes: Vec<usize> = tasks.classifications.iter().map(|task| task.classes.len()).collect();
    let request = json!({
        "tower": tower, "cells": CELLS, "regressions": tasks.regressions.len(), "classes": classes,
        "sites": recipe.training.batch_sites, "views": views_per_step(&recipe.training), "threads": threads,
        "warm_up": WARM_UP, "steps": STEPS, "autocast": autocast,
    });
    let answer = peers::run("training.py", &[], &request);
    let seconds = |key: &str| answer[key].as_f64().expect("the peer gives seconds");
    Spent { wall: seconds("wall"), cpu: seconds("cpu") }
}

/// Seconds of rendering and normalising the views of `STEPS` steps.
fn loading(recipe: &Recipe, threads: usize) -> Spent {
    let gallery = PlanetGallery::draw(Split::Train, 1, 4000);
    timed(|| {
        std::thread::scope(|scope| {
            let loaders = Loaders::start(scope, recipe, &gallery, Part::WHOLE, 0, threads);
            for step in 0..STEPS {
                loaders.batch(step).expect("the planet can be rendered");
            }
        });
    })
}

fn main() {
    let mut recipe = Recipe::load(&root().join("trainer/recipes/shipped.toml")).expect("the shipped recipe is valid");
    // Batches for a processor, and new pictures in every step.
    (recipe.training.batch_sites, recipe.training.echo) = (96, 1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    tch::set_num_threads(threads as i32);
    let views = views_per_step(&recipe.training) as f64 * f64::from(STEPS);
    let rate = |s: Spent| format!("{:5.0} {:5.0}", views / s.wall, views / s.cpu);
    println!(
        "tower of the shipped recipe, {threads} threads, {STEPS} steps a round: views per second (wall) and per processor second"
    );
    for (arithmetic, autocast) in [(Arithmetic::Float, false), (Arithmetic::Bfloat16, true)] {
        let products = Products::on(arithmetic, Device::Cpu);
        if autocast && products == Products::Float {
            continue;
        }
        println!("\n{arithmetic:?}\nround      ours           PyTorch eager      ratio (processor)   loaders alone");
        let mut ours = Ours::new(&recipe, products);
        ours.steps(WARM_UP);
        let mut ratios = Vec::new();
        for round in 1..=ROUNDS {
            let own = timed(|| ours.steps(STEPS));
            let peer = theirs(&recipe, &ours.tasks, autocast, threads);
            let load = loading(&recipe, threads);
            let ratio = peer.cpu / own.cpu;
            ratios.push(ratio);
            println!("{round:5}   {}      {}      {ratio:12.2}      {}", rate(own), rate(peer), rate(load));
        }
        ratios.sort_by(f64::total_cmp);
        println!("median ratio {:.2}, wanted at least 1.00", ratios[ROUNDS / 2]);
    }
}
