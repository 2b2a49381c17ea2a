//! The encoder's shape.

use serde::{Deserialize, Serialize};

use super::Wrong;

/// The encoder: CLIP's vision transformer, on patches or on a convolutional stem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
}
