//! The forms in a file that are joined, by who gives and who reads what.

use std::collections::{BTreeMap, HashMap, HashSet};

use tract_core::internal::TractResult;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, tensor_proto::DataType};
use tract_onnx::tract_hir::internal::InferenceOp;

use super::JOINED;
use super::layers::Layers;

/// Identities that are looked through for a constant.
const LONGEST_CHAIN: usize = 16;

/// What nodes are.
pub(super) enum Form<'a> {
    /// Quantised linear layers of the same rows, their results one after the other.
    Linear(Vec<LinearForm<'a>>),
    /// Attention on queries, keys and values of so many numbers beside each other.
    Attention { heads: i64, width: i64, scale: f32 },
    /// A LayerNorm over the last axis.
    LayerNorm { gain: &'a TensorProto, shift: &'a TensorProto, epsilon: f32 },
}

/// The weights of a quantised linear layer.
pub(super) struct LinearForm<'a> {
    /// `[inputs, outputs]`.
    pub weights: &'a TensorProto,
    pub zeros: Option<&'a TensorProto>,
    pub scales: &'a TensorProto,
    pub bias: &'a TensorProto,
}

/// Nodes that become one.
struct Found<'a> {
    /// The one whose place and name it gets.
    place: usize,
    input: &'a str,
    form: Form<'a>,
}

/// Joins what has a form that is known; gives the operators by the values that they give.
///
/// # Errors
/// When a layer cannot be packed.
pub(super) fn join(
    graph: &mut GraphProto,
    opset: i64,
    layers: &Layers,
) -> TractResult<Vec<(String, Box<dyn InferenceOp>)>> {
    // What leads nowhere reads values too.
    drop_unread(graph);
    let known = Known::of(graph, opset);
    let mut found: BTreeMap<usize, Found> = known.alone().map(|found| (found.place, found)).collect();
    for node in known.nodes {
        if let Some(attention) = known.attention(node) {
            attention.take_projections(&mut found, known.nodes);
        }
    }
    let packed = found
        .into_values()
        .map(|Found { place, input, form }| Ok((place, input.to_owned(), layers.pack(&graph.node[place].name, form)?)));
    let packed = packed.collect::<TractResult<Vec<_>>>()?;
    let mut ops = Vec::new();
    for (place, input, op) in packed {
        let node = &mut graph.node[place];
        node.op_type = JOINED.to_owned();
        node.domain.clear();
        node.input = vec![input];
        node.attribute.clear();
        // Each form has one output.
        ops.extend(node.output.first().cloned().map(|output| (output, op)));
    }
    // A layer of three gives more than the one whose name it has.
    let joined: HashSet<&str> = ops.iter().map(|(output, _)| &**output).collect();
    graph.value_info.retain(|info| !joined.contains(&*info.name));
    drop_unread(graph);
    Ok(ops)
}

/// Who gives and who reads what in a graph.
struct Known<'a> {
    nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    givers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
    opset: i64,
}

