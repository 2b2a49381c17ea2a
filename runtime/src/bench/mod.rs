//! Bench: one panorama at a time, from the cameras to the report, as a vehicle has them (MLPerf's single
//! stream: batch of one, pre- and post-processing timed).

mod drawn;
mod machine;
mod table;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use homing_board::{
    host::{self, HostOutput, HostSettings},
    planet::Split,
};
use homing_kernels::{Kernel, multiply_in_registers};
use homing_models::{Bundle, figures::Evaluation};
use serde::{Deserialize, Serialize};

pub use machine::{Machine, System};
pub use table::side_by_side;

use crate::{
    Model,
    capture::Panorama,
    eval,
    event::Event,
    report::{Fix, Latency, nmea::SentenceSettings},
    supervise::{Observer, Supervisor},
};

/// Runs of the peak of products, and the length of one.
const PEAK_RUNS: usize = 5;
const PEAK_S: f64 = 0.02;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Panoramas, the first one not among them.
    pub queries: u64,
    /// Threads that share a panorama.
    pub threads: usize,
    /// Sites of the random hold-out that the accuracy is measured on; `None` for no accuracy.
    pub accuracy_sites: Option<u64>,
}

/// The report of a bench.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The board of the configuration.
    pub board: String,
    /// The machine, as its system tells.
    #[serde(flatten)]
    pub machine: Machine,
    /// Threads that share a panorama.
    pub threads: usize,
    /// The vector instructions that the operators use.
    pub kernel: String,
    /// Products of bytes, 10^9 a second, that the kernel's instructions do at most on one thread: measured in registers.
    #[serde(default)]
    pub peak_gproducts_per_s: Option<f64>,
    /// Panoramas measured, the first one not among them.
    pub queries: usize,
    /// Times of each stage and of all together; `cut` is a part of `encode`.
    pub stages: BTreeMap<String, StageTimes>,
    /// Fixes a second, one after the other.
    pub fixes_per_s: f64,
    /// The very first fix.
    pub first_ms: f64,
    /// Opening the bundle, loading the graphs and trying them.
    pub load_ms: f64,
    /// Largest memory of the process.
    pub peak_rss_mb: Option<f64>,
    /// Temperature of the hottest sensor before and after.
    pub temperature_c: [Option<f64>; 2],
    /// Whether the processor was throttled meanwhile.
    pub throttled: Option<bool>,
    /// Energy of the board, or of the processor where only that is counted, for each fix.
    pub energy_mj_per_fix: Option<f64>,
    /// Accuracy on the random hold-out of the simulated planet, where it was asked for.
    pub accuracy: Option<Evaluation>,
    /// Name of the model.
    pub name: String,
    /// The model's short hash.
    pub model: String,
}

/// Times of one stage in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTimes {
    /// Half of the panoramas took at most this long.
    pub p50_ms: f64,
    /// Nine in ten.
    pub p90_ms: f64,
    /// Ninety-nine in a hundred.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Processor time on average; over all threads. Measured for the whole fix only.
    pub cpu_ms: Option<f64>,
}

#[derive(Default)]
struct Watcher {
    latencies: Vec<Latency>,
}

impl Observer for Watcher {
    fn fix(&mut self, fix: &Fix, _: &Panorama, _: &Model) {
        self.latencies.push(fix.latency);
    }

    fn told(&mut self, _: Event<'_>) {}
}

/// Measures panoramas of a simulated drive.
///
/// # Errors
/// When the bundle cannot be used or the board cannot be built.
pub fn run(bundle: &Path, bench: Bench) -> anyhow::Result<Report> {
    let Bench { queries, threads, accuracy_sites } = bench;
    let system = System::default();
    let started = Instant::now();
    let model = Model::load_for(Bundle::open(bundle)?, threads)?;
    let load_ms = ms(started.elapsed());
    let (card, threads) = (model.card.clone(), model.encoder.threads());
    let for_accuracy = accuracy_sites.map(|sites| (sites, model.clone()));
    let fixes = drawn::PANORAMAS as u64;
    let (board, _) = host::board(&HostSettings::default(), card.image_px, fixes, &HostOutput::default())?;
    let board = drawn::drawn(board)?;
    let name = board.name.clone();
    let mut supervisor = Supervisor::new(board, model, SentenceSettings::default());
    let (mut watcher, never) = (Watcher::default(), AtomicBool::new(false));
    supervisor.run(Some(1), None, &mut None, &never, &mut watcher)?;
    let first_ms = watcher.latencies.pop().map_or(0.0, |l| ms(l.total()));
    let (before, watch) = (cpu_time(), system.watch());
    supervisor.run(Some(1 + queries), None, &mut None, &never, &mut watcher)?;
    let seen = watch.end();
    let cpu = before.zip(cpu_time()).map(|(a, b)| ms(b.saturating_sub(a)) / queries as f64);
    // Before the accuracy, which takes memory of its own.
    let peak_rss_mb = system.peak_rss_mb();

    let times = |stage: fn(&Latency) -> Duration, cpu_ms| {
        let mut all: Vec<f64> = watcher.latencies.iter().map(|l| ms(stage(l))).collect();
        all.sort_by(f64::total_cmp);
        let rank = |q: f64| all[((all.len() as f64 * q).ceil() as usize).clamp(1, all.len()) - 1];
        StageTimes { p50_ms: rank(0.5), p90_ms: rank(0.9), p99_ms: rank(0.99), max_ms: rank(1.0), cpu_ms }
    };
    let stages = [
        ("capture", times(|l| l.capture, None)),
        ("encode", times(|l| l.encode, None)),
        ("cut", times(|l| l.cut, None)),
        ("locate", times(|l| l.locate, None)),
        ("heads", times(|l| l.heads, None)),
        ("report", times(|l| l.report, None)),
        ("total", times(Latency::total, cpu)),
    ];
    let whole: Duration = watcher.latencies.iter().map(Latency::total).sum();
    let kernel = Kernel::chosen()?;
    let measure = |(sites, model)| eval::on_planet(&model, Split::Random, sites, 1, || ());
    Ok(Report {
        board: name,
        machine: system.machine(),
        threads,
        kernel: kernel.name().to_owned(),
        peak_gproducts_per_s: Some(peak(kernel) * 1e-9),
        queries: watcher.latencies.len(),
        stages: stages.map(|(name, times)| (name.to_owned(), times)).into(),
        fixes_per_s: watcher.latencies.len() as f64 / whole.as_secs_f64(),
        first_ms,
        load_ms,
        peak_rss_mb,
        temperature_c: seen.temperature_c,
        throttled: seen.throttled,
        energy_mj_per_fix: seen.joules.map(|j| 1000.0 * j / queries as f64),
        accuracy: for_accuracy.map(measure).transpose()?,
        name: card.name.clone(),
        model: card.id.clone(),
    })
}

/// Products of bytes a second, in the best of a few short runs: others may have been disturbed.
fn peak(kernel: Kernel) -> f64 {
    let rate = |rounds| {
        let started = Instant::now();
        let products = multiply_in_registers(kernel, rounds);
        products as f64 / started.elapsed().as_secs_f64().max(1e-9)
    };
    // The first wakes the processor up and says how many rounds a run needs.
    let rounds = (PEAK_S * rate(10_000) / multiply_in_registers(kernel, 1) as f64) as usize;
    (0..PEAK_RUNS).map(|_| rate(rounds.max(1))).fold(0.0, f64::max)
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// Processor time of this process, all threads.
fn cpu_time() -> Option<Duration> {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(t.tv_sec).ok()?, u32::try_from(t.tv_nsec).ok()?))
}
