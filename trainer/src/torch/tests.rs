//! The whole of the training on a gallery of coloured noise, small enough for a test.

use std::path::Path;

use homing_kernels::Kernel;
use homing_models::LatLon;
use homing_models::sites::{Labels, QUANTITIES};
use homing_planet::hash::{Rng, fold};
use tch::{Device, Kind, Tensor};

use super::checkpoint::{CHECKPOINT, WEIGHTS};
use super::curve::CURVE;
use super::embed::{Embedded, Panoramas};
use super::export::{export, exported, figures, graphs};
use super::network::{self, Network};
use super::predictor::Predictor;
use super::prototypes::{Calibration, prototypes};
use super::ranks::Alone;
use super::train::{train, trained};
use super::transformer::Products;
use super::workbench::Workbench;
use crate::dataset::{Gallery, Sample, ViewError};
use crate::encoder_graph::Precision;
use crate::recipe::{Recipe, Smoothing, StemLayer, Trainable};
use crate::reference::cosine;

/// Samples in twelve towns all over the planet, whose views are noise about a colour that depends on the position.
struct ColouredNoise {
    samples: Vec<Sample>,
    seed: u64,
}

impl ColouredNoise {
    fn new(count: usize, seed: u64) -> Self {
        let samples = (0..count).map(|i| {
            let mut rng = Rng::new(fold(seed, i as u64));
            let town = rng.below(12);
            let (lat, lon) = (-55.0 + 10.0 * town as f64, -170.0 + 30.0 * (town * 5 % 12) as f64);
            let at = LatLon::wrapped(lat, lon).destination(360.0 * rng.f64(), 15.0 * rng.f64());
            Sample {
                position: at,
                country: [b'A' + town as u8 / 2, b'A'],
                admin1: format!("region {town}"),
                admin2: String::new(),
                town: format!("town {town}"),
                labels: Labels {
                    quantities: [Some(at.lat() as f32 + 60.0); QUANTITIES.len()],
                    koeppen: Some(town),
                    month: None,
                },
            }
        });
        ColouredNoise { samples: samples.collect(), seed }
    }
}

impl Gallery for ColouredNoise {
    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn views(&self, sample: usize) -> usize {
        if sample.is_multiple_of(7) { 3 } else { 4 }
    }

    fn month(&self, sample: usize, variant: u64) -> Option<usize> {
        (!sample.is_multiple_of(3)).then_some((sample + variant as usize) % 12)
    }

    fn heading_deg(&self, _: usize) -> Option<f64> {
        None
    }

    fn views_into(&self, sample: usize, variant: u64, size_px: usize, out: &mut [u8]) -> Result<(), ViewError> {
        let views = out.chunks_exact_mut(3 * size_px * size_px);
        views.enumerate().try_for_each(|(i, out)| self.view_into(sample, variant, i, size_px, out))
    }

    fn view_into(
        &self,
        sample: usize,
        variant: u64,
        bearing: usize,
        _: usize,
        out: &mut [u8],
    ) -> Result<(), ViewError> {
        let mut rng = Rng::new(fold(fold(self.seed, sample as u64), 8 * variant + bearing as u64));
        let unit = self.samples[sample].position.unit();
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = (127.0 + 70.0 * unit[i % 3] as f32 + 25.0 * rng.normal()).clamp(0.0, 255.0) as u8;
        }
        Ok(())
    }
}

pub(super) fn recipe(steps: u32) -> Recipe {
    let text = include_str!("../../recipes/miniature.toml");
    let mut recipe = Recipe::parse(text, Path::new("miniature.toml")).unwrap();
    recipe.tower.image_px = 16;
    recipe.tower.stem = vec![
        StemLayer::Conv { out: 16, kernel: 6, stride: 4 },
        StemLayer::Residual { channels: 16 },
        StemLayer::Conv { out: 32, kernel: 2, stride: 2 },
    ];
    (recipe.tower.width, recipe.tower.layers, recipe.tower.heads) = (32, 2, 2);
    let t = &mut recipe.training;
    (t.steps, t.batch_sites, t.warmup_steps, t.checkpoint_every, t.validate_every) = (steps, 24, 4, 1000, 5);
    recipe
}

