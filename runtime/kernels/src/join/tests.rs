//! Small files, joined, run and refused.

use tract_onnx::pb::{
    NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

use super::forms::join;
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

/// Joins a file; gives the names of the operators that became of it.
fn joined(file: &mut ModelProto) -> Vec<String> {
    let layers = Layers { kernel: Kernel::Portable, weights: &Inside };
    let opset = file.opset_import.first().map_or(0, |set| set.version);
    let graph = file.graph.as_mut().filter(|graph| is_plain(graph));
    let ops = graph.map(|graph| join(graph, opset, &layers).unwrap()).unwrap_or_default();
    ops.iter().map(|(_, op)| op.name().to_string()).collect()
}

#[test]
fn a_layer_and_a_norm_are_one_node_each_and_compute_what_they_say() {
    let mut short = file();
    // Tools write nodes in any order.
    graph(&mut short).node.reverse();
    assert_eq!(joined(&mut short), ["HomingLinear", "HomingLayerNorm"]);
    assert_eq!(operators(&short), [JOINED; 2]);
    assert!(graph(&mut short).initializer.is_empty(), "their weights are theirs alone");
    let model = read(tract_onnx::onnx(), file(), Kernel::Portable, &Inside).unwrap();
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
        let found = joined(&mut file);
        assert_eq!(found.len(), expected, "{what}: {found:?}");
        let read = !found.contains(&"HomingLinear".to_owned()) || what.ends_with("input");
        let weights = &graph(&mut file).initializer;
        assert_eq!(weights.iter().any(|weight| weight.name == "weights"), read, "{what}");
    }
}

#[test]
fn bad_weights_and_names_are_refused() {
    type Change = fn(&mut GraphProto);
    let changes: [(&str, Change); 12] = [
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
        ("gain of norm has 2 numbers and another shape", |g| {
            g.initializer[..2].iter_mut().for_each(|t| t.dims = vec![3])
        }),
        ("weights in another file", |g| {
            let t = TensorProto { data_location: Some(DataLocation::External as i32), ..TensorProto::default() };
            g.node[0].attribute.push(AttributeProto { t: Some(t), ..AttributeProto::default() });
        }),
        ("no node gives the output inner", |g| {
            let inner = GraphProto { output: vec![value("inner")], ..GraphProto::default() };
            g.node[0].attribute.push(AttributeProto { g: Some(inner), ..AttributeProto::default() });
        }),
        ("a node whose first output has no name", |g| g.node[6].output.insert(0, String::new())),
        // A file cannot say for itself what only we may put in.
        ("", |g| g.node.push(node(JOINED, &["x"], &["z"]))),
    ];
    for (expected, change) in changes {
        let mut file = file();
        change(graph(&mut file));
        match read(tract_onnx::onnx(), file, Kernel::Portable, &Inside) {
            Err(e) => assert_eq!(e.root_cause().to_string(), expected),
            Ok(model) => assert!(expected.is_empty() && model.into_typed().is_err(), "{expected}"),
        }
    }
}

/// Three linear layers of the same rows, `[1, 3, 2] -> [1, 3, 4]`, and attention of two heads on them.
fn attending() -> ModelProto {
    let mut file = file();
    let (mut node, mut initializer) = (Vec::new(), Vec::new());
    node.push(self::node("DynamicQuantizeLinear", &["x"], &["bytes", "scale", "zero"]));
    let whole = |numbers: &[i64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    for (i, name) in ["q", "k", "v"].into_iter().enumerate() {
        let of = |part: &str| format!("{name}.{part}");
        node.push(self::node("MatMulInteger", &["bytes", &of("weights"), "zero"], &[&of("integers")]));
        node.push(cast(&of("integers"), &of("floats")));
        node.push(self::node("Mul", &["scale", &of("scales")], &[&of("factor")]));
        node.push(self::node("Mul", &[&of("floats"), &of("factor")], &[&of("product")]));
        node.push(self::node("Add", &[&of("product"), &of("bias")], &[name]));
        node.push(self::node("Reshape", &[name, "by_head"], &[&of("split")]));
        node.push(transposed(&of("split"), &of("turned"), if name == "k" { [0, 2, 3, 1] } else { [0, 2, 1, 3] }));
        let weights =
            (0..8).map(|w| (w * (i as u8 + 3)).wrapping_mul(37).cast_signed().max(-127).cast_unsigned()).collect();
        initializer.push(weight(&of("weights"), &[2, 4], DataType::Int8, weights));
        initializer.push(weight(&of("scales"), &[], DataType::Float, floats(&[0.01 * (i as f32 + 1.0)])));
        initializer.push(weight(&of("bias"), &[4], DataType::Float, floats(&[0.1, -0.2, 0.3, i as f32])));
    }
    node.push(self::node("Mul", &["q.turned", "half"], &["scaled"]));
    node.push(self::node("MatMul", &["scaled", "k.turned"], &["scores"]));
    node.push(self::node("Softmax", &["scores"], &["shares"]));
    node.push(self::node("MatMul", &["shares", "v.turned"], &["mix"]));
    node.push(transposed("mix", "back", [0, 2, 1, 3]));
    node.push(self::node("Reshape", &["back", "joined"], &["y"]));
    initializer.push(weight("by_head", &[4], DataType::Int64, whole(&[0, 3, 2, 2])));
    initializer.push(weight("joined", &[3], DataType::Int64, whole(&[0, 3, 4])));
    initializer.push(weight("half", &[], DataType::Float, floats(&[0.5])));
    let opset = OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() };
    (graph(&mut file).node, graph(&mut file).initializer, file.opset_import) = (node, initializer, vec![opset]);
    file
}

