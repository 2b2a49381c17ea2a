//! Every kernel against plain arithmetic, on random shapes and values.

use proptest::prelude::*;

use super::*;

/// Numbers in -1..1 that depend on the seed alone.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn bytes(seed: u64, count: usize) -> Vec<i8> {
    noise(seed, count).iter().map(|x| (x * 127.49).round() as i8).collect()
}

fn close(found: &[f32], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*f) - e).abs() <= bound * e.abs().max(1.0), "{what}: [{i}] is {f}, not {e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn products_of_bytes_are_exact(
        (rows, inputs, outputs) in (1usize..24, 1usize..200, 1usize..130),
        seed in any::<u64>(),
        magnitude in -30i32..30,
    ) {
        let factor = 2f32.powi(magnitude);
        let values: Vec<f32> = noise(seed, rows * inputs).iter().map(|x| x * factor).collect();
        let weights = bytes(seed ^ 1, inputs * outputs);
        let mut of_all = Vec::new();
        for kernel in Kernel::available() {
            let mut taken = Bytes::new(kernel);
            taken.take(&values, inputs, None);
            // Scales of one and no bias: what comes out is the sum itself, times the row's scale.
            let layer = Linear::new(kernel, (inputs, outputs), &weights, &[1.0], &vec![0.0; outputs]).unwrap();
            let mut out = vec![f32::NAN; rows * outputs];
            layer.run(&taken, Epilogue::Activation(Activation::None), &mut out);
            for row in 0..rows {
                let (bytes, scale) = taken.row(row);
                prop_assert!(bytes.iter().all(|b| *b >= -127));
                let most = values[row * inputs..][..inputs].iter().fold(0f32, |m, x| m.max(x.abs()));
                prop_assert_eq!(scale, most / 127.0);
                for output in 0..outputs {
                    let sum: i32 = (0..inputs).map(|i| i32::from(bytes[i]) * i32::from(weights[i * outputs + output])).sum();
                    prop_assert_eq!(out[row * outputs + output], sum as f32 * scale, "{} {} {}", kernel, row, output);
                }
            }
            of_all.push((0..rows).map(|row| taken.row(row)).collect::<Vec<_>>());
        }
        prop_assert!(of_all.iter().all(|rows| *rows == of_all[0]), "all kernels round alike");
    }

    #[test]
    fn a_linear_layer_is_near_the_exact_one(
        (rows, inputs, outputs) in (1usize..12, 8usize..150, 1usize..100),
        seed in any::<u64>(),
        kind in 0usize..6,
        normalised in any::<bool>(),
    ) {
        let (values, bias) = (noise(seed, rows * inputs), noise(seed ^ 2, outputs));
        let (weights, added) = (bytes(seed ^ 1, inputs * outputs), noise(seed ^ 3, rows * outputs));
        let scales: Vec<f32> = noise(seed ^ 4, outputs).iter().map(|x| (x.abs() + 0.1) / 127.0).collect();
        let norm = LayerNorm { gain: noise(seed ^ 5, inputs), shift: noise(seed ^ 6, inputs), epsilon: 1e-5 };
        let activations = [Activation::None, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu];
        for kernel in Kernel::available() {
            let mut taken = Bytes::new(kernel);
            taken.take(&values, inputs, normalised.then_some(&norm));
            let layer = Linear::new(kernel, (inputs, outputs), &weights, &scales, &bias).unwrap();
            let mut out = vec![f32::NAN; rows * outputs];
            let epilogue = activations.get(kind).map_or(Epilogue::Add(&added), |a| Epilogue::Activation(*a));
            layer.run(&taken, epilogue, &mut out);
            let mut expected = Vec::new();
            for row in 0..rows {
                let (bytes, scale) = taken.row(row);
                for output in 0..outputs {
                    let sum: i32 = (0..inputs).map(|i| i32::from(bytes[i]) * i32::from(weights[i * outputs + output])).sum();
                    let y = f64::from(sum) * f64::from(scale) * f64::from(scales[output]) + f64::from(bias[output]);
                    expected.push(match epilogue {
                        Epilogue::Add(added) => y + f64::from(added[row * outputs + output]),
                        Epilogue::Activation(Activation::None) => y,
                        Epilogue::Activation(Activation::Relu) => y.max(0.0),
                        Epilogue::Activation(Activation::QuickGelu) => y / (1.0 + (-1.702 * y).exp()),
                        Epilogue::Activation(Activation::GeluTanh | Activation::Gelu) => {
                            // The two differ by 1e-3 at most.
                            y * (1.0 + (0.797_884_56 * (y + 0.044_715 * y * y * y)).tanh()) / 2.0
                        }
                    });
                }
            }
            let bound = if epilogue == Epilogue::Activation(Activation::Gelu) { 1e-3 } else { 2e-5 };
            close(&out, &expected, bound, &format!("{kernel} {epilogue:?}"));
        }
    }

    #[test]
    fn layer_norm_is_the_textbooks(rows in 1usize..5, width in 1usize..300, seed in any::<u64>(), offset in -100f32..100.0) {
        let values: Vec<f32> = noise(seed, rows * width).iter().map(|x| x + offset).collect();
        let norm = LayerNorm { gain: noise(seed ^ 1, width), shift: noise(seed ^ 2, width), epsilon: 1e-5 };
        let mut expected = Vec::new();
        for row in values.chunks_exact(width) {
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
            let each = row.iter().zip(&norm.gain).zip(&norm.shift);
            expected.extend(each.map(|((x, g), s)| {
                (f64::from(*x) - mean) / (variance + 1e-5).sqrt() * f64::from(*g) + f64::from(*s)
            }));
        }
        for kernel in Kernel::available() {
            let mut out = vec![f32::NAN; values.len()];
            layer_norm(kernel, &values, &norm, &mut out);
            close(&out, &expected, 3e-3, kernel.name());
        }
    }

    #[test]
    fn attention_is_the_textbooks(
        (sequences, tokens, heads, head) in (1usize..3, 1usize..150, 1usize..4, 1usize..80),
        seed in any::<u64>(),
        packed in any::<bool>(),
        sharp in 0.1f32..30.0,
    ) {
        let width = heads * head;
        // Queries, keys and values beside each other for each token, or in three places.
        let all: Vec<f32> = noise(seed, sequences * tokens * 3 * width);
        let third = sequences * tokens * width;
        let (parts, stride) = if packed {
            ([&all[..], &all[width..], &all[2 * width..]], 3 * width)
        } else {
            ([&all[..third], &all[third..2 * third], &all[2 * third..]], width)
        };
        let shape = Shape { sequences, tokens, heads, head, scale: sharp };
        let mut expected = vec![0f64; third];
        for s in 0..sequences {
            for h in 0..heads {
                let at = |part: usize, token: usize| &parts[part][(s * tokens + token) * stride + h * head..][..head];
                for q in 0..tokens {
                    let dot = |k| at(0, q).iter().zip(at(1, k)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                    let scores: Vec<f64> = (0..tokens).map(|k| dot(k) * f64::from(sharp)).collect();
                    let most = scores.iter().copied().fold(f64::MIN, f64::max);
                    let sum: f64 = scores.iter().map(|x| (x - most).exp()).sum();
                    for d in 0..head {
                        expected[(s * tokens + q) * width + h * head + d] =
                            (0..tokens).map(|k| (scores[k] - most).exp() / sum * f64::from(at(2, k)[d])).sum();
                    }
                }
            }
        }
        for kernel in Kernel::available() {
            let mut out = vec![f32::NAN; third];
            Attention::new(kernel).run(Projections { parts, stride }, shape, &mut out);
            close(&out, &expected, 2e-4, kernel.name());
        }
    }

    #[test]
    fn patches_are_a_convolution(
        (count, down, across, channels, patch) in (1usize..3, 1usize..4, 1usize..5, 1usize..4, 1usize..9),
        (outputs, spare) in (1usize..70, 0usize..3),
        seed in any::<u64>(),
    ) {
        let (height, width, depth) = (down * patch + spare.min(patch - 1), across * patch, channels * patch * patch);
        let images = noise(seed, count * channels * height * width);
        let (weights, bias) = (noise(seed ^ 1, outputs * depth), noise(seed ^ 2, outputs));
        let mut expected = Vec::new();
        for image in 0..count {
            for (y, x) in (0..down).flat_map(|y| (0..across).map(move |x| (y, x))) {
                for output in 0..outputs {
                    let mut sum = f64::from(bias[output]);
                    for (c, dy, dx) in (0..channels)
                        .flat_map(|c| (0..patch).flat_map(move |dy| (0..patch).map(move |dx| (c, dy, dx))))
                    {
                        let pixel = images[((image * channels + c) * height + y * patch + dy) * width + x * patch + dx];
                        sum += f64::from(pixel) * f64::from(weights[((output * channels + c) * patch + dy) * patch + dx]);
                    }
                    expected.push(sum);
                }
            }
        }
        for kernel in Kernel::available() {
            let embedding = PatchEmbedding::new(kernel, (channels, patch, outputs), &weights, &bias).unwrap();
            let mut out = vec![f32::NAN; expected.len()];
            embedding.run(&images, (count, height, width), &mut out);
            close(&out, &expected, 1e-4, kernel.name());
        }
    }
}

