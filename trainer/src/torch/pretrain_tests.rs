//! Pretraining on a handful of the planet's sites: it learns, resumes exactly, and a training starts from it.

use std::path::Path;

use homing_planet::Split;
use tch::{Device, Tensor};

use super::*;
use crate::dataset::PlanetGallery;
use crate::recipe::{Preset, StemLayer, Trainable};
use crate::torch::ranks::Alone;
use crate::torch::train::train;
use crate::torch::zero_shot::zero_shot;

fn recipe(steps: u32) -> Recipe {
    let text = include_str!("../../recipes/miniature.toml");
    let mut recipe = Recipe::parse(text, Path::new("miniature.toml")).unwrap();
    recipe.tower.image_px = 16;
    recipe.tower.stem =
        vec![StemLayer::Conv { out: 16, kernel: 6, stride: 4 }, StemLayer::Conv { out: 32, kernel: 2, stride: 2 }];
    (recipe.tower.width, recipe.tower.layers, recipe.tower.heads) = (32, 1, 2);
    let mut text = Preset::Tiny.text();
    (text.width, text.layers, text.heads, text.projection) = (16, 1, 2, 16);
    recipe.contrastive = Some(Contrastive {
        captions: CaptionStyle::Place,
        steps,
        batch_views: 24,
        accumulate: 2,
        lr: 3e-3,
        weight_decay: 1e-3,
        warmup: 0.2,
        clip_norm: 1.0,
        checkpoint_every: 1000,
        held_out: vec!["FR".to_owned()],
        text,
    });
    recipe
}

fn bench(recipe: Recipe, out: &Path) -> Workbench {
    let draw = |split, n| Box::new(PlanetGallery::draw(split, 1, n)) as Box<dyn Gallery>;
    let (training, validation) = (draw(Split::Train, 400), draw(Split::Validation, 60));
    Workbench::assemble(recipe, out.to_owned(), Device::Cpu, 2, training, validation, &Alone).unwrap()
}

#[test]
fn interrupted_and_resumed_is_uninterrupted_and_the_training_starts_from_it() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    pretrain(&bench(recipe(6), whole.path()), &|| false).unwrap();

    let asked = std::sync::atomic::AtomicU32::new(0);
    let third = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 3;
    let resumed = bench(recipe(6), parts.path());
    let message = pretrain(&resumed, &third).unwrap_err().to_string();
    assert!(message.contains("interrupted at step 3"), "{message}");
    assert!(open(&resumed).unwrap_err().to_string().contains("homing-trainer pretrain"));
    pretrain(&resumed, &|| false).unwrap();
    let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(PRETRAINED)).unwrap();
    assert!(read(&whole) == read(&parts), "the weights differ");
    assert!(is_done(&resumed).unwrap());
    let message = is_done(&bench(recipe(7), parts.path())).unwrap_err().to_string();
    assert!(message.contains("pretrained.safetensors is of another recipe or data set"), "{message}");

    let mut recipe = recipe(6);
    (recipe.training.steps, recipe.training.warmup_steps, recipe.training.trainable) = (2, 1, Trainable::Heads);
    let bench = bench(recipe, whole.path());
    let trained = train(&bench, &Alone, &|| false).unwrap().named();
    for (name, tensor) in Tensor::read_safetensors(whole.path().join(PRETRAINED)).unwrap() {
        if name.starts_with("vision_model.") && !name.contains("post_layernorm") {
            assert!(tensor.equal(&trained[&name]), "{name}");
        }
    }
}

#[test]
fn captions_are_learned_and_answer_for_every_site() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(recipe(150), dir.path());
    let fresh = Clip::new(&bench.recipe.tower, &section(&bench).unwrap().text, bench.recipe.seed, Device::Cpu);
    pretrain(&bench, &|| false).unwrap();
    let clip = open(&bench).unwrap();
    let held_out = ["FR".to_owned()];
    let ask = |clip: &Clip| zero_shot(clip, &*bench.training, &*bench.training, 16, &held_out).unwrap();
    let (before, after) = (ask(&fresh), ask(&clip));
    assert_eq!(after.seen.0 + after.held_out.0, bench.training.samples().len());
    assert!(after.held_out.0 > 0);
    // The score counts near guesses: a tower that always names one country has a fair mean distance.
    assert!(after.seen.1.score > 1.2 * before.seen.1.score, "{after:?} {before:?}");
}
