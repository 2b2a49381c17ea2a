//! What looks like one of the patterns and is another function stays as it is.

use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::math;
use tract_core::ops::nn::{Reduce, Reducer, gelu_approximate::gelu_approximate};

use super::fuse;
use crate::{Fused, Kernel, Packed};

const WIDTH: usize = 8;

/// A graph under construction, with an input `[3, WIDTH]`.
struct Draft {
    model: TypedModel,
    x: OutletId,
}

impl Draft {
    fn new() -> Self {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([3, WIDTH])).unwrap();
        Draft { model, x }
    }

    fn name(&self) -> String {
        format!("node{}", self.model.nodes().len())
    }

    fn number(&mut self, values: &[f32]) -> OutletId {
        let tensor = tract_ndarray::Array2::from_shape_vec((1, values.len()), values.to_vec()).unwrap();
        self.model.add_const(self.name(), tensor.into_tensor()).unwrap()
    }

    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> OutletId {
        self.model.wire_node(self.name(), op, inputs).unwrap()[0]
    }

    fn with(&mut self, op: impl Into<Box<dyn TypedOp>>, a: OutletId, b: f32) -> OutletId {
        let b = self.number(&[b]);
        self.wire(op, &[a, b])
    }

    fn fused(mut self, output: OutletId) -> Fused {
        self.model.select_output_outlets(&[output]).unwrap();
        fuse(Kernel::Portable, None, &Packed::default(), &mut self.model).unwrap()
    }
}

#[test]
fn only_a_third_power_makes_a_gelu() {
    let gelu = |power: fn(&mut Draft) -> OutletId| {
        let mut draft = Draft::new();
        let x = draft.x;
        let cube = power(&mut draft);
        let bent = draft.with(math::mul(), cube, 0.044_715);
        let sum = draft.wire(math::add(), &[x, bent]);
        let scaled = draft.with(math::mul(), sum, 0.797_884_6);
        let tanh = draft.wire(math::tanh(), &[scaled]);
        let one_more = draft.with(math::add(), tanh, 1.0);
        let half = draft.with(math::mul(), x, 0.5);
        let output = draft.wire(math::mul(), &[half, one_more]);
        draft.fused(output).activations
    };
    assert_eq!(gelu(|d| d.with(math::pow(), d.x, 3.0)), 1);
    assert_eq!(
        gelu(|d| {
            let square = d.wire(math::mul(), &[d.x, d.x]);
            d.wire(math::mul(), &[square, d.x])
        }),
        1
    );
    assert_eq!(gelu(|d| d.with(math::pow(), d.x, 2.0)), 0);
    assert_eq!(gelu(|d| d.wire(math::mul(), &[d.x, d.x])), 0);
    // As one node; tract's fast form of it takes the square.
    for (fast, found) in [(false, 1), (true, 0)] {
        let mut draft = Draft::new();
        let output = draft.wire(gelu_approximate(fast), &[draft.x]);
        assert_eq!(draft.fused(output).activations, found, "fast: {fast}");
    }
}

#[test]
fn only_an_epsilon_that_is_added_makes_a_layer_norm() {
    let norm = |guard: fn() -> TypedBinOp| {
        let mut draft = Draft::new();
        let x = draft.x;
        let mean = |draft: &mut Draft, of: OutletId| {
            let sum = draft.wire(Reduce::new(tvec![1], Reducer::Sum), &[of]);
            draft.with(math::div(), sum, WIDTH as f32)
        };
        let middle = mean(&mut draft, x);
        let difference = draft.wire(math::sub(), &[x, middle]);
        let square = draft.wire(math::mul(), &[difference, difference]);
        let variance = mean(&mut draft, square);
        let guarded = draft.with(guard(), variance, 1.05);
        let deviation = draft.wire(math::sqrt(), &[guarded]);
        let unit = draft.wire(math::div(), &[difference, deviation]);
        let [gain, shift] = [2.0, 1.0].map(|value| draft.number(&[value; WIDTH]));
        let scaled = draft.wire(math::mul(), &[unit, gain]);
        let output = draft.wire(math::add(), &[scaled, shift]);
        draft.fused(output).norms
    };
    assert_eq!(norm(math::add), 1);
    assert_eq!((norm(math::mul), norm(math::div), norm(math::max)), (0, 0, 0));
}