pub(super) fn bench(recipe: Recipe, out: &Path) -> Workbench {
    let (training, validation) = (ColouredNoise::new(600, 1), ColouredNoise::new(150, 2));
    Workbench::assemble(recipe, out.to_owned(), Device::Cpu, 2, Box::new(training), Box::new(validation), &Alone)
        .unwrap()
}

#[test]
fn variables_have_the_names_and_shapes_of_clip() {
    let mut shape = recipe(1).tower;
    (shape.patch_px, shape.image_px, shape.mlp_ratio) = (Some(8), 32, 4);
    shape.stem.clear();
    let network = Network::new(&shape, 5, &homing_models::TaskList::default(), 1, Device::Cpu);
    let found = network.named();
    let layer = "vision_model.encoder.layers.1";
    for (name, shape) in [
        ("vision_model.embeddings.class_embedding".to_owned(), vec![32]),
        ("vision_model.embeddings.patch_embedding.weight".to_owned(), vec![32, 3, 8, 8]),
        ("vision_model.embeddings.position_embedding.weight".to_owned(), vec![17, 32]),
        ("vision_model.pre_layrnorm.weight".to_owned(), vec![32]),
        (format!("{layer}.self_attn.q_proj.weight"), vec![32, 32]),
        (format!("{layer}.self_attn.k_proj.bias"), vec![32]),
        (format!("{layer}.self_attn.v_proj.weight"), vec![32, 32]),
        (format!("{layer}.self_attn.out_proj.weight"), vec![32, 32]),
        (format!("{layer}.layer_norm1.weight"), vec![32]),
        (format!("{layer}.layer_norm2.bias"), vec![32]),
        (format!("{layer}.mlp.fc1.weight"), vec![128, 32]),
        (format!("{layer}.mlp.fc2.weight"), vec![32, 128]),
    ] {
        assert_eq!(found.get(&name).map(Tensor::size), Some(shape), "{name}");
    }
    assert_eq!(found.len(), 5 + 2 * 16 + 2);
}

#[test]
fn the_exported_graph_computes_what_the_network_computes() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(recipe(3), dir.path());
    // Three steps move the statistics of the batch normalisation away from 0 and 1.
    let network = train(&bench, &Alone, &|| false).unwrap();
    let sites: Vec<usize> = (0..40).collect();
    let panoramas = super::embed::Panoramas::load(&*bench.validation, &sites, 16, 0).unwrap();
    let float = panoramas.embed(&network);
    let graphs = graphs(&bench, &network, Precision::Float).unwrap();
    let exported = super::predictor::Predictor::embed(&exported(&bench, &graphs, None).unwrap(), &panoramas).unwrap();
    let scale = float.panoramas.iter().fold(0f32, |a, v| a.max(v.abs()));
    assert!(float.panoramas.iter().zip(&exported.panoramas).all(|(a, b)| (a - b).abs() < 1e-4 * scale));
    assert!(scale > 0.1 && float.panorama(0) != float.panorama(1));
}

#[test]
fn interrupted_and_resumed_is_uninterrupted_bit_for_bit() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    train(&bench(recipe(14), whole.path()), &Alone, &|| false).unwrap();

    let asked = std::sync::atomic::AtomicU32::new(0);
    let sixth = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 6;
    let bench = bench(recipe(14), parts.path());
    let message = train(&bench, &Alone, &sixth).unwrap_err().to_string();
    assert!(message.contains("interrupted at step 6") && message.contains(CHECKPOINT), "{message}");
    assert!(!parts.path().join(WEIGHTS).exists());
    train(&bench, &Alone, &|| false).unwrap();

    for file in [CHECKPOINT, WEIGHTS, CURVE] {
        let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).unwrap();
        assert!(read(&whole) == read(&parts), "{file} differs");
    }
    assert_eq!(std::fs::read_to_string(whole.path().join(CURVE)).unwrap().lines().count(), 15);
    let left: Vec<_> = std::fs::read_dir(parts.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with("partial")), "{left:?}");

    // Another recipe must not continue from it.
    let mut other = recipe(14);
    other.training.tau_km *= 2.0;
    let other = super::tests::bench(other, parts.path());
    assert!(train(&other, &Alone, &|| false).unwrap_err().to_string().contains("another recipe"));
}

