//! Bench: one panorama at a time, from the cameras to the report, as a vehicle has them (MLPerf's single
//! stream: batch of one, pre- and post-processing timed).

use std::{
    fmt,
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use homing_board::host::{self, HostOutput, HostSettings};
use homing_kernels::Kernel;
use homing_models::Bundle;
use serde::Serialize;

use crate::{
    Model,
    capture::Panorama,
    report::{Fix, Latency, nmea::SentenceSettings},
    supervise::{Observer, Supervisor},
};

/// The report of a bench.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The board.
    pub board: String,
    /// The processor as the system names it.
    pub processor: Option<String>,
    /// The system's kernel.
    pub os: Option<String>,
    /// How the processor's clock is governed.
    pub governor: Option<String>,
    /// Memory of the machine.
    pub ram_mb: Option<u64>,
    /// Threads of the inference; this version has one.
    pub threads: usize,
    /// The vector instructions that the operators use.
    pub kernel: &'static str,
    /// Panoramas measured, the first one not among them.
    pub queries: usize,
    /// Times of each stage and of all together.
    pub stages: std::collections::BTreeMap<&'static str, StageTimes>,
    /// The very first fix.
    pub first_ms: f64,
    /// Opening the bundle, loading the graphs and trying them.
    pub load_ms: f64,
    /// Largest memory of the process.
    pub peak_rss_mb: Option<f64>,
    /// Temperature of the processor before and after.
    pub temperature_c: [Option<f64>; 2],
    /// Name of the model.
    pub name: String,
    /// The model's short hash.
    pub model: String,
}

/// Times of one stage in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
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

    fn told(&mut self, _: &str) {}
}

/// Measures `queries` panoramas of a simulated drive.
///
/// # Errors
/// When the bundle cannot be used or the board cannot be built.
pub fn run(bundle: &Path, queries: u64) -> anyhow::Result<Report> {
    let temperature_before = temperature_c();
    let started = Instant::now();
    let model = Model::load(Bundle::open(bundle)?)?;
    let load_ms = ms(started.elapsed());
    let card = model.card.clone();
    let (board, _) = host::board(&HostSettings::default(), card.image_px, queries, &HostOutput::default())?;
    let name = board.name.clone();
    let mut supervisor = Supervisor::new(board, model, SentenceSettings::default());
    let (mut watcher, never) = (Watcher::default(), AtomicBool::new(false));
    supervisor.run(Some(1), None, &mut None, &never, &mut watcher)?;
    let first_ms = watcher.latencies.pop().map_or(0.0, |l| ms(l.total()));
    let before = cpu_time();
    supervisor.run(Some(1 + queries), None, &mut None, &never, &mut watcher)?;
    let cpu = before.zip(cpu_time()).map(|(a, b)| ms(b.saturating_sub(a)) / queries as f64);

    let times = |stage: fn(&Latency) -> Duration, cpu_ms| {
        let mut all: Vec<f64> = watcher.latencies.iter().map(|l| ms(stage(l))).collect();
        all.sort_by(f64::total_cmp);
        let rank = |q: f64| all[((all.len() as f64 * q).ceil() as usize).clamp(1, all.len()) - 1];
        StageTimes { p50_ms: rank(0.5), p90_ms: rank(0.9), p99_ms: rank(0.99), max_ms: rank(1.0), cpu_ms }
    };
    let stages = [
        ("capture", times(|l| l.capture, None)),
        ("encode", times(|l| l.encode, None)),
        ("locate", times(|l| l.locate, None)),
        ("report", times(|l| l.report, None)),
        ("total", times(Latency::total, cpu)),
    ];
    Ok(Report {
        board: name,
        processor: field("/proc/cpuinfo", "model name").or_else(|| field("/proc/cpuinfo", "Model")),
        os: first_line("/proc/sys/kernel/osrelease"),
        governor: first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        ram_mb: field("/proc/meminfo", "MemTotal").and_then(|t| kilobytes(&t)).map(|kb| (kb / 1024.0) as u64),
        threads: 1,
        kernel: Kernel::chosen()?.name(),
        queries: watcher.latencies.len(),
        stages: stages.into(),
        first_ms,
        load_ms,
        peak_rss_mb: field("/proc/self/status", "VmHWM").and_then(|t| kilobytes(&t)).map(|kb| kb / 1024.0),
        temperature_c: [temperature_before, temperature_c()],
        name: card.name.clone(),
        model: card.id.clone(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = |s: &Option<String>| s.clone().unwrap_or_else(|| "unknown".to_owned());
        writeln!(
            f,
            "board {}, {}, {} thread, kernel {}",
            self.board,
            unknown(&self.processor),
            self.threads,
            self.kernel
        )?;
        writeln!(f, "model {} {}, {} panoramas one at a time", self.name, self.model, self.queries)?;
        writeln!(f, "stage      p50 ms    p90 ms    p99 ms    max ms")?;
        for (stage, t) in &self.stages {
            writeln!(f, "{stage:8} {:8.2}  {:8.2}  {:8.2}  {:8.2}", t.p50_ms, t.p90_ms, t.p99_ms, t.max_ms)?;
        }
        write!(f, "first {:.0} ms, loading {:.0} ms", self.first_ms, self.load_ms)?;
        if let Some(cpu) = self.stages.get("total").and_then(|t| t.cpu_ms) {
            write!(f, ", processor time {cpu:.2} ms per panorama")?;
        }
        match self.peak_rss_mb {
            Some(mb) => writeln!(f, ", memory {mb:.0} MB"),
            None => writeln!(f),
        }
    }
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// Processor time of this process, all threads.
fn cpu_time() -> Option<Duration> {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(t.tv_sec).ok()?, u32::try_from(t.tv_nsec).ok()?))
}

fn first_line(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.split(':').next().is_some_and(|n| n.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kilobytes(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

fn temperature_c() -> Option<f64> {
    first_line("/sys/class/thermal/thermal_zone0/temp")?.parse::<f64>().ok().map(|t| t / 1000.0)
}
