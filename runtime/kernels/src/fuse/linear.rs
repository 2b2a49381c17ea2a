//! What quantised linear layers take in from around them.

use tract_core::internal::*;

use super::Target;
use super::graph::{from, in_place_of, is, other_input, reader};
use crate::maths::Activation;
use crate::ops::{ActivationOp, After, LayerNormOp, LinearOp};

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
