//! The bundle in `models/shipped`: its size, its figures, and its two graphs beside onnxruntime.

use std::time::SystemTime;

use homing::capture::Panorama;
use homing::encode::Embeddings;
use homing_board::{CAMERA_BEARINGS_DEG, Frame};
use homing_models::bundle::{ENCODER, HEADS};
use homing_models::figures::{Figures, THRESHOLDS_KM};
use homing_models::{Bundle, LatLon};
use homing_planet::hash::fold;
use homing_planet::{Camera, Planet, Split};
use homing_tests::peers::{self, root};
use homing_trainer::reference::cosine;
use serde_json::json;

const PANORAMAS: usize = 2000;
const LARGEST_MB: f64 = 24.0;

fn shipped() -> Bundle {
    Bundle::open(&root().join("models/shipped")).unwrap()
}

#[test]
fn it_is_small() {
    let files = std::fs::read_dir(root().join("models/shipped")).unwrap();
    let mb = files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>() as f64 / 1e6;
    assert!(mb <= LARGEST_MB, "{mb} MB");
}

#[test]
fn what_it_says_of_itself_is_what_the_device_measures() {
    let bundle = shipped();
    let stated = bundle.manifest.figures["random"].figures.clone();
    let model = homing::Model::load(bundle).unwrap();
    let sites = 400;
    let evaluation = homing::eval::on_planet(&model, Split::Random, sites, 1, || ()).unwrap();
    let (measured, nearest) = (evaluation.figures, evaluation.nearest.unwrap());
    // Guesses are prototypes: none can be nearer than the nearest.
    let mut shares = measured.within.shares().into_iter().zip(nearest.within.shares());
    assert!(shares.all(|(guess, nearest)| guess <= nearest), "{measured:?} {nearest:?}");
    // Two sites make a prototype: it is near, and hardly ever at the place itself.
    assert!(nearest.within.shares()[2] > 99.0 && nearest.within.shares()[0] < 60.0, "{nearest:?}");
    assert!((0.5..5.0).contains(&nearest.median_km), "{nearest:?}");
    // 400 of the 5,000 sites: three standard deviations of a share are 7 points.
    let near = |a: f64, b: f64| (a - b).abs() < 7.5;
    assert!(near(stated.country.unwrap(), measured.country.unwrap()), "{stated:?} {measured:?}");
    for (a, b) in stated.within.shares().into_iter().zip(measured.within.shares()) {
        assert!(near(a, b), "{stated:?} {measured:?}");
    }
}

/// The columns of the method's first table: shares within five distances, and country.
fn columns(figures: &Figures) -> Vec<f64> {
    figures.within.shares().into_iter().chain(figures.country).collect()
}

#[test]
fn int8_costs_at_most_half_a_point_in_any_column() {
    for (holdout, evaluation) in &shipped().manifest.figures {
        let (int8, float) = (columns(&evaluation.figures), columns(evaluation.float.as_ref().unwrap()));
        assert_eq!((int8.len(), float.len()), (6, 6));
        let worst = float.iter().zip(&int8).map(|(float, int8)| float - int8).fold(0.0, f64::max);
        assert!(worst <= 0.5, "{holdout}: {int8:?} % in int8, {float:?} % in floats");
    }
}

#[test]
fn it_keeps_what_the_readme_promises() {
    let bundle = shipped();
    let recipe = homing_trainer::recipe::Recipe::load(&root().join("trainer/recipes/shipped.toml")).unwrap();
    let told = |key: &str| bundle.manifest.training[key].as_integer();
    assert_eq!(told("steps"), Some(recipe.training.steps.into()), "the recipe made the bundle");
    assert_eq!(told("mapped_sites"), recipe.geocells.sites.map(i64::from));
    assert_eq!(bundle.geocells.sites().len() as i64, told("mapped_sites").unwrap());
    let [random, towns] = ["random", "towns"].map(|holdout| &bundle.manifest.figures[holdout]);
    assert!(random.figures.country.unwrap() >= 95.0 && random.figures.median_km <= 10.0);
    assert!(random.figures.within.city >= 70.0, "{random:?}");
    assert!(towns.figures.country.unwrap() >= 91.0);
    assert!(towns.figures.median_km <= 44.0 && towns.figures.score >= 4525.0, "the poster's own");
    for evaluation in bundle.manifest.figures.values() {
        let [refined, one, centroid] =
            [Some(&evaluation.figures), evaluation.one_view.as_ref(), evaluation.centroid.as_ref()].map(Option::unwrap);
        let wrong = |figures: &Figures| 100.0 - figures.country.unwrap();
        assert!(wrong(one) >= 1.4 * wrong(refined), "four views are clearly better than one");
        assert!(refined.country > centroid.country && refined.score > centroid.score, "refinement helps");
    }
    // Near towns that were seen it finds the place inside the cell.
    let centroid = random.centroid.as_ref().unwrap();
    assert!(random.figures.median_km <= 0.92 * centroid.median_km, "{random:?}");
    assert!(random.figures.within.city >= 1.04 * centroid.within.city, "{random:?}");
    assert!(random.figures.within.street >= 2.0 * centroid.within.street, "{random:?}");
}

