//! The auxiliary tasks of a model: what its heads predict beside the place, and in which units.
//!
//! PIGEON trains regressions on `log(v + offset)`, standardised, and classifications of the climate zone and
//! the month (poster, contribution 5).

use serde::{Deserialize, Serialize};

/// A quantity predicted as a standardised number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// Name of the task and of the output in `heads.onnx`, such as `elevation_m`.
    pub name: String,
    /// Unit for people, such as `m`.
    pub unit: String,
    /// Added before the logarithm, in the unit of the quantity.
    pub offset: f64,
    /// Whether the logarithm is taken.
    pub log: bool,
    /// Mean over the training sites, after offset and logarithm.
    pub mean: f64,
    /// Standard deviation over the training sites, after offset and logarithm; above 0.
    pub std: f64,
}

impl Regression {
    /// A task fitted to the training values: mean and standard deviation of the transformed values.
    /// A constant quantity gets a standard deviation of 1.
    pub fn fit(name: &str, unit: &str, log: bool, offset: f64, values: impl Iterator<Item = f64> + Clone) -> Self {
        let mut r = Regression { name: name.into(), unit: unit.into(), offset, log, mean: 0.0, std: 1.0 };
        let n = values.clone().count().max(1) as f64;
        r.mean = values.clone().map(|v| r.transform(v)).sum::<f64>() / n;
        let variance = values.map(|v| (r.transform(v) - r.mean).powi(2)).sum::<f64>() / n;
        r.std = if variance > 1e-18 { variance.sqrt() } else { 1.0 };
        r
    }

    fn transform(&self, value: f64) -> f64 {
        // The floor keeps a stray value below -offset finite.
        if self.log { (value + self.offset).max(1e-6).ln() } else { value + self.offset }
    }

    /// The training target of a value: `(ln(v + offset) - mean) / std`, without `ln` when `log` is off.
    pub fn encode(&self, value: f64) -> f64 {
        (self.transform(value) - self.mean) / self.std
    }

    /// The value, in the task's unit, of a head's output.
    pub fn decode(&self, output: f64) -> f64 {
        let t = output * self.std + self.mean;
        if self.log { t.exp() - self.offset } else { t - self.offset }
    }
}

/// A choice among named classes, predicted as logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classification {
    /// Name of the task and of the output in `heads.onnx`: `koeppen` or `month`.
    pub name: String,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
}

/// Everything the heads predict beside the cell, in the order of the outputs of `heads.onnx` after `cells`:
/// the regressions, then the classifications.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskList {
    /// Quantities.
    #[serde(default)]
    pub regressions: Vec<Regression>,
    /// Choices.
    #[serde(default)]
    pub classifications: Vec<Classification>,
}

impl TaskList {
    /// Output names in order, without `cells`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.regressions.iter().map(|r| r.name.as_str()).chain(self.classifications.iter().map(|c| c.name.as_str()))
    }

    /// What is wrong with the list, if anything: a scale that divides by zero, no classes, a name twice.
    pub fn fault(&self) -> Option<String> {
        for r in &self.regressions {
            if !(r.std > 0.0 && r.std.is_finite() && r.mean.is_finite() && r.offset.is_finite()) {
                return Some(format!("task {}: std must be above 0 and mean and offset finite", r.name));
            }
        }
        if let Some(c) = self.classifications.iter().find(|c| c.classes.len() < 2) {
            return Some(format!("task {}: a classification needs two classes or more", c.name));
        }
        let mut seen = std::collections::HashSet::from(["cells"]);
        self.names().find(|n| !seen.insert(n)).map(|n| format!("task {n} is listed twice"))
    }
}

/// The meteorological season of a month (0 = January): 0 for December to February, 1 for March to May, ...
///
/// North and south differ in the season's name only, so season accuracy is the same for both.
pub fn season_of_month(month: usize) -> usize {
    (month + 1) % 12 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let values = [0.0, 3.0, 120.0, 4800.0, -28.0];
        for log in [true, false] {
            let r = Regression::fit("elevation_m", "m", log, 450.0, values.iter().copied());
            let z: Vec<f64> = values.iter().map(|v| r.encode(*v)).collect();
            let mean = z.iter().sum::<f64>() / 5.0;
            let var = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / 5.0;
            assert!(mean.abs() < 1e-9 && (var - 1.0).abs() < 1e-9, "standardised");
            for (v, z) in values.iter().zip(z) {
                assert!((r.decode(z) - v).abs() < 1e-8);
            }
        }
        assert!(Regression::fit("x", "", true, 1.0, [2.0; 3].into_iter()).encode(2.0).is_finite());
    }

    #[test]
    fn seasons_are_three_months_each() {
        let seasons: Vec<usize> = (0..12).map(season_of_month).collect();
        assert_eq!(seasons, [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0]);
    }

    #[test]
    fn a_faulty_list_is_named() {
        let mut t = TaskList::default();
        assert_eq!(t.fault(), None);
        t.regressions.push(Regression::fit("a", "", false, 0.0, [1.0, 2.0].into_iter()));
        t.classifications.push(Classification { name: "a".into(), classes: vec!["x".into(), "y".into()] });
        assert!(t.fault().unwrap().contains("twice"));
        t.regressions[0].std = 0.0;
        assert!(t.fault().unwrap().contains("std"));
    }
}
