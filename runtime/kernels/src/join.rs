//! Joins nodes of an ONNX file before tract reads it: what our operators take the place of becomes one node each.
//!
//! tract makes ten to twenty nodes of a quantised linear layer, a LayerNorm or an attention, and looks at each several times
//! before [`fuse`](crate::fuse) could replace them: that was more than a third of the time to a first result. `forms` finds
//! what can be joined; `layers` packs it from where its weights are. tract knows neither: it is told of nodes and inputs
//! without a meaning, which get one when it has read the rest.

mod check;
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
};
use tract_onnx::tract_hir::internal::*;

use crate::cpu::Kernel;
use layers::Layers;

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
    file.graph.as_ref().map_or(Ok(()), check::check)?;
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
