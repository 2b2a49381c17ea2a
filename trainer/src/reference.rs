//! The encoder's forward pass in plain loops, and random weights for it: the yardstick of the graph writer's tests and
//! of the comparison between runtimes. Slow, and meant to be read.

use homing_planet::hash::Rng;

use crate::encoder_graph::{Head, LAYER_NORM_EPSILON};
use crate::onnx::{Tensor, Weights};
use crate::recipe::{Activation, StemLayer, Tower};

/// Random weights of a tower with activations of ordinary size, under the names that `encoder_graph` reads.
pub fn random_encoder_weights(tower: &Tower, seed: u64) -> Weights {
    let mut draw = Draw { rng: Rng::new(seed), weights: Weights::new() };
    let (d, tokens) = (tower.width as usize, tower.tokens() as usize);
    let path = "vision_model.embeddings";
    draw.tensor(&format!("{path}.class_embedding"), &[d], 0.5, 0.0);
    draw.tensor(&format!("{path}.position_embedding.weight"), &[tokens, d], 0.3, 0.0);
    if let Some(patch) = tower.patch_px {
        draw.matrix(&format!("{path}.patch_embedding.weight"), &[d, 3, patch as usize, patch as usize]);
    }
    let mut channels = 3;
    for (i, layer) in tower.stem.iter().enumerate() {
        match *layer {
            StemLayer::Conv { out, kernel, .. } => {
                let shape = [out as usize, channels, kernel as usize, kernel as usize];
                draw.layer(&format!("{path}.stem.{i}"), &shape);
                channels = out as usize;
            }
            StemLayer::Residual { .. } => {
                for conv in ["conv1", "conv2"] {
                    draw.layer(&format!("{path}.stem.{i}.{conv}"), &[channels, channels, 3, 3]);
                }
            }
        }
    }
    draw.norm("vision_model.pre_layrnorm", d);
    for i in 0..tower.layers {
        let path = format!("vision_model.encoder.layers.{i}");
        draw.norm(&format!("{path}.layer_norm1"), d);
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            draw.layer(&format!("{path}.self_attn.{name}"), &[d, d]);
        }
        draw.norm(&format!("{path}.layer_norm2"), d);
        let hidden = d * tower.mlp_ratio as usize;
        draw.layer(&format!("{path}.mlp.fc1"), &[hidden, d]);
        draw.layer(&format!("{path}.mlp.fc2"), &[d, hidden]);
    }
    draw.weights
}

/// Random weights for `heads_graph`.
pub fn random_heads_weights(d: usize, heads: &[Head], seed: u64) -> Weights {
    let mut draw = Draw { rng: Rng::new(seed), weights: Weights::new() };
    heads.iter().for_each(|head| draw.layer(&head.name, &[head.outputs, d]));
    draw.weights
}

struct Draw {
    rng: Rng,
    weights: Weights,
}

impl Draw {
    fn tensor(&mut self, name: &str, shape: &[usize], deviation: f32, mean: f32) {
        let data = (0..shape.iter().product()).map(|_| mean + deviation * self.rng.normal()).collect();
        self.weights.insert(name.to_owned(), Tensor { shape: shape.to_vec(), data });
    }

    /// Deviation 1 over the root of the number of inputs keeps the size of what goes through.
    fn matrix(&mut self, name: &str, shape: &[usize]) {
        let inputs: usize = shape[1..].iter().product();
        self.tensor(name, shape, (inputs as f32).powf(-0.5), 0.0);
    }

    fn layer(&mut self, name: &str, shape: &[usize]) {
        self.matrix(&format!("{name}.weight"), shape);
        self.tensor(&format!("{name}.bias"), &shape[..1], 0.1, 0.0);
    }

    fn norm(&mut self, name: &str, d: usize) {
        self.tensor(&format!("{name}.weight"), &[d], 0.1, 1.0);
        self.tensor(&format!("{name}.bias"), &[d], 0.1, 0.0);
    }
}

/// The embeddings [views, d] of `images` [views, 3, S, S].
///
/// # Panics
/// When a weight is missing.
pub fn encode(tower: &Tower, weights: &Weights, images: &[f32]) -> Vec<f32> {
    let side = tower.image_px as usize;
    images.chunks_exact(3 * side * side).flat_map(|image| encode_view(tower, weights, image)).collect()
}

/// Cosine of the angle between two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Tokens, each a row of d.
type Rows = Vec<Vec<f32>>;

fn encode_view(tower: &Tower, w: &Weights, image: &[f32]) -> Vec<f32> {
    let d = tower.width as usize;
    let path = "vision_model.embeddings";
    let grid = grid_of(tower, w, image);
    let places = grid.len() / d;
    let position = &w[&format!("{path}.position_embedding.weight")].data;
    let mut x: Rows = vec![w[&format!("{path}.class_embedding")].data.clone()];
    x.extend((0..places).map(|p| (0..d).map(|c| grid[c * places + p]).collect()));
    for (row, position) in x.iter_mut().zip(position.chunks_exact(d)) {
        row.iter_mut().zip(position).for_each(|(a, b)| *a += b);
    }
    x = norm(w, "vision_model.pre_layrnorm", &x);
    for i in 0..tower.layers {
        let path = format!("vision_model.encoder.layers.{i}");
        let y = norm(w, &format!("{path}.layer_norm1"), &x);
        add(&mut x, &attend(w, &format!("{path}.self_attn"), &y, tower.heads as usize));
        let y = norm(w, &format!("{path}.layer_norm2"), &x);
        let mut y = linear(w, &format!("{path}.mlp.fc1"), &y);
        y.iter_mut().flatten().for_each(|v| match tower.activation {
            Activation::QuickGelu => *v /= 1.0 + (-1.702 * *v).exp(),
            Activation::Gelu => *v *= 0.5 + 0.5 * libm::erff(*v * std::f32::consts::FRAC_1_SQRT_2),
        });
        add(&mut x, &linear(w, &format!("{path}.mlp.fc2"), &y));
    }
    (0..d).map(|c| x.iter().map(|row| row[c]).sum::<f32>() / x.len() as f32).collect()
}

