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
/// Numbers of a margin: two for each axis.
const MOST_NUMBERS: usize = 2 * MOST_AXES as usize;
/// Pixels of a convolution's window, its margin and its step, and more.
const LARGEST_WINDOW: u64 = 1024;
/// Values of a picture or of an embedding, and more.
const MOST_VALUES: f64 = (1u64 << 24) as f64;

/// Operators that make values of a size that is an input, that input, and what it is.
const MAKERS: [(&str, usize, Size); 9] = [
    ("ConstantOfShape", 0, Size::Shape),
    ("Expand", 1, Size::Shape),
    ("OneHot", 1, Size::Shape),
    ("Pad", 1, Size::Each(LARGEST_WINDOW as f64)),
    ("Range", 0, Size::Each(MOST_VALUES)),
    ("Range", 1, Size::Each(MOST_VALUES)),
    ("Resize", 2, Size::Each(LARGEST_WINDOW as f64)),
    ("Resize", 3, Size::Shape),
    ("Tile", 1, Size::Each(LARGEST_WINDOW as f64)),
];

/// What numbers say of a size.
#[derive(Clone, Copy)]
enum Size {
    /// They are multiplied.
    Shape,
    /// None may be larger.
    Each(f64),
}

impl Size {
    fn is_small(self, numbers: &[f64]) -> bool {
        match self {
            Size::Shape => numbers.iter().map(|n| n.abs().max(1.0)).product::<f64>() <= MOST_VALUES,
            Size::Each(most) => numbers.iter().all(|n| n.abs() <= most),
        }
    }
}

/// The numbers that a graph has as constants, by the name of the value; none of a value that has more of them than a size,
/// which has no more than a value has axes, or a margin, which has twice as many.
fn constants(graph: &GraphProto) -> HashMap<&str, Option<Vec<f64>>> {
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant");
    let inside = constants.filter_map(|node| {
        // As tract looks for it.
        let value = |name| node.attribute.iter().find(|a| a.name == name);
        let numbers = match (value("value").and_then(|a| a.t.as_ref()), value("value_int"), value("value_ints")) {
            (Some(tensor), ..) => numbers(tensor),
            (_, Some(a), _) => Some(vec![a.i as f64]),
            (.., Some(a)) if a.ints.len() <= MOST_NUMBERS => Some(a.ints.iter().map(|n| *n as f64).collect()),
            _ => None,
        };
        Some((&**node.output.first()?, numbers))
    });
    graph.initializer.iter().map(|tensor| (&*tensor.name, numbers(tensor))).chain(inside).collect()
}

/// A tensor's numbers, when they are few.
fn numbers(tensor: &TensorProto) -> Option<Vec<f64>> {
    fn of<const N: usize>(raw: &[u8], number: fn([u8; N]) -> f64) -> Vec<f64> {
        raw.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
    }
    let (raw, integers) = (&tensor.raw_data, &tensor.int64_data);
    let listed = [integers.len(), tensor.int32_data.len(), tensor.float_data.len(), tensor.double_data.len()];
    let few = raw.len() <= 8 * MOST_NUMBERS && listed.iter().all(|numbers| *numbers <= MOST_NUMBERS);
    let numbers: Vec<f64> = match DataType::try_from(tensor.data_type).ok().filter(|_| few)? {
        DataType::Int64 if raw.is_empty() => integers.iter().map(|n| *n as f64).collect(),
        DataType::Int64 => of(raw, |n| i64::from_le_bytes(n) as f64),
        DataType::Int32 if raw.is_empty() => tensor.int32_data.iter().map(|n| f64::from(*n)).collect(),
        DataType::Int32 => of(raw, |n| f64::from(i32::from_le_bytes(n))),
        DataType::Float if raw.is_empty() => tensor.float_data.iter().map(|n| f64::from(*n)).collect(),
        DataType::Float => of(raw, |n| f64::from(f32::from_le_bytes(n))),
        DataType::Double if raw.is_empty() => tensor.double_data.clone(),
        DataType::Double => of(raw, f64::from_le_bytes),
        _ => return None,
    };
    (numbers.len() <= MOST_NUMBERS).then_some(numbers)
}

