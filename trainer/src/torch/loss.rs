//! The loss: geocells by cross entropy against smoothed targets, and the auxiliary tasks beside it.
//!
//! L = L_cells + 8 MSE(regressions) + 2 CE(climate zone) + 1 CE(month) (method section 5), with the recipe's weights.

use homing_models::tasks::TaskList;
use tch::{Kind, Tensor};

use crate::recipe::TaskWeights;

/// A task's label is unknown at a site.
pub const NO_CLASS: i64 = -1;

/// What the outputs are compared with, for `n` sites.
#[derive(Debug)]
pub struct Targets {
    /// Smoothed distribution over the cells, [n, cells]; rows sum to 1.
    pub cells: Tensor,
    /// Standardised regressions, [n, regressions]; NaN where unknown.
    pub regressions: Tensor,
    /// Classes, [n, classifications] of whole numbers; [`NO_CLASS`] where unknown.
    pub classes: Tensor,
}

/// The loss of a batch and the parts that it is made of, each a scalar.
#[derive(Debug)]
pub struct Loss {
    /// The weighted sum.
    pub total: Tensor,
    /// Cross entropy of the cells.
    pub cells: Tensor,
    /// Mean squared error of the standardised regressions.
    pub regression: Tensor,
    /// Cross entropies of the classifications, in the order of the task list.
    pub classes: Vec<Tensor>,
}

/// The loss of the heads' outputs (in the order of `heads::outputs`).
pub fn loss(outputs: &[Tensor], targets: &Targets, tasks: &TaskList, weights: TaskWeights) -> Loss {
    let cells = -(outputs[0].log_softmax(-1, Kind::Float) * &targets.cells).sum_dim_intlist(
        Some(&[1i64][..]),
        false,
        Kind::Float,
    );
    let cells = cells.mean(Kind::Float);
    let (regressions, classes) = outputs[1..].split_at(tasks.regressions.len());

    let known = targets.regressions.isfinite();
    let regression = if regressions.is_empty() {
        cells.zeros_like()
    } else {
        let error = Tensor::cat(regressions, 1) - targets.regressions.nan_to_num(0.0, None, None);
        (error.square() * &known).sum(Kind::Float) / known.sum(Kind::Float).clamp_min(1.0)
    };
    let mut total = &cells + &regression * weights.regression;

    let mut entropies = Vec::with_capacity(classes.len());
    for (i, (task, logits)) in tasks.classifications.iter().zip(classes).enumerate() {
        let class = targets.classes.select(1, i as i64);
        let known = class.ge(0);
        let of_class = logits.log_softmax(-1, Kind::Float).gather(1, &class.clamp_min(0).unsqueeze(1), false);
        let entropy = -(of_class.squeeze_dim(1) * &known).sum(Kind::Float) / known.sum(Kind::Float).clamp_min(1.0);
        total += &entropy * weight(&task.name, weights);
        entropies.push(entropy);
    }
    Loss { total, cells, regression, classes: entropies }
}

/// The recipe's weight of a classification.
fn weight(task: &str, weights: TaskWeights) -> f64 {
    match task {
        "koeppen" => weights.koeppen,
        "month" => weights.month,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_models::tasks::{Classification, Regression};

    #[test]
    fn parts_are_weighted_and_unknown_labels_left_out() {
        let classes = |name: &str, n: usize| Classification { name: name.into(), classes: vec![String::new(); n] };
        let fit = |name: &str| Regression::fit(name, "", false, 0.0, [0.0, 1.0].into_iter());
        let tasks = TaskList {
            regressions: vec![fit("a"), fit("b")],
            classifications: vec![classes("koeppen", 2), classes("month", 4)],
        };
        let zeros = |columns| Tensor::zeros([2, columns], (Kind::Float, tch::Device::Cpu));
        let outputs = [zeros(8), zeros(1), zeros(1), zeros(2), zeros(4)];
        let targets = Targets {
            cells: Tensor::full([2, 8], 0.125, (Kind::Float, tch::Device::Cpu)),
            regressions: Tensor::from_slice(&[2f32, f32::NAN, f32::NAN, f32::NAN]).view([2, 2]),
            classes: Tensor::from_slice(&[0, NO_CLASS, 1, 3]).view([2, 2]),
        };
        let found = loss(&outputs, &targets, &tasks, TaskWeights { regression: 8.0, koeppen: 2.0, month: 1.0 });
        let value = |t: &Tensor| t.double_value(&[]);
        assert!((value(&found.cells) - 8f64.ln()).abs() < 1e-5);
        assert!((value(&found.regression) - 4.0).abs() < 1e-6);
        assert!((value(&found.classes[1]) - 4f64.ln()).abs() < 1e-5);
        let expected = 8f64.ln() + 8.0 * 4.0 + 2.0 * 2f64.ln() + 4f64.ln();
        assert!((value(&found.total) - expected).abs() < 1e-4);
    }
}