/// The image as [d, places].
fn grid_of(tower: &Tower, w: &Weights, image: &[f32]) -> Vec<f32> {
    let path = "vision_model.embeddings";
    let side = tower.image_px as usize;
    if let Some(patch) = tower.patch_px {
        let zeros = vec![0.0; tower.width as usize];
        return conv(image, side, &w[&format!("{path}.patch_embedding.weight")], &zeros, patch as usize, 0);
    }
    let (mut x, mut side) = (image.to_vec(), side);
    let relu = |x: &mut Vec<f32>| x.iter_mut().for_each(|v| *v = v.max(0.0));
    let named = |x: &[f32], side, name: &str, stride, pad| {
        conv(x, side, &w[&format!("{name}.weight")], &w[&format!("{name}.bias")].data, stride, pad)
    };
    for (i, layer) in tower.stem.iter().enumerate() {
        let (name, pad) = (format!("{path}.stem.{i}"), layer.pad() as usize);
        match *layer {
            StemLayer::Conv { stride, .. } => {
                x = named(&x, side, &name, stride as usize, pad);
                side /= stride as usize;
            }
            StemLayer::Residual { .. } => {
                let mut y = named(&x, side, &format!("{name}.conv1"), 1, pad);
                relu(&mut y);
                let y = named(&y, side, &format!("{name}.conv2"), 1, pad);
                x.iter_mut().zip(y).for_each(|(a, b)| *a += b);
            }
        }
        relu(&mut x);
    }
    x
}

/// A convolution of [channels, side, side] with weights [out, channels, k, k] and zero padding.
fn conv(x: &[f32], side: usize, weight: &Tensor, bias: &[f32], stride: usize, pad: usize) -> Vec<f32> {
    let [out, channels, k, _] = weight.shape[..] else { panic!("a convolution has four sizes") };
    let to = (side + 2 * pad - k) / stride + 1;
    let mut y = Vec::with_capacity(out * to * to);
    for (o, bias) in bias.iter().enumerate().take(out) {
        for (row, column) in (0..to * to).map(|p| (p / to, p % to)) {
            let mut sum = *bias;
            for (c, i, j) in (0..channels * k * k).map(|n| (n / (k * k), n / k % k, n % k)) {
                let (r, s) = (row * stride + i, column * stride + j);
                if (pad..side + pad).contains(&r) && (pad..side + pad).contains(&s) {
                    let pixel = x[(c * side + r - pad) * side + s - pad];
                    sum += pixel * weight.data[((o * channels + c) * k + i) * k + j];
                }
            }
            y.push(sum);
        }
    }
    y
}

fn norm(w: &Weights, name: &str, x: &Rows) -> Rows {
    let (scale, shift) = (&w[&format!("{name}.weight")].data, &w[&format!("{name}.bias")].data);
    let one = |row: &Vec<f32>| {
        let n = row.len() as f32;
        let mean = row.iter().sum::<f32>() / n;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        let factor = 1.0 / (variance + LAYER_NORM_EPSILON).sqrt();
        row.iter().zip(scale).zip(shift).map(|((v, a), b)| (v - mean) * factor * a + b).collect()
    };
    x.iter().map(one).collect()
}

fn linear(w: &Weights, name: &str, x: &Rows) -> Rows {
    let (weight, bias) = (&w[&format!("{name}.weight")].data, &w[&format!("{name}.bias")].data);
    let one = |row: &Vec<f32>| {
        let rows = weight.chunks_exact(row.len()).zip(bias);
        rows.map(|(out, b)| out.iter().zip(row).map(|(a, v)| a * v).sum::<f32>() + b).collect()
    };
    x.iter().map(one).collect()
}

fn add(x: &mut Rows, y: &Rows) {
    x.iter_mut().flatten().zip(y.iter().flatten()).for_each(|(a, b)| *a += b);
}

fn attend(w: &Weights, path: &str, x: &Rows, heads: usize) -> Rows {
    let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(|name| linear(w, &format!("{path}.{name}"), x));
    let width = q[0].len() / heads;
    let mut mixed: Rows = vec![Vec::new(); x.len()];
    for head in 0..heads {
        let part = |row: &'_ [f32]| row[head * width..][..width].to_vec();
        for (t, out) in mixed.iter_mut().enumerate() {
            let query = part(&q[t]);
            let dot = |key: &Vec<f32>| query.iter().zip(part(key)).map(|(a, b)| a * b).sum::<f32>();
            let scores: Vec<f32> = k.iter().map(|key| dot(key) / (width as f32).sqrt()).collect();
            let top = scores.iter().copied().fold(f32::MIN, f32::max);
            let shares: Vec<f32> = scores.iter().map(|s| (s - top).exp()).collect();
            let sum: f32 = shares.iter().sum();
            let column = |c: usize| shares.iter().zip(&v).map(|(s, v)| s / sum * v[head * width + c]).sum();
            out.extend((0..width).map(column).collect::<Vec<f32>>());
        }
    }
    linear(w, &format!("{path}.out_proj"), &mixed)
}
