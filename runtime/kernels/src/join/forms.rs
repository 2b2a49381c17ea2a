//! The forms in a file that are joined, by who gives and who reads what.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType, tensor_proto::DataType,
};

use super::{BIAS, EPSILON, GAIN, KERNEL, LAYER_NORM, LINEAR, SCALES, WEIGHTS, ZEROS};
use crate::cpu::Kernel;

/// Joins what has a form that is known, for a kernel.
pub(super) fn join(graph: &mut GraphProto, kernel: Kernel) {
    // What leads nowhere reads values too.
    drop_unread(graph);
    let known = Known::of(graph);
    let joined = |(i, node): (usize, &NodeProto)| known.linear(node).or_else(|| known.layer_norm(i, node));
    // A joined node has the place of the last that it was.
    let found: Vec<(usize, Joined)> = graph.node.iter().enumerate().filter_map(joined).collect();
    for (place, Joined { op_type, input, attributes }) in found {
        let node = &mut graph.node[place];
        let kernel = AttributeProto {
            name: KERNEL.to_owned(),
            r#type: AttributeType::String as i32,
            s: kernel.to_string().into_bytes(),
            ..AttributeProto::default()
        };
        node.op_type = op_type.to_owned();
        node.domain.clear();
        node.input = vec![input];
        node.attribute = attributes.into_iter().chain([kernel]).collect();
    }
    drop_unread(graph);
}

/// What a node becomes.
struct Joined {
    op_type: &'static str,
    input: String,
    attributes: Vec<AttributeProto>,
}

