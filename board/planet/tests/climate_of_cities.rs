//! The climate formula against cities whose climate is known.

use homing_planet::{LatLon, Planet};

/// Name, position, January and July means (degrees Celsius), precipitation (mm a year), zone.
const CITIES: [(&str, f64, f64, f32, f32, f32, &str); 80] = [
    ("Singapore", 1.35, 103.82, 26.5, 28.2, 2400., "Af"),
    ("Manaus", -3.1, -60.0, 26.5, 27.0, 2300., "Af"),
    ("Kuala Lumpur", 3.15, 101.69, 27.0, 28.0, 2600., "Af"),
    ("Jakarta", -6.2, 106.85, 26.5, 27.5, 1800., "Am"),
    ("Lagos", 6.5, 3.4, 27.5, 25.5, 1600., "Aw"),
    ("Kinshasa", -4.3, 15.3, 26.0, 23.0, 1400., "Aw"),
    ("Mumbai", 19.08, 72.88, 24.5, 28.0, 2300., "Aw"),
    ("Bangkok", 13.75, 100.5, 27.5, 29.5, 1600., "Aw"),
    ("Miami", 25.76, -80.2, 20.0, 29.0, 1600., "Am"),
    ("Havana", 23.1, -82.4, 22.0, 28.0, 1200., "Aw"),
    ("Darwin", -12.46, 130.84, 28.0, 25.0, 1700., "Aw"),
    ("Rio de Janeiro", -22.9, -43.2, 26.5, 21.5, 1100., "Aw"),
    ("Brasilia", -15.8, -47.9, 21.5, 19.0, 1500., "Aw"),
    ("Dakar", 14.7, -17.4, 21.5, 27.5, 450., "BSh"),
    ("Bamako", 12.65, -8.0, 25.0, 27.0, 1000., "Aw"),
    ("Niamey", 13.5, 2.1, 24.5, 29.0, 540., "BSh"),
    ("Khartoum", 15.6, 32.5, 23.0, 32.0, 130., "BWh"),
    ("Cairo", 30.04, 31.24, 14.0, 28.0, 25., "BWh"),
    ("Riyadh", 24.7, 46.7, 14.5, 36.0, 100., "BWh"),
    ("Dubai", 25.2, 55.3, 19.0, 36.0, 90., "BWh"),
    ("Baghdad", 33.3, 44.4, 10.0, 35.5, 140., "BWh"),
    ("Tehran", 35.7, 51.4, 5.0, 30.5, 230., "BSk"),
    ("Karachi", 24.9, 67.0, 19.0, 30.5, 180., "BWh"),
    ("Delhi", 28.6, 77.2, 14.0, 31.0, 780., "BSh"),
    ("Kolkata", 22.57, 88.36, 20.0, 29.5, 1750., "Aw"),
    ("Colombo", 6.93, 79.86, 27.0, 28.0, 2400., "Af"),
    ("Lima", -12.05, -77.05, 23.0, 17.5, 15., "BWh"),
    ("Antofagasta", -23.65, -70.4, 20.0, 14.0, 4., "BWk"),
    ("Phoenix", 33.45, -112.07, 13.5, 35.0, 190., "BWh"),
    ("Denver", 39.74, -104.99, 0.0, 23.5, 370., "BSk"),
    ("Alice Springs", -23.7, 133.87, 29.0, 12.0, 280., "BWh"),
    ("Windhoek", -22.57, 17.08, 23.5, 13.5, 360., "BSh"),
    ("Nairobi", -1.29, 36.82, 19.0, 16.5, 950., "Cfb"),
    ("Addis Ababa", 9.03, 38.74, 16.0, 15.5, 1150., "Cwb"),
    ("Mexico City", 19.43, -99.13, 14.0, 17.5, 850., "Cwb"),
    ("Bogota", 4.71, -74.07, 13.5, 13.0, 900., "Cfb"),
    ("Johannesburg", -26.2, 28.05, 20.0, 10.0, 700., "Cwb"),
    ("Hong Kong", 22.3, 114.17, 16.5, 29.0, 2400., "Cwa"),
    ("Hanoi", 21.03, 105.85, 16.5, 29.5, 1700., "Cwa"),
    ("Shanghai", 31.23, 121.47, 5.0, 28.5, 1150., "Cfa"),
    ("Tokyo", 35.68, 139.69, 5.5, 26.0, 1550., "Cfa"),
    ("Sydney", -33.87, 151.21, 23.5, 13.0, 1150., "Cfa"),
    ("Buenos Aires", -34.6, -58.38, 25.0, 11.0, 1150., "Cfa"),
    ("Sao Paulo", -23.55, -46.63, 22.5, 16.0, 1450., "Cfa"),
    ("New Orleans", 29.95, -90.07, 12.0, 28.5, 1600., "Cfa"),
    ("Atlanta", 33.75, -84.39, 6.5, 27.0, 1270., "Cfa"),
    ("Washington", 38.9, -77.04, 2.5, 27.0, 1040., "Cfa"),
    ("London", 51.5, -0.13, 5.5, 18.5, 610., "Cfb"),
    ("Paris", 48.86, 2.35, 5.0, 20.5, 640., "Cfb"),
    ("Dublin", 53.35, -6.26, 5.0, 15.5, 750., "Cfb"),
    ("Frankfurt", 50.1, 8.7, 1.5, 20.0, 630., "Cfb"),
    ("Auckland", -36.85, 174.76, 20.0, 11.0, 1150., "Cfb"),
    ("Melbourne", -37.8, 144.96, 20.5, 10.0, 600., "Cfb"),
    ("Bergen", 60.39, 5.32, 2.0, 15.0, 2250., "Cfb"),
    ("Reykjavik", 64.15, -21.94, 0.3, 11.5, 850., "Cfc"),
    ("Punta Arenas", -53.16, -70.9, 11.0, 1.5, 380., "Cfc"),
    ("Rome", 41.9, 12.5, 7.5, 25.0, 800., "Csa"),
    ("Athens", 37.98, 23.73, 10.0, 29.0, 400., "Csa"),
    ("Lisbon", 38.72, -9.14, 11.5, 23.0, 770., "Csa"),
    ("Los Angeles", 34.05, -118.24, 14.0, 21.5, 370., "Csb"),
    ("San Francisco", 37.77, -122.42, 10.5, 16.0, 580., "Csb"),
    ("Santiago", -33.45, -70.67, 21.0, 8.0, 340., "Csb"),
    ("Cape Town", -33.92, 18.42, 21.0, 12.5, 520., "Csb"),
    ("Perth", -31.95, 115.86, 24.5, 13.0, 730., "Csa"),
    ("Istanbul", 41.0, 28.98, 6.0, 24.5, 800., "Csa"),
    ("Seattle", 47.6, -122.33, 5.0, 19.0, 950., "Csb"),
    ("New York", 40.71, -74.0, 1.0, 25.0, 1200., "Cfa"),
    ("Chicago", 41.88, -87.63, -4.0, 24.0, 950., "Dfa"),
    ("Montreal", 45.5, -73.57, -9.5, 21.5, 1000., "Dfb"),
    ("Winnipeg", 49.9, -97.14, -16.5, 20.0, 520., "Dfb"),
    ("Moscow", 55.75, 37.62, -6.5, 19.5, 700., "Dfb"),
    ("Stockholm", 59.33, 18.07, -2.0, 18.5, 540., "Dfb"),
    ("Novosibirsk", 55.03, 82.92, -17.0, 19.5, 440., "Dfb"),
    ("Fairbanks", 64.84, -147.72, -22.0, 17.0, 280., "Dfc"),
    ("Yakutsk", 62.03, 129.73, -38.5, 19.5, 240., "Dfd"),
    ("Beijing", 39.9, 116.4, -3.0, 27.0, 570., "Dwa"),
    ("Seoul", 37.57, 126.98, -2.0, 25.5, 1400., "Dwa"),
    ("Ulaanbaatar", 47.92, 106.92, -22.0, 18.5, 270., "BSk"),
    ("Astana", 51.17, 71.43, -14.5, 20.5, 320., "Dfb"),
    ("Nuuk", 64.18, -51.72, -8.0, 7.0, 780., "ET"),
];

