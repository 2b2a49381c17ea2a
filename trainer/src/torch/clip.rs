//! The whole of CLIP in libtorch: pictures and captions into one space, where those that belong together are near.

use tch::{Device, Tensor, nn, nn::Init};

use crate::recipe;

use super::network::seeded;
use super::text::TextTower;
use super::tower::Tower;
use super::transformer::{Products, layer_norm};

/// CLIP's start of the logarithm of the factor on cosines, ln(1 / 0.07).
const LOGIT_SCALE: f64 = 2.659_26;

/// Both towers and what joins them. All variables have Hugging Face's names; the vision tower's are those of a
/// [`Network`](super::network::Network), which can start from them.
#[derive(Debug)]
pub struct Clip {
    /// All variables, by name.
    pub variables: nn::VarStore,
    /// The vision tower.
    pub vision: Tower,
    /// The text tower.
    pub text: TextTower,
    post_norm: nn::LayerNorm,
    visual_projection: Tensor,
    text_projection: Tensor,
    /// Logarithm of the factor on cosines, one number; training should keep it at ln 100 or less.
    pub logit_scale: Tensor,
}

impl Clip {
    /// A model with fresh weights that depend on `seed` alone.
    pub fn new(vision: &recipe::Tower, text: &recipe::TextTower, seed: u64, device: Device) -> Self {
        // Drawn on the processor, so that every device starts from the same weights.
        let mut variables = nn::VarStore::new(Device::Cpu);
        let root = variables.root();
        let projection = |name: &str, width: u32| {
            let (width, space) = (i64::from(width), i64::from(text.projection));
            let stdev = (width as f64).sqrt().recip();
            (&root / name).var("weight", &[space, width], Init::Randn { mean: 0.0, stdev })
        };
        let post_norm = layer_norm(&(&root / "vision_model" / "post_layernorm"), i64::from(vision.width));
        let logit_scale = root.var("logit_scale", &[], Init::Const(LOGIT_SCALE));
        let (vision, text, visual_projection, text_projection) = seeded(seed, || {
            let towers = (Tower::new(&root, vision), TextTower::new(&root, text));
            let visual_projection = projection("visual_projection", vision.width);
            (towers.0, towers.1, visual_projection, projection("text_projection", text.width))
        });
        variables.set_device(device);
        Clip { variables, vision, text, post_norm, visual_projection, text_projection, logit_scale }
    }

    /// From now on both towers' linear layers compute like this.
    pub fn compute(&mut self, products: Products) {
        self.vision.compute(products);
        self.text.compute(products);
    }

    /// Pictures in the common space: normalised RGB [n, 3, S, S] -> [n, projection], of any length. `train` is as in
    /// [`Tower::hidden`].
    pub fn image_features(&self, pixels: &Tensor, train: bool) -> Tensor {
        let class = self.vision.hidden(pixels, train).select(1, 0);
        class.apply(&self.post_norm).linear(&self.visual_projection, None::<&Tensor>)
    }

    /// Captions in the common space: tokens [n, length] as in [`TextTower::pooled`] -> [n, projection], of any length.
    pub fn text_features(&self, tokens: &Tensor) -> Tensor {
        self.text.pooled(tokens).linear(&self.text_projection, None::<&Tensor>)
    }

    /// How well pictures and captions fit: features [images, projection] and [captions, projection] -> their cosines
    /// times the learnt factor, [images, captions].
    pub fn logits(&self, images: &Tensor, captions: &Tensor) -> Tensor {
        unit(images).matmul(&unit(captions).tr()) * self.logit_scale.exp()
    }
}

/// Rows of length 1.
fn unit(rows: &Tensor) -> Tensor {
    rows / rows.norm_scalaropt_dim(2, [1], true)
}
