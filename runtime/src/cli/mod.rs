//! The command line: arguments become ready-to-use values here, and nothing behind it parses again.

mod drive;
mod evaluate;
mod install;
mod journal;
mod locate;
mod map;
mod model;
mod mounted;
mod record;
mod service;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, Parser, Subcommand, builder::NonEmptyStringValueParser, value_parser};
use homing_models::one_line;

use crate::{
    Model,
    bench::{self, Bench, Report},
    check,
    config::Config,
    store,
    supervise::MAP_FILE,
};

/// Tells a vehicle that lost GPS where it is, from four cameras. Without a command: a simulated drive.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100, after_help = DRIVE_ENDS)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the loop on the configured board; on the host board a simulated drive
    #[command(after_help = DRIVE_ENDS)]
    Run(RunArgs),
    /// Keep what the cameras see and GNSS says, to be driven again with run --replay
    #[command(after_help = RECORDING)]
    Record(RecordArgs),
    /// Draw a vehicle's log of fixes on a map
    Map(MapArgs),
    /// Say where pictures were taken: one to four (front right back left), or a directory of them
    #[command(after_help = CELLS)]
    Locate(LocateArgs),
    /// Measure a model on the planet's hold-outs or on your own pictures
    Eval(EvalArgs),
    /// Put a model on a vehicle, beside the one it has, to which a bad one gives way by itself
    #[command(after_help = STORE)]
    Install(InstallArgs),
    /// Say what a bundle holds, and which of its operators run fast on this processor
    #[command(after_help = KERNELS)]
    Model(ModelArgs),
    /// Measure the time of each stage, one panorama at a time
    #[command(after_help = BENCH)]
    Bench(BenchArgs),
    /// Check configuration, bundle, cameras, link and output, and say how to mend what is wrong
    Check(CheckArgs),
}

const DRIVE_ENDS: &str = "Ctrl-C ends a drive after the fix in progress, with complete files and exit code 0; a \
    second one ends it at once. A reader of standard output that goes away does not end it.";

const RECORDING: &str = "The folder gets 000001-front.jpg, 000001-right.jpg and so on, panoramas.jsonl with a line for \
    each panorama: its time, and what GNSS said, and sites.jsonl, the data set for homing eval and homing-trainer. One that is there already is gone on with. Ctrl-C ends it after the \
    panorama in progress.";

const STORE: &str = "The bundle is copied, its hashes are checked, and it is tried; then it is the current one of the \
    store, from the next start of the program on. One that is damaged later, or that three starts bring to no estimate, \
    gives way to the one before it, in the log. Older ones are removed.";

const CELLS: &str = "cells: the answer's first, then by falling p, five at most. p (per cent in the text) is the \
    cell's probability after refinement; those of all cells considered add up to 1. The answer's may be smaller \
    than the next when that one lies beyond the model's distance limit. In JSON, lat and lon of a cell are its \
    centroid.";

const BENCH: &str = "One panorama after the other, each waited for, from the cameras of a simulated vehicle to the \
    report (MLPerf's single stream). Its pictures are drawn beforehand, eight panoramas that come round again, so that no \
    figure but memory includes the drawing; capture is to copy them: on a vehicle it is another. Processor time is \
    measured for the whole fix only: cpu_ms is null for the single stages. What the system does not tell (governor, \
    temperature, throttling, energy) is unknown, and null in JSON. HOMING_KERNEL=NAME in the environment measures other \
    vector instructions, see homing model --help.";

const KERNELS: &str = "The environment variable HOMING_KERNEL chooses other vector instructions than the best, for \
    measurements: portable, avx2, avx-vnni, avx512-vnni, amx, neon, dotprod, as far as the processor has them. It \
    counts for all commands.";

#[derive(Debug, Args)]
struct BundleArg {
    /// Directory of the model bundle or of a store of them [default: /var/lib/homing/bundles, then models/shipped,
    /// then /usr/share/homing/bundle]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    ride: RideArgs,
    /// Drive a recording of homing record again, with its cameras, its GNSS and its times, as fast as it goes
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["seed", "forever"])]
    replay: Option<PathBuf>,
    /// Directory for drive.nmea and fixes.jsonl, at a desk for display.png and drive.png too [default: out]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also send the sentences, or MAVLink where that is set, to a new pseudo-terminal (pty), a device or a file
    #[arg(long, value_name = "pty|PATH", value_parser = NonEmptyStringValueParser::new())]
    link: Option<String>,
}

#[derive(Debug, Args)]
struct RecordArgs {
    #[command(flatten)]
    ride: RideArgs,
    /// Where the recording goes
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct MapArgs {
    /// Files fixes.jsonl, in the order of the drive, or their directories
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Where the picture goes (PNG)
    #[arg(long, value_name = "FILE", default_value = MAP_FILE)]
    out: PathBuf,
}

/// Which vehicle, how long and how fast.
#[derive(Debug, Args)]
struct RideArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Configuration file (TOML): board/host.toml, board/raspberry.toml and board/jetson.toml show every setting
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop after this many fixes [default: 60 on the simulated vehicle, none on a vehicle of hardware]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    fixes: Option<u64>,
    /// Do not stop before Ctrl-C
    #[arg(long, conflicts_with = "fixes")]
    forever: bool,
    /// Where on Earth the simulated drive starts, its weather and its noise
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Wait until this many seconds have passed between fixes
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pace: Option<Duration>,
}

