//! AdamW with decoupled weight decay (Loshchilov and Hutter 2019), with moments that a checkpoint can hold.

use std::collections::BTreeMap;

use tch::{Tensor, nn};

use crate::recipe::Training;

/// Decay of the running mean of gradients and of their squares, and the usual guard of the division.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.98;
const EPSILON: f64 = 1e-8;

/// One trained variable with its moments.
#[derive(Debug)]
struct Moments {
    name: String,
    variable: Tensor,
    first: Tensor,
    second: Tensor,
    decays: bool,
}

/// The optimiser of one network. Variables are visited in the order of their names.
#[derive(Debug)]
pub struct AdamW {
    moments: Vec<Moments>,
    weight_decay: f64,
    epsilon: f64,
}

impl AdamW {
    /// An optimiser of all trainable variables of `variables`, with moments of zero.
    pub fn new(variables: &nn::VarStore, weight_decay: f64) -> Self {
        let named: BTreeMap<_, _> = variables.variables().into_iter().filter(|(_, v)| v.requires_grad()).collect();
        let moments = named.into_iter().map(|(name, variable)| {
            let (first, second) = (variable.detach().zeros_like(), variable.detach().zeros_like());
            let decays = decays(&name, &variable);
            Moments { name, variable, first, second, decays }
        });
        AdamW { moments: moments.collect(), weight_decay, epsilon: EPSILON }
    }

    /// The same with another guard of the division.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        AdamW { epsilon, ..self }
    }

    /// Clears the gradients.
    pub fn zero_grad(&mut self) {
        for m in &mut self.moments {
            m.variable.zero_grad();
        }
    }

    /// Scales the gradients down to a common norm of at most `norm`; returns the norm that they had.
    pub fn clip(&mut self, norm: f64) -> f64 {
        tch::no_grad(|| {
            let squares: Vec<Tensor> = self.gradients().map(|g| g.square().sum(tch::Kind::Float)).collect();
            let found = Tensor::stack(&squares, 0).sum(tch::Kind::Double).sqrt().double_value(&[]);
            if found > norm {
                for mut gradient in self.gradients() {
                    let _ = gradient.g_mul_scalar_(norm / found);
                }
            }
            found
        })
    }

    /// One step with learning rate `lr`; `step` counts from 1, for the correction of the moments' bias.
    pub fn step(&mut self, step: u32, lr: f64) {
        let correction = |beta: f64| 1.0 - beta.powi(step.cast_signed());
        let (rate, guard) =
            (lr * correction(BETA2).sqrt() / correction(BETA1), self.epsilon * correction(BETA2).sqrt());
        tch::no_grad(|| {
            for m in &mut self.moments {
                let gradient = m.variable.grad();
                if !gradient.defined() {
                    continue;
                }
                if m.decays {
                    let _ = m.variable.g_mul_scalar_(1.0 - lr * self.weight_decay);
                }
                let _ = m.first.lerp_(&gradient, 1.0 - BETA1);
                let _ = m.second.lerp_(&gradient.square(), 1.0 - BETA2);
                let _ = m.variable.g_sub_(&(&m.first / (m.second.sqrt() + guard) * rate));
            }
        });
    }

    /// The moments under `first_moment.NAME` and `second_moment.NAME`, sharing memory with the optimiser.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let both = |m: &Moments| {
            [
                (format!("first_moment.{}", m.name), m.first.shallow_clone()),
                (format!("second_moment.{}", m.name), m.second.shallow_clone()),
            ]
        };
        self.moments.iter().flat_map(both).collect()
    }

    /// The gradients that there are, in the order of the variables' names, sharing memory with them.
    pub fn gradients(&self) -> impl Iterator<Item = Tensor> + '_ {
        self.moments.iter().map(|m| m.variable.grad()).filter(Tensor::defined)
    }
}

/// Matrices and convolutions decay; norms, biases, the class token and the positions do not.
fn decays(name: &str, variable: &Tensor) -> bool {
    variable.dim() >= 2 && !name.contains("position_embedding")
}

/// The learning rate of a step (from 0): linear warm-up, then half a cosine down to zero at the last step.
pub fn learning_rate(training: &Training, step: u32) -> f64 {
    let (warmup, steps) = (f64::from(training.warmup_steps), f64::from(training.steps));
    let at = f64::from(step) + 1.0;
    if at <= warmup {
        return training.lr * at / warmup;
    }
    let progress = (at - warmup) / (steps - warmup).max(1.0);
    training.lr * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, nn::OptimizerConfig};

    #[test]
    fn steps_are_those_of_libtorchs_own_adamw() {
        let run = |own: bool| {
            let variables = nn::VarStore::new(Device::Cpu);
            let x = (&variables.root() / "x").var("weight", &[3, 2], nn::Init::Const(0.7));
            let target = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([3, 2]);
            let mut ours = AdamW::new(&variables, 0.1);
            let config = nn::AdamW { beta1: BETA1, beta2: BETA2, wd: 0.1, eps: EPSILON, amsgrad: false };
            let mut theirs = config.build(&variables, 0.01).unwrap();
            for step in 1..=20 {
                let loss = (&x - &target).square().sum(Kind::Float);
                if own {
                    ours.zero_grad();
                    loss.backward();
                    ours.step(step, 0.01);
                } else {
                    theirs.backward_step(&loss);
                }
            }
            x.detach().copy()
        };
        assert!((run(true) - run(false)).abs().max().double_value(&[]) < 1e-5);
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let variables = nn::VarStore::new(Device::Cpu);
        let x = variables.root().var("x", &[2], nn::Init::Const(1.0));
        let mut optimiser = AdamW::new(&variables, 0.0);
        (&x * Tensor::from_slice(&[30f32, 40.0])).sum(Kind::Float).backward();
        assert!((optimiser.clip(5.0) - 50.0).abs() < 1e-3);
        assert!((optimiser.clip(5.0) - 5.0).abs() < 1e-4);
        assert!((x.grad().double_value(&[0]) - 3.0).abs() < 1e-4);
    }

    #[test]
    fn biases_norms_and_positions_do_not_decay() {
        let matrix = Tensor::zeros([2, 2], (Kind::Float, Device::Cpu));
        assert!(decays("vision_model.encoder.layers.0.mlp.fc1.weight", &matrix));
        assert!(!decays("vision_model.embeddings.position_embedding.weight", &matrix));
        assert!(!decays("vision_model.pre_layrnorm.weight", &matrix.get(0)));
    }
}
