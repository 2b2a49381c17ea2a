//! What captions say, how often, and what they never say.

use std::collections::BTreeSet;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::dataset::PlanetGallery;

const FULL: ViewLabels = ViewLabels {
    town: Some("Wick"),
    region: Some("Highland"),
    country: Some("United Kingdom"),
    climate: Some("temperate oceanic"),
    left: Some(true),
    direction: Some("southwest"),
    month: Some("May"),
};

/// A text that only the part in question has, and its probability.
const PARTS: [(&str, f32); 6] = [
    (" close to the town of Wick", TOWN),
    (" in the region of Highland", REGION),
    (" This location has a temperate oceanic climate.", CLIMATE),
    (" In this location, people drive on the left side of the road.", DRIVING_SIDE),
    (" This photo is facing southwest.", COMPASS),
    (" This photo was taken in May.", MONTH),
];

fn captions(labels: &ViewLabels, count: u64) -> Vec<String> {
    (0..count).map(|i| labels.caption(&mut Rng::new(i))).collect()
}

#[test]
fn each_part_is_as_frequent_as_the_method_says() {
    let drawn = captions(&FULL, 20_000);
    let share = |pick: &dyn Fn(&str) -> bool| drawn.iter().filter(|c| pick(c)).count() as f32 / drawn.len() as f32;
    for (part, p) in PARTS {
        // Five standard deviations.
        assert!((share(&|c| c.contains(part)) - p).abs() < 0.018, "{part}");
    }
    // Independent of each other, and in any order.
    let both = share(&|c| c.contains(PARTS[0].0) && c.contains(PARTS[1].0));
    assert!((both - TOWN * REGION).abs() < 0.018, "{both}");
    let at = |c: &str, part: usize| c.find(PARTS[part].0);
    for (first, second) in [(2, 3), (3, 2), (4, 5), (5, 4), (2, 5), (5, 2)] {
        let share = share(&|c| matches!((at(c, first), at(c, second)), (Some(a), Some(b)) if a < b));
        let expected = PARTS[first].1 * PARTS[second].1 / 2.0;
        assert!((share - expected).abs() < 0.012, "{first} before {second}: {share}, not {expected}");
    }
}

#[test]
fn a_whole_caption_reads_as_the_method_words_it() {
    let longest = captions(&FULL, 20_000).into_iter().max_by_key(String::len).unwrap();
    let start = "A Street View photo close to the town of Wick in the region of Highland in United Kingdom. ";
    assert!(longest.starts_with(start), "{longest}");
    assert_eq!(longest.len(), start.len() - 1 + PARTS[2..].iter().map(|(part, _)| part.len()).sum::<usize>());
    let arctic = ViewLabels { climate: Some("ice cap"), ..ViewLabels::default() };
    assert!(captions(&arctic, 50).contains(&"A Street View photo. This location has an ice cap climate.".to_owned()));
}

#[test]
fn names_are_written_on_one_line_with_one_full_stop() {
    let labels = ViewLabels { town: Some(" Foo\n Bar "), region: Some("Washington, D.C."), ..ViewLabels::default() };
    let drawn: BTreeSet<String> = captions(&labels, 100).into_iter().collect();
    let expected = [
        "A Street View photo.",
        "A Street View photo close to the town of Foo Bar.",
        "A Street View photo close to the town of Foo Bar in the region of Washington, D.C.",
        "A Street View photo in the region of Washington, D.C.",
    ];
    assert_eq!(drawn, BTreeSet::from(expected.map(str::to_owned)));
}

proptest! {
    #[test]
    fn unknown_labels_are_left_out_and_sentences_are_whole(known in any::<[bool; 7]>(), seed: u64) {
        let labels = ViewLabels {
            town: FULL.town.filter(|_| known[0]),
            region: FULL.region.filter(|_| known[1]),
            climate: FULL.climate.filter(|_| known[2]),
            left: FULL.left.filter(|_| known[3]),
            direction: FULL.direction.filter(|_| known[4]),
            month: FULL.month.filter(|_| known[5]),
            country: FULL.country.filter(|_| known[6]),
        };
        let caption = labels.caption(&mut Rng::new(seed));
        for ((part, _), known) in PARTS.iter().zip(known) {
            prop_assert!(known || !caption.contains(part), "{}", caption);
        }
        prop_assert_eq!(caption.contains(" in United Kingdom."), known[6]);
        prop_assert!(caption.starts_with("A Street View photo") && caption.ends_with('.'));
        for sentence in caption.trim_end_matches('.').split(". ") {
            prop_assert!(sentence.starts_with(|c: char| c.is_ascii_uppercase()) && !sentence.contains('.'), "{}", caption);
            prop_assert_eq!(sentence.split_whitespace().collect::<Vec<_>>().join(" "), sentence);
        }
        prop_assert_eq!(&labels.caption(&mut Rng::new(seed)), &caption);
    }
}

