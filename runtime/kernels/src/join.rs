//! Joins nodes of an ONNX file before tract reads it: what our operators take the place of becomes one node each.
//!
//! tract makes ten to twenty nodes of a quantised linear layer or a LayerNorm, and looks at each several times before
//! [`fuse`](crate::fuse) could replace them: that was most of the time to a first result. Joined layers are packed while
//! the file is read, one after the other, so that their weights are never in memory as the file has them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tract_core::internal::*;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
};
use tract_onnx::tract_hir::internal::*;

use crate::cpu::Kernel;
use crate::linear::Linear;
use crate::maths::Activation;
use crate::ops::{After, LayerNormOp, LinearOp};
use crate::rows::LayerNorm;

/// Bytes of the name of a size.
const LONGEST_SIZE: usize = 64;
/// Operators of joined nodes.
const LINEAR: &str = "HomingLinear";
const LAYER_NORM: &str = "HomingLayerNorm";
/// Their attributes.
const KERNEL: &str = "kernel";
const WEIGHTS: &str = "weights";
const SCALES: &str = "scales";
const BIAS: &str = "bias";
const ZEROS: &str = "zeros";
const GAIN: &str = "gain";
const EPSILON: &str = "epsilon";

/// Reads a file with `onnx`, its quantised linear layers and LayerNorms joined and packed for `kernel`. What has another form
/// stays as it is, and so does all of a file with graphs inside nodes; a linear layer that has the form, but a weight of
/// -128 or a zero point of weights, is an error. `directory` is where tract looks for weights in other files.
///
/// # Errors
/// When tract does not understand the file, or a node reads what nobody gives.
pub fn read(
    mut onnx: Onnx,
    mut file: ModelProto,
    directory: Option<&str>,
    kernel: Kernel,
) -> TractResult<InferenceModel> {
    file.graph.as_ref().map_or(Ok(()), check)?;
    if let Some(graph) = file.graph.as_mut().filter(|graph| is_plain(graph)) {
        onnx.op_register.insert(LINEAR, read_linear);
        onnx.op_register.insert(LAYER_NORM, read_layer_norm);
        join(graph, kernel);
    }
    let parsed = onnx.parse(&file, directory)?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        bail!("no node gives {name}, which another reads");
    }
    Ok(parsed.model)
}

/// Whether each value has a name of its own, no node has graphs inside, which could read any value, and none of the joined
/// operators is there yet.
fn is_plain(graph: &GraphProto) -> bool {
    let constants: HashSet<&str> = graph.initializer.iter().map(|weight| &*weight.name).collect();
    let mut names: HashSet<&str> =
        graph.input.iter().map(|input| &*input.name).chain(constants.iter().copied()).collect();
    let mut given = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let inside = |a: &AttributeProto| a.g.is_some() || !a.graphs.is_empty();
    constants.len() == graph.initializer.len()
        && given.all(|name| names.insert(name))
        && !graph.node.iter().any(|node| node.attribute.iter().any(inside))
        && !graph.node.iter().any(|node| [LINEAR, LAYER_NORM].contains(&&*node.op_type))
}

/// What tract would not survive: an output that nobody gives, text as a weight, a size that is a formula without end.
fn check(graph: &GraphProto) -> TractResult<()> {
    let inside = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|a| a.t.as_ref());
    for weight in graph.initializer.iter().chain(inside) {
        ensure!(weight.data_type != DataType::String as i32, "{} is text and no numbers", weight.name);
    }
    for input in &graph.input {
        let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
            continue;
        };
        for size in tensor.shape.iter().flat_map(|shape| &shape.dim) {
            if let Some(dimension::Value::DimParam(name)) = &size.value {
                ensure!(
                    name.len() <= LONGEST_SIZE,
                    "a size of input {} has a name of {} bytes",
                    input.name,
                    name.len()
                );
            }
        }
    }
    let inputs = graph.input.iter().map(|input| &input.name);
    let weights = graph.initializer.iter().map(|weight| &weight.name);
    let given = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let given: HashSet<&String> = inputs.chain(weights).chain(given).collect();
    for output in &graph.output {
        ensure!(given.contains(&output.name), "no node gives the output {}", output.name);
    }
    Ok(())
}