/// Where a site is, and its four views at the model's own size.
fn site(side: u32, index: u64) -> (LatLon, Vec<Frame>) {
    let planet = Planet::get();
    let site = planet.site(Split::Towns, 3, index);
    let scene = planet.scene(site.position, site.heading_deg, &site.moment);
    let frame = |(i, bearing): (usize, &f32)| {
        let camera = Camera::used(side as usize, fold(site.moment.seed, i as u64));
        Frame { width: side, height: side, rgb: scene.view(*bearing, &camera).rgb }
    };
    (site.position, CAMERA_BEARINGS_DEG.iter().enumerate().map(frame).collect())
}

#[test]
fn onnxruntime_gives_the_same_embeddings_and_cells() {
    let bundle = shipped();
    let (image, dims, cells) = (bundle.manifest.image, bundle.manifest.embedding, bundle.manifest.cells);
    let work = tempfile::tempdir().unwrap();
    let (pixels, answers) = (work.path().join("pixels.f32"), work.path().join("answers.f32"));
    let all: Vec<(LatLon, Vec<Frame>)> = (0..PANORAMAS as u64).map(|i| site(image.size, i)).collect();
    let plane = |frame: &Frame, c: usize| {
        let value = |p: &[u8]| (f32::from(p[c]) / 255.0 - image.mean[c]) / image.std[c];
        frame.rgb.chunks_exact(3).flat_map(|p| value(p).to_le_bytes()).collect::<Vec<u8>>()
    };
    let bytes: Vec<u8> =
        all.iter().flat_map(|(_, frames)| frames).flat_map(|f| (0..3).flat_map(|c| plane(f, c))).collect();
    std::fs::write(&pixels, bytes).unwrap();

    let folder = root().join("models/shipped");
    let paths = [&*folder.join(ENCODER), &*folder.join(HEADS), &*pixels, &*answers];
    let ran = peers::run("onnx_bundle.py", &paths, &json!({"side": image.size}));
    assert_eq!(ran["panoramas"], PANORAMAS);
    let theirs: Vec<f32> =
        std::fs::read(&answers).unwrap().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();

    let mut model = homing::Model::load(bundle).unwrap();
    let mut embeddings = Embeddings::default();
    let (mut same, mut alike) = (0, Vec::new());
    // Columns of the method's first table, for each panorama: within the distances, and the country.
    let mut right = [Vec::new(), Vec::new()];
    for ((truth, frames), theirs) in all.into_iter().zip(theirs.chunks_exact(dims + cells)) {
        let panorama = Panorama::of(SystemTime::UNIX_EPOCH, frames);
        model.encoder.encode(&panorama, &mut embeddings).unwrap();
        let estimate = model.locator.locate(&embeddings).unwrap().unwrap();
        let ours = estimate.candidates.iter().max_by(|a, b| a.probability.total_cmp(&b.probability)).unwrap().cell;
        let logits = &theirs[dims..];
        let best = (0..cells).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        same += usize::from(ours.index() == best);
        alike.push(cosine(embeddings.mean(), &theirs[..dims]));
        let of_theirs = model.locator.locate_embedding(&theirs[..dims], 4).unwrap();
        for (right, estimate) in right.iter_mut().zip([&estimate, &of_theirs]) {
            let (km, planet) = (estimate.position().distance_km(truth), Planet::get());
            let country = planet.country_at(estimate.position()) == planet.country_at(truth);
            right.push(THRESHOLDS_KM.map(|threshold| km <= threshold).into_iter().chain([country]).collect::<Vec<_>>());
        }
    }
    alike.sort_unstable_by(f64::total_cmp);
    println!("least cosines {:.6?}, same best cell on {same} of {PANORAMAS}", &alike[..5]);
    assert!(alike[0] >= 0.999, "least cosines {:?}", &alike[..5]);
    // Neighbouring cells, a few towns each, are often as good as equal; whether that costs anything is what the columns
    // below tell.
    assert!(same * 100 >= PANORAMAS * 95, "same best cell on {same} of {PANORAMAS}");
    let [ours, theirs] = right;
    let columns = THRESHOLDS_KM.map(|km| format!("within {km} km")).into_iter().chain(["country".to_owned()]);
    for (i, column) in columns.enumerate() {
        let only = |a: &[Vec<bool>], b: &[Vec<bool>]| a.iter().zip(b).filter(|(a, b)| a[i] && !b[i]).count();
        let (gained, lost) = (only(&ours, &theirs), only(&theirs, &ours));
        println!("{column}: {gained} of ours only, {lost} of onnxruntime's only");
        // 0.3 points, and two standard deviations of panoramas that fall to either side by chance.
        let chance = 2.0 * ((gained + lost) as f64).sqrt();
        assert!(lost as f64 - gained as f64 <= 0.003 * PANORAMAS as f64 + chance, "{column}: {gained} and {lost}");
    }
}
