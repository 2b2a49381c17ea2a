//! Writes `corpus/` anew: small inputs of each kind, whole ones and some that are refused. `pictures/finer.jpg` stays: the
//! fuzzer made it, and the decoder panicked.
//! `cargo run --release --bin corpus` in this folder.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use homing_models::{
    CellId, Geocells, LatLon, PrototypesWriter,
    geocells::{Cell, LabelledSite},
    prototypes::Cluster,
};
use image::{ImageBuffer, ImageFormat, Rgb, RgbImage};

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..");
    let file = |target: &str, name: &str, bytes: &[u8]| {
        let folder: PathBuf = here.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    file("gnss", "receiver.nmea", receiver().as_bytes())?;
    file("gnss", "noise.nmea", &noise())?;
    file("gnss", "estimates.nmea", estimates().as_bytes())?;
    file("gnss", "gpsd.json", gpsd().as_bytes())?;
    file("bundle", "manifest.toml", &fs::read(root.join("models/shipped/manifest.toml"))?)?;
    file("bundle", "geocells.bin", &geocells().encode())?;
    file("bundle", "prototypes.bin", &prototypes(false))?;
    file("bundle", "members.bin", &prototypes(true))?;
    for board in ["host", "raspberry", "jetson"] {
        let text = fs::read_to_string(root.join("board").join(board).with_extension("toml"))?;
        file("configuration", &format!("{board}.toml"), text.as_bytes())?;
        // The examples behind a "#" are settings too.
        file("configuration", &format!("{board}-examples.toml"), with_examples(&text).as_bytes())?;
    }
    for (name, format) in [("sequential.jpg", ImageFormat::Jpeg), ("colours.png", ImageFormat::Png)] {
        let mut bytes = io::Cursor::new(Vec::new());
        scenery().write_to(&mut bytes, format).map_err(io::Error::other)?;
        file("pictures", name, bytes.get_ref())?;
    }
    let whole = fs::read(here.join("corpus/pictures/sequential.jpg"))?;
    file("pictures", "turned.jpg", &[&whole[..2], EXIF, &whole[2..]].concat())?;
    let mut deep = io::Cursor::new(Vec::new());
    let deeper = ImageBuffer::<Rgb<u16>, _>::from_fn(12, 9, |x, y| Rgb([(x * 5000) as u16, (y * 7000) as u16, 9]));
    deeper.write_to(&mut deep, ImageFormat::Png).map_err(io::Error::other)?;
    file("pictures", "deep.png", deep.get_ref())?;
    file("pictures", "progressive.jpg", &fs::read(root.join("models/tests/support/progressive.jpg"))?)
}

/// A sentence with its checksum and line end.
fn sentence(body: &str) -> String {
    format!("${body}*{:02X}\r\n", body.bytes().fold(0, |x, b| x ^ b))
}

/// Three fixes, the loss, and one more with another date.
fn receiver() -> String {
    let mut said = String::new();
    for s in 0..3 {
        let bodies = [
            format!("GNRMC,12000{s}.00,A,4807.03{s}0,N,01131.0000,E,0.1,,040326,,,A,V"),
            format!("GNGGA,12000{s}.00,4807.03{s}0,N,01131.0000,E,1,08,0.9,545.4,M,46.9,M,,"),
            "GNGSA,A,3,01,02,03,04,,,,,,,,,2.0,1.0,1.7".to_owned(),
            format!("GNGST,12000{s}.00,9,9,9,0,3.0,4.0,9"),
            format!("GNGLL,4807.03{s}0,N,01131.0000,E,12000{s}.00,A,D"),
            format!("GNGNS,12000{s}.00,4807.03{s}0,N,01131.0000,E,AA,08,0.9,545.4,46.9,,,V"),
            "GPGSV,1,1,01,01,40,083,46".to_owned(),
        ];
        bodies.iter().for_each(|body| said += &sentence(body));
    }
    said += &sentence("GPRMC,120003.00,V,,,,,,,040326,,,N");
    said += &sentence("GPGGA,120003.00,,,,,0,00,,,M,,M,,");
    said + &sentence("GPRMC,235959.99,A,8959.9999,S,17959.9999,W,0.1,,191038,,")
}

