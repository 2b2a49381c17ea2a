//! Locate: an embedding becomes cell probabilities, then a refined estimate with a calibrated radius.

use std::sync::Arc;
use std::time::{Duration, Instant};

use homing_kernels::{Fused, Kernel, softmax};
use homing_models::{
    FileBytes, Geocells, LatLon, Manifest, Prototypes, Radius, RadiusTable, RefineParams, TaskList, bundle::HEADS,
    refine::Candidates, spread_km,
};
use tract_onnx::prelude::{Datum, Tensor};

use crate::{
    encode::Embeddings,
    graph::{self, Graph, GraphError, Plan, Planned},
};

/// Most auxiliary tasks a model can have.
pub const MAX_TASKS: usize = 16;

/// What a head answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TaskValue {
    /// A quantity in its unit.
    Quantity(f64),
    /// The number of the most probable class.
    Class(usize),
}

/// Where one panorama was taken, as far as the model can tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The answer first, then the other cells it could be; never empty.
    pub candidates: Candidates,
    /// The centroid of the most probable cell: the answer without refinement.
    pub centroid: LatLon,
    /// How far the truth may be.
    pub radius: Radius,
    /// Views that took part.
    pub views: usize,
    /// Auxiliary tasks in the order of the model's task list.
    pub tasks: heapless::Vec<TaskValue, MAX_TASKS>,
}

impl Estimate {
    /// The answer.
    pub fn position(&self) -> LatLon {
        self.candidates[0].position
    }
}

/// Heads, geocells and prototypes of a model. A clone can run on another thread.
#[derive(Clone)]
pub struct Locator {
    plan: Plan,
    input: Arc<Tensor>,
    outputs: Vec<(String, usize)>,
    tasks: TaskList,
    params: RefineParams,
    radius: RadiusTable,
    geocells: Arc<Geocells>,
    prototypes: Arc<Prototypes>,
    probabilities: Vec<f32>,
    kernel: Kernel,
    fused: Fused,
    heads: Duration,
}

impl Locator {
    /// Loads the heads and checks their outputs against the manifest.
    ///
    /// # Errors
    /// When the file cannot be loaded, a weight is not finite, or an output differs from the manifest.
    pub fn load(
        onnx: impl Into<FileBytes>,
        manifest: &Manifest,
        geocells: Arc<Geocells>,
        prototypes: Arc<Prototypes>,
    ) -> Result<Self, GraphError> {
        let shape = |fault: String| GraphError::Shape { file: HEADS, fault };
        let tasks = manifest.tasks.clone();
        let regressions = tasks.regressions.iter().map(|r| (r.name.clone(), 1));
        let classifications = tasks.classifications.iter().map(|c| (c.name.clone(), c.classes.len()));
        let outputs: Vec<(String, usize)> =
            std::iter::once(("cells".to_owned(), manifest.cells)).chain(regressions).chain(classifications).collect();
        let graph = Graph::parse(HEADS, onnx.into())?;
        let expected: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        if graph.outputs != expected {
            return Err(shape(format!("its outputs are {:?}, the manifest says {expected:?}", graph.outputs)));
        }
        if outputs.len() > MAX_TASKS + 1 {
            return Err(shape(format!("{} tasks, at most {MAX_TASKS} are possible", outputs.len() - 1)));
        }
        let Planned { plan, fused } = graph.plan(&[1, manifest.embedding], 1, None)?;
        let kernel = graph.kernel;
        let input = Tensor::zero_dt(f32::datum_type(), &[1, manifest.embedding]).map_err(|e| shape(e.to_string()))?;
        Ok(Locator {
            plan,
            input: Arc::new(input),
            outputs,
            tasks,
            params: manifest.refine,
            radius: manifest.radius.clone(),
            geocells,
            prototypes,
            probabilities: Vec::with_capacity(manifest.cells),
            kernel,
            fused,
            heads: Duration::ZERO,
        })
    }

    /// Locates a panorama; `None` when it has no view.
    ///
    /// # Errors
    /// When the heads fail or answer NaN.
    pub fn locate(&mut self, embeddings: &Embeddings) -> Result<Option<Estimate>, GraphError> {
        match embeddings.views() {
            0 => Ok(None),
            views => self.locate_embedding(embeddings.mean(), views).map(Some),
        }
    }

