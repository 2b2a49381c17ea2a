//! Where a country's facts come from: the driving side's list, the table `data/facts.txt`, and fictional rules.
//!
//! The fictional rules draw each column that nobody filled in from a hash of the ISO code and the column's name:
//! a neighbour's habits do not rub off, adding a country changes no other, and filling in one column leaves the
//! rest alone. Common choices are as common as in the table (white lines, short plates outside Europe, triangles).

use crate::country::{Bollard, Facts, FenceKind, GuideSign, KerbKind, PoleKind, Rgb, Script, Warning, WindowStyle};
use crate::hash::{Rng, fold, mix};

static TABLE: &str = include_str!("../data/facts.txt");

/// Countries and territories where traffic keeps to the left (complete, 2024).
const LEFT: &str = "AG AI AU BB BD BM BN BS BT BW CC CK CX CY DM FJ FK GB GD GG GY HK ID IE IM IN JE JM JP KE KI KN \
    KY LC LK LS MO MS MT MU MV MW MY MZ NA NF NP NR NU NZ PG PK PN SB SC SG SH SR SZ TC TH TK TL TO TT TV TZ UG VC VG \
    VI WS ZA ZM ZW GS IO";

/// Scripts of countries whose row in the table is missing; everyone else writes Latin.
const SCRIPTS: [(&str, Script); 5] = [
    ("KP", Script::Hangul),
    ("MO", Script::Han),
    ("AF BH PS EH MR DJ KM TD", Script::Arabic),
    ("ER", Script::Ethiopic),
    ("MV", Script::Thaana),
];

/// One row of the table by column, empty when the country has none.
struct Row<'t>(Vec<&'t str>);

impl<'t> Row<'t> {
    fn of(iso: &str) -> Row<'t> {
        let mut rows = TABLE.lines().filter(|line| !line.starts_with('#')).map(str::split_whitespace);
        let found = rows.find_map(|mut cells| (cells.next() == Some(iso)).then(|| cells.collect()));
        Row(found.unwrap_or_default())
    }

    /// A cell that somebody filled in; `column` counts from 1, the ISO code being column 0.
    fn cell(&self, column: usize) -> Option<&'t str> {
        self.0.get(column - 1).copied().filter(|&c| c != "-")
    }
}

/// The colour of a letter of the table.
fn paint(letter: &str) -> Option<Rgb> {
    Some(match letter {
        "w" => [0.88, 0.88, 0.86],
        "y" => [0.88, 0.60, 0.04],
        "o" => [0.85, 0.30, 0.03],
        "r" => [0.60, 0.04, 0.04],
        "n" => [0.27, 0.13, 0.06],
        "t" => [0.42, 0.13, 0.06],
        "b" => [0.03, 0.10, 0.42],
        "l" => [0.30, 0.52, 0.75],
        "g" => [0.01, 0.22, 0.09],
        "v" => [0.10, 0.52, 0.48],
        "k" => [0.02, 0.02, 0.02],
        "d" => [0.09, 0.09, 0.10],
        "s" => [0.38, 0.39, 0.40],
        "c" => [0.78, 0.68, 0.47],
        "p" => [0.80, 0.42, 0.42],
        _ => return None,
    })
}

/// "body/band/slim", "ground/letters": the parts of a cell.
fn parts(cell: &str) -> Vec<&str> {
    cell.split('/').collect()
}

fn bollard(cell: &str) -> Option<Option<Bollard>> {
    match *parts(cell) {
        ["none"] => Some(None),
        [body, band, size @ ("slim" | "wide")] => {
            Some(Some(Bollard { body: paint(body)?, band: paint(band)?, slim: size == "slim" }))
        }
        _ => None,
    }
}

fn guide(cell: &str) -> Option<GuideSign> {
    match *parts(cell) {
        [ground, letters] => Some(GuideSign { ground: paint(ground)?, letters: paint(letters)? }),
        _ => None,
    }
}

fn kerb(cell: &str) -> Option<KerbKind> {
    match *parts(cell) {
        ["plain"] => Some(KerbKind::Plain),
        [a, b, period] => Some(KerbKind::Painted { tones: [paint(a)?, paint(b)?], period_m: period.parse().ok()? }),
        _ => None,
    }
}

