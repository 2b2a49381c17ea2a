//! CLIP's vision transformer in libtorch, on patches or on a convolutional stem.
//!
//! Variables carry Hugging Face's names (`vision_model.encoder.layers.0.self_attn.q_proj.weight`, and its spelling
//! `pre_layrnorm`), so that safetensors of CLIP load by name. The stem is our addition: convolutions with batch
//! normalisation, which [`folded`] turns into plain convolutions with a bias for the ONNX graph.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor, nn, nn::Init, nn::ModuleT};

use crate::encoder_graph::LAYER_NORM_EPSILON;
use crate::recipe::{self, StemLayer};

/// Slope of CLIP's quick GELU, x * sigmoid(1.702 x).
const QUICK_GELU_SLOPE: f64 = 1.702;
/// Epsilon of the stem's batch normalisation.
const BATCH_NORM_EPSILON: f64 = 1e-5;

/// The vision transformer: normalised RGB [n, 3, S, S] -> last hidden state [n, tokens, d].
#[derive(Debug)]
pub struct Tower {
    patches: Patches,
    class: Tensor,
    positions: Tensor,
    pre_norm: nn::LayerNorm,
    blocks: Vec<Block>,
}

impl Tower {
    /// A tower of the recipe's shape with fresh weights, under `vision_model` of `root`.
    pub fn new(root: &nn::Path, shape: &recipe::Tower) -> Self {
        let model = root / "vision_model";
        let (d, layers) = (i64::from(shape.width), i64::from(shape.layers));
        let embeddings = &model / "embeddings";
        let patches = match shape.patch_px {
            Some(patch) => Patches::plain(&(&embeddings / "patch_embedding"), i64::from(patch), d),
            None => Patches::stem(&(&embeddings / "stem"), &shape.stem),
        };
        let small = Init::Randn { mean: 0.0, stdev: 0.02 };
        let encoder = &model / "encoder" / "layers";
        Tower {
            patches,
            class: embeddings.var("class_embedding", &[d], small),
            positions: (&embeddings / "position_embedding").var("weight", &[i64::from(shape.tokens()), d], small),
            pre_norm: layer_norm(&(&model / "pre_layrnorm"), d),
            blocks: (0..layers).map(|i| Block::new(&(&encoder / i), shape, layers)).collect(),
        }
    }

    /// The hidden state after the last block: [n, 3, S, S] -> [n, tokens, d]. `train` selects the statistics of the
    /// batch in the stem's normalisation.
    pub fn hidden(&self, pixels: &Tensor, train: bool) -> Tensor {
        let grid = self.patches.forward(pixels, train);
        let (n, d) = (grid.size()[0], grid.size()[1]);
        let tokens = grid.flatten(2, 3).transpose(1, 2);
        let class = self.class.expand([n, 1, d], false);
        let x = (Tensor::cat(&[class, tokens], 1) + &self.positions).apply(&self.pre_norm);
        self.blocks.iter().fold(x, |x, block| block.forward(&x))
    }

    /// Embeddings of views, the mean over all tokens: [n, 3, S, S] -> [n, d] (method section 3).
    pub fn embed(&self, pixels: &Tensor, train: bool) -> Tensor {
        self.hidden(pixels, train).mean_dim(Some(&[1i64][..]), false, Kind::Float)
    }
}

/// What turns pixels into the grid of tokens.
#[derive(Debug)]
enum Patches {
    Plain { weight: Tensor, patch: i64 },
    Stem(Vec<Stage>),
}

#[derive(Debug)]
enum Stage {
    Conv(NormedConv),
    Residual(NormedConv, NormedConv),
}

impl Patches {
    fn plain(path: &nn::Path, patch: i64, d: i64) -> Self {
        let weight = path.var("weight", &[d, 3, patch, patch], Init::Randn { mean: 0.0, stdev: 0.02 });
        Patches::Plain { weight, patch }
    }

    fn stem(path: &nn::Path, layers: &[StemLayer]) -> Self {
        let mut channels = 3;
        let stages = layers.iter().enumerate().map(|(i, layer)| {
            let path = path / i;
            let pad = i64::from(layer.pad());
            match *layer {
                StemLayer::Conv { out, kernel, stride } => {
                    let inputs = std::mem::replace(&mut channels, i64::from(out));
                    let (kernel, stride) = (i64::from(kernel), i64::from(stride));
                    Stage::Conv(NormedConv::new(&path, [channels, inputs, kernel, kernel], stride, pad, 1.0))
                }
                // The second gain starts at zero: a fresh residual block is the identity.
                StemLayer::Residual { .. } => Stage::Residual(
                    NormedConv::new(&(&path / "conv1"), [channels, channels, 3, 3], 1, pad, 1.0),
                    NormedConv::new(&(&path / "conv2"), [channels, channels, 3, 3], 1, pad, 0.0),
                ),
            }
        });
        Patches::Stem(stages.collect())
    }

