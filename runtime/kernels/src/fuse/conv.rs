//! Convolutions, with the sum and the rectifier behind them, on bytes; what comes out has its channels last.

use std::sync::Arc;

use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec};
use tract_core::ops::nn::DataFormat;

use super::graph::{constant, floats, in_place_of, is, other_input, reader, with_constant};
use super::{Target, packed};
use crate::conv::{Convolution, Layout, Window};
use crate::maths::Activation;
use crate::ops::ConvolutionOp;

/// From `[images, channels, height, width]` to channels last, and back.
const LAST: AxisOp = AxisOp::Move(1, 3);
const FIRST: AxisOp = AxisOp::Move(3, 1);

/// `Conv [-> Add] [-> Relu]`.
pub(super) fn rule(target: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(found) = find(target, model, node) else { return Ok(None) };
    let Found { convolution, input, added, activation, last } = found;
    let mut patch = TypedModelPatch::default();
    let mut inputs = tvec!(patch.tap_model(model, input)?);
    if let Some(added) = added {
        let outlet = patch.tap_model(model, turned(model, added).unwrap_or(added))?;
        inputs.push(match turned(model, added) {
            Some(_) => outlet,
            None => patch.wire_node(format!("{}.added", node.name), LAST, &[outlet])?[0],
        });
    }
    let op = ConvolutionOp { convolution, residual: added.is_some(), activation };
    let y = patch.wire_node(format!("{}.bytes", node.name), op, &inputs)?;
    let y = patch.wire_node(&last.name, FIRST, &y)?;
    patch.shunt_outside(model, last.id.into(), y[0])?;
    Ok(Some(patch))
}

/// The value with its channels last that a convolution turned back here.
fn turned(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let node = model.node(outlet.node);
    (node.op_as::<AxisOp>() == Some(&FIRST)).then(|| node.inputs[0])
}

struct Found<'m> {
    convolution: Arc<Convolution>,
    input: OutletId,
    added: Option<OutletId>,
    activation: Activation,
    last: &'m TypedNode,
}

fn find<'m>(target: &Target, model: &'m TypedModel, node: &'m TypedNode) -> Option<Found<'m>> {
    let conv = node.op_as::<Conv>()?;
    let pool = &conv.pool_spec;
    let plain = conv.group == 1
        && conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && pool.data_format == DataFormat::NCHW
        && pool.dilations.as_deref().is_none_or(|d| d.iter().all(|d| *d == 1));
    let &[size, width] = &pool.kernel_shape[..] else { return None };
    let &[step, across] = pool.strides.as_deref().unwrap_or(&[1, 1]) else { return None };
    let (before, after) = match &pool.padding {
        PaddingSpec::Valid => (0, 0),
        PaddingSpec::Explicit(before, after) if before[0] == before[1] && after[0] == after[1] => (before[0], after[0]),
        _ => return None,
    };
    if !plain || size != width || step != across {
        return None;
    }
    let outputs = pool.output_channels;
    let mut bias = floats(model, node.inputs[2])?;
    if bias.len() == 1 {
        bias = vec![bias[0]; outputs];
    }
    let (input, layout) = match turned(model, node.inputs[0]) {
        Some(input) => (input, Layout::ChannelsLast),
        None => (node.inputs[0], Layout::ChannelsFirst),
    };
    let window = Window { layout, channels: pool.input_channels, size, step, before, after };
    let pixels = target.pixels.filter(|_| model.inputs.contains(&input));
    let pack = || {
        // Not copied: that would be a megabyte of a start's memory.
        let weights = constant(model, node.inputs[1])?;
        let weights = weights.cast_to::<f32>().ok()?;
        let weights = weights.try_as_plain_ram().ok()?;
        Convolution::new(target.kernel, window, outputs, weights.as_slice().ok()?, &bias, pixels).ok()
    };
    let convolution = packed(&target.packed.convolutions, &node.name, pack)?;

    let (mut last, mut added, mut activation) = (node, None, Activation::None);
    if let Some(add) = reader(model, last).filter(|n| is(n, "Add"))
        && let Some(other) = other_input(model, add, last)
    {
        let fact = model.outlet_fact(other).ok()?;
        if fact.shape == node.outputs[0].fact.shape && fact.konst.is_none() {
            (last, added) = (add, Some(other));
        }
    }
    if let Some(relu) = reader(model, last).filter(|n| is(n, "Max"))
        && with_constant(model, relu).is_some_and(|(_, floor)| floor == [0.0])
    {
        (last, activation) = (relu, Activation::Relu);
    }
    Some(Found { convolution, input, added, activation, last })
}

/// `channels first -> Reshape(height, width -> tokens) -> Transpose` behind a convolution: a change of shape alone.
pub(super) fn list(_: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some((input, reshape, last)) = listed(model, node) else { return Ok(None) };
    in_place_of(model, last.name.clone(), reshape, &[input], last)
}

fn listed<'m>(model: &'m TypedModel, node: &'m TypedNode) -> Option<(OutletId, AxisOp, &'m TypedNode)> {
    let turned = node.op_as::<AxisOp>() == Some(&FIRST);
    let list = reader(model, node).filter(|_| turned)?;
    let Some(AxisOp::Reshape(2, from, to)) = list.op_as::<AxisOp>() else { return None };
    let last = reader(model, list).filter(|_| from.len() == 2 && to.len() == 1)?;
    let back = matches!(last.op_as::<AxisOp>(), Some(AxisOp::Move(1, 2) | AxisOp::Move(2, 1)));
    back.then(|| (node.inputs[0], AxisOp::Reshape(1, from.clone(), to.clone()), last))
}