#[test]
fn zones_and_temperatures_of_known_cities() {
    let planet = Planet::get();
    let (mut groups, mut zones, mut error, mut rain) = (0, 0, 0.0, 0.0);
    for (name, lat, lon, january, july, mm, zone) in CITIES {
        let climate = planet.climate(LatLon::new(lat, lon).unwrap());
        let found = climate.koeppen();
        let (t, p) = (climate.temperature_c, climate.mean_precipitation_mm_day() * 365.25);
        groups += usize::from(found.code().as_bytes()[0] == zone.as_bytes()[0]);
        zones += usize::from(found.code() == zone);
        error += (t[0] - january).abs() / 2.0 + (t[6] - july).abs() / 2.0;
        rain += ((p + 50.0) / (mm + 50.0)).ln().abs();
        let months: Vec<i32> = climate.precipitation_mm_day.iter().map(|v| (v * 30.4) as i32).collect();
        let mark = if found.code() == zone {
            ' '
        } else if found.group() == zone.as_bytes()[0] as char {
            '~'
        } else {
            '#'
        };
        println!(
            "{mark} {name:15} {zone:4}{:4}  jan {january:5.1} {:5.1}  jul {july:5.1} {:5.1}  mm {mm:5} {p:5.0} {months:?}",
            found.code(),
            t[0],
            t[6]
        );
    }
    let n = CITIES.len();
    println!(
        "groups {groups}, zones {zones} of {n}; temperature error {:.2}, rain factor {:.2}",
        error / n as f32,
        (rain / n as f32).exp()
    );
    assert!(groups * 100 >= n * 80, "main group right for {groups} of {n}");
    assert!(zones * 100 >= n * 50, "zone right for {zones} of {n}");
    assert!(error / (n as f32) < 4.0, "mean error of January and July {:.1} degrees", error / n as f32);
}
