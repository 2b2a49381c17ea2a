//! What is not finite, hardly anything, or as large as can be; buffers that were used before.

use super::*;

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
                for activation in ACTIVATIONS {
                    let mut out = [0f32; 6];
                    layer.run(&rows, Epilogue { added: None, activation }, &mut out);
                    assert!(out[..3].iter().all(|y| y.is_nan()), "{kernel} {activation:?} {odd} at {place}: {out:?}");
                    assert!(out[3..].iter().all(|y| y.is_finite()), "{kernel}: the other row is as it was");
                }
            }
        }
    }
}

#[test]
fn a_norm_whose_mean_overflows_behind_the_row_is_that_of_the_row() {
    // The mean is exact, so all values are equal to it; 0 - mean, which is in no row, would overflow.
    let norm = |width| LayerNorm { gain: vec![1.0; width], shift: vec![1.0; width], epsilon: 1e-5 };
    for kernel in Kernel::available() {
        for width in [8, 16, 24] {
            let mut rows = Bytes::new(kernel);
            rows.take(&vec![2f32.powi(122); width], width, Some(&norm(width)));
            assert_eq!(rows.row(0), (vec![127; width], 1.0 / 127.0), "{kernel} {width}");
        }
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (width, place) in [(37, 0), (37, 36), (64, 63), (5, 2)] {
                let mut values = vec![0.5; width];
                values[place] = odd;
                let mut rows = Bytes::new(kernel);
                rows.take(&values, width, Some(&norm(width)));
                assert!(rows.row(0).1.is_nan(), "{kernel} {odd} at {place} of {width}");
            }
        }
    }
}

#[test]
fn attention_to_what_is_not_finite_is_nan() {
    for kernel in Kernel::available() {
        for odd in [f32::NAN, f32::INFINITY] {
            for (tokens, place) in [(2, 0), (2, 1), (21, 0), (21, 20)] {
                let mut queries = vec![1.0; tokens];
                queries[place] = odd;
                let (keys, values) = (vec![1.0; tokens], vec![3.0; tokens]);
                let shape = Shape { sequences: 1, tokens, heads: 1, head: 1, scale: 1.0 };
                let mut out = vec![0.0; tokens];
                Attention::new(kernel).run(
                    Projections { parts: [&queries, &keys, &values], stride: 1 },
                    shape,
                    &mut out,
                );
                for (token, y) in out.into_iter().enumerate() {
                    assert!(
                        if token == place { y.is_nan() } else { (y - 3.0).abs() < 1e-5 },
                        "{kernel} {odd} {token}: {y}"
                    );
                }
            }
        }
    }
}