#[test]
fn what_is_not_finite_does_not_hide() {
    for kernel in Kernel::available() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 7, 36] {
                let mut values = vec![0.5f32; 2 * 37];
                values[place] = odd;
                let mut rows = Bytes::new(kernel);
                rows.take(&values, 37, None);
                let layer = Linear::new(kernel, (37, 3), &[1; 111], &[1.0], &[0.0; 3]).unwrap();
                let mut out = [0f32; 6];
                layer.run(&rows, Epilogue::Activation(Activation::None), &mut out);
                assert!(out[..3].iter().all(|y| y.is_nan()), "{kernel} {odd} at {place}: {out:?}");
                assert!(out[3..].iter().all(|y| y.is_finite()), "{kernel}: the other row is as it was");
            }
        }
    }
}

#[test]
fn extreme_bytes_do_not_overflow() {
    // 4,096 products of 127 x 127: a sum in 16 bits, or a pair that saturates, would show.
    for kernel in Kernel::available() {
        for (sign, weight) in [(1.0, 127i8), (-1.0, 127), (1.0, -127), (-1.0, -127)] {
            let mut rows = Bytes::new(kernel);
            rows.take(&vec![sign; 4096], 4096, None);
            let layer = Linear::new(kernel, (4096, 1), &vec![weight; 4096], &[1.0], &[0.0]).unwrap();
            let mut out = [0f32];
            layer.run(&rows, Epilogue::Activation(Activation::None), &mut out);
            assert_eq!(out[0], 4096.0 * 127.0 * f32::from(weight) * sign * (1.0 / 127.0), "{kernel}");
        }
        let mut rows = Bytes::new(kernel);
        rows.take(&[0.0; 10], 10, None);
        assert_eq!(rows.row(0), (vec![0; 10], 0.0), "{kernel}: a row of zeros");
    }
}

