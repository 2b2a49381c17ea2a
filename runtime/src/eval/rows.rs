//! The lines of a data set: the same JSON objects that the trainer learns from.

use std::path::{Path, PathBuf};

use homing_board::planet::{AuxLabels, Koeppen, Planet};
use homing_models::{LatLon, MAX_VIEWS};
use serde::Deserialize;

/// The quantities that a line or the planet may know.
pub(super) const QUANTITIES: [&str; 6] = [
    "elevation_m",
    "population_km2",
    "temperature_c",
    "temperature_range_c",
    "precipitation_mm_day",
    "precipitation_range_mm_day",
];

/// What is true at a site beside its position, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Labels {
    /// In the order of [`QUANTITIES`].
    pub quantities: [Option<f32>; QUANTITIES.len()],
    /// Index of the climate zone.
    pub koeppen: Option<usize>,
    /// 0 (January) to 11.
    pub month: Option<usize>,
}

impl From<&AuxLabels<'_>> for Labels {
    fn from(l: &AuxLabels<'_>) -> Self {
        let quantities = [
            l.elevation_m,
            l.population_km2,
            l.temperature_c,
            l.temperature_range_c,
            l.precipitation_mm_day,
            l.precipitation_range_mm_day,
        ];
        Labels { quantities: quantities.map(Some), koeppen: Some(l.koeppen.index()), month: Some(l.month) }
    }
}

/// One line, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Pictures as the line names them: front, right, back, left.
    pub images: Vec<PathBuf>,
    /// Where they were taken.
    pub position: LatLon,
    /// The country when the line names one.
    pub country: Option<[u8; 2]>,
    /// Everything else that is measured.
    pub labels: Labels,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the names of places and the heading are for training only")]
struct Line {
    images: Vec<PathBuf>,
    lat: f64,
    lon: f64,
    country: Option<String>,
    admin1: Option<String>,
    admin2: Option<String>,
    town: Option<String>,
    heading_deg: Option<f64>,
    month: Option<u8>,
    koeppen: Option<String>,
    elevation_m: Option<f32>,
    population_km2: Option<f32>,
    temperature_c: Option<f32>,
    temperature_range_c: Option<f32>,
    precipitation_mm_day: Option<f32>,
    precipitation_range_mm_day: Option<f32>,
}

impl Row {
    /// Reads a line; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let line: Line = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let position = LatLon::new(line.lat, line.lon).map_err(|e| e.to_string())?;
        if !(1..=MAX_VIEWS).contains(&line.images.len()) {
            return Err(format!("{} images, need one to four", line.images.len()));
        }
        let country = line.country.as_deref().map(country).transpose()?;
        let zone = |code: &str| Koeppen::from_code(code).ok_or(format!("koeppen {code:?} is no zone such as Cfb"));
        let koeppen = line.koeppen.as_deref().map(zone).transpose()?.map(Koeppen::index);
        let month = match line.month {
            Some(m) if !(1..=12).contains(&m) => return Err(format!("month is {m}, need 1..=12")),
            month => month.map(|m| usize::from(m) - 1),
        };
        let quantities = [
            line.elevation_m,
            line.population_km2,
            line.temperature_c,
            line.temperature_range_c,
            line.precipitation_mm_day,
            line.precipitation_range_mm_day,
        ];
        if let Some((name, _)) = QUANTITIES.iter().zip(quantities).find(|(_, q)| q.is_some_and(|v| !v.is_finite())) {
            return Err(format!("{name} is beyond all numbers"));
        }
        Ok(Row { images: line.images, position, country, labels: Labels { quantities, koeppen, month } })
    }

    /// The pictures' paths; they are relative to the data set's own folder.
    pub fn paths(&self, dataset: &Path) -> impl Iterator<Item = PathBuf> {
        let folder = dataset.parent().unwrap_or(Path::new(""));
        self.images.iter().map(move |image| folder.join(image))
    }
}

fn country(code: &str) -> Result<[u8; 2], String> {
    let known = Planet::get().countries().iter().find(|c| c.code() == code);
    known.map(|c| c.iso).ok_or(format!("country {code:?} does not exist; use an ISO 3166 code in capitals such as FR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_training_is_a_line_for_measuring() {
        let row = Row::parse(
            "{\"images\":[\"a.jpg\",\"b.jpg\"],\"lat\":48.2,\"lon\":16.37,\"country\":\"AT\",\"admin1\":\"Vienna\",\
             \"admin2\":\"Wieden\",\"town\":\"Vienna\",\"month\":7,\"heading_deg\":359.5,\"koeppen\":\"Cfb\",\
             \"elevation_m\":171.5,\"population_km2\":4000,\"temperature_c\":10.4,\"temperature_range_c\":20.1,\
             \"precipitation_mm_day\":1.7,\"precipitation_range_mm_day\":1.1}",
        )
        .unwrap();
        assert_eq!((row.country, row.images.len(), row.labels.month), (Some(*b"AT"), 2, Some(6)));
        assert_eq!(row.labels.koeppen, Koeppen::from_code("Cfb").map(Koeppen::index));
        assert_eq!(row.labels.quantities[0], Some(171.5));
        assert!(row.labels.quantities.iter().all(Option::is_some));
        let bare = Row::parse("{\"images\":[\"a.jpg\"],\"lat\":0,\"lon\":0}").unwrap();
        assert_eq!((bare.country, bare.labels), (None, Labels::default()));
        let paths: Vec<PathBuf> = row.paths(Path::new("sets/holdout.jsonl")).collect();
        assert_eq!(paths, [Path::new("sets/a.jpg"), Path::new("sets/b.jpg")]);
    }

    #[test]
    fn the_example_in_the_readme_is_one_line() {
        let readme = include_str!("../../../README.md");
        let example = readme.lines().find(|l| l.starts_with("{\"images\"")).unwrap();
        assert_eq!(Row::parse(example).unwrap().images.len(), 4);
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (fields, says) in [
            ("\"country\":\"XX\"", "country \"XX\" does not exist"),
            ("\"country\":\"fr\"", "country \"fr\" does not exist; use an ISO 3166 code in capitals such as FR"),
            ("\"month\":13", "month is 13, need 1..=12"),
            ("\"koeppen\":\"Xyz\"", "koeppen \"Xyz\" is no zone"),
            ("\"elevation_m\":1e99", "elevation_m is beyond all numbers"),
            ("\"colour\":1", "unknown field `colour`"),
        ] {
            let e = Row::parse(&format!("{{\"images\":[\"a\"],\"lat\":1,\"lon\":2,{fields}}}")).unwrap_err();
            assert!(e.starts_with(says), "{e}");
        }
    }
}
