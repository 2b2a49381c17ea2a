//! Weights to signed bytes: symmetric, one scale for each output channel.

/// A linear layer's weight as signed bytes: `weight[in][out] = data[in * outputs + out] * scales[out]`.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedLinear {
    /// Number of inputs K.
    pub inputs: usize,
    /// Number of outputs N.
    pub outputs: usize,
    /// [K, N] row-major, -127..=127: the layout of MatMulInteger's right-hand side.
    pub data: Vec<i8>,
    /// One for each of the N outputs, positive.
    pub scales: Vec<f32>,
}

/// Quantises a weight [outputs, inputs] (row-major, finite), the layout of libtorch, and transposes it.
///
/// The scale of a channel is its largest absolute value over 127, so -128 never occurs: a product of two bytes
/// summed in pairs stays within 16 bits on processors that do so. A channel of zeros gets scale 1.
pub fn quantise_linear(weight: &[f32], outputs: usize, inputs: usize) -> QuantisedLinear {
    assert_eq!(weight.len(), outputs * inputs);
    let mut data = vec![0; weight.len()];
    let mut scales = Vec::with_capacity(outputs);
    for (out, row) in weight.chunks_exact(inputs).enumerate() {
        let scale = scale(row);
        for (input, w) in row.iter().enumerate() {
            data[input * outputs + out] = step(*w, scale) as i8;
        }
        scales.push(scale);
    }
    QuantisedLinear { inputs, outputs, data, scales }
}

/// Rounds the weight of a convolution [outputs, depth] (row-major, finite) to what signed bytes with one scale for each
/// output can hold. They stay floats; whoever makes bytes of them, as the device does, finds the same ones.
pub fn round_to_bytes(weight: &mut [f32], outputs: usize) {
    assert!(outputs > 0 && weight.len().is_multiple_of(outputs));
    for row in weight.chunks_exact_mut((weight.len() / outputs).max(1)) {
        let scale = scale(row);
        row.iter_mut().for_each(|w| *w = step(*w, scale) * scale);
    }
}

fn scale(row: &[f32]) -> f32 {
    let largest = row.iter().fold(0f32, |a, w| a.max(w.abs()));
    let scale = largest / 127.0;
    if scale > 0.0 { scale } else { 1.0 }
}

fn step(weight: f32, scale: f32) -> f32 {
    (weight / scale).round_ties_even().clamp(-127.0, 127.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
        (1usize..6, 1usize..9).prop_flat_map(|(outputs, inputs)| {
            (Just(outputs), Just(inputs), proptest::collection::vec(-3f32..3.0, outputs * inputs))
        })
    }

    proptest! {
        #[test]
        fn every_weight_is_within_half_a_step((outputs, inputs, w) in weights()) {
            let q = quantise_linear(&w, outputs, inputs);
            for out in 0..outputs {
                for input in 0..inputs {
                    let back = f32::from(q.data[input * outputs + out]) * q.scales[out];
                    prop_assert!((back - w[out * inputs + input]).abs() <= 0.5001 * q.scales[out]);
                }
            }
        }

        #[test]
        fn rounded_weights_are_those_of_their_bytes_and_round_to_themselves((outputs, inputs, w) in weights()) {
            let q = quantise_linear(&w, outputs, inputs);
            let mut rounded = w;
            round_to_bytes(&mut rounded, outputs);
            let again = quantise_linear(&rounded, outputs, inputs);
            prop_assert_eq!(&q.data, &again.data);
            for (i, r) in rounded.iter().enumerate() {
                let (out, input) = (i / inputs, i % inputs);
                prop_assert_eq!(*r, f32::from(q.data[input * outputs + out]) * q.scales[out]);
            }
        }

        #[test]
        fn a_scaled_channel_has_the_same_bytes((outputs, inputs, w) in weights(), power in -8i32..8) {
            let q = quantise_linear(&w, outputs, inputs);
            let factor = 2f32.powi(power);
            let scaled: Vec<f32> = w.iter().map(|x| x * factor).collect();
            let s = quantise_linear(&scaled, outputs, inputs);
            prop_assert_eq!(&q.data, &s.data);
            let all_zero = |out: usize| w[out * inputs..][..inputs].iter().all(|x| *x == 0.0);
            for out in (0..outputs).filter(|&o| !all_zero(o)) {
                prop_assert!((s.scales[out] / q.scales[out] / factor - 1.0).abs() < 1e-6);
            }
        }

        #[test]
        fn each_channel_uses_its_whole_range((outputs, inputs, w) in weights()) {
            let q = quantise_linear(&w, outputs, inputs);
            for out in 0..outputs {
                let largest = (0..inputs).map(|i| q.data[i * outputs + out].unsigned_abs()).max().unwrap();
                let zero = w[out * inputs..][..inputs].iter().all(|x| *x == 0.0);
                prop_assert_eq!(largest, if zero { 0 } else { 127 });
            }
        }
    }

    #[test]
    fn a_known_matrix() {
        // Two outputs, three inputs; the second channel is zero.
        let q = quantise_linear(&[1.27, -0.01, 0.64, 0.0, 0.0, 0.0], 2, 3);
        assert_eq!(q.data, [127, 0, -1, 0, 64, 0]);
        assert_eq!(q.scales[1], 1.0);
        assert!((q.scales[0] - 0.01).abs() < 1e-9);
    }
}
