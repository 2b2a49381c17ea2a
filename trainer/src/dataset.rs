//! What is learned from: samples with labels, and the pictures that belong to them.
//!
//! A [`Gallery`] is either drawn from the simulated planet ([`PlanetGallery`]) or read from the user's files
//! ([`FileGallery`]); nothing downstream knows which.

mod files;
mod planet;
mod selection;

use homing_models::LatLon;
use homing_models::frame::FrameError;
use homing_models::pictures::PictureError;
use homing_models::sites::{KOEPPEN, Labels, QUANTITIES, Quantity};
use homing_models::tasks::{Classification, Regression, TaskList};
use homing_planet::Split;

pub use files::FileGallery;
pub use planet::PlanetGallery;
pub use selection::Selection;

use crate::recipe::{Data, Recipe};

/// One place with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where.
    pub position: LatLon,
    /// ISO 3166-1 alpha-2 code of the country.
    pub country: [u8; 2],
    /// First-level administrative unit (state, region).
    pub admin1: String,
    /// Second-level administrative unit (county, district).
    pub admin2: String,
    /// The town it belongs to.
    pub town: String,
    /// Labels of the auxiliary tasks; the month is that of variant 0.
    pub labels: Labels,
}

/// What a picture shows beside the place, in words for captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenery {
    /// Such as "under a clear sky".
    pub weather: &'static str,
    /// Such as "by day".
    pub light: &'static str,
    /// Such as "a street in a city".
    pub surroundings: &'static str,
}

/// A picture of a gallery cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The file cannot be read or is no picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// No square can be cut out of a picture.
    #[error(transparent)]
    Square(#[from] FrameError),
    /// The sample has fewer views.
    #[error("sample {sample} has {views} views; view {asked} was asked for")]
    NoSuchView {
        /// Index of the sample.
        sample: usize,
        /// How many it has.
        views: usize,
        /// The one that was asked for, from 0.
        asked: usize,
    },
}

/// Samples and their pictures.
pub trait Gallery: Sync {
    /// All samples, in an order that never changes.
    fn samples(&self) -> &[Sample];

    /// Number of views of a sample, 1..=4, in the order front, right, back, left.
    fn views(&self, sample: usize) -> usize;

    /// Month of the picture, 0 (January) to 11.
    fn month(&self, sample: usize, variant: u64) -> Option<usize>;

    /// Where the first view looks, 0..360 degrees clockwise from north.
    fn heading_deg(&self, sample: usize) -> Option<f64>;

    /// What the pictures of this variant show, where that is known.
    fn scenery(&self, sample: usize, variant: u64) -> Option<Scenery> {
        let _ = (sample, variant);
        None
    }

    /// Renders or reads the first `out.len() / (3 * size_px * size_px)` views of a sample, each `size_px` rows of
    /// `size_px` RGB pixels. Variant 0 is the sample as it was taken; on the planet, others have another season,
    /// weather, light and traffic. Pure: equal arguments give equal bytes.
    ///
    /// # Errors
    /// When a picture cannot be read, or there are not as many.
    fn views_into(&self, sample: usize, variant: u64, size_px: usize, out: &mut [u8]) -> Result<(), ViewError>;

    /// As [`Gallery::views_into`], for one view: `bearing` 0 front, 1 right, 2 back, 3 left.
    ///
    /// # Errors
    /// As [`Gallery::views_into`].
    fn view_into(
        &self,
        sample: usize,
        variant: u64,
        bearing: usize,
        size_px: usize,
        out: &mut [u8],
    ) -> Result<(), ViewError>;
}

/// The training and the validation gallery of a recipe.
///
/// Validation is the planet's own split, or as many of the user's lines, chosen by a hash of their position.
///
/// # Errors
/// When the user's file cannot be read; names the line.
pub fn open(recipe: &Recipe) -> anyhow::Result<(Box<dyn Gallery>, Box<dyn Gallery>)> {
    let validation = recipe.training.validation_sites as usize;
    match &recipe.data {
        Data::Planet { sites, seed } => Ok((
            Box::new(PlanetGallery::draw(Split::Train, *seed, *sites as usize)),
            Box::new(PlanetGallery::draw(Split::Validation, *seed, validation)),
        )),
        Data::Files(path) => {
            let (train, validation) = FileGallery::open(path)?.split(validation)?;
            Ok((Box::new(train), Box::new(validation)))
        }
    }
}

/// The training sites that make geocells and prototypes.
pub enum Mapped<'g> {
    /// All of them.
    All(&'g dyn Gallery),
    /// As many as the recipe says.
    Chosen(Selection<'g>),
}

impl<'g> std::ops::Deref for Mapped<'g> {
    type Target = dyn Gallery + 'g;

    fn deref(&self) -> &Self::Target {
        match self {
            Mapped::All(gallery) => *gallery,
            Mapped::Chosen(selection) => selection,
        }
    }
}

/// Those of the recipe's `geocells.sites`.
pub fn mapped<'g>(training: &'g dyn Gallery, recipe: &Recipe) -> Mapped<'g> {
    match recipe.geocells.sites.map(|n| n as usize) {
        Some(count) if count < training.samples().len() => Mapped::Chosen(Selection::evenly(training, count)),
        _ => Mapped::All(training),
    }
}

/// The auxiliary tasks that the samples have labels for, standardised over them. Month and climate zone are listed
/// when any sample has them.
pub fn task_list(gallery: &dyn Gallery) -> TaskList {
    let samples = gallery.samples();
    let fit = |(i, q): (usize, &Quantity)| {
        let values = samples.iter().filter_map(move |s| s.labels.quantities[i]).map(f64::from);
        values.clone().next().is_some().then(|| Regression::fit(q.name, q.unit, q.log, q.offset, values))
    };
    let mut classifications = Vec::new();
    if samples.iter().any(|s| s.labels.koeppen.is_some()) {
        let classes = KOEPPEN.iter().map(|&c| c.to_owned()).collect();
        classifications.push(Classification { name: "koeppen".to_owned(), classes });
    }
    if (0..samples.len()).any(|i| gallery.month(i, 0).is_some()) {
        let classes = MONTHS.iter().map(|&m| m.to_owned()).collect();
        classifications.push(Classification { name: "month".to_owned(), classes });
    }
    TaskList { regressions: QUANTITIES.iter().enumerate().filter_map(fit).collect(), classifications }
}

/// The classes of each task that no sample has, for a word to the user: `koeppen Csc, Dsd; month March`. Empty when each
/// class has some.
pub fn unseen(tasks: &TaskList, gallery: &dyn Gallery) -> String {
    let samples = gallery.samples();
    let unseen = |task: &Classification| {
        let mut seen = vec![false; task.classes.len()];
        for (i, sample) in samples.iter().enumerate() {
            let class = if task.name == "month" { gallery.month(i, 0) } else { sample.labels.koeppen };
            class.into_iter().for_each(|class| seen[class] = true);
        }
        let names: Vec<&str> =
            task.classes.iter().zip(seen).filter(|(_, s)| !s).map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{} {}", task.name, names.join(", ")))
    };
    tasks.classifications.iter().filter_map(unseen).collect::<Vec<_>>().join("; ")
}

/// Names of the months.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What a task of `list` should answer for a sample: the standardised value, `None` where unknown.
pub fn regression_target(task: &Regression, sample: &Sample) -> Option<f32> {
    sample.labels.quantity(&task.name).map(|v| task.encode(f64::from(v)) as f32)
}