#[test]
fn echoed_panoramas_are_the_same_whatever_the_threads_and_wherever_a_run_goes_on() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut recipe = recipe(40);
    (recipe.training.echo, recipe.training.validate_every) = (2, 40);
    let bench = |threads, out: &Path| {
        let (training, validation) = (Box::new(ColouredNoise::new(600, 1)), Box::new(ColouredNoise::new(150, 2)));
        let out = out.to_owned();
        Workbench::assemble(recipe.clone(), out, Device::Cpu, threads, training, validation, &Alone).unwrap()
    };
    train(&bench(2, whole.path()), &Alone, &|| false).unwrap();

    // It stops where a batch has been seen once of twice.
    let asked = std::sync::atomic::AtomicU32::new(0);
    let later = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 21;
    train(&bench(3, parts.path()), &Alone, &later).unwrap_err();
    train(&bench(5, parts.path()), &Alone, &|| false).unwrap();
    let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(WEIGHTS)).unwrap();
    assert!(read(&whole) == read(&parts));
    let curve = super::curve::Curve::read(whole.path(), 40).unwrap();
    assert!(curve.recent_loss(5) < 0.8 * curve.losses()[0].1);
}

#[test]
fn a_diverging_run_names_the_step_and_goes_on_with_a_lower_rate() {
    let dir = tempfile::tempdir().unwrap();
    let mut steep = recipe(14);
    (steep.training.lr, steep.training.warmup_steps, steep.training.weight_decay) = (1e38, 0, 0.0);
    let diverging = || train(&bench(steep.clone(), dir.path()), &Alone, &|| false).unwrap_err().to_string();
    let message = diverging();
    assert!(message.contains("at step 2: lower training.lr and start again"), "{message}");

    let asked = std::sync::atomic::AtomicU32::new(0);
    let sixth = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 6;
    let mut gentle = steep.clone();
    gentle.training.lr = recipe(14).training.lr;
    let gentle = bench(gentle, dir.path());
    train(&gentle, &Alone, &sixth).unwrap_err();
    let message = diverging();
    assert!(message.contains("at step 8: lower training.lr and run it again, it goes on from"), "{message}");
    // The checkpoint is still that of the sixth step, from which the gentle run goes on as if nothing had been.
    train(&gentle, &Alone, &|| false).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    train(&bench(gentle.recipe.clone(), elsewhere.path()), &Alone, &|| false).unwrap();
    let weights = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(WEIGHTS)).unwrap();
    assert!(weights(&dir) == weights(&elsewhere));

    // Weights that this step breaks, and the next one's loss would tell of, are no checkpoint.
    let broken = tempfile::tempdir().unwrap();
    (steep.training.lr, steep.training.checkpoint_every) = (1e39, 1);
    let message = train(&bench(steep, broken.path()), &Alone, &|| false).unwrap_err().to_string();
    assert!(message.contains("is not finite after step 1: lower training.lr and start again"), "{message}");
    assert!(!broken.path().join(CHECKPOINT).exists());
}

