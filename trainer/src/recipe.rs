//! The recipe: one TOML file that says everything about a training run, from the sites to the bundle.
//!
//! A recipe is checked completely when it is read; what comes after never meets a value out of range. Unknown
//! keys are refused, and every error is one line that names the file, the line and the key.

mod contrastive;
mod distillation;
mod preset;
mod text;
mod tower;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use contrastive::{CaptionStyle, Contrastive};
pub use distillation::Distillation;
pub use preset::Preset;
pub use text::TextTower;
pub use tower::{Activation, StemLayer, Tower};

/// Everything one run of the trainer needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run and of its output folder: letters, digits, `-` and `_`.
    pub name: String,
    /// Seed of weights, batches and augmentation; the planet has its own.
    pub seed: u64,
    /// Where the sites come from.
    pub data: Data,
    /// How the sites are divided into geocells.
    pub geocells: GeocellRecipe,
    /// The vision transformer.
    pub tower: Tower,
    /// Pretraining on captions, before the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrastive: Option<Contrastive>,
    /// A trained bundle that teaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// The optimisation.
    pub training: Training,
    /// Weights of the auxiliary losses.
    pub tasks: TaskWeights,
    /// The clusters inside the cells.
    pub prototypes: PrototypeRecipe,
    /// Candidates of the refinement's parameters; the best on validation goes into the bundle.
    pub refine: RefineRecipe,
    /// What the bundle says about itself.
    pub export: Export,
}

/// Where the sites come from: exactly one of the simulated planet and the user's own files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Data {
    /// `planet = { sites = 50000, seed = 1 }`: sites of the simulated planet's training split.
    #[serde(rename = "planet")]
    Planet {
        /// Number of training sites.
        sites: u32,
        /// Seed of the draw.
        seed: u64,
    },
    /// `files = "sites.jsonl"`: one JSON object a line (see `dataset`), relative to the recipe's folder.
    Files(PathBuf),
}

/// Division into semantic geocells (method section 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeocellRecipe {
    /// At most so many of the training sites make cells and prototypes; the others train the network only: what a bundle
    /// has no room for still teaches. They are spread evenly over the order of all, which should have no period, such as
    /// four seasons of each place. All where absent. Each is 12 bytes of a bundle, and its share of a prototype.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites: Option<u32>,
    /// Cells under this many of these sites are merged with a neighbour.
    pub min: u32,
    /// Cells with this many sites or more are split.
    pub max: u32,
    /// The OPTICS rounds of splitting, `[min_samples, xi]` each, tried in order.
    pub rounds: Vec<(u32, f64)>,
    /// About so many plain rectangles in latitude and longitude instead of semantic cells: for comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rectangles: Option<u32>,
}

/// The optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Optimiser steps in all.
    pub steps: u32,
    /// Sites in one step, of each process where several train together.
    pub batch_sites: u32,
    /// So many steps see a panorama that was rendered or read once, each with other views, colours and shifts of it (data
    /// echoing, Choi and others 2019): for a GPU that would wait for its pictures. 1 shows new ones in every step. More take
    /// all views of a site, so that 3 make 2.5 views a site and step cheaper by 1.9; the loaders keep 16 batches of whole
    /// panoramas, and for each thread as many batches of pixels as this, and are even with 16 threads or more.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub echo: u32,
    /// Peak learning rate of AdamW; cosine to zero after the warm-up.
    pub lr: f64,
    /// Weight decay of AdamW, on matrices only.
    pub weight_decay: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: u32,
    /// Gradients are clipped to this norm.
    pub clip_norm: f64,
    /// Temperature of haversine label smoothing in kilometres.
    pub tau_km: f64,
    /// What the cells' targets are.
    #[serde(default)]
    pub smoothing: Smoothing,
    /// Which weights are trained.
    #[serde(default)]
    pub trainable: Trainable,
    /// How the tower's linear layers and convolutions compute while they are trained.
    #[serde(default)]
    pub arithmetic: Arithmetic,
    /// In so many of the last steps products are rounded as the int8 graphs round them, so that the weights learn to
    /// live with it; 0 quantises afterwards only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub int8_steps: u32,
    /// Decay of the running average of the weights, which is what gets exported; 0 for none.
    pub average_decay: f64,
    /// How many views of a site one training example has.
    pub views: ViewShares,
    /// Strength of colour jitter: brightness, contrast and saturation vary by this factor. 0 for none.
    pub colour_jitter: f64,
    /// Largest horizontal shift of a view in pixels, wrapped around. Views are never mirrored: it would swap the
    /// driving side.
    pub roll_px: u32,
    /// Steps between checkpoints.
    pub checkpoint_every: u32,
    /// Steps between validations.
    pub validate_every: u32,
    /// Sites of the validation split: for the curve, the choice of refinement and the radius calibration.
    pub validation_sites: u32,
}

