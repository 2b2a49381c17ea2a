//! The command line: arguments become ready-to-use values here, and nothing behind it parses again.

mod drive;
mod evaluate;
mod locate;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use homing_models::Bundle;

use crate::{Model, bench, check, config::Config};

/// Tells a vehicle that lost GPS where it is, from four cameras. Without a command: a simulated drive.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the loop on the configured board; on the host board a simulated drive
    Run(RunArgs),
    /// Say where pictures were taken: one to four (front right back left), or a directory of them
    Locate(LocateArgs),
    /// Measure a model on the planet's hold-outs or on your own pictures
    Eval(EvalArgs),
    /// Measure the time of each stage, one panorama at a time
    Bench(BenchArgs),
    /// Check configuration, bundle, cameras, link and output, and say how to mend what is wrong
    Check(CheckArgs),
}

#[derive(Debug, Args)]
struct BundleArg {
    /// Directory of the model bundle [default: models/shipped, then /usr/share/homing/bundle]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop after this many fixes
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    fixes: u64,
    /// Do not stop before Ctrl-C
    #[arg(long, conflicts_with = "fixes")]
    forever: bool,
    /// Where on Earth the simulated drive starts, its weather and its noise
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Directory for drive.nmea, fixes.jsonl, display.png and drive.png [default: out]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also send the sentences to a new pseudo-terminal (pty), a device or a file
    #[arg(long, value_name = "pty|PATH")]
    link: Option<String>,
    /// Wait until this many seconds have passed between fixes
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pace: Option<Duration>,
}

#[derive(Debug, Args)]
struct LocateArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Pictures (JPEG or PNG): front right back left, as many as there are, or one directory
    #[arg(required = true, value_name = "IMAGE", num_args = 1..=4)]
    images: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct EvalArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Sites of the simulated planet
    #[arg(long, required_unless_present = "dataset")]
    planet: bool,
    /// How many sites of each hold-out
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    sites: u64,
    /// Which sites are drawn
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// One hold-out only [default: both]
    #[arg(long, value_enum)]
    holdout: Option<Holdout>,
    /// JSON lines of your own pictures: {"images":["front.jpg",...],"lat":..,"lon":..,"country":"FR"}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["planet", "holdout", "sites", "seed"])]
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
struct BenchArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Panoramas to measure
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(10..))]
    queries: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    bundle: BundleArg,
    /// Configuration file (TOML)
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
        Command::Locate(args) => locate::run(args),
        Command::Eval(args) => evaluate::run(args),
        Command::Bench(args) => bench_command(args),
        Command::Check(args) => check_command(args),
    };
    match outcome {
        Ok(code) => code,
        Err(e) if is_closed_output(&e) => ExitCode::SUCCESS,
        Err(e) => {
            let line = format!("{e:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(io::stderr(), "homing: {line}");
            ExitCode::FAILURE
        }
    }
}

/// Whether an error only says that the reader of our output went away, as `head` does.
fn is_closed_output(e: &anyhow::Error) -> bool {
    e.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

fn load(config: &Config, named: Option<&Path>) -> anyhow::Result<Model> {
    Ok(Model::load(Bundle::open(&config.bundle_dir(named))?)?)
}

fn bench_command(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let report = bench::run(&Config::default().bundle_dir(args.bundle.bundle.as_deref()), args.queries)?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&report).context("a report has a JSON form")?)?,
        false => write!(out, "{report}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check_command(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut failed = false;
    check::run(args.config.as_deref(), args.bundle.bundle.as_deref(), |line| {
        failed |= !line.ok;
        writeln!(out, "{line}")
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
        assert_eq!(Cli::try_parse_from(["homing", "--fixes", "3"]).unwrap().run.fixes, 3);
        let five = ["homing", "locate", "a", "b", "c", "d", "e"];
        assert_eq!(Cli::try_parse_from(five).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["homing", "eval"]).unwrap_err().exit_code(), 2);
        assert!(Cli::try_parse_from(["homing", "run", "--pace", "-1"]).is_err());
    }
}