/// Who gives and who reads what in a graph.
struct Known<'a> {
    nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    givers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut known = Known {
            nodes: &graph.node,
            constants: (graph.initializer.iter())
                .filter(|weight| !weight.name.is_empty())
                .map(|weight| (&*weight.name, weight))
                .collect(),
            givers: HashMap::new(),
            readers: HashMap::new(),
            outputs: graph.output.iter().map(|output| &*output.name).collect(),
        };
        for (i, node) in graph.node.iter().enumerate() {
            // A name that is empty means that nothing is there.
            known.givers.extend(node.output.iter().filter(|name| !name.is_empty()).map(|output| (&**output, i)));
            let inputs = node.input.iter().filter(|name| !name.is_empty());
            inputs.for_each(|input| known.readers.entry(input).or_default().push(i));
            if let ("Constant", [value]) = (&*node.op_type, &node.attribute[..])
                && let (Some(tensor), [output]) = (&value.t, &node.output[..])
            {
                known.constants.insert(output, tensor);
            }
        }
        known
    }

    fn giver(&self, value: &str) -> Option<&'a NodeProto> {
        self.givers.get(value).map(|&i| &self.nodes[i])
    }

    /// The only reader of a node's only output, if it has this operator; and its place.
    fn reader(&self, node: &NodeProto, op_type: &str) -> Option<(usize, &'a NodeProto)> {
        let [output] = &node.output[..] else { return None };
        let [reader] = self.readers.get(&**output)?[..] else { return None };
        let next = &self.nodes[reader];
        (next.op_type == op_type && !self.outputs.contains(&**output)).then_some((reader, next))
    }

    /// A constant of this type.
    fn constant(&self, mut value: &'a str, kind: DataType) -> Option<&'a TensorProto> {
        // Constants that are alike are often one, passed on. A circle has no end.
        for _ in 0..=self.nodes.len() {
            match self.giver(value) {
                Some(node) if node.op_type == "Identity" => value = node.input.first()?,
                _ => break,
            }
        }
        self.constants.get(value).copied().filter(|t| t.data_type == kind as i32)
    }

    /// `DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul(input scale * weight scales) -> Add(bias)`, by its product.
    fn linear(&self, product: &'a NodeProto) -> Option<(usize, Joined)> {
        let (bytes, weights) = match &product.input[..] {
            [bytes, weights, ..] if product.op_type == "MatMulInteger" => (bytes, weights),
            _ => return None,
        };
        let quantiser = self.giver(bytes).filter(|node| node.op_type == "DynamicQuantizeLinear")?;
        let ([x], [own_bytes, scale, zero]) = (&quantiser.input[..], &quantiser.output[..]) else { return None };
        let weights = self.constant(weights, DataType::Int8)?;
        let weight_zeros = match product.input.get(3) {
            Some(zeros) if !zeros.is_empty() => Some(self.constant(zeros, DataType::Int8)?),
            _ => None,
        };
        let (_, cast) = self.reader(product, "Cast")?;
        let to_floats = cast.attribute.iter().any(|to| to.name == "to" && to.i == DataType::Float as i64);
        let (_, scaled) = self.reader(cast, "Mul")?;
        let factor = self.giver(other(scaled, cast)?).filter(|node| node.op_type == "Mul")?;
        let scales = match &factor.input[..] {
            [a, b] if a == scale => b,
            [a, b] if b == scale => a,
            _ => return None,
        };
        let scales = self.constant(scales, DataType::Float)?;
        let (place, add) = self.reader(scaled, "Add")?;
        let bias = self.constant(other(add, scaled)?, DataType::Float)?;
        let its_own = bytes == own_bytes && !zero.is_empty() && product.input.get(2) == Some(zero);
        let &[_, outputs] = &weights.dims[..] else { return None };
        let fits = bias.dims == [outputs] && (scales.dims == [outputs] || scales.dims.is_empty() || scales.dims == [1]);
        if !its_own || !to_floats || !fits {
            return None;
        }
        let mut attributes = vec![tensor(WEIGHTS, weights), tensor(SCALES, scales), tensor(BIAS, bias)];
        attributes.extend(weight_zeros.map(|zeros| tensor(ZEROS, zeros)));
        Some((place, Joined { op_type: LINEAR, input: x.clone(), attributes }))
    }

    /// `LayerNormalization` over the last axis, with gain and shift.
    fn layer_norm(&self, place: usize, node: &'a NodeProto) -> Option<(usize, Joined)> {
        let [x, gain, shift] = &node.input[..] else { return None };
        let number = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let last = number("axis").is_none_or(|axis| axis.i == -1);
        let floats = number("stash_type").is_none_or(|kind| kind.i == DataType::Float as i64);
        if node.op_type != "LayerNormalization" || node.output.len() != 1 || !last || !floats {
            return None;
        }
        let epsilon = AttributeProto {
            name: EPSILON.to_owned(),
            r#type: AttributeType::Float as i32,
            f: number(EPSILON).map_or(1e-5, |epsilon| epsilon.f),
            ..AttributeProto::default()
        };
        let (gain, shift) = (self.constant(gain, DataType::Float)?, self.constant(shift, DataType::Float)?);
        // One gain would be for all numbers, however many.
        if gain.dims != shift.dims || !matches!(gain.dims[..], [width] if width > 1) {
            return None;
        }
        let attributes = vec![tensor(GAIN, gain), tensor(BIAS, shift), epsilon];
        Some((place, Joined { op_type: LAYER_NORM, input: x.clone(), attributes }))
    }
}

/// The input of a node with two that does not come from `node`.
fn other<'a>(operator: &'a NodeProto, node: &NodeProto) -> Option<&'a str> {
    match (&operator.input[..], &node.output[..]) {
        ([a, b], [own]) if a == own => Some(b),
        ([a, b], [own]) if b == own => Some(a),
        _ => None,
    }
}

fn tensor(name: &str, value: &TensorProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Tensor as i32,
        t: Some(value.clone()),
        ..AttributeProto::default()
    }
}

/// Removes nodes and weights that nobody reads any more.
fn drop_unread(graph: &mut GraphProto) {
    let givers: HashMap<&str, usize> =
        graph.node.iter().enumerate().flat_map(|(i, node)| node.output.iter().map(move |name| (&**name, i))).collect();
    // A weight that is an input too stays: without it tract would ask for the input.
    let mut read: HashSet<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    let mut wanted = vec![false; graph.node.len()];
    let mut asked: Vec<&str> = graph.output.iter().map(|output| &*output.name).collect();
    while let Some(name) = asked.pop() {
        if let Some(&giver) = givers.get(name).filter(|giver| !wanted[**giver]) {
            wanted[giver] = true;
            asked.extend(graph.node[giver].input.iter().map(|input| &**input));
        }
        read.insert(name.to_owned());
    }
    let mut wanted = wanted.into_iter();
    graph.node.retain(|_| wanted.next() == Some(true));
    graph.initializer.retain(|weight| read.contains(&weight.name));
}
