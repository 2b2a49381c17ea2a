//! The poster's ablation: every row trained, measured and kept, so that a second run goes on with what is missing.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use homing_models::bundle::MANIFEST;
use homing_models::figures::Figures;
use homing_models::manifest::sha256_hex;
use homing_planet::Split;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::ablation::{self, CaptionFigures, POSTER, REFINEMENT, RowFigures};
use crate::commands::write_whole;
use crate::dataset::{self, Gallery, PlanetGallery};
use crate::recipe::{Data, Recipe};

use super::checkpoint::fingerprint;
use super::evaluate::{Judge, Question, Refinement};
use super::network::Network;
use super::pretrain::{self, PRETRAINED};
use super::prototypes::prototypes;
use super::ranks::Alone;
use super::train::{StopRequest, train};
use super::workbench::Workbench;
use super::zero_shot::zero_shot;

/// An ablation of one recipe with one seed, in a working directory of its own.
pub struct Ablation<'a> {
    /// The recipe of the whole method.
    pub whole: Recipe,
    /// Working directory: the base's, each row's, and what was measured.
    pub out: PathBuf,
    /// Where the networks live.
    pub device: Device,
    /// Threads of the network and the loaders.
    pub threads: usize,
    /// Sites of each hold-out and their seed.
    pub measured: (usize, u64),
    /// Asked before each step whether to stop.
    pub stop: StopRequest<'a>,
}

/// Something measured, with a number for all that it depends on.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    fingerprint: i64,
    found: T,
}

