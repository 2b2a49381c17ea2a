//! `config.json`, which Hugging Face keeps beside a model's weights: whether they are those that a recipe wants.
//!
//! Shapes of tensors tell most of it; heads and activation stand here alone.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::encoder_graph::LAYER_NORM_EPSILON;
use crate::recipe::{Activation, TextTower, Tower};
use crate::tokens::{CONTEXT, VOCABULARY};

/// The file's name.
pub const CONFIG: &str = "config.json";

/// A configuration is not that of the weights that the recipe wants.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is no configuration.
    #[error("{path} is no configuration of a model: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Another kind of model.
    #[error("{path} is of a model of type {found:?}; name weights of type \"clip\" or \"clip_vision_model\"")]
    NotClip {
        /// The file.
        path: PathBuf,
        /// Its `model_type`.
        found: String,
    },
    /// A setting differs from the recipe.
    #[error("{path}: {key} is {found}, the recipe's {recipe_key} asks for {expected}; change one of the two")]
    Differs {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: String,
        /// Its value.
        found: String,
        /// The recipe's key.
        recipe_key: &'static str,
        /// The value that would fit the recipe.
        expected: String,
    },
}

/// A setting with the value that it has where it is not written, the recipe's key, and the value the recipe asks for.
type Check = (&'static str, Value, &'static str, Value);

/// A configuration.
#[derive(Debug)]
pub struct ClipConfig {
    path: PathBuf,
    json: Value,
}

impl ClipConfig {
    /// Reads the configuration in a folder, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read or is not of a CLIP model.
    pub fn beside(folder: &Path) -> Result<Option<Self>, ConfigError> {
        let path = folder.join(CONFIG);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let json: Value = match serde_json::from_slice(&text) {
            Ok(json) => json,
            Err(e) => return Err(ConfigError::Damaged { path, message: e.to_string() }),
        };
        match json["model_type"].as_str() {
            Some("clip" | "clip_vision_model") => Ok(Some(ClipConfig { path, json })),
            Some(other) => Err(ConfigError::NotClip { found: other.to_owned(), path }),
            None => Err(ConfigError::Damaged { path, message: "it has no model_type".to_owned() }),
        }
    }

    /// Whether the vision tower is the recipe's.
    ///
    /// # Errors
    /// Names the first setting that differs.
    pub fn check_vision(&self, tower: &Tower) -> Result<(), ConfigError> {
        // A vision tower that was saved alone has its settings at the top.
        let nested = self.json["model_type"] == "clip";
        let patch = tower.patch_px.map_or(Value::Null, Value::from);
        self.check(
            if nested { Some("vision_config") } else { None },
            &[
                ("image_size", 224.into(), "tower.image_px", tower.image_px.into()),
                ("patch_size", 32.into(), "tower.patch_px", patch),
                ("hidden_size", 768.into(), "tower.width", tower.width.into()),
                ("num_hidden_layers", 12.into(), "tower.layers", tower.layers.into()),
                ("num_attention_heads", 12.into(), "tower.heads", tower.heads.into()),
                ("intermediate_size", 3072.into(), "tower.mlp_ratio", (tower.width * tower.mlp_ratio).into()),
                ("hidden_act", "quick_gelu".into(), "tower.activation", spelling(tower.activation).into()),
            ],
        )
    }

    /// Whether the text tower and the projections are the recipe's.
    ///
    /// # Errors
    /// Names the first setting that differs.
    pub fn check_text(&self, text: &TextTower) -> Result<(), ConfigError> {
        self.check(None, &[("projection_dim", 512.into(), "contrastive.text.projection", text.projection.into())])?;
        self.check(
            Some("text_config"),
            &[
                ("hidden_size", 512.into(), "contrastive.text.width", text.width.into()),
                ("num_hidden_layers", 12.into(), "contrastive.text.layers", text.layers.into()),
                ("num_attention_heads", 8.into(), "contrastive.text.heads", text.heads.into()),
                ("intermediate_size", 2048.into(), "contrastive.text.mlp_ratio", (text.width * text.mlp_ratio).into()),
                ("hidden_act", "quick_gelu".into(), "contrastive.text.activation", spelling(text.activation).into()),
                ("vocab_size", 49408.into(), "tokeniser", VOCABULARY.into()),
                ("max_position_embeddings", 77.into(), "tokeniser", CONTEXT.into()),
            ],
        )
    }

