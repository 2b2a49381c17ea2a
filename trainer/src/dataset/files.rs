//! The user's own pictures: a file with one JSON object a line.
//!
//! ```json
//! {"images": ["a/front.jpg", "a/right.jpg", "a/back.jpg", "a/left.jpg"], "lat": 48.8566, "lon": 2.3522,
//!  "country": "FR", "admin1": "Ile-de-France", "admin2": "Paris", "town": "Paris", "month": 7, "koeppen": "Cfb"}
//! ```
//!
//! (on one line). Needed are one to four `images` (front, right, back, left; relative to the file's folder), `lat` and
//! `lon`. `country`, `admin1`, `admin2` and `town` are looked up in the gazetteer where absent. The names of
//! [`REGRESSIONS`](super::REGRESSIONS), `koeppen` and `month` (1..=12) are labels for the auxiliary tasks;
//! `heading_deg`, where the first picture looks (0..360 clockwise from north), is for captions.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use homing_models::LatLon;
use homing_models::geo::OutOfRange;
use homing_planet::hash::mix;
use homing_planet::{Koeppen, Planet};
use image::{DynamicImage, ImageDecoder, ImageReader, imageops::FilterType};
use serde::Deserialize;

use super::{AuxValues, Gallery, Sample, ViewError};

/// A file of samples cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file cannot be read.
    #[error("{path}: {source}; expected a file with one JSON object a line")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is no sample.
    #[error("{path} line {line}: {message}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// There are too few samples.
    #[error("{path}: {samples} samples are too few for a validation set of {validation}")]
    TooFew {
        /// The file.
        path: PathBuf,
        /// How many there are.
        samples: usize,
        /// How many validation asks for.
        validation: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    images: Vec<PathBuf>,
    lat: f64,
    lon: f64,
    country: Option<String>,
    admin1: Option<String>,
    admin2: Option<String>,
    town: Option<String>,
    month: Option<u8>,
    heading_deg: Option<f64>,
    koeppen: Option<String>,
    elevation_m: Option<f32>,
    population_km2: Option<f32>,
    temperature_c: Option<f32>,
    temperature_range_c: Option<f32>,
    precipitation_mm_day: Option<f32>,
    precipitation_range_mm_day: Option<f32>,
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
    month: Option<u8>,
    heading_deg: Option<f64>,
}

impl FileGallery {
    /// Reads all lines and checks that the pictures exist (not that they can be decoded).
    ///
    /// # Errors
    /// Names the line.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let read = |source| FilesError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut gallery = FileGallery { path: path.to_owned(), samples: Vec::new(), pictures: Vec::new() };
        for (i, text) in std::io::BufReader::new(file).lines().enumerate() {
            let text = text.map_err(read)?;
            if text.trim().is_empty() {
                continue;
            }
            let (sample, pictures) = parse(&text, folder).map_err(|message| FilesError::Line {
                path: path.to_owned(),
                line: i + 1,
                message,
            })?;
            gallery.samples.push(sample);
            gallery.pictures.push(pictures);
        }
        Ok(gallery)
    }

    /// Puts `validation` samples aside, chosen by a hash of their position: (training, validation). The same place is
    /// never in both.
    ///
    /// # Errors
    /// When there are not at least twice as many samples.
    pub fn split(self, validation: usize) -> Result<(Self, Self), FilesError> {
        let samples = self.samples.len();
        if samples < 2 * validation {
            return Err(FilesError::TooFew { path: self.path, samples, validation });
        }
        let key = |s: &Sample| mix(s.position.lat().to_bits() ^ mix(s.position.lon().to_bits()));
        let mut keys: Vec<u64> = self.samples.iter().map(key).collect();
        keys.sort_unstable();
        let limit = keys[validation];
        let (aside, kept): (Vec<_>, Vec<_>) =
            self.samples.into_iter().zip(self.pictures).partition(|(sample, _)| key(sample) < limit);
        let gallery = |part: Vec<(Sample, Pictures)>| {
            let (samples, pictures) = part.into_iter().unzip();
            FileGallery { path: self.path.clone(), samples, pictures }
        };
        Ok((gallery(kept), gallery(aside)))
    }
}