#[derive(Debug, Args)]
struct LocateArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Pictures (JPEG or PNG): front right back left, as many as there are, or one directory, whose pictures come in that
    /// order where their names contain those words, else by name
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true))]
struct EvalArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Sites of the simulated planet
    #[arg(long, group = "source")]
    planet: bool,
    /// How many sites of each hold-out
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = value_parser!(u64).range(1..=1_000_000))]
    sites: u64,
    /// Which sites are drawn
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// One hold-out only [default: both]
    #[arg(long, value_enum)]
    holdout: Option<Holdout>,
    /// Your own pictures, one JSON object a line, as for training: {"images":["front.jpg",...],"lat":..,"lon":..},
    /// and as far as known "country":"FR", "month":7, "koeppen":"Cfb", "elevation_m" and the other labels
    #[arg(long, value_name = "FILE", group = "source", conflicts_with_all = ["holdout", "sites", "seed"])]
    dataset: Option<PathBuf>,
    /// Print one JSON object per hold-out
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Holdout {
    /// Sites drawn at random
    Random,
    /// Towns never seen in training
    Towns,
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// Directory of the bundle
    #[arg(value_name = "BUNDLE", required_unless_present = "back")]
    source: Option<PathBuf>,
    /// Return to the bundle before the current one
    #[arg(long, conflicts_with = "source")]
    back: bool,
    /// Where the vehicle keeps its bundles; what the configuration calls bundle
    #[arg(long, value_name = "DIR", default_value = store::PLACE)]
    store: PathBuf,
}

#[derive(Debug, Args)]
struct ModelArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BenchArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Panoramas to measure
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = value_parser!(u64).range(10..=1_000_000))]
    queries: u64,
    /// Threads that share a panorama, each with views of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u8).range(1..=4))]
    threads: u8,
    /// Measure the accuracy too, on so many sites of the simulated planet's random hold-out
    #[arg(long, value_name = "SITES", num_args = 0..=1, default_missing_value = "2000",
          value_parser = value_parser!(u64).range(1..=1_000_000))]
    accuracy: Option<u64>,
    /// Put the report beside one that `--json` wrote before, of another board, kernel or model
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    compare: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Configuration file (TOML): board/host.toml, board/raspberry.toml and board/jetson.toml show every setting
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the program: 0 when it did what was asked, 1 when it failed, 2 when it was asked wrongly.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version come this way too, with code 0. Nobody to tell is no reason to fail otherwise.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => drive::run(args),
        Command::Record(args) => record::run(args),
        Command::Map(args) => map::run(args),
        Command::Locate(args) => locate::run(args),
        Command::Eval(args) => evaluate::run(args),
        Command::Install(args) => install::run(args),
        Command::Model(args) => model::run(args),
        Command::Bench(args) => bench_command(args),
        Command::Check(args) => check_command(args),
    };
    match outcome {
        Ok(code) => code,
        Err(e) if e.downcast_ref::<PrintError>().is_some_and(PrintError::nobody_reads) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "homing: {}", one_line(e.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Says something to a person, who need not be there.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "homing: {line}");
}

/// Standard output did not take what was printed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}; send it where there is room")]
struct PrintError(#[source] io::Error);

impl PrintError {
    /// Whether the reader of our output just went away, as `head` does.
    fn nobody_reads(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints whole lines.
fn print(text: &str) -> Result<(), PrintError> {
    io::stdout().lock().write_all(text.as_bytes()).map_err(PrintError)
}

fn load(config: &Config, named: Option<&Path>) -> anyhow::Result<Model> {
    Ok(Model::load_for(store::bundle_at(&config.bundle_dir(named), &mut tell)?, config.threads)?)
}

fn bench_command(args: BenchArgs) -> anyhow::Result<ExitCode> {
    // Read first: nobody wants to hear after minutes that the file is not there.
    let other = args.compare.as_deref().map(read_report).transpose()?;
    let asked = Bench { queries: args.queries, threads: args.threads.into(), accuracy_sites: args.accuracy };
    let report = bench::run(&Config::default().bundle_dir(args.bundle.bundle.as_deref()), asked)?;
    let text = match (args.json, other) {
        (true, _) => serde_json::to_string(&report).context("a report has a JSON form")? + "\n",
        (false, Some(other)) => bench::side_by_side(&[&report, &other]),
        (false, None) => bench::side_by_side(&[&report]),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn read_report(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}; write one with homing bench --json", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no report; write one with homing bench --json", path.display()))
}

fn check_command(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let (mut looked, mut failed) = (0, Vec::new());
    check::run(args.config.as_deref(), args.bundle.bundle.as_deref(), |line| {
        looked += 1;
        failed.extend((!line.ok).then_some(line.what));
        print(&format!("{line}\n"))
    })?;
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let lines = if failed.len() == 1 { "its line says" } else { "their lines say" };
    bail!("{} of {looked} checks failed: {}; {lines} how to mend it", failed.len(), failed.join(", "))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(value).map_err(|_| format!("{text} is no time to wait"))
}

/// What is said wherever a model of the simulated planet answers.
const SIMULATED: &str = "simulated planet: this model knows nothing about real pictures";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["homing"]).unwrap().command.is_none());
        assert_eq!(Cli::try_parse_from(["homing", "--fixes", "3"]).unwrap().run.ride.fixes, Some(3));
        assert_eq!(Cli::try_parse_from(["homing", "eval"]).unwrap_err().exit_code(), 2);
        let refused = |args: &[&str]| assert_eq!(Cli::try_parse_from(args).unwrap_err().exit_code(), 2, "{args:?}");
        refused(&["homing", "run", "--pace", "-1"]);
        refused(&["homing", "run", "--link", ""]);
        refused(&["homing", "run", "--replay", "drive", "--seed", "3"]);
        refused(&["homing", "record"]);
        refused(&["homing", "bench", "--queries", "18446744073709551615"]);
        refused(&["homing", "eval", "--planet", "--sites", "99999999999999999"]);
    }
}
