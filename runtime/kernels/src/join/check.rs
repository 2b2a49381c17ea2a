//! What of a graph is looked at before tract reads it.

use std::collections::{HashMap, HashSet};

use tract_core::internal::*;
use tract_onnx::pb::{
    GraphProto, TensorProto,
    tensor_proto::{DataLocation, DataType},
    tensor_shape_proto::dimension,
    type_proto,
};

use super::ELSEWHERE;

/// Bytes of the name of a size.
const LONGEST_SIZE: usize = 64;
/// Axes of a value, and more.
const MOST_AXES: i64 = 16;
/// Pixels of a convolution's window, its margin and its step, and more.
const LARGEST_WINDOW: u64 = 1024;
/// Values of a picture or of an embedding, and more.
const MOST_VALUES: u64 = 1 << 24;
/// Operators that make values of sizes that are numbers: too large ones end the program where there is no memory.
const MAKERS: [&str; 8] = ["ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"];

/// Whole numbers that a graph has as constants, few at a time: sizes, places, axes. By the name of the value.
fn sizes(graph: &GraphProto) -> HashMap<&str, Vec<i64>> {
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant");
    let inside = constants.flat_map(|node| {
        let name = node.output.first().map_or("", |name| name);
        node.attribute.iter().filter_map(move |a| match &a.t {
            Some(tensor) => Some((name, whole_numbers(tensor)?)),
            None if a.ints.len() as i64 <= MOST_AXES && !a.ints.is_empty() => Some((name, a.ints.clone())),
            None => (a.name == "value_int").then(|| (name, vec![a.i])),
        })
    });
    let named = graph.initializer.iter().filter_map(|tensor| Some((&*tensor.name, whole_numbers(tensor)?)));
    named.chain(inside).collect()
}

fn whole_numbers(tensor: &TensorProto) -> Option<Vec<i64>> {
    const INT32: i32 = DataType::Int32 as i32;
    const INT64: i32 = DataType::Int64 as i32;
    let numbers: Vec<i64> = match tensor.data_type {
        INT64 if tensor.raw_data.is_empty() => tensor.int64_data.clone(),
        INT64 => tensor.raw_data.as_chunks().0.iter().map(|number| i64::from_le_bytes(*number)).collect(),
        INT32 if tensor.raw_data.is_empty() => tensor.int32_data.iter().map(|number| i64::from(*number)).collect(),
        INT32 => tensor.raw_data.as_chunks().0.iter().map(|n| i64::from(i32::from_le_bytes(*n))).collect(),
        _ => return None,
    };
    (numbers.len() as i64 <= MOST_AXES).then_some(numbers)
}

/// Whether a number may be a size or a place: not too large, or what exporters write for "to the end".
fn is_size(number: &i64) -> bool {
    const ENDS: [i64; 2] = [i64::MAX, i32::MAX as i64];
    number.unsigned_abs() <= MOST_VALUES || ENDS.iter().any(|end| (*end - number.saturating_abs()).abs() <= 1)
}

/// What tract would not survive, not even with a panic: an output that nobody gives, text as a weight, a size that is a formula
/// without end, an order of axes that is none, a norm from an axis before the first, a window without end. And weights inside
/// nodes that are said to be in another file.
pub(super) fn check(graph: &GraphProto) -> TractResult<()> {
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    for weight in attributes().filter_map(|a| a.t.as_ref()) {
        ensure!(weight.data_location != Some(DataLocation::External as i32), ELSEWHERE);
    }
    for weight in graph.initializer.iter().chain(attributes().filter_map(|a| a.t.as_ref())) {
        ensure!(weight.data_type != DataType::String as i32, "{} is text and no numbers", weight.name);
    }
    let sizes = sizes(graph);
    if let Some((name, numbers)) = sizes.iter().find(|(_, numbers)| !numbers.iter().all(is_size)) {
        bail!("{name} is {numbers:?}, which are no sizes or places");
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
        if MAKERS.contains(&&*node.op_type) {
            for sizes in node.input.iter().filter_map(|name| sizes.get(&**name)) {
                // What stands for "to the end" elsewhere is a size here.
                let all = sizes.iter().try_fold(1u64, |all, size| all.checked_mul(size.unsigned_abs().max(1)));
                let few = all.is_some_and(|all| all <= MOST_VALUES);
                ensure!(few, "a {} to {sizes:?}", node.op_type);
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