fn warning(cell: &str) -> Option<Warning> {
    Some(match cell {
        "diamond" => Warning::YellowDiamond,
        "white" => Warning::WhiteTriangle,
        "yellow" => Warning::YellowTriangle,
        _ => return None,
    })
}

fn script(cell: &str) -> Option<Script> {
    Script::ALL.into_iter().find(|s| format!("{s:?}").eq_ignore_ascii_case(cell))
}

fn pole(cell: &str) -> Option<PoleKind> {
    Some(match cell {
        "wood" => PoleKind::WoodCrossbar,
        "double" => PoleKind::WoodDouble,
        "concrete" => PoleKind::Concrete,
        "lattice" => PoleKind::SteelLattice,
        "bracket" => PoleKind::Bracket,
        _ => return None,
    })
}

fn fence(cell: &str) -> Option<FenceKind> {
    Some(match cell {
        "rail" => FenceKind::Rail,
        "picket" => FenceKind::Picket,
        "wire" => FenceKind::Wire,
        "hedge" => FenceKind::Hedge,
        "wall" => FenceKind::Wall,
        "guard" => FenceKind::Guardrail,
        _ => return None,
    })
}

fn window(cell: &str) -> Option<WindowStyle> {
    Some(match cell {
        "casement" => WindowStyle::Casement,
        "sash" => WindowStyle::Sash,
        "shutter" => WindowStyle::Shuttered,
        "wide" => WindowStyle::Wide,
        _ => return None,
    })
}

/// One of the choices, by the hash of country and column.
struct Fiction(u64);

impl Fiction {
    fn rng(&self, column: usize) -> Rng {
        Rng::new(fold(self.0, column as u64))
    }

    fn pick<'c>(&self, column: usize, choices: &[&'c str]) -> &'c str {
        choices[self.rng(column).below(choices.len())]
    }
}

