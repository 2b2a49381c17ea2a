//! `homing-trainer planet observer`: how near the planet's regional fields lead to towns never seen.

use homing_planet::Split;

use crate::dataset::PlanetGallery;
use crate::observer::{Observer, Reading};

/// About the errors that the shipped model made near towns never seen after its fifth training: 1.25 times the mean
/// absolute ones of `homing eval`, as of a normal distribution; of the inhabitants, whose logarithm `eval` does not tell, a
/// guess.
const LABELS: [f64; 6] = [220.0, 0.6, 1.9, 2.4, 0.33, 0.81];

/// Arguments of `planet observer`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Training sites that may be answered
    #[arg(long, default_value_t = 250_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    known: u32,
    /// Sites that are asked for
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sites: u32,
    /// Seed of the sites that are asked for
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
pub fn run(arguments: &Arguments) {
    let observer = Observer::of(&PlanetGallery::draw(Split::Train, 1, arguments.known as usize));
    let towns = PlanetGallery::draw(Split::Towns, arguments.seed, arguments.sites as usize);
    println!("{} known sites, {} sites of towns never seen; the country is given", arguments.known, arguments.sites);
    println!("fields read to     labels read as by                % within                 median     game");
    println!("(deviations)       the 5th training   1 km  25 km  200 km  750 km  2500 km       km    score");
    for labels in [None, Some(LABELS)] {
        for fields in [0.0, 0.3, 0.6] {
            let figures = observer.examine(&towns, Reading { fields, labels }, arguments.seed);
            let [a, b, c, d, e] = figures.within.shares();
            let told = if labels.is_some() { "yes" } else { "no" };
            println!(
                "{fields:<18.1} {told:<17} {a:5.2} {b:6.2} {c:7.2} {d:7.2} {e:8.2} {:8.1} {:8.0}",
                figures.median_km, figures.score
            );
        }
    }
}
