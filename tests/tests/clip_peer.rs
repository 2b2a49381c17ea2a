//! CLIP in libtorch against CLIP in transformers: weights as its users save them, features, logits and tokens.
#![cfg(feature = "torch")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use homing_tests::peers::{self, root};
use homing_trainer::recipe::{Activation, Preset, TextTower, Tower};
use homing_trainer::tokens::{CaptionTokenizer, END};
use homing_trainer::torch::clip::Clip;
use homing_trainer::torch::clip_weights::load_clip;
use homing_trainer::torch::text::rows;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Largest difference from transformers, in units of the largest value.
const TOLERANCE: f64 = 1e-4;

/// Captions that a tokeniser can stumble over.
fn captions() -> Vec<String> {
    let odd = [
        "A Street View photo close to the town of Wick in the region of Highland in United Kingdom.",
        "",
        " \t two  blanks\nand a line ",
        "O'Brien's d'Ivoire, they'll say: it's 12345.67 km/h!?",
        "Z\u{fc}rich, \u{c5}lesund, \u{141}\u{f3}d\u{17a}, S\u{e3}o Tom\u{e9}",
        "Zu\u{308}rich e\u{301}tudes decomposed",
        // Not in capitals: a sigma at a word's end becomes another letter in OpenAI's own tokeniser, which ours follows.
        "\u{41c}\u{43e}\u{441}\u{43a}\u{432}\u{430} \u{391}\u{3b8}\u{3ae}\u{3bd}\u{3b1}\u{3c2} \u{3bf}\u{3b4}\u{3cc}\u{3c2}",
        "\u{6771}\u{4eac}\u{90fd} \u{c11c}\u{c6b8} \u{e01}\u{e23}\u{e38}\u{e07}\u{e40}\u{e17}\u{e1e} \u{92a}\u{926}\u{930}",
        "emoji \u{1f6a6}\u{1f3fd} and \u{200b}zero\u{a0}width \u{2028} marks \u{ad}soft",
        "***---___... (((((((nested))))))) \"quoted\" \\back\\",
        "\u{130}stanbul \u{1e9e}tra\u{df}e \u{fb01}n \u{2168} \u{bd} \u{b2}",
        "<start_of_text> plain <end_of_text> text",
        "internationalisation antidisestablishmentarianism Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
    ];
    let long = "very long captions are cut to seventy-seven tokens ".repeat(20);
    odd.into_iter().map(str::to_owned).chain([long, "\u{1f6a6}".repeat(60)]).collect()
}

/// Two small models with sizes all different: (name, vision tower, text tower).
fn models() -> [(&'static str, Tower, TextTower); 2] {
    let (tower, text) = (Preset::Tiny.tower(), Preset::Tiny.text());
    let quick = (
        Tower { image_px: 32, patch_px: Some(8), width: 64, layers: 3, heads: 4, ..tower.clone() },
        TextTower { width: 48, layers: 2, heads: 3, projection: 40, ..text.clone() },
    );
    let activation = Activation::Gelu;
    let exact = (
        Tower { image_px: 48, patch_px: Some(16), width: 40, layers: 2, heads: 2, mlp_ratio: 3, activation, ..tower },
        TextTower { width: 32, layers: 3, heads: 4, mlp_ratio: 2, projection: 24, activation },
    );
    [("quick", quick.0, quick.1), ("exact", exact.0, exact.1)]
}

/// The arguments of `CLIPConfig`.
fn config(tower: &Tower, text: &TextTower) -> Value {
    let activation = |a| if a == Activation::Gelu { "gelu" } else { "quick_gelu" };
    json!({
        "projection_dim": text.projection,
        "vision_config": {
            "image_size": tower.image_px, "patch_size": tower.patch_px, "hidden_size": tower.width,
            "num_hidden_layers": tower.layers, "num_attention_heads": tower.heads,
            "intermediate_size": tower.width * tower.mlp_ratio, "hidden_act": activation(tower.activation),
        },
        "text_config": {
            "hidden_size": text.width, "num_hidden_layers": text.layers, "num_attention_heads": text.heads,
            "intermediate_size": text.width * text.mlp_ratio, "hidden_act": activation(text.activation),
        },
    })
}

/// A file of a package that the project depends on.
fn file_of_package(package: &str, file: &str) -> PathBuf {
    // Packages for other platforms need not be on this machine.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &platform])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|p| p["name"] == package).expect("a dependency of the trainer");
    Path::new(found["manifest_path"].as_str().unwrap()).with_file_name(file)
}

fn agree(what: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size(), "{what}");
    let largest = |t: &Tensor| t.abs().max().double_value(&[]);
    let (difference, scale) = (largest(&(ours - theirs)), largest(theirs));
    println!("{what}: largest difference {difference:.2e} of {scale:.3}");
    assert!(scale > 0.1 && difference <= TOLERANCE * scale, "{what}: {difference} of {scale}");
}

