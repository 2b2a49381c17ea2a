//! Joins nodes of an ONNX file before tract reads it: what our operators take the place of becomes one node each.
//!
//! tract makes ten to twenty nodes of a quantised linear layer or a LayerNorm, and looks at each several times before
//! [`fuse`](crate::fuse) could replace them: that was a third of the time to a first result. `forms` finds what can be
//! joined and says so in the file; `layers` packs it when tract comes to it, one after the other.

mod forms;
mod layers;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use tract_core::internal::*;
use tract_onnx::Onnx;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
};
use tract_onnx::tract_hir::internal::*;

use crate::cpu::Kernel;

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
        onnx.op_register.insert(LINEAR, layers::linear);
        onnx.op_register.insert(LAYER_NORM, layers::layer_norm);
        forms::join(graph, kernel);
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
