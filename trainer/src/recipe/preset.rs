//! Towers that have a name: CLIP's, in its own layout.

use serde::{Deserialize, Serialize};

use super::{Activation, TextTower, Tower};

/// A pair of towers by name. The published ones use quick GELU in OpenAI's weights, exact GELU in most others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `"tiny"`: CLIP's layout on 64 pixels, small enough for a processor.
    Tiny,
    /// `"vit-b-32"`: ViT-B/32 on 224 pixels.
    #[serde(rename = "vit-b-32")]
    VitB32,
    /// `"vit-b-16"`: ViT-B/16 on 224 pixels.
    #[serde(rename = "vit-b-16")]
    VitB16,
    /// `"vit-l-14-336"`: ViT-L/14 on 336 pixels, PIGEON's.
    #[serde(rename = "vit-l-14-336")]
    VitL14At336,
}

impl Preset {
    /// The vision tower.
    pub fn tower(self) -> Tower {
        let (image_px, patch_px, width, layers, heads) = match self {
            Preset::Tiny => (64, 16, 192, 4, 3),
            Preset::VitB32 => (224, 32, 768, 12, 12),
            Preset::VitB16 => (224, 16, 768, 12, 12),
            Preset::VitL14At336 => (336, 14, 1024, 24, 16),
        };
        Tower {
            image_px,
            patch_px: Some(patch_px),
            stem: Vec::new(),
            width,
            layers,
            heads,
            mlp_ratio: 4,
            activation: Activation::QuickGelu,
            weights: None,
        }
    }

    /// The text tower beside it.
    pub fn text(self) -> TextTower {
        let (width, layers, heads, projection) = match self {
            Preset::Tiny => (128, 4, 2, 128),
            Preset::VitB32 | Preset::VitB16 => (512, 12, 8, 512),
            Preset::VitL14At336 => (768, 12, 12, 768),
        };
        TextTower { width, layers, heads, mlp_ratio: 4, activation: Activation::QuickGelu, projection }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_towers() {
        for (name, preset, tokens) in [
            ("tiny", Preset::Tiny, 17),
            ("vit-b-32", Preset::VitB32, 50),
            ("vit-b-16", Preset::VitB16, 197),
            ("vit-l-14-336", Preset::VitL14At336, 577),
        ] {
            assert!(preset.tower().check().is_ok() && preset.text().check().is_ok());
            assert_eq!(preset.tower().tokens(), tokens);
            let tower: Tower = toml::from_str(&format!("preset = \"{name}\"")).unwrap();
            assert_eq!(tower, preset.tower());
        }
    }
}