/// What the cells' targets are (method section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Smoothing {
    /// `"haversine"`: a distribution over cells that falls with the distance.
    #[default]
    Haversine,
    /// `"unnormalised"`: the same without normalisation, which gives dense regions more weight; for comparisons.
    Unnormalised,
    /// `"none"`: the true cell alone.
    None,
}

/// How linear layers and convolutions compute in training; all else, and all that is measured, is in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// `"float"`: in single precision.
    #[default]
    Float,
    /// `"bfloat16"`: products of bfloat16, sums in single precision; faster where the processor has instructions for
    /// it (AVX512-BF16, AMX) and on GPUs. In single precision where it has none.
    Bfloat16,
}

/// Which weights are trained (method section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trainable {
    /// `"all"`: tower and heads.
    #[default]
    All,
    /// `"last-layer"`: the last block of the tower and the heads.
    LastLayer,
    /// `"heads"`: the heads, on a tower that stays as it started.
    Heads,
}

/// Probabilities that a training example has one, two or four views. They sum to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewShares {
    /// One view.
    pub one: f64,
    /// Two views.
    pub two: f64,
    /// All four views.
    pub four: f64,
}

/// Weights of the auxiliary losses beside the cells' cross entropy (method section 5: 8, 2, 1); 0 leaves a task out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskWeights {
    /// Mean squared error over all standardised regressions.
    pub regression: f64,
    /// Cross entropy of the Koeppen climate zone.
    pub koeppen: f64,
    /// Cross entropy of the month.
    pub month: f64,
}

/// OPTICS inside each cell (method section 6).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrototypeRecipe {
    /// Smallest neighbourhood and smallest cluster.
    pub min_samples: u32,
    /// Steepness that bounds a cluster, 0..1.
    pub xi: f64,
    /// Moments at which each simulated site is seen for its prototype: season, weather and light average out.
    #[serde(default = "one")]
    pub variants: u32,
}

fn one() -> u32 {
    1
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Candidates among which validation chooses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefineRecipe {
    /// Numbers of best cells to look into, 1..=40.
    pub k: Vec<u32>,
    /// Temperatures of the softmax over the cells' best prototypes.
    pub temperature: Vec<f32>,
    /// Longest moves away from the first cell in kilometres; `inf` for no limit.
    pub limit_km: Vec<f32>,
    /// Temperatures of the mean over the clusters of the winning cell; none, and only one cluster is the guess.
    #[serde(default)]
    pub blend: Vec<f32>,
}

impl RefineRecipe {
    /// The candidate limits with `inf` as `None`.
    pub fn limits(&self) -> impl Iterator<Item = Option<f32>> + '_ {
        self.limit_km.iter().map(|&km| km.is_finite().then_some(km))
    }
}

/// What the bundle says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Name of the model.
    pub name: String,
    /// Licence of the weights, an SPDX expression.
    pub licence: String,
}

/// A key with a value out of range.
struct Wrong {
    key: &'static str,
    why: String,
}

/// A recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("recipe {path}: {source}; name a TOML file such as trainer/recipes/own.toml")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, a key is unknown or missing, or a value has the wrong type.
    #[error("recipe {path} line {line}: {key}{message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key on that line followed by a colon, or empty.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A value is out of range.
    #[error("recipe {path} line {line}: {key}: {message}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Dotted key.
        key: String,
        /// What is wrong.
        message: String,
    },
}

