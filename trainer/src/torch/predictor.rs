//! Who is asked in an evaluation: the float network, or the exported int8 graphs as the device runs them.

use std::sync::Arc;

use anyhow::{Context, Result};
use homing_kernels::{Inside, Kernel, Packed, Pixels, fuse, read};
use homing_models::TaskList;
use prost::Message;
use rayon::prelude::*;
use tch::Tensor;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::batch::{Variation, normalise};
use super::embed::{Embedded, Panoramas, mean};
use super::heads::outputs;
use super::network::{self, IMAGE_MEAN, IMAGE_STD, Network};

/// The heads' outputs of some sites.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Probabilities by site, [sites, cells].
    pub cells: Vec<f32>,
    /// Outputs of each task in the order of the task list, [sites, outputs].
    pub tasks: Vec<Vec<f32>>,
}

/// A model as far as an evaluation needs it.
pub trait Predictor {
    /// Embeddings of panoramas.
    ///
    /// # Errors
    /// When the model cannot run.
    fn embed(&self, panoramas: &Panoramas) -> Result<Embedded>;

    /// The heads' outputs for embeddings [sites, d].
    ///
    /// # Errors
    /// When the model cannot run.
    fn predict(&self, embeddings: &[f32]) -> Result<Predictions>;
}

impl Predictor for Network {
    fn embed(&self, panoramas: &Panoramas) -> Result<Embedded> {
        Ok(panoramas.embed(self))
    }

    fn predict(&self, embeddings: &[f32]) -> Result<Predictions> {
        let dims = self.heads.width();
        let input = Tensor::from_slice(embeddings).view([-1, dims]).to_device(self.variables.device());
        let mut found = Network::predict(self, &input).iter().map(network::values).collect::<Vec<_>>();
        let cells = found.remove(0);
        Ok(Predictions { cells, tasks: found })
    }
}

/// The two exported graphs, loaded by tract.
pub struct Exported {
    side: usize,
    dims: usize,
    encoder: Arc<TypedRunnableModel>,
    heads: Arc<TypedRunnableModel>,
    widths: Vec<usize>,
}

impl Exported {
    /// Loads the bytes of `encoder.onnx` and `heads.onnx`; without a kernel tract computes what the files say, to the
    /// letter.
    ///
    /// # Errors
    /// When tract refuses a graph.
    pub fn load(
        encoder: &[u8],
        heads: &[u8],
        kernel: Option<Kernel>,
        side: usize,
        dims: usize,
        cells: usize,
        tasks: &TaskList,
    ) -> Result<Self> {
        let pixels = Pixels {
            gain: std::array::from_fn(|c| 1.0 / (255.0 * IMAGE_STD[c])),
            shift: std::array::from_fn(|c| -IMAGE_MEAN[c] / IMAGE_STD[c]),
        };
        let load = |bytes: &[u8], pixels: Option<&Pixels>, what: &str| {
            let ready = || -> TractResult<_> {
                let onnx = tract_onnx::onnx();
                let model = match kernel {
                    Some(kernel) => read(onnx, ModelProto::decode(bytes)?, kernel, &Inside)?,
                    None => onnx.model_for_read(&mut &bytes[..])?,
                };
                let mut model = model.into_typed()?;
                if let Some(kernel) = kernel {
                    fuse(kernel, pixels, &Packed::default(), &mut model)?;
                }
                model.into_optimized()?.into_runnable()
            };
            ready().with_context(|| format!("tract refuses the exported {what}"))
        };
        let widths = outputs(cells, tasks).iter().map(|head| head.outputs).collect();
        Ok(Exported {
            side,
            dims,
            encoder: load(encoder, Some(&pixels), "encoder")?,
            heads: load(heads, None, "heads")?,
            widths,
        })
    }

    fn views(&self, views: &[Vec<u8>]) -> Result<Vec<f32>> {
        let mut by_pixel = Vec::with_capacity(views.len() * 3 * self.side * self.side);
        views.iter().for_each(|rgb| normalise(rgb, self.side, Variation::NONE, &mut by_pixel));
        let pixels = self.side * self.side;
        // The graph wants whole planes of red, green and blue.
        let planes: Vec<f32> = by_pixel
            .chunks_exact(3 * pixels)
            .flat_map(|view| (0..3).flat_map(move |c| view.iter().skip(c).step_by(3).copied()))
            .collect();
        self.normalised(&planes)
    }

    /// The embeddings [views, d] of normalised views [views, 3, S, S].
    ///
    /// # Errors
    /// When tract cannot run the graph.
    pub fn normalised(&self, views: &[f32]) -> Result<Vec<f32>> {
        let of_each = 3 * self.side * self.side;
        Ok(run(&self.encoder, &[views.len() / of_each, 3, self.side, self.side], views)?.remove(0))
    }
}

impl Predictor for Exported {
    fn embed(&self, panoramas: &Panoramas) -> Result<Embedded> {
        let by_site: Vec<Vec<f32>> = (0..panoramas.sites())
            .into_par_iter()
            .map(|site| self.views(panoramas.views(site)))
            .collect::<Result<_>>()?;
        let dims = self.dims;
        Ok(Embedded {
            dims,
            panoramas: by_site.iter().flat_map(|rows| mean(rows, dims)).collect(),
            first_views: by_site.iter().flat_map(|rows| rows[..dims].iter().copied()).collect(),
        })
    }

    fn predict(&self, embeddings: &[f32]) -> Result<Predictions> {
        let by_site: Vec<Vec<Vec<f32>>> =
            embeddings.par_chunks(self.dims).map(|e| run(&self.heads, &[1, self.dims], e)).collect::<Result<_>>()?;
        let column = |i: usize| by_site.iter().flat_map(|outputs| outputs[i].iter().copied()).collect::<Vec<f32>>();
        let mut cells = column(0);
        cells.chunks_exact_mut(self.widths[0]).for_each(softmax);
        Ok(Predictions { cells, tasks: (1..self.widths.len()).map(column).collect() })
    }
}

fn run(model: &Arc<TypedRunnableModel>, shape: &[usize], input: &[f32]) -> Result<Vec<Vec<f32>>> {
    let input = tract_onnx::prelude::Tensor::from_shape(shape, input)?;
    let found = model.run(tvec!(input.into()))?;
    found.iter().map(|t| Ok(t.to_plain_array_view::<f32>()?.iter().copied().collect())).collect()
}

/// Logits to probabilities, in place.
fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x /= sum);
}
