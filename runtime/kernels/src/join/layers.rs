//! Joined nodes as tract takes them: packed when they are read, put into the typed graph once shapes are known.

use std::sync::Arc;

use tract_core::internal::*;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

use super::{BIAS, EPSILON, GAIN, KERNEL, LAYER_NORM, LINEAR, SCALES, WEIGHTS, ZEROS};
use crate::cpu::Kernel;
use crate::linear::Linear;
use crate::maths::Activation;
use crate::ops::{After, LayerNormOp, LinearOp};
use crate::rows::LayerNorm;

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Packs a joined linear layer.
pub(super) fn linear(context: &ParsingContext, node: &NodeProto) -> Built {
    let (weights, kernel) = (context.load_tensor(attribute(node, WEIGHTS)?)?, kernel_of(node)?);
    let &[.., inputs, outputs] = weights.shape() else { bail!("{} has no matrix of weights", node.name) };
    let bytes = weights.try_as_plain_ram()?.as_slice::<i8>()?;
    // It would make a pair of products too large for 16 bits.
    ensure!(!bytes.contains(&-128), "{} has weights of -128, which are to be -127..=127", node.name);
    if let Ok(zeros) = attribute(node, ZEROS) {
        let symmetric = context.load_tensor(zeros)?.is_all_zero()?;
        ensure!(symmetric, "{} has zero points of weights other than 0", node.name);
    }
    let (scales, bias) = (floats(context, node, SCALES)?, floats(context, node, BIAS)?);
    let layer = Arc::new(Linear::new(kernel, (inputs, outputs), bytes, &scales, &bias)?);
    let op = Box::new(LinearOp { layer, norm: None, after: After::Activation(Activation::None) });
    Ok((expand(ByRows { name: LINEAR, op, inputs, outputs }), vec![]))
}

/// A joined LayerNorm.
pub(super) fn layer_norm(context: &ParsingContext, node: &NodeProto) -> Built {
    let (gain, shift) = (floats(context, node, GAIN)?, floats(context, node, BIAS)?);
    ensure!(gain.len() == shift.len(), "{} has {} gains and {} shifts", node.name, gain.len(), shift.len());
    let width = gain.len();
    let norm = Arc::new(LayerNorm { gain, shift, epsilon: node.get_attr(EPSILON)? });
    let op = Box::new(LayerNormOp { kernel: kernel_of(node)?, norm });
    Ok((expand(ByRows { name: LAYER_NORM, op, inputs: width, outputs: width }), vec![]))
}

fn kernel_of(node: &NodeProto) -> TractResult<Kernel> {
    Ok(node.get_attr::<String>(KERNEL)?.parse()?)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> TractResult<&'a TensorProto> {
    let found = node.attribute.iter().find(|attribute| attribute.name == name).and_then(|a| a.t.as_ref());
    found.with_context(|| format!("{} has no {name}", node.name))
}

fn floats(context: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Vec<f32>> {
    let tensor = context.load_tensor(attribute(node, name)?)?;
    let floats = tensor.try_as_plain_ram()?.as_slice::<f32>()?;
    ensure!(
        floats.iter().all(|number| number.is_finite()),
        "{} of {} holds NaN or an infinite number",
        name,
        node.name
    );
    Ok(floats.to_vec())
}

/// An operator on rows in a graph whose shapes are not known yet: `[.., inputs] -> [.., outputs]`.
#[derive(Clone, Debug)]
struct ByRows {
    name: &'static str,
    op: Box<dyn TypedOp>,
    inputs: usize,
    outputs: usize,
}

impl ByRows {
    /// The shape of what comes out.
    fn output(&self, mut shape: TVec<TDim>) -> TractResult<TVec<TDim>> {
        let last = shape.last_mut().filter(|last| **last == self.inputs.to_dim());
        *last.with_context(|| format!("{} of rows of {} numbers gets others", self.name, self.inputs))? =
            self.outputs.to_dim();
        Ok(shape)
    }
}

impl Expansion for ByRows {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.given(&inputs[0].shape, |s, shape| s.equals(&outputs[0].shape, self.output(shape)?))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        // Shapes may have become known only now.
        self.output(model.outlet_fact(inputs[0])?.shape.to_tvec())?;
        model.wire_node(prefix, self.op.clone(), inputs)
    }
}
