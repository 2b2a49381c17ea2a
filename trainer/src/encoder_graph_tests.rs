//! The graphs against a plain forward pass, in tract.

use homing_planet::hash::Rng;
use tract_onnx::prelude::*;

use super::*;
use crate::onnx::to_bytes;
use crate::recipe::Activation;
use crate::recipe::StemLayer::{Conv, Residual};
use crate::reference;

fn small(stem: bool) -> Tower {
    let layers =
        vec![Conv { out: 8, kernel: 6, stride: 4 }, Residual { channels: 8 }, Conv { out: 24, kernel: 3, stride: 2 }];
    Tower {
        image_px: 32,
        patch_px: (!stem).then_some(8),
        stem: if stem { layers } else { Vec::new() },
        width: 24,
        layers: 2,
        heads: 3,
        mlp_ratio: 2,
        activation: if stem { Activation::QuickGelu } else { Activation::Gelu },
        weights: None,
    }
}

fn image(tower: &Tower, views: usize) -> Vec<f32> {
    let mut rng = Rng::new(11);
    (0..views * 3 * (tower.image_px * tower.image_px) as usize).map(|_| rng.normal()).collect()
}

/// Runs a one-input model in tract with the number of views made concrete.
fn run(model: &ModelProto, shape: &[usize], input: &[f32]) -> Vec<Vec<f32>> {
    let mut m = onnx().model_for_read(&mut &to_bytes(model)[..]).unwrap();
    m.set_input_fact(0, f32::fact(shape).into()).unwrap();
    let m = m.into_optimized().unwrap().into_runnable().unwrap();
    let out = m.run(tvec!(tract_onnx::prelude::Tensor::from_shape(shape, input).unwrap().into())).unwrap();
    out.iter().map(|t| t.to_plain_array_view::<f32>().unwrap().iter().copied().collect()).collect()
}

#[test]
fn float_graphs_are_the_reference_for_any_number_of_views() {
    for tower in [small(true), small(false)] {
        let weights = reference::random_encoder_weights(&tower, 5);
        let graph = encoder_graph(&tower, &weights, Precision::Float).unwrap();
        for views in [1, 3] {
            let input = image(&tower, views);
            let side = tower.image_px as usize;
            let found = run(&graph, &[views, 3, side, side], &input).remove(0);
            let expected = reference::encode(&tower, &weights, &input);
            assert_eq!(found.len(), views * tower.width as usize);
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 1e-4 * (1.0 + e.abs()), "{f} should be {e}");
            }
        }
    }
}

#[test]
fn bytes_stay_close_to_floats() {
    let tower = small(true);
    let weights = reference::random_encoder_weights(&tower, 6);
    let graph = encoder_graph(&tower, &weights, Precision::Int8).unwrap();
    let input = image(&tower, 2);
    let found = run(&graph, &[2, 3, 32, 32], &input).remove(0);
    let expected = reference::encode(&tower, &weights, &input);
    for (f, e) in found.chunks(24).zip(expected.chunks(24)) {
        assert!(reference::cosine(f, e) > 0.999, "cosine {}", reference::cosine(f, e));
    }
    let integers = graph.graph.unwrap().node.iter().filter(|n| n.op_type == "MatMulInteger").count();
    assert_eq!(integers, 2 * 6, "every linear layer is an integer product");
}

#[test]
fn bytes_hold_what_a_stem_has_behind_the_picture() {
    let tower = small(true);
    let weights = reference::random_encoder_weights(&tower, 6);
    let of = |precision, name: &str| {
        let graph = encoder_graph(&tower, &weights, precision).unwrap().graph.unwrap();
        let tensor = graph.initializer.into_iter().find(|t| t.name == format!("vision_model.embeddings.stem.{name}"));
        let bytes = tensor.unwrap().raw_data;
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>()
    };
    let changed = |name: &str| of(Precision::Float, name) != of(Precision::Int8, name);
    assert!(!changed("0.weight") && !changed("2.bias"));
    for (name, outputs) in [("1.conv1.weight", 8), ("1.conv2.weight", 8), ("2.weight", 24)] {
        let written = of(Precision::Int8, name);
        let mut rounded = written.clone();
        round_to_bytes(&mut rounded, outputs);
        assert!(changed(name) && rounded == written, "{name}");
    }
}

#[test]
fn heads_are_linear_layers_in_their_order() {
    let heads = [Head { name: "cells".into(), outputs: 5 }, Head { name: "koeppen".into(), outputs: 3 }];
    let weights = reference::random_heads_weights(4, &heads, 9);
    let x = [0.5, -1.0, 2.0, 0.25];
    let outputs = run(&heads_graph(4, &heads, &weights, Precision::Float).unwrap(), &[1, 4], &x);
    for (head, found) in heads.iter().zip(outputs) {
        let (w, b) = (&weights[&format!("{}.weight", head.name)], &weights[&format!("{}.bias", head.name)]);
        for (o, f) in found.iter().enumerate() {
            let sum: f32 = w.data[o * 4..][..4].iter().zip(x).map(|(w, x)| w * x).sum();
            assert!((f - sum - b.data[o]).abs() < 1e-5);
        }
    }
}

#[test]
fn unfit_weights_are_named() {
    let tower = small(false);
    let good = reference::random_encoder_weights(&tower, 1);
    let name = "vision_model.encoder.layers.1.mlp.fc2.weight";
    let error = |change: &dyn Fn(&mut Weights)| {
        let mut weights = good.clone();
        change(&mut weights);
        encoder_graph(&tower, &weights, Precision::Int8).unwrap_err().to_string()
    };
    assert_eq!(error(&|w| drop(w.remove(name))), format!("weight {name} is missing"));
    assert!(error(&|w| w.get_mut(name).unwrap().shape.reverse()).contains("has shape [48, 24]"));
    assert!(error(&|w| w.get_mut(name).unwrap().data[7] = f32::NAN).contains("not finite"));
}
