//! The user's own pictures: a data set as [`homing_models::sites`] describes it.
//!
//! Names of places that a line leaves out (`country`, `admin1`, `admin2`, `town`) are looked up in the gazetteer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use homing_models::frame::SquareCutter;
use homing_models::pictures;
use homing_models::sites::{SiteLine, SitesError, read_sites};
use homing_planet::Planet;
use homing_planet::hash::mix;

use super::{Gallery, Sample, ViewError};

/// A data set cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file cannot be used.
    #[error(transparent)]
    Sites(#[from] SitesError),
    /// A picture is not there.
    #[error("{path} line {line}: picture {picture} does not exist; paths are relative to the file's own folder")]
    Missing {
        /// The data set.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The picture.
        picture: PathBuf,
    },
    /// There are too few samples.
    #[error(
        "{path}: {samples} samples are too few for training.validation_sites = {validation}, twice as many are needed; \
         lower that or add places"
    )]
    TooFew {
        /// The file.
        path: PathBuf,
        /// How many there are.
        samples: usize,
        /// How many validation asks for.
        validation: usize,
    },
    /// Whole places are put aside, and those that there are do not make up a validation set.
    #[error(
        "{path}: places have so many samples that only {aside} of training.validation_sites = {validation} can be put \
         aside, a place as a whole; choose another number or add places"
    )]
    Crowded {
        /// The file.
        path: PathBuf,
        /// How many could be put aside.
        aside: usize,
        /// How many validation asks for.
        validation: usize,
    },
}

/// Samples of the user's files; pictures are read when asked for.
#[derive(Debug)]
pub struct FileGallery {
    path: PathBuf,
    samples: Vec<Sample>,
    pictures: Vec<Pictures>,
}

#[derive(Clone, Debug)]
struct Pictures {
    images: Vec<PathBuf>,
    heading_deg: Option<f64>,
}

impl FileGallery {
    /// Reads all lines and checks that the pictures exist (not that they can be decoded).
    ///
    /// # Errors
    /// Names the line.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let planet = Planet::get();
        let sites = read_sites(path, |iso| planet.countries().iter().any(|c| c.iso == iso))?;
        let mut gallery = FileGallery { path: path.to_owned(), samples: Vec::new(), pictures: Vec::new() };
        for site in sites {
            if let Some(missing) = site.images.iter().find(|image| !image.is_file()) {
                let (path, picture) = (path.to_owned(), missing.clone());
                return Err(FilesError::Missing { path, line: site.line, picture });
            }
            let (sample, pictures) = sample_of(planet, site);
            gallery.samples.push(sample);
            gallery.pictures.push(pictures);
        }
        Ok(gallery)
    }

    /// Puts up to `validation` samples aside, chosen by a hash of their position: (training, validation). The same place
    /// is never in both; one that has more samples than are still wanted stays in training.
    ///
    /// # Errors
    /// When there are not at least twice as many samples, or whole places do not make up half of what is wanted.
    pub fn split(self, validation: usize) -> Result<(Self, Self), FilesError> {
        let samples = self.samples.len();
        if samples < 2 * validation {
            return Err(FilesError::TooFew { path: self.path, samples, validation });
        }
        let key = |s: &Sample| mix(s.position.lat().to_bits() ^ mix(s.position.lon().to_bits()));
        let mut places = BTreeMap::<u64, usize>::new();
        self.samples.iter().for_each(|s| *places.entry(key(s)).or_default() += 1);
        let mut aside = 0;
        places.retain(|_, &mut count| {
            let fits = aside + count <= validation;
            aside += if fits { count } else { 0 };
            fits
        });
        if 2 * aside < validation {
            return Err(FilesError::Crowded { path: self.path, aside, validation });
        }
        let (aside, kept): (Vec<_>, Vec<_>) =
            self.samples.into_iter().zip(self.pictures).partition(|(sample, _)| places.contains_key(&key(sample)));
        let gallery = |part: Vec<(Sample, Pictures)>| {
            let (samples, pictures) = part.into_iter().unzip();
            FileGallery { path: self.path.clone(), samples, pictures }
        };
        Ok((gallery(kept), gallery(aside)))
    }
}

fn sample_of(planet: &Planet, site: SiteLine) -> (Sample, Pictures) {
    let place = planet.nearest_place(site.position);
    let country =
        site.country.unwrap_or_else(|| planet.country(planet.country_at(site.position).unwrap_or(place.country)).iso);
    let or_place = |given: Option<String>, known: &str| given.unwrap_or_else(|| known.to_owned());
    let sample = Sample {
        position: site.position,
        country,
        admin1: or_place(site.admin1, place.admin1),
        admin2: or_place(site.admin2, place.admin2),
        town: or_place(site.town, place.name),
        labels: site.labels,
    };
    (sample, Pictures { images: site.images, heading_deg: site.heading_deg })
}

impl Gallery for FileGallery {
    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn views(&self, sample: usize) -> usize {
        self.pictures[sample].images.len()
    }

    fn month(&self, sample: usize, _: u64) -> Option<usize> {
        self.samples[sample].labels.month
    }

