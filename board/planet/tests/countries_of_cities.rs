//! Positions, countries and what the planet knows about them.

use homing_planet::{LatLon, Planet};

const CITIES: [(&str, f64, f64); 48] = [
    ("AT", 48.208, 16.372),
    ("SK", 48.148, 17.107),
    ("HU", 47.498, 19.040),
    ("DE", 47.999, 7.842),
    ("CH", 47.56, 7.59),
    ("FR", 48.58, 7.75),
    ("LU", 49.61, 6.13),
    ("BE", 50.85, 4.35),
    ("NL", 50.85, 5.69),
    ("DK", 55.68, 12.57),
    ("SE", 55.60, 13.0),
    ("NO", 59.91, 10.75),
    ("FI", 60.17, 24.94),
    ("EE", 59.44, 24.75),
    ("RU", 54.71, 20.51),
    ("GB", 51.507, -0.128),
    ("IE", 53.35, -6.26),
    ("GB", 54.6, -5.93),
    ("ES", 36.14, -5.45),
    ("PT", 38.72, -9.14),
    ("MA", 35.76, -5.83),
    ("ES", 35.89, -5.31),
    ("EG", 30.04, 31.24),
    ("IL", 32.08, 34.78),
    ("JO", 31.95, 35.93),
    ("SG", 1.35, 103.82),
    ("MY", 1.49, 103.74),
    ("ID", -6.2, 106.85),
    ("HK", 22.32, 114.17),
    ("CN", 22.55, 114.06),
    ("JP", 35.68, 139.69),
    ("KR", 37.57, 126.98),
    ("TW", 25.04, 121.56),
    ("AU", -33.87, 151.21),
    ("NZ", -36.85, 174.76),
    ("US", 32.72, -117.16),
    ("MX", 32.52, -117.03),
    ("US", 42.33, -83.05),
    ("CA", 42.30, -83.02),
    ("US", 21.31, -157.86),
    ("BR", -22.97, -43.18),
    ("PY", -25.28, -57.63),
    ("CL", -33.45, -70.67),
    ("ZA", -33.92, 18.42),
    ("LS", -29.31, 27.48),
    ("CD", -4.33, 15.31),
    ("CG", -4.26, 15.27),
    ("RE", -20.88, 55.45),
];

#[test]
fn known_cities_lie_in_their_countries() {
    let planet = Planet::get();
    for (code, lat, lon) in CITIES {
        let found = planet.country_at(LatLon::new(lat, lon).unwrap());
        assert_eq!(found.map(|id| planet.country(id).code()), Some(code), "{lat} {lon}");
    }
}

#[test]
fn the_open_sea_has_no_country_and_the_shore_has_one() {
    let planet = Planet::get();
    let at = |lat, lon| planet.country_at(LatLon::new(lat, lon).unwrap());
    assert_eq!(at(30.0, -40.0), None);
    assert_eq!(at(0.0, 180.0), None);
    // Ten kilometres off Brighton, and off Fiji on both sides of the antimeridian.
    assert_eq!(at(50.74, -0.14).map(|id| planet.country(id).code()), Some("GB"));
    for lon in [179.99, -179.99] {
        assert_eq!(at(-16.8, lon).map(|id| planet.country(id).code()), Some("FJ"), "{lon}");
    }
    for lat in [-90.0, 90.0] {
        at(lat, 0.0);
    }
}

#[test]
fn most_places_lie_where_they_say() {
    let planet = Planet::get();
    let wrong = planet.places().filter(|p| planet.country_at(p.position) != Some(p.country)).count();
    println!("{wrong} of {} places outside their country", planet.places().len());
    assert!(wrong * 100 < planet.places().len(), "{wrong} of {}", planet.places().len());
}