impl Ablation<'_> {
    /// Trains and measures what is missing, and gives all rows, and what captions alone tell.
    ///
    /// # Errors
    /// When the recipe is not that of the whole method, a stage fails, or `stop` says so; a second run goes on.
    pub fn run(&self) -> Result<(Vec<RowFigures>, Vec<CaptionFigures>)> {
        let base = self.bench(ablation::base(&self.whole)?, "base")?;
        let fingerprint = self.fingerprint()?;
        let given = self.whole.tower.weights.clone();
        if given.is_none() && !pretrain::is_done(&base)? {
            eprintln!("the base: contrastive pretraining on captions of what is to be seen");
            pretrain::pretrain(&base, self.stop)?;
        }
        let weights = given.unwrap_or_else(|| base.out.join(PRETRAINED));
        let cells = u32::try_from(base.geocells.len())?;
        let row = |row: usize| {
            let name = format!("row-{row}.json");
            self.kept(&name, fingerprint, || {
                eprintln!("row {row}: {}", POSTER[row].name);
                self.row(row, &weights, cells)
            })
        };
        let rows = (0..POSTER.len()).map(row).collect::<Result<Vec<_>>>()?;
        let captions = self.kept("captions.json", fingerprint, || self.captions(&base, &weights, cells))?;
        Ok((rows, captions))
    }

    fn bench(&self, recipe: Recipe, folder: &str) -> Result<Workbench> {
        let out = self.out.join(folder);
        std::fs::create_dir_all(&out).with_context(|| format!("cannot make the directory {}", out.display()))?;
        let (training, validation) = dataset::open(&recipe)?;
        Workbench::assemble(recipe, out, self.device, self.threads, training, validation, &Alone)
    }

    /// A number for all that the rows depend on: the recipe, the hold-outs, and what the files that the recipe names
    /// hold now, but for the pictures themselves.
    fn fingerprint(&self) -> Result<i64> {
        let whole = &self.whole;
        let list = if let Data::Files(list) = &whole.data { Some(list) } else { None };
        // Debug text of plain values: stable within a version, which is all that a working directory needs.
        let mut text = format!("{whole:?} {:?}", self.measured);
        for path in list.into_iter().chain(&whole.tower.weights) {
            text += &contents(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        Ok(fingerprint(&[text.as_bytes()]))
    }

    /// What the file has, or what `measure` finds, which then goes into the file.
    fn kept<T: Serialize + for<'de> Deserialize<'de>>(
        &self,
        name: &str,
        fingerprint: i64,
        measure: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let path = self.out.join(name);
        if path.exists() {
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let kept: Kept<T> =
                serde_json::from_slice(&text).with_context(|| format!("{} is damaged: delete it", path.display()))?;
            ensure!(
                kept.fingerprint == fingerprint,
                "{} is of another recipe, other data or other hold-outs: choose another place with --out, or delete {}",
                path.display(),
                self.out.display()
            );
            return Ok(kept.found);
        }
        let kept = Kept { fingerprint, found: measure()? };
        write_whole(&path, &serde_json::to_vec_pretty(&kept)?)?;
        Ok(kept.found)
    }

    fn row(&self, row: usize, base: &Path, cells: u32) -> Result<RowFigures> {
        let started = Instant::now();
        // The refinement needs no training: it works on the network of the row before.
        let trained = if row == REFINEMENT { row - 1 } else { row };
        let bench = self.bench(ablation::of_row(&self.whole, trained, base, cells), &format!("row-{trained}"))?;
        if !pretrain::is_done(&bench)? {
            pretrain::pretrain(&bench, self.stop)?;
        }
        let network = train(&bench, &Alone, self.stop)?;
        let found = if row == REFINEMENT { Some(prototypes(&bench, &network)?) } else { None };
        let refinement = found.as_ref().map(|(prototypes, calibration)| Refinement {
            prototypes,
            params: &calibration.refine,
            radius: &calibration.radius,
        });
        let judge = Judge { geocells: &bench.geocells, tasks: &bench.tasks, refinement };
        let question = Question { one_view: !ablation::sees_panoramas(row), refined: refinement.is_some() };
        let figures = |(name, gallery): (&str, Box<dyn Gallery>)| {
            let figures = self.ask(&judge, &network, &*gallery, question)?;
            Ok((name.to_owned(), ablation::known(row, figures)))
        };
        let figures = self.holdouts()?.into_iter().map(figures).collect::<Result<_>>()?;
        let tried = found.iter().flat_map(|(_, calibration)| &calibration.tried);
        Ok(RowFigures {
            cells: bench.geocells.len(),
            seconds: started.elapsed().as_secs_f64(),
            figures,
            refinement: tried.map(ToString::to_string).collect(),
        })
    }

    fn ask(&self, judge: &Judge, network: &Network, gallery: &dyn Gallery, question: Question) -> Result<Figures> {
        let side = self.whole.tower.image_px as usize;
        let [figures] = judge.ask(network, gallery, side, [question])?;
        Ok(figures)
    }

    /// The hold-outs: the planet's two, or the validation part of the user's files.
    fn holdouts(&self) -> Result<Vec<(&'static str, Box<dyn Gallery>)>> {
        let (sites, seed) = self.measured;
        let of_planet = |split| -> Box<dyn Gallery> { Box::new(PlanetGallery::draw(split, seed, sites)) };
        Ok(match &self.whole.data {
            Data::Planet { .. } => vec![("random", of_planet(Split::Random)), ("towns", of_planet(Split::Towns))],
            Data::Files(_) => vec![("validation", dataset::open(&self.whole)?.1)],
        })
    }

    /// Zero-shot countries by the base and by the network that was pretrained on captions of places. A base of weights
    /// from elsewhere is not asked: a bundle has no text tower, and another's may have another shape.
    fn captions(&self, base: &Workbench, weights: &Path, cells: u32) -> Result<Vec<CaptionFigures>> {
        let after = self.bench(ablation::of_row(&self.whole, ablation::CONTRASTIVE, weights, cells), "row-6")?;
        let held_out = self.whole.contrastive.as_ref().map_or(&[][..], |c| &c.held_out);
        let side = self.whole.tower.image_px as usize;
        let (_, asked) = self.holdouts()?.remove(0);
        let ask = |bench: &Workbench| zero_shot(&pretrain::open(bench)?, &*bench.training, &*asked, side, held_out);
        let after = ask(&after)?;
        let before = self.whole.tower.weights.is_none().then(|| ask(base)).transpose()?;
        let pair = |countries: &str, before: Option<(usize, Figures)>, (sites, after): (usize, Figures)| {
            CaptionFigures { countries: countries.to_owned(), sites, before: before.map(|(_, figures)| figures), after }
        };
        Ok(vec![
            pair("that pretraining saw", before.as_ref().map(|b| b.seen.clone()), after.seen),
            pair("held out of pretraining", before.map(|b| b.held_out), after.held_out),
        ])
    }
}

/// Hashes of a file, or of all files of a folder; of a bundle its manifest's, which has those of the others.
fn contents(path: &Path) -> std::io::Result<String> {
    let manifest = path.join(MANIFEST);
    let mut files = if manifest.is_file() {
        vec![manifest]
    } else if path.is_dir() {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?
    } else {
        vec![path.to_owned()]
    };
    files.retain(|file| !file.is_dir());
    files.sort();
    let hashes = files.iter().map(|file| Ok(sha256_hex(&std::fs::read(file)?)));
    hashes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_hold_counts_and_not_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
        write("a", "one");
        write("b", "one");
        write("c", "two");
        let of = |name: &str| contents(&at(name)).unwrap();
        assert!(of("a") == of("b") && of("a") != of("c"));
        // A folder of weights by all of its files, a bundle by its manifest.
        std::fs::create_dir_all(at("weights/more")).unwrap();
        write("weights/tower.safetensors", "one");
        assert_eq!(of("weights"), of("a"));
        write(&format!("weights/{MANIFEST}"), "two");
        assert_eq!(of("weights"), of("c"));
        assert!(contents(&at("nothing")).is_err());
    }
}
