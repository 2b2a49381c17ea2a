//! `homing-trainer planet sheet --out FILE`: a labelled contact sheet of panoramas from around the world.

use std::path::PathBuf;

use homing_planet::Split;

use super::write_picture;
use crate::dataset::PlanetGallery;
use crate::sheet::{contact_sheet, spread_out};

/// Arguments of `planet sheet`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The PNG picture to write
    #[arg(long, default_value = "out/sheet.png")]
    out: PathBuf,
    /// Number of panoramas
    #[arg(long, default_value_t = 36, value_parser = clap::value_parser!(u32).range(1..=400))]
    sites: u32,
    /// Side of one view in pixels
    #[arg(long, default_value_t = 144, value_parser = clap::value_parser!(u32).range(32..=512))]
    size: u32,
    /// Panoramas in a row
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10))]
    columns: u32,
    /// Seed of the sites
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
///
/// # Errors
/// When the picture cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // From fifty times as many sites, those that are farthest apart.
    let gallery = PlanetGallery::draw(Split::Random, arguments.seed, 50 * arguments.sites as usize);
    let chosen = spread_out(&gallery, arguments.sites as usize);
    let sheet = contact_sheet(&gallery, &chosen, arguments.columns, arguments.size)?;
    write_picture(&arguments.out, &sheet)?;
    println!("{} panoramas of the simulated planet in {}", chosen.len(), arguments.out.display());
    Ok(())
}