fn noise() -> Vec<u8> {
    let whole = sentence("GPGLL,4807.0380,N,01131.0000,E,120000.00,A");
    let wrong = whole.replace("4807", "4907");
    [b"\xb5\x62\x01\x07\x00\xff,0*5A\r\n", &whole.as_bytes()[..20], wrong.as_bytes(), b"$\r\n$*\r\n!AIVDM,\x80\r\n"]
        .into_iter()
        .chain([whole.as_bytes(), sentence("PUBX,00").as_bytes()])
        .collect::<Vec<_>>()
        .concat()
}

fn estimates() -> String {
    let bodies = [
        "GPRMC,120000.00,A,4807.0380,N,01131.0000,E,0.1,,040326,,,E,V",
        "GPGGA,120001.00,4807.0380,N,01131.0000,E,6,08,99.99,545.4,M,46.9,M,,",
        "GPGGA,120002.00,4807.0380,N,01131.0000,E,8,08,0.9,545.4,M,46.9,M,,",
        "GNGNS,120003.00,4807.0380,N,01131.0000,E,EE,08,0.9,,,,,V",
    ];
    bodies.map(sentence).concat()
}

fn gpsd() -> String {
    let mut said = r#"{"class":"VERSION","release":"3.25","rev":"3.25","proto_major":3,"proto_minor":15}
{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyACM0","driver":"NMEA0183"}]}
{"class":"DEVICES","devices":[]}
{"class":"ERROR","message":"Unrecognized request"}
"#
    .to_owned();
    for (s, more) in
        [r#""mode":3,"eph":7.5"#, r#""mode":2,"status":5"#, r#""mode":2,"epx":3.0,"epy":4.0"#, r#""mode":1"#]
            .iter()
            .enumerate()
    {
        let _ = write!(
            said,
            r#"{{"class":"TPV","device":"/dev/ttyACM0",{more},"time":"2026-03-04T12:00:0{s}.000Z","lat":48.1,"lon":-11.5}}"#
        );
        said += "\r\n";
    }
    said
}

fn at(lat: f64, lon: f64) -> LatLon {
    LatLon::new(lat, lon).expect("on Earth")
}

fn geocells() -> Geocells {
    let cell = |lat, lon, place: &str| Cell {
        centroid: at(lat, lon),
        country: *b"FJ",
        place: place.into(),
        admin1: "Nord".into(),
        samples: 7,
    };
    let cells = vec![cell(-16.5, 179.9, "Labasa"), cell(-16.75, -179.5, "Tavëuni"), cell(89.0, 10.0, "")];
    let site = |lat, lon, cell| LabelledSite { position: at(lat, lon), cell: CellId(cell) };
    let sites = vec![site(-16.5, 179.5, 0), site(-16.5, -179.5, 1), site(89.5, -170.0, 2)];
    Geocells::new(cells, sites).expect("three cells")
}

fn prototypes(with_members: bool) -> Vec<u8> {
    let embeddings = [[0.5f32, -1.0, 0.25], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]];
    let mut writer = PrototypesWriter::new(3);
    for (i, cell) in [2u32, 0, 2, 0].into_iter().enumerate() {
        let members = [(at(10.0, i as f64), &embeddings[i][..]), (at(20.0, i as f64), &embeddings[3 - i][..])];
        writer.push(&Cluster {
            cell: CellId(cell),
            embedding: &embeddings[i],
            position: at(i as f64, -(i as f64)),
            place: ["Ulm", "Bonn", "Ulm", "Köln"][i],
            spread_km: i as f32,
            members: 2,
            member_rows: if with_members { members.to_vec() } else { vec![] },
        });
    }
    writer.encode(4)
}

fn with_examples(text: &str) -> String {
    let is_setting = |l: &str| l.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', ':']));
    let example = |l: &str| {
        l.strip_prefix("# ").filter(|e| is_setting(e) || ["[gnss]", "[mavlink]"].contains(e)).unwrap_or(l).to_owned()
    };
    text.lines().map(example).collect::<Vec<_>>().join("\n")
}

fn scenery() -> RgbImage {
    let pixel = |x: u32, y: u32| Rgb([(x * x / 3 + y) as u8, ((y * 5) ^ x) as u8, (x * y / 4) as u8]);
    RgbImage::from_fn(35, 27, pixel)
}

/// A JPEG segment with one TIFF entry: orientation 6, "turn right by 90 degrees".
const EXIF: &[u8] = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
