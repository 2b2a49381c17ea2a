//! Every kernel against plain arithmetic, on random shapes and values.

use proptest::prelude::*;

use super::*;

mod edges;

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

const ACTIVATIONS: [Activation; 5] =
    [Activation::None, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn products_of_bytes_are_exact(
        (rows, inputs, outputs) in (1usize..70, 1usize..200, 1usize..130),
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
            layer.run(&taken, Epilogue::NONE, &mut out);
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
        kind in 0usize..5,
        (normalised, residual) in any::<(bool, bool)>(),
    ) {
        let (values, bias) = (noise(seed, rows * inputs), noise(seed ^ 2, outputs));
        let (weights, added) = (bytes(seed ^ 1, inputs * outputs), noise(seed ^ 3, rows * outputs));
        let scales: Vec<f32> = noise(seed ^ 4, outputs).iter().map(|x| (x.abs() + 0.1) / 127.0).collect();
        let norm = LayerNorm { gain: noise(seed ^ 5, inputs), shift: noise(seed ^ 6, inputs), epsilon: 1e-5 };
        for kernel in Kernel::available() {
            let mut taken = Bytes::new(kernel);
            taken.take(&values, inputs, normalised.then_some(&norm));
            let mut read = values.clone();
            if normalised {
                layer_norm(kernel, &values, &norm, &mut read);
            }
            for (i, row) in read.chunks_exact(inputs).enumerate() {
                let most = row.iter().fold(0f32, |most, x| most.max(x.abs()));
                let (bytes, scale) = taken.row(i);
                prop_assert_eq!(scale, most / 127.0, "{}", kernel);
                prop_assert!(row.iter().zip(bytes).all(|(x, b)| (x * (127.0 / most)).round_ties_even() == f32::from(b)));
            }
            let layer = Linear::new(kernel, (inputs, outputs), &weights, &scales, &bias).unwrap();
            let mut out = vec![f32::NAN; rows * outputs];
            let activation = ACTIVATIONS[kind];
            let epilogue = Epilogue { added: residual.then_some(&added[..]), activation };
            layer.run(&taken, epilogue, &mut out);
            let mut expected = Vec::new();
            for row in 0..rows {
                let (bytes, scale) = taken.row(row);
                for output in 0..outputs {
                    let sum: i32 = (0..inputs).map(|i| i32::from(bytes[i]) * i32::from(weights[i * outputs + output])).sum();
                    let y = f64::from(sum) * f64::from(scale) * f64::from(scales[output]) + f64::from(bias[output]);
                    let y = y + if residual { f64::from(added[row * outputs + output]) } else { 0.0 };
                    expected.push(match activation {
                        Activation::None => y,
                        Activation::Relu => y.max(0.0),
                        Activation::QuickGelu => y / (1.0 + (-1.702 * y).exp()),
                        // The two differ by 1e-3 at most.
                        Activation::GeluTanh | Activation::Gelu => {
                            y * (1.0 + (0.797_884_56 * (y + 0.044_715 * y * y * y)).tanh()) / 2.0
                        }
                    });
                }
            }
            let bound = if activation == Activation::Gelu { 1e-3 } else { 2e-5 };
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
        attention_is_near_the_exact_one((sequences, tokens, heads, head), seed, packed, sharp);
    }

    #[test]
    fn a_convolution_on_bytes_is_near_the_exact_one(
        (count, height, width, channels) in (1usize..3, 1usize..12, 1usize..30, 1usize..9),
        (size, step, before, after, outputs) in (1usize..5, 1usize..4, 0usize..3, 0usize..3, 1usize..70),
        seed in any::<u64>(),
        (offset, residual, planar) in (-1.5f32..1.5, any::<bool>(), any::<bool>()),
    ) {
        let size = size.min(height).min(width);
        let layout = if planar { Layout::ChannelsFirst } else { Layout::ChannelsLast };
        let window = Window { layout, channels, size, step, before, after };
        let (down, across) = (window.outputs_along(height), window.outputs_along(width));
        let images: Vec<f32> = noise(seed, count * height * width * channels).iter().map(|x| x + offset).collect();
        let (weights, bias) = (noise(seed ^ 1, outputs * channels * size * size), noise(seed ^ 2, outputs));
        let added = noise(seed ^ 3, count * down * across * outputs);
        let mut expected = Vec::new();
        for (image, y, x) in
            (0..count).flat_map(|i| (0..down).flat_map(move |y| (0..across).map(move |x| (i, y, x))))
        {
            for output in 0..outputs {
                let mut sum = f64::from(bias[output]);
                for (c, dy, dx) in
                    (0..channels).flat_map(|c| (0..size).flat_map(move |dy| (0..size).map(move |dx| (c, dy, dx))))
                {
                    let (y, x) = ((y * step + dy).wrapping_sub(before), (x * step + dx).wrapping_sub(before));
                    if y < height && x < width {
                        let place = if planar { (c * height + y) * width + x } else { (y * width + x) * channels + c };
                        let pixel = images[image * channels * height * width + place];
                        sum += f64::from(pixel) * f64::from(weights[((output * channels + c) * size + dy) * size + dx]);
                    }
                }
                let place = expected.len();
                expected.push((sum + if residual { f64::from(added[place]) } else { 0.0 }).max(0.0));
            }
        }
        let epilogue = Epilogue { added: residual.then_some(&added[..]), activation: Activation::Relu };
        let mut first: Option<Vec<f32>> = None;
        for kernel in Kernel::available() {
            let convolution = Convolution::new(kernel, window, outputs, &weights, &bias, None).unwrap();
            let mut out = vec![f32::NAN; expected.len()];
            convolution.run(&mut Windows::new(kernel), &images, (count, height, width), epilogue, &mut out);
            // A pixel is off by half a step of its range, a weight by half of 1/127: on products of up to 2.5.
            let depth = (channels * size * size) as f64;
            close(&out, &expected, 0.012 * depth.sqrt() * 3.0, kernel.name());
            // The bytes are the same on all kernels; what follows differs in the last digit.
            let first = first.get_or_insert_with(|| out.clone());
            let exact: Vec<f64> = first.iter().map(|x| f64::from(*x)).collect();
            close(&out, &exact, 2e-5, kernel.name());
        }
    }
}

/// As softmax and sums in 64 bits give it; `sequences`, `tokens`, `heads`, numbers of a head.
fn attention_is_near_the_exact_one(
    (sequences, tokens, heads, head): (usize, usize, usize, usize),
    seed: u64,
    packed: bool,
    sharp: f32,
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
fn attention_over_the_tokens_of_the_largest_clip() {
    // ViT-L/14 on 336 pixels: 24 x 24 patches and the class token, heads of 64.
    for packed in [false, true] {
        attention_is_near_the_exact_one((1, 577, 2, 64), 3, packed, 8.0);
    }
}

#[test]
fn a_softmax_is_the_softmax_however_large_the_numbers() {
    for kernel in Kernel::available() {
        for (count, factor) in [(1, 1.0), (7, 3.0), (33, 90.0), (5987, 12.0)] {
            let logits: Vec<f32> = noise(count as u64, count).iter().map(|x| 1000.0 + x * factor).collect();
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            let exact: Vec<f64> = logits.iter().map(|x| f64::from(x - most).exp()).collect();
            let sum: f64 = exact.iter().sum();
            let mut found = logits;
            softmax(kernel, &mut found);
            for (f, e) in found.iter().zip(exact) {
                let e = e / sum;
                assert!((f64::from(*f) - e).abs() <= 4e-6 * e + 1e-30, "{kernel}: {f}, not {e}");
            }
        }
        softmax(kernel, &mut []);
    }
}

#[test]
fn layers_beside_each_other_are_the_layers() {
    for kernel in Kernel::available() {
        let values = noise(1, 5 * 24);
        let mut rows = Bytes::new(kernel);
        rows.take(&values, 24, None);
        // Odd widths, and widths that are whole panels of every kernel.
        for widths in [[17, 64, 1], [96, 192, 96]] {
            let parts = [(widths[0], 2u64), (widths[1], 3), (widths[2], 4)]
                .map(|(n, seed)| (bytes(seed, 24 * n), noise(seed + 9, n), noise(seed + 20, n)));
            let matrices: Vec<Matrix> = (parts.iter())
                .map(|(weights, scales, bias)| Matrix { outputs: bias.len(), weights, scales, bias })
                .collect();
            let one = |m: &Matrix| Linear::new(kernel, (24, m.outputs), m.weights, m.scales, m.bias).unwrap();
            let layers: Vec<Linear> = matrices.iter().map(one).collect();
            let joint = Linear::beside(&layers.iter().collect::<Vec<_>>());
            let at_once = Linear::of(kernel, 24, &matrices).unwrap();
            let all: usize = widths.iter().sum();
            let epilogue = Epilogue { activation: Activation::QuickGelu, ..Epilogue::NONE };
            let mut out = vec![0f32; 5 * all];
            joint.run(&rows, epilogue, &mut out);
            let mut again = vec![0f32; 5 * all];
            at_once.run(&rows, epilogue, &mut again);
            assert_eq!(out, again);
            let mut first = 0;
            for layer in &layers {
                let mut own = vec![0f32; 5 * layer.outputs()];
                layer.run(&rows, epilogue, &mut own);
                for (row, own) in own.chunks_exact(layer.outputs()).enumerate() {
                    assert_eq!(&out[row * all + first..][..layer.outputs()], own);
                }
                first += layer.outputs();
            }
        }
    }
}

#[test]
fn pixels_are_not_rounded_and_weights_that_see_them_have_two_bytes() {
    let (height, width, outputs) = (6, 5, 7);
    // All bytes that there are, as pictures are normalised; the last pixels of a plane are the brightest.
    // Zero, which stands outside, is a byte too.
    let pixels = Pixels { gain: [0.015, 0.0148, 0.0142], shift: [-0.015 * 119.0, -0.0148 * 118.0, -0.0142 * 104.0] };
    let byte = |c: usize, i: usize| ((c * 97 + i * i * 9 + i) % 256) as f32;
    let plane = height * width;
    let images: Vec<f32> =
        (0..3 * plane).map(|i| pixels.gain[i / plane] * byte(i / plane, i % plane) + pixels.shift[i / plane]).collect();
    // Squares of two pixels are read where they lie, squares of four are copied; the first column and line are zeros.
    for (kernel, size) in Kernel::available().into_iter().flat_map(|kernel| [(kernel, 2), (kernel, 4)]) {
        let depth = 3 * size * size;
        let (weights, bias) = (noise(4, outputs * depth), noise(5, outputs));
        let window = Window { layout: Layout::ChannelsFirst, channels: 3, size, step: 1, before: 1, after: 0 };
        let (down, across) = (window.outputs_along(height), window.outputs_along(width));
        for (pixels, bound) in [(Some(&pixels), 1.2e-3), (None, 0.12)] {
            let convolution = Convolution::new(kernel, window, outputs, &weights, &bias, pixels).unwrap();
            let mut out = vec![f32::NAN; down * across * outputs];
            convolution.run(&mut Windows::new(kernel), &images, (1, height, width), Epilogue::NONE, &mut out);
            let mut most = 0f32;
            for (i, found) in out.iter().enumerate() {
                let (place, output) = (i / outputs, i % outputs);
                let terms = (0..depth).map(|k| {
                    let (c, y, x) = (k / size / size, place / across + k / size % size, place % across + k % size);
                    let outside = y == 0 || x == 0;
                    let pixel = if outside { 0.0 } else { images[c * plane + (y - 1) * width + x - 1] };
                    pixel * weights[output * depth + k]
                });
                most = most.max((found - bias[output] - terms.sum::<f32>()).abs());
            }
            assert!(most < bound, "{kernel} {size} {pixels:?}: {most}");
        }
        // A number that no byte gives stays inside the bytes, and one that is none does not hide.
        let convolution = Convolution::new(kernel, window, outputs, &weights, &bias, Some(&pixels)).unwrap();
        let mut out = vec![0f32; down * across * outputs];
        let run = |image: &[f32], out: &mut [f32]| {
            convolution.run(&mut Windows::new(kernel), image, (1, height, width), Epilogue::NONE, out);
        };
        let bright = |x: f32| [vec![x; plane], images[plane..].to_vec()].concat();
        run(&bright(1e6), &mut out);
        let far = out.clone();
        run(&bright(pixels.gain[0] * 255.0 + pixels.shift[0]), &mut out);
        assert_eq!(far, out, "{kernel}");
        run(&bright(f32::NAN), &mut out);
        assert!(out.iter().all(|y| y.is_nan()), "{kernel}");
    }
}

#[test]
fn wrong_numbers_of_weights_are_named() {
    let e = Linear::new(Kernel::Portable, (4, 3), &[0; 11], &[1.0], &[0.0; 3]).unwrap_err().to_string();
    assert_eq!(e, "a matrix of 4 x 3 with 11 weights, 1 scales, 3 biases");
    let window = Window { layout: Layout::ChannelsLast, channels: 2, size: 3, step: 1, before: 1, after: 1 };
    let e = Convolution::new(Kernel::Portable, window, 5, &[0.0; 90], &[0.0; 4], None).unwrap_err().to_string();
    assert_eq!(e, "a convolution of 2 x 3 x 3 to 5 with 90 weights, 4 biases");
}

#[test]
fn a_weight_below_the_range_is_refused_wherever_it_stands() {
    let (inputs, outputs) = (5, 37);
    for kernel in Kernel::available() {
        for place in 0..2 * inputs * outputs {
            let mut weights = vec![-127; 2 * inputs * outputs];
            let of = |weights: &[i8]| {
                let (scales, bias) = (&[1.0][..], &[0.0; 37][..]);
                let matrix = |weights| Matrix { outputs, weights, scales, bias };
                let (first, second) = weights.split_at(inputs * outputs);
                Linear::of(kernel, inputs, &[matrix(first), matrix(second)]).err()
            };
            assert_eq!(of(&weights), None, "{kernel}");
            weights[place] = -128;
            assert_eq!(of(&weights), Some(LinearError::Lowest), "{kernel}, at {place}");
        }
    }
}
