//! The encoder's shape, and the weights that it starts from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Wrong;
use super::preset::Preset;

/// The encoder: CLIP's vision transformer, on patches or on a convolutional stem.
///
/// In a recipe, `preset` names one of CLIP's towers in place of all keys that give the shape.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Tower {
    /// Side of the square input image in pixels.
    pub image_px: u32,
    /// Side of a patch in pixels: CLIP's own embedding, one convolution without bias. Excludes `stem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_px: Option<u32>,
    /// A convolutional stem in place of patches; its last layer has `width` channels. Excludes `patch_px`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stem: Vec<StemLayer>,
    /// Width d of a token, and of the embedding.
    pub width: u32,
    /// Number of transformer blocks.
    pub layers: u32,
    /// Attention heads of a block; divides `width`.
    pub heads: u32,
    /// Width of the hidden layer of a block's MLP, in units of `width`.
    pub mlp_ratio: u32,
    /// What stands between the two layers of a block's MLP.
    #[serde(default, skip_serializing_if = "Activation::is_default")]
    pub activation: Activation,
    /// Weights to start from, relative to the recipe's folder: CLIP's, as a safetensors file or a folder as Hugging Face
    /// keeps them, or a bundle of this trainer's. Without, the tower starts from chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

/// Keys that are not set are left out: this text is in the fingerprint of a training run, which must outlive new keys.
impl fmt::Debug for Tower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Tower");
        text.field("image_px", &self.image_px)
            .field("patch_px", &self.patch_px)
            .field("stem", &self.stem)
            .field("width", &self.width)
            .field("layers", &self.layers)
            .field("heads", &self.heads)
            .field("mlp_ratio", &self.mlp_ratio);
        if !self.activation.is_default() {
            text.field("activation", &self.activation);
        }
        if let Some(weights) = &self.weights {
            text.field("weights", weights);
        }
        text.finish()
    }
}

/// `[tower]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    preset: Option<Preset>,
    image_px: Option<u32>,
    patch_px: Option<u32>,
    stem: Option<Vec<StemLayer>>,
    width: Option<u32>,
    layers: Option<u32>,
    heads: Option<u32>,
    mlp_ratio: Option<u32>,
    activation: Option<Activation>,
    weights: Option<PathBuf>,
}

impl TryFrom<Keys> for Tower {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let numbers = [
            ("image_px", keys.image_px),
            ("width", keys.width),
            ("layers", keys.layers),
            ("heads", keys.heads),
            ("mlp_ratio", keys.mlp_ratio),
        ];
        let mut tower = if let Some(preset) = keys.preset {
            let given = numbers.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| *key);
            let given = given
                .chain(keys.patch_px.is_some().then_some("patch_px"))
                .chain(keys.stem.is_some().then_some("stem"))
                .next();
            match given {
                Some(key) => return Err(format!("preset says what {key} is: leave out one of the two")),
                None => preset.tower(),
            }
        } else {
            if let Some((key, _)) = numbers.iter().find(|(_, value)| value.is_none()) {
                return Err(format!("missing field `{key}`"));
            }
            let [image_px, width, layers, heads, mlp_ratio] = numbers.map(|(_, value)| value.unwrap_or_default());
            let (patch_px, stem) = (keys.patch_px, keys.stem.unwrap_or_default());
            let activation = Activation::default();
            Tower { image_px, patch_px, stem, width, layers, heads, mlp_ratio, activation, weights: None }
        };
        tower.activation = keys.activation.unwrap_or(tower.activation);
        tower.weights = keys.weights;
        Ok(tower)
    }
}

/// What stands between the two layers of a block's MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `"quick-gelu"`: x * sigmoid(1.702 x), of OpenAI's CLIP.
    #[default]
    QuickGelu,
    /// `"gelu"`: x * (1 + erf(x / sqrt 2)) / 2, of most of OpenCLIP's models.
    Gelu,
}

impl Activation {
    /// Whether this is what a recipe means that does not say it.
    pub fn is_default(&self) -> bool {
        *self == Activation::default()
    }
}

/// One layer of a convolutional stem. A ReLU follows each convolution, and the sum of each residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum StemLayer {
    /// `{ conv = { out = 64, kernel = 3, stride = 2 } }`: a convolution with bias, then ReLU.
    Conv {
        /// Output channels.
        out: u32,
        /// Side of the square kernel in pixels, at least `stride`.
        kernel: u32,
        /// Step in pixels; divides the side of its input.
        stride: u32,
    },
    /// `{ residual = { channels = 64 } }`: relu(x + conv3x3(relu(conv3x3(x)))), with biases.
    Residual {
        /// Channels, which are those of the layer before.
        channels: u32,
    },
}

impl StemLayer {
    /// Zero padding on each side such that the output's side is the input's divided by the stride.
    pub fn pad(self) -> u32 {
        match self {
            StemLayer::Conv { kernel, stride, .. } => (kernel - stride).div_ceil(2),
            StemLayer::Residual { .. } => 1,
        }
    }
}

impl Tower {
    /// Tokens on one side of the image.
    pub fn grid(&self) -> u32 {
        let by_stem = |side, layer: &StemLayer| match layer {
            StemLayer::Conv { stride, .. } => side / stride,
            StemLayer::Residual { .. } => side,
        };
        match self.patch_px {
            Some(patch) => self.image_px / patch,
            None => self.stem.iter().fold(self.image_px, by_stem),
        }
    }

