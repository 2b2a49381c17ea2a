//! Distillation (Hinton and others 2015): what a trained bundle sees in a step's pictures is a part of the targets.
//!
//! The teacher answers to the very pictures that the student sees, varied as they are (Beyer and others 2022), by its
//! int8 graphs on the processor, as on a device. What it gives to one of its cells is handed on to the student's by
//! haversine smoothing from that cell's centroid, so that the two may have other cells and other towns.

use anyhow::{Context, Result, ensure};
use homing_kernels::Kernel;
use homing_models::{Bundle, LatLon};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::{Device, Tensor};

use super::loader::Batch;
use super::network;
use super::predictor::{Exported, Predictor};
use super::workbench::Workbench;
use crate::recipe::Recipe;
use crate::smoothing::smoothed_targets;

/// Views that one thread encodes at once.
const VIEWS_AT_ONCE: usize = 4;

/// A bundle that teaches.
pub struct Teacher {
    graphs: Exported,
    dims: usize,
    side: u32,
    weight: f64,
    /// [the teacher's cells, the student's]; none where they are the same.
    handed_on: Option<Tensor>,
    pool: ThreadPool,
}

/// The recipe's teacher, where it names one.
fn bundle(recipe: &Recipe) -> Result<Option<Bundle>> {
    let Some(distillation) = &recipe.distillation else { return Ok(None) };
    let path = distillation.teacher.display();
    let bundle = Bundle::open(&distillation.teacher).context("distillation.teacher")?;
    let (image, side) = (&bundle.manifest.image, recipe.tower.image_px);
    ensure!(
        image.size == side,
        "the teacher {path} sees pictures of {size} px, the recipe's tower of {side}: set tower.image_px = {size}, or \
         name another teacher",
        size = image.size
    );
    ensure!(
        (image.mean, image.std) == (network::IMAGE_MEAN, network::IMAGE_STD),
        "the teacher {path} has pictures normalised otherwise: name a bundle of this trainer's"
    );
    Ok(Some(bundle))
}

/// The id of the recipe's teacher, where it names one.
///
/// # Errors
/// When its bundle cannot be used, or sees pictures of another size.
pub fn id(recipe: &Recipe) -> Result<Option<String>> {
    Ok(bundle(recipe)?.map(|bundle| bundle.model_id))
}

impl Teacher {
    /// The recipe's teacher, where it names one.
    ///
    /// # Errors
    /// As [`id`], and when tract refuses a graph.
    pub fn open(bench: &Workbench) -> Result<Option<Self>> {
        let recipe = &bench.recipe;
        let (Some(bundle), Some(distillation)) = (bundle(recipe)?, &recipe.distillation) else { return Ok(None) };
        let (manifest, side) = (&bundle.manifest, recipe.tower.image_px);
        let (kernel, cells, dims) = (Kernel::chosen()?, bundle.geocells.len(), manifest.embedding);
        let graphs = (&bundle.encoder, &bundle.heads, &manifest.tasks);
        let graphs = Exported::load(graphs.0, graphs.1, Some(kernel), side as usize, dims, cells, graphs.2)
            .with_context(|| format!("the teacher {}", distillation.teacher.display()))?;
        let same = bundle.geocells.encode() == bench.geocells.encode();
        let handed_on = (!same).then(|| {
            let centroids: Vec<LatLon> = bundle.geocells.cells().iter().map(|cell| cell.centroid).collect();
            let mut rows = vec![0.0; cells * bench.geocells.len()];
            smoothed_targets(&centroids, bench.geocells.centroid_units(), recipe.training.tau_km, &mut rows);
            Tensor::from_slice(&rows).view([cells as i64, -1])
        });
        let pool = ThreadPoolBuilder::new().num_threads(bench.threads).build().context("the teacher's threads")?;
        Ok(Some(Teacher { graphs, dims, side, weight: distillation.weight, handed_on, pool }))
    }

    /// What it gives to the student's cells, [sites, cells] in the host's memory; rows sum to 1.
    ///
    /// # Errors
    /// When a graph cannot run.
    pub fn cells(&self, batch: &Batch) -> Result<Tensor> {
        let views = network::values(&batch.pixels(self.side, Device::Cpu));
        let (graphs, of_each) = (&self.graphs, 3 * (self.side * self.side) as usize);
        let all = || views.par_chunks(VIEWS_AT_ONCE * of_each).map(|views| graphs.normalised(views));
        let rows: Vec<Vec<f32>> = self.pool.install(|| all().collect::<Result<_>>()).context("the teacher")?;
        let rows = Tensor::from_slice(&rows.concat()).view([-1, self.dims as i64]);
        let embeddings = network::values(&batch.means(Device::Cpu).matmul(&rows));
        let found = self.pool.install(|| graphs.predict(&embeddings)).context("the teacher")?;
        let cells = Tensor::from_slice(&found.cells).view([batch.sites.len() as i64, -1]);
        Ok(match &self.handed_on {
            Some(handed_on) => cells.matmul(handed_on),
            None => cells,
        })
    }

