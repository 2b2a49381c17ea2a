//! The model's two graphs: the encoder (views -> embeddings) and the heads (embedding -> cells and tasks).
//!
//! Weights carry the names of CLIP's vision tower at Hugging Face. A quantised linear layer is written in the one form
//! that onnxruntime runs fastest and that our kernels recognise when a bundle is loaded:
//! DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul -> Add.

use tract_onnx::pb::{ModelProto, tensor_proto::DataType};

use crate::onnx::{
    Attribute::{Float, Int, Ints},
    Dim, GraphError, GraphWriter, Tensor, Weights,
};
use crate::quantise::{quantise_linear, round_to_bytes};
use crate::recipe::{Activation, StemLayer, Tower};

/// Epsilon of every LayerNorm, CLIP's.
pub const LAYER_NORM_EPSILON: f32 = 1e-5;

/// The input of the encoder.
const PICTURE: &str = "views";

/// How linear layers are stored and computed. Norms and attention stay float; so do convolutions, but with bytes, the
/// weights of all that do not see the picture itself are such as bytes can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    Float,
    /// Signed bytes by channel, activations quantised on the fly.
    Int8,
}

/// One output of the heads' graph: a linear layer on the embedding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Name of the output; its weights are `NAME.weight` [outputs, d] and `NAME.bias`, one for each output.
    pub name: String,
    /// Number of outputs.
    pub outputs: usize,
}

/// The encoder: input `views` [views, 3, S, S] normalised RGB, output `embeddings` [views, d], the mean over all tokens
/// of the last hidden state.
///
/// Weights: `vision_model.embeddings.{class_embedding, position_embedding.weight}`,
/// `vision_model.embeddings.patch_embedding.weight` or, with a stem, `vision_model.embeddings.stem.I.{weight, bias}`
/// for a convolution and `....stem.I.{conv1, conv2}.{weight, bias}` for a residual block (batch norm folded in),
/// `vision_model.pre_layrnorm.*` (so spelt), and `vision_model.encoder.layers.I.*`.
///
/// # Errors
/// When a weight is missing, has the wrong shape or is not finite.
pub fn encoder_graph(tower: &Tower, weights: &Weights, precision: Precision) -> Result<ModelProto, GraphError> {
    let mut b = Builder { graph: GraphWriter::new(), weights, precision };
    let side = tower.image_px as usize;
    let (d, tokens) = (tower.width as usize, tower.tokens() as usize);
    b.graph.input(PICTURE, &[Dim::Named("views"), Dim::Fixed(3), Dim::Fixed(side), Dim::Fixed(side)]);

    let grid = b.patches(tower)?;
    let mut x = b.embed(&grid, d, tokens)?;
    x = b.layer_norm("vision_model.pre_layrnorm", &x, d)?;
    for i in 0..tower.layers {
        x = b.block(&format!("vision_model.encoder.layers.{i}"), &x, tower)?;
    }
    let axes = b.graph.i64s("tokens_axis", &[1]);
    let out = b.graph.node("embeddings", "ReduceMean", &[&x, &axes], &[("keepdims", Int(0))]);
    b.graph.output(&out, &[Dim::Named("views"), Dim::Fixed(d)]);
    Ok(b.graph.finish("encoder"))
}

/// The heads: input `embedding` [1, d], one output [1, outputs] for each head under its name.
///
/// # Errors
/// As [`encoder_graph`].
pub fn heads_graph(
    d: usize,
    heads: &[Head],
    weights: &Weights,
    precision: Precision,
) -> Result<ModelProto, GraphError> {
    let mut b = Builder { graph: GraphWriter::new(), weights, precision };
    b.graph.input("embedding", &[Dim::Fixed(1), Dim::Fixed(d)]);
    let x = b.operand("embedding");
    for head in heads {
        b.linear_into(&head.name, &x, d, head.outputs, &head.name)?;
        b.graph.output(&head.name, &[Dim::Fixed(1), Dim::Fixed(head.outputs)]);
    }
    Ok(b.graph.finish("heads"))
}

/// A value on its way into linear layers; quantised once, however many layers read it.
enum Operand {
    Float(String),
    Quantised { bytes: String, scale: String, zero: String },
}

struct Builder<'w> {
    graph: GraphWriter,
    weights: &'w Weights,
    precision: Precision,
}

