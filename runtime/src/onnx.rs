//! Reading an ONNX file with its weights once in memory.
//!
//! tract decodes a whole file before it makes tensors of it: all weights are then in memory twice, beside the file. Here
//! the file is decoded without them. It then says that they are elsewhere, as the format allows (ONNX, "external data"),
//! and where in this file: whoever packs them takes them from there, one by one.

use std::cell::Cell;

use homing_kernels::{Kernel, Weights, read};
use homing_models::FileBytes;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use tract_onnx::pb::{ModelProto, StringStringEntryProto, TensorProto, tensor_proto::DataLocation};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{bail, ensure};

/// Numbers of fields, from the format's `onnx.proto`.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;
const EXTERNAL_DATA: u32 = 13;
const DATA_LOCATION: u32 = 14;

/// Shorter ones stay where they are: finding them costs more than their memory.
const LONG: usize = 4096;
/// Bytes of weights after which the file's memory is given back. The system brings a file into memory by up to two megabytes: to
/// give them back after each weight took longer than to pack it.
const FORGOTTEN: usize = 1 << 20;
const ELSEWHERE: &str = "weights in another file";

/// An ONNX file of which all but the long weights is decoded.
pub struct OnnxFile {
    bytes: FileBytes,
    proto: ModelProto,
}

impl OnnxFile {
    /// Decodes the file.
    ///
    /// # Errors
    /// When it is no ONNX file, or its graph has weights in other files.
    pub fn decode(bytes: FileBytes) -> TractResult<Self> {
        let mut short = Vec::new();
        Walk { file: &bytes, out: &mut short }.message(0..bytes.len(), &[GRAPH, INITIALIZER])?;
        let proto = ModelProto::decode(&*short)?;
        bytes.forget();
        Ok(OnnxFile { bytes, proto })
    }

    /// What was decoded.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The bytes of a weight that the file has as bytes; none of one that it has as numbers.
    pub fn raw_data<'a>(&'a self, tensor: &'a TensorProto) -> &'a [u8] {
        raw_data(&self.bytes, tensor)
    }

    /// The graph as tract reads it, with the weights, its layers joined for a kernel. Shapes that the file states for
    /// results are left out: they carry symbols, which would contradict the numbers put in for them.
    ///
    /// # Errors
    /// When tract does not understand it.
    pub fn model(self, kernel: Kernel) -> TractResult<InferenceModel> {
        let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        let file = FromFile { file: self.bytes, since: Cell::new(0) };
        let model = read(onnx, self.proto, kernel, &file)?;
        file.file.forget();
        Ok(model)
    }
}

/// The file that weights are packed from.
struct FromFile {
    file: FileBytes,
    /// Bytes of weights since its memory was given back.
    since: Cell<usize>,
}

impl Weights for FromFile {
    fn raw<'a>(&'a self, weight: &'a TensorProto) -> &'a [u8] {
        if self.since.get() >= FORGOTTEN {
            self.file.forget();
            self.since.set(0);
        }
        let raw = raw_data(&self.file, weight);
        self.since.set(self.since.get() + raw.len());
        raw
    }
}

fn raw_data<'a>(file: &'a [u8], tensor: &'a TensorProto) -> &'a [u8] {
    // As tract does: what is there comes first.
    if !tensor.raw_data.is_empty() || tensor.data_location != Some(DataLocation::External as i32) {
        return &tensor.raw_data;
    }
    let number = |key: &str| tensor.external_data.iter().find(|e| e.key == key).and_then(|e| e.value.parse().ok());
    match (number("offset"), number("length")) {
        (Some(offset), Some(length)) => {
            file.get(offset..).and_then(|from: &[u8]| from.get(..length)).unwrap_or_default()
        }
        _ => &[],
    }
}

