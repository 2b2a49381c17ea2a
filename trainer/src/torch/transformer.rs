//! The transformer that CLIP's two towers share: pre-norm blocks of attention and a two-layer perceptron.
//!
//! Variables carry Hugging Face's names under the path of the layers: `0.self_attn.q_proj.weight`, `0.mlp.fc1.bias`.

use tch::{Device, Tensor, nn, nn::Init};

use super::rounding;
use crate::encoder_graph::LAYER_NORM_EPSILON;
use crate::recipe::{self, Activation};

/// Slope of CLIP's quick GELU, x * sigmoid(1.702 x).
const QUICK_GELU_SLOPE: f64 = 1.702;

/// What a stack of blocks looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Width d of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Attention heads of a block.
    pub heads: i64,
    /// Width of the hidden layer of a block's MLP.
    pub hidden: i64,
    /// What stands between the MLP's two layers.
    pub activation: Activation,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
}

impl From<&recipe::Tower> for Shape {
    fn from(tower: &recipe::Tower) -> Self {
        Shape {
            width: i64::from(tower.width),
            layers: i64::from(tower.layers),
            heads: i64::from(tower.heads),
            hidden: i64::from(tower.width) * i64::from(tower.mlp_ratio),
            activation: tower.activation,
            causal: false,
        }
    }
}

impl From<&recipe::TextTower> for Shape {
    fn from(tower: &recipe::TextTower) -> Self {
        Shape {
            width: i64::from(tower.width),
            layers: i64::from(tower.layers),
            heads: i64::from(tower.heads),
            hidden: i64::from(tower.width) * i64::from(tower.mlp_ratio),
            activation: tower.activation,
            causal: true,
        }
    }
}

/// A stack of blocks.
#[derive(Debug)]
pub struct Blocks {
    blocks: Vec<Block>,
    /// Whether products are rounded as the int8 graph rounds them.
    rounded: bool,
}

impl Blocks {
    /// Blocks with fresh weights under `layers`, each under its number.
    pub fn new(layers: &nn::Path, shape: &Shape) -> Self {
        let blocks = (0..shape.layers).map(|i| Block::new(&(layers / i), shape)).collect();
        Blocks { blocks, rounded: false }
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// From now on products are rounded as the int8 graph rounds them, or are not.
    pub fn round(&mut self, rounded: bool) {
        self.rounded = rounded;
    }

    /// [n, tokens, d] -> [n, tokens, d].
    pub fn forward(&self, x: Tensor) -> Tensor {
        self.blocks.iter().fold(x, |x, block| block.forward(&x, self.rounded))
    }
}

/// One pre-norm transformer block.
#[derive(Debug)]
struct Block {
    norm1: nn::LayerNorm,
    norm2: nn::LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    fc1: Linear,
    fc2: Linear,
    heads: i64,
    activation: Activation,
    causal: bool,
}

impl Block {
    /// Deviations of the fresh weights as in CLIP: projections into the residual stream shrink with the depth.
    fn new(path: &nn::Path, shape: &Shape) -> Self {
        let (d, hidden) = (shape.width, shape.hidden);
        let (attention, mlp) = (path / "self_attn", path / "mlp");
        let (width, depth) = ((d as f64).sqrt().recip(), (2.0 * shape.layers as f64).sqrt().recip());
        let projection = |name: &str, stdev| Linear::new(&(&attention / name), d, d, stdev);
        Block {
            norm1: layer_norm(&(path / "layer_norm1"), d),
            norm2: layer_norm(&(path / "layer_norm2"), d),
            q: projection("q_proj", width),
            k: projection("k_proj", width),
            v: projection("v_proj", width),
            out: projection("out_proj", width * depth),
            fc1: Linear::new(&(&mlp / "fc1"), d, hidden, width),
            fc2: Linear::new(&(&mlp / "fc2"), hidden, d, (hidden as f64).sqrt().recip() * depth),
            heads: shape.heads,
            activation: shape.activation,
            causal: shape.causal,
        }
    }

