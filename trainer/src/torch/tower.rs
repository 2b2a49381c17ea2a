//! CLIP's vision transformer in libtorch, on patches or on a convolutional stem.
//!
//! Variables carry Hugging Face's names (`vision_model.encoder.layers.0.self_attn.q_proj.weight`, and its spelling
//! `pre_layrnorm`), so that safetensors of CLIP load by name. The stem is our addition: convolutions with batch
//! normalisation, which [`folded`] turns into plain convolutions with a bias for the ONNX graph.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use tch::{Kind, Tensor, nn, nn::Init, nn::ModuleT};

use crate::recipe::{self, StemLayer};

use super::rounding;
use super::transformer::{Blocks, Products, Shape, layer_norm};

/// Epsilon of the stem's batch normalisation.
const BATCH_NORM_EPSILON: f64 = 1e-5;

/// The vision transformer: normalised RGB [n, 3, S, S] -> last hidden state [n, tokens, d].
#[derive(Debug)]
pub struct Tower {
    patches: Patches,
    class: Tensor,
    positions: Tensor,
    pre_norm: nn::LayerNorm,
    blocks: Blocks,
    /// What the stem computes in.
    stem_kind: Kind,
}

impl Tower {
    /// A tower of the recipe's shape with fresh weights, under `vision_model` of `root`.
    pub fn new(root: &nn::Path, shape: &recipe::Tower) -> Self {
        let model = root / "vision_model";
        let d = i64::from(shape.width);
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
            blocks: Blocks::new(&encoder, &Shape::from(shape)),
            stem_kind: Kind::Float,
        }
    }

    /// From now on linear layers compute like this, and convolutions: of their weights those behind the first are rounded in
    /// the int8 graph, and nothing else.
    pub fn compute(&mut self, products: Products) {
        self.stem_kind = if products == Products::Bfloat16 { Kind::BFloat16 } else { Kind::Float };
        self.patches.round(products == Products::Int8);
        self.blocks.compute(products);
    }

    /// The name under which the variables of the last block lie.
    pub fn last_block(&self) -> String {
        format!("vision_model.encoder.layers.{}", self.blocks.depth().saturating_sub(1))
    }

    /// Takes over a stem's convolutions with their biases, `vision_model.embeddings.stem.*` as [`folded`] gives them:
    /// normalisation with the statistics of these pictures (normalised, [n, 3, S, S]) then changes nothing.
    ///
    /// # Errors
    /// When a weight is missing or has another shape.
    pub fn unfold(&self, pixels: &Tensor, weights: &BTreeMap<String, Tensor>) -> anyhow::Result<()> {
        let Patches::Stem(stages) = &self.patches else { return Ok(()) };
        let of = |name: String| weights.get(&name).with_context(|| format!("there is no {name}"));
        let conv = |conv: &NormedConv, x: &Tensor, name: &str| {
            let name = format!("vision_model.embeddings.stem.{name}");
            conv.unfold(x, of(format!("{name}.weight"))?, of(format!("{name}.bias"))?)
        };
        let mut x = pixels.shallow_clone();
        for (i, stage) in stages.iter().enumerate() {
            x = match stage {
                Stage::Conv(only) => conv(only, &x, &i.to_string())?.relu(),
                Stage::Residual(first, second) => {
                    let inner = conv(first, &x, &format!("{i}.conv1"))?.relu();
                    (conv(second, &inner, &format!("{i}.conv2"))? + x).relu()
                }
            };
        }
        Ok(())
    }

    /// The hidden state after the last block: [n, 3, S, S] -> [n, tokens, d]. `train` selects the statistics of the
    /// batch in the stem's normalisation.
    pub fn hidden(&self, pixels: &Tensor, train: bool) -> Tensor {
        let grid = self.patches.forward(&pixels.to_kind(self.stem_kind), train).to_kind(Kind::Float);
        let (n, d) = (grid.size()[0], grid.size()[1]);
        let tokens = grid.flatten(2, 3).transpose(1, 2);
        let class = self.class.expand([n, 1, d], false);
        let x = (Tensor::cat(&[class, tokens], 1) + &self.positions).apply(&self.pre_norm);
        self.blocks.forward(x)
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

    /// Whether weights behind the first convolution are rounded, which sees the picture itself.
    fn round(&mut self, rounded: bool) {
        let Patches::Stem(stages) = self else { return };
        for stage in stages.iter_mut().skip(1) {
            match stage {
                Stage::Conv(conv) => conv.rounded = rounded,
                Stage::Residual(first, second) => (first.rounded, second.rounded) = (rounded, rounded),
            }
        }
    }

    /// In the kind of the pixels.
    fn forward(&self, pixels: &Tensor, train: bool) -> Tensor {
        match self {
            Patches::Plain { weight, patch } => {
                pixels.conv2d(&weight.to_kind(pixels.kind()), None::<&Tensor>, [*patch; 2], [0; 2], [1; 2], 1)
            }
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
    rounded: bool,
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
        NormedConv { weight, norm: nn::batch_norm2d(path / "norm", shape[0], config), stride, pad, rounded: false }
    }

    /// Takes over a convolution with its bias, and gives what it makes of `x`, which the normalisation leaves as it is.
    fn unfold(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> anyhow::Result<Tensor> {
        ensure!(
            weight.size() == self.weight.size() && bias.size() == [self.weight.size()[0]],
            "a convolution has shape {:?}, the recipe's {:?}",
            weight.size(),
            self.weight.size()
        );
        tch::no_grad(|| {
            let bias = bias.to_device(x.device());
            self.weight.shallow_clone().copy_(weight);
            let y = x.conv2d(&self.weight, None::<&Tensor>, [self.stride; 2], [self.pad; 2], [1; 2], 1);
            let over = &[0i64, 2, 3][..];
            let (mean, variance) = (y.mean_dim(over, false, Kind::Float), y.var_dim(over, false, false));
            let norm = &self.norm;
            norm.running_mean.shallow_clone().copy_(&mean);
            norm.running_var.shallow_clone().copy_(&variance);
            if let (Some(gain), Some(shift)) = (&norm.ws, &norm.bs) {
                gain.shallow_clone().copy_(&(variance + BATCH_NORM_EPSILON).sqrt());
                shift.shallow_clone().copy_(&(mean + &bias));
            }
            Ok(y + bias.view([1, -1, 1, 1]))
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        // The normalisation behind it multiplies whole outputs: what is rounded before is rounded as after.
        let own = || rounding::weight(&self.weight.flatten(1, -1)).view_as(&self.weight);
        let weight = if self.rounded { own() } else { self.weight.shallow_clone() };
        let y = x.conv2d(&weight.to_kind(x.kind()), None::<&Tensor>, [self.stride; 2], [self.pad; 2], [1; 2], 1);
        self.norm.forward_t(&y, train)
    }
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
