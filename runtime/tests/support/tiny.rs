//! A bundle of a few kilobytes with random weights: knows nothing, but has every file in its right form.

use std::{collections::BTreeMap, path::Path};

use homing_models::{
    Bundle, BundleWriter, Cell, CellId, Classification, Geocells, Guess, LatLon, Manifest, PrototypesWriter,
    RadiusTable, RefineParams, Regression, TaskList,
    bundle::{ENCODER, GEOCELLS, HEADS, PROTOTYPES},
    manifest::{FORMAT, ImageInput},
    prototypes::Cluster,
    radius::Knot,
};
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

/// Side of the input.
pub const SIZE: u32 = 32;
/// Length of an embedding.
pub const DIMS: usize = 8;
const CELLS: usize = 24;
/// Countries of the cells, in turn.
pub const COUNTRIES: [[u8; 2]; 5] = [*b"FR", *b"BR", *b"JP", *b"KE", *b"CA"];

fn weights(name: &str, dims: &[i64], scale: f32) -> TensorProto {
    let mut state = name.bytes().fold(7u64, |s, b| s.wrapping_mul(31).wrapping_add(b.into()));
    let raw_data = (0..dims.iter().product::<i64>())
        .flat_map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * scale).to_le_bytes()
        })
        .collect();
    let data_type = DataType::Float as i32;
    TensorProto { name: name.into(), dims: dims.to_vec(), data_type, raw_data, ..TensorProto::default() }
}

fn value(name: &str, dims: &[&str]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |d: &&str| Dimension {
        value: Some(d.parse().map_or_else(|_| Value::DimParam(d.to_string()), Value::DimValue)),
        ..Dimension::default()
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..ValueInfoProto::default() }
}

fn node(op: &str, inputs: &[&str], output: &str, ints: &[(&str, &[i64])]) -> NodeProto {
    let attribute = |(name, ints): &(&str, &[i64])| AttributeProto {
        name: name.to_string(),
        r#type: AttributeType::Ints as i32,
        ints: ints.to_vec(),
        ..AttributeProto::default()
    };
    NodeProto {
        name: output.into(),
        op_type: op.into(),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: vec![output.into()],
        attribute: ints.iter().map(attribute).collect(),
        ..NodeProto::default()
    }
}

fn encode(graph: GraphProto) -> Vec<u8> {
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 13 }];
    ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
}

/// Patch convolution, ReLU, mean over the patches. `stray` replaces one weight.
pub fn encoder_onnx(stray: Option<f32>) -> Vec<u8> {
    encoder(DIMS as i64, stray, false)
}

/// An encoder whose embeddings have another length.
#[allow(dead_code, reason = "the tests inside the program do not need it")]
pub fn encoder_onnx_of(dims: i64) -> Vec<u8> {
    encoder(dims, None, false)
}

/// An encoder with a softmax that belongs to no attention.
#[allow(dead_code, reason = "the tests inside the program do not need it")]
pub fn encoder_onnx_with_softmax() -> Vec<u8> {
    encoder(DIMS as i64, None, true)
}

fn encoder(dims: i64, stray: Option<f32>, softmax: bool) -> Vec<u8> {
    let mut patch = weights("patch", &[dims, 3, 8, 8], 0.5);
    let (side, dims) = (SIZE.to_string(), dims.to_string());
    if let Some(v) = stray {
        patch.raw_data[40..44].copy_from_slice(&v.to_le_bytes());
    }
    let mut nodes = vec![
        node("Conv", &["views", "patch"], "patches", &[("kernel_shape", &[8, 8]), ("strides", &[8, 8])]),
        node("Relu", &["patches"], "tokens", &[]),
        node("GlobalAveragePool", &["tokens"], "pooled", &[]),
    ];
    match softmax {
        true => {
            nodes.extend([node("Flatten", &["pooled"], "flat", &[]), node("Softmax", &["flat"], "embeddings", &[])])
        }
        false => nodes.push(node("Flatten", &["pooled"], "embeddings", &[])),
    }
    encode(GraphProto {
        name: "encoder".into(),
        node: nodes,
        initializer: vec![patch],
        input: vec![value("views", &["views", "3", &side, &side])],
        output: vec![value("embeddings", &["views", &dims])],
        ..GraphProto::default()
    })
}