    fn forward(&self, x: &Tensor, rounded: bool) -> Tensor {
        let x = x + self.attention(&x.apply(&self.norm1), rounded);
        let y = self.mlp(&x.apply(&self.norm2), rounded);
        x + y
    }

    fn mlp(&self, x: &Tensor, rounded: bool) -> Tensor {
        match self.activation {
            // What is rounded must be what the graph has, and not a multiple of it.
            Activation::QuickGelu if rounded => {
                let inner = self.fc1.forward(x, true);
                self.fc2.forward(&(&inner * (&inner * QUICK_GELU_SLOPE).sigmoid()), true)
            }
            // silu(s x) / s is the quick GELU of slope s in one pass; the factors go into the small weights.
            Activation::QuickGelu => {
                let inner = self.fc1.scaled(x, QUICK_GELU_SLOPE).silu();
                self.fc2.unscaled_input(&inner, QUICK_GELU_SLOPE)
            }
            Activation::Gelu => self.fc2.forward(&self.fc1.forward(x, rounded).gelu("none"), rounded),
        }
    }

    fn attention(&self, x: &Tensor, rounded: bool) -> Tensor {
        let (n, tokens, d) = (x.size()[0], x.size()[1], x.size()[2]);
        let split =
            |linear: &Linear| linear.forward(x, rounded).view([n, tokens, self.heads, d / self.heads]).transpose(1, 2);
        let (q, k, v) = (split(&self.q), split(&self.k), split(&self.v));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, self.causal, None, false);
        self.out.forward(&mixed.transpose(1, 2).reshape([n, tokens, d]), rounded)
    }
}

/// A linear layer over the last axis of [n, tokens, inputs].
#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(path: &nn::Path, inputs: i64, outputs: i64, stdev: f64) -> Self {
        Linear {
            weight: path.var("weight", &[outputs, inputs], Init::Randn { mean: 0.0, stdev }),
            bias: path.var("bias", &[outputs], Init::Const(0.0)),
        }
    }

    fn forward(&self, x: &Tensor, rounded: bool) -> Tensor {
        if rounded {
            return product(&rounding::input(x), &rounding::weight(&self.weight), &self.bias);
        }
        product(x, &self.weight, &self.bias)
    }

    /// `factor` times the layer's output.
    fn scaled(&self, x: &Tensor, factor: f64) -> Tensor {
        product(x, &(&self.weight * factor), &(&self.bias * factor))
    }

    /// The layer's output for `x / divisor`.
    fn unscaled_input(&self, x: &Tensor, divisor: f64) -> Tensor {
        product(x, &(&self.weight / divisor), &self.bias)
    }
}

/// x W^T + b over the last axis.
///
/// On the processor it runs as a convolution of 1 x 1: libtorch gives that to oneDNN, which uses every vector unit,
/// while its plain matrix product goes to MKL, which on AMD's processors does not (1.4 times slower as measured).
fn product(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    if x.device() != Device::Cpu {
        return x.linear(weight, Some(bias));
    }
    let (n, tokens, inputs) = (x.size()[0], x.size()[1], x.size()[2]);
    let outputs = weight.size()[0];
    x.reshape([1, n * tokens, 1, inputs])
        .permute([0, 3, 1, 2])
        .conv2d(&weight.view([outputs, inputs, 1, 1]), Some(bias), [1; 2], [0; 2], [1; 2], 1)
        .permute([0, 2, 3, 1])
        .reshape([n, tokens, outputs])
}

/// CLIP's layer normalisation over the last axis of width `d`.
pub fn layer_norm(path: &nn::Path, d: i64) -> nn::LayerNorm {
    let config = nn::LayerNormConfig { eps: f64::from(LAYER_NORM_EPSILON), ..nn::LayerNormConfig::default() };
    nn::layer_norm(path, vec![d], config)
}