impl Builder<'_> {
    fn weight(&self, name: &str, shape: &[usize]) -> Result<&Tensor, GraphError> {
        let tensor = self.weights.get(name).ok_or_else(|| GraphError::Missing(name.to_owned()))?;
        if tensor.shape != shape || tensor.data.len() != shape.iter().product::<usize>() {
            let (found, expected) = (tensor.shape.clone(), shape.to_vec());
            return Err(GraphError::Shape { name: name.to_owned(), found, expected });
        }
        if tensor.data.iter().any(|x| !x.is_finite()) {
            return Err(GraphError::NotFinite(name.to_owned()));
        }
        Ok(tensor)
    }

    fn constant(&mut self, name: &str, shape: &[usize]) -> Result<String, GraphError> {
        let data = self.weight(name, shape)?.data.clone();
        Ok(self.graph.f32s(name, shape, &data))
    }

    /// The image as a grid of `width` channels: CLIP's patch embedding or the stem.
    fn patches(&mut self, tower: &Tower) -> Result<String, GraphError> {
        let path = "vision_model.embeddings";
        if let Some(patch) = tower.patch_px {
            let (d, patch) = (tower.width as usize, patch as usize);
            let name = format!("{path}.patch_embedding");
            let weight = self.constant(&format!("{name}.weight"), &[d, 3, patch, patch])?;
            let step = patch as i64;
            return Ok(self.graph.node(
                &name,
                "Conv",
                &[PICTURE, &weight],
                &[("kernel_shape", Ints(&[step; 2])), ("strides", Ints(&[step; 2]))],
            ));
        }
        let (mut x, mut channels) = (PICTURE.to_owned(), 3);
        for (i, &layer) in tower.stem.iter().enumerate() {
            let name = format!("{path}.stem.{i}");
            let pad = layer.pad() as usize;
            x = match layer {
                StemLayer::Conv { out, kernel, stride } => {
                    let shape = [out as usize, channels, kernel as usize, kernel as usize];
                    channels = out as usize;
                    let y = self.conv(&name, &x, shape, stride as usize, pad)?;
                    self.graph.node(&format!("{name}.relu"), "Relu", &[&y], &[])
                }
                StemLayer::Residual { .. } => {
                    let shape = [channels, channels, 3, 3];
                    let y = self.conv(&format!("{name}.conv1"), &x, shape, 1, pad)?;
                    let y = self.graph.node(&format!("{name}.conv1.relu"), "Relu", &[&y], &[]);
                    let y = self.conv(&format!("{name}.conv2"), &y, shape, 1, pad)?;
                    let sum = self.graph.node(&format!("{name}.sum"), "Add", &[&x, &y], &[]);
                    self.graph.node(&format!("{name}.relu"), "Relu", &[&sum], &[])
                }
            };
        }
        Ok(x)
    }

    fn conv(
        &mut self,
        name: &str,
        x: &str,
        shape: [usize; 4],
        stride: usize,
        pad: usize,
    ) -> Result<String, GraphError> {
        let weight_name = format!("{name}.weight");
        let mut data = self.weight(&weight_name, &shape)?.data.clone();
        // The device has two bytes for each weight that sees the picture, one for the others.
        if self.precision == Precision::Int8 && x != PICTURE {
            round_to_bytes(&mut data, shape[0]);
        }
        let weight = self.graph.f32s(&weight_name, &shape, &data);
        let bias = self.constant(&format!("{name}.bias"), &shape[..1])?;
        let (kernel, stride, pad) = ([shape[2] as i64; 2], [stride as i64; 2], [pad as i64; 4]);
        let attributes = [("kernel_shape", Ints(&kernel)), ("strides", Ints(&stride)), ("pads", Ints(&pad))];
        Ok(self.graph.node(name, "Conv", &[x, &weight, &bias], &attributes))
    }

    /// Grid [n, d, h, w] -> tokens [n, 1 + h*w, d] with class token and positions.
    ///
    /// The class token is added to its row of the position table, and the tokens are padded by a row of zeros in front:
    /// the same sum as concatenating it, without arithmetic on the unknown number of views.
    fn embed(&mut self, grid: &str, d: usize, tokens: usize) -> Result<String, GraphError> {
        let path = "vision_model.embeddings";
        let mut table = self.weight(&format!("{path}.position_embedding.weight"), &[tokens, d])?.data.clone();
        let class = self.weight(&format!("{path}.class_embedding"), &[d])?;
        table.iter_mut().zip(&class.data).for_each(|(position, class)| *position += class);

        let flat = self.graph.i64s(&format!("{path}.flat"), &[0, d as i64, tokens as i64 - 1]);
        let x = self.graph.node(&format!("{path}.flatten"), "Reshape", &[grid, &flat], &[]);
        let x = self.graph.node(&format!("{path}.tokens"), "Transpose", &[&x], &[("perm", Ints(&[0, 2, 1]))]);
        let pads = self.graph.i64s(&format!("{path}.class_row"), &[0, 1, 0, 0, 0, 0]);
        let x = self.graph.node(&format!("{path}.with_class"), "Pad", &[&x, &pads], &[]);
        let table = self.graph.f32s(&format!("{path}.position_embedding.weight"), &[1, tokens, d], &table);
        Ok(self.graph.node(path, "Add", &[&x, &table], &[]))
    }

    fn layer_norm(&mut self, name: &str, x: &str, d: usize) -> Result<String, GraphError> {
        let weight = self.constant(&format!("{name}.weight"), &[d])?;
        let bias = self.constant(&format!("{name}.bias"), &[d])?;
        let attributes = [("axis", Int(-1)), ("epsilon", Float(LAYER_NORM_EPSILON))];
        Ok(self.graph.node(name, "LayerNormalization", &[x, &weight, &bias], &attributes))
    }

    /// One pre-norm transformer block.
    fn block(&mut self, path: &str, x: &str, tower: &Tower) -> Result<String, GraphError> {
        let d = tower.width as usize;
        let y = self.layer_norm(&format!("{path}.layer_norm1"), x, d)?;
        let y = self.attention(&format!("{path}.self_attn"), &y, tower)?;
        let x = self.graph.node(&format!("{path}.attended"), "Add", &[x, &y], &[]);

        let y = self.layer_norm(&format!("{path}.layer_norm2"), &x, d)?;
        let hidden = d * tower.mlp_ratio as usize;
        let y = self.linear(&format!("{path}.mlp.fc1"), &y, d, hidden)?;
        let gelu = format!("{path}.mlp.gelu");
        let y = match tower.activation {
            Activation::QuickGelu => self.quick_gelu(&gelu, &y),
            Activation::Gelu => self.gelu(&gelu, &y),
        };
        let y = self.linear(&format!("{path}.mlp.fc2"), &y, hidden, d)?;
        Ok(self.graph.node(path, "Add", &[&x, &y], &[]))
    }

    fn attention(&mut self, path: &str, x: &str, tower: &Tower) -> Result<String, GraphError> {
        let (d, heads, tokens) = (tower.width as usize, i64::from(tower.heads), i64::from(tower.tokens()));
        let head_width = d as i64 / heads;
        let by_head = self.graph.i64s(&format!("{path}.by_head"), &[0, tokens, heads, head_width]);
        let joined = self.graph.i64s(&format!("{path}.joined"), &[0, tokens, d as i64]);
        let x = self.operand(x);
        // Keys are laid out transposed, ready for the product with the queries.
        let mut split = |name: &str, perm: [i64; 4]| {
            let projection = format!("{path}.{name}_proj");
            self.linear_into(&projection, &x, d, d, &projection)?;
            let y = self.graph.node(&format!("{path}.{name}.split"), "Reshape", &[&projection, &by_head], &[]);
            Ok::<_, GraphError>(self.graph.node(
                &format!("{path}.{name}"),
                "Transpose",
                &[&y],
                &[("perm", Ints(&perm))],
            ))
        };
        let q = split("q", [0, 2, 1, 3])?;
        let k = split("k", [0, 2, 3, 1])?;
        let v = split("v", [0, 2, 1, 3])?;

        let scale = self.graph.f32s(&format!("{path}.scale"), &[], &[1.0 / (head_width as f32).sqrt()]);
        let q = self.graph.node(&format!("{path}.q.scaled"), "Mul", &[&q, &scale], &[]);
        let scores = self.graph.node(&format!("{path}.scores"), "MatMul", &[&q, &k], &[]);
        let shares = self.graph.node(&format!("{path}.softmax"), "Softmax", &[&scores], &[("axis", Int(-1))]);
        let y = self.graph.node(&format!("{path}.mix"), "MatMul", &[&shares, &v], &[]);
        let y = self.graph.node(&format!("{path}.mix.t"), "Transpose", &[&y], &[("perm", Ints(&[0, 2, 1, 3]))]);
        let y = self.graph.node(&format!("{path}.mix.joined"), "Reshape", &[&y, &joined], &[]);
        self.linear(&format!("{path}.out_proj"), &y, d, d)
    }

    /// CLIP's activation: x * sigmoid(1.702 x).
    fn quick_gelu(&mut self, name: &str, x: &str) -> String {
        let slope = self.graph.f32s(&format!("{name}.slope"), &[], &[1.702]);
        let y = self.graph.node(&format!("{name}.scaled"), "Mul", &[x, &slope], &[]);
        let y = self.graph.node(&format!("{name}.sigmoid"), "Sigmoid", &[&y], &[]);
        self.graph.node(name, "Mul", &[x, &y], &[])
    }

    /// The exact GELU: x * (1 + erf(x / sqrt 2)) / 2, in operators that every runtime has.
    fn gelu(&mut self, name: &str, x: &str) -> String {
        let root = self.graph.f32s(&format!("{name}.root"), &[], &[std::f32::consts::FRAC_1_SQRT_2]);
        let half = self.graph.f32s(&format!("{name}.half"), &[], &[0.5]);
        let one = self.graph.f32s(&format!("{name}.one"), &[], &[1.0]);
        let y = self.graph.node(&format!("{name}.scaled"), "Mul", &[x, &root], &[]);
        let y = self.graph.node(&format!("{name}.erf"), "Erf", &[&y], &[]);
        let y = self.graph.node(&format!("{name}.share"), "Add", &[&y, &one], &[]);
        let y = self.graph.node(&format!("{name}.twice"), "Mul", &[x, &y], &[]);
        self.graph.node(name, "Mul", &[&y, &half], &[])
    }

    /// What linear layers read of `x`: itself, or its bytes.
    fn operand(&mut self, x: &str) -> Operand {
        match self.precision {
            Precision::Float => Operand::Float(x.to_owned()),
            Precision::Int8 => {
                let [bytes, scale, zero] = ["bytes", "scale", "zero"].map(|part| format!("{x}.{part}"));
                self.graph.node_with(
                    &format!("{x}.quantise"),
                    "DynamicQuantizeLinear",
                    &[x],
                    &[&bytes, &scale, &zero],
                    &[],
                );
                Operand::Quantised { bytes, scale, zero }
            }
        }
    }

    fn linear(&mut self, name: &str, x: &str, inputs: usize, outputs: usize) -> Result<String, GraphError> {
        let x = self.operand(x);
        self.linear_into(name, &x, inputs, outputs, name)?;
        Ok(name.to_owned())
    }

    /// x W^T + b with `name.weight` [outputs, inputs] and `name.bias` [outputs]; the sum is called `out`.
    fn linear_into(
        &mut self,
        name: &str,
        x: &Operand,
        inputs: usize,
        outputs: usize,
        out: &str,
    ) -> Result<(), GraphError> {
        let weight_name = format!("{name}.weight");
        let weight = self.weight(&weight_name, &[outputs, inputs])?;
        let product = match x {
            Operand::Float(x) => {
                let mut transposed = vec![0.0; weight.data.len()];
                for (o, row) in weight.data.chunks_exact(inputs).enumerate() {
                    row.iter().enumerate().for_each(|(i, w)| transposed[i * outputs + o] = *w);
                }
                let weight = self.graph.f32s(&weight_name, &[inputs, outputs], &transposed);
                self.graph.node(&format!("{name}.product"), "MatMul", &[x, &weight], &[])
            }
            Operand::Quantised { bytes, scale, zero } => {
                let q = quantise_linear(&weight.data, outputs, inputs);
                let g = &mut self.graph;
                let weight = g.i8s(&weight_name, &[inputs, outputs], &q.data);
                let weight_zero = g.i8s(&format!("{name}.weight_zero"), &[], &[0]);
                let weight_scale = g.f32s(&format!("{name}.weight_scale"), &[outputs], &q.scales);
                let inputs = [bytes.as_str(), &weight, zero, &weight_zero];
                let y = g.node(&format!("{name}.integers"), "MatMulInteger", &inputs, &[]);
                let y = g.node(&format!("{name}.floats"), "Cast", &[&y], &[("to", Int(DataType::Float as i64))]);
                let scale = g.node(&format!("{name}.scale"), "Mul", &[scale, &weight_scale], &[]);
                g.node(&format!("{name}.product"), "Mul", &[&y, &scale], &[])
            }
        };
        let bias = self.constant(&format!("{name}.bias"), &[outputs])?;
        self.graph.node(out, "Add", &[&product, &bias], &[]);
        Ok(())
    }
}

#[cfg(test)]
#[path = "encoder_graph_tests.rs"]
mod tests;
