//! The shape of the text transformer, which only contrastive pretraining needs.

use serde::{Deserialize, Serialize};

use super::Activation;

/// CLIP's text transformer over captions of up to 77 tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTower {
    /// Width of a token.
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
    /// Width of the space in which images and captions meet.
    pub projection: u32,
}

impl TextTower {
    /// Whether the shape can be built.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let sizes = [("width", self.width), ("projection", self.projection)];
        if let Some((key, size)) = sizes.into_iter().find(|(_, size)| !(8..=2048).contains(size)) {
            return Err((key, format!("{size} is not 8..=2048")));
        }
        if !(1..=64).contains(&self.layers) {
            return Err(("layers", format!("{} is not 1..=64", self.layers)));
        }
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) {
            return Err(("heads", format!("{} does not divide the width {}", self.heads, self.width)));
        }
        if !(1..=8).contains(&self.mlp_ratio) {
            return Err(("mlp_ratio", format!("{} is not 1..=8", self.mlp_ratio)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;

    #[test]
    fn a_shape_that_cannot_be_built_is_named() {
        let good = Preset::Tiny.text();
        assert_eq!(good.check(), Ok(()));
        let fault = |change: &dyn Fn(&mut TextTower)| {
            let mut text = good.clone();
            change(&mut text);
            text.check().unwrap_err().0
        };
        assert_eq!(fault(&|t| t.heads = 7), "heads");
        assert_eq!(fault(&|t| t.heads = 0), "heads");
        assert_eq!(fault(&|t| t.projection = 4), "projection");
        assert_eq!(fault(&|t| t.layers = 65), "layers");
        assert_eq!(fault(&|t| t.mlp_ratio = 0), "mlp_ratio");
    }
}
