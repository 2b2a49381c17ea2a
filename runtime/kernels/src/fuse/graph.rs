//! Walking through a typed graph, past what computes nothing.

use tract_core::internal::*;
use tract_core::ops::cast::Cast;

/// A cast to the type that its input has.
fn changes_nothing(model: &TypedModel, node: &TypedNode) -> bool {
    node.op_is::<Cast>()
        && model.outlet_fact(node.inputs[0]).is_ok_and(|fact| fact.datum_type == node.outputs[0].fact.datum_type)
}

/// Where a value comes from, past casts that change nothing.
pub(super) fn source(model: &TypedModel, mut outlet: OutletId) -> OutletId {
    while changes_nothing(model, model.node(outlet.node)) {
        outlet = model.node(outlet.node).inputs[0];
    }
    outlet
}

/// The node that a value comes from.
pub(super) fn from(model: &TypedModel, outlet: OutletId) -> &TypedNode {
    model.node(source(model, outlet).node)
}

/// The only reader of a node's only output, past casts that change nothing. None for an output of the model.
pub(super) fn reader<'m>(model: &'m TypedModel, node: &TypedNode) -> Option<&'m TypedNode> {
    let [only] = node.outputs[..].first()?.successors[..] else { return None };
    if model.outputs.contains(&node.id.into()) {
        return None;
    }
    let next = model.node(only.node);
    if changes_nothing(model, next) { reader(model, next) } else { Some(next) }
}

/// Whether a node's operator has this name.
pub(super) fn is(node: &TypedNode, name: &str) -> bool {
    node.op.name() == name
}

/// The constant that a value is, past changes of shape.
pub(super) fn constant(model: &TypedModel, mut outlet: OutletId) -> Option<Arc<Tensor>> {
    loop {
        if let Some(constant) = &model.outlet_fact(outlet).ok()?.konst {
            return Some(constant.clone());
        }
        let node = model.node(outlet.node);
        if !node.op_is::<AxisOp>() && !changes_nothing(model, node) {
            return None;
        }
        outlet = *node.inputs.first()?;
    }
}

/// The floats that a value is.
pub(super) fn floats(model: &TypedModel, outlet: OutletId) -> Option<Vec<f32>> {
    let constant = constant(model, outlet)?;
    let floats = constant.cast_to::<f32>().ok()?;
    Some(floats.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
}

/// The one float that a value is.
pub(super) fn float(model: &TypedModel, outlet: OutletId) -> Option<f32> {
    let floats = floats(model, outlet)?;
    (floats.len() == 1).then(|| floats[0])
}

/// Of an operator with two inputs, one of them constant: the other and the constant.
pub(super) fn with_constant(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, Vec<f32>)> {
    let &[a, b] = &node.inputs[..] else { return None };
    match floats(model, b) {
        Some(constant) => Some((source(model, a), constant)),
        None => floats(model, a).map(|constant| (source(model, b), constant)),
    }
}

/// The input of an operator with two that does not come from `node`.
pub(super) fn other_input(model: &TypedModel, operator: &TypedNode, node: &TypedNode) -> Option<OutletId> {
    let &[a, b] = &operator.inputs[..] else { return None };
    if source(model, a).node == node.id { Some(b) } else { Some(a) }
}

/// What a node multiplies, and the one number that it multiplies with: `x * c`, `c * x`, `x / c`.
pub(super) fn scaled(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, f32)> {
    match &*node.op.name() {
        "Mul" => {
            let (x, factor) = with_constant(model, node)?;
            (factor.len() == 1).then(|| (x, factor[0]))
        }
        "Div" => Some((source(model, node.inputs[0]), 1.0 / float(model, node.inputs[1])?)),
        _ => None,
    }
}

/// A patch that puts `op`, on these inputs, in the place of the output of `last`.
pub(super) fn in_place_of(
    model: &TypedModel,
    name: String,
    op: impl Into<Box<dyn TypedOp>>,
    inputs: &[OutletId],
    last: &TypedNode,
) -> TractResult<Option<TypedModelPatch>> {
    let mut patch = TypedModelPatch::default();
    let inputs = inputs.iter().map(|&input| patch.tap_model(model, input)).collect::<TractResult<TVec<_>>>()?;
    let output = patch.wire_node(name, op, &inputs)?;
    patch.shunt_outside(model, last.id.into(), output[0])?;
    Ok(Some(patch))
}
