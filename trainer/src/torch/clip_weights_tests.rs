//! Weights through files in Hugging Face's layout, whole and broken.

use std::collections::BTreeSet;

use serde_json::json;
use tch::Device;

use super::super::clip::Clip;
use super::super::network::Network;
use super::*;
use crate::recipe::{Activation, Preset};

type Named = Vec<(String, Tensor)>;

fn shapes() -> (Tower, TextTower) {
    let tower = Tower { image_px: 32, patch_px: Some(16), width: 16, layers: 2, heads: 2, ..Preset::Tiny.tower() };
    let text = TextTower { width: 16, layers: 1, heads: 2, projection: 8, ..Preset::Tiny.text() };
    (tower, text)
}

fn clip(seed: u64) -> Clip {
    let (tower, text) = shapes();
    Clip::new(&tower, &text, seed, Device::Cpu)
}

fn tensors(clip: &Clip, kind: Kind) -> Named {
    let variables = clip.variables.variables().into_iter();
    let mut tensors: Vec<_> = variables.map(|(name, t)| (name, t.detach().to_kind(kind))).collect();
    // As transformers used to write it.
    tensors.push(("vision_model.embeddings.position_ids".to_owned(), Tensor::arange(5, (Kind::Int64, Device::Cpu))));
    tensors
}

fn write(path: &Path, tensors: &[(String, Tensor)]) {
    Tensor::write_safetensors(tensors, path).unwrap();
}

/// A folder with a model of seed 1, changed by `change`.
fn folder(kind: Kind, change: impl Fn(&mut Named)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut tensors = tensors(&clip(1), kind);
    change(&mut tensors);
    write(&dir.path().join(MODEL), &tensors);
    dir
}

fn load(into: &Clip, path: &Path) -> Result<(), WeightsError> {
    let (tower, text) = shapes();
    load_clip(&into.variables, &tower, &text, path)
}

fn same(a: &Clip, b: &Clip, tolerance: f64) -> bool {
    let b = b.variables.variables();
    a.variables.variables().iter().all(|(name, t)| t.allclose(&b[name], tolerance, tolerance, false))
}

const WEIGHT: &str = "vision_model.encoder.layers.1.mlp.fc1.weight";

#[test]
fn a_file_and_a_folder_give_the_same_weights_in_every_type() {
    let expected = clip(1);
    for (kind, tolerance) in [(Kind::Float, 0.0), (Kind::Half, 1e-3), (Kind::BFloat16, 1e-2)] {
        let dir = folder(kind, |_| ());
        for path in [dir.path().to_owned(), dir.path().join(MODEL)] {
            let loaded = clip(2);
            assert!(!same(&loaded, &expected, 1e-2));
            load(&loaded, &path).unwrap();
            assert!(same(&loaded, &expected, tolerance), "{kind:?}");
            assert!(loaded.variables.trainable_variables().iter().all(|t| t.kind() == Kind::Float));
        }
    }
}

#[test]
fn a_network_takes_the_vision_tower_alone() {
    let (tower, _) = shapes();
    let dir = folder(Kind::Float, |tensors| tensors.retain(|(name, _)| name.starts_with("vision_model.")));
    let network = Network::new(&tower, 5, &homing_models::TaskList::default(), 3, Device::Cpu);
    let heads = network.named()["cells.weight"].copy();
    load_vision(&network.variables, &tower, dir.path()).unwrap();
    let pixels = Tensor::linspace(-2.0, 2.0, 2 * 3 * 32 * 32, (Kind::Float, Device::Cpu)).view([2, 3, 32, 32]);
    let expected = clip(1).vision.embed(&pixels, false);
    assert!(network.embed(&pixels).equal(&expected.detach()));
    assert!(network.named()["cells.weight"].equal(&heads));
}

#[test]
fn what_is_missing_or_does_not_fit_is_named() {
    let error = |change: &dyn Fn(&mut Named)| {
        let dir = folder(Kind::Float, change);
        load(&clip(2), dir.path()).unwrap_err().to_string()
    };
    let at = |tensors: &[(String, Tensor)], name: &str| tensors.iter().position(|(n, _)| n == name).unwrap();
    let message = error(&|tensors| drop(tensors.remove(at(tensors, WEIGHT))));
    assert!(message.contains(&format!("{MODEL} has no {WEIGHT}, of shape [64, 16]")), "{message}");
    let replaced = |name: &'static str, tensor: &dyn Fn() -> Tensor| {
        error(&|tensors| {
            let i = at(tensors, name);
            tensors[i].1 = tensor();
        })
    };
    let float = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let message = replaced(WEIGHT, &|| float(&[16, 64]));
    assert!(message.contains(WEIGHT) && message.contains("[16, 64], the recipe's tower needs [64, 16]"), "{message}");
    let message = replaced(WEIGHT, &|| Tensor::zeros([64, 16], (Kind::Double, Device::Cpu)));
    assert!(message.contains("is of type F64; weights are F32, F16 or BF16"), "{message}");
    let message = replaced(WEIGHT, &|| float(&[64, 16]) / 0.0);
    assert!(message.contains(WEIGHT) && message.contains("not finite"), "{message}");
    let message = replaced(POSITIONS, &|| float(&[17, 16]));
    assert!(message.contains("is for images of 64 px, the recipe's tower.image_px is 32"), "{message}");
    let message = replaced(POSITIONS, &|| float(&[16, 16]));
    assert!(message.contains("has shape [16, 16], the recipe's tower needs [5, 16]"), "{message}");
}

