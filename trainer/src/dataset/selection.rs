//! Some samples of a gallery, as a gallery of their own.

use super::{Gallery, Sample, Scenery, ViewError};

/// The chosen samples, in the order of the choice.
pub struct Selection<'g> {
    gallery: &'g dyn Gallery,
    chosen: Vec<usize>,
    samples: Vec<Sample>,
}

impl<'g> Selection<'g> {
    /// The samples that `wanted` accepts.
    pub fn of(gallery: &'g dyn Gallery, wanted: impl Fn(&Sample) -> bool) -> Self {
        let all = gallery.samples();
        Self::chosen(gallery, (0..all.len()).filter(|&i| wanted(&all[i])).collect())
    }

    /// At most `count` samples, spread evenly over the order of all.
    pub fn evenly(gallery: &'g dyn Gallery, count: usize) -> Self {
        let all = gallery.samples().len();
        let count = count.min(all);
        Self::chosen(gallery, (0..count as u64).map(|i| (i * all as u64 / count as u64) as usize).collect())
    }

    fn chosen(gallery: &'g dyn Gallery, chosen: Vec<usize>) -> Self {
        let samples = chosen.iter().map(|&i| gallery.samples()[i].clone()).collect();
        Selection { gallery, chosen, samples }
    }
}

impl Gallery for Selection<'_> {
    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn views(&self, sample: usize) -> usize {
        self.gallery.views(self.chosen[sample])
    }

    fn month(&self, sample: usize, variant: u64) -> Option<usize> {
        self.gallery.month(self.chosen[sample], variant)
    }

    fn heading_deg(&self, sample: usize) -> Option<f64> {
        self.gallery.heading_deg(self.chosen[sample])
    }

    fn scenery(&self, sample: usize, variant: u64) -> Option<Scenery> {
        self.gallery.scenery(self.chosen[sample], variant)
    }

    fn views_into(&self, sample: usize, variant: u64, size_px: usize, out: &mut [u8]) -> Result<(), ViewError> {
        self.gallery.views_into(self.chosen[sample], variant, size_px, out)
    }

    fn view_into(
        &self,
        sample: usize,
        variant: u64,
        bearing: usize,
        size_px: usize,
        out: &mut [u8],
    ) -> Result<(), ViewError> {
        self.gallery.view_into(self.chosen[sample], variant, bearing, size_px, out)
    }
}

#[cfg(test)]
mod tests {
    use homing_planet::Split;

    use super::super::PlanetGallery;
    use super::*;

    #[test]
    fn a_selection_shows_the_chosen_samples() {
        let gallery = PlanetGallery::draw(Split::Train, 1, 60);
        let first = gallery.samples()[0].country;
        let others = Selection::of(&gallery, |s| s.country != first);
        assert!(others.samples().iter().all(|s| s.country != first) && !others.samples().is_empty());
        let at = gallery.samples().iter().position(|s| s == &others.samples()[0]).unwrap();
        let (mut a, mut b) = (vec![0; 3 * 16 * 16], vec![0; 3 * 16 * 16]);
        gallery.view_into(at, 2, 1, 16, &mut a).unwrap();
        others.view_into(0, 2, 1, 16, &mut b).unwrap();
        assert_eq!((a, gallery.month(at, 2), gallery.scenery(at, 2)), (b, others.month(0, 2), others.scenery(0, 2)));
    }

    #[test]
    fn some_of_many_are_spread_over_all() {
        let gallery = PlanetGallery::draw(Split::Train, 1, 10);
        let of = |count| Selection::evenly(&gallery, count).chosen;
        assert_eq!(of(4), [0, 2, 5, 7]);
        assert_eq!(of(3), [0, 3, 6]);
        assert_eq!(of(10), (0..10).collect::<Vec<_>>());
        assert_eq!(of(11), of(10));
        assert!(of(0).is_empty());
    }
}