#[test]
fn the_chain_from_recipe_to_bundle_learns_coloured_noise() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(recipe(150), dir.path());
    train(&bench, &Alone, &|| false).unwrap();
    let network = trained(&bench, &dir.path().join(WEIGHTS)).unwrap();
    let other = self::bench(recipe(151), dir.path());
    let message = trained(&other, &dir.path().join(WEIGHTS)).unwrap_err().to_string();
    assert!(message.contains("weights.safetensors is of another recipe or data set: restore the recipe"), "{message}");
    let marks = super::examination::Examination::load(&*bench.validation, &bench.recipe)
        .unwrap()
        .mark(&network, &bench.geocells);
    assert!(marks.country_per_cent > 60.0 && marks.median_km < 500.0, "{marks}");

    let (prototypes, calibration) = prototypes(&bench, &network).unwrap();
    assert!(prototypes.len() >= bench.geocells.len());
    assert_eq!(Calibration::read(dir.path()).unwrap(), calibration);

    let target = dir.path().join("models/noise");
    let bundle = export(&bench, &network, &target, (20, 1)).unwrap();
    assert_eq!((bundle.manifest.embedding, bundle.manifest.cells), (32, bench.geocells.len()));
    assert!(target.join(crate::card::CARD).is_file());
    let median = bundle.manifest.figures.get("random").map(|e| e.figures.median_km);
    assert!(median.is_some_and(f64::is_finite));

    // The int8 graphs answer as the float network does.
    let graphs = graphs(&bench, &network, Precision::Int8).unwrap();
    let int8 = figures(
        &bench,
        &exported(&bench, &graphs, Some(Kernel::Portable)).unwrap(),
        &prototypes,
        &calibration,
        (40, 1),
    )
    .unwrap();
    let float = figures(&bench, &network, &prototypes, &calibration, (40, 1)).unwrap();
    let median = |f: &std::collections::BTreeMap<_, homing_models::figures::Evaluation>| f["random"].figures.median_km;
    assert!((median(&int8) / median(&float) - 1.0).abs() < 0.3, "{} {}", median(&int8), median(&float));

    // A training may go on from the bundle: bytes back to floats, normalisation unfolded.
    let mut further = recipe(1);
    further.tower.weights = Some(target);
    let again = super::tests::bench(further.clone(), &dir.path().join("again"));
    let start = Network::new(&further.tower, again.geocells.len(), &again.tasks, 5, Device::Cpu);
    super::bundle_weights::load(&start, &again, further.tower.weights.as_ref().unwrap()).unwrap();
    let panoramas = Panoramas::load(&*bench.validation, &(0..64).collect::<Vec<_>>(), 16, 0).unwrap();
    let (before, after) = (panoramas.embed(&network), panoramas.embed(&start));
    let training = panoramas.embed_with(&|pixels| tch::no_grad(|| start.tower.embed(pixels, true)));
    let alike = |other: &Embedded, site| cosine(before.panorama(site), other.panorama(site));
    assert!((0..64).all(|site| alike(&after, site) > 0.999));
    // With the statistics of a batch of other pictures it is nearly the same.
    let mean = (0..64).map(|site| alike(&training, site)).sum::<f64>() / 64.0;
    assert!(mean > 0.95, "{mean}");
    let cells = |n: &Network| network::values(&n.named()["cells.weight"]);
    assert!(cells(&network).iter().zip(cells(&start)).all(|(a, b)| (a - b).abs() < 0.02));

    // And grow: a block more passes on what it gets, larger pictures are seen much as smaller ones were.
    let grown = |layers, image_px| {
        let mut recipe = further.clone();
        (recipe.tower.layers, recipe.tower.image_px) = (layers, image_px);
        let bench = super::tests::bench(recipe, &dir.path().join(format!("grown {layers} {image_px}")));
        let network = Network::new(&bench.recipe.tower, bench.geocells.len(), &bench.tasks, 5, Device::Cpu);
        super::bundle_weights::load(&network, &bench, bench.recipe.tower.weights.as_ref().unwrap()).map(|()| network)
    };
    let deeper = panoramas.embed(&grown(3, 16).unwrap());
    assert!((0..64).all(|site| alike(&deeper, site) > 0.999));
    let larger = Panoramas::load(&*bench.validation, &(0..64).collect::<Vec<_>>(), 32, 0).unwrap();
    let larger = larger.embed(&grown(2, 32).unwrap());
    assert!((0..64).all(|site| alike(&larger, site) > 0.8));
    let mut other = further.clone();
    other.tower.stem[2] = StemLayer::Conv { out: 32, kernel: 2, stride: 1 };
    let bench = super::tests::bench(other, &dir.path().join("other strides"));
    let network = Network::new(&bench.recipe.tower, bench.geocells.len(), &bench.tasks, 5, Device::Cpu);
    let message = super::bundle_weights::load(&network, &bench, bench.recipe.tower.weights.as_ref().unwrap());
    assert!(message.unwrap_err().to_string().contains("has 5 tokens, a tower of the recipe's stem or patches 17"));
    let message = grown(1, 16).unwrap_err().to_string();
    assert!(message.contains("has 2 blocks, the recipe's tower.layers is 1: set it to 2 or more"), "{message}");
}

