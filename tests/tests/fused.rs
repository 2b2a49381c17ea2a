//! Our operators inside tract, put into standard ONNX files, against the same files as tract runs them.

use homing_kernels::{Fused, Inside, Kernel, Packed, fuse, read};
use homing_planet::hash::Rng;
use homing_tests::peers;
use homing_trainer::encoder_graph::{Precision, encoder_graph};
use homing_trainer::onnx::to_bytes;
use homing_trainer::recipe::StemLayer::{Conv, Residual};
use homing_trainer::recipe::{Activation, Recipe, Tower};
use homing_trainer::reference::{cosine, random_encoder_weights};
use prost::Message;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

fn tower(change: impl Fn(&mut Tower)) -> Tower {
    let text = include_str!("../../trainer/recipes/miniature.toml");
    let mut tower = Recipe::parse(text, "miniature.toml".as_ref()).unwrap().tower;
    tower.stem.clear();
    (tower.image_px, tower.patch_px, tower.width, tower.layers, tower.heads) = (32, Some(8), 64, 2, 2);
    change(&mut tower);
    tower
}

/// Runs the file for `views` views, as tract comes or with our operators.
fn run(file: &[u8], views: usize, side: usize, kernel: Option<Kernel>) -> (Vec<f32>, Fused) {
    let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
    let mut model = match kernel {
        Some(kernel) => read(onnx, ModelProto::decode(file).unwrap(), kernel, &Inside).unwrap(),
        None => onnx.model_for_read(&mut &*file).unwrap(),
    };
    if let Some(symbol) = model.symbols.get("views") {
        model.set_symbols(&std::collections::HashMap::from([(symbol, (views as i64).into())])).unwrap();
    }
    let shape = [views, 3, side, side];
    model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape)).unwrap();
    let mut model = model.into_typed().unwrap();
    let fused = kernel.map(|kernel| fuse(kernel, None, &Packed::default(), &mut model).unwrap()).unwrap_or_default();
    let model = model.into_optimized().unwrap().into_runnable().unwrap();
    let input = Tensor::from_shape(&shape, &pixels(views, side)).unwrap();
    let output = model.run(tvec!(input.into())).unwrap();
    (output[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect(), fused)
}

fn pixels(views: usize, side: usize) -> Vec<f32> {
    let mut rng = Rng::new(77);
    (0..views * 3 * side * side).map(|_| rng.normal()).collect()
}

#[test]
fn every_kernel_computes_what_tract_computes() {
    let towers = [
        tower(|_| ()),
        tower(|t| t.activation = Activation::Gelu),
        // Odd widths: no vector's multiple.
        tower(|t| (t.width, t.heads, t.mlp_ratio) = (60, 4, 3)),
        // Heads of 64, more tokens than a block of keys has.
        tower(|t| (t.width, t.heads, t.patch_px, t.image_px) = (128, 2, Some(4), 56)),
        // A stem as the shipped model has it; five channels are no vector's multiple either.
        tower(|t| {
            t.patch_px = None;
            t.stem = vec![
                Conv { out: 5, kernel: 6, stride: 4 },
                Residual { channels: 5 },
                Conv { out: 64, kernel: 3, stride: 2 },
                Residual { channels: 64 },
            ];
        }),
    ];
    for (i, tower) in towers.iter().enumerate() {
        let (layers, side) = (tower.layers as usize, tower.image_px as usize);
        let weights = random_encoder_weights(tower, 5 + i as u64);
        let file = to_bytes(&encoder_graph(tower, &weights, Precision::Int8).unwrap());
        for views in [1, 2, 3, 4] {
            let (plain, nothing) = run(&file, views, side, None);
            assert_eq!(nothing, Fused::default());
            for kernel in Kernel::available() {
                let (ours, fused) = run(&file, views, side, Some(kernel));
                let expected = Fused {
                    linear: 6 * layers,
                    norms: 2 * layers + 1,
                    activations: layers,
                    attentions: layers,
                    // Both norms, the activation and both sums of a block; the norm before the blocks stands alone.
                    absorbed: 5 * layers,
                    convolutions: if tower.stem.is_empty() { 1 } else { 6 },
                };
                assert_eq!(fused, expected, "tower {i}, {kernel}");
                let width = tower.width as usize;
                for (a, b) in ours.chunks_exact(width).zip(plain.chunks_exact(width)) {
                    let alike = cosine(a, b);
                    assert!(alike > 0.999, "tower {i}, {views} views, {kernel}: {alike}");
                }
            }
        }
    }
}

/// Graphs that torch exports and onnxruntime quantises: transformers' CLIP, and a transformer with one projection for
/// queries, keys and values, and GELU by tanh, written out and as one node.
#[test]
fn every_kernel_computes_what_onnxruntime_computes_of_the_graphs_of_others() {
    let (views, side, width) = (2, 32, 128);
    let dir = tempfile::tempdir().unwrap();
    let request = serde_json::json!({"side": side, "views": views, "pixels": pixels(views, side)});
    let answers = peers::run("clip_export.py", &[dir.path()], &request);
    let layers = 2;
    let timm = (4, 2 * layers + 1);
    for (name, (linear, norms)) in [("clip", (6, 2 * layers + 2)), ("timm", timm), ("timm20", timm)] {
        let expected: Vec<f32> = serde_json::from_value(answers[name].clone()).unwrap();
        let file = std::fs::read(dir.path().join(format!("{name}.onnx"))).unwrap();
        for kernel in Kernel::available() {
            let (ours, fused) = run(&file, views, side, Some(kernel));
            let found = (fused.linear, fused.norms, fused.activations, fused.attentions);
            assert_eq!(found, (linear * layers, norms, layers, layers), "{name}, {kernel}: {fused}");
            assert_eq!(ours.len(), expected.len());
            for (a, b) in ours.chunks_exact(width).zip(expected.chunks_exact(width)) {
                let alike = cosine(a, b);
                assert!(alike > 0.999, "{name}, {kernel}: {alike}");
            }
        }
    }
}
