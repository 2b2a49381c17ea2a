//! Sites with labels: what a data set's lines say, for training and for measuring alike.
//!
//! A data set is a file with one JSON object a line:
//!
//! ```json
//! {"images": ["a/front.jpg", "a/right.jpg", "a/back.jpg", "a/left.jpg"], "lat": 48.8566, "lon": 2.3522,
//!  "country": "FR", "admin1": "Ile-de-France", "admin2": "Paris", "town": "Paris", "month": 7, "koeppen": "Cfb"}
//! ```
//!
//! (on one line). Needed are one to four `images` (front, right, back, left; relative to the file's folder), `lat` and
//! `lon`. The names in [`QUANTITIES`], `koeppen` and `month` (1..=12) are labels of the auxiliary tasks; `heading_deg`,
//! where the first picture looks (0..360 clockwise from north), is for captions.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::figures::TaskOutcome;
use crate::tasks::{TaskList, season_of_month};
use crate::{LatLon, MAX_VIEWS};

/// A quantity that a model may tell beside the place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    /// Its name in data sets and as a task.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether a model learns its logarithm.
    pub log: bool,
    /// What is added before the logarithm.
    pub offset: f64,
}

const fn quantity(name: &'static str, unit: &'static str, log: bool, offset: f64) -> Quantity {
    Quantity { name, unit, log, offset }
}

/// The quantities that data sets may know.
pub const QUANTITIES: [Quantity; 6] = [
    // 500 m lifts the shore of the Dead Sea above zero.
    quantity("elevation_m", "m", true, 500.0),
    quantity("population_km2", "1/km2", true, 1.0),
    quantity("temperature_c", "deg C", false, 0.0),
    quantity("temperature_range_c", "deg C", false, 0.0),
    quantity("precipitation_mm_day", "mm/day", true, 0.5),
    quantity("precipitation_range_mm_day", "mm/day", true, 0.5),
];

/// Codes of the 30 Koeppen-Geiger climate zones, in the order of the classes.
pub const KOEPPEN: [&str; 30] = [
    "Af", "Am", "Aw", "BWh", "BWk", "BSh", "BSk", "Csa", "Csb", "Csc", "Cwa", "Cwb", "Cwc", "Cfa", "Cfb", "Cfc", "Dsa",
    "Dsb", "Dsc", "Dsd", "Dwa", "Dwb", "Dwc", "Dwd", "Dfa", "Dfb", "Dfc", "Dfd", "ET", "EF",
];

/// What is known of a site beside its position.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Labels {
    /// In the order and the units of [`QUANTITIES`].
    pub quantities: [Option<f32>; QUANTITIES.len()],
    /// Index of the climate zone in [`KOEPPEN`].
    pub koeppen: Option<usize>,
    /// 0 (January) to 11.
    pub month: Option<usize>,
}

impl Labels {
    /// The quantity of a task of this name.
    pub fn quantity(&self, task: &str) -> Option<f32> {
        QUANTITIES.iter().position(|q| q.name == task).and_then(|i| self.quantities[i])
    }

    /// How a model's answers came out, task by task, as far as the labels know; the season follows from the month.
    /// `value` gives the answer to the `i`-th regression in its unit, `class` the likeliest class of the `i`-th
    /// classification.
    pub fn outcomes<'t>(
        &self,
        tasks: &'t TaskList,
        value: impl Fn(usize) -> f64,
        class: impl Fn(usize) -> usize,
    ) -> Vec<(&'t str, TaskOutcome)> {
        let mut outcomes = Vec::new();
        for (i, task) in tasks.regressions.iter().enumerate() {
            if let Some(truth) = self.quantity(&task.name) {
                outcomes.push((task.name.as_str(), TaskOutcome::Error((value(i) - f64::from(truth)).abs())));
            }
        }
        for (i, task) in tasks.classifications.iter().enumerate() {
            match (task.name.as_str(), self.koeppen, self.month) {
                ("koeppen", Some(zone), _) => outcomes.push(("koeppen", TaskOutcome::Hit(class(i) == zone))),
                ("month", _, Some(month)) => {
                    let said = class(i);
                    outcomes.push(("month", TaskOutcome::Hit(said == month)));
                    let season = season_of_month(said) == season_of_month(month);
                    outcomes.push(("season", TaskOutcome::Hit(season)));
                }
                _ => {}
            }
        }
        outcomes
    }
}