fn join(graph: &mut GraphProto, kernel: Kernel) {
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

    /// The only reader of a node's only output, if it has this operator; and its other input.
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

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

fn read_linear(context: &ParsingContext, node: &NodeProto) -> Built {
    let (weights, kernel) = (context.load_tensor(attribute(node, WEIGHTS)?)?, kernel_of(node)?);
    let &[.., inputs, outputs] = weights.shape() else { bail!("{} has no matrix of weights", node.name) };
    let bytes = weights.try_as_plain_ram()?.as_slice::<i8>()?;
    // It would make a pair of products too large for 16 bits.
    ensure!(!bytes.contains(&-128), "{} has weights of -128, which are to be -127..=127", node.name);
    if let Ok(zeros) = attribute(node, ZEROS) {
        let symmetric = context.load_tensor(zeros)?.is_all_zero()?;
        ensure!(symmetric, "{} has zero points of weights other than 0", node.name);
    }
    let (scales, bias) = (floats(context, node, SCALES)?, floats(context, node, BIAS)?);
    let layer = Linear::new(kernel, (inputs, outputs), bytes, &scales, &bias)?;
    Ok((expand(Layer(Arc::new(layer))), vec![]))
}

fn read_layer_norm(context: &ParsingContext, node: &NodeProto) -> Built {
    let (gain, shift) = (floats(context, node, GAIN)?, floats(context, node, BIAS)?);
    ensure!(gain.len() == shift.len(), "{} has {} gains and {} shifts", node.name, gain.len(), shift.len());
    let norm = Arc::new(LayerNorm { gain, shift, epsilon: node.get_attr(EPSILON)? });
    Ok((expand(Norm(LayerNormOp { kernel: kernel_of(node)?, norm })), vec![]))
}

fn kernel_of(node: &NodeProto) -> TractResult<Kernel> {
    Ok(node.get_attr::<String>(KERNEL)?.parse()?)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> TractResult<&'a TensorProto> {
    let found = node.attribute.iter().find(|attribute| attribute.name == name).and_then(|a| a.t.as_ref());
    found.with_context(|| format!("{} has no {name}", node.name))
}

fn floats(context: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Vec<f32>> {
    let tensor = context.load_tensor(attribute(node, name)?)?;
    let floats = tensor.try_as_plain_ram()?.as_slice::<f32>()?;
    ensure!(
        floats.iter().all(|number| number.is_finite()),
        "{} of {} holds NaN or an infinite number",
        name,
        node.name
    );
    Ok(floats.to_vec())
}

/// A packed layer in a graph whose shapes are not known yet: `[.., inputs] -> [.., outputs]`.
#[derive(Clone, Debug)]
struct Layer(Arc<Linear>);

impl Expansion for Layer {
    fn name(&self) -> StaticName {
        LINEAR.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.given(&inputs[0].shape, |s, mut shape| {
            let (inputs, last) = (self.0.inputs().to_dim(), shape.last_mut());
            let last = last.filter(|last| **last == inputs);
            *last.with_context(|| format!("a linear layer of {inputs} inputs gets another number"))? =
                self.0.outputs().to_dim();
            s.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        check_width(model, inputs, self.0.inputs())?;
        let op = LinearOp { layer: self.0.clone(), norm: None, after: After::Activation(Activation::None) };
        model.wire_node(prefix, op, inputs)
    }
}

/// Shapes may become known only now.
fn check_width(model: &TypedModel, inputs: &[OutletId], width: usize) -> TractResult<()> {
    let last = model.outlet_fact(inputs[0])?.shape.last().cloned();
    ensure!(last == Some(width.to_dim()), "an operator for rows of {width} numbers gets others");
    Ok(())
}

/// A LayerNorm in such a graph.
#[derive(Clone, Debug)]
struct Norm(LayerNormOp);

impl Expansion for Norm {
    fn name(&self) -> StaticName {
        LAYER_NORM.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].shape, &inputs[0].shape)?;
        s.given(&inputs[0].shape, |_, shape| {
            let width = self.0.norm.gain.len().to_dim();
            ensure!(shape.last() == Some(&width), "a LayerNorm over {width} numbers gets others");
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        check_width(model, inputs, self.0.norm.gain.len())?;
        model.wire_node(prefix, self.0.clone(), inputs)
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension};

    use super::*;

    fn node(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (name, op_type) = (output[0].to_owned(), op_type.to_owned());
        NodeProto { name, op_type, input: all(input), output: all(output), ..NodeProto::default() }
    }

    fn cast(input: &str, output: &str) -> NodeProto {
        let to = AttributeProto {
            name: "to".to_owned(),
            r#type: AttributeType::Int as i32,
            i: DataType::Float as i64,
            ..AttributeProto::default()
        };
        NodeProto { attribute: vec![to], ..node("Cast", &[input], &[output]) }
    }

    fn weight(name: &str, dims: &[i64], kind: DataType, raw_data: Vec<u8>) -> TensorProto {
        let name = name.to_owned();
        TensorProto { name, dims: dims.to_vec(), data_type: kind as i32, raw_data, ..TensorProto::default() }
    }

    fn value(name: &str) -> ValueInfoProto {
        let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: None };
        let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
        ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// A LayerNorm of two numbers, and a linear layer of two inputs and three outputs behind it.
    fn file() -> ModelProto {
        let node = vec![
            node("LayerNormalization", &["x", "gain", "shift"], &["norm"]),
            node("DynamicQuantizeLinear", &["norm"], &["bytes", "scale", "zero"]),
            node("MatMulInteger", &["bytes", "weights", "zero", "weight_zero"], &["integers"]),
            cast("integers", "floats"),
            node("Mul", &["scale", "scales"], &["factor"]),
            node("Mul", &["floats", "factor"], &["product"]),
            node("Add", &["bias", "product"], &["y"]),
        ];
        let initializer = vec![
            weight("gain", &[2], DataType::Float, floats(&[1.0, 1.0])),
            weight("shift", &[2], DataType::Float, floats(&[0.0, 0.0])),
            weight("weights", &[2, 3], DataType::Int8, vec![1, 2, 3, 4, 5, 0x81]),
            weight("weight_zero", &[], DataType::Int8, vec![0]),
            weight("scales", &[3], DataType::Float, floats(&[0.5, 1.0, 2.0])),
            weight("bias", &[3], DataType::Float, floats(&[1.0, 0.0, -1.0])),
        ];
        let (input, output) = (vec![value("x")], vec![value("y")]);
        let graph = GraphProto { node, initializer, input, output, ..GraphProto::default() };
        ModelProto { graph: Some(graph), ..ModelProto::default() }
    }

    fn graph(file: &mut ModelProto) -> &mut GraphProto {
        file.graph.as_mut().unwrap()
    }

    fn operators(file: &ModelProto) -> Vec<&str> {
        file.graph.iter().flat_map(|graph| &graph.node).map(|node| &*node.op_type).collect()
    }

    fn joined(file: &mut ModelProto) {
        let graph = file.graph.as_mut().filter(|graph| is_plain(graph));
        graph.into_iter().for_each(|graph| join(graph, Kernel::Portable));
    }

    #[test]
    fn a_layer_and_a_norm_are_one_node_each_and_compute_what_they_say() {
        let mut short = file();
        // Tools write nodes in any order.
        graph(&mut short).node.reverse();
        joined(&mut short);
        assert_eq!(operators(&short), [LINEAR, LAYER_NORM]);
        assert!(graph(&mut short).initializer.is_empty(), "their weights are theirs alone");
        let model = read(tract_onnx::onnx(), file(), None, Kernel::Portable).unwrap();
        let model = model.with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [1, 2])).unwrap();
        let plan = model.into_typed().unwrap().into_runnable().unwrap();
        let y = plan.run(tvec!(tensor2(&[[3f32, 5.0]]).into())).unwrap();
        // The norm makes -1 and 1 of them: (4 - 1) / 2 + 1, 5 - 2, 2 (-127 - 3) - 1.
        let y = y[0].to_plain_array_view::<f32>().unwrap();
        for (found, expected) in y.iter().zip([2.5, 3.0, -261.0f32]) {
            assert!((found - expected).abs() < 0.01 * expected.abs(), "{y:?}");
        }
    }

    #[test]
    fn what_has_another_form_stays() {
        type Change = fn(&mut GraphProto);
        let changes: [(&str, usize, Change); 12] = [
            ("one that leads nowhere reads it too", 2, |g| g.node.push(cast("integers", "z"))),
            ("a weight that could be an input", 2, |g| g.input.push(value("weights"))),
            ("the product is an output too", 1, |g| g.output.push(value("product"))),
            ("another reads the integers", 1, |g| {
                g.node.push(cast("integers", "z"));
                g.output.push(value("z"));
            }),
            ("unsigned weights", 1, |g| g.initializer[2].data_type = DataType::Uint8 as i32),
            ("another number of biases", 1, |g| g.initializer[5].dims = vec![1]),
            ("biases along another axis", 1, |g| g.initializer[5].dims = vec![3, 1]),
            ("a cast to something else", 1, |g| g.node[3].attribute[0].i = DataType::Float16 as i64),
            ("one gain for all numbers", 1, |g| g.initializer[..2].iter_mut().for_each(|t| t.dims = vec![1])),
            ("a norm over another axis", 1, |g| {
                let (name, r#type) = ("axis".to_owned(), AttributeType::Int as i32);
                g.node[0].attribute.push(AttributeProto { name, r#type, i: 1, ..AttributeProto::default() });
            }),
            ("a name given twice", 0, |g| g.node.push(node("Relu", &["x"], &["y"]))),
            ("a graph inside, which may read anything", 0, |g| {
                let body = AttributeProto { g: Some(GraphProto::default()), ..AttributeProto::default() };
                g.node[0].attribute.push(body);
            }),
        ];
        for (what, expected, change) in changes {
            let mut file = file();
            change(graph(&mut file));
            joined(&mut file);
            let found = operators(&file);
            let ours = found.iter().filter(|name| [LAYER_NORM, LINEAR].contains(name)).count();
            assert_eq!(ours, expected, "{what}: {found:?}");
            let read = !found.contains(&LINEAR) || what.ends_with("input");
            let weights = &graph(&mut file).initializer;
            assert_eq!(weights.iter().any(|weight| weight.name == "weights"), read, "{what}");
        }
    }

    #[test]
    fn bad_weights_and_names_are_refused() {
        type Change = fn(&mut GraphProto);
        let changes: [(&str, Change); 8] = [
            ("no node gives the output nobody", |g| g.output.push(value("nobody"))),
            ("scales is text and no numbers", |g| g.initializer[4].data_type = DataType::String as i32),
            ("a size of input x has a name of 65 bytes", |g| {
                let name = Some(dimension::Value::DimParam("(".repeat(65)));
                let dim = vec![Dimension { value: name, ..Dimension::default() }];
                let shape = Some(TensorShapeProto { dim });
                let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape };
                let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
                g.input[0].r#type = Some(r#type);
            }),
            ("y has weights of -128, which are to be -127..=127", |g| g.initializer[2].raw_data[0] = 0x80),
            ("y has zero points of weights other than 0", |g| g.initializer[3].raw_data = vec![1]),
            ("bias of y holds NaN or an infinite number", |g| g.initializer[5].raw_data = floats(&[f32::NAN; 3])),
            ("no node gives nobody, which another reads", |g| g.node[0].input[0] = "nobody".to_owned()),
            // A file cannot say for itself what only we may put in.
            ("", |g| g.node.push(node(LINEAR, &["x"], &["z"]))),
        ];
        for (expected, change) in changes {
            let mut file = file();
            change(graph(&mut file));
            match read(tract_onnx::onnx(), file, None, Kernel::Portable) {
                Err(e) => assert_eq!(e.root_cause().to_string(), expected),
                Ok(model) => assert!(expected.is_empty() && model.into_typed().is_err(), "{expected}"),
            }
        }
    }
}