#[test]
fn layers_beside_each_other_are_the_layers() {
    for kernel in Kernel::available() {
        let values = noise(1, 5 * 24);
        let mut rows = Bytes::new(kernel);
        rows.take(&values, 24, None);
        let layers: Vec<Linear> = [(17, 2u64), (64, 3), (1, 4)]
            .map(|(n, seed)| {
                Linear::new(kernel, (24, n), &bytes(seed, 24 * n), &noise(seed + 9, n), &noise(seed + 20, n)).unwrap()
            })
            .into();
        let joint = Linear::beside(&layers.iter().collect::<Vec<_>>());
        let mut out = vec![0f32; 5 * 82];
        joint.run(&rows, Epilogue::Activation(Activation::QuickGelu), &mut out);
        let mut first = 0;
        for layer in &layers {
            let mut own = vec![0f32; 5 * layer.outputs()];
            layer.run(&rows, Epilogue::Activation(Activation::QuickGelu), &mut own);
            for row in 0..5 {
                assert_eq!(out[row * 82 + first..][..layer.outputs()], own[row * layer.outputs()..][..layer.outputs()]);
            }
            first += layer.outputs();
        }
    }
}

#[test]
fn wrong_numbers_of_weights_are_named() {
    let e = Linear::new(Kernel::Portable, (4, 3), &[0; 11], &[1.0], &[0.0; 3]).unwrap_err().to_string();
    assert_eq!(e, "a linear layer of 4 x 3 with 11 weights, 1 scales, 3 biases");
    let e = PatchEmbedding::new(Kernel::Portable, (3, 4, 5), &[0.0; 240], &[0.0; 4]).unwrap_err().to_string();
    assert_eq!(e, "a patch embedding of 3 x 4 x 4 to 5 with 240 weights, 4 biases");
}
