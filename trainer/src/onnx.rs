//! A writer of ONNX graphs over the protobuf types of `tract_onnx::pb`.
//!
//! It knows tensors, nodes, inputs and outputs, and nothing of any model. Each node has one name of its own, which is
//! also the name of its first output, so that a graph viewer and an error message show the same path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto::Dimension,
    tensor_shape_proto::dimension::Value, type_proto,
};

/// The operator set of every graph we write.
pub const OPSET: i64 = 20;
/// The file format version that belongs to it (ONNX 1.15).
pub const IR_VERSION: i64 = 9;

/// A dense float tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values; as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// Named weights, in the spelling of CLIP at Hugging Face.
pub type Weights = BTreeMap<String, Tensor>;

/// A graph cannot be built from what was given.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A weight is missing.
    #[error("weight {0} is missing")]
    Missing(String),
    /// A weight has another shape than the tower asks for.
    #[error("weight {name} has shape {found:?}, the tower needs {expected:?}")]
    Shape {
        /// The weight.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape the tower needs.
        expected: Vec<usize>,
    },
    /// A weight holds NaN or an infinity.
    #[error("weight {0} is not finite; the training diverged")]
    NotFinite(String),
    /// The file cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A size in the shape of an input or output.
#[derive(Clone, Copy, Debug)]
pub enum Dim {
    /// Chosen by the caller of the model.
    Named(&'static str),
    /// Fixed.
    Fixed(usize),
}

/// The value of a node's attribute.
#[derive(Clone, Copy, Debug)]
pub enum Attribute<'a> {
    /// A whole number.
    Int(i64),
    /// A float.
    Float(f32),
    /// Whole numbers.
    Ints(&'a [i64]),
}

/// A graph under construction.
#[derive(Debug, Default)]
pub struct GraphWriter {
    nodes: Vec<NodeProto>,
    initialisers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    names: BTreeSet<String>,
}

impl GraphWriter {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a float input.
    pub fn input(&mut self, name: &str, shape: &[Dim]) {
        self.claim(name);
        self.inputs.push(value_info(name, shape));
    }

    /// Declares `value`, which a node has to give, as a float output.
    pub fn output(&mut self, value: &str, shape: &[Dim]) {
        self.outputs.push(value_info(value, shape));
    }

    /// Adds constant floats; `data` has as many values as `shape` says.
    pub fn f32s(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        self.initialiser(name, shape, DataType::Float, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Adds constant signed bytes; `data` has as many values as `shape` says.
    pub fn i8s(&mut self, name: &str, shape: &[usize], data: &[i8]) -> String {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        self.initialiser(name, shape, DataType::Int8, data.iter().map(|&x| x.cast_unsigned()).collect())
    }

    /// Adds a constant list of whole numbers (a shape, axes).
    pub fn i64s(&mut self, name: &str, data: &[i64]) -> String {
        self.initialiser(name, &[data.len()], DataType::Int64, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Adds a node with one output, and gives that output's name, which is `name`.
    pub fn node(&mut self, name: &str, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        self.node_with(name, op, inputs, &[name], attributes);
        name.to_owned()
    }

    /// Adds a node with any number of outputs, named by the caller.
    pub fn node_with(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        outputs.iter().for_each(|o| self.claim(o));
        self.nodes.push(NodeProto {
            name: name.to_owned(),
            op_type: op.to_owned(),
            input: inputs.iter().map(|&s| s.to_owned()).collect(),
            output: outputs.iter().map(|&s| s.to_owned()).collect(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, *value)).collect(),
            ..NodeProto::default()
        });
    }

    /// The finished model, called `name`.
    pub fn finish(self, name: &str) -> ModelProto {
        ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            producer_name: "homing-trainer".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(GraphProto {
                name: name.to_owned(),
                node: self.nodes,
                initializer: self.initialisers,
                input: self.inputs,
                output: self.outputs,
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    fn initialiser(&mut self, name: &str, shape: &[usize], kind: DataType, raw_data: Vec<u8>) -> String {
        self.claim(name);
        self.initialisers.push(TensorProto {
            name: name.to_owned(),
            dims: shape.iter().map(|&n| n as i64).collect(),
            data_type: kind as i32,
            raw_data,
            ..TensorProto::default()
        });
        name.to_owned()
    }

    /// Values are assigned once; a second one of the same name is a mistake in the code that builds the graph.
    fn claim(&mut self, name: &str) {
        assert!(self.names.insert(name.to_owned()), "two values are called {name}");
    }
}

/// The bytes of an `.onnx` file.
pub fn to_bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Writes an `.onnx` file.
///
/// # Errors
/// When the file cannot be written.
pub fn write(model: &ModelProto, path: &Path) -> Result<(), GraphError> {
    std::fs::write(path, to_bytes(model)).map_err(|source| GraphError::Write { path: path.to_owned(), source })
}

fn value_info(name: &str, shape: &[Dim]) -> ValueInfoProto {
    let dim = |d: &Dim| Dimension {
        denotation: String::new(),
        value: Some(match d {
            Dim::Named(symbol) => Value::DimParam((*symbol).to_owned()),
            Dim::Fixed(size) => Value::DimValue(*size as i64),
        }),
    };
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: shape.iter().map(dim).collect() }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { denotation: String::new(), value: Some(type_proto::Value::TensorType(tensor)) }),
        doc_string: String::new(),
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut a = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(i) => {
            a.i = i;
            AttributeType::Int
        }
        Attribute::Float(f) => {
            a.f = f;
            AttributeType::Float
        }
        Attribute::Ints(list) => {
            a.ints = list.to_vec();
            AttributeType::Ints
        }
    };
    a.r#type = kind as i32;
    a
}