fn parse(text: &str, folder: &Path) -> Result<(Sample, Pictures), String> {
    let line: Line = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let position = LatLon::new(line.lat, line.lon).map_err(|e: OutOfRange| e.to_string())?;
    if !(1..=homing_models::MAX_VIEWS).contains(&line.images.len()) {
        return Err(format!("{} images; give one to four: front, right, back, left", line.images.len()));
    }
    let images: Vec<PathBuf> = line.images.iter().map(|image| folder.join(image)).collect();
    if let Some(missing) = images.iter().find(|image| !image.is_file()) {
        return Err(format!("picture {} does not exist", missing.display()));
    }
    let planet = Planet::get();
    let place = planet.nearest_place(position);
    let country = match line.country {
        Some(code) => <[u8; 2]>::try_from(code.as_bytes())
            .ok()
            .filter(|iso| iso.iter().all(u8::is_ascii_uppercase))
            .ok_or(format!("country {code:?} is no ISO 3166 code of two capital letters"))?,
        None => planet.country(planet.country_at(position).unwrap_or(place.country)).iso,
    };
    let koeppen = match line.koeppen {
        Some(code) => {
            Some(Koeppen::from_code(&code).ok_or(format!("koeppen {code:?} is no climate zone such as Cfb"))?)
        }
        None => None,
    };
    if line.month.is_some_and(|m| !(1..=12).contains(&m)) {
        return Err("month must be 1..=12".to_owned());
    }
    if let Some(heading) = line.heading_deg.filter(|heading| !(0.0..360.0).contains(heading)) {
        return Err(format!("heading_deg is {heading}; it must be 0 or more and under 360"));
    }
    let or_place = |given: Option<String>, known: &str| given.unwrap_or_else(|| known.to_owned());
    let sample = Sample {
        position,
        country,
        admin1: or_place(line.admin1, place.admin1),
        admin2: or_place(line.admin2, place.admin2),
        town: or_place(line.town, place.name),
        aux: AuxValues {
            regressions: [
                line.elevation_m,
                line.population_km2,
                line.temperature_c,
                line.temperature_range_c,
                line.precipitation_mm_day,
                line.precipitation_range_mm_day,
            ],
            koeppen: koeppen.map(|k| k.index() as u8),
        },
    };
    Ok((sample, Pictures { images, month: line.month.map(|m| m - 1), heading_deg: line.heading_deg }))
}

/// Reads a picture, turns it upright, scales it to cover the square and cuts the middle out.
fn read(path: &Path, size_px: usize) -> Result<Vec<u8>, image::ImageError> {
    let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let side = size_px as u32;
    Ok(picture.resize_to_fill(side, side, FilterType::Triangle).into_rgb8().into_raw())
}

impl Gallery for FileGallery {
    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn views(&self, sample: usize) -> usize {
        self.pictures[sample].images.len()
    }

    fn month(&self, sample: usize, _: u64) -> Option<u8> {
        self.pictures[sample].month
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
        let rgb = read(path, size_px).map_err(|source| ViewError::Picture { path: path.clone(), source })?;
        out.copy_from_slice(&rgb);
        Ok(())
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
             {\"images\":[\"a.png\"],\"lat\":0,\"lon\":0,\"country\":\"XX\",\"town\":\"Null\",\"elevation_m\":1.5}\n",
        )
        .unwrap();
        assert_eq!((g.views(0), g.views(1), g.month(0, 9), g.month(1, 0)), (2, 1, Some(6), None));
        assert_eq!((g.heading_deg(0), g.heading_deg(1)), (Some(359.5), None));
        assert_eq!(g.samples()[0].country, *b"FR");
        assert!(g.samples()[0].town.contains("Paris"), "{}", g.samples()[0].town);
        assert_eq!((g.samples()[1].country, g.samples()[1].town.as_str()), (*b"XX", "Null"));
        assert_eq!(g.samples()[1].aux.regressions[0], Some(1.5));
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = "{\"images\":[\"a.png\"],\"lat\":1,\"lon\":2}\n";
        for (bad, expected) in [
            ("{\"images\":[\"a.png\"],\"lat\":91,\"lon\":2}", "latitude 91"),
            ("{\"images\":[\"b.png\"],\"lat\":1,\"lon\":2}", "does not exist"),
            ("{\"images\":[],\"lat\":1,\"lon\":2}", "one to four"),
            ("{\"images\":[\"a.png\"],\"lat\":1}", "missing field `lon`"),
            ("{\"images\":[\"a.png\"],\"lat\":1,\"lon\":2,\"country\":\"fr\"}", "two capital letters"),
            ("{\"images\":[\"a.png\"],\"lat\":1,\"lon\":2,\"month\":13}", "1..=12"),
            ("{\"images\":[\"a.png\"],\"lat\":1,\"lon\":2,\"heading_deg\":360}", "heading_deg is 360"),
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
}