impl<'a> Known<'a> {
    fn of(graph: &'a GraphProto, opset: i64) -> Self {
        let mut known = Known {
            nodes: &graph.node,
            constants: (graph.initializer.iter())
                .filter(|weight| !weight.name.is_empty())
                .map(|weight| (&*weight.name, weight))
                .collect(),
            givers: HashMap::new(),
            readers: HashMap::new(),
            outputs: graph.output.iter().map(|output| &*output.name).collect(),
            opset,
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
        let reader = self.lone(output)?;
        let next = &self.nodes[reader];
        (next.op_type == op_type).then_some((reader, next))
    }

    /// The place of the only reader of a value that is no output.
    fn lone(&self, value: &str) -> Option<usize> {
        match self.readers.get(value)?[..] {
            [reader] if !self.outputs.contains(value) => Some(reader),
            _ => None,
        }
    }

    /// A constant of this type.
    fn constant(&self, mut value: &'a str, kind: DataType) -> Option<&'a TensorProto> {
        // Constants that are alike are often one, passed on. A circle has no end.
        for _ in 0..LONGEST_CHAIN {
            match self.giver(value) {
                Some(node) if node.op_type == "Identity" => value = node.input.first()?,
                _ => break,
            }
        }
        self.constants.get(value).copied().filter(|t| t.data_type == kind as i32)
    }

    /// What nodes become without looking at what others become.
    fn alone(&self) -> impl Iterator<Item = Found<'a>> {
        self.nodes.iter().enumerate().filter_map(|(i, node)| self.linear(node).or_else(|| self.layer_norm(i, node)))
    }

    /// `DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul(input scale * weight scales) -> Add(bias)`, by its product.
    fn linear(&self, product: &'a NodeProto) -> Option<Found<'a>> {
        let (bytes, weights) = match &product.input[..] {
            [bytes, weights, ..] if product.op_type == "MatMulInteger" => (bytes, weights),
            _ => return None,
        };
        let quantiser = self.giver(bytes).filter(|node| node.op_type == "DynamicQuantizeLinear")?;
        let ([x], [own_bytes, scale, zero]) = (&quantiser.input[..], &quantiser.output[..]) else { return None };
        let weights = self.constant(weights, DataType::Int8)?;
        let zeros = match product.input.get(3) {
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
        let form = Form::Linear(vec![LinearForm { weights, zeros, scales, bias }]);
        Some(Found { place, input: x, form })
    }

    /// `softmax(scale * Q K^T) V` over heads, by its softmax; Q, K and V are split from `[sequences, tokens, width]`, which
    /// is taken for granted: a file need not state it. Nobody else may read what is between.
    fn attention(&self, softmax: &'a NodeProto) -> Option<Attention> {
        let [scores] = &softmax.input[..] else { return None };
        // Before opset 13 it went over all axes from the one that is stated.
        let last = match softmax.attribute.iter().find(|a| a.name == "axis") {
            Some(axis) => axis.i == 3 || axis.i == -1,
            None => self.opset >= 13,
        };
        if softmax.op_type != "Softmax" || !last {
            return None;
        }
        let (scores, after) = self.scaled(scores)?;
        let scores = self.giver(scores).filter(|node| node.op_type == "MatMul")?;
        let [queries, keys] = &scores.input[..] else { return None };
        let ((queries, of_queries), (keys, of_keys)) = (self.scaled(queries)?, self.scaled(keys)?);
        let (_, mix) = self.reader(softmax, "MatMul")?;
        let [shares, values] = &mix.input[..] else { return None };
        if softmax.output.first() != Some(shares) {
            return None;
        }
        let (q, of_q) = self.split(queries, [0, 2, 1, 3])?;
        let (k, of_k) = self.split(keys, [0, 2, 3, 1])?;
        let (v, of_v) = self.split(values, [0, 2, 1, 3])?;
        let (_, back) = self.reader(mix, "Transpose")?;
        let (place, joined) = self.reader(back, "Reshape")?;
        let &[0, _, width] = &self.integers(joined.input.get(1)?)?[..] else { return None };
        let (heads, head) = of_q;
        let scale = after * of_queries * of_keys;
        // A softmax takes the largest score off, which is the largest still when it has been multiplied.
        let multiple = scale > 0.0 && scale.is_finite();
        let fits = of_q == of_k && of_q == of_v && heads > 0 && heads.checked_mul(head) == Some(width) && multiple;
        (fits && turned(back, [0, 2, 1, 3])).then_some(Attention { place, projections: [q, k, v], heads, width, scale })
    }

    /// The node that gives what is split into heads and turned to a value; how many heads of how many numbers.
    fn split(&self, value: &str, axes: [i64; 4]) -> Option<(usize, (i64, i64))> {
        self.lone(value)?;
        let turn = self.giver(value).filter(|node| turned(node, axes))?;
        let split = turn.input.first()?;
        self.lone(split)?;
        let reshape = self.giver(split).filter(|node| node.op_type == "Reshape")?;
        let [whole, shape] = &reshape.input[..] else { return None };
        self.lone(whole)?;
        // The first axis stays, and the heads take the last one: of three the second stays too, whatever is said of it.
        let &[0, _, heads, head] = &self.integers(shape)?[..] else { return None };
        Some((*self.givers.get(&**whole)?, (heads, head)))
    }

    /// What a value is a multiple of, and the one number that it is multiplied with; nothing where others read it.
    fn scaled(&self, value: &'a str) -> Option<(&'a str, f32)> {
        self.lone(value)?;
        let product = || {
            let node = self.giver(value)?;
            let [a, b] = &node.input[..] else { return None };
            match &*node.op_type {
                "Mul" => self.float(b).map(|b| (&**a, b)).or_else(|| Some((&**b, self.float(a)?))),
                "Div" => Some((&**a, 1.0 / self.float(b)?)),
                _ => None,
            }
        };
        Some(product().filter(|(of, _)| self.lone(of).is_some()).unwrap_or((value, 1.0)))
    }

    /// The one float that a value is.
    fn float(&self, value: &'a str) -> Option<f32> {
        let tensor =
            self.constant(value, DataType::Float).filter(|tensor| tensor.dims.iter().all(|size| *size == 1))?;
        match (&tensor.raw_data[..], &tensor.float_data[..]) {
            (&[a, b, c, d], []) => Some(f32::from_le_bytes([a, b, c, d])),
            ([], [number]) => Some(*number),
            _ => None,
        }
    }

    /// The whole numbers that a value is.
    fn integers(&self, value: &'a str) -> Option<Vec<i64>> {
        let tensor = self.constant(value, DataType::Int64)?;
        let of = |b: &[u8]| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
        Some(match &tensor.raw_data[..] {
            [] => tensor.int64_data.clone(),
            raw => raw.chunks_exact(8).map(of).collect(),
        })
    }

    /// `LayerNormalization` over the last axis, with gain and shift.
    fn layer_norm(&self, place: usize, node: &'a NodeProto) -> Option<Found<'a>> {
        let [x, gain, shift] = &node.input[..] else { return None };
        let number =
            |name: &str| -> Option<&AttributeProto> { node.attribute.iter().find(|attribute| attribute.name == name) };
        let last = number("axis").is_none_or(|axis| axis.i == -1);
        let floats = number("stash_type").is_none_or(|kind| kind.i == DataType::Float as i64);
        if node.op_type != "LayerNormalization" || node.output.len() != 1 || !last || !floats {
            return None;
        }
        let epsilon = number("epsilon").map_or(1e-5, |epsilon| epsilon.f);
        let (gain, shift) = (self.constant(gain, DataType::Float)?, self.constant(shift, DataType::Float)?);
        // One gain would be for all numbers, however many.
        if gain.dims != shift.dims || !matches!(gain.dims[..], [width] if width > 1) {
            return None;
        }
        Some(Found { place, input: x, form: Form::LayerNorm { gain, shift, epsilon } })
    }
}

/// An attention whose queries, keys and values come from nodes of their own.
struct Attention {
    /// The node that joins the heads.
    place: usize,
    projections: [usize; 3],
    heads: i64,
    /// Numbers of all heads.
    width: i64,
    scale: f32,
}

impl Attention {
    /// Makes one layer of the three that project, if they are linear layers of the same rows, and an attention behind it.
    fn take_projections<'a>(self, found: &mut BTreeMap<usize, Found<'a>>, nodes: &'a [NodeProto]) {
        let Attention { place, projections, heads, width, scale } = self;
        let layer = |place: &usize| match found.get(place) {
            Some(Found { input, form: Form::Linear(layers), .. }) => match &layers[..] {
                [LinearForm { weights, .. }] => match weights.dims[..] {
                    [inputs, outputs] if outputs == width => Some((*input, inputs)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        let [q, k, v] = projections;
        let layers = [&q, &k, &v].map(layer);
        if layers[0].is_none() || layers[0] != layers[1] || layers[0] != layers[2] || q == k || q == v || k == v {
            return;
        }
        // The first of the three gives all of them.
        let [input] = &nodes[q].output[..] else { return };
        for other in [k, v] {
            if let Some(Found { form: Form::Linear(more), .. }) = found.remove(&other)
                && let Some(Found { form: Form::Linear(layers), .. }) = found.get_mut(&q)
            {
                layers.extend(more);
            }
        }
        found.insert(place, Found { place, input, form: Form::Attention { heads, width, scale } });
    }
}

/// Whether a node turns axes like this.
fn turned(node: &NodeProto, axes: [i64; 4]) -> bool {
    node.op_type == "Transpose" && node.attribute.iter().any(|a| a.name == "perm" && a.ints == axes)
}

/// The input of a node with two that does not come from `node`.
fn other<'a>(operator: &'a NodeProto, node: &NodeProto) -> Option<&'a str> {
    match (&operator.input[..], &node.output[..]) {
        ([a, b], [own]) if a == own => Some(b),
        ([a, b], [own]) if b == own => Some(a),
        _ => None,
    }
}

/// Removes nodes and weights that nobody reads any more.
fn drop_unread(graph: &mut GraphProto) {
    let givers: HashMap<&str, usize> = (graph.node.iter().enumerate())
        .flat_map(|(i, node)| node.output.iter().map(move |name| (&**name, i)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
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
