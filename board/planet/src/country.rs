//! What a traveller can read off the roads of a country: driving side, paint, plates, bollards, signs, script.
//!
//! Three sources, in this order: the driving side is true for every country; about a hundred countries have a
//! row of facts by hand (`data/facts.txt`, a table a person can check); what is not known, for whole countries or
//! single columns, follows a fictional rule hashed from the ISO code (`facts.rs`).

/// A linear RGB colour, each channel 0..1.
pub type Rgb = [f32; 3];

/// An index into the planet's country table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryId(pub u16);

/// One country of the planet.
#[derive(Clone, Debug)]
pub struct Country {
    /// ISO 3166-1 alpha-2 code (GeoNames' `XK` for Kosovo).
    pub iso: [u8; 2],
    /// English short name.
    pub name: String,
    /// What its roads look like.
    pub facts: Facts,
}

impl Country {
    /// The ISO code as text.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.iso).unwrap_or("??")
    }
}

/// What distinguishes the roads of a country, constant all over it.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Traffic keeps to the left. True to the world for every country.
    pub left: bool,
    /// Colour of the line between opposite directions.
    pub centre_line: Rgb,
    /// Colour of the line along the road's edge, where there is one.
    pub edge_line: Option<Rgb>,
    /// Length of a dash of the centre line, 2..=10 m.
    pub dash_m: f32,
    /// Ground of the front number plate.
    pub plate_front: Rgb,
    /// Ground of the rear number plate.
    pub plate_rear: Rgb,
    /// The long European plate (520 x 110 mm) instead of the short American or Asian one.
    pub plate_long: bool,
    /// The post at the edge of country roads, where there is one.
    pub bollard: Option<Bollard>,
    /// Direction signs on main roads.
    pub guide_sign: GuideSign,
    /// Shape and ground of warning signs.
    pub warning: Warning,
    /// The script of shop fascias and signs.
    pub script: Script,
    /// The usual pole of power and telephone lines.
    pub pole: PoleKind,
    /// The usual fence along the road.
    pub fence: FenceKind,
    /// The usual roof colour.
    pub roof: Rgb,
    /// 0 = flat roofs, 1 = steep ones.
    pub roof_pitch: f32,
    /// The usual wall colour.
    pub wall: Rgb,
    /// The usual window.
    pub window: WindowStyle,
    /// The colour of taxis.
    pub taxi: Rgb,
    /// The kerb stones of towns.
    pub kerb: KerbKind,
}

/// A roadside delineator post.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bollard {
    /// Colour of the post.
    pub body: Rgb,
    /// Colour of its band or reflector.
    pub band: Rgb,
    /// A thin stake instead of a wide post.
    pub slim: bool,
}

/// The colours of direction signs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuideSign {
    /// Ground of the panel.
    pub ground: Rgb,
    /// Colour of letters and border.
    pub letters: Rgb,
}

/// The warning signs of a country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Warning {
    /// Yellow or orange diamond (the Americas, Australia, Japan, Ireland and others).
    YellowDiamond,
    /// White triangle with a red border (Vienna Convention).
    WhiteTriangle,
    /// Yellow triangle with a red or black border (Sweden, Poland, Greece, China and others).
    YellowTriangle,
}

/// A script as it looks from a moving car: scripts of like appearance share an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// Latin letters.
    Latin,
    /// Cyrillic letters.
    Cyrillic,
    /// Greek letters.
    Greek,
    /// Chinese characters.
    Han,
    /// Japanese: kana between characters.
    Kana,
    /// Korean syllable blocks.
    Hangul,
    /// Arabic letters (also Persian, Urdu).
    Arabic,
    /// Hebrew letters.
    Hebrew,
    /// Devanagari.
    Devanagari,
    /// Bengali.
    Bengali,
    /// Tamil.
    Tamil,
    /// Sinhala.
    Sinhala,
    /// Thai.
    Thai,
    /// Lao.
    Lao,
    /// Khmer.
    Khmer,
    /// Burmese.
    Burmese,
    /// Tibetan (Dzongkha).
    Tibetan,
    /// Georgian.
    Georgian,
    /// Armenian.
    Armenian,
    /// Ethiopic.
    Ethiopic,
    /// Thaana (Maldives).
    Thaana,
}

impl Script {
    /// All scripts, in declaration order.
    pub const ALL: [Script; 21] = [
        Script::Latin,
        Script::Cyrillic,
        Script::Greek,
        Script::Han,
        Script::Kana,
        Script::Hangul,
        Script::Arabic,
        Script::Hebrew,
        Script::Devanagari,
        Script::Bengali,
        Script::Tamil,
        Script::Sinhala,
        Script::Thai,
        Script::Lao,
        Script::Khmer,
        Script::Burmese,
        Script::Tibetan,
        Script::Georgian,
        Script::Armenian,
        Script::Ethiopic,
        Script::Thaana,
    ];
}

/// The usual utility pole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoleKind {
    /// A wooden pole with one crossbar.
    WoodCrossbar,
    /// A wooden pole with two crossbars.
    WoodDouble,
    /// A concrete pole.
    Concrete,
    /// A steel lattice mast.
    SteelLattice,
    /// A pole with brackets or hooks at one side.
    Bracket,
}

/// The usual fence along roads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FenceKind {
    /// Posts with two or three rails.
    Rail,
    /// Upright pickets or bars.
    Picket,
    /// Posts with wire.
    Wire,
    /// A hedge.
    Hedge,
    /// A wall of stone, brick or concrete.
    Wall,
    /// A steel guardrail.
    Guardrail,
}

/// The usual windows of houses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowStyle {
    /// Two upright wings.
    Casement,
    /// Sliding sashes with glazing bars.
    Sash,
    /// Small windows with shutters at the sides.
    Shuttered,
    /// Wide horizontal windows.
    Wide,
}

/// The kerb of a town's streets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KerbKind {
    /// Bare stone or concrete.
    Plain,
    /// Painted in two tones by turns.
    Painted {
        /// The two paints.
        tones: [Rgb; 2],
        /// Length of one pair of tones along the kerb, in metres.
        period_m: f32,
    },
}