impl Recipe {
    /// Reads and checks a recipe. Relative `data.files`, `tower.weights` and `distillation.teacher` are taken from the
    /// recipe's folder.
    ///
    /// # Errors
    /// One line with the file, the line and the key.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        let mut recipe = Self::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        if let Data::Files(file) = &mut recipe.data {
            *file = folder.join(&*file);
        }
        if let Some(weights) = &mut recipe.tower.weights {
            *weights = folder.join(&*weights);
        }
        if let Some(distillation) = &mut recipe.distillation {
            distillation.teacher = folder.join(&distillation.teacher);
        }
        Ok(recipe)
    }

    /// Reads and checks a recipe's text; `path` is for messages only.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, RecipeError> {
        let recipe: Recipe = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..at].matches('\n').count() + 1;
            let key = text.lines().nth(line - 1).and_then(|l| l.split_once('=')).map(|(k, _)| k.trim());
            RecipeError::Parse {
                path: path.to_owned(),
                line,
                key: key.map(|k| format!("{k}: ")).unwrap_or_default(),
                message: e.message().replace('\n', " "),
            }
        })?;
        recipe.check().map_err(|wrong| RecipeError::Value {
            path: path.to_owned(),
            line: line_of(text, wrong.key),
            key: wrong.key.to_owned(),
            message: wrong.why,
        })?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), Wrong> {
        let is_name = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let unit = |x: f64| x > 0.0 && x < 1.0;
        let t = &self.training;
        let g = &self.geocells;
        let share_sum = t.views.one + t.views.two + t.views.four;
        let shares_valid = [t.views.one, t.views.two, t.views.four].iter().all(|s| *s >= 0.0);
        let weighs = |w: f64| w >= 0.0 && w.is_finite();
        let sites_valid = !matches!(self.data, Data::Planet { sites: 0, .. });
        let rounds_valid = g.rounds.iter().all(|&(min_samples, xi)| min_samples >= 2 && unit(xi));
        let r = &self.refine;
        let checks: [(bool, &'static str, &str); 33] = [
            (is_name(&self.name), "name", "use letters, digits, - and _"),
            (is_name(&self.export.name), "export.name", "use letters, digits, - and _"),
            (!self.export.licence.is_empty(), "export.licence", "must not be empty"),
            (sites_valid, "data.planet", "needs at least one site"),
            (g.sites != Some(0), "geocells.sites", "must be at least 1"),
            (g.min >= 1, "geocells.min", "must be at least 1"),
            (g.max >= 2 * g.min, "geocells.max", "must be at least twice geocells.min"),
            (g.rectangles != Some(0), "geocells.rectangles", "must be at least 1"),
            (rounds_valid, "geocells.rounds", "each needs min_samples >= 2 and xi between 0 and 1"),
            (t.steps > 0, "training.steps", "must be at least 1"),
            (t.batch_sites > 0, "training.batch_sites", "must be at least 1"),
            ((1..=16).contains(&t.echo), "training.echo", "must be 1..=16"),
            (positive(t.lr), "training.lr", "must be above 0"),
            (t.weight_decay >= 0.0 && t.weight_decay.is_finite(), "training.weight_decay", "must be 0 or more"),
            (t.warmup_steps <= t.steps, "training.warmup_steps", "must not exceed training.steps"),
            (t.int8_steps <= t.steps, "training.int8_steps", "must not exceed training.steps"),
            (positive(t.clip_norm), "training.clip_norm", "must be above 0"),
            (positive(t.tau_km), "training.tau_km", "must be above 0"),
            ((0.0..1.0).contains(&t.average_decay), "training.average_decay", "must be 0 or more and under 1"),
            (shares_valid && (share_sum - 1.0).abs() < 1e-6, "training.views", "one, two and four must sum to 1"),
            ((0.0..1.0).contains(&t.colour_jitter), "training.colour_jitter", "must be 0 or more and under 1"),
            (t.checkpoint_every > 0, "training.checkpoint_every", "must be at least 1"),
            (t.validate_every > 0, "training.validate_every", "must be at least 1"),
            (t.validation_sites >= 10, "training.validation_sites", "must be at least 10"),
            (weighs(self.tasks.regression), "tasks.regression", "must be 0 or more"),
            (weighs(self.tasks.koeppen), "tasks.koeppen", "must be 0 or more"),
            (weighs(self.tasks.month), "tasks.month", "must be 0 or more"),
            (self.prototypes.min_samples >= 2, "prototypes.min_samples", "must be at least 2"),
            ((1..=64).contains(&self.prototypes.variants), "prototypes.variants", "must be 1..=64"),
            (unit(self.prototypes.xi), "prototypes.xi", "must be between 0 and 1"),
            (
                !r.k.is_empty() && r.k.iter().all(|k| (1..=40).contains(k)),
                "refine.k",
                "needs one or more values in 1..=40",
            ),
            (
                !r.temperature.is_empty() && r.temperature.iter().all(|&t| t > 0.0 && t.is_finite()),
                "refine.temperature",
                "needs one or more values above 0",
            ),
            (r.blend.iter().all(|&t| t > 0.0 && t.is_finite()), "refine.blend", "values must be above 0"),
        ];
        if let Some((_, key, why)) = checks.into_iter().find(|(holds, _, _)| !holds) {
            return Err(Wrong { key, why: why.to_owned() });
        }
        if r.limit_km.is_empty() || r.limit_km.iter().any(|&km| km.is_nan() || km <= 0.0) {
            return Err(Wrong { key: "refine.limit_km", why: "needs one or more values above 0, or inf".into() });
        }
        if let Some(contrastive) = &self.contrastive {
            contrastive.check()?;
        }
        self.distillation.as_ref().map_or(Ok(()), |distillation| distillation.check(t.smoothing))?;
        self.tower.check()
    }
}