/// One line of a data set, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteLine {
    /// The line of the file, from 1.
    pub line: usize,
    /// Pictures: front, right, back, left.
    pub images: Vec<PathBuf>,
    /// Where they were taken.
    pub position: LatLon,
    /// ISO 3166-1 alpha-2 code of the country.
    pub country: Option<[u8; 2]>,
    /// First-level administrative unit.
    pub admin1: Option<String>,
    /// Second-level administrative unit.
    pub admin2: Option<String>,
    /// The town it belongs to.
    pub town: Option<String>,
    /// Where the first picture looks, 0..360 degrees clockwise from north.
    pub heading_deg: Option<f64>,
    /// Labels of the auxiliary tasks.
    pub labels: Labels,
}

/// A data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SitesError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; name a file with one JSON object a line", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is no site.
    #[error(
        "{} line {line}: {cause}; need {{\"images\":[\"front.jpg\"],\"lat\":48.1,\"lon\":11.6}}",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
    /// There is no line.
    #[error(
        "{} has no line; need {{\"images\":[\"front.jpg\"],\"lat\":48.1,\"lon\":11.6}} for each place",
        .0.display()
    )]
    Empty(PathBuf),
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

/// Reads all lines of a data set; empty ones are passed over. `is_country` knows which codes exist. The pictures'
/// paths become relative to the working directory; whether they exist is not looked at.
///
/// # Errors
/// When the file cannot be read, a line is wrong, or there is none.
pub fn read_sites(path: &Path, is_country: impl Fn([u8; 2]) -> bool) -> Result<Vec<SiteLine>, SitesError> {
    let unreadable = |source| SitesError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut sites = Vec::new();
    for (i, text) in BufReader::new(file).lines().enumerate() {
        let text = text.map_err(unreadable)?;
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |cause| SitesError::Line { path: path.to_owned(), line: i + 1, cause };
        let mut site = SiteLine::parse(i + 1, &text, &is_country).map_err(wrong)?;
        site.images.iter_mut().for_each(|image| *image = folder.join(&*image));
        sites.push(site);
    }
    if sites.is_empty() { Err(SitesError::Empty(path.to_owned())) } else { Ok(sites) }
}

