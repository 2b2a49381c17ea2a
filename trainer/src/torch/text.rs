//! CLIP's text transformer in libtorch: captions as tokens -> one vector for each.

use tch::{Kind, Tensor, nn, nn::Init};

use crate::recipe;
use crate::tokens::{CONTEXT, END, Tokens, VOCABULARY};

use super::transformer::{Blocks, Products, Shape, layer_norm};

/// The text transformer; variables under `text_model` with Hugging Face's names.
#[derive(Debug)]
pub struct TextTower {
    tokens: Tensor,
    positions: Tensor,
    blocks: Blocks,
    final_norm: nn::LayerNorm,
}

impl TextTower {
    /// A tower with fresh weights under `text_model` of `root`.
    pub fn new(root: &nn::Path, shape: &recipe::TextTower) -> Self {
        let model = root / "text_model";
        let d = i64::from(shape.width);
        let embeddings = &model / "embeddings";
        let table = |name: &str, rows: usize, stdev| {
            (&embeddings / name).var("weight", &[rows as i64, d], Init::Randn { mean: 0.0, stdev })
        };
        TextTower {
            tokens: table("token_embedding", VOCABULARY, 0.02),
            positions: table("position_embedding", CONTEXT, 0.01),
            blocks: Blocks::new(&(&model / "encoder" / "layers"), &Shape::from(shape)),
            final_norm: layer_norm(&(&model / "final_layer_norm"), d),
        }
    }

    /// From now on the blocks' linear layers compute like this.
    pub fn compute(&mut self, products: Products) {
        self.blocks.compute(products);
    }

    /// Vectors of captions: the last hidden state, normalised, at each caption's first end token.
    ///
    /// `tokens` are numbers [n, length] in the form of [`rows`]; length is at most [`CONTEXT`]. A token sees only those
    /// before it, so that what stands behind the end, and how much of it, makes no difference. Gives [n, d].
    pub fn pooled(&self, tokens: &Tensor) -> Tensor {
        let (n, length) = (tokens.size()[0], tokens.size()[1]);
        let words = Tensor::embedding(&self.tokens, tokens, -1, false, false);
        let x = words + self.positions.narrow(0, 0, length);
        let hidden = self.blocks.forward(x).apply(&self.final_norm);
        let end = tokens.eq(END).to_kind(Kind::Int).argmax(1, false);
        let row = Tensor::arange(n, (Kind::Int64, tokens.device()));
        hidden.index(&[Some(row), Some(end)])
    }
}

/// Tokens as the tower reads them: [captions, length].
pub fn rows(tokens: &Tokens, device: tch::Device) -> Tensor {
    Tensor::from_slice(&tokens.ids).view([-1, tokens.length.max(1) as i64]).to_device(device)
}