/// The line (from 1) on which `section.key` or a top-level `key` stands; the section's own line if the key is inside
/// something else.
fn line_of(text: &str, dotted: &str) -> usize {
    let (section, key) = dotted.split_once('.').unwrap_or(("", dotted));
    let (mut current, mut fallback) = (String::new(), 1);
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(head) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            current = head.trim().to_owned();
            if current == section {
                fallback = i + 1;
            }
        } else if current == section && line.split_once('=').is_some_and(|(k, _)| k.trim() == key) {
            return i + 1;
        }
    }
    fallback
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../recipes/shipped.toml");
    const MINIATURE: &str = include_str!("../recipes/miniature.toml");

    fn parse(text: &str) -> Result<Recipe, String> {
        Recipe::parse(text, Path::new("r.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn our_recipes_are_valid_and_survive_a_round_trip() {
        let others = [
            include_str!("../recipes/own.toml"),
            include_str!("../recipes/shipped-first.toml"),
            include_str!("../recipes/shipped-second.toml"),
            include_str!("../recipes/shipped-third.toml"),
            include_str!("../recipes/shipped-fourth.toml"),
            include_str!("../recipes/shipped-fifth.toml"),
            include_str!("../recipes/shipped-sixth.toml"),
        ];
        for text in [SHIPPED, MINIATURE].into_iter().chain(others) {
            let recipe = parse(text).unwrap();
            assert_eq!(parse(&toml::to_string(&recipe).unwrap()).unwrap(), recipe);
            assert_eq!(recipe.tower.tokens(), recipe.tower.grid().pow(2) + 1);
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_key() {
        let with = |from: &str, to: &str| {
            assert!(MINIATURE.contains(from), "{from}");
            parse(&MINIATURE.replacen(from, to, 1)).unwrap_err()
        };
        let line_of = |key: &str| MINIATURE.lines().position(|l| l.starts_with(key)).unwrap() + 1;
        for (from, to, key, expected) in [
            ("steps =", "stepz =", "steps", "unknown field `stepz`"),
            ("tau_km = 75.0", "tau_km = \"far\"", "tau_km", "tau_km: invalid type: string"),
            ("tau_km = 75.0", "tau_km = -75.0", "tau_km", "training.tau_km: must be above 0"),
            ("min = 30", "sites = 0\nmin = 30", "min", "geocells.sites: must be at least 1"),
            ("xi = 0.15", "xi = 1.5", "xi", "prototypes.xi: must be between 0 and 1"),
            ("heads =", "heads = 7 #", "heads", "tower.heads: 7 does not divide the width"),
        ] {
            let error = with(from, to);
            let start = format!("recipe r.toml line {}: ", line_of(key));
            assert!(error.starts_with(&start) && error.contains(expected) && !error.contains('\n'), "{error}");
        }
        assert!(with("[export]", "[exprot]").contains("unknown field `exprot`"));
        assert!(with("seed = ", "# seed = ").contains("missing field `seed`"));
        assert!(with("planet = {", "plane = {").contains("unknown variant `plane`"));
    }
}
