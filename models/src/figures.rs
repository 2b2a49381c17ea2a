//! Measured figures: the columns of the poster's Tables 1 and 2, gathered guess by guess.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::radius::Radius;

/// The distances of Table 1, in kilometres: street, city, region, country, continent.
pub const THRESHOLDS_KM: [f64; 5] = [1.0, 25.0, 200.0, 750.0, 2500.0];

/// Points of one guess in the game: `round(5000 exp(-d / 1492.7))`, `d` in kilometres.
pub fn game_score(distance_km: f64) -> f64 {
    (5000.0 * (-distance_km / 1492.7).exp()).round()
}

/// Shares in per cent of guesses within each threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// Within 1 km.
    #[serde(rename = "1")]
    pub street: f64,
    /// Within 25 km.
    #[serde(rename = "25")]
    pub city: f64,
    /// Within 200 km.
    #[serde(rename = "200")]
    pub region: f64,
    /// Within 750 km.
    #[serde(rename = "750")]
    pub country: f64,
    /// Within 2500 km.
    #[serde(rename = "2500")]
    pub continent: f64,
}

impl Within {
    /// The five shares in the order of [`THRESHOLDS_KM`].
    pub fn shares(&self) -> [f64; 5] {
        [self.street, self.city, self.region, self.country, self.continent]
    }
}

/// Shares in per cent of true positions inside the stated radius; 50 and 95 when the radius is honest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Inside the radius said to hold half of them.
    pub p50: f64,
    /// Inside the radius said to hold 95 per cent.
    pub p95: f64,
}

/// One line of the tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Shares in per cent within 1, 25, 200, 750 and 2500 km.
    pub within: Within,
    /// Guesses inside the true country, per cent; absent when no country was known.
    pub country: Option<f64>,
    /// Median great-circle error.
    pub median_km: f64,
    /// Mean great-circle error.
    pub mean_km: f64,
    /// Mean game score, 0..5000.
    pub score: f64,
    /// How often the true position was inside the stated radius.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub coverage: Option<Coverage>,
    /// Mean absolute error of each regression in its unit; accuracy in per cent of each classification.
    #[serde(default)]
    pub tasks: BTreeMap<String, f64>,
}

/// An evaluation: the figures of the whole method, and beside them one view only and no refinement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Sites that were asked for.
    pub sites: usize,
    /// Which sites: `random`, `towns`, or the name of a data set.
    pub holdout: String,
    /// Who was asked: the model's short hash; absent inside the manifest that this hash covers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// All views, with refinement.
    #[serde(flatten)]
    pub figures: Figures,
    /// The same sites from the first view alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub one_view: Option<Figures>,
    /// The same sites, the guess being the best cell's centroid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub centroid: Option<Figures>,
    /// The same sites, the guess being the prototype that is nearest to the true position: the most that refinement to
    /// prototypes could reach.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nearest: Option<Figures>,
    /// The same sites, all views, with refinement, by the network in floats that the int8 graphs were made of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub float: Option<Figures>,
}

/// How one task came out at one site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskOutcome {
    /// A regression's absolute error, in its unit.
    Error(f64),
    /// Whether a classification was right.
    Hit(bool),
}

/// How one guess came out.
#[derive(Clone, Debug, Default)]
pub struct Outcome<'a> {
    /// Great-circle distance between guess and truth.
    pub distance_km: f64,
    /// The radius stated with the guess.
    pub radius: Option<Radius>,
    /// Whether the guess lies in the true country; `None` when the country is unknown.
    pub country: Option<bool>,
    /// Each task's outcome by name.
    pub tasks: Vec<(&'a str, TaskOutcome)>,
}

#[derive(Clone, Debug, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn push(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// Gathers outcomes into [`Figures`].
#[derive(Clone, Debug, Default)]
pub struct Tally {
    distances_km: Vec<f64>,
    country: Mean,
    inside: [Mean; 2],
    tasks: BTreeMap<String, Mean>,
}

