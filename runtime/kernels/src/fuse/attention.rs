//! Attention, written out: heads split and turned, two products with a softmax between them, heads joined.

use tract_core::internal::*;
use tract_core::ops::array::Slice;
use tract_core::ops::einsum::EinSum;
use tract_core::ops::nn::Softmax;

use super::graph::{from, in_place_of, is, reader, scaled, source};
use super::{Target, packed};
use crate::linear::Linear;
use crate::maths::Activation;
use crate::ops::{After, AttentionOp, LinearOp};

/// The product of two batches of matrices in tract's words.
const PRODUCT: &str = "abmk,abkn->abmn";

/// `softmax(scale * Q K^T) V` over heads, with Q, K and V from one projection or from three linear layers of one input;
/// the three become one.
pub(super) fn rule(target: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(found) = find(model, node) else { return Ok(None) };
    let Found { parts: [q, k, v], heads, scale, last } = found;
    let op = AttentionOp { kernel: target.kernel, heads, scale };
    let width = q.end - q.start;
    let beside =
        [q.start, k.start, v.start] == [0, width, 2 * width] && [q.end, k.end, v.end] == [width, 2 * width, 3 * width];
    if q.of == k.of && q.of == v.of && beside {
        let whole = model.outlet_fact(q.of)?.shape[2].to_usize().is_ok_and(|n| n == 3 * width);
        return if whole { in_place_of(model, last.name.clone(), op, &[q.of], last) } else { Ok(None) };
    }
    let Some((layers, input)) = joined(model, [q, k, v]) else { return Ok(None) };
    let pack = || Some(Linear::beside(&layers));
    let Some(layer) = packed(&target.packed.linears, &node.name, pack) else { return Ok(None) };
    let joint = LinearOp { layer, layers: 3, norm: None, after: After::Activation(Activation::None) };
    let mut patch = TypedModelPatch::default();
    let x = patch.tap_model(model, input)?;
    let projections = patch.wire_node(format!("{}.projections", node.name), joint, &[x])?;
    let y = patch.wire_node(&last.name, op, &projections)?;
    patch.shunt_outside(model, last.id.into(), y[0])?;
    Ok(Some(patch))
}

struct Found<'m> {
    parts: [Part; 3],
    heads: usize,
    scale: f32,
    last: &'m TypedNode,
}

/// Columns `start..end` of a value `[sequences, tokens, columns]`.
#[derive(Clone, Copy, PartialEq)]
struct Part {
    of: OutletId,
    start: usize,
    end: usize,
}

fn find<'m>(model: &'m TypedModel, node: &TypedNode) -> Option<Found<'m>> {
    if node.op_as::<Softmax>()?.axes[..] != [3] {
        return None;
    }
    let mut scale = 1.0;
    let mut unscaled = |outlet: OutletId| match scaled(model, from(model, outlet)) {
        Some((x, factor)) => {
            scale *= factor;
            x
        }
        None => source(model, outlet),
    };
    let scores = model.node(unscaled(node.inputs[0]).node);
    let is_product =
        |n: &TypedNode| n.op_as::<EinSum>().is_some_and(|e| e.axes.to_string() == PRODUCT && e.q_params.is_none());
    if !is_product(scores) {
        return None;
    }
    let (queries, keys) = (unscaled(scores.inputs[0]), unscaled(scores.inputs[1]));
    let mix = reader(model, node).filter(|n| is_product(n) && source(model, n.inputs[0]).node == node.id)?;
    let parts = [
        heads_of(model, queries, [Sequence, Head, Token, Number])?,
        heads_of(model, keys, [Sequence, Head, Number, Token])?,
        heads_of(model, mix.inputs[1], [Sequence, Head, Token, Number])?,
    ];
    let turned = reader(model, mix)?;
    let back = matches!(turned.op_as::<AxisOp>(), Some(AxisOp::Move(1, 2) | AxisOp::Move(2, 1)));
    let last = reader(model, turned).filter(|_| back)?;
    if !matches!(last.op_as::<AxisOp>(), Some(AxisOp::Reshape(2, ..))) {
        return None;
    }
    let heads = node.outputs[0].fact.shape[1].to_usize().ok()?;
    let widths = parts.map(|part| part.end - part.start);
    let alike = widths[0] == widths[1] && widths[0] == widths[2] && widths[0].is_multiple_of(heads);
    // A softmax takes the largest score off, which is the largest still when it has been multiplied.
    (alike && scale > 0.0 && scale.is_finite()).then_some(Found { parts, heads, scale, last })
}

