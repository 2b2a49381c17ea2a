//! Rounding as the int8 graphs do it, for the last steps of a training: the weights learn to live with it.
//!
//! Values are rounded on the way forward; gradients pass as if they were not (the straight-through estimator of Bengio,
//! Leonard and Courville, 2013).

use tch::{Kind, Tensor};

/// The weight of a linear layer [outputs, inputs], or of a convolution made flat, as `quantise::quantise_linear` rounds it:
/// symmetric, one scale a row.
pub fn weight(w: &Tensor) -> Tensor {
    let rounded = tch::no_grad(|| {
        let largest = w.abs().amax([1], true);
        let scale = largest.where_self(&largest.gt(0.0), &(largest.ones_like() * 127.0)) / 127.0;
        (w / &scale).round().clamp(-127.0, 127.0) * scale
    });
    passing(w, &rounded)
}

/// A linear layer's input as ONNX's DynamicQuantizeLinear rounds it: unsigned bytes over its range, which always
/// includes zero; one range for all of it.
pub fn input(x: &Tensor) -> Tensor {
    let rounded = tch::no_grad(|| {
        let (low, high) = (x.min().clamp_max(0.0), x.max().clamp_min(0.0));
        let scale = ((high - &low) / 255.0).clamp_min(f64::from(f32::MIN_POSITIVE));
        let zero = (-low / &scale).round().clamp(0.0, 255.0);
        (((x / &scale).round() + &zero).clamp(0.0, 255.0) - zero) * scale
    });
    passing(x, &rounded)
}

/// The rounded values with the gradient of the exact ones.
fn passing(exact: &Tensor, rounded: &Tensor) -> Tensor {
    exact + (rounded - exact).detach().to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor};

    use super::*;
    use crate::quantise::quantise_linear;
    use crate::torch::network::values;

    #[test]
    fn weights_are_rounded_as_the_export_rounds_them() {
        tch::manual_seed(3);
        let (outputs, inputs) = (7, 12);
        let w = Tensor::randn([outputs, inputs], (Kind::Float, Device::Cpu));
        let _ = w.select(0, 2).zero_();
        let q = quantise_linear(&values(&w), outputs as usize, inputs as usize);
        let rounded = values(&weight(&w));
        for out in 0..outputs as usize {
            for i in 0..inputs as usize {
                let expected = f32::from(q.data[i * outputs as usize + out]) * q.scales[out];
                assert!((rounded[out * inputs as usize + i] - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn inputs_are_rounded_to_256_levels_with_zero_among_them_and_gradients_pass() {
        let x = Tensor::from_slice(&[-1.0f32, 0.0, 0.003, 0.7, 3.0]).set_requires_grad(true);
        let rounded = input(&x);
        let step = 4.0 / 255.0;
        // -1 is 63.75 steps below zero: the byte of zero is 64, and the range ends at 191 steps.
        let expected = [-64.0, 0.0, 0.0, 45.0, 191.0].map(|steps: f32| steps * step);
        assert!(values(&rounded.detach()).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{rounded:?}");
        rounded.sum(Kind::Float).backward();
        assert_eq!(values(&x.grad()), [1.0; 5]);
        assert_eq!(values(&input(&Tensor::zeros([4], (Kind::Float, Device::Cpu)))), [0.0; 4]);
    }
}
