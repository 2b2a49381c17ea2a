//! The mean over the tokens, which some encoders end with: tract's own sum takes seven times the instructions. The mean
//! of what a linear layer gives is what it gives of the mean, for as many times fewer products as there are tokens.

use tract_core::internal::*;
use tract_core::ops::nn::{Reduce, Reducer};

use super::Target;
use super::graph::{from, in_place_of, reader, scaled};
use crate::maths::Activation;
use crate::ops::{After, LinearOp, TokenMeanOp};

/// A sum over the second of three axes, divided by that axis' length.
pub(super) fn mean(_: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some((sum, factor)) = scaled(model, node) else { return Ok(None) };
    let sum = model.node(sum.node);
    let Some(Reduce { axes, reducer: Reducer::Sum, .. }) = sum.op_as::<Reduce>() else { return Ok(None) };
    let fact = model.outlet_fact(sum.inputs[0])?;
    if axes[..] != [1] || fact.rank() != 3 || fact.datum_type != f32::datum_type() {
        return Ok(None);
    }
    let all = fact.shape[1].to_usize().is_ok_and(|tokens| (factor * tokens as f32 - 1.0).abs() < 1e-6);
    if all { in_place_of(model, node.name.clone(), TokenMeanOp, &[sum.inputs[0]], node) } else { Ok(None) }
}

/// The mean of what a linear layer gives, and of what is added to it: the mean goes before both.
pub(super) fn before_linear(_: &Target, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    if !node.op_is::<TokenMeanOp>() {
        return Ok(None);
    }
    let last = from(model, node.inputs[0]);
    let Some(op) = last.op_as::<LinearOp>() else { return Ok(None) };
    let linear = matches!(op.after, After::Residual | After::Activation(Activation::None)) && op.norm.is_none();
    if !linear || reader(model, last).is_none() {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let mut means = tvec!();
    for (i, input) in last.inputs.iter().enumerate() {
        let x = patch.tap_model(model, *input)?;
        means.extend(patch.wire_node(format!("{}.mean{i}", node.name), TokenMeanOp, &[x])?);
    }
    let output = patch.wire_node(&node.name, op.clone(), &means)?;
    patch.shunt_outside(model, node.id.into(), output[0])?;
    Ok(Some(patch))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tract_core::ops::math;

    use super::*;
    use crate::fuse::fuse;
    use crate::rows::LayerNorm;
    use crate::{Kernel, Linear, Packed};

    const SHAPE: [usize; 3] = [2, 5, 8];

    fn numbers(shape: [usize; 3], step: f32) -> Tensor {
        tract_ndarray::Array3::from_shape_fn(shape, |(s, t, d)| ((s * 31 + t * 7 + d * 3) as f32 * step).sin()).into()
    }

    /// A mean over `axis`, by `divisor`, of what `before` makes of two inputs: whether it is one operator in the end, of
    /// how many tokens what each linear layer gives is, and the result.
    fn mean(
        axis: usize,
        divisor: f32,
        ours: bool,
        before: impl Fn(&mut TypedModel, [OutletId; 2]) -> OutletId,
    ) -> (bool, Vec<usize>, Tensor) {
        let mut model = TypedModel::default();
        let [x, y] = ["x", "y"].map(|name| model.add_source(name, f32::fact(SHAPE)).unwrap());
        let all = before(&mut model, [x, y]);
        let sum = model.wire_node("sum", Reduce::new(tvec![axis], Reducer::Sum), &[all]).unwrap()[0];
        let divisor = model.add_const("divisor", Tensor::from_shape(&[1, 1, 1], &[divisor]).unwrap()).unwrap();
        let mean = model.wire_node("mean", math::div(), &[sum, divisor]).unwrap();
        model.outputs.insert(0, mean[0]);
        if ours {
            fuse(Kernel::Portable, None, &Packed::default(), &mut model).unwrap();
        }
        let replaced = model.nodes().iter().any(|node| node.op_is::<TokenMeanOp>());
        let layers = model.nodes().iter().filter(|node| node.op_is::<LinearOp>());
        let tokens = layers.map(|node| node.outputs[0].fact.shape[1].to_usize().unwrap()).collect();
        let inputs = tvec!(numbers(SHAPE, 0.37).into_tvalue(), numbers(SHAPE, 0.71).into_tvalue());
        let result = model.into_runnable().unwrap().run(inputs).unwrap();
        (replaced, tokens, result[0].clone().into_tensor())
    }

    #[test]
    fn a_mean_over_tokens_is_the_same_by_our_operator() {
        let run = |axis, divisor, ours| mean(axis, divisor, ours, |_, [x, _]| x);
        let ((replaced, _, ours), (_, _, plain)) = (run(1, 5.0, true), run(1, 5.0, false));
        assert!(replaced);
        ours.close_enough(&plain, Approximation::Close).unwrap();
        // Over another axis, or by another number than that of the tokens.
        assert!(!run(0, 2.0, true).0 && !run(2, 8.0, true).0 && !run(1, 4.0, true).0);
    }

    #[test]
    fn a_linear_layer_gets_the_mean_where_that_is_the_same() {
        let weights: Vec<i8> = (0..64).map(|i| (i * 37 % 255 - 127) as i8).collect();
        let layer = Linear::new(Kernel::Portable, (8, 8), &weights, &[0.01], &[0.5; 8]).unwrap();
        let layer = Arc::new(layer);
        let norm = Arc::new(LayerNorm { gain: vec![1.0; 8], shift: vec![0.0; 8], epsilon: 1e-5 });
        let plain = LinearOp { layer, layers: 1, norm: None, after: After::Activation(Activation::None) };
        let added = LinearOp { after: After::Residual, ..plain.clone() };
        let normed = LinearOp { norm: Some(norm), ..plain.clone() };
        let curved = LinearOp { after: After::Activation(Activation::Gelu), ..plain.clone() };
        for (op, tokens) in [(&plain, 1), (&added, 1), (&normed, 5), (&curved, 5)] {
            let run = |ours| {
                mean(1, 5.0, ours, |model, [x, y]| {
                    let inputs = if op.after == After::Residual { vec![x, y] } else { vec![x] };
                    model.wire_node("linear", op.clone(), &inputs).unwrap()[0]
                })
            };
            let ((_, found, ours), (_, _, expected)) = (run(true), run(false));
            assert_eq!(found, [tokens]);
            // Rows are rounded to bytes: of the mean, or before it.
            let (ours, expected) = (ours.cast_to::<f32>().unwrap(), expected.cast_to::<f32>().unwrap());
            let values =
                |tensor: &Tensor| tensor.to_plain_array_view::<f32>().unwrap().iter().copied().collect::<Vec<_>>();
            for (a, b) in values(&ours).into_iter().zip(values(&expected)) {
                assert!((a - b).abs() < 0.02, "{a} and {b}");
            }
        }
        // Somebody else reads what the layer gives, or it is itself an output.
        let (_, found, _) = mean(1, 5.0, true, |model, [x, _]| {
            let y = model.wire_node("linear", plain.clone(), &[x]).unwrap()[0];
            let twice = model.wire_node("twice", math::add(), &[y, y]).unwrap()[0];
            model.outputs.push(twice);
            y
        });
        assert_eq!(found, [5]);
        let (_, found, _) = mean(1, 5.0, true, |model, [x, _]| {
            let y = model.wire_node("linear", plain.clone(), &[x]).unwrap()[0];
            model.outputs.push(y);
            y
        });
        assert_eq!(found, [5]);
    }
}
