//! Encoders that no exporter writes: each is refused in one line or works, and none ends the program.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use homing::capture::Panorama;
use homing::encode::{Embeddings, Encoder};
use homing_models::{Bundle, Frame, manifest::ImageInput};
use prost::Message;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, tensor_proto::DataType};

#[path = "support/tiny.rs"]
#[allow(dead_code, reason = "only its encoder is needed")]
mod tiny;

/// One thing that is wrong with a node; false when the node has nothing of the kind.
type Fault = (&'static str, fn(&mut NodeProto) -> bool);

const FAULTS: [Fault; 8] = [
    ("no inputs", |n| !std::mem::take(&mut n.input).is_empty()),
    ("one input less", |n| n.input.pop().is_some()),
    ("an input of itself", |n| {
        n.input.first_mut().zip(n.output.first()).map(|(input, own)| input.clone_from(own)).is_some()
    }),
    ("its first input twice", |n| {
        let Some(first) = n.input.first().cloned() else { return false };
        n.input.insert(1, first);
        true
    }),
    ("inputs in reverse", |n| {
        n.input.reverse();
        n.input.len() > 1
    }),
    ("no attributes", |n| !std::mem::take(&mut n.attribute).is_empty()),
    ("no outputs", |n| !std::mem::take(&mut n.output).is_empty()),
    ("an operator that there is not", |n| {
        n.op_type = "Conjure".to_owned();
        true
    }),
];

/// What is wrong with an attribute.
fn odd(attribute: &AttributeProto) -> Vec<AttributeProto> {
    let with = |change: &dyn Fn(&mut AttributeProto)| {
        let mut odd = attribute.clone();
        change(&mut odd);
        odd
    };
    let mut all = vec![with(&|a| a.s = b"odd".to_vec()), with(&|a| a.f = f32::NAN)];
    for number in [-(1 << 40), -1000, -5, -1, 0, 1, 3, 1000, 1 << 40] {
        all.push(with(&|a| a.i = number));
        all.push(with(&|a| a.ints.iter_mut().for_each(|n| *n = number)));
    }
    all.push(with(&|a| a.ints.truncate(1)));
    all.push(with(&|a| a.ints.clear()));
    all.push(with(&|a| a.ints.extend([1, 1])));
    all.retain(|odd| odd != attribute);
    all
}

/// Makes graphs with one fault each, with words for it, one at a time: all of them are gigabytes. Of the nodes of one operator
/// the first is taken.
fn faulty(graph: &GraphProto, mut each: impl FnMut(String, GraphProto)) {
    let mut known = HashSet::new();
    for (place, node) in graph.node.iter().enumerate().filter(|(_, n)| known.insert(&*n.op_type)) {
        let mut add = |words: String, node: NodeProto| {
            let mut graph = graph.clone();
            graph.node[place] = node;
            each(format!("{} {words}", graph.node[place].name), graph);
        };
        for (words, fault) in FAULTS {
            let mut odd = node.clone();
            if fault(&mut odd) {
                add(words.to_owned(), odd);
            }
        }
        for (which, attribute) in node.attribute.iter().enumerate() {
            for odd in odd(attribute) {
                let words = format!("{}: i {}, ints {:?}, s {:?}", odd.name, odd.i, odd.ints, odd.s);
                let mut node = node.clone();
                node.attribute[which] = odd;
                add(words, node);
            }
        }
        let weights = graph.initializer.iter().enumerate().filter(|(_, t)| node.input.contains(&t.name));
        for (which, tensor) in weights {
            for (words, change) in [
                ("dims in reverse", (|t| t.dims.reverse()) as fn(&mut tract_onnx::pb::TensorProto)),
                ("no dims", |t| t.dims.clear()),
                ("a negative dim", |t| t.dims.push(-1)),
                ("a large dim", |t| t.dims.push(1 << 40)),
                ("bytes", |t| t.data_type = DataType::Uint8 as i32),
                ("floats", |t| t.data_type = DataType::Float as i32),
                ("a type that there is not", |t| t.data_type = 99),
                ("cut short", |t| t.raw_data.truncate(t.raw_data.len() / 2)),
            ] {
                let mut odd = graph.clone();
                change(&mut odd.initializer[which]);
                each(format!("{} {words}", tensor.name), odd);
            }
            // Sizes, margins, places: all of them another number.
            let whole = tensor.data_type == DataType::Int64 as i32;
            for number in
                [i64::MIN, -(1 << 40), -1000, -1, 0, 1, 1000, 1 << 20, 1 << 40, i64::MAX].into_iter().filter(|_| whole)
            {
                let mut odd = graph.clone();
                let raw = &mut odd.initializer[which].raw_data;
                *raw = number.to_le_bytes().repeat(raw.len() / 8);
                each(format!("{} of {number}", tensor.name), odd);
            }
        }
    }
}

fn survives(encoder: &[u8], size: u32, dims: usize) {
    let mut whole = ModelProto::decode(encoder).unwrap();
    let graph = whole.graph.take().unwrap();
    let input = ImageInput { size, mean: [0.5; 3], std: [0.25; 3] };
    let grey = Frame { width: size, height: size, rgb: vec![90; 3 * (size * size) as usize] };
    let panorama = Panorama::of(SystemTime::UNIX_EPOCH, vec![grey]);
    let (mut tries, mut refused) = (0, 0);
    faulty(&graph, |words, graph| {
        let bytes = ModelProto { graph: Some(graph), ..whole.clone() }.encode_to_vec();
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let mut encoder = Encoder::load(bytes, &input, dims, 1)?;
            encoder.encode(&panorama, &mut Embeddings::default())
        }));
        let answer = tried.unwrap_or_else(|_| panic!("{words}: it ends the program"));
        if let Err(e) = answer {
            let line = e.to_string();
            assert!(line.starts_with("encoder.onnx") && !line.contains('\n') && line.len() < 300, "{words}: {line}");
            refused += 1;
        }
        tries += 1;
    });
    // Some faults are none: an attribute that the operator does not have, its default in words.
    assert!(tries > 60 && refused > tries / 2, "{refused} of {tries} are refused");
}

#[test]
fn an_encoder_of_floats_with_a_fault() {
    survives(&tiny::encoder_onnx(None), tiny::SIZE, tiny::DIMS);
}

#[test]
fn the_shipped_encoder_with_a_fault() {
    let bundle = Bundle::open("../models/shipped".as_ref()).unwrap();
    let encoder = std::fs::read("../models/shipped/encoder.onnx").unwrap();
    survives(&encoder, bundle.manifest.image.size, bundle.manifest.embedding);
}