impl SiteLine {
    /// Reads a line; the error says what is wrong with it.
    fn parse(number: usize, text: &str, is_country: &impl Fn([u8; 2]) -> bool) -> Result<Self, String> {
        let line: Line = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let position = LatLon::new(line.lat, line.lon).map_err(|e| e.to_string())?;
        if !(1..=MAX_VIEWS).contains(&line.images.len()) {
            return Err(format!("{} images, need one to four: front, right, back, left", line.images.len()));
        }
        let country = |code: String| {
            let iso = <[u8; 2]>::try_from(code.as_bytes()).ok().filter(|&iso| is_country(iso));
            iso.ok_or(format!("country {code:?} does not exist; use an ISO 3166 code in capitals such as FR"))
        };
        let zone = |code: String| {
            let index = KOEPPEN.iter().position(|known| *known == code);
            index.ok_or(format!("koeppen {code:?} is no climate zone such as Cfb"))
        };
        if let Some(month) = line.month.filter(|m| !(1..=12).contains(m)) {
            return Err(format!("month is {month}, need 1..=12"));
        }
        if let Some(heading) = line.heading_deg.filter(|heading| !(0.0..360.0).contains(heading)) {
            return Err(format!("heading_deg is {heading}, need 0 or more and under 360"));
        }
        let quantities = [
            line.elevation_m,
            line.population_km2,
            line.temperature_c,
            line.temperature_range_c,
            line.precipitation_mm_day,
            line.precipitation_range_mm_day,
        ];
        let infinite = |(_, value): &(&Quantity, Option<f32>)| value.is_some_and(|v| !v.is_finite());
        if let Some((quantity, _)) = QUANTITIES.iter().zip(quantities).find(infinite) {
            return Err(format!("{} is beyond all numbers", quantity.name));
        }
        Ok(SiteLine {
            line: number,
            images: line.images,
            position,
            country: line.country.map(country).transpose()?,
            admin1: line.admin1,
            admin2: line.admin2,
            town: line.town,
            heading_deg: line.heading_deg,
            labels: Labels {
                quantities,
                koeppen: line.koeppen.map(zone).transpose()?,
                month: line.month.map(|m| usize::from(m) - 1),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::{Classification, Regression};

    fn parse(text: &str) -> Result<SiteLine, String> {
        SiteLine::parse(1, text, &|iso| [b"AT", b"FR"].contains(&&iso))
    }

    fn of_file(text: &str) -> Result<Vec<SiteLine>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdout.jsonl");
        std::fs::write(&path, text).unwrap();
        read_sites(&path, |_| true).map_err(|e| e.to_string())
    }

    #[test]
    fn everything_that_a_line_may_say_is_read() {
        let site = parse(
            "{\"images\":[\"a.jpg\",\"b.jpg\"],\"lat\":48.2,\"lon\":16.37,\"country\":\"AT\",\"admin1\":\"Vienna\",\
             \"admin2\":\"Wieden\",\"town\":\"Vienna\",\"month\":7,\"heading_deg\":359.5,\"koeppen\":\"Cfb\",\
             \"elevation_m\":171.5,\"population_km2\":4000,\"temperature_c\":10.4,\"temperature_range_c\":20.1,\
             \"precipitation_mm_day\":1.7,\"precipitation_range_mm_day\":1.1}",
        )
        .unwrap();
        assert_eq!((site.country, site.images.len(), site.labels.month), (Some(*b"AT"), 2, Some(6)));
        assert_eq!((site.labels.koeppen.map(|i| KOEPPEN[i]), site.heading_deg), (Some("Cfb"), Some(359.5)));
        assert_eq!((site.labels.quantity("elevation_m"), site.labels.quantity("beauty")), (Some(171.5), None));
        assert!(site.labels.quantities.iter().all(Option::is_some));
        let bare = parse("{\"images\":[\"a.jpg\"],\"lat\":0,\"lon\":0}").unwrap();
        assert_eq!((bare.country, bare.town, bare.labels), (None, None, Labels::default()));
    }

    #[test]
    fn the_example_in_the_readme_is_one_line() {
        let readme = include_str!("../../README.md");
        let example = readme.lines().find(|l| l.starts_with("{\"images\"")).unwrap();
        assert_eq!(parse(example).unwrap().images.len(), 4);
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (fields, says) in [
            ("\"country\":\"XX\"", "country \"XX\" does not exist"),
            ("\"country\":\"fr\"", "country \"fr\" does not exist; use an ISO 3166 code in capitals such as FR"),
            ("\"month\":13", "month is 13, need 1..=12"),
            ("\"heading_deg\":360", "heading_deg is 360, need"),
            ("\"koeppen\":\"Xyz\"", "koeppen \"Xyz\" is no climate zone"),
            ("\"elevation_m\":1e99", "elevation_m is beyond all numbers"),
            ("\"colour\":1", "unknown field `colour`"),
        ] {
            let e = parse(&format!("{{\"images\":[\"a\"],\"lat\":1,\"lon\":2,{fields}}}")).unwrap_err();
            assert!(e.starts_with(says), "{e}");
        }
        assert!(parse("{\"images\":[],\"lat\":1,\"lon\":2}").unwrap_err().contains("one to four"));
        assert!(parse("{\"images\":[\"a\"],\"lat\":91,\"lon\":2}").unwrap_err().contains("latitude 91"));
    }

    #[test]
    fn a_file_names_its_line_and_its_pictures_lie_beside_it() {
        let good = "{\"images\":[\"a.png\"],\"lat\":1,\"lon\":2}\n";
        let sites = of_file(&format!("{good}\n{good}")).unwrap();
        assert_eq!((sites.len(), sites[1].line, sites[1].images[0].is_absolute()), (2, 3, true));
        let e = of_file(&format!("{good}\n{{\"images\":[\"a.png\"],\"lat\":1}}\n")).unwrap_err();
        assert!(e.contains("holdout.jsonl line 3: missing field `lon`") && !e.contains('\n'), "{e}");
        assert!(of_file("\n").unwrap_err().contains("has no line; need {\"images\""));
        assert!(read_sites(Path::new("nowhere"), |_| true).unwrap_err().to_string().starts_with("cannot read nowhere"));
    }

    #[test]
    fn outcomes_are_those_that_the_labels_know() {
        let regression = |name: &str| Regression::fit(name, "", false, 0.0, [0.0, 1.0].into_iter());
        let choice = |name: &str| Classification { name: name.into(), classes: Vec::new() };
        let tasks = TaskList {
            regressions: vec![regression("temperature_c"), regression("elevation_m")],
            classifications: vec![choice("koeppen"), choice("month")],
        };
        let mut labels = Labels { month: Some(6), ..Labels::default() };
        labels.quantities[2] = Some(10.0);
        let found = labels.outcomes(&tasks, |i| [12.5, 99.0][i], |i| [3, 7][i]);
        let expected = [
            ("temperature_c", TaskOutcome::Error(2.5)),
            ("month", TaskOutcome::Hit(false)),
            ("season", TaskOutcome::Hit(true)),
        ];
        assert_eq!(found, expected);
    }
}