fn transposed(input: &str, output: &str, axes: [i64; 4]) -> NodeProto {
    let (name, r#type) = ("perm".to_owned(), AttributeType::Ints as i32);
    let perm = AttributeProto { name, r#type, ints: axes.to_vec(), ..AttributeProto::default() };
    NodeProto { attribute: vec![perm], ..node("Transpose", &[input], &[output]) }
}

#[test]
fn an_attention_and_its_projections_are_two_nodes_and_compute_what_they_say() {
    assert_eq!(joined(&mut attending()), ["HomingLinear", "HomingAttention"]);
    let outputs = [
        read(tract_onnx::onnx(), attending(), Kernel::Portable, &Inside).unwrap(),
        tract_onnx::onnx().parse(&attending(), None).unwrap().model,
    ]
    .map(|model| {
        let model = model.with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [1, 3, 2])).unwrap();
        let x = tensor3(&[[[0.3f32, -1.0], [2.0, 0.5], [-0.7, 1.5]]]);
        let y = model.into_typed().unwrap().into_runnable().unwrap().run(tvec!(x.into())).unwrap();
        y[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect::<Vec<_>>()
    });
    assert_eq!(outputs[0].len(), 12);
    for (ours, theirs) in outputs[0].iter().zip(&outputs[1]) {
        assert!((ours - theirs).abs() < 0.06, "{outputs:?}");
    }
}

#[test]
fn an_attention_of_another_form_stays() {
    type Change = fn(&mut ModelProto);
    fn of<'a>(file: &'a mut ModelProto, output: &str) -> &'a mut NodeProto {
        graph(file).node.iter_mut().find(|n| n.output[0] == output).unwrap()
    }
    fn relu(file: &mut ModelProto, of: &str) {
        graph(file).node.push(node("Relu", &[of], &["z"]));
        graph(file).output.push(value("z"));
    }
    let changes: [(&str, Change); 13] = [
        ("another reads the keys", |f| relu(f, "k")),
        ("another reads the queries, split", |f| relu(f, "q.split")),
        ("another reads the queries, turned", |f| relu(f, "q.turned")),
        ("another reads the queries, scaled", |f| relu(f, "scaled")),
        ("another reads the scores", |f| relu(f, "scores")),
        ("the values are an output", |f| graph(f).output.push(value("v"))),
        ("the scores are an output", |f| graph(f).output.push(value("scores"))),
        ("keys of other rows", |f| {
            let others = ["others", "other_scale", "other_zero"];
            graph(f).node.push(node("DynamicQuantizeLinear", &["w"], &others));
            of(f, "k.integers").input = ["others", "k.weights", "other_zero"].map(str::to_owned).to_vec();
            of(f, "k.factor").input[0] = "other_scale".to_owned();
            graph(f).input.push(value("w"));
        }),
        ("queries of values", |f| of(f, "q.turned").input[0] = "v.split".to_owned()),
        ("heads turned otherwise", |f| of(f, "k.turned").attribute[0].ints = vec![0, 2, 1, 3]),
        ("a softmax over other axes", |f| {
            let (name, r#type) = ("axis".to_owned(), AttributeType::Int as i32);
            of(f, "shares").attribute.push(AttributeProto { name, r#type, i: 2, ..AttributeProto::default() });
        }),
        ("scores turned upside down", |f| {
            graph(f).initializer.iter_mut().find(|t| t.name == "half").unwrap().raw_data = floats(&[-0.5]);
        }),
        ("a softmax of before opset 13", |f| f.opset_import[0].version = 11),
    ];
    for (what, change) in changes {
        let mut file = attending();
        change(&mut file);
        let found = joined(&mut file);
        assert!(found.iter().all(|name| name == "HomingLinear"), "{what}: {found:?}");
        assert_eq!(found.len(), if what.ends_with("of values") { 2 } else { 3 }, "{what}: {found:?}");
    }
}

#[test]
fn stated_shapes_of_joined_values_are_forgotten() {
    let mut file = attending();
    graph(&mut file).value_info.push(value("q"));
    joined(&mut file);
    assert_eq!(graph(&mut file).value_info, []);
}
