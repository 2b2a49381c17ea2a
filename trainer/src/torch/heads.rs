//! The linear heads on a panorama's embedding: geocells, regressions and classifications (method sections 3 and 5).

use homing_models::tasks::TaskList;
use tch::{Tensor, nn, nn::Init};

use super::rounding;
use crate::encoder_graph::Head;

/// Name of the geocells' output.
pub const CELLS: &str = "cells";

/// One linear layer for each output of the heads' graph; variables `NAME.weight` [outputs, d] and `NAME.bias`.
#[derive(Debug)]
pub struct Heads {
    layers: Vec<(Head, Tensor, Tensor)>,
    /// Whether products are rounded as the int8 graph rounds them.
    rounded: bool,
}

impl Heads {
    /// Fresh heads under `root` for embeddings of width `d`.
    pub fn new(root: &nn::Path, d: u32, cells: usize, tasks: &TaskList) -> Self {
        let d = i64::from(d);
        let layer = |head: Head| {
            let path = root / &head.name;
            let outputs = head.outputs as i64;
            let weight = path.var("weight", &[outputs, d], Init::Randn { mean: 0.0, stdev: 0.02 });
            let bias = path.var("bias", &[outputs], Init::Const(0.0));
            (head, weight, bias)
        };
        Heads { layers: outputs(cells, tasks).into_iter().map(layer).collect(), rounded: false }
    }

    /// Outputs for embeddings [n, d], each [n, outputs], in the order of [`outputs`].
    pub fn forward(&self, embeddings: &Tensor) -> Vec<Tensor> {
        if self.rounded {
            let embeddings = rounding::input(embeddings);
            let product = |weight| embeddings.linear(&rounding::weight(weight), None::<&Tensor>);
            return self.layers.iter().map(|(_, weight, bias)| product(weight) + bias).collect();
        }
        self.layers.iter().map(|(_, weight, bias)| embeddings.linear(weight, Some(bias))).collect()
    }

    /// From now on products are rounded as the int8 graph rounds them, or are not.
    pub fn round(&mut self, rounded: bool) {
        self.rounded = rounded;
    }

    /// Width d of the embeddings.
    pub fn width(&self) -> i64 {
        self.layers[0].1.size()[1]
    }
}

/// The outputs of the heads in order: geocells, the regressions, the classifications.
pub fn outputs(cells: usize, tasks: &TaskList) -> Vec<Head> {
    let cells = Head { name: CELLS.to_owned(), outputs: cells };
    let regressions = tasks.regressions.iter().map(|r| Head { name: r.name.clone(), outputs: 1 });
    let classes = tasks.classifications.iter().map(|c| Head { name: c.name.clone(), outputs: c.classes.len() });
    std::iter::once(cells).chain(regressions).chain(classes).collect()
}
