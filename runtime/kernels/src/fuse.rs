//! Puts the operators into a graph that tract has read from a standard ONNX file.
//!
//! Each rule knows one pattern by the node that stands in its middle and puts one operator in its place. They run on the
//! typed graph as it comes from the file, before tract's own optimisations, which would take the patterns apart. The
//! order matters: linear layers first, then what is taken into them.

mod activation;
mod attention;
mod conv;
mod graph;
mod linear;
mod norm;

use std::fmt;

use tract_core::internal::*;

use crate::conv::Pixels;
use crate::cpu::Kernel;

/// What operators are made for.
struct Target<'a> {
    kernel: Kernel,
    pixels: Option<&'a Pixels>,
}

/// A rule: what it puts in, how it finds the place.
type Rule = fn(&Target, &TypedModel, &TypedNode) -> TractResult<Option<TypedModelPatch>>;

/// What was put into a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fused {
    /// Quantised linear layers.
    pub linear: usize,
    /// LayerNorms, those taken into linear layers among them.
    pub norms: usize,
    /// Activations, those taken into linear layers among them.
    pub activations: usize,
    /// Attentions; three linear layers of the same input before one become one.
    pub attentions: usize,
    /// LayerNorms, activations and residual sums that were taken into linear layers.
    pub absorbed: usize,
    /// Convolutions, of patches or of a stem.
    pub convolutions: usize,
}

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} linear layers, {} LayerNorms, {} activations, {} attentions, {} convolutions; {} taken into \
             linear layers",
            self.linear, self.norms, self.activations, self.attentions, self.convolutions, self.absorbed
        )
    }
}

/// Rewrites a graph for a kernel. `pixels` says what the graph's input is made of, where it is known: a convolution on
/// it is then exact but for its weights. Convolutions become ones on bytes only where linear layers do.
///
/// # Errors
/// When tract refuses a patch.
pub fn fuse(kernel: Kernel, pixels: Option<&Pixels>, model: &mut TypedModel) -> TractResult<Fused> {
    let target = &Target { kernel, pixels };
    let linear = everywhere(target, model, linear::rule)?;
    let fused = Fused {
        linear,
        norms: everywhere(target, model, norm::rule)?,
        activations: everywhere(target, model, activation::rule)?,
        attentions: everywhere(target, model, attention::rule)?,
        absorbed: everywhere(target, model, linear::absorb)?,
        // A graph of floats stays one.
        convolutions: if linear == 0 { 0 } else { everywhere(target, model, conv::rule)? },
    };
    everywhere(target, model, conv::list)?;
    Ok(fused)
}

/// Applies a rule until it finds no place any more; gives how often it did.
fn everywhere(target: &Target, model: &mut TypedModel, rule: Rule) -> TractResult<usize> {
    let mut count = 0;
    'graph: loop {
        for id in model.eval_order()? {
            let node = model.node(id);
            if let Some(patch) = rule(target, model, node).with_context(|| format!("at {node}"))? {
                patch.apply(model)?;
                model.compact()?;
                count += 1;
                continue 'graph;
            }
        }
        return Ok(count);
    }
}
