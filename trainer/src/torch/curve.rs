//! The course of a training as a table: one row a step, `loss.csv` in the working directory.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::commands::{write_picture, write_whole};
use crate::plot::{Series, curves};

use super::examination::Marks;

/// The file's name.
pub const CURVE: &str = "loss.csv";
/// The curve as a picture.
pub const PICTURE: &str = "loss.png";

/// What one step gave.
#[derive(Clone, Debug)]
pub struct Row {
    /// Steps done.
    pub step: u32,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// The weighted loss.
    pub loss: f64,
    /// Cross entropy of the cells.
    pub cells: f64,
    /// Mean squared error of the standardised regressions.
    pub regression: f64,
    /// Cross entropies of climate zone and month.
    pub classes: Vec<f64>,
    /// Where the averaged weights were validated.
    pub validation: Option<Marks>,
}

/// All steps so far.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    lines: Vec<String>,
    /// (step, loss) of each step.
    losses: Vec<(u32, f64)>,
}

const HEADER: &str =
    "step,loss,cells,regression,koeppen,month,gradient_norm,lr,validation_country,validation_median_km";

impl Curve {
    /// The curve in a working directory up to `step`; empty where there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(out: &Path, step: u32) -> Result<Self> {
        let path = out.join(CURVE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut curve = Self::default();
        for line in text.lines().skip(1) {
            let mut columns = line.split(',');
            let own = columns.next().and_then(|s| s.parse().ok());
            let loss = columns.next().and_then(|s| s.parse().ok());
            if let (Some(own), Some(loss)) = (own, loss)
                && own <= step
            {
                curve.lines.push(line.to_owned());
                curve.losses.push((own, loss));
            }
        }
        Ok(curve)
    }

    /// Adds a step.
    pub fn push(&mut self, row: Row) {
        let mut line = format!("{},{},{},{}", row.step, row.loss, row.cells, row.regression);
        for i in 0..2 {
            let entropy = row.classes.get(i).map(f64::to_string).unwrap_or_default();
            let _ = write!(line, ",{entropy}");
        }
        let _ = write!(line, ",{},{}", row.gradient_norm, row.lr);
        match row.validation {
            Some(marks) => {
                let _ = write!(line, ",{:.2},{:.1}", marks.country_per_cent, marks.median_km);
            }
            None => line.push_str(",,"),
        }
        self.lines.push(line);
        self.losses.push((row.step, row.loss));
    }

    /// The mean loss of the last `steps` steps.
    pub fn recent_loss(&self, steps: usize) -> f64 {
        let recent = &self.losses[self.losses.len().saturating_sub(steps)..];
        recent.iter().map(|(_, loss)| loss).sum::<f64>() / recent.len().max(1) as f64
    }

    /// (step, loss) of each step.
    pub fn losses(&self) -> &[(u32, f64)] {
        &self.losses
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        let path = out.join(CURVE);
        let text = format!("{HEADER}\n{}\n", self.lines.join("\n"));
        write_whole(&path, text.as_bytes())?;
        let points = self.losses.iter().map(|&(step, loss)| (f64::from(step), loss)).collect();
        let series = [Series { name: "loss".to_owned(), points }];
        // A curve without a finite point is no reason to lose a checkpoint.
        match curves("training", "loss", &series) {
            Ok(picture) => write_picture(&out.join(PICTURE), &picture),
            Err(_) => Ok(()),
        }
    }
}