#[test]
fn rounding_in_training_is_the_rounding_of_the_graph() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe(40);
    recipe.training.int8_steps = 20;
    let bench = bench(recipe, dir.path());
    let mut network = train(&bench, &Alone, &|| false).unwrap();
    let graphs = graphs(&bench, &network, Precision::Int8).unwrap();
    let int8 = exported(&bench, &graphs, None).unwrap();
    // One panorama at a time, as the graph rounds over one.
    let (mut exact, mut rounded) = (0.0, 0.0);
    for site in 0..20 {
        let panorama = Panoramas::load(&*bench.validation, &[site], 16, 0).unwrap();
        let graph = Predictor::embed(&int8, &panorama).unwrap();
        let mut apart = |products| {
            network.tower.compute(products);
            let own = panorama.embed(&network);
            own.panorama(0).iter().zip(graph.panorama(0)).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max)
        };
        exact += apart(Products::Float);
        rounded += apart(Products::Int8);
    }
    assert!(rounded < 0.2 * exact, "apart by {exact} without rounding, {rounded} with");
}

#[test]
fn bfloat16_gives_nearly_the_embeddings_and_gradients_of_floats() {
    let mut network = Network::new(&recipe(1).tower, 5, &homing_models::TaskList::default(), 4, Device::Cpu);
    let pixels = network::seeded(5, || Tensor::randn([8, 3, 16, 16], (Kind::Float, Device::Cpu)));
    let weight = network.named()["vision_model.encoder.layers.0.self_attn.k_proj.weight"].shallow_clone();
    let mut run = |products| {
        network.tower.compute(products);
        let mut weight = weight.shallow_clone();
        weight.zero_grad();
        let embeddings = network.tower.embed(&pixels, false);
        embeddings.square().sum(Kind::Float).backward();
        [network::values(&embeddings.detach()), network::values(&weight.grad())]
    };
    let (exact, rough) = (run(Products::Float), run(Products::Bfloat16));
    for (exact, rough) in exact.iter().zip(&rough) {
        let cosine = cosine(exact, rough);
        assert!(cosine > 0.995 && exact != rough, "{cosine}");
    }
}

#[test]
fn the_running_average_follows_the_weights() {
    let shape = recipe(1).tower;
    let make = |seed| Network::new(&shape, 5, &homing_models::TaskList::default(), seed, Device::Cpu);
    let (mut average, goal) = (make(1), make(2));
    let distance = |a: &Network| {
        let of = |n: &Network| network::values(&n.named()["cells.weight"]);
        of(a).iter().zip(of(&goal)).map(|(x, y)| (x - y).abs()).fold(0f32, f32::max)
    };
    let before = distance(&average);
    average.variables.freeze();
    average.follow(&goal, 0.9, 1000);
    assert!((distance(&average) / before - 0.9).abs() < 1e-4);
    average.follow(&goal, 0.0, 1000);
    assert_eq!(distance(&average), 0.0);
}

