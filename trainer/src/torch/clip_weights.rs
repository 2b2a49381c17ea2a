//! CLIP's weights as Hugging Face keeps them, into variables of the same names.
//!
//! A file, a folder with `model.safetensors`, or one with `model.safetensors.index.json` and the files it names. Tensors
//! that no variable asks for (the constant `position_ids`, the text tower for a vision tower) are not read.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Kind, TchError, Tensor, nn};

use crate::clip_config::{ClipConfig, ConfigError};
use crate::recipe::{TextTower, Tower};
use crate::safetensors::{SafetensorsError, TensorFile};

/// The file in a folder with a small model.
const MODEL: &str = "model.safetensors";
/// The file in a folder with a large model, which says what is in which file.
const INDEX: &str = "model.safetensors.index.json";
/// The variable whose length depends on the size of the image.
const POSITIONS: &str = "vision_model.embeddings.position_embedding.weight";
/// A variable of the text tower, which files with the vision tower alone do not have.
const TEXT: &str = "text_model.embeddings.token_embedding.weight";

/// Weights cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// There is nothing of this name.
    #[error("{0}: there is no such file or folder; name a safetensors file or a folder with {MODEL}")]
    Absent(PathBuf),
    /// A folder without a model.
    #[error("the folder {0} has neither {MODEL} nor {INDEX}; save the model as safetensors")]
    NoModel(PathBuf),
    /// The index cannot be read.
    #[error("{path} is no index of safetensors files: {message}")]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file of the index is missing.
    #[error("{index} names {shard}, which is not there; copy or download the folder again")]
    Shard {
        /// The index.
        index: PathBuf,
        /// The missing file.
        shard: String,
    },
    /// A variable has no tensor.
    #[error("{path} has no {name}, of shape {expected:?}; is it a model of the recipe's tower?")]
    Missing {
        /// The file or index.
        path: PathBuf,
        /// The variable.
        name: String,
        /// Its shape.
        expected: Vec<i64>,
    },
    /// A tensor has another shape than its variable.
    #[error("{name} in {path} has shape {found:?}, the recipe's tower needs {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
        /// The variable's shape.
        expected: Vec<i64>,
    },
    /// The tower was trained on images of another size.
    #[error(
        "{name} in {path} is for images of {found_px} px, the recipe's tower.image_px is {expected_px}; \
         take weights for {expected_px} px or set image_px to {found_px}",
        name = POSITIONS
    )]
    ImageSize {
        /// The file.
        path: PathBuf,
        /// Side of the images it is for, in pixels.
        found_px: u32,
        /// Side of the recipe's images, in pixels.
        expected_px: u32,
    },
    /// A tensor's values are of a type that weights do not have.
    #[error("{name} in {path} is of type {dtype}; weights are F32, F16 or BF16")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A tensor holds NaN or an infinity.
    #[error("{name} in {path} is not finite; copy or download it again")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] SafetensorsError),
    /// The configuration beside the weights is another.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// libtorch refuses a tensor.
    #[error("{name} in {path}: {source}")]
    Torch {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What libtorch said.
        source: TchError,
    },
}

/// Loads the variables of a vision tower, those under `vision_model`, from a file or folder. Others keep their values.
///
/// # Errors
/// What is missing or does not fit, with the file; some variables may then have been loaded.
pub fn load_vision(variables: &nn::VarStore, tower: &Tower, path: &Path) -> Result<(), WeightsError> {
    let model = Model::open(path)?;
    if let Some(config) = ClipConfig::beside(&model.folder)? {
        config.check_vision(tower)?;
    }
    let wanted = variables.variables().into_iter().filter(|(name, _)| name.starts_with("vision_model."));
    model.load(wanted, tower)
}

/// Loads all variables of a [`Clip`](super::clip::Clip) from a file or folder.
///
/// # Errors
/// As [`load_vision`].
pub fn load_clip(variables: &nn::VarStore, tower: &Tower, text: &TextTower, path: &Path) -> Result<(), WeightsError> {
    let model = Model::open(path)?;
    if let Some(config) = ClipConfig::beside(&model.folder)? {
        config.check_vision(tower)?;
        config.check_text(text)?;
    }
    model.load(variables.variables().into_iter(), tower)
}

/// Loads what a file or folder has of a [`Clip`](super::clip::Clip): both towers and what joins them, or the vision
/// tower where there is no other.
///
/// # Errors
/// As [`load_vision`].
pub fn load_known(variables: &nn::VarStore, tower: &Tower, text: &TextTower, path: &Path) -> Result<(), WeightsError> {
    if Model::open(path)?.has(TEXT)? {
        load_clip(variables, tower, text, path)
    } else {
        load_vision(variables, tower, path)
    }
}