/// Axes of queries, keys or values, by what they count. `Which` tells queries, keys and values of one projection apart.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Along {
    Sequence,
    Token,
    Which,
    Head,
    Number,
}
use Along::{Head, Number, Sequence, Token, Which};

/// What a value `[sequences, heads, ..]` was before its last axis was split into heads, or into which of three and heads,
/// and the axes turned so that they stand in the order `wanted`.
fn heads_of(model: &TypedModel, outlet: OutletId, wanted: [Along; 4]) -> Option<Part> {
    let mut outlet = source(model, outlet);
    let mut steps = Vec::new();
    let (split, to) = loop {
        let node = model.node(outlet.node);
        match node.op_as::<AxisOp>() {
            Some(AxisOp::Reshape(2, from, to)) if from.len() == 1 => break (node, to),
            Some(AxisOp::Move(..) | AxisOp::Rm(_)) => steps.push(node),
            None if node.op_is::<Slice>() => steps.push(node),
            _ => return None,
        }
        outlet = source(model, node.inputs[0]);
    };
    let mut axes = match to.len() {
        2 => vec![Sequence, Token, Head, Number],
        3 => vec![Sequence, Token, Which, Head, Number],
        _ => return None,
    };
    let mut which = None;
    for node in steps.into_iter().rev() {
        if let Some(slice) = node.op_as::<Slice>() {
            let (start, end) = (slice.start.to_usize().ok()?, slice.end.to_usize().ok()?);
            if axes.get(slice.axis) != Some(&Which) || which.is_some() || end != start + 1 {
                return None;
            }
            which = Some(start);
            continue;
        }
        match *node.op_as::<AxisOp>()? {
            AxisOp::Move(from, to) if from.max(to) < axes.len() => {
                let axis = axes.remove(from);
                axes.insert(to, axis);
            }
            // An axis of one number: it was cut down to that before.
            AxisOp::Rm(at) if axes.get(at) == Some(&Which) && which.is_some() => {
                axes.remove(at);
            }
            _ => return None,
        }
    }
    if axes != wanted {
        return None;
    }
    let of = source(model, split.inputs[0]);
    if let Some(which) = which {
        let width = to[1].to_usize().ok()? * to[2].to_usize().ok()?;
        return Some(Part { of, start: which * width, end: (which + 1) * width });
    }
    let node = model.node(of.node);
    if let Some(slice) = node.op_as::<Slice>() {
        let (start, end) = (slice.start.to_usize().ok()?, slice.end.to_usize().ok()?);
        return (slice.axis == 2).then(|| Part { of: source(model, node.inputs[0]), start, end });
    }
    let end = model.outlet_fact(of).ok()?.shape[2].to_usize().ok()?;
    Some(Part { of, start: 0, end })
}

/// Three plain linear layers on the same input.
fn joined(model: &TypedModel, parts: [Part; 3]) -> Option<(Vec<&Linear>, OutletId)> {
    let nodes = parts.map(|part| model.node(part.of.node));
    let mut layers = Vec::new();
    for (node, part) in nodes.iter().zip(parts) {
        let op = node.op_as::<LinearOp>()?;
        let plain = op.norm.is_none() && op.after == After::Activation(Activation::None);
        if !plain || (part.start, part.end) != (0, op.layer.outputs()) || node.inputs[0] != nodes[0].inputs[0] {
            return None;
        }
        layers.push(&*op.layer);
    }
    debug_assert!(nodes.iter().all(|node| is(node, "HomingLinear")));
    Some((layers, nodes[0].inputs[0]))
}
