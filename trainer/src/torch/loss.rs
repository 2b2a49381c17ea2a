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

impl Targets {
    /// How many of the sites' labels are known: [2 + classifications] of sites, of regressions, of each class.
    ///
    /// These are what the parts of the loss are divided by. Where several ranks share a batch it is their sum.
    pub fn known(&self) -> Tensor {
        let sites = Tensor::full([1], self.cells.size()[0], (Kind::Float, self.cells.device()));
        let regressions = self.regressions.isfinite().sum(Kind::Float).view([1]);
        let classes = self.classes.ge(0).sum_dim_intlist(Some(&[0i64][..]), false, Kind::Float);
        Tensor::cat(&[sites, regressions, classes], 0)
    }
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

impl Loss {
    /// The numbers without their history: [3 + classifications] of the sum, cells, regressions, each class.
    pub fn values(&self) -> Tensor {
        let first = [&self.total, &self.cells, &self.regression];
        Tensor::stack(&first.into_iter().chain(&self.classes).collect::<Vec<_>>(), 0).detach()
    }
}

/// The loss of the heads' outputs (in the order of `heads::outputs`), divided by the `known` labels (see
/// [`Targets::known`]) of the whole batch: losses of the parts of a batch add up to the loss of the batch.
pub fn loss(outputs: &[Tensor], targets: &Targets, known: &Tensor, tasks: &TaskList, weights: TaskWeights) -> Loss {
    let count = |i: usize| known.get(i as i64).clamp_min(1.0);
    let cells = -(outputs[0].log_softmax(-1, Kind::Float) * &targets.cells).sum(Kind::Float) / count(0);
    let (regressions, classes) = outputs[1..].split_at(tasks.regressions.len());

    let regression = if regressions.is_empty() {
        cells.zeros_like()
    } else {
        let error = Tensor::cat(regressions, 1) - targets.regressions.nan_to_num(0.0, None, None);
        (error.square() * targets.regressions.isfinite()).sum(Kind::Float) / count(1)
    };
    let mut total = &cells + &regression * weights.regression;

    let mut entropies = Vec::with_capacity(classes.len());
    for (i, (task, logits)) in tasks.classifications.iter().zip(classes).enumerate() {
        let class = targets.classes.select(1, i as i64);
        let of_class = logits.log_softmax(-1, Kind::Float).gather(1, &class.clamp_min(0).unsqueeze(1), false);
        let entropy = -(of_class.squeeze_dim(1) * class.ge(0)).sum(Kind::Float) / count(2 + i);
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
    use super::super::network::seeded;
    use super::*;
    use homing_models::tasks::{Classification, Regression};

    /// Two regressions, the climate zone and the month.
    fn tasks() -> TaskList {
        let classes = |name: &str, n: usize| Classification { name: name.into(), classes: vec![String::new(); n] };
        let fit = |name: &str| Regression::fit(name, "", false, 0.0, [0.0, 1.0].into_iter());
        TaskList {
            regressions: vec![fit("a"), fit("b")],
            classifications: vec![classes("koeppen", 2), classes("month", 4)],
        }
    }

    const WEIGHTS: TaskWeights = TaskWeights { regression: 8.0, koeppen: 2.0, month: 1.0 };

    #[test]
    fn parts_are_weighted_and_unknown_labels_left_out() {
        let zeros = |columns| Tensor::zeros([2, columns], (Kind::Float, tch::Device::Cpu));
        let outputs = [zeros(8), zeros(1), zeros(1), zeros(2), zeros(4)];
        let targets = Targets {
            cells: Tensor::full([2, 8], 0.125, (Kind::Float, tch::Device::Cpu)),
            regressions: Tensor::from_slice(&[2f32, f32::NAN, f32::NAN, f32::NAN]).view([2, 2]),
            classes: Tensor::from_slice(&[0, NO_CLASS, 1, 3]).view([2, 2]),
        };
        let found = loss(&outputs, &targets, &targets.known(), &tasks(), WEIGHTS);
        let value = |t: &Tensor| t.double_value(&[]);
        assert!((value(&found.cells) - 8f64.ln()).abs() < 1e-5);
        assert!((value(&found.regression) - 4.0).abs() < 1e-6);
        assert!((value(&found.classes[1]) - 4f64.ln()).abs() < 1e-5);
        let expected = 8f64.ln() + 8.0 * 4.0 + 2.0 * 2f64.ln() + 4f64.ln();
        assert!((value(&found.total) - expected).abs() < 1e-4);
        assert!(targets.known().equal(&Tensor::from_slice(&[2f32, 1.0, 2.0, 1.0])) && found.values().size() == [5]);
    }

    #[test]
    fn the_parts_of_a_batch_add_up_to_the_whole_whatever_labels_each_knows() {
        let nan = f32::NAN;
        let cpu = (Kind::Float, tch::Device::Cpu);
        let (cells, outputs) = seeded(3, || {
            let outputs = [8, 1, 1, 2, 4].map(|width| Tensor::randn([5, width], cpu).set_requires_grad(true));
            (Tensor::rand([5, 8], cpu), outputs)
        });
        let all = Targets {
            cells: cells.softmax(-1, Kind::Float),
            regressions: Tensor::from_slice(&[1f32, nan, nan, nan, 0.5, -1.0, nan, 2.0, nan, nan]).view([5, 2]),
            classes: Tensor::from_slice(&[0, NO_CLASS, NO_CLASS, 3, 1, 2, NO_CLASS, NO_CLASS, 0, 0]).view([5, 2]),
        };
        let of = |first: i64, length: i64| {
            let rows = |t: &Tensor| t.narrow(0, first, length);
            let targets =
                Targets { cells: rows(&all.cells), regressions: rows(&all.regressions), classes: rows(&all.classes) };
            loss(&outputs.each_ref().map(rows), &targets, &all.known(), &tasks(), WEIGHTS)
        };
        // The losses, then their gradients by the outputs.
        let found = |losses: &[Loss]| {
            let values: Vec<Tensor> = losses.iter().map(Loss::values).collect();
            let mut all = vec![values.iter().sum::<Tensor>()];
            losses.iter().for_each(|found| found.total.backward());
            for output in &outputs {
                let mut gradient = output.grad();
                all.push(gradient.copy().view([-1]));
                let _ = gradient.zero_();
            }
            Tensor::cat(&all, 0)
        };
        let (whole, parts) = (found(&[of(0, 5)]), found(&[of(0, 2), of(2, 3)]));
        assert!((whole - parts).abs().max().double_value(&[]) < 1e-6);
    }
}
