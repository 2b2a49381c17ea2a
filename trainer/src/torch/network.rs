//! The whole model in libtorch: tower and heads over one set of variables, and its running average.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use homing_models::tasks::TaskList;
use tch::{Device, Kind, Tensor, nn};

use crate::onnx;
use crate::recipe::{self, Trainable};

use super::heads::Heads;
use super::tower::{Tower, folded};

/// Mean of red, green and blue in 0..1 that an image is normalised with: CLIP's.
pub const IMAGE_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation of red, green and blue in 0..1: CLIP's.
pub const IMAGE_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Tower and heads.
#[derive(Debug)]
pub struct Network {
    /// All variables, by name.
    pub variables: nn::VarStore,
    /// Views to embeddings.
    pub tower: Tower,
    /// Embeddings to cells and tasks.
    pub heads: Heads,
}

impl Network {
    /// A network with fresh weights that depend on `seed` alone.
    pub fn new(shape: &recipe::Tower, cells: usize, tasks: &TaskList, seed: u64, device: Device) -> Self {
        // Drawn on the processor, so that every device starts from the same weights.
        let mut variables = nn::VarStore::new(Device::Cpu);
        let (tower, heads) = seeded(seed, || {
            let root = variables.root();
            (Tower::new(&root, shape), Heads::new(&root, shape.width, cells, tasks))
        });
        variables.set_device(device);
        Network { variables, tower, heads }
    }

    /// Leaves the weights that are not to be trained without gradients.
    pub fn train_only(&self, trainable: Trainable) {
        let last = format!("{}.", self.tower.last_block());
        for (name, variable) in self.named() {
            let of_tower = name.starts_with("vision_model.");
            let wanted = match trainable {
                Trainable::All => continue,
                Trainable::LastLayer => !of_tower || name.starts_with(&last),
                Trainable::Heads => !of_tower,
            };
            let _ = variable.set_requires_grad(wanted && variable.requires_grad());
        }
    }

    /// All variables in the order of their names, sharing memory with the network.
    pub fn named(&self) -> BTreeMap<String, Tensor> {
        self.variables.variables().into_iter().collect()
    }

    /// The running statistics of the stem's batch normalisation, sharing memory with the network; none with patches.
    pub fn statistics(&self) -> Vec<Tensor> {
        let running = |name: &str| name.ends_with(".running_mean") || name.ends_with(".running_var");
        self.named().into_iter().filter(|(name, _)| running(name)).map(|(_, tensor)| tensor).collect()
    }

    /// The weights as the ONNX graphs name them, batch normalisation folded in.
    pub fn weights(&self) -> onnx::Weights {
        let plain = tch::no_grad(|| folded(&self.named()));
        let copied = |(name, tensor): (String, Tensor)| {
            let shape = tensor.size().iter().map(|&n| n as usize).collect();
            (name, onnx::Tensor { shape, data: values(&tensor) })
        };
        plain.into_iter().map(copied).collect()
    }

    /// Embeddings of views in the form of [`pixels`], without gradients and with the statistics of training: [n, d].
    pub fn embed(&self, pixels: &Tensor) -> Tensor {
        tch::no_grad(|| self.tower.embed(pixels, false))
    }

    /// Every output of the heads for embeddings [n, d], without gradients; geocells as probabilities.
    pub fn predict(&self, embeddings: &Tensor) -> Vec<Tensor> {
        tch::no_grad(|| {
            let mut outputs = self.heads.forward(embeddings);
            outputs[0] = outputs[0].softmax(-1, Kind::Float);
            outputs
        })
    }

    /// Moves these weights, the running average, towards `trained` by `1 - decay`.
    ///
    /// The decay grows with the step (from 0) up to `decay`, so that the fresh weights are soon forgotten.
    pub fn follow(&mut self, trained: &Network, decay: f64, step: u32) {
        let decay = decay.min((1.0 + f64::from(step)) / (10.0 + f64::from(step)));
        let source = trained.variables.variables();
        tch::no_grad(|| {
            for (name, mut average) in self.named() {
                let _ = average.lerp_(&source[&name], 1.0 - decay);
            }
        });
    }
}

/// Draws random numbers that depend on `seed` alone. libtorch has one generator for the whole process, so that one
/// thread draws at a time.
pub fn seeded<T>(seed: u64, draw: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed.cast_signed());
    draw()
}

/// Normalised views [n * S * S * 3] as [n, 3, S, S] in the memory layout that convolutions like best.
pub fn pixels(values: &Tensor, side: u32) -> Tensor {
    let side = i64::from(side);
    values.view([-1, side, side, 3]).permute([0, 3, 1, 2])
}

/// A float tensor's values in row-major order.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
    let mut values = vec![0.0; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    values
}
