//! LayerNorm, written out as mean, difference, variance, root.

use std::sync::Arc;

use tract_core::internal::*;
use tract_core::ops::nn::Reduce;

use super::Target;
use super::graph::{float, from, in_place_of, is, reader, source, with_constant};
use crate::ops::LayerNormOp;
use crate::rows::LayerNorm;

/// `(x - mean(x)) * rsqrt(mean((x - mean(x))^2) + epsilon) * gain + shift`, or divided by the root, over the last axis.
pub(super) fn rule(
    &Target { kernel, .. }: &Target,
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<TypedModelPatch>> {
    let Some((norm, x, last)) = find(model, node) else { return Ok(None) };
    in_place_of(model, last.name.clone(), LayerNormOp { kernel, norm: Arc::new(norm) }, &[x], last)
}

fn find<'m>(model: &'m TypedModel, node: &TypedNode) -> Option<(LayerNorm, OutletId, &'m TypedNode)> {
    let inverse = is(node, "Rsqrt");
    if !inverse && !is(node, "Sqrt") {
        return None;
    }
    let sum = from(model, node.inputs[0]);
    let (variance, epsilon) = with_constant(model, sum).filter(|(_, e)| is(sum, "Add") && e.len() == 1)?;
    let difference = squared(model, mean_of(model, variance)?)?;
    let sub = from(model, difference);
    let x = source(model, *sub.inputs.first()?);
    if !is(sub, "Sub") || mean_of(model, sub.inputs[1]) != Some(x) {
        return None;
    }
    let fact = model.outlet_fact(x).ok()?;
    let width = fact.shape[fact.rank() - 1].to_usize().ok()?;

    let unit = reader(model, node)?;
    let of_difference = |input: &OutletId| from(model, *input).id == sub.id;
    let right = if inverse {
        is(unit, "Mul") && unit.inputs.iter().any(of_difference)
    } else {
        is(unit, "Div") && of_difference(&unit.inputs[0])
    };
    let scaled = reader(model, unit).filter(|n| right && is(n, "Mul"))?;
    let (_, gain) = with_constant(model, scaled)?;
    let shifted = reader(model, scaled).filter(|n| is(n, "Add"))?;
    let (_, shift) = with_constant(model, shifted)?;
    (gain.len() == width && shift.len() == width).then_some((
        LayerNorm { gain, shift, epsilon: epsilon[0] },
        x,
        shifted,
    ))
}

/// What is squared: `Square`, `Pow(x, 2)` or `x * x`.
pub(super) fn squared(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let node = from(model, outlet);
    let x = source(model, *node.inputs.first()?);
    let is_square = match &*node.op.name() {
        "Square" => true,
        "Pow" => float(model, node.inputs[1]) == Some(2.0),
        "Mul" => source(model, node.inputs[1]) == x,
        _ => false,
    };
    is_square.then_some(x)
}

/// What the mean over the last axis is taken of: a sum divided by, or multiplied with one over, the axis' length.
fn mean_of(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let node = from(model, outlet);
    let (sum, length) = match &*node.op.name() {
        "Div" => (node.inputs[0], float(model, node.inputs[1])?),
        "Mul" => {
            let (sum, factor) = with_constant(model, node)?;
            (sum, 1.0 / *factor.first()?)
        }
        _ => return None,
    };
    let sum = from(model, sum);
    let x = source(model, *sum.inputs.first()?);
    let fact = model.outlet_fact(x).ok()?;
    let last = fact.rank().checked_sub(1)?;
    let whole = fact.shape[last].to_usize().is_ok_and(|n| n == length.round() as usize);
    (is(sum, "Reduce<Sum>") && sum.op_as::<Reduce>()?.axes[..] == [last] && whole).then_some(x)
}