/// Copies messages of a file, but for the long weights.
struct Walk<'a> {
    file: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Walk<'_> {
    /// A message at `range`. The first of `path` is the field that leads to weights; none is left in a weight itself.
    fn message(&mut self, range: std::ops::Range<usize>, path: &[u32]) -> TractResult<()> {
        let mut at = range.start;
        let mut left_out = None;
        while at < range.end {
            let mut rest = &self.file[at..range.end];
            let (tag, wire) = decode_key(&mut rest)?;
            let length = match wire {
                WireType::Varint => {
                    let number = decode_varint(&mut rest)?;
                    // Cut off to 32 bits, as whoever decodes it does.
                    let external = number as i32 == DataLocation::External as i32;
                    ensure!(!(path.is_empty() && tag == DATA_LOCATION && external), ELSEWHERE);
                    0
                }
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => usize::try_from(decode_varint(&mut rest)?)?,
                WireType::StartGroup | WireType::EndGroup => bail!("a group, which the format does not have"),
            };
            ensure!(length <= rest.len(), "the file is cut short");
            let content = range.end - rest.len()..range.end - rest.len() + length;
            let field = at..content.end;
            at = field.end;
            match path {
                [first, path @ ..] if *first == tag && wire == WireType::LengthDelimited => {
                    let mut inner = Vec::new();
                    Walk { file: self.file, out: &mut inner }.message(content, path)?;
                    encode_key(tag, wire, self.out);
                    encode_varint(inner.len() as u64, self.out);
                    self.out.append(&mut inner);
                }
                [] if tag == EXTERNAL_DATA => bail!(ELSEWHERE),
                // Of a field that is there twice the last counts.
                [] if tag == RAW_DATA && length >= LONG => left_out = Some(content),
                [] if tag == RAW_DATA && left_out.is_some() => bail!("a weight that is there twice"),
                _ => self.out.extend_from_slice(&self.file[field]),
            }
        }
        if let Some(content) = left_out {
            for (key, number) in [("offset", content.start), ("length", content.len())] {
                let entry = StringStringEntryProto { key: key.to_owned(), value: number.to_string() };
                prost::encoding::message::encode(EXTERNAL_DATA, &entry, self.out);
            }
            encode_key(DATA_LOCATION, WireType::Varint, self.out);
            encode_varint(DataLocation::External as u64, self.out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{
        AttributeProto, GraphProto, NodeProto, ValueInfoProto, attribute_proto, tensor_proto::DataType,
    };
    use tract_onnx::tract_hir::infer::Factoid;

    use super::*;
    use crate::tiny;

    #[test]
    fn all_but_the_long_weights_is_as_it_was_and_those_are_found() {
        for bytes in [tiny::encoder_onnx(None), std::fs::read("../models/shipped/encoder.onnx").unwrap()] {
            let whole = ModelProto::decode(&*bytes).unwrap();
            let file = OnnxFile::decode(bytes.into()).unwrap();
            let mut short = file.proto().clone();
            let (mut found, mut long) = (Vec::new(), 0);
            for tensor in short.graph.iter_mut().flat_map(|g| &mut g.initializer) {
                let raw = file.raw_data(tensor).to_vec();
                assert_eq!(raw.len() >= LONG, tensor.raw_data.is_empty() && !raw.is_empty(), "{}", tensor.name);
                long += usize::from(raw.len() >= LONG);
                tensor.external_data.clear();
                tensor.data_location = None;
                tensor.raw_data = raw.clone();
                // Those of linear layers are joined with them, and packed: see the tests of the graphs.
                if tensor.data_type != DataType::Int8 as i32 {
                    found.push(raw);
                }
            }
            assert!(long > 0, "a graph without long weights shows nothing");
            assert!(short == whole, "decoded and put together again");
            let model = file.model(Kernel::Portable).unwrap();
            let consts = model.nodes().iter().filter_map(|n| n.outputs[0].fact.value.concretize()).collect::<Vec<_>>();
            let bytes_of = |t: &Arc<Tensor>| t.as_bytes().to_vec();
            assert!(found.iter().filter(|raw| raw.len() >= LONG).all(|raw| consts.iter().any(|t| bytes_of(t) == *raw)));
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let good = tiny::encoder_onnx(None);
        assert!(OnnxFile::decode(good[..good.len() / 2].to_vec().into()).is_err());
        for (bytes, words) in [(&b"no graph"[..], ""), (&[0x3a, 0x7f, 1][..], "cut short"), (&[0x3b][..], "group")] {
            let e = OnnxFile::decode(bytes.to_vec().into()).err().unwrap().to_string();
            assert!(e.contains(words), "{e}");
        }
        let entry = StringStringEntryProto { key: "length".to_owned(), value: "0".to_owned() };
        for elsewhere in [
            TensorProto { data_location: Some(DataLocation::External as i32), ..TensorProto::default() },
            // Without the location it is no weight elsewhere: what it says must not be mistaken for ours.
            TensorProto { external_data: vec![entry], raw_data: vec![0; LONG], ..TensorProto::default() },
        ] {
            let graph = GraphProto { initializer: vec![elsewhere], ..GraphProto::default() };
            let bytes = ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec();
            let e = OnnxFile::decode(bytes.into()).err().unwrap().to_string();
            assert_eq!(e, "weights in another file");
        }
        // A node's constant that names a file, and an input that nothing gives.
        let value = AttributeProto {
            name: "value".to_owned(),
            r#type: attribute_proto::AttributeType::Tensor as i32,
            t: Some(TensorProto {
                data_type: 1,
                dims: vec![1],
                data_location: Some(DataLocation::External as i32),
                external_data: vec![StringStringEntryProto { key: "location".to_owned(), value: "etc".to_owned() }],
                ..TensorProto::default()
            }),
            ..AttributeProto::default()
        };
        let constant = NodeProto {
            op_type: "Constant".to_owned(),
            output: vec!["y".to_owned()],
            attribute: vec![value],
            ..NodeProto::default()
        };
        let orphan = NodeProto {
            op_type: "Relu".to_owned(),
            input: vec!["nobody".to_owned()],
            output: vec!["y".to_owned()],
            ..NodeProto::default()
        };
        for (node, words) in [(constant, "weights in another file"), (orphan, "no node gives nobody")] {
            let output = vec![ValueInfoProto { name: "y".to_owned(), ..ValueInfoProto::default() }];
            let graph = GraphProto { node: vec![node], output, ..GraphProto::default() };
            let bytes = ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec();
            let e = OnnxFile::decode(bytes.into()).unwrap().model(Kernel::Portable).unwrap_err();
            assert!(format!("{e:?}").contains(words), "{e:?}");
        }
    }
}
