//! Quantised linear layers, and what they take in from around them.

use std::sync::Arc;

use tract_core::internal::*;
use tract_core::ops::einsum::EinSum;

use super::graph::{
    constant, floats, from, in_place_of, is, is_zero, other_input, reader, reshaped, source, with_constant,
};
use super::{Target, packed};
use crate::linear::Linear;
use crate::maths::Activation;
use crate::ops::{ActivationOp, After, LayerNormOp, LinearOp};

/// `DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul(input scale * weight scales) -> Add(bias)`.
pub(super) fn rule(target: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(found) = find(target, model, node) else { return Ok(None) };
    let (layer, input, last) = found;
    let op = LinearOp { layer, norm: None, after: After::Activation(Activation::None) };
    in_place_of(model, last.name.clone(), op, &[input], last)
}

fn find<'m>(
    target: &Target,
    model: &'m TypedModel,
    node: &TypedNode,
) -> Option<(Arc<Linear>, OutletId, &'m TypedNode)> {
    let product = node.op_as::<EinSum>()?;
    // Inputs of a quantised product: two factors, bias, and zero point and scale of each and of the result.
    if product.q_params.is_none() || node.inputs.len() != 9 {
        return None;
    }
    let quantiser = model.node(node.inputs[0].node);
    let weights = constant(model, node.inputs[1])?;
    if !is(quantiser, "DynamicQuantizeLinearU8") || weights.datum_type() != i8::datum_type() {
        return None;
    }
    let weights_are_symmetric = is_zero(model, node.inputs[5])?;
    let cast = reader(model, node).filter(|n| is(n, "Cast"))?;
    let scale = reader(model, cast).filter(|n| is(n, "Mul"))?;
    let add = reader(model, scale).filter(|n| is(n, "Add"))?;
    let bias = floats(model, other_input(model, add, scale)?)?;
    let factor = reshaped(model, other_input(model, scale, cast)?);
    let product = model.node(factor.node);
    let (of_input, scales) = with_constant(model, product).filter(|_| is(product, "Mul"))?;
    let [.., inputs, outputs] = weights.shape()[..] else { return None };
    let single = weights.len() == inputs * outputs;
    if !weights_are_symmetric || !single || reshaped(model, of_input).node != quantiser.id {
        return None;
    }
    let bytes = weights.try_as_plain_ram().ok()?;
    let bytes = bytes.as_slice::<i8>().ok()?;
    // -128 would make a pair of products too large for 16 bits.
    if bytes.contains(&-128) {
        return None;
    }
    let pack = || Linear::new(target.kernel, (inputs, outputs), bytes, &scales, &bias).ok();
    let layer = packed(&target.packed.linears, &node.name, pack)?;
    Some((layer, source(model, quantiser.inputs[0]), add))
}

/// A LayerNorm before a linear layer, an activation or a residual sum behind it.
pub(super) fn absorb(_: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(op) = node.op_as::<LinearOp>() else { return Ok(None) };
    let before = from(model, node.inputs[0]);
    if let Some(norm) = before.op_as::<LayerNormOp>()
        && op.norm.is_none()
        && reader(model, before).is_some()
    {
        let op = LinearOp { norm: Some(norm.norm.clone()), ..op.clone() };
        let mut inputs = node.inputs.clone();
        inputs[0] = before.inputs[0];
        return in_place_of(model, node.name.clone(), op, &inputs, node);
    }
    let Some(after) = reader(model, node).filter(|_| op.after == After::Activation(Activation::None)) else {
        return Ok(None);
    };
    if let Some(activation) = after.op_as::<ActivationOp>() {
        let op = LinearOp { after: After::Activation(activation.activation), ..op.clone() };
        return in_place_of(model, after.name.clone(), op, &node.inputs, after);
    }
    if is(after, "Add")
        && let Some(added) = other_input(model, after, node)
    {
        let fact = model.outlet_fact(added)?;
        if fact.shape == node.outputs[0].fact.shape && fact.konst.is_none() {
            let op = LinearOp { after: After::Residual, ..op.clone() };
            return in_place_of(model, after.name.clone(), op, &[node.inputs[0], added], after);
        }
    }
    Ok(None)
}