    /// Locates one embedding, the mean of `views` views.
    ///
    /// # Errors
    /// As [`Locator::locate`].
    ///
    /// # Panics
    /// When the embedding has another length than the model's.
    pub fn locate_embedding(&mut self, embedding: &[f32], views: usize) -> Result<Estimate, GraphError> {
        let failed = |e: tract_onnx::prelude::TractError| GraphError::Run { file: HEADS, cause: e.to_string() };
        let input = Arc::make_mut(&mut self.input);
        input.try_as_plain_ram_mut().map_err(failed)?.as_slice_mut::<f32>().map_err(failed)?.copy_from_slice(embedding);
        let started = Instant::now();
        let outputs = graph::run(HEADS, &self.plan, &self.input)?;
        self.heads = started.elapsed();
        let mut tasks = heapless::Vec::new();
        for (i, ((name, size), output)) in self.outputs.iter().zip(&outputs).enumerate() {
            let values = graph::numbers(HEADS, name, output, *size)?;
            if i == 0 {
                self.probabilities.clear();
                self.probabilities.extend_from_slice(values);
                softmax(self.kernel, &mut self.probabilities);
                continue;
            }
            let value = match self.tasks.regressions.get(i - 1) {
                Some(regression) => TaskValue::Quantity(regression.decode(f64::from(values[0]))),
                None => TaskValue::Class(largest(values)),
            };
            // The number of tasks was checked on loading.
            let _ = tasks.push(value);
        }
        let candidates =
            homing_models::refine(&self.geocells, &self.prototypes, &self.probabilities, embedding, &self.params);
        let spread = spread_km(&self.geocells, &self.probabilities, candidates[0].position);
        let centroid = self.geocells.cells()[largest(&self.probabilities)].centroid;
        Ok(Estimate { candidates, centroid, radius: self.radius.lookup(spread), views, tasks })
    }

    /// The geocells.
    pub fn geocells(&self) -> &Geocells {
        &self.geocells
    }

    /// Time that the heads took of the last location.
    pub fn heads(&self) -> Duration {
        self.heads
    }

    /// What the heads' plan has of our operators.
    pub fn fused(&self) -> &Fused {
        &self.fused
    }

    /// The prototypes.
    pub fn prototypes(&self) -> &Prototypes {
        &self.prototypes
    }

    /// The town that a candidate lies in or near, its region and its country's ISO code.
    pub fn place(&self, candidate: &homing_models::Candidate) -> Place<'_> {
        let cell = self.geocells.cell(candidate.cell);
        let town = candidate.prototype.map_or(cell.place.as_str(), |p| self.prototypes.get(p).place);
        // The region is known of the cell's own town only.
        let region = if town == cell.place { cell.admin1.as_str() } else { "" };
        Place { town, region, country: cell.country_code() }
    }
}

/// A place by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Town.
    pub town: &'a str,
    /// First-level administrative unit.
    pub region: &'a str,
    /// ISO 3166-1 alpha-2 code of the country.
    pub country: &'a str,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [self.town, self.region, self.country];
        let mut first = true;
        for name in names.into_iter().filter(|n| !n.is_empty()) {
            write!(f, "{}{name}", if first { "" } else { ", " })?;
            first = false;
        }
        Ok(())
    }
}

fn largest(values: &[f32]) -> usize {
    (0..values.len()).reduce(|a, b| if values[b] > values[a] { b } else { a }).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;

    use super::*;
    use crate::tiny;

    #[test]
    fn probabilities_decide_and_the_same_embedding_gives_the_same_estimate() {
        let dir = tempfile::tempdir().unwrap();
        let mut locator = crate::Model::load(tiny::bundle(&dir.path().join("b"))).unwrap().locator;
        let embedding: Vec<f32> = (0..tiny::DIMS).map(|i| (i as f32 * 0.7).sin()).collect();
        let a = locator.locate_embedding(&embedding, 4).unwrap();
        assert_eq!(a, locator.clone().locate_embedding(&embedding, 4).unwrap());
        let sum: f32 = locator.probabilities.iter().sum();
        assert!((sum - 1.0).abs() < 1e-5);
        let best = largest(&locator.probabilities);
        assert_eq!(a.centroid, locator.geocells().cells()[best].centroid);
        assert!(a.candidates.len() > 1 && a.radius.p50_km <= a.radius.p95_km && a.tasks.len() == 2);
        assert!(matches!(a.tasks[..], [TaskValue::Quantity(_), TaskValue::Class(c)] if c < 12));
        assert!(!locator.place(&a.candidates[0]).to_string().is_empty());
    }

    #[test]
    fn refinement_radius_and_tasks_ask_for_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut locator = crate::Model::load(tiny::bundle(&dir.path().join("b"))).unwrap().locator;
        let embedding = [0.3; tiny::DIMS];
        (0..3).for_each(|_| drop(locator.locate_embedding(&embedding, 4).unwrap()));
        let whole = measure(|| drop(locator.locate_embedding(&embedding, 4).unwrap()));
        let heads = measure(|| drop(graph::run(HEADS, &locator.plan, &locator.input).unwrap()));
        assert!(heads.count_total > 0);
        assert_eq!(whole.count_total, heads.count_total, "all that is asked for is the graph's own");
    }

    #[test]
    fn places_leave_out_what_is_unknown() {
        assert_eq!(Place { town: "Ulm", region: "", country: "DE" }.to_string(), "Ulm, DE");
        assert_eq!(Place { town: "Ulm", region: "Bayern", country: "DE" }.to_string(), "Ulm, Bayern, DE");
    }
}