#[test]
fn clip_computes_what_transformers_computes() {
    let dir = tempfile::tempdir().unwrap();
    let captions = captions();
    let wanted: HashMap<_, _> = models()
        .iter()
        .enumerate()
        .map(|(i, (name, tower, text))| (*name, json!({"seed": i + 1, "config": config(tower, text)})))
        .collect();
    let vocabulary = file_of_package("instant-clip-tokenizer", "bpe_simple_vocab_16e6.txt");
    let request = json!({"models": wanted, "images": 3, "captions": captions});
    let answer = peers::run("clip_transformers.py", &[dir.path(), &vocabulary], &request);

    let tokenizer = CaptionTokenizer::new();
    for (caption, theirs) in captions.iter().zip(answer["tokens"].as_array().unwrap()) {
        assert_eq!(json!(tokenizer.encode(caption)), *theirs, "{caption:?}");
    }
    // Ours is cut to the longest caption, theirs always has 77 tokens; both are padded with ends.
    let short = captions.iter().filter(|caption| tokenizer.encode(caption).len() < 60);
    let short = rows(&tokenizer.batch(&short.collect::<Vec<_>>()), Device::Cpu);
    let tokens = rows(&tokenizer.batch(&captions), Device::Cpu);

    for (name, tower, text) in models() {
        let folder = dir.path().join(name);
        let answers: HashMap<String, Tensor> =
            Tensor::read_safetensors(folder.join("answers.safetensors")).unwrap().into_iter().collect();
        assert!(tokens.equal(&answers["tokens"]), "as transformers pads them");
        let shards = std::fs::read_dir(folder.join("sharded")).unwrap().count();
        assert!(shards > 4 && folder.join("sharded/model.safetensors.index.json").exists(), "{shards} files");
        for saved in ["single", "single/model.safetensors", "sharded"] {
            let clip = Clip::new(&tower, &text, 5, Device::Cpu);
            load_clip(&clip.variables, &tower, &text, &folder.join(saved)).unwrap();
            tch::no_grad(|| {
                let pixels = &answers["pixels"];
                let (images, texts) = (clip.image_features(pixels, false), clip.text_features(&tokens));
                let agree = |what: &str, ours: &Tensor| agree(&format!("{name} {saved} {what}"), ours, &answers[what]);
                agree("last_hidden_state", &clip.vision.hidden(pixels, false));
                agree("image_features", &images);
                agree("text_features", &texts);
                agree("logits_per_image", &clip.logits(&images, &texts));
                let cut = clip.text_features(&short);
                let kept: Vec<i64> = (0..captions.len())
                    .filter(|&i| tokenizer.encode(&captions[i]).len() < 60)
                    .map(|i| i as i64)
                    .collect();
                let whole = texts.index_select(0, &Tensor::from_slice(&kept));
                assert!(short.size()[1] < 60 && tokens.size()[1] == 77);
                assert!((cut - whole).abs().max().double_value(&[]) < 1e-5, "padding makes no difference");
            });
        }
        // What the tensors' shapes do not show stands in config.json.
        let heads = Tower { heads: 1, ..tower };
        let clip = Clip::new(&heads, &text, 5, Device::Cpu);
        let error = load_clip(&clip.variables, &heads, &text, &folder.join("sharded")).unwrap_err().to_string();
        assert!(error.contains("vision_config.num_attention_heads is"), "{error}");
        assert!(tokens.eq(END).to_kind(Kind::Int).sum_dim_intlist(1, false, Kind::Int).min().int64_value(&[]) >= 1);
    }
}