#[test]
fn what_is_not_trainable_stays_as_it_was() {
    for (trainable, moved) in [
        (Trainable::Heads, &[][..]),
        (Trainable::LastLayer, &["vision_model.encoder.layers.1."][..]),
        (Trainable::All, &["vision_model."][..]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut recipe = recipe(3);
        (recipe.training.trainable, recipe.training.average_decay) = (trainable, 0.0);
        let bench = bench(recipe, dir.path());
        let fresh = Network::new(&bench.recipe.tower, bench.geocells.len(), &bench.tasks, 1, Device::Cpu).named();
        let trained = train(&bench, &Alone, &|| false).unwrap().named();
        for (name, before) in &fresh {
            let same = before.equal(&trained[name]);
            let expected = name.starts_with("vision_model.") && !moved.iter().any(|m| name.starts_with(m));
            assert!(!expected || same, "{trainable:?}: {name} moved");
            assert!(expected || !same || name.ends_with("k_proj.bias"), "{trainable:?}: {name} stayed");
        }
    }
}

#[test]
fn every_form_of_the_targets_learns() {
    for smoothing in [Smoothing::Haversine, Smoothing::Unnormalised, Smoothing::None] {
        let dir = tempfile::tempdir().unwrap();
        let mut recipe = recipe(60);
        recipe.training.smoothing = smoothing;
        let bench = bench(recipe, dir.path());
        train(&bench, &Alone, &|| false).unwrap();
        let curve = super::curve::Curve::read(dir.path(), 60).unwrap();
        let (first, last) = (curve.losses()[0].1, curve.recent_loss(5));
        assert!(last < 0.8 * first, "{smoothing:?}: {first} to {last}");
    }
}

#[test]
fn a_training_starts_from_the_recipes_weights_and_resumes_without_them() {
    let [weights, out] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut recipe = recipe(2);
    (recipe.training.trainable, recipe.training.lr) = (Trainable::Heads, 1e-3);
    let given = Network::new(&recipe.tower, 7, &homing_models::TaskList::default(), 99, Device::Cpu);
    let file = weights.path().join("tower.safetensors");
    super::checkpoint::save_weights(&file, 1, given.named().into_iter().collect()).unwrap();
    recipe.tower.weights = Some(file.clone());
    let trained = train(&bench(recipe.clone(), out.path()), &Alone, &|| false).unwrap().named();
    for (name, tensor) in given.named().iter().filter(|(name, _)| name.starts_with("vision_model.")) {
        assert!(tensor.equal(&trained[name]), "{name}");
    }
    // The checkpoint has everything; the weights may be gone by then.
    std::fs::remove_file(&file).unwrap();
    train(&bench(recipe.clone(), out.path()), &Alone, &|| false).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let message = train(&bench(recipe, elsewhere.path()), &Alone, &|| false).unwrap_err().to_string();
    assert!(message.contains("tower.safetensors: there is no such file"), "{message}");
}

#[test]
fn sites_that_are_not_mapped_teach_the_network_and_are_not_in_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe(60);
    recipe.geocells.sites = Some(200);
    // It asks for each site's own cell.
    recipe.training.smoothing = Smoothing::None;
    let bench = bench(recipe.clone(), dir.path());
    let network = train(&bench, &Alone, &|| false).unwrap();
    let curve = super::curve::Curve::read(dir.path(), 60).unwrap();
    let (first, last) = (curve.losses()[0].1, curve.recent_loss(5));
    assert!(last < 0.8 * first, "{first} to {last}");

    let samples = bench.training.samples();
    assert_eq!((samples.len(), bench.geocells.sites().len()), (600, 200));
    for (i, site) in bench.geocells.sites().iter().enumerate() {
        assert!(site.position.distance_km(samples[3 * i].position) < 0.01);
    }
    let (prototypes, _) = prototypes(&bench, &network).unwrap();
    let members: u32 = (0..prototypes.len() as u32).map(|i| prototypes.get(i).members).sum();
    assert!(members > 100 && members <= 200, "{members}");
    let target = dir.path().join("bundle");
    let bundle = export(&bench, &network, &target, (20, 1)).unwrap();
    let told = |key: &str| bundle.manifest.training[key].as_integer();
    assert_eq!((told("sites"), told("mapped_sites")), (Some(600), Some(200)));

    // What was made of 200 does not pass for cells of 300.
    recipe.geocells.sites = Some(300);
    let (training, validation) = (Box::new(ColouredNoise::new(600, 1)), Box::new(ColouredNoise::new(150, 2)));
    let other = Workbench::assemble(recipe, dir.path().to_owned(), Device::Cpu, 2, training, validation, &Alone);
    let message = other.err().unwrap().to_string();
    assert!(message.contains("has 200 sites") && message.contains("the recipe gives 300"), "{message}");
}
