//! The command line of `homing-trainer`.

use clap::{Parser, Subcommand};

use crate::commands;

/// Makes models for homing: geocells, training, prototypes, bundles
#[derive(Clone, Debug, Parser)]
#[command(name = "homing-trainer", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Divide the sites of a recipe into geocells and draw them
    Geocells(commands::geocells::Arguments),
    /// Look at the simulated planet
    #[command(subcommand)]
    Planet(PlanetCommand),
}

#[derive(Clone, Debug, Subcommand)]
enum PlanetCommand {
    /// Draw a labelled contact sheet of panoramas from around the world
    Sheet(commands::sheet::Arguments),
}

/// Does what was asked for.
///
/// # Errors
/// Whatever the command says, to be printed on one line.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Command::Geocells(arguments) => commands::geocells::run(arguments),
        Command::Planet(PlanetCommand::Sheet(arguments)) => commands::sheet::run(arguments),
    }
}
