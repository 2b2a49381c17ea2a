//! Puts the operators into a graph that tract has read from a standard ONNX file whose layers were joined, see [`read`](crate::read).
//!
//! Each rule knows one pattern by the node that stands in its middle and puts one operator in its place. They run on the
//! typed graph as it comes from the file, before tract's own optimisations, which would take the patterns apart. The
//! order matters: what is taken into linear layers comes last.

mod activation;
mod attention;
mod conv;
mod graph;
mod linear;
mod norm;
mod tokens;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tract_core::internal::*;

use crate::conv::{Convolution, Pixels};
use crate::cpu::Kernel;
use crate::linear::Linear;
use crate::ops::{AttentionOp, LayerNormOp, LinearOp};

/// What operators are made for.
struct Target<'a> {
    kernel: Kernel,
    pixels: Option<&'a Pixels>,
    packed: &'a Packed,
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

/// Weights as the operators have them: convolutions, and three linear layers that became one. Plans of one file, one kernel
/// and the same pixels share theirs, whatever their number of views: a further plan then takes next to no time and memory.
#[derive(Debug, Default)]
pub struct Packed {
    linears: ByNode<Linear>,
    convolutions: ByNode<Convolution>,
}

/// By the name of the node in the file, which must be its own. They live in the plans: what no plan needs is not kept, but
/// for the three layers that became one, which the graph has for further plans.
type ByNode<T> = Mutex<HashMap<String, Weak<T>>>;

/// What a node's weights are packed to, now or before.
fn packed<T>(known: &ByNode<T>, node: &str, pack: impl FnOnce() -> Option<T>) -> Option<Arc<T>> {
    // Whoever panicked before left whole entries.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(layer) = known.get(node).and_then(Weak::upgrade) {
        return Some(layer);
    }
    let layer = Arc::new(pack()?);
    known.insert(node.to_owned(), Arc::downgrade(&layer));
    Some(layer)
}

/// Rewrites a graph for a kernel. `pixels` says what the graph's input is made of, where it is known: a convolution on
/// it is then exact but for its weights. Convolutions become ones on bytes only where linear layers do. `packed` has the
/// weights of the plans before, and keeps those of this one.
///
/// # Errors
/// When tract refuses a patch.
pub fn fuse(kernel: Kernel, pixels: Option<&Pixels>, packed: &Packed, model: &mut TypedModel) -> TractResult<Fused> {
    let target = &Target { kernel, pixels, packed };
    let linear = model.nodes().iter().filter_map(|node| node.op_as::<LinearOp>()).map(|op| op.layers).sum();
    let fused = Fused {
        linear,
        norms: count::<LayerNormOp>(model) + everywhere(target, model, norm::rule)?,
        activations: everywhere(target, model, activation::rule)?,
        attentions: count::<AttentionOp>(model) + everywhere(target, model, attention::rule)?,
        absorbed: everywhere(target, model, linear::absorb)?,
        // A graph of floats stays one.
        convolutions: if linear == 0 { 0 } else { everywhere(target, model, conv::rule)? },
    };
    everywhere(target, model, conv::list)?;
    everywhere(target, model, tokens::mean)?;
    everywhere(target, model, tokens::before_linear)?;
    Ok(fused)
}

/// Operators of this kind in a graph.
fn count<O: TypedOp>(model: &TypedModel) -> usize {
    model.nodes().iter().filter(|node| node.op_is::<O>()).count()
}

/// Applies a rule until it finds no place any more; gives how often it did.
fn everywhere(target: &Target, model: &mut TypedModel, rule: Rule) -> TractResult<usize> {
    let mut count = 0;
    loop {
        let before = count;
        for id in model.eval_order()? {
            let node = model.node(id);
            // Replaced by a patch of this round.
            if node.outputs.is_empty() {
                continue;
            }
            if let Some(patch) = rule(target, model, node).with_context(|| format!("at {node}"))? {
                patch.apply(model)?;
                count += 1;
            }
        }
        if count == before {
            return Ok(count);
        }
        // Once a round: it goes through the whole graph, and gives the nodes other numbers.
        model.compact()?;
    }
}

#[cfg(test)]
mod lookalikes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_packed_once() {
        let known = ByNode::default();
        let first = packed(&known, "a", || Some(1)).unwrap();
        let again = packed(&known, "a", || panic!("it was packed before")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        drop((first, again));
        assert_eq!(packed(&known, "a", || Some(3)).as_deref(), Some(&3), "nobody had it any more");
        assert_eq!(packed(&known, "b", || None::<i32>), None);
        assert_eq!(packed(&known, "b", || Some(2)).as_deref(), Some(&2), "what could not be packed is asked for again");
    }
}
