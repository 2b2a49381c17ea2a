//! CLIP's contrastive loss (InfoNCE) over a batch of pictures and their captions, in as many parts as memory needs.

use tch::{Kind, Tensor};

use super::clip::Clip;

/// Pictures and their captions, row by row.
#[derive(Debug)]
pub struct Pairs {
    /// Normalised views, [n, 3, S, S].
    pub pixels: Tensor,
    /// Tokens of the captions, [n, length].
    pub tokens: Tensor,
}

/// The loss of features [n, projection] whose rows belong together: each picture has to find its caption among all of
/// the batch, and each caption its picture. ln(n) for features that tell nothing.
pub fn info_nce(clip: &Clip, images: &Tensor, captions: &Tensor) -> Tensor {
    let logits = clip.logits(images, captions);
    let own = Tensor::arange(logits.size()[0], (Kind::Int64, logits.device()));
    (logits.cross_entropy_for_logits(&own) + logits.tr().cross_entropy_for_logits(&own)) / 2.0
}

/// Adds the gradient of the batch's loss to the model's variables and gives the loss.
///
/// With `parts` above 1 the towers see one part at a time, and still every picture is compared with every caption: the
/// features of all parts come first, without gradients; the loss's gradient on the features follows; then each part goes
/// through the towers once more and takes its features' gradient back. Costs one forward pass more, and the memory of
/// one part. (A stem's batch normalisation takes its statistics from each part.)
///
/// # Panics
/// When `parts` does not divide the number of pairs.
pub fn backward(clip: &Clip, pairs: &Pairs, parts: u32) -> f64 {
    let n = pairs.pixels.size()[0];
    let size = n / i64::from(parts);
    assert_eq!(size * i64::from(parts), n, "parts divide the batch");
    let features = |part: i64| {
        let rows = |t: &Tensor| t.narrow(0, part * size, size);
        (clip.image_features(&rows(&pairs.pixels), true), clip.text_features(&rows(&pairs.tokens)))
    };
    if parts == 1 {
        let (images, captions) = features(0);
        let loss = info_nce(clip, &images, &captions);
        loss.backward();
        return loss.double_value(&[]);
    }
    let all: Vec<(Tensor, Tensor)> = tch::no_grad(|| (0..i64::from(parts)).map(features).collect());
    let joined = |pick: fn(&(Tensor, Tensor)) -> &Tensor| {
        Tensor::cat(&all.iter().map(pick).collect::<Vec<_>>(), 0).set_requires_grad(true)
    };
    let (images, captions) = (joined(|f| &f.0), joined(|f| &f.1));
    let loss = info_nce(clip, &images, &captions);
    loss.backward();
    let (of_images, of_captions) = (images.grad(), captions.grad());
    for part in 0..i64::from(parts) {
        let (images, captions) = features(part);
        let rows = |t: &Tensor| t.narrow(0, part * size, size);
        let carried = (images * rows(&of_images)).sum(Kind::Float) + (captions * rows(&of_captions)).sum(Kind::Float);
        carried.backward();
    }
    loss.double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::recipe::Preset;
    use crate::tokens::CaptionTokenizer;
    use crate::torch::network::seeded;
    use crate::torch::text::rows;

    fn pairs(n: i64) -> Pairs {
        let captions: Vec<String> = (0..n).map(|i| format!("A Street View photo in country {i}.")).collect();
        let tokens = rows(&CaptionTokenizer::new().batch(&captions), Device::Cpu);
        let side = i64::from(Preset::Tiny.tower().image_px);
        let draw = || Tensor::randn([n, 3, side, side], (Kind::Float, Device::Cpu));
        Pairs { pixels: seeded(3, draw), tokens }
    }

    fn tiny() -> Clip {
        Clip::new(&Preset::Tiny.tower(), &Preset::Tiny.text(), 5, Device::Cpu)
    }

    #[test]
    fn features_that_tell_nothing_cost_ln_n_and_perfect_ones_nothing() {
        let clip = tiny();
        let same = Tensor::ones([16, 8], (Kind::Float, Device::Cpu));
        assert!((info_nce(&clip, &same, &same).double_value(&[]) - 16f64.ln()).abs() < 1e-4);
        let own = Tensor::eye(16, (Kind::Float, Device::Cpu));
        assert!(info_nce(&clip, &own, &own).double_value(&[]) < 1e-3);
        assert!(info_nce(&clip, &own, &own.roll([1], [0])).double_value(&[]) > 10.0);
    }

    #[test]
    fn a_batch_in_parts_has_the_gradient_of_the_whole() {
        let pairs = pairs(12);
        let gradients = |parts| {
            let clip = tiny();
            let loss = backward(&clip, &pairs, parts);
            let named = clip.variables.variables().into_iter().filter(|(_, v)| v.requires_grad());
            let mut named: Vec<_> = named.map(|(name, v)| (name, v.grad())).collect();
            named.sort_by(|a, b| a.0.cmp(&b.0));
            (loss, named)
        };
        let (loss, whole) = gradients(1);
        for parts in [2, 3, 12] {
            let (other, in_parts) = gradients(parts);
            assert!((loss - other).abs() < 1e-5, "{loss} {other}");
            for ((name, a), (_, b)) in whole.iter().zip(&in_parts) {
                let (apart, scale) = ((a - b).abs().max().double_value(&[]), a.abs().max().double_value(&[]));
                assert!(apart <= 1e-4 * scale + 1e-7, "{name}: {apart} of {scale} in {parts} parts");
            }
        }
    }
}
