//! `homing-trainer geocells RECIPE --out DIR`: divides the recipe's sites into cells and draws them.

use std::path::PathBuf;

use homing_planet::Planet;

use super::{write_picture, write_whole};
use crate::recipe::Recipe;
use crate::{dataset, geocells, map};

/// Arguments of `geocells`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The recipe, such as trainer/recipes/own.toml
    recipe: PathBuf,
    /// Folder for geocells.bin, report.txt, world.png and region.png
    #[arg(long, default_value = "out/geocells")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the recipe, the sites or the folder cannot be used.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let recipe = Recipe::load(&arguments.recipe)?;
    let (training, _) = dataset::open(&recipe)?;
    let division = geocells::divide(dataset::mapped(&*training, &recipe).samples(), &recipe.geocells)?;
    let out = |name: &str| arguments.out.join(name);
    write_whole(&out("geocells.bin"), &division.geocells.encode())?;
    write_whole(&out("report.txt"), division.report().as_bytes())?;
    let rings = Planet::get().rings().iter().map(|ring| &ring.points[..]);
    let world = map::draw(&division.geocells, rings.clone(), map::Window::WORLD, 2400, false);
    write_picture(&out("world.png"), &world)?;
    write_picture(&out("region.png"), &map::draw(&division.geocells, rings, map::Window::EUROPE, 1600, true))?;
    print!("{}", division.report());
    println!("written to {}", arguments.out.display());
    Ok(())
}
