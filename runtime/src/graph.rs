//! Loading an ONNX graph into tract, with the checks that a file on a vehicle needs and with our operators in it.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use homing_kernels::{Fused, Kernel, KernelError, Packed, Pixels, fuse};
use homing_models::{FileBytes, panic_line};
use tract_onnx::{
    pb::{NodeProto, TensorProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto},
    prelude::*,
    tract_hir::internal::{ToDim, bail},
};

use crate::onnx::OnnxFile;

/// A graph that can be run.
pub(crate) type Plan = Arc<TypedRunnableModel>;

/// Letters of tract's own words in a message.
const LONGEST_CAUSE: usize = 120;

/// What ours take the place of, and ONNX's operators for it. A sigmoid or a tanh may be one of other functions than GELU, which
/// work as they are.
const REPLACEABLE: [(&str, &[&str]); 5] = [
    ("MatMulInteger", &["MatMulInteger"]),
    ("LayerNormalization", &["LayerNormalization"]),
    ("Softmax", &["Softmax"]),
    ("GELU", &["Gelu", "Erf", "BiasGelu", "FastGelu"]),
    ("Conv", &["Conv"]),
];

thread_local! {
    /// Whether a panic of this thread becomes an error: then nobody needs to be told of it besides.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Why a graph cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// tract does not understand it.
    #[error("{file} cannot be loaded: {cause}; export the bundle again")]
    Load {
        /// Which graph.
        file: &'static str,
        /// What tract says.
        cause: String,
    },
    /// A weight is NaN or infinite.
    #[error("{file}: weight {weight} holds NaN or an infinite number; export the bundle again")]
    NotFinite {
        /// Which graph.
        file: &'static str,
        /// Which weight.
        weight: String,
    },
    /// An output is not there or has another size than the manifest says.
    #[error("{file}: {fault}; export the bundle again")]
    Shape {
        /// Which graph.
        file: &'static str,
        /// What is wrong.
        fault: String,
    },
    /// The kernel that the environment asks for cannot run.
    #[error("{file} cannot be prepared: {cause}")]
    Kernel {
        /// Which graph.
        file: &'static str,
        /// What is wrong with it.
        cause: KernelError,
    },
    /// Nodes have a form for which there is no fast operator.
    #[error(
        "{file}: {found} of {nodes} {kind} nodes have a form that runs fast here; export the bundle again with homing-trainer"
    )]
    Slow {
        /// Which graph.
        file: &'static str,
        /// Of which kind.
        kind: &'static str,
        /// How many were replaced.
        found: usize,
        /// How many the file has.
        nodes: usize,
    },
    /// Running it failed or gave NaN.
    #[error("{file} failed on this panorama: {cause}; if others fail too, export the bundle again")]
    Run {
        /// Which graph.
        file: &'static str,
        /// What happened.
        cause: String,
    },
}

