//! Panoramas to embeddings, many at a time.

use anyhow::Result;
use rayon::prelude::*;
use tch::{Device, Tensor};

use crate::dataset::Gallery;

use super::batch::{Variation, normalise};
use super::network::{self, Network};

/// Views that go through the network at once.
const VIEWS_AT_ONCE: usize = 256;
/// Sites whose views are rendered or read at once when a whole gallery is embedded; twice as many are in memory.
const SITES_AT_ONCE: usize = 2000;

/// The views of some sites, as bytes.
#[derive(Debug)]
pub struct Panoramas {
    side: usize,
    /// All views in the order of the sites, `3 * side * side` bytes each.
    views: Vec<Vec<u8>>,
    /// For each site the end of its views.
    ends: Vec<usize>,
}

/// Embeddings by site, row-major [sites, d].
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Length d of an embedding.
    pub dims: usize,
    /// The means over all views of each site.
    pub panoramas: Vec<f32>,
    /// The embeddings of the first view of each site.
    pub first_views: Vec<f32>,
}

impl Embedded {
    /// The embedding of a site.
    pub fn panorama(&self, site: usize) -> &[f32] {
        &self.panoramas[site * self.dims..][..self.dims]
    }

    /// The embedding of a site's first view.
    pub fn first_view(&self, site: usize) -> &[f32] {
        &self.first_views[site * self.dims..][..self.dims]
    }

    /// The panoramas' embeddings as a tensor [sites, d].
    pub fn tensor(&self, device: Device) -> Tensor {
        Tensor::from_slice(&self.panoramas).view([-1, self.dims as i64]).to_device(device)
    }
}

impl Panoramas {
    /// Reads all views of some sites on all processors. `variant` selects among the moments at which a simulated site
    /// may be seen.
    ///
    /// # Errors
    /// When a view cannot be read.
    pub fn load(gallery: &dyn Gallery, sites: &[usize], side: usize, variant: u64) -> Result<Self> {
        let of_site = |&site: &usize| {
            let mut rgb = vec![0; gallery.views(site) * 3 * side * side];
            gallery.views_into(site, variant, side, &mut rgb).map(|()| rgb)
        };
        let by_site: Vec<Vec<u8>> = sites.par_iter().map(of_site).collect::<Result<_, _>>()?;
        let mut ends = Vec::with_capacity(sites.len());
        let mut views = Vec::with_capacity(4 * sites.len());
        for own in by_site {
            views.extend(own.chunks_exact(3 * side * side).map(<[u8]>::to_vec));
            ends.push(views.len());
        }
        Ok(Panoramas { side, views, ends })
    }

    /// Number of sites.
    pub fn sites(&self) -> usize {
        self.ends.len()
    }

    /// The views of a site.
    pub fn views(&self, site: usize) -> &[Vec<u8>] {
        &self.views[if site == 0 { 0 } else { self.ends[site - 1] }..self.ends[site]]
    }

    /// All views, normalised: [views, 3, S, S].
    pub fn pixels(&self) -> Tensor {
        self.pixels_of(&self.views)
    }

    fn pixels_of(&self, views: &[Vec<u8>]) -> Tensor {
        let normalised = |rgb: &Vec<u8>| {
            let mut values = Vec::with_capacity(rgb.len());
            normalise(rgb, self.side, Variation::NONE, &mut values);
            values
        };
        let values: Vec<Vec<f32>> = views.par_iter().map(normalised).collect();
        network::pixels(&Tensor::from_slice(&values.concat()), self.side as u32)
    }

    /// The embeddings of all sites.
    pub fn embed(&self, network: &Network) -> Embedded {
        let device = network.variables.device();
        self.embed_with(&|pixels| network.embed(&pixels.to_device(device)))
    }

    /// The embeddings of all sites, by a function from normalised views [n, 3, S, S] to [n, d].
    pub fn embed_with(&self, encoder: &dyn Fn(&Tensor) -> Tensor) -> Embedded {
        let mut by_view = Vec::new();
        let mut dims = 0;
        for chunk in self.views.chunks(VIEWS_AT_ONCE) {
            let embeddings = encoder(&self.pixels_of(chunk));
            dims = embeddings.size()[1] as usize;
            by_view.extend(network::values(&embeddings));
        }
        let mut embedded = Embedded { dims, panoramas: Vec::new(), first_views: Vec::new() };
        let mut first = 0;
        for &end in &self.ends {
            let own = &by_view[first * dims..end * dims];
            embedded.first_views.extend(&own[..dims]);
            embedded.panoramas.extend(mean(own, dims));
            first = end;
        }
        embedded
    }
}

/// The mean of rows of `dims` numbers.
pub fn mean(rows: &[f32], dims: usize) -> Vec<f32> {
    let count = (rows.len() / dims) as f32;
    let sum = rows.chunks_exact(dims).fold(vec![0f32; dims], |mut sum, row| {
        sum.iter_mut().zip(row).for_each(|(s, r)| *s += r);
        sum
    });
    sum.into_iter().map(|s| s / count).collect()
}

/// Embeddings of every site of a gallery; `done` hears of the number of sites finished.
///
/// # Errors
/// When a view cannot be read.
pub fn embed_gallery(
    network: &Network,
    gallery: &dyn Gallery,
    side: usize,
    variant: u64,
    done: &dyn Fn(usize),
) -> Result<Embedded> {
    let sites: Vec<usize> = (0..gallery.samples().len()).collect();
    let mut chunks = sites.chunks(SITES_AT_ONCE);
    // Threads of their own: those that prepare the present views for the network would wait behind all of the next.
    let loaders = rayon::ThreadPoolBuilder::new().build()?;
    let load = |chunk| loaders.install(|| Panoramas::load(gallery, chunk, side, variant));
    let (mut all, mut count) = (None::<Embedded>, 0);
    let mut current = chunks.next().map(load).transpose()?;
    while let Some(panoramas) = current {
        // While these go through the network, the next are rendered or read.
        let (part, next) = std::thread::scope(|scope| {
            let next = chunks.next().map(|chunk| scope.spawn(|| load(chunk)));
            (panoramas.embed(network), next.map(|thread| thread.join()))
        });
        count += panoramas.sites();
        match &mut all {
            None => all = Some(part),
            Some(all) => {
                all.panoramas.extend(part.panoramas);
                all.first_views.extend(part.first_views);
            }
        }
        done(count);
        let next = next.transpose().map_err(|_| anyhow::anyhow!("a loader thread ended early"))?;
        current = next.transpose()?;
    }
    all.ok_or_else(|| anyhow::anyhow!("there is no site to embed"))
}