#[test]
fn an_index_leads_to_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let all = tensors(&clip(1), Kind::Float);
    let shard = |name: &str| if name.starts_with("text_model.") { "text.safetensors" } else { "rest.safetensors" };
    for file in ["text.safetensors", "rest.safetensors"] {
        let part: Vec<_> =
            all.iter().filter(|(n, _)| shard(n) == file).map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        write(&dir.path().join(file), &part);
    }
    let map: HashMap<&str, &str> = all.iter().map(|(name, _)| (name.as_str(), shard(name))).collect();
    let index = |map: &HashMap<&str, &str>| {
        std::fs::write(dir.path().join(INDEX), json!({"weight_map": map}).to_string()).unwrap();
    };
    index(&map);
    for path in [dir.path().to_owned(), dir.path().join(INDEX)] {
        let loaded = clip(2);
        load(&loaded, &path).unwrap();
        assert!(same(&loaded, &clip(1), 0.0));
    }

    let error = || load(&clip(2), dir.path()).unwrap_err().to_string();
    let mut less = map.clone();
    less.remove(WEIGHT);
    index(&less);
    assert!(error().contains(&format!("{INDEX} has no {WEIGHT}")));
    let mut wrong = map.clone();
    wrong.insert(WEIGHT, "text.safetensors");
    index(&wrong);
    assert!(error().contains(&format!("text.safetensors has no {WEIGHT}")));
    let outside = format!("../{}/rest.safetensors", dir.path().file_name().unwrap().to_string_lossy());
    wrong.insert(WEIGHT, &outside);
    index(&wrong);
    assert!(error().contains("which is not there"), "files beside the index only");
    std::fs::remove_file(dir.path().join("text.safetensors")).unwrap();
    index(&map);
    assert!(error().contains(&format!("{INDEX} names text.safetensors, which is not there")));
    // The vision tower is complete without it.
    let (tower, _) = shapes();
    load_vision(&clip(2).variables, &tower, dir.path()).unwrap();
    std::fs::write(dir.path().join(INDEX), "{}").unwrap();
    assert!(error().contains("is no index"));
}

#[test]
fn nothing_and_half_a_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| load(&clip(2), path).unwrap_err().to_string();
    assert!(error(dir.path()).contains("has neither model.safetensors nor"));
    assert!(error(&dir.path().join("none")).contains("no such file or folder"));
    let whole = folder(Kind::Half, |_| ());
    let bytes = std::fs::read(whole.path().join(MODEL)).unwrap();
    std::fs::write(dir.path().join(MODEL), &bytes[..bytes.len() - 1]).unwrap();
    assert!(error(dir.path()).contains("is cut short"));
}

#[test]
fn the_configuration_beside_the_weights_is_compared() {
    let dir = folder(Kind::Float, |_| ());
    let write = |activation: &str| {
        let tower = |width: u32, layers: u32| {
            json!({"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2,
                   "intermediate_size": 64, "hidden_act": activation, "image_size": 32, "patch_size": 16})
        };
        let config = json!({"model_type": "clip", "projection_dim": 8, "vision_config": tower(16, 2),
                            "text_config": tower(16, 1)});
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    };
    write("quick_gelu");
    load(&clip(2), dir.path()).unwrap();
    write("gelu");
    let message = load(&clip(2), &dir.path().join(MODEL)).unwrap_err().to_string();
    assert!(message.contains("the recipe's tower.activation asks for \"quick_gelu\""), "{message}");
    let (mut tower, mut text) = shapes();
    (tower.activation, text.activation) = (Activation::Gelu, Activation::Gelu);
    load_clip(&clip(2).variables, &tower, &text, dir.path()).unwrap();
}

#[test]
fn presets_have_the_published_numbers_of_parameters() {
    // Every layer is alike, so that one and two layers tell how many any number of them has.
    let count = |preset: Preset, layers: u32| {
        let (mut tower, mut text) = (preset.tower(), preset.text());
        (tower.layers, text.layers) = (layers, layers);
        let clip = Clip::new(&tower, &text, 1, Device::Cpu);
        let variables = clip.variables.variables();
        ["vision_model.", "text_model."].map(|part| {
            variables.iter().filter(|(name, _)| name.starts_with(part)).map(|(_, t)| t.numel()).sum::<usize>()
        })
    };
    // Vision model and text model without projections, and the whole.
    for (preset, vision, text, whole) in [
        (Preset::VitB32, 87_456_000, 63_165_952, 151_277_313),
        (Preset::VitB16, 85_799_424, 63_165_952, 149_620_737),
        (Preset::VitL14At336, 303_507_456, 123_060_480, 427_944_193),
    ] {
        let (one, two) = (count(preset, 1), count(preset, 2));
        let found = |part: usize, layers: u32| one[part] + (two[part] - one[part]) * (layers as usize - 1);
        let (vision_found, text_found) = (found(0, preset.tower().layers), found(1, preset.text().layers));
        assert_eq!((vision_found, text_found), (vision, text), "{preset:?}");
        let space = preset.text().projection as usize;
        let projections = space * (preset.tower().width + preset.text().width) as usize;
        assert_eq!(vision_found + text_found + projections + 1, whole, "{preset:?}");
    }
    let names: BTreeSet<String> = clip(1).variables.variables().into_keys().collect();
    for name in
        ["logit_scale", "visual_projection.weight", "text_projection.weight", "vision_model.post_layernorm.bias"]
    {
        assert!(names.contains(name), "{name}");
    }
}