/// All facts of the country with this ISO code.
pub(crate) fn facts_of(iso: [u8; 2]) -> Facts {
    let code = std::str::from_utf8(&iso).unwrap_or("??");
    let row = Row::of(code);
    let fiction = Fiction(mix(u64::from(u16::from_be_bytes(iso))));
    // A cell by the table, else one of the choices; unreadable cells (a test says there are none) count as empty.
    fn read<T>(
        row: &Row,
        fiction: &Fiction,
        column: usize,
        choices: &[&str],
        parse: fn(&str) -> Option<T>,
        else_: T,
    ) -> T {
        let known = row.cell(column).and_then(parse);
        known.or_else(|| parse(fiction.pick(column, choices))).unwrap_or(else_)
    }
    let colour = |column: usize, choices: &[&str]| read(&row, &fiction, column, choices, paint, [0.5; 3]);
    let number = |column: usize, low: f32, high: f32| {
        let known = row.cell(column).and_then(|c| c.parse().ok());
        known.unwrap_or_else(|| fiction.rng(column).range(low, high))
    };
    let edge = match row.cell(2) {
        Some(cell) => paint(cell),
        None => paint(fiction.pick(2, &["w", "w", "w", "y", "none"])),
    };
    let fallback_script = SCRIPTS.iter().find(|(codes, _)| codes.split(' ').any(|c| c == code)).map(|s| s.1);
    Facts {
        left: LEFT.split_whitespace().any(|c| c == code),
        centre_line: colour(1, &["w", "w", "w", "y"]),
        edge_line: edge,
        dash_m: number(3, 2.0, 8.0).clamp(2.0, 10.0),
        plate_front: colour(4, &["w", "w", "w", "y", "k", "b", "g"]),
        plate_rear: colour(5, &["w", "w", "w", "y", "k", "b", "g"]),
        plate_long: read(&row, &fiction, 6, &["long", "short"], |c| Some(c == "long"), true),
        bollard: read(
            &row,
            &fiction,
            7,
            &["none", "none", "w/k/wide", "w/r/slim", "k/w/wide", "y/k/wide", "w/b/slim", "r/w/wide", "g/w/slim"],
            bollard,
            None,
        ),
        guide_sign: read(
            &row,
            &fiction,
            8,
            &["g/w", "b/w", "g/w", "b/w", "w/k", "n/w"],
            guide,
            GuideSign { ground: [0.0; 3], letters: [1.0; 3] },
        ),
        warning: read(&row, &fiction, 9, &["diamond", "white", "white", "yellow"], warning, Warning::WhiteTriangle),
        script: row.cell(10).and_then(script).or(fallback_script).unwrap_or(Script::Latin),
        pole: read(
            &row,
            &fiction,
            11,
            &["wood", "double", "concrete", "lattice", "bracket"],
            pole,
            PoleKind::WoodCrossbar,
        ),
        fence: read(&row, &fiction, 12, &["rail", "picket", "wire", "hedge", "wall", "guard"], fence, FenceKind::Wire),
        roof: colour(13, &["s", "t", "r", "c", "d", "g", "b"]),
        roof_pitch: number(14, 0.0, 0.7).clamp(0.0, 1.0),
        wall: colour(15, &["w", "c", "p", "o", "l", "v", "n", "y"]),
        window: read(&row, &fiction, 16, &["casement", "sash", "shutter", "wide"], window, WindowStyle::Wide),
        taxi: colour(17, &["y", "w", "g", "o", "b", "r"]),
        kerb: read(&row, &fiction, 18, &["plain", "plain", "w/k/2", "y/k/1", "w/r/1"], kerb, KerbKind::Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Planet;

    #[test]
    fn every_cell_of_the_table_is_read() {
        let planet = Planet::get();
        let mut last = 0;
        for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(cells.len(), 19, "{line}");
            assert!(planet.countries().iter().any(|c| c.code() == cells[0]), "{line}");
            let readable = |column: usize, ok: bool| assert!(cells[column] == "-" || ok, "column {column} of {line}");
            for column in [1, 4, 5, 13, 15, 17] {
                readable(column, paint(cells[column]).is_some());
            }
            readable(2, cells[2] == "none" || paint(cells[2]).is_some());
            readable(3, cells[3].parse::<f32>().is_ok_and(|d| (2.0..=10.0).contains(&d)));
            readable(6, ["long", "short"].contains(&cells[6]));
            readable(7, bollard(cells[7]).is_some());
            readable(8, guide(cells[8]).is_some());
            readable(9, warning(cells[9]).is_some());
            readable(10, script(cells[10]).is_some());
            readable(11, pole(cells[11]).is_some());
            readable(12, fence(cells[12]).is_some());
            readable(14, cells[14].parse::<f32>().is_ok_and(|p| (0.0..=1.0).contains(&p)));
            readable(16, window(cells[16]).is_some());
            readable(18, kerb(cells[18]).is_some());
            last += 1;
        }
        assert!(last >= 100, "{last} countries by hand");
    }

    #[test]
    fn driving_sides_are_true() {
        let planet = Planet::get();
        let left = |code: &str| planet.countries().iter().find(|c| c.code() == code).unwrap().facts.left;
        for code in
            ["GB", "IE", "JP", "AU", "NZ", "IN", "ZA", "KE", "TH", "ID", "MY", "MT", "CY", "SR", "GY", "MZ", "JM", "VI"]
        {
            assert!(left(code), "{code} keeps left");
        }
        for code in
            ["FR", "US", "DE", "CN", "BR", "RU", "NG", "PH", "MM", "RW", "GI", "PR", "SE", "KR", "TW", "AO", "ET"]
        {
            assert!(!left(code), "{code} keeps right");
        }
        let listed = LEFT.split_whitespace().filter(|c| planet.countries().iter().any(|k| k.code() == *c)).count();
        assert_eq!(listed, LEFT.split_whitespace().count(), "every code of the list is a country of the table");
    }

    #[test]
    fn the_table_is_obeyed_and_the_rest_is_stable_fiction() {
        let of = |code: &[u8; 2]| facts_of(*code);
        assert_eq!(of(b"NL").plate_front, paint("y").unwrap());
        assert_eq!(of(b"GB").plate_rear, paint("y").unwrap());
        assert_eq!(of(b"GR").script, Script::Greek);
        assert_eq!(of(b"JP").warning, Warning::YellowDiamond);
        assert_eq!(of(b"IS").edge_line, None);
        assert_eq!(of(b"KP").script, Script::Hangul);
        assert_eq!(of(b"TD"), of(b"TD"));
        let unknown = [b"TD", b"NE", b"ML", b"BF", b"TG", b"BJ", b"GA", b"CG"].map(of);
        assert!(unknown.windows(2).all(|w| w[0] != w[1]), "fictional countries differ");
    }
}
