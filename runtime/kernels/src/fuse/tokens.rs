//! The mean over the tokens, which some encoders end with: tract's own sum takes seven times the instructions.

use tract_core::internal::*;
use tract_core::ops::nn::{Reduce, Reducer};

use super::Target;
use super::graph::in_place_of;
use crate::ops::TokenSumOp;

/// A sum over the second of three axes.
pub(super) fn rule(_: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(sum) = node.op_as::<Reduce>() else { return Ok(None) };
    let fact = model.outlet_fact(node.inputs[0])?;
    if sum.reducer != Reducer::Sum || sum.axes[..] != [1] || fact.rank() != 3 || fact.datum_type != f32::datum_type() {
        return Ok(None);
    }
    in_place_of(model, node.name.clone(), TokenSumOp, &[node.inputs[0]], node)
}
