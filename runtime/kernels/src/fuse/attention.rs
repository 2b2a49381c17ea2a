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
    let joint = LinearOp { layer, norm: None, after: After::Activation(Activation::None) };
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
        heads_of(model, queries, [0, 2, 1, 3])?,
        heads_of(model, keys, [0, 2, 3, 1])?,
        heads_of(model, mix.inputs[1], [0, 2, 1, 3])?,
    ];
    let turned = reader(model, mix)?;
    let back = matches!(turned.op_as::<AxisOp>(), Some(AxisOp::Move(1, 2) | AxisOp::Move(2, 1)));
    let last = reader(model, turned).filter(|_| back)?;
    if !matches!(last.op_as::<AxisOp>(), Some(AxisOp::Reshape(2, ..))) {
        return None;
    }
    let heads = node.outputs[0].fact.shape[1].to_usize().ok()?;
    let widths = parts.map(|part| part.end - part.start);
    (widths[0] == widths[1] && widths[0] == widths[2] && widths[0].is_multiple_of(heads)).then_some(Found {
        parts,
        heads,
        scale,
        last,
    })
}

/// What a value `[sequences, heads, ..]` was before its last axis was split into heads and the axes turned so that they
/// stand in the order `wanted`.
fn heads_of(model: &TypedModel, outlet: OutletId, wanted: [usize; 4]) -> Option<Part> {
    let mut outlet = source(model, outlet);
    let mut moves = Vec::new();
    while let Some(&AxisOp::Move(from, to)) = model.node(outlet.node).op_as::<AxisOp>() {
        moves.push((from, to));
        outlet = source(model, model.node(outlet.node).inputs[0]);
    }
    let mut order = vec![0, 1, 2, 3];
    for (from, to) in moves.into_iter().rev() {
        let axis = order.remove(from);
        order.insert(to, axis);
    }
    let split = model.node(outlet.node);
    let is_split =
        matches!(split.op_as::<AxisOp>(), Some(AxisOp::Reshape(2, from, to)) if from.len() == 1 && to.len() == 2);
    if order != wanted || !is_split {
        return None;
    }
    let of = source(model, split.inputs[0]);
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
