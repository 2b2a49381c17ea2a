//! The graphs we write in onnxruntime and in tract.

use homing_planet::hash::Rng;
use homing_tests::peers;
use homing_trainer::encoder_graph::{Head, Precision, encoder_graph, heads_graph};
use homing_trainer::onnx::to_bytes;
use homing_trainer::recipe::StemLayer::{Conv, Residual};
use homing_trainer::recipe::{Activation, Preset, Tower};
use homing_trainer::reference::{cosine, encode, random_encoder_weights, random_heads_weights};
use serde_json::{Value, json};
use tract_onnx::prelude::*;

fn towers() -> [Tower; 3] {
    let stem = vec![
        Conv { out: 48, kernel: 6, stride: 4 },
        Residual { channels: 48 },
        Conv { out: 192, kernel: 3, stride: 2 },
        Residual { channels: 192 },
    ];
    let tiny = Preset::Tiny.tower();
    let shipped = Tower { patch_px: None, stem, ..tiny.clone() };
    let clip = Tower { width: 128, layers: 2, heads: 2, activation: Activation::Gelu, ..tiny.clone() };
    let single = Tower { image_px: 32, patch_px: Some(8), width: 48, layers: 1, heads: 1, mlp_ratio: 1, ..tiny };
    [shipped, clip, single]
}

fn in_tract(bytes: &[u8], shape: &[usize], input: &[f32]) -> Vec<Vec<f32>> {
    let mut model = tract_onnx::onnx().model_for_read(&mut &bytes[..]).unwrap();
    model.set_input_fact(0, f32::fact(shape).into()).unwrap();
    let model = model.into_optimized().unwrap().into_runnable().unwrap();
    let outputs = model.run(tvec!(Tensor::from_shape(shape, input).unwrap().into())).unwrap();
    outputs.iter().map(|t| t.to_plain_array_view::<f32>().unwrap().iter().copied().collect()).collect()
}

/// Checks the file with onnx.checker, runs it in onnxruntime, and gives each run's outputs by name.
fn in_onnxruntime(bytes: &[u8], input: &str, runs: &[(Vec<usize>, Vec<f32>)]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    let runs: Vec<Value> = runs.iter().map(|(shape, data)| json!({input: {"shape": shape, "data": data}})).collect();
    peers::run("onnx_run.py", &[&path], &json!({"runs": runs}))["runs"].as_array().unwrap().clone()
}

fn data(output: &Value) -> Vec<f32> {
    output["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn images(tower: &Tower, views: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..views * 3 * (tower.image_px * tower.image_px) as usize).map(|_| rng.normal()).collect()
}

#[test]
fn encoders_run_alike_in_onnxruntime_and_tract() {
    for tower in towers() {
        let weights = random_encoder_weights(&tower, 3);
        let d = tower.width as usize;
        let runs: Vec<(Vec<usize>, Vec<f32>)> = [1, 4]
            .into_iter()
            .map(|views| {
                let side = tower.image_px as usize;
                (vec![views, 3, side, side], images(&tower, views, views as u64))
            })
            .collect();
        for (precision, least) in [(Precision::Float, 0.9999), (Precision::Int8, 0.999)] {
            let bytes = to_bytes(&encoder_graph(&tower, &weights, precision).unwrap());
            let peers = in_onnxruntime(&bytes, "views", &runs);
            for ((shape, input), peer) in runs.iter().zip(peers) {
                let peer_output = &peer["embeddings"];
                assert_eq!(peer_output["shape"], json!([shape[0], d]));
                let theirs = data(peer_output);
                let ours = in_tract(&bytes, shape, input).remove(0);
                let float = encode(&tower, &weights, input);
                for view in 0..shape[0] {
                    let row = |all: &[f32]| all[view * d..][..d].to_vec();
                    let (between, ours_to_float) =
                        (cosine(&row(&ours), &row(&theirs)), cosine(&row(&ours), &row(&float)));
                    println!(
                        "d{d} {precision:?}: tract and onnxruntime {between:.6}, tract and float {ours_to_float:.6}"
                    );
                    assert!(between >= least && ours_to_float >= least);
                }
            }
        }
    }
}

#[test]
fn heads_run_alike_in_onnxruntime_and_tract() {
    let heads = [("cells", 300), ("elevation_m", 1), ("koeppen", 30), ("month", 12)]
        .map(|(name, outputs)| Head { name: name.to_owned(), outputs });
    let weights = random_heads_weights(192, &heads, 8);
    let mut rng = Rng::new(2);
    let embedding: Vec<f32> = (0..192).map(|_| rng.normal()).collect();
    for (precision, least) in [(Precision::Float, 0.9999), (Precision::Int8, 0.999)] {
        let bytes = to_bytes(&heads_graph(192, &heads, &weights, precision).unwrap());
        let peer = in_onnxruntime(&bytes, "embedding", &[(vec![1, 192], embedding.clone())]).remove(0);
        let ours = in_tract(&bytes, &[1, 192], &embedding);
        assert_eq!(ours.len(), heads.len(), "outputs in the order of the heads");
        for (head, ours) in heads.iter().zip(ours) {
            assert_eq!(peer[&head.name]["shape"], json!([1, head.outputs]));
            assert!(cosine(&ours, &data(&peer[&head.name])) >= least, "{}", head.name);
        }
    }
}