    fn check(&self, section: Option<&str>, checks: &[Check]) -> Result<(), ConfigError> {
        let settings = section.map_or(&self.json, |section| match &self.json[format!("{section}_dict")] {
            // Where older files have both, this one counts.
            older if older.is_object() => older,
            _ => &self.json[section],
        });
        let differs = |key: &str, found: &Value, recipe_key, expected: String| {
            let key = section.map_or(key.to_owned(), |section| format!("{section}.{key}"));
            Err(ConfigError::Differs { path: self.path.clone(), key, found: found.to_string(), recipe_key, expected })
        };
        // A setting that is not written has CLIP's usual value.
        for (key, usual, recipe_key, expected) in checks {
            let found = settings.get(key).unwrap_or(usual);
            if found != expected {
                return differs(key, found, recipe_key, expected.to_string());
            }
        }
        let epsilon = settings.get("layer_norm_eps").and_then(Value::as_f64);
        if let Some(found) = epsilon.filter(|eps| (eps / f64::from(LAYER_NORM_EPSILON) - 1.0).abs() > 1e-3) {
            return differs("layer_norm_eps", &found.into(), "tower", "0.00001".to_owned());
        }
        Ok(())
    }
}

/// Hugging Face's name of an activation.
fn spelling(activation: Activation) -> &'static str {
    match activation {
        Activation::QuickGelu => "quick_gelu",
        Activation::Gelu => "gelu",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recipe::Preset;

    fn config(json: &Value) -> Result<Option<ClipConfig>, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG), json.to_string()).unwrap();
        ClipConfig::beside(dir.path())
    }

    fn clip(vision: Value, text: Value) -> ClipConfig {
        config(&json!({"model_type": "clip", "projection_dim": 512, "vision_config": vision, "text_config": text}))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn what_is_not_written_is_as_in_vit_b_32() {
        let (tower, text) = (Preset::VitB32.tower(), Preset::VitB32.text());
        let bare = clip(json!({}), json!({}));
        assert!(bare.check_vision(&tower).is_ok() && bare.check_text(&text).is_ok());
        let large = clip(
            json!({"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "layer_norm_eps": 1e-5,
                   "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "hidden_act": "quick_gelu"}),
            json!({}),
        );
        assert!(large.check_vision(&Preset::VitL14At336.tower()).is_ok());
        assert!(large.check_vision(&tower).unwrap_err().to_string().contains("vision_config.image_size is 336"));
        let alone = config(&json!({"model_type": "clip_vision_model", "patch_size": 16})).unwrap().unwrap();
        assert!(alone.check_vision(&Preset::VitB16.tower()).is_ok());
        let error = alone.check_vision(&tower).unwrap_err().to_string();
        assert!(error.contains("patch_size is 16, the recipe's tower.patch_px asks for 32"), "{error}");
    }

    #[test]
    fn settings_that_no_tensor_shows_are_compared() {
        let (tower, text) = (Preset::VitB32.tower(), Preset::VitB32.text());
        for (vision, expected) in [
            (
                json!({"hidden_act": "gelu"}),
                "hidden_act is \"gelu\", the recipe's tower.activation asks for \"quick_gelu\"",
            ),
            (json!({"num_attention_heads": 16}), "num_attention_heads is 16, the recipe's tower.heads asks for 12"),
            (json!({"layer_norm_eps": 1e-6}), "layer_norm_eps is"),
        ] {
            let error = clip(vision, json!({})).check_vision(&tower).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("config.json"), "{error}");
        }
        let mut gelu = tower.clone();
        gelu.activation = Activation::Gelu;
        assert!(clip(json!({"hidden_act": "gelu"}), json!({})).check_vision(&gelu).is_ok());
        for wrong in [json!({"hidden_act": "gelu"}), json!({"vocab_size": 32000}), json!({"num_attention_heads": 12})] {
            assert!(clip(json!({}), wrong).check_text(&text).unwrap_err().to_string().contains("text_config."));
        }
        // A stem is none of CLIP's.
        let mut stem = tower;
        stem.patch_px = None;
        assert!(clip(json!({}), json!({})).check_vision(&stem).is_err());
    }

    #[test]
    fn other_models_and_broken_files_are_refused() {
        assert!(ClipConfig::beside(tempfile::tempdir().unwrap().path()).unwrap().is_none());
        let error = config(&json!({"model_type": "siglip"})).unwrap_err().to_string();
        assert!(error.contains("of a model of type \"siglip\""), "{error}");
        assert!(config(&json!([1])).unwrap_err().to_string().contains("no model_type"));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG), "{").unwrap();
        assert!(ClipConfig::beside(dir.path()).unwrap_err().to_string().contains("no configuration"));
    }
}