/// Linear heads: cells, elevation, month.
pub fn heads_onnx() -> Vec<u8> {
    let heads = [("cells", CELLS), ("elevation_m", 1), ("month", 12)];
    let name = |n: &str| format!("{n}.weight");
    encode(GraphProto {
        name: "heads".into(),
        node: heads.iter().map(|(n, _)| node("MatMul", &["embedding", &name(n)], n, &[])).collect(),
        initializer: heads.iter().map(|(n, s)| weights(&name(n), &[DIMS as i64, *s as i64], 4.0)).collect(),
        input: vec![value("embedding", &["1", &DIMS.to_string()])],
        output: heads.iter().map(|(n, s)| value(n, &["1", &s.to_string()])).collect(),
        ..GraphProto::default()
    })
}

fn position(cell: usize) -> LatLon {
    LatLon::wrapped(-50.0 + 5.0 * cell as f64, -170.0 + 37.0 * cell as f64)
}

fn geocells() -> Geocells {
    let cell = |c| Cell {
        centroid: position(c),
        country: COUNTRIES[c % COUNTRIES.len()],
        place: format!("Town {c}"),
        admin1: "Région".into(),
        samples: 10,
    };
    Geocells::new((0..CELLS).map(cell).collect(), vec![]).expect("sound")
}

fn prototypes() -> Vec<u8> {
    let mut writer = PrototypesWriter::new(DIMS);
    for i in 0..2 * CELLS {
        let embedding: Vec<f32> = (0..DIMS).map(|d| ((i * 7 + d * 3) as f32 * 0.37).sin().abs()).collect();
        writer.push(&Cluster {
            cell: CellId((i / 2) as u32),
            embedding: &embedding,
            position: position(i / 2).destination(90.0 * i as f64, 12.0),
            place: &format!("Village {i}"),
            spread_km: 3.0,
            members: 5,
            member_rows: vec![],
        });
    }
    writer.encode(CELLS)
}

/// The manifest, without hashes.
pub fn manifest() -> Manifest {
    let knot = |spread_km, p50_km, p95_km| Knot { spread_km, p50_km, p95_km };
    let months = (1..=12).map(|m| m.to_string()).collect();
    Manifest {
        format: FORMAT,
        name: "tiny".into(),
        created_by: "a test".into(),
        licence: "MIT OR Apache-2.0".into(),
        simulated_planet: true,
        embedding: DIMS,
        cells: CELLS,
        tau_km: 75.0,
        image: ImageInput { size: SIZE, mean: [0.5; 3], std: [0.25; 3] },
        refine: RefineParams { k: 5, temperature: 1.6, limit_km: Some(1000.0), guess: Guess::Centroid },
        radius: RadiusTable { knots: vec![knot(10.0, 20.0, 90.0), knot(9000.0, 5000.0, 15000.0)] },
        tasks: TaskList {
            regressions: vec![Regression::fit("elevation_m", "m", true, 450.0, [0.0, 900.0].into_iter())],
            classifications: vec![Classification { name: "month".into(), classes: months }],
        },
        training: BTreeMap::new(),
        figures: BTreeMap::new(),
        files: BTreeMap::new(),
    }
}

/// Writes the bundle into `dir` and opens it.
pub fn bundle(dir: &Path) -> Bundle {
    let mut writer = BundleWriter::new(dir).expect("a directory for tests can be written");
    let files = [
        (ENCODER, encoder_onnx(None)),
        (HEADS, heads_onnx()),
        (GEOCELLS, geocells().encode()),
        (PROTOTYPES, prototypes()),
    ];
    for (name, bytes) in files {
        writer.file(name, &bytes).expect("written");
    }
    writer.finish(manifest()).expect("a sound bundle")
}