    /// Number of tokens: the class token and one for each place of the grid.
    pub fn tokens(&self) -> u32 {
        self.grid() * self.grid() + 1
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        let wrong = |key, why: String| Err(Wrong { key, why });
        if !(16..=1024).contains(&self.image_px) {
            return wrong("tower.image_px", format!("{} is not 16..=1024", self.image_px));
        }
        if !(8..=2048).contains(&self.width) {
            return wrong("tower.width", format!("{} is not 8..=2048", self.width));
        }
        if !(1..=64).contains(&self.layers) {
            return wrong("tower.layers", format!("{} is not 1..=64", self.layers));
        }
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) {
            return wrong("tower.heads", format!("{} does not divide the width {}", self.heads, self.width));
        }
        if !(1..=8).contains(&self.mlp_ratio) {
            return wrong("tower.mlp_ratio", format!("{} is not 1..=8", self.mlp_ratio));
        }
        match (self.patch_px, self.stem.is_empty()) {
            (Some(0), true) => wrong("tower.patch_px", "0 is not a size".into()),
            (Some(patch), true) if !self.image_px.is_multiple_of(patch) => {
                wrong("tower.patch_px", format!("{patch} does not divide image_px {}", self.image_px))
            }
            (Some(_), true) => Ok(()),
            (None, false) => self.check_stem(),
            _ => wrong("tower.stem", "give either stem or patch_px".into()),
        }
    }

    fn check_stem(&self) -> Result<(), Wrong> {
        let wrong = |why: String| Err(Wrong { key: "tower.stem", why });
        let (mut side, mut channels) = (self.image_px, 3);
        for (i, layer) in self.stem.iter().enumerate() {
            match *layer {
                StemLayer::Conv { out, kernel, stride } => {
                    if out == 0 || stride == 0 || kernel < stride || kernel > 32 {
                        return wrong(format!("layer {i} needs out > 0, stride > 0 and kernel stride..=32"));
                    }
                    if !side.is_multiple_of(stride) {
                        return wrong(format!("layer {i}: stride {stride} does not divide its input of {side} px"));
                    }
                    (side, channels) = (side / stride, out);
                }
                StemLayer::Residual { channels: own } if own != channels => {
                    return wrong(format!("layer {i} has {own} channels, the layer before gives {channels}"));
                }
                StemLayer::Residual { .. } if i == 0 => return wrong("the first layer must be a conv".into()),
                StemLayer::Residual { .. } => {}
            }
        }
        if channels != self.width {
            return wrong(format!("the last layer gives {channels} channels, the tower's width is {}", self.width));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../recipes/shipped.toml");

    #[test]
    fn a_stem_must_fit_the_tower() {
        let mut tower = crate::recipe::Recipe::parse(SHIPPED, "shipped.toml".as_ref()).unwrap().tower;
        tower.stem.push(StemLayer::Residual { channels: tower.width });
        assert!(tower.check().is_ok());
        tower.stem.push(StemLayer::Residual { channels: tower.width + 1 });
        assert!(tower.check().is_err_and(|w| w.why.contains("the layer before gives")));
        tower.stem.clear();
        assert!(tower.check().is_err());
        (tower.image_px, tower.patch_px) = (336, Some(14));
        assert!(tower.check().is_ok() && tower.tokens() == 577);
        assert_eq!(StemLayer::Conv { out: 1, kernel: 6, stride: 4 }.pad(), 1);
        assert_eq!(StemLayer::Conv { out: 1, kernel: 3, stride: 2 }.pad(), 1);
        assert_eq!(StemLayer::Conv { out: 1, kernel: 4, stride: 4 }.pad(), 0);
    }

    #[test]
    fn a_tower_without_the_newer_keys_reads_as_it_always_did() {
        let tower: Tower =
            toml::from_str("image_px = 32\npatch_px = 8\nwidth = 64\nlayers = 2\nheads = 2\nmlp_ratio = 4").unwrap();
        let text = "Tower { image_px: 32, patch_px: Some(8), stem: [], width: 64, layers: 2, heads: 2, mlp_ratio: 4 }";
        assert_eq!(format!("{tower:?}"), text, "checkpoints of earlier runs would not resume");
        let other = Tower { activation: Activation::Gelu, weights: Some("clip".into()), ..tower };
        assert_eq!(
            format!("{other:?}"),
            text.replace(" }", ", activation: Gelu, weights: \"clip\" }"),
            "other towers have other fingerprints"
        );
        assert_eq!(toml::from_str::<Tower>(&toml::to_string(&other).unwrap()).unwrap(), other);
    }

    #[test]
    fn a_preset_takes_the_place_of_the_shape() {
        let tower: Tower = toml::from_str("preset = \"vit-b-32\"\nactivation = \"gelu\"\nweights = \"w\"").unwrap();
        let expected = Tower { activation: Activation::Gelu, weights: Some("w".into()), ..Preset::VitB32.tower() };
        assert_eq!(tower, expected);
        let error = |text: &str| toml::from_str::<Tower>(text).unwrap_err().to_string();
        assert!(error("preset = \"vit-b-32\"\nwidth = 64").contains("preset says what width is"));
        assert!(error("preset = \"vit-b-32\"\nstem = []").contains("preset says what stem is"));
        assert!(error("preset = \"vit-h-14\"").contains("unknown variant `vit-h-14`"));
        assert!(error("image_px = 32\nlayers = 1").contains("missing field `width`"));
        assert!(error("preset = \"tiny\"\nweight = \"w\"").contains("unknown field `weight`"));
    }
}
