//! CLIP's patch embedding: a convolution whose kernel is as large as its step, its grid made a list of tokens.

use std::sync::Arc;

use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, KernelFormat};

use super::graph::{floats, in_place_of, reader};
use crate::cpu::Kernel;
use crate::ops::PatchOp;
use crate::patches::PatchEmbedding;

/// `Conv -> Reshape(height, width -> patches) -> Transpose`.
pub(super) fn rule(kernel: Kernel, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some((embedding, last)) = find(kernel, model, node) else { return Ok(None) };
    in_place_of(model, last.name.clone(), PatchOp(Arc::new(embedding)), &[node.inputs[0]], last)
}

fn find<'m>(kernel: Kernel, model: &'m TypedModel, node: &TypedNode) -> Option<(PatchEmbedding, &'m TypedNode)> {
    let conv = node.op_as::<Conv>()?;
    let pool = &conv.pool_spec;
    let &[patch, down] = &pool.kernel_shape[..] else { return None };
    let steps = pool.strides.as_deref()?;
    let plain = conv.group == 1 && conv.q_params.is_none() && conv.kernel_fmt == KernelFormat::OIHW;
    let shape = model.outlet_fact(node.inputs[0]).ok()?.shape.as_concrete()?.to_vec();
    let &[_, channels, height, width] = &shape[..] else { return None };
    let whole = height.is_multiple_of(patch) && width.is_multiple_of(patch);
    if patch != down || *steps != [patch, patch] || !plain || !whole {
        return None;
    }
    let outputs = pool.output_channels;
    let weights = floats(model, node.inputs[1])?;
    let mut bias = floats(model, node.inputs[2])?;
    if bias.len() == 1 {
        bias = vec![bias[0]; outputs];
    }
    let listed = reader(model, node)?;
    let is_list =
        matches!(listed.op_as::<AxisOp>(), Some(AxisOp::Reshape(2, from, to)) if from.len() == 2 && to.len() == 1);
    let turned = reader(model, listed).filter(|_| is_list)?;
    let is_turned = matches!(turned.op_as::<AxisOp>(), Some(AxisOp::Move(1, 2) | AxisOp::Move(2, 1)));
    let embedding = PatchEmbedding::new(kernel, (channels, patch, outputs), &weights, &bias).ok()?;
    is_turned.then_some((embedding, turned))
}
