//! The transformer that CLIP's two towers share: pre-norm blocks of attention and a two-layer perceptron.
//!
//! Variables carry Hugging Face's names under the path of the layers: `0.self_attn.q_proj.weight`, `0.mlp.fc1.bias`.

use std::sync::Once;

use tch::{Device, Kind, Tensor, nn, nn::Init};

use super::rounding;
use crate::encoder_graph::LAYER_NORM_EPSILON;
use crate::recipe::{self, Activation, Arithmetic};

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

/// How linear layers compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// In single precision.
    #[default]
    Float,
    /// In bfloat16 with sums in single precision, on weights that stay floats.
    Bfloat16,
    /// In single precision on inputs and weights that are rounded as the int8 graph rounds them.
    Int8,
}

impl Products {
    /// What a recipe asks for, on this device: floats where a processor has no instructions for bfloat16, which libtorch
    /// would then imitate number by number, some fifty times slower.
    pub fn on(arithmetic: Arithmetic, device: Device) -> Self {
        match arithmetic {
            Arithmetic::Bfloat16 if device != Device::Cpu || has_bfloat16() => Products::Bfloat16,
            Arithmetic::Bfloat16 => {
                static SAID: Once = Once::new();
                SAID.call_once(|| eprintln!("this processor has no instructions for bfloat16: training in floats"));
                Products::Float
            }
            Arithmetic::Float => Products::Float,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_bfloat16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "aarch64")]
fn has_bfloat16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_bfloat16() -> bool {
    false
}

/// A stack of blocks.
#[derive(Debug)]
pub struct Blocks {
    blocks: Vec<Block>,
    products: Products,
}

impl Blocks {
    /// Blocks with fresh weights under `layers`, each under its number.
    pub fn new(layers: &nn::Path, shape: &Shape) -> Self {
        let blocks = (0..shape.layers).map(|i| Block::new(&(layers / i), shape)).collect();
        Blocks { blocks, products: Products::Float }
    }

    /// Number of blocks.
    pub fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// From now on linear layers compute like this.
    pub fn compute(&mut self, products: Products) {
        self.products = products;
    }

    /// [n, tokens, d] -> [n, tokens, d].
    pub fn forward(&self, x: Tensor) -> Tensor {
        self.blocks.iter().fold(x, |x, block| block.forward(&x, self.products))
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

    fn forward(&self, x: &Tensor, products: Products) -> Tensor {
        let x = x + self.attention(&x.apply(&self.norm1), products);
        let y = self.mlp(&x.apply(&self.norm2), products);
        x + y
    }

    fn mlp(&self, x: &Tensor, products: Products) -> Tensor {
        match self.activation {
            // What is rounded must be what the graph has, and not a multiple of it.
            Activation::QuickGelu if products == Products::Int8 => {
                let inner = self.fc1.forward(x, products);
                self.fc2.forward(&(&inner * (&inner * QUICK_GELU_SLOPE).sigmoid()), products)
            }
            // silu(s x) / s is the quick GELU of slope s in one pass; the factors go into the small weights.
            Activation::QuickGelu => {
                let inner = self.fc1.scaled(QUICK_GELU_SLOPE).forward(x, products).silu();
                self.fc2.for_input_times(QUICK_GELU_SLOPE).forward(&inner, products)
            }
            Activation::Gelu => self.fc2.forward(&self.fc1.forward(x, products).gelu("none"), products),
        }
    }

    fn attention(&self, x: &Tensor, products: Products) -> Tensor {
        let (n, tokens, d) = (x.size()[0], x.size()[1], x.size()[2]);
        // One product instead of three: the tokens are read once. The mixing itself stays in single precision, whose
        // gradient is the faster one on a processor.
        let joined = Linear::joined([&self.q, &self.k, &self.v]).forward(x, products).to_kind(Kind::Float);
        let parts = joined.view([n, tokens, 3, self.heads, d / self.heads]).permute([2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| parts.get(i));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, self.causal, None, false);
        self.out.forward(&mixed.transpose(1, 2).reshape([n, tokens, d]), products)
    }
}

/// A linear layer over the last axis: x W^T + b.
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

    /// The layer whose outputs are these layers' outputs, one after the other.
    fn joined(layers: [&Linear; 3]) -> Self {
        Linear { weight: Tensor::cat(&layers.map(|l| &l.weight), 0), bias: Tensor::cat(&layers.map(|l| &l.bias), 0) }
    }

    /// The layer that gives `factor` times the output.
    fn scaled(&self, factor: f64) -> Self {
        Linear { weight: &self.weight * factor, bias: &self.bias * factor }
    }

    /// The layer that gives the same output for an input `factor` times as large.
    fn for_input_times(&self, factor: f64) -> Self {
        Linear { weight: &self.weight / factor, bias: self.bias.shallow_clone() }
    }

    /// [n, tokens, inputs] -> [n, tokens, outputs], in bfloat16 where products are.
    fn forward(&self, x: &Tensor, products: Products) -> Tensor {
        match products {
            Products::Float => x.linear(&self.weight, Some(&self.bias)),
            Products::Bfloat16 => {
                let [x, weight, bias] = [x, &self.weight, &self.bias].map(|t| t.to_kind(Kind::BFloat16));
                x.linear(&weight, Some(&bias))
            }
            Products::Int8 => rounding::input(x).linear(&rounding::weight(&self.weight), Some(&self.bias)),
        }
    }
}

/// CLIP's layer normalisation over the last axis of width `d`.
pub fn layer_norm(path: &nn::Path, d: i64) -> nn::LayerNorm {
    let config = nn::LayerNormConfig { eps: f64::from(LAYER_NORM_EPSILON), ..nn::LayerNormConfig::default() };
    nn::layer_norm(path, vec![d], config)
}