/// A graph that was read and whose weights are finite.
#[derive(Clone)]
pub(crate) struct Graph {
    file: &'static str,
    /// What its plans run with.
    pub kernel: Kernel,
    model: InferenceModel,
    packed: Arc<Packed>,
    /// Sizes of the first input as the file states them, `None` for a symbol.
    pub input: Vec<Option<i64>>,
    pub outputs: Vec<String>,
    /// Nodes of the operators that ours take the place of.
    replaceable: [(&'static str, usize); 5],
}

/// A plan, and what it has of our operators.
pub(crate) struct Planned {
    pub plan: Plan,
    pub fused: Fused,
}

impl Graph {
    /// Reads an ONNX file, of which nothing is needed any more afterwards.
    pub fn parse(file: &'static str, bytes: FileBytes) -> Result<Self, GraphError> {
        let load = |e: TractError| GraphError::Load { file, cause: one_line(&e) };
        let onnx = OnnxFile::decode(bytes).map_err(load)?;
        let proto = onnx.proto();
        let mut weights = proto.graph.iter().flat_map(|g| &g.initializer);
        if let Some(bad) = weights.find(|t| !finite(t, onnx.raw_data(t))).map(|t| t.name.clone()) {
            return Err(GraphError::NotFinite { file, weight: bad });
        }
        let input = proto.graph.iter().find_map(|g| g.input.first()).map(sizes).unwrap_or_default();
        let outputs = proto.graph.iter().flat_map(|g| &g.output).map(|o| o.name.clone()).collect();
        let nodes =
            |kinds: &[&str]| proto.graph.iter().flat_map(|g| &g.node).filter(|n| kinds.contains(&&*n.op_type)).count();
        let mut replaceable = REPLACEABLE.map(|(kind, operators)| (kind, nodes(operators)));
        // Plans share what was packed by the names of nodes.
        let mut names = HashSet::new();
        // tract calls a node without a name by its first output.
        let named = |n: &'_ NodeProto| if n.name.is_empty() { n.output.first().cloned() } else { Some(n.name.clone()) };
        let mut all = proto.graph.iter().flat_map(|g| &g.node).filter_map(named).filter(|name| !name.is_empty());
        if let Some(twice) = all.find(|name| !names.insert(name.clone())) {
            let cause = format!("two nodes have the name {twice}");
            return Err(GraphError::Load { file, cause });
        }
        // In a graph of floats activations may, and convolutions do, stay what they are.
        if replaceable[0].1 == 0 {
            (replaceable[3].1, replaceable[4].1) = (0, 0);
        }
        let kernel = Kernel::chosen().map_err(|cause| GraphError::Kernel { file, cause })?;
        let model = caught(|| onnx.model(kernel)).map_err(load)?;
        if model.inputs.len() != 1 {
            let fault = format!("it has {} inputs, one is expected", model.inputs.len());
            return Err(GraphError::Shape { file, fault });
        }
        Ok(Graph { file, kernel, model, packed: Arc::default(), input, outputs, replaceable })
    }

    /// Makes a plan for an input of this shape, made of these pixels if of any; `views` takes the place of the symbol of
    /// that name. All plans of a graph must be made for the same pixels: they share packed weights.
    pub fn plan(&self, shape: &[usize], views: usize, pixels: Option<&Pixels>) -> Result<Planned, GraphError> {
        let build = || -> TractResult<Planned> {
            let mut model = self.model.clone();
            if let Some(symbol) = model.symbols.get("views") {
                model.set_symbols(&HashMap::from([(symbol, views.to_dim())]))?;
            }
            model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?;
            let mut model = model.into_typed()?;
            let fused = fuse(self.kernel, pixels, &self.packed, &mut model)?;
            Ok(Planned { plan: model.into_optimized()?.into_runnable()?, fused })
        };
        let planned = caught(build).map_err(|e| GraphError::Load { file: self.file, cause: one_line(&e) })?;
        let f = &planned.fused;
        let replaced = [f.linear, f.norms, f.attentions, f.activations, f.convolutions];
        for ((kind, nodes), found) in self.replaceable.into_iter().zip(replaced) {
            if found < nodes {
                return Err(GraphError::Slow { file: self.file, kind, found, nodes });
            }
        }
        Ok(planned)
    }
}

/// What tract makes of a graph. It panics at some that no exporter writes, such as a stride of nothing.
fn caught<T>(work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                before(panic)
            }
        }));
    });
    let around = CAUGHT.replace(true);
    // Whatever is left half made is dropped with the graph or with the plan.
    let done = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(around);
    done.unwrap_or_else(|panic| bail!("it stops at {}", panic_line(&*panic)))
}

/// Runs a plan on its one input, which is handed back to be filled again.
pub(crate) fn run(file: &'static str, plan: &Plan, input: &Arc<Tensor>) -> Result<TVec<TValue>, GraphError> {
    caught(|| plan.run(tvec!(input.clone().into_tvalue()))).map_err(|e| GraphError::Run { file, cause: one_line(&e) })
}

/// The numbers of an output; refused when they are not finite or not as many as expected.
pub(crate) fn numbers<'a>(
    file: &'static str,
    name: &str,
    output: &'a TValue,
    expected: usize,
) -> Result<&'a [f32], GraphError> {
    let view = output.try_as_plain_ram().and_then(|v| v.as_slice::<f32>());
    let values = view.map_err(|e| GraphError::Shape { file, fault: format!("output {name}: {}", one_line(&e)) })?;
    if values.len() != expected {
        let fault = format!("output {name} has {} numbers, the manifest says {expected}", values.len());
        return Err(GraphError::Shape { file, fault });
    }
    match values.iter().all(|v| v.is_finite()) {
        true => Ok(values),
        false => Err(GraphError::Run { file, cause: format!("output {name} holds NaN or an infinite number") }),
    }
}

fn finite(t: &TensorProto, raw: &[u8]) -> bool {
    if t.data_type != DataType::Float as i32 {
        return true;
    }
    let raw = raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    raw.chain(t.float_data.iter().copied()).all(f32::is_finite)
}

fn sizes(input: &ValueInfoProto) -> Vec<Option<i64>> {
    let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Vec::new();
    };
    let size = |d: &dimension::Value| match d {
        dimension::Value::DimValue(n) => Some(*n),
        dimension::Value::DimParam(_) => None,
    };
    tensor.shape.iter().flat_map(|s| &s.dim).map(|d| d.value.as_ref().and_then(size)).collect()
}

/// What lies at the bottom of an error; tract's own layers above it quote its insides at length.
fn one_line(e: &TractError) -> String {
    let words = e.root_cause().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST_CAUSE) {
        Some((end, _)) => format!("{} ...", &words[..end]),
        None => words,
    }
}