    fn heading_deg(&self, sample: usize) -> Option<f64> {
        self.pictures[sample].heading_deg
    }

    fn views_into(&self, sample: usize, variant: u64, size_px: usize, out: &mut [u8]) -> Result<(), ViewError> {
        let views = out.chunks_exact_mut(3 * size_px * size_px);
        views.enumerate().try_for_each(|(i, out)| self.view_into(sample, variant, i, size_px, out))
    }

    fn view_into(
        &self,
        sample: usize,
        _: u64,
        bearing: usize,
        size_px: usize,
        out: &mut [u8],
    ) -> Result<(), ViewError> {
        let images = &self.pictures[sample].images;
        let path = images.get(bearing).ok_or(ViewError::NoSuchView { sample, views: images.len(), asked: bearing })?;
        Ok(SquareCutter::default().cut(&pictures::read(path)?, size_px as u32, out)?)
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn gallery(lines: &str) -> Result<FileGallery, FilesError> {
        let dir = tempfile::tempdir().unwrap();
        // Left half red, right half blue, twice as wide as high.
        let picture = RgbImage::from_fn(64, 32, |x, _| if x < 32 { Rgb([200, 0, 0]) } else { Rgb([0, 0, 200]) });
        picture.save(dir.path().join("a.png")).unwrap();
        let path = dir.path().join("sites.jsonl");
        std::fs::write(&path, lines).unwrap();
        let gallery = FileGallery::open(&path)?;
        if let Some(views) = gallery.pictures.first().map(|p| p.images.len()) {
            let mut rgb = vec![0; views * 3 * 16 * 16];
            gallery.views_into(0, 0, 16, &mut rgb).unwrap();
            assert_eq!((&rgb[..3], &rgb[45..48]), (&[200, 0, 0][..], &[0, 0, 200][..]));
        }
        Ok(gallery)
    }

    #[test]
    fn names_that_are_not_given_come_from_the_gazetteer() {
        let g = gallery(
            "{\"images\":[\"a.png\",\"a.png\"],\"lat\":48.8566,\"lon\":2.3522,\"month\":7,\"koeppen\":\"Cfb\",\
             \"heading_deg\":359.5}\n\n\
             {\"images\":[\"a.png\"],\"lat\":0,\"lon\":0,\"country\":\"GH\",\"town\":\"Null\",\"elevation_m\":1.5}\n",
        )
        .unwrap();
        assert_eq!((g.views(0), g.views(1), g.month(0, 9), g.month(1, 0)), (2, 1, Some(6), None));
        assert_eq!((g.heading_deg(0), g.heading_deg(1)), (Some(359.5), None));
        assert_eq!(g.samples()[0].country, *b"FR");
        assert!(g.samples()[0].town.contains("Paris"), "{}", g.samples()[0].town);
        assert_eq!((g.samples()[1].country, g.samples()[1].town.as_str()), (*b"GH", "Null"));
        assert_eq!(g.samples()[1].labels.quantities[0], Some(1.5));
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = "{\"images\":[\"a.png\"],\"lat\":1,\"lon\":2}\n";
        for (bad, expected) in [
            ("{\"images\":[\"a.png\"],\"lat\":91,\"lon\":2}", "latitude 91"),
            ("{\"images\":[\"b.png\"],\"lat\":1,\"lon\":2}", "does not exist"),
            ("{\"images\":[\"a.png\"],\"lat\":1,\"lon\":2,\"country\":\"XX\"}", "country \"XX\" does not exist"),
            ("nonsense", "expected"),
        ] {
            let error = gallery(&format!("{good}{bad}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_same_place_is_never_on_both_sides() {
        let lines: String = (0..40)
            .map(|i| format!("{{\"images\":[\"a.png\"],\"lat\":{},\"lon\":2}}\n", f64::from(i / 2) * 0.1))
            .collect();
        let (train, validation) = gallery(&lines).unwrap().split(10).unwrap();
        assert_eq!((train.samples().len(), validation.samples().len()), (30, 10));
        assert!(validation.samples().iter().all(|v| train.samples().iter().all(|t| t.position != v.position)));
        assert!(gallery(&lines).unwrap().split(30).is_err());
    }

    #[test]
    fn a_place_with_more_samples_than_validation_wants_stays_in_training() {
        let lines = |places: u32, samples: u32| -> String {
            let place = |i: u32| format!("{{\"images\":[\"a.png\"],\"lat\":{},\"lon\":2}}\n", f64::from(i) * 0.1);
            (0..places).flat_map(|i| (0..samples).map(move |_| place(i))).collect()
        };
        let crowded = gallery(&lines(3, 40)).unwrap().split(30).unwrap_err().to_string();
        assert!(crowded.contains("only 0 of training.validation_sites = 30"), "{crowded}");
        for latitude in 0..9 {
            let fixed = format!("{{\"images\":[\"a.png\"],\"lat\":{latitude}.05,\"lon\":3}}\n").repeat(40);
            let (train, validation) = gallery(&(lines(60, 1) + &fixed)).unwrap().split(30).unwrap();
            assert_eq!((train.samples().len(), validation.samples().len()), (70, 30));
        }
    }
}