/// From the least float to the largest: on every kernel the largest magnitude is byte 127, and what is too small for a factor
/// is zero.
#[test]
fn rows_of_any_magnitude_are_bytes() {
    for kernel in Kernel::available() {
        for width in [1, 3, 16, 65, 130] {
            for most in [f32::from_bits(1), 1e-39, 3.6e-37, 3.9e-37, 1e-30, 1.0, 1e30, f32::MAX] {
                for place in [0, width / 2, width - 1] {
                    let mut values = vec![0.0; width];
                    values[place] = -most;
                    values[(place + 1) % width] += most / 2.0;
                    let mut rows = Bytes::new(kernel);
                    rows.take(&values, width, None);
                    let (bytes, scale) = rows.row(0);
                    let largest = values.iter().fold(0f32, |m, x| m.max(x.abs()));
                    assert_eq!(scale, largest / 127.0, "{kernel} {width} {most}");
                    for (byte, value) in bytes.iter().zip(&values) {
                        let expected = if largest < 3.7e-37 { 0.0 } else { value / largest * 127.0 };
                        assert!(
                            (f32::from(*byte) - expected).abs() <= 0.51,
                            "{kernel} {width} {most}: {byte}, {expected}"
                        );
                    }
                }
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
            layer.run(&rows, Epilogue::NONE, &mut out);
            assert_eq!(out[0], 4096.0 * 127.0 * f32::from(weight) * sign * (1.0 / 127.0), "{kernel}");
        }
        let mut rows = Bytes::new(kernel);
        rows.take(&[0.0; 10], 10, None);
        assert_eq!(rows.row(0), (vec![0; 10], 0.0), "{kernel}: a row of zeros");
        // Black pixels are the one byte of -128.
        let pixels = Pixels { gain: [1.0; 3], shift: [-128.0; 3] };
        let window = Window { layout: Layout::ChannelsFirst, channels: 3, size: 8, step: 8, before: 0, after: 0 };
        for weight in [1.0f32, -1.0] {
            let weights = vec![weight; 3 * 8 * 8];
            let convolution = Convolution::new(kernel, window, 1, &weights, &[0.0], Some(&pixels)).unwrap();
            let mut out = [0f32];
            convolution.run(&mut Windows::new(kernel), &[-128.0; 192], (1, 8, 8), Epilogue::NONE, &mut out);
            assert_eq!(out[0], -128.0 * 192.0 * weight, "{kernel}");
        }
    }
}

#[test]
fn buffers_of_a_larger_product_leave_nothing_behind() {
    let convolution = |kernel, channels: usize| {
        let layout = if channels == 4 { Layout::ChannelsLast } else { Layout::ChannelsFirst };
        let window = Window { layout, channels, size: 3, step: 1, before: 1, after: 1 };
        Convolution::new(kernel, window, 5, &noise(8, 5 * 9 * channels), &noise(9, 5), None).unwrap()
    };
    for kernel in Kernel::available() {
        let (mut rows, mut windows) = (Bytes::new(kernel), Windows::new(kernel));
        for (count, width, channels, side) in [(40, 130, 4, 9), (3, 7, 1, 2), (40, 130, 4, 9), (17, 64, 2, 5)] {
            let values = noise(count as u64, count * width);
            let layer = Linear::new(kernel, (width, 9), &bytes(2, width * 9), &[0.1], &[0.5; 9]).unwrap();
            let image = noise(side as u64, channels * side * side);
            let convolution = convolution(kernel, channels);
            let run = |rows: &mut Bytes, windows: &mut Windows| {
                let mut out = [vec![f32::NAN; count * 9], vec![f32::NAN; side * side * 5]];
                rows.take(&values, width, None);
                layer.run(rows, Epilogue::NONE, &mut out[0]);
                convolution.run(windows, &image, (1, side, side), Epilogue::NONE, &mut out[1]);
                out
            };
            let again = run(&mut rows, &mut windows);
            assert_eq!(again, run(&mut Bytes::new(kernel), &mut Windows::new(kernel)), "{kernel} {count} x {width}");
            assert!(again.iter().flatten().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn attention_leaves_nothing_behind_for_the_next() {
    for kernel in Kernel::available() {
        let mut buffers = Attention::new(kernel);
        for (tokens, head) in [(577, 64), (3, 8), (5, 7), (65, 64), (1, 3), (17, 80), (50, 64)] {
            let shape = Shape { sequences: 2, tokens, heads: 2, head, scale: 0.3 };
            let all = noise(tokens as u64, 2 * tokens * 6 * head);
            let odd = vec![f32::NAN; all.len()];
            let run = |buffers: &mut Attention, all: &[f32]| {
                let mut out = vec![f32::NAN; 2 * tokens * 2 * head];
                let parts = [all, &all[2 * head..], &all[4 * head..]];
                buffers.run(Projections { parts, stride: 6 * head }, shape, &mut out);
                out
            };
            let again = run(&mut buffers, &all);
            assert_eq!(again, run(&mut Attention::new(kernel), &all), "{kernel} {tokens} x {head}");
            assert!(again.iter().all(|x| x.is_finite()));
            run(&mut buffers, &odd);
        }
    }
}

#[test]
fn an_image_that_is_nearly_nothing_is_nothing() {
    let window = Window { layout: Layout::ChannelsLast, channels: 4, size: 3, step: 1, before: 1, after: 1 };
    for kernel in Kernel::available() {
        for weight in [1.0, 1e-39] {
            let convolution = Convolution::new(kernel, window, 5, &[weight; 180], &[0.5; 5], None).unwrap();
            let mut image = vec![0.0; 25 * 4];
            image[17] = -1e-39;
            let mut out = vec![f32::NAN; 25 * 5];
            convolution.run(&mut Windows::new(kernel), &image, (1, 5, 5), Epilogue::NONE, &mut out);
            assert!(out.iter().all(|y| (y - 0.5).abs() < 1e-6), "{kernel} {weight}: {out:?}");
        }
    }
}