impl Tally {
    /// Adds one guess.
    pub fn push(&mut self, outcome: &Outcome<'_>) {
        let per_cent = |hit: bool| if hit { 100.0 } else { 0.0 };
        self.distances_km.push(outcome.distance_km);
        if let Some(hit) = outcome.country {
            self.country.push(per_cent(hit));
        }
        if let Some(r) = outcome.radius {
            self.inside[0].push(per_cent(outcome.distance_km <= f64::from(r.p50_km)));
            self.inside[1].push(per_cent(outcome.distance_km <= f64::from(r.p95_km)));
        }
        for &(name, result) in &outcome.tasks {
            let value = match result {
                TaskOutcome::Error(e) => e,
                TaskOutcome::Hit(hit) => per_cent(hit),
            };
            match self.tasks.get_mut(name) {
                Some(mean) => mean.push(value),
                None => self.tasks.entry(name.to_owned()).or_default().push(value),
            }
        }
    }

    /// Guesses so far.
    pub fn len(&self) -> usize {
        self.distances_km.len()
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.distances_km.is_empty()
    }

    /// The figures of what was added; all zero when nothing was.
    pub fn figures(&self) -> Figures {
        let n = self.len();
        if n == 0 {
            return Figures::default();
        }
        let share = |km: f64| 100.0 * self.distances_km.iter().filter(|d| **d <= km).count() as f64 / n as f64;
        let [street, city, region, country, continent] = THRESHOLDS_KM.map(share);
        Figures {
            within: Within { street, city, region, country, continent },
            country: self.country.value(),
            median_km: median(self.distances_km.clone()),
            mean_km: self.distances_km.iter().sum::<f64>() / n as f64,
            score: self.distances_km.iter().map(|d| game_score(*d)).sum::<f64>() / n as f64,
            coverage: self.inside[0].value().zip(self.inside[1].value()).map(|(p50, p95)| Coverage { p50, p95 }),
            tasks: self.tasks.iter().filter_map(|(k, m)| Some((k.clone(), m.value()?))).collect(),
        }
    }
}

/// The median of finite values (mean of the middle two of an even number); 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_game_score_is_known() {
        assert_eq!(game_score(0.0), 5000.0);
        assert_eq!(game_score(1492.7), 1839.0);
        assert_eq!(game_score(20_000.0), 0.0);
    }

    #[test]
    fn figures_of_hand_made_guesses() {
        let mut t = Tally::default();
        for (d, country) in [(0.5, true), (20.0, true), (300.0, false), (3000.0, false)] {
            t.push(&Outcome {
                distance_km: d,
                radius: Some(Radius { p50_km: 25.0, p95_km: 400.0 }),
                country: Some(country),
                tasks: vec![("elevation_m", TaskOutcome::Error(d)), ("koeppen", TaskOutcome::Hit(country))],
            });
        }
        let f = t.figures();
        assert_eq!(f.within.shares(), [25.0, 50.0, 50.0, 75.0, 75.0]);
        assert_eq!((f.country, f.median_km, f.mean_km), (Some(50.0), 160.0, 830.125));
        assert_eq!(f.coverage, Some(Coverage { p50: 50.0, p95: 75.0 }));
        assert_eq!((f.tasks["elevation_m"], f.tasks["koeppen"]), (830.125, 50.0));
    }

    #[test]
    fn an_evaluation_survives_toml_and_has_the_public_columns() {
        let mut t = Tally::default();
        t.push(&Outcome { distance_km: 3.0, ..Outcome::default() });
        let e = Evaluation {
            sites: 1,
            holdout: "random".into(),
            figures: t.figures(),
            one_view: Some(t.figures()),
            ..Evaluation::default()
        };
        let text = toml::to_string(&e).unwrap();
        assert_eq!(toml::from_str::<Evaluation>(&text).unwrap(), e);
        assert!(text.contains("[one_view.within]") && text.contains("2500 = 100.0"), "{text}");
        assert_eq!(Tally::default().figures(), Figures::default());
    }
}
