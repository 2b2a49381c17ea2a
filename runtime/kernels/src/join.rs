//! Joins nodes of an ONNX file before tract reads it: what our operators take the place of becomes one node each.
//!
//! tract makes ten to twenty nodes of a quantised linear layer, a LayerNorm or an attention, and looks at each several times
//! before [`fuse`](crate::fuse) could replace them: that was more than a third of the time to a first result. `forms` finds
//! what can be joined; `layers` packs it from where its weights are. tract knows neither: it is told of nodes and inputs
//! without a meaning, which get one when it has read the rest.

mod forms;
mod layers;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use tract_core::internal::*;
use tract_core::ops::konst::Const;
use tract_onnx::Onnx;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, TensorProto,
    tensor_proto::{DataLocation, DataType},
    tensor_shape_proto::dimension,
    type_proto,
};
use tract_onnx::tract_hir::internal::*;

use crate::cpu::Kernel;
use layers::Layers;

/// Bytes of the name of a size.
const LONGEST_SIZE: usize = 64;
/// Axes of a value, and more.
const MOST_AXES: i64 = 16;
/// Pixels of a convolution's window, its margin and its step, and more.
const LARGEST_WINDOW: u64 = 1024;
const ELSEWHERE: &str = "weights in another file";
/// The operator of joined nodes, while tract does not know them.
const JOINED: &str = "HomingJoined";

/// Where the bytes of weights are.
pub trait Weights {
    /// The bytes of a weight; none of one that the file has as numbers.
    fn raw<'a>(&'a self, weight: &'a TensorProto) -> &'a [u8];
}

/// The weights of a file that was decoded whole.
#[derive(Clone, Copy, Debug)]
pub struct Inside;

impl Weights for Inside {
    fn raw<'a>(&'a self, weight: &'a TensorProto) -> &'a [u8] {
        &weight.raw_data
    }
}

/// Reads a file with `onnx`, its quantised linear layers, LayerNorms and attentions behind three linear layers joined and
/// packed for `kernel`. What has another form stays as it is, and so does all of a file with graphs inside nodes; a linear
/// layer that has the form, but a weight of -128 or a zero point of weights, is an error. That an attention is over
/// `[sequences, tokens, width]` is found out only later: of another rank it is an error then. `weights` knows also those that
/// are said to be elsewhere (ONNX, "external data").
///
/// # Errors
/// When a layer that has the form cannot be packed, when tract does not understand the file, or a node reads what nobody gives.
pub fn read(onnx: Onnx, mut file: ModelProto, kernel: Kernel, weights: &dyn Weights) -> TractResult<InferenceModel> {
    file.graph.as_ref().map_or(Ok(()), check)?;
    let (mut joined, mut constants) = (Vec::new(), HashMap::new());
    let onnx_itself = file.opset_import.iter().find(|set| set.domain.is_empty() || set.domain == "ai.onnx");
    let opset = onnx_itself.map_or(0, |set| set.version);
    if let Some(graph) = &mut file.graph {
        let layers = Layers { kernel, weights };
        if is_plain(graph) {
            joined = forms::join(graph, opset, &layers)?;
        }
        constants = elsewhere(graph, &layers)?;
    }
    let parsed = onnx.parse(&file, None)?;
    let (mut model, outlets) = (parsed.model, parsed.outlets_by_name);
    for (output, op) in joined {
        let Some(outlet) = outlets.get(&output) else { bail!("a node whose first output has no name") };
        model.node_mut(outlet.node).op = op;
    }
    for name in parsed.unresolved_inputs {
        let Some(constant) = constants.remove(&name) else { bail!("no node gives {name}, which another reads") };
        let outlet = outlets[&name];
        model.set_outlet_fact(outlet, InferenceFact::try_from(&constant)?)?;
        model.node_mut(outlet.node).op = Box::new(Const::new(constant)?);
        model.inputs.retain(|input| *input != outlet);
    }
    Ok(model)
}

/// Takes the weights that are elsewhere out of a graph, so that tract asks for them. It would copy each twice.
fn elsewhere(graph: &mut GraphProto, layers: &Layers) -> TractResult<HashMap<String, Arc<Tensor>>> {
    let is_elsewhere = |weight: &TensorProto| weight.data_location == Some(DataLocation::External as i32);
    // tract asks for what nodes read and nobody gives.
    let given = graph.input.iter().map(|input| &input.name).chain(graph.output.iter().map(|output| &output.name));
    let given: HashSet<String> = given.cloned().collect();
    let mut constants = HashMap::new();
    for weight in graph.initializer.iter_mut().filter(|weight| is_elsewhere(weight)) {
        if weight.data_type == DataType::Float as i32 && !given.contains(&weight.name) {
            constants.insert(weight.name.clone(), layers.tensor(weight)?);
        } else {
            weight.raw_data = layers.weights.raw(weight).to_vec();
            ensure!(!weight.raw_data.is_empty(), ELSEWHERE);
            weight.data_location = None;
        }
    }
    graph.initializer.retain(|weight| !is_elsewhere(weight));
    Ok(constants)
}

/// Whether each value has a name of its own, no node has graphs inside, which could read any value, and no node is called as
/// joined ones are.
fn is_plain(graph: &GraphProto) -> bool {
    let constants: HashSet<&str> = graph.initializer.iter().map(|weight| &*weight.name).collect();
    let mut names: HashSet<&str> =
        graph.input.iter().map(|input| &*input.name).chain(constants.iter().copied()).collect();
    let mut given = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let inside = |a: &AttributeProto| a.g.is_some() || !a.graphs.is_empty();
    constants.len() == graph.initializer.len()
        && given.all(|name| names.insert(name))
        && !graph.node.iter().any(|node| node.attribute.iter().any(inside))
        && !graph.node.iter().any(|node| node.op_type == JOINED)
}

/// What tract would not survive, not even with a panic: an output that nobody gives, text as a weight, a size that is a formula
/// without end, an order of axes that is none, a norm from an axis before the first, a window without end. And weights inside
/// nodes that are said to be in another file.
fn check(graph: &GraphProto) -> TractResult<()> {
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    for weight in attributes().filter_map(|a| a.t.as_ref()) {
        ensure!(weight.data_location != Some(DataLocation::External as i32), ELSEWHERE);
    }
    for weight in graph.initializer.iter().chain(attributes().filter_map(|a| a.t.as_ref())) {
        ensure!(weight.data_type != DataType::String as i32, "{} is text and no numbers", weight.name);
    }
    for node in &graph.node {
        for a in &node.attribute {
            match (&*node.op_type, &*a.name) {
                ("Transpose", "perm") => {
                    let axes = a.ints.len() as i64;
                    let all = axes <= MOST_AXES && (0..axes).all(|axis| a.ints.contains(&axis));
                    ensure!(all, "a Transpose by an order of {axes} axes that is none");
                }
                (norm, "axis") if norm.ends_with("Normalization") => {
                    ensure!(
                        (-1..MOST_AXES).contains(&a.i),
                        "a {norm} from axis {} on: only the last, -1, is known",
                        a.i
                    );
                }
                (_, "pads" | "kernel_shape" | "strides" | "dilations") => {
                    let far = a.ints.iter().find(|n| n.unsigned_abs() > LARGEST_WINDOW);
                    ensure!(far.is_none(), "{} of {far:?} in a {}", a.name, node.op_type);
                }
                _ => {}
            }
        }
    }
    // As deep as whoever decoded the file allowed.
    attributes().flat_map(|a| a.g.iter().chain(&a.graphs)).try_for_each(check)?;
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