    fn forward(&self, pixels: &Tensor, train: bool) -> Tensor {
        match self {
            Patches::Plain { weight, patch } => pixels.conv2d(weight, None::<&Tensor>, [*patch; 2], [0; 2], [1; 2], 1),
            Patches::Stem(stages) => stages.iter().fold(pixels.shallow_clone(), |x, stage| match stage {
                Stage::Conv(conv) => conv.forward(&x, train).relu(),
                Stage::Residual(first, second) => {
                    let inner = second.forward(&first.forward(&x, train).relu(), train);
                    (x + inner).relu()
                }
            }),
        }
    }
}

/// A convolution without bias, then batch normalisation.
#[derive(Debug)]
struct NormedConv {
    weight: Tensor,
    norm: nn::BatchNorm,
    stride: i64,
    pad: i64,
}

impl NormedConv {
    fn new(path: &nn::Path, shape: [i64; 4], stride: i64, pad: i64, gain: f64) -> Self {
        let inputs = shape[1] * shape[2] * shape[3];
        // He's initialisation, for the ReLU that follows.
        let weight = path.var("weight", &shape, Init::Randn { mean: 0.0, stdev: (2.0 / inputs as f64).sqrt() });
        let config = nn::BatchNormConfig {
            eps: BATCH_NORM_EPSILON,
            ws_init: Init::Const(gain),
            ..nn::BatchNormConfig::default()
        };
        NormedConv { weight, norm: nn::batch_norm2d(path / "norm", shape[0], config), stride, pad }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = x.conv2d(&self.weight, None::<&Tensor>, [self.stride; 2], [self.pad; 2], [1; 2], 1);
        self.norm.forward_t(&y, train)
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
}

impl Block {
    /// Deviations of the fresh weights as in CLIP: projections into the residual stream shrink with the depth.
    fn new(path: &nn::Path, shape: &recipe::Tower, layers: i64) -> Self {
        let d = i64::from(shape.width);
        let hidden = d * i64::from(shape.mlp_ratio);
        let (attention, mlp) = (path / "self_attn", path / "mlp");
        let (width, depth) = ((d as f64).sqrt().recip(), (2.0 * layers as f64).sqrt().recip());
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
            heads: i64::from(shape.heads),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x + self.attention(&x.apply(&self.norm1));
        // silu(s x) / s is the quick GELU of slope s in one pass; the factors go into the small weights.
        let inner = self.fc1.scaled(&x.apply(&self.norm2), QUICK_GELU_SLOPE).silu();
        let y = self.fc2.unscaled_input(&inner, QUICK_GELU_SLOPE);
        x + y
    }

    fn attention(&self, x: &Tensor) -> Tensor {
        let (n, tokens, d) = (x.size()[0], x.size()[1], x.size()[2]);
        let split = |linear: &Linear| linear.forward(x).view([n, tokens, self.heads, d / self.heads]).transpose(1, 2);
        let (q, k, v) = (split(&self.q), split(&self.k), split(&self.v));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, false);
        self.out.forward(&mixed.transpose(1, 2).reshape([n, tokens, d]))
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

    fn forward(&self, x: &Tensor) -> Tensor {
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

fn layer_norm(path: &nn::Path, d: i64) -> nn::LayerNorm {
    let config = nn::LayerNormConfig { eps: f64::from(LAYER_NORM_EPSILON), ..nn::LayerNormConfig::default() };
    nn::layer_norm(path, vec![d], config)
}

/// The variables with each batch normalisation folded into its convolution: `X.weight` is scaled, `X.bias` appears,
/// and `X.norm.*` is gone. Everything else is passed on.
pub fn folded(variables: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let mut plain = BTreeMap::new();
    for (name, tensor) in variables {
        let stem = name.strip_suffix(".weight");
        let of = |part: &str| stem.and_then(|stem| variables.get(&format!("{stem}.norm.{part}")));
        if let (Some(stem), Some(gain), Some(shift), Some(mean), Some(variance)) =
            (stem, of("weight"), of("bias"), of("running_mean"), of("running_var"))
        {
            let scale = gain / (variance + BATCH_NORM_EPSILON).sqrt();
            plain.insert(name.clone(), tensor * scale.view([-1, 1, 1, 1]));
            plain.insert(format!("{stem}.bias"), shift - mean * scale);
        } else if !name.contains(".norm.") {
            plain.insert(name.clone(), tensor.shallow_clone());
        }
    }
    plain
}
