//! The operators as tract sees them.

use std::cell::RefCell;
use std::sync::Arc;

use tract_core::internal::*;

use crate::attention::{Attention, Projections, Shape};
use crate::conv::Convolution;
use crate::cpu::Kernel;
use crate::linear::{Epilogue, Linear};
use crate::maths::Activation;
use crate::rows::{Bytes, LayerNorm, layer_norm};
use crate::windows::Windows;

/// What stands behind a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// An activation.
    Activation(Activation),
    /// The operator's second input is added.
    Residual,
}

/// LayerNorm where there is one, bytes, product, bias, and what stands behind: `[.., inputs] -> [.., outputs]`.
#[derive(Clone, Debug)]
pub(crate) struct LinearOp {
    pub layer: Arc<Linear>,
    /// Layers of the file that it is, beside each other.
    pub layers: usize,
    pub norm: Option<Arc<LayerNorm>>,
    pub after: After,
}

/// Attention on queries, keys and values beside each other: `[sequences, tokens, 3 d] -> [sequences, tokens, d]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AttentionOp {
    pub kernel: Kernel,
    pub heads: usize,
    pub scale: f32,
}

/// LayerNorm over the last axis, where no linear layer follows that could take it in.
#[derive(Clone, Debug)]
pub(crate) struct LayerNormOp {
    pub kernel: Kernel,
    pub norm: Arc<LayerNorm>,
}

/// A convolution, a sum where there is one, an activation, to `[images, height, width, channels]`. The second input is
/// added.
#[derive(Clone, Debug)]
pub(crate) struct ConvolutionOp {
    pub convolution: Arc<Convolution>,
    pub residual: bool,
    pub activation: Activation,
}

/// An activation; nearly always the linear layer before it takes it in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ActivationOp {
    pub kernel: Kernel,
    pub activation: Activation,
}

/// The mean over the tokens: `[sequences, tokens, d] -> [sequences, 1, d]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenMeanOp;

thread_local! {
    static ROWS: RefCell<Option<Bytes>> = const { RefCell::new(None) };
    static WINDOWS: RefCell<Option<Windows>> = const { RefCell::new(None) };
    static ATTENTION: RefCell<Option<Attention>> = const { RefCell::new(None) };
}

fn floats(value: &TValue) -> TractResult<&[f32]> {
    value.try_as_plain_ram()?.as_slice::<f32>()
}

/// A tensor of this shape, filled by `fill`, which must write every number.
fn filled(shape: &[usize], fill: impl FnOnce(&mut [f32])) -> TractResult<TVec<TValue>> {
    // SAFETY: nobody reads a number before it is written: `fill` only writes, and writes them all.
    let mut tensor = unsafe { Tensor::uninitialized::<f32>(shape)? };
    fill(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
    Ok(tvec!(tensor.into_tvalue()))
}

fn with_last(shape: &[usize], last: usize) -> TVec<usize> {
    let mut shape: TVec<usize> = shape.into();
    if let Some(size) = shape.last_mut() {
        *size = last;
    }
    shape
}

impl PartialEq for LinearOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layer, &other.layer)
            && self.after == other.after
            && match (&self.norm, &other.norm) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            }
    }
}
impl Eq for LinearOp {}

impl Op for LinearOp {
    fn name(&self) -> StaticName {
        "HomingLinear".into()
    }
    op_as_typed_op!();
}

impl EvalOp for LinearOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = floats(&inputs[0])?;
        let epilogue = match self.after {
            After::Activation(activation) => Epilogue { activation, ..Epilogue::NONE },
            After::Residual => Epilogue { added: Some(floats(&inputs[1])?), ..Epilogue::NONE },
        };
        let shape = with_last(inputs[0].shape(), self.layer.outputs());
        ROWS.with_borrow_mut(|rows| {
            let kernel = self.layer.kernel();
            let rows = match rows {
                Some(rows) if rows.kernel() == kernel => rows,
                other => other.insert(Bytes::new(kernel)),
            };
            rows.take(x, self.layer.inputs(), self.norm.as_deref());
            filled(&shape, |out| self.layer.run(rows, epilogue, out))
        })
    }
}

impl TypedOp for LinearOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.clone();
        shape.set(inputs[0].rank() - 1, self.layer.outputs().to_dim());
        Ok(tvec!(f32::fact(shape)))
    }
}

impl Eq for AttentionOp {}

impl Op for AttentionOp {
    fn name(&self) -> StaticName {
        "HomingAttention".into()
    }
    op_as_typed_op!();
}