/// What tract would not survive, not even with a panic: an output that nobody gives, text as a weight, a size that is a
/// formula without end, an order of axes that is none, a norm from an axis before the first, a window without end, a value
/// larger than any memory. And weights inside nodes that are said to be in another file. Sizes that the graph computes are
/// not known here.
pub(super) fn check(graph: &GraphProto) -> TractResult<()> {
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    for weight in attributes().filter_map(|a| a.t.as_ref()) {
        ensure!(weight.data_location != Some(DataLocation::External as i32), ELSEWHERE);
    }
    for weight in graph.initializer.iter().chain(attributes().filter_map(|a| a.t.as_ref())) {
        ensure!(weight.data_type != DataType::String as i32, "{} is text and no numbers", weight.name);
    }
    let constants = constants(graph);
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
                (made, "shape" | "output_shape") if made.starts_with("Random") || made.starts_with("Conv") => {
                    let sizes: Vec<f64> = a.ints.iter().map(|size| *size as f64).collect();
                    ensure!(Size::Shape.is_small(&sizes), "{} of {sizes:?} in a {}", a.name, node.op_type);
                }
                (_, "pads" | "kernel_shape" | "strides" | "dilations") => {
                    let far = a.ints.iter().find(|n| n.unsigned_abs() > LARGEST_WINDOW);
                    ensure!(far.is_none(), "{} of {far:?} in a {}", a.name, node.op_type);
                }
                _ => {}
            }
        }
        for (_, input, size) in MAKERS.iter().filter(|(name, ..)| *name == node.op_type) {
            let Some(name) = node.input.get(*input) else { continue };
            let Some(numbers) = constants.get(&**name) else { continue };
            let Some(numbers) = numbers else { bail!("{name} is no size for a {}", node.op_type) };
            ensure!(size.is_small(numbers), "{name} is {numbers:?}: too large for a {}", node.op_type);
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

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{AttributeProto, NodeProto};

    use super::*;

    fn made(op: &str, input: usize, sizes: &TensorProto) -> TractResult<()> {
        let mut node = NodeProto { op_type: op.to_owned(), input: vec!["x".to_owned(); input], ..Default::default() };
        node.input.push(sizes.name.clone());
        check(&GraphProto { node: vec![node], initializer: vec![sizes.clone()], ..Default::default() })
    }

    fn whole(numbers: &[i64]) -> TensorProto {
        let raw_data = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        TensorProto { name: "sizes".to_owned(), data_type: DataType::Int64 as i32, raw_data, ..Default::default() }
    }

    fn floats(numbers: &[f32]) -> TensorProto {
        let (name, float_data) = ("sizes".to_owned(), numbers.to_vec());
        TensorProto { name, data_type: DataType::Float as i32, float_data, ..Default::default() }
    }

    #[test]
    fn values_that_no_memory_holds_are_refused_and_usual_ones_are_not() {
        for (op, input, usual, large) in [
            ("ConstantOfShape", 0, whole(&[4, 577, 1024]), whole(&[1 << 12, 1 << 13])),
            ("Expand", 1, whole(&[1, 1, 768]), whole(&[i64::MAX])),
            ("Expand", 1, whole(&[-1, 1, 768]), whole(&[1; 40])),
            ("Pad", 1, whole(&[0, 0, 100, 100, 0, 0, 100, -100]), whole(&[0, 1 << 40, 0, 0, 0, 0])),
            ("Tile", 1, whole(&[4, 1, 1]), whole(&[1, 1 << 20, 1])),
            ("Range", 1, whole(&[50]), whole(&[i64::MIN])),
            ("Range", 1, floats(&[50.0]), floats(&[1e10])),
            ("Resize", 2, floats(&[1.0, 1.0, 2.0, 2.0]), floats(&[1.0, 1.0, f32::INFINITY, f32::NAN])),
            ("Resize", 3, whole(&[4, 3, 336, 336]), whole(&[4, 3, 1 << 14, 1 << 14])),
        ] {
            made(op, input, &usual).unwrap_or_else(|e| panic!("{op}: {e}"));
            let line = made(op, input, &large).unwrap_err().to_string();
            assert!(line.contains("sizes is ") && line.contains(op), "{line}");
            // Where it is something else, such as the values that are repeated, it may be anything.
            made(op, 4, &large).unwrap();
        }
        made("Slice", 2, &whole(&[i64::MAX])).unwrap();
        let attribute = AttributeProto { name: "shape".to_owned(), ints: vec![1 << 20, 1 << 20], ..Default::default() };
        let random = NodeProto { op_type: "RandomNormal".to_owned(), attribute: vec![attribute], ..Default::default() };
        assert!(check(&GraphProto { node: vec![random], ..Default::default() }).is_err());
    }

    #[test]
    fn a_size_from_a_node_is_looked_at_as_tract_does() {
        let numbers =
            |name: &str, ints: &[i64]| AttributeProto { name: name.into(), ints: ints.to_vec(), ..Default::default() };
        let value = AttributeProto { name: "value".to_owned(), t: Some(whole(&[1 << 40])), ..Default::default() };
        for (attribute, refused) in [
            (vec![numbers("value_ints", &[3, 4])], false),
            (vec![numbers("value_ints", &[3, 1 << 40])], true),
            (vec![value.clone()], true),
            (vec![numbers("value_ints", &[3]), value], true),
        ] {
            let op_type = "Constant".to_owned();
            let constant = NodeProto { op_type, output: vec!["sizes".into()], attribute, ..Default::default() };
            let input = ["x", "sizes"].map(str::to_owned).to_vec();
            let expand = NodeProto { op_type: "Expand".to_owned(), input, ..Default::default() };
            let graph = GraphProto { node: vec![constant, expand], ..Default::default() };
            assert_eq!(check(&graph).is_err(), refused, "{graph:?}");
        }
    }
}
