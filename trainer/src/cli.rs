//! The command line of `homing-trainer`.

use clap::{Parser, Subcommand};

use crate::commands;

/// Makes models for homing: geocells, training, prototypes, bundles
#[derive(Clone, Debug, Parser)]
#[command(name = "homing-trainer", version)]
#[cfg_attr(
    not(feature = "torch"),
    command(
        after_help = "This build has no libtorch: `pretrain`, `train`, `prototypes`, `export`, `eval`, `ablate` and `planet probe` need --features torch."
    )
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Divide the sites of a recipe into geocells and draw them
    Geocells(commands::geocells::Arguments),
    /// Pretrain the tower on captions; part of `train` where the recipe has a [contrastive] section
    #[cfg(feature = "torch")]
    Pretrain(commands::pretrain::Arguments),
    /// Train a model: geocells, training, prototypes, export, evaluation, card. Goes on where an earlier run stopped
    #[cfg(feature = "torch")]
    Train(commands::train::Arguments),
    /// Make the prototypes of a trained network and choose the constants of the refinement
    #[cfg(feature = "torch")]
    Prototypes(commands::prototypes::Arguments),
    /// Make a bundle of a finished run
    #[cfg(feature = "torch")]
    Export(commands::export::Arguments),
    /// Measure a finished run, in floats and as a device would run it
    #[cfg(feature = "torch")]
    Eval(commands::eval::Arguments),
    /// Measure what each contribution of the method is worth: eight rows, each trained. Goes on where an earlier run
    /// stopped
    #[cfg(feature = "torch")]
    Ablate(commands::ablate::Arguments),
    /// Look at the simulated planet
    #[command(subcommand)]
    Planet(PlanetCommand),
}

#[derive(Clone, Debug, Subcommand)]
enum PlanetCommand {
    /// Draw a labelled contact sheet of panoramas from around the world
    Sheet(commands::sheet::Arguments),
    /// Estimate how near an observer of the planet's regional fields would come to towns never seen
    Observer(commands::observer::Arguments),
    /// Measure what a small network can read from the pictures: the regional fields and the driving side
    #[cfg(feature = "torch")]
    Probe(commands::probe::Arguments),
}

/// Does what was asked for.
///
/// # Errors
/// Whatever the command says, to be printed on one line.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Else each of them would do the whole, into the same files.
    #[cfg(feature = "torch")]
    anyhow::ensure!(
        matches!(arguments.command, Command::Train(_)) || crate::torch::ranks::launched() == 1,
        "only `train` runs as several processes: start this command without mpirun or srun"
    );
    match &arguments.command {
        Command::Geocells(arguments) => commands::geocells::run(arguments),
        #[cfg(feature = "torch")]
        Command::Pretrain(arguments) => commands::pretrain::run(arguments),
        #[cfg(feature = "torch")]
        Command::Train(arguments) => commands::train::run(arguments),
        #[cfg(feature = "torch")]
        Command::Prototypes(arguments) => commands::prototypes::run(arguments),
        #[cfg(feature = "torch")]
        Command::Export(arguments) => commands::export::run(arguments),
        #[cfg(feature = "torch")]
        Command::Eval(arguments) => commands::eval::run(arguments),
        #[cfg(feature = "torch")]
        Command::Ablate(arguments) => commands::ablate::run(arguments),
        Command::Planet(PlanetCommand::Sheet(arguments)) => commands::sheet::run(arguments),
        Command::Planet(PlanetCommand::Observer(arguments)) => {
            commands::observer::run(arguments);
            Ok(())
        }
        #[cfg(feature = "torch")]
        Command::Planet(PlanetCommand::Probe(arguments)) => commands::probe::run(arguments),
    }
}
