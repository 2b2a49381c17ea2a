//! Activations: GELU by the error function or by tanh, and CLIP's quick GELU. All are written out by the time they come here,
//! but for the GELU by tanh of ONNX's own operator, which is one of tract's.

use tract_core::internal::*;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::nn::GeluApproximate;

use super::Target;
use super::graph::{float, from, in_place_of, is, reader, scaled, source, with_constant};
use super::norm::squared;
use crate::maths::Activation;
use crate::ops::ActivationOp;

/// Any of them.
pub(super) fn rule(
    &Target { kernel, .. }: &Target,
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<TypedModelPatch>> {
    let found = match &*node.op.name() {
        "Erf" => gelu(model, node),
        "Tanh" => gelu_tanh(model, node),
        "Sigmoid" => quick_gelu(model, node),
        _ => own_gelu_tanh(model, node),
    };
    let of_floats = node.outputs[0].fact.datum_type == f32::datum_type();
    let Some((activation, x, last)) = found.filter(|_| of_floats) else { return Ok(None) };
    in_place_of(model, last.name.clone(), ActivationOp { kernel, activation }, &[x], last)
}

type Found<'m> = Option<(Activation, OutletId, &'m TypedNode)>;

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() < 1e-4 * b.abs()
}

/// tract's operator. Its fast form takes a square where the function has a third power.
fn own_gelu_tanh<'m>(model: &'m TypedModel, node: &'m TypedNode) -> Found<'m> {
    let gelu = node.op_as::<ElementWiseOp>()?.0.downcast_ref::<GeluApproximate>()?;
    (!gelu.fast_impl).then(|| (Activation::GeluTanh, source(model, node.inputs[0]), node))
}

/// `x sigmoid(1.702 x)`.
fn quick_gelu<'m>(model: &'m TypedModel, node: &TypedNode) -> Found<'m> {
    let (x, slope) = scaled(model, from(model, node.inputs[0]))?;
    let product = reader(model, node).filter(|n| is(n, "Mul"))?;
    let of_x = product.inputs.iter().any(|input| source(model, *input) == x);
    (near(slope, 1.702) && of_x).then_some((Activation::QuickGelu, x, product))
}

/// `x (1 + erf(x / sqrt 2)) / 2`, in any order of the factors.
fn gelu<'m>(model: &'m TypedModel, node: &TypedNode) -> Found<'m> {
    let (x, factor) = scaled(model, from(model, node.inputs[0]))?;
    if !near(factor, std::f32::consts::FRAC_1_SQRT_2) {
        return None;
    }
    Some((Activation::Gelu, x, half_of_one_more(model, node, x)?))
}

/// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
fn gelu_tanh<'m>(model: &'m TypedModel, node: &TypedNode) -> Found<'m> {
    let (sum, factor) = scaled(model, from(model, node.inputs[0]))?;
    let sum = from(model, sum);
    if !near(factor, 0.797_884_6) || !is(sum, "Add") {
        return None;
    }
    let cubic = sum.inputs.iter().find_map(|input| scaled(model, from(model, *input)));
    let (cube, coefficient) = cubic?;
    let x = sum
        .inputs
        .iter()
        .map(|input| source(model, *input))
        .find(|input| scaled(model, from(model, *input)).is_none())?;
    if !near(coefficient, 0.044_715) || cubed(model, cube) != Some(x) {
        return None;
    }
    Some((Activation::GeluTanh, x, half_of_one_more(model, node, x)?))
}

/// What is taken to the third power: some exporters write `Pow(x, 3)`, others `x * x * x`.
fn cubed(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let node = from(model, outlet);
    let &[a, b] = &node.inputs[..] else { return None };
    match &*node.op.name() {
        "Pow" => (float(model, b) == Some(3.0)).then(|| source(model, a)),
        "Mul" => [(a, b), (b, a)].into_iter().find_map(|(square, x)| {
            let x = source(model, x);
            (squared(model, square) == Some(x)).then_some(x)
        }),
        _ => None,
    }
}

/// The node with `x (1 + y) / 2`, where `node` gives y, in any order of the factors.
fn half_of_one_more<'m>(model: &'m TypedModel, node: &TypedNode, x: OutletId) -> Option<&'m TypedNode> {
    let mut last = reader(model, node).filter(|n| is(n, "Add"))?;
    with_constant(model, last).filter(|(_, one)| one[..] == [1.0])?;
    let (mut factor, mut met_x) = (1f32, false);
    while !(met_x && near(factor, 0.5)) {
        let next = reader(model, last)?;
        if let Some((_, own)) = scaled(model, next) {
            factor *= own;
        } else {
            let other = source(model, super::graph::other_input(model, next, last)?);
            if !is(next, "Mul") || met_x {
                return None;
            }
            if other != x {
                let (of, own) = scaled(model, model.node(other.node))?;
                if of != x {
                    return None;
                }
                factor *= own;
            }
            met_x = true;
        }
        last = next;
    }
    Some(last)
}
