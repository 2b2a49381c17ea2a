//! Joined nodes as tract takes them: packed from the bytes of their weights, put into the typed graph once shapes are known.

use std::borrow::Cow;
use std::sync::Arc;

use tract_core::internal::*;
use tract_onnx::pb::TensorProto;
use tract_onnx::tract_hir::internal::*;

use super::Weights;
use super::forms::{Form, LinearForm};
use crate::cpu::Kernel;
use crate::linear::{Linear, Matrix};
use crate::maths::Activation;
use crate::ops::{After, AttentionOp, LayerNormOp, LinearOp};
use crate::rows::LayerNorm;

/// Makes layers of weights.
pub(super) struct Layers<'a> {
    pub kernel: Kernel,
    pub weights: &'a dyn Weights,
}

impl Layers<'_> {
    /// What the nodes of a form become.
    ///
    /// # Errors
    /// When their weights are not what the form allows; `node` is named.
    pub fn pack(&self, node: &str, form: Form) -> TractResult<Box<dyn InferenceOp>> {
        match form {
            Form::Linear(layers) => self.linear(node, &layers),
            Form::Attention { heads, width, scale } => {
                let (heads, width) = (usize::try_from(heads)?, usize::try_from(width)?);
                let inputs = width.checked_mul(3).with_context(|| format!("{node} is {width} wide"))?;
                let op = Box::new(AttentionOp { kernel: self.kernel, heads, scale });
                Ok(expand(ByRows { name: "HomingAttention", op, inputs, outputs: width }))
            }
            Form::LayerNorm { gain, shift, epsilon } => {
                let (gain, shift) = (self.floats(node, "gain", gain)?, self.floats(node, "bias", shift)?);
                let width = gain.len();
                let norm = Arc::new(LayerNorm { gain, shift, epsilon });
                let op = Box::new(LayerNormOp { kernel: self.kernel, norm });
                Ok(expand(ByRows { name: "HomingLayerNorm", op, inputs: width, outputs: width }))
            }
        }
    }

    fn linear(&self, node: &str, layers: &[LinearForm]) -> TractResult<Box<dyn InferenceOp>> {
        let mut matrices = Vec::new();
        for form in layers {
            let &[inputs, outputs] = &shape(form.weights)?[..] else { bail!("{node} has no matrix of weights") };
            let bytes = self.bytes(form.weights);
            if let Some(zeros) = form.zeros {
                let symmetric = self.bytes(zeros).iter().all(|zero| *zero == 0);
                ensure!(symmetric, "{node} has zero points of weights other than 0");
            }
            let (scales, bias) = (self.floats(node, "scales", form.scales)?, self.floats(node, "bias", form.bias)?);
            matrices.push((inputs, outputs, bytes, scales, bias));
        }
        let inputs = matrices.first().map_or(0, |first| first.0);
        let beside: Vec<Matrix> = (matrices.iter())
            .map(|(_, outputs, weights, scales, bias)| Matrix { outputs: *outputs, weights, scales, bias })
            .collect();
        let layer = Linear::of(self.kernel, inputs, &beside).map_err(|e| format_err!("{node} has {e}"))?;
        let layer = Arc::new(layer);
        let outputs = layer.outputs();
        let op = LinearOp { layer, layers: layers.len(), norm: None, after: After::Activation(Activation::None) };
        Ok(expand(ByRows { name: "HomingLinear", op: Box::new(op), inputs, outputs }))
    }

    /// A weight of floats, copied once.
    pub fn tensor(&self, weight: &TensorProto) -> TractResult<Arc<Tensor>> {
        // SAFETY: any four bytes are a float; their number is compared with the shape.
        let tensor = unsafe { Tensor::from_raw::<f32>(&shape(weight)?, self.weights.raw(weight)) };
        Ok(tensor.with_context(|| format!("weight {}", weight.name))?.into_arc_tensor())
    }

    fn bytes<'t>(&'t self, weight: &'t TensorProto) -> Cow<'t, [i8]> {
        match self.weights.raw(weight) {
            [] => weight.int32_data.iter().map(|number| *number as i8).collect(),
            raw => bytemuck::cast_slice(raw).into(),
        }
    }

    fn floats(&self, node: &str, what: &str, weight: &TensorProto) -> TractResult<Vec<f32>> {
        let floats: Vec<f32> = match self.weights.raw(weight) {
            [] => weight.float_data.clone(),
            raw => raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        };
        let stated = shape(weight)?.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
        ensure!(stated == Some(floats.len()), "{what} of {node} has {} numbers and another shape", floats.len());
        ensure!(floats.iter().all(|number| number.is_finite()), "{what} of {node} holds NaN or an infinite number");
        Ok(floats)
    }
}

fn shape(weight: &TensorProto) -> TractResult<Vec<usize>> {
    let size =
        |size: &i64| usize::try_from(*size).with_context(|| format!("weight {} has a size below 0", weight.name));
    weight.dims.iter().map(size).collect()
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