    /// Targets of the cells with its share in them.
    pub fn blend(&self, targets: &Tensor, cells: &Tensor) -> Tensor {
        targets.lerp(&cells.to_device(targets.device()), self.weight)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    use homing_models::geo::unit_distance_km;
    use tch::Kind;

    use super::super::batch::Part;
    use super::super::checkpoint::WEIGHTS;
    use super::super::export::export;
    use super::super::loader::Loaders;
    use super::super::network::Network;
    use super::super::prototypes::prototypes;
    use super::super::ranks::Alone;
    use super::super::tests::{bench, recipe};
    use super::super::train::train;
    use super::*;
    use crate::recipe::{Distillation, Recipe};

    /// A bundle that has learned a little, and its network.
    fn teach(dir: &Path, steps: u32) -> Network {
        let bench = bench(recipe(steps), &dir.join(format!("run of {steps}")));
        let network = train(&bench, &Alone, &|| false).unwrap();
        prototypes(&bench, &network).unwrap();
        export(&bench, &network, &dir.join("teacher"), (20, 1)).unwrap();
        network
    }

    fn student(dir: &Path, weight: f64) -> Recipe {
        let mut recipe = recipe(14);
        recipe.distillation = Some(Distillation { teacher: dir.join("teacher"), weight });
        recipe
    }

    fn first_batch(bench: &Workbench) -> Batch {
        std::thread::scope(|scope| {
            let loaders = Loaders::start(scope, &bench.recipe, &*bench.training, Part::WHOLE, 0, 1);
            loaders.batch(0).unwrap()
        })
    }

    fn largest(cells: &Tensor) -> Vec<i64> {
        Vec::try_from(cells.argmax(1, false)).unwrap()
    }

    #[test]
    fn what_the_teacher_sees_is_handed_on_to_the_students_cells() {
        let dir = tempfile::tempdir().unwrap();
        let network = teach(dir.path(), 60);
        let same = bench(student(dir.path(), 0.5), &dir.path().join("same"));
        let batch = first_batch(&same);
        let teacher = Teacher::open(&same).unwrap().unwrap();
        let found = teacher.cells(&batch).unwrap();
        // As its network says, but for the rounding to bytes.
        let views = network.embed(&batch.pixels(16, Device::Cpu));
        let expected = &network.predict(&batch.means(Device::Cpu).matmul(&views))[0];
        assert!((&found - expected).abs().max().double_value(&[]) < 0.05);
        let blended = teacher.blend(&Tensor::zeros_like(&found), &found);
        assert!((blended - &found * 0.5).abs().max().double_value(&[]) < 1e-6);

        // A student with fewer cells gets it where they are.
        let mut coarse = student(dir.path(), 0.5);
        (coarse.geocells.min, coarse.geocells.max) = (100, 250);
        let coarse = bench(coarse, &dir.path().join("coarse"));
        assert!(coarse.geocells.len() < same.geocells.len());
        let handed_on = Teacher::open(&coarse).unwrap().unwrap().cells(&batch).unwrap();
        let sums = handed_on.sum_dim_intlist(Some(&[1i64][..]), false, Kind::Float);
        assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-4);
        let sure = found.amax(1, false).gt(0.6);
        let (from, to) = (same.geocells.centroid_units(), coarse.geocells.centroid_units());
        let mut seen = 0;
        for (i, (a, b)) in largest(&found).into_iter().zip(largest(&handed_on)).enumerate() {
            if sure.get(i as i64).int64_value(&[]) == 1 {
                let km = unit_distance_km(from[a as usize], to[b as usize]);
                let nearest = to.iter().map(|c| unit_distance_km(from[a as usize], *c)).fold(f64::INFINITY, f64::min);
                assert!(km < nearest + 1.0, "{km} km, {nearest} km");
                seen += 1;
            }
        }
        assert!(seen > 0, "a teacher that is never sure");
    }

    #[test]
    fn a_taught_training_goes_on_where_it_was_and_another_teacher_is_another_training() {
        let dir = tempfile::tempdir().unwrap();
        teach(dir.path(), 60);
        let at = |name: &str| dir.path().join(name);
        let weights = |name: &str| std::fs::read(at(name).join(WEIGHTS)).unwrap();
        train(&bench(student(dir.path(), 0.5), &at("whole")), &Alone, &|| false).unwrap();
        let asked = AtomicU32::new(0);
        let sixth = || asked.fetch_add(1, Ordering::Relaxed) == 6;
        train(&bench(student(dir.path(), 0.5), &at("parts")), &Alone, &sixth).unwrap_err();
        let other = train(&bench(student(dir.path(), 0.9), &at("parts")), &Alone, &|| false).unwrap_err().to_string();
        assert!(other.contains("another recipe"), "{other}");
        train(&bench(student(dir.path(), 0.5), &at("parts")), &Alone, &|| false).unwrap();
        assert!(weights("whole") == weights("parts"));
        train(&bench(recipe(14), &at("alone")), &Alone, &|| false).unwrap();
        assert!(weights("whole") != weights("alone"));

        // The same place, another model in it.
        teach(dir.path(), 70);
        let other = train(&bench(student(dir.path(), 0.5), &at("parts")), &Alone, &|| false).unwrap_err().to_string();
        assert!(other.contains("another recipe"), "{other}");

        let mut larger = student(dir.path(), 0.5);
        larger.tower.image_px = 32;
        let refused = id(&larger).unwrap_err().to_string();
        assert!(
            refused.contains("sees pictures of 16 px, the recipe's tower of 32: set tower.image_px = 16"),
            "{refused}"
        );
    }
}