/// Where the tensors of a model are.
struct Model {
    /// The file or index, for messages.
    path: PathBuf,
    folder: PathBuf,
    /// From an index: file by tensor. Else everything is in `path`.
    shards: Option<HashMap<String, String>>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Model {
    fn open(path: &Path) -> Result<Self, WeightsError> {
        let (path, folder) = if path.is_dir() {
            let file = [MODEL, INDEX].map(|name| path.join(name)).into_iter().find(|file| file.is_file());
            (file.ok_or_else(|| WeightsError::NoModel(path.to_owned()))?, path.to_owned())
        } else if path.is_file() {
            (path.to_owned(), path.parent().unwrap_or(Path::new("")).to_owned())
        } else {
            return Err(WeightsError::Absent(path.to_owned()));
        };
        let shards = if path.extension().is_some_and(|e| e == "json") { Some(read_index(&path)?) } else { None };
        Ok(Model { path, folder, shards })
    }

    fn has(&self, name: &str) -> Result<bool, WeightsError> {
        match &self.shards {
            None => Ok(TensorFile::open(&self.path)?.entries().contains_key(name)),
            Some(shards) => Ok(shards.contains_key(name)),
        }
    }

    /// Fills the variables, one file after the other.
    fn load(&self, wanted: impl Iterator<Item = (String, Tensor)>, tower: &Tower) -> Result<(), WeightsError> {
        let mut by_file: BTreeMap<PathBuf, BTreeMap<String, Tensor>> = BTreeMap::new();
        for (name, variable) in wanted {
            let file = match &self.shards {
                None => self.path.clone(),
                Some(shards) => match shards.get(&name) {
                    Some(shard) => self.shard(shard)?,
                    None => return Err(missing(&self.path, name, &variable)),
                },
            };
            by_file.entry(file).or_default().insert(name, variable);
        }
        for (path, variables) in by_file {
            let mut file = TensorFile::open(&path)?;
            for (name, variable) in variables {
                fill(&mut file, name, variable, tower)?;
            }
        }
        Ok(())
    }

    /// A file of the index, which lies beside it.
    fn shard(&self, shard: &str) -> Result<PathBuf, WeightsError> {
        let path = self.folder.join(shard);
        let beside = Path::new(shard).file_name().is_some_and(|name| name == shard);
        if beside && path.is_file() {
            Ok(path)
        } else {
            Err(WeightsError::Shard { index: self.path.clone(), shard: shard.to_owned() })
        }
    }
}

fn read_index(path: &Path) -> Result<HashMap<String, String>, WeightsError> {
    let text = std::fs::read(path).map_err(|source| SafetensorsError::Read { path: path.to_owned(), source })?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|e| WeightsError::Index { path: path.to_owned(), message: e.to_string() })?;
    Ok(index.weight_map)
}

fn missing(path: &Path, name: String, variable: &Tensor) -> WeightsError {
    WeightsError::Missing { path: path.to_owned(), name, expected: variable.size() }
}

/// Copies a tensor of the file into the variable of its name.
fn fill(file: &mut TensorFile, name: String, mut variable: Tensor, tower: &Tower) -> Result<(), WeightsError> {
    let path = file.path().to_owned();
    let Some(entry) = file.entries().get(&name).cloned() else {
        return Err(missing(&path, name, &variable));
    };
    let (found, expected): (Vec<i64>, Vec<i64>) =
        (entry.shape.iter().map(|&n| n.cast_signed()).collect(), variable.size());
    if found != expected {
        return Err(match image_px(&name, &found, &expected, tower) {
            Some(found_px) => WeightsError::ImageSize { path, found_px, expected_px: tower.image_px },
            None => WeightsError::Shape { path, name, found, expected },
        });
    }
    let kind = match entry.dtype.as_str() {
        "F32" => Kind::Float,
        "F16" => Kind::Half,
        "BF16" => Kind::BFloat16,
        _ => return Err(WeightsError::Type { path, name, dtype: entry.dtype }),
    };
    let bytes = file.bytes(&entry)?;
    let filled = tch::no_grad(|| {
        let tensor = Tensor::f_from_data_size(&bytes, &found, kind)?.f_to_kind(Kind::Float)?;
        let finite = tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1;
        variable.f_copy_(&tensor)?;
        Ok::<_, TchError>(finite)
    });
    match filled {
        Ok(true) => Ok(()),
        Ok(false) => Err(WeightsError::NotFinite { path, name }),
        Err(source) => Err(WeightsError::Torch { path, name, source }),
    }
}

/// The side of the images that a position embedding of another length is for.
fn image_px(name: &str, found: &[i64], expected: &[i64], tower: &Tower) -> Option<u32> {
    let (&[tokens, width], &[_, own_width]) = (found, expected) else { return None };
    let places = u32::try_from(tokens).ok()?.checked_sub(1)?;
    let (side, patch) = (places.isqrt(), tower.patch_px?);
    (name == POSITIONS && width == own_width && side > 0 && side * side == places)
        .then(|| side.checked_mul(patch))
        .flatten()
}

#[cfg(test)]
#[path = "clip_weights_tests.rs"]
mod tests;