impl EvalOp for AttentionOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let &[sequences, tokens, three] = inputs[0].shape() else { bail!("queries, keys and values of rank 3") };
        let (width, all) = (three / 3, floats(&inputs[0])?);
        ensure!(!all.is_empty(), "no queries, keys and values");
        let head = width / self.heads;
        let projections = Projections { parts: [all, &all[width..], &all[2 * width..]], stride: three };
        let shape = Shape { sequences, tokens, heads: self.heads, head, scale: self.scale };
        ATTENTION.with_borrow_mut(|attention| {
            let attention = match attention {
                Some(attention) if attention.kernel() == self.kernel => attention,
                other => other.insert(Attention::new(self.kernel)),
            };
            filled(&[sequences, tokens, width], |out| attention.run(projections, shape, out))
        })
    }
}

impl TypedOp for AttentionOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == 3, "queries, keys and values of rank {}", inputs[0].rank());
        let mut shape = inputs[0].shape.clone();
        let width = shape[2].clone() / 3;
        shape.set(2, width);
        Ok(tvec!(f32::fact(shape)))
    }
}

impl PartialEq for LayerNormOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.norm, &other.norm)
    }
}
impl Eq for LayerNormOp {}

impl Op for LayerNormOp {
    fn name(&self) -> StaticName {
        "HomingLayerNorm".into()
    }
    op_as_typed_op!();
}

impl EvalOp for LayerNormOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = floats(&inputs[0])?;
        filled(inputs[0].shape(), |out| layer_norm(self.kernel, x, &self.norm, out))
    }
}

impl TypedOp for LayerNormOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }
}

impl PartialEq for ConvolutionOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.convolution, &other.convolution)
            && (self.residual, self.activation) == (other.residual, other.activation)
    }
}
impl Eq for ConvolutionOp {}

impl Op for ConvolutionOp {
    fn name(&self) -> StaticName {
        "HomingConvolution".into()
    }
    op_as_typed_op!();
}

impl EvalOp for ConvolutionOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let &[images, b, c, d] = inputs[0].shape() else { bail!("images of rank 4") };
        let (height, width) = self.convolution.window().layout.sides([b, c, d]);
        let (x, window, kernel) = (floats(&inputs[0])?, self.convolution.window(), self.convolution.kernel());
        let added = if self.residual { Some(floats(&inputs[1])?) } else { None };
        let epilogue = Epilogue { added, activation: self.activation };
        let shape = [images, window.outputs_along(height), window.outputs_along(width), self.convolution.outputs()];
        WINDOWS.with_borrow_mut(|windows| {
            let windows = match windows {
                Some(windows) if windows.kernel() == kernel => windows,
                other => other.insert(Windows::new(kernel)),
            };
            filled(&shape, |out| self.convolution.run(windows, x, (images, height, width), epilogue, out))
        })
    }
}

impl TypedOp for ConvolutionOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = &inputs[0].shape;
        let window = self.convolution.window();
        let (height, width) = window.layout.sides([shape[1].clone(), shape[2].clone(), shape[3].clone()]);
        let along = |side: TDim| (side + window.before + window.after - window.size) / window.step + 1;
        let outputs = self.convolution.outputs().to_dim();
        Ok(tvec!(f32::fact(&[shape[0].clone(), along(height), along(width), outputs])))
    }
}

impl Eq for ActivationOp {}

impl Op for ActivationOp {
    fn name(&self) -> StaticName {
        "HomingActivation".into()
    }
    op_as_typed_op!();
}

impl EvalOp for ActivationOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = floats(&inputs[0])?;
        filled(inputs[0].shape(), |out| {
            out.copy_from_slice(x);
            self.activation.apply(self.kernel, out);
        })
    }
}

impl TypedOp for ActivationOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }
}

impl Op for TokenMeanOp {
    fn name(&self) -> StaticName {
        "HomingTokenMean".into()
    }
    op_as_typed_op!();
}

impl EvalOp for TokenMeanOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let &[sequences, tokens, width] = inputs[0].shape() else { bail!("tokens of rank 3") };
        let x = floats(&inputs[0])?;
        filled(&[sequences, 1, width], |out| {
            out.fill(0.0);
            // Nothing of no width is no chunk.
            for (sum, all) in out.chunks_exact_mut(width.max(1)).zip(x.chunks_exact((tokens * width).max(1))) {
                for token in all.chunks_exact(width) {
                    sum.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
                }
                sum.iter_mut().for_each(|sum| *sum /= tokens as f32);
            }
        })
    }
}

impl TypedOp for TokenMeanOp {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == 3, "tokens of rank {}", inputs[0].rank());
        let mut shape = inputs[0].shape.clone();
        shape.set(1, 1.to_dim());
        Ok(tvec!(f32::fact(shape)))
    }
}