#[test]
fn the_planets_labels_are_those_of_the_view() {
    let gallery = PlanetGallery::draw(Split::Train, 3, 200);
    let planet = Planet::get();
    let mut seen = BTreeSet::new();
    for (i, site) in gallery.sites().iter().enumerate() {
        let aux = planet.aux_labels(site);
        for bearing in 0..4 {
            let labels = ViewLabels::of(&gallery, i, 0, bearing);
            assert_eq!(labels.country, Some(planet.country(aux.country).name.as_str()));
            assert_eq!((labels.left, labels.town), (Some(aux.left), Some(aux.town)));
            assert_eq!(labels.month, Some(MONTHS[aux.month]));
            assert_eq!(labels.climate, Some(CLIMATES[aux.koeppen.index()]));
            assert_eq!(labels.region.is_none(), aux.admin1.is_empty());
            let degrees = (aux.heading_deg + 90.0 * bearing as f64) % 360.0;
            let named = DIRECTIONS.iter().position(|d| Some(*d) == labels.direction).unwrap() as f64 * 45.0;
            let off = (degrees - named + 180.0).rem_euclid(360.0) - 180.0;
            assert!(off.abs() <= 22.5, "{degrees} degrees are not {:?}", labels.direction);
            seen.insert(labels.direction);
        }
    }
    assert_eq!(seen.len(), 8);
}

#[test]
fn every_climate_zone_has_words_of_its_own() {
    assert_eq!(BTreeSet::from(CLIMATES).len(), CLIMATES.len());
    let of = |code| CLIMATES[Koeppen::from_code(code).unwrap().index()];
    assert_eq!(
        (of("Cfb"), of("Af"), of("BSk"), of("Dfc")),
        ("temperate oceanic", "tropical rainforest", "cold steppe", "subarctic")
    );
    assert_eq!(
        (of("Csa"), of("EF"), of("Dwd")),
        ("hot-summer Mediterranean", "ice cap", "severely cold, dry-winter subarctic")
    );
}

#[test]
fn zero_shot_captions_name_each_country_with_sites_once() {
    let planet = Planet::get();
    let captions = country_captions(planet);
    let with_sites: BTreeSet<CountryId> =
        (0..3000).map(|i| planet.place(planet.site(Split::Random, 2, i).town).country).collect();
    let listed: BTreeSet<CountryId> = captions.iter().map(|(id, _)| *id).collect();
    assert!(with_sites.is_subset(&listed) && listed.len() == captions.len());
    assert!((150..=planet.countries().len()).contains(&captions.len()), "{}", captions.len());
    let texts: BTreeSet<&str> = captions.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts.len(), captions.len());
    assert!(texts.contains("A Street View photo in France."));
    // The wording is that of a training caption without town and region.
    let bare = ViewLabels { country: Some("France"), ..ViewLabels::default() };
    assert_eq!(bare.caption(&mut Rng::new(1)), "A Street View photo in France.");
}

#[test]
fn a_caption_of_the_web_tells_what_is_to_be_seen() {
    let scenery = Scenery { weather: "in fog", light: "at night", surroundings: "a country road" };
    let drawn: Vec<String> = (0..10_000).map(|i| web_caption(Some(scenery), Some("Peru"), &mut Rng::new(i))).collect();
    let (with, without) =
        ("A photo of a country road in Peru in fog at night.", "A photo of a country road in fog at night.");
    assert!(drawn.iter().all(|c| c == with || c == without));
    let share = drawn.iter().filter(|c| *c == with).count() as f32 / drawn.len() as f32;
    assert!((share - WEB_COUNTRY).abs() < 0.02, "{share}");
    assert_eq!(web_caption(None, None, &mut Rng::new(1)), "A photo of a road.");
}
