//! Compare: what GNSS says against what the cameras say. The verdict changes slowly and says why.

use homing_board::GnssFix;
use serde::{Deserialize, Serialize};

use crate::{report::settings::UNSURE_P95_KM, track::Tracked};

/// Fixes that must contradict the verdict before it changes.
const PATIENCE: u8 = 3;
/// A distance up to this many p95 radii still counts as agreement once there is agreement, so that a
/// position near the rim does not flip the verdict back and forth.
const HYSTERESIS: f64 = 1.3;
/// Positions closer than this agree whatever the radius says: the table's own resolution.
const FLOOR_KM: f64 = 5.0;

/// What the comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// GNSS lies inside the estimated radius.
    #[serde(rename = "agree")]
    Agree,
    /// GNSS lies outside of it: jammed, spoofed, or the model is wrong.
    #[serde(rename = "disagree")]
    Disagree,
    /// There is no GNSS position.
    #[serde(rename = "gps absent")]
    GpsAbsent,
    /// The cameras' estimate is too vague to say.
    #[serde(rename = "vision unsure")]
    VisionUnsure,
}

impl Verdict {
    /// The words used everywhere.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Agree => "agree",
            Verdict::Disagree => "disagree",
            Verdict::GpsAbsent => "gps absent",
            Verdict::VisionUnsure => "vision unsure",
        }
    }

    /// One letter for NMEA: A, D, N, U.
    pub fn letter(self) -> char {
        match self {
            Verdict::Agree => 'A',
            Verdict::Disagree => 'D',
            Verdict::GpsAbsent => 'N',
            Verdict::VisionUnsure => 'U',
        }
    }
}

/// The outcome of one comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The verdict that stands.
    pub verdict: Verdict,
    /// Distance between the GNSS position and the estimate, when both are there.
    pub distance_km: Option<f64>,
    /// Set when the verdict has just changed: what it was, and the evidence.
    pub change: Option<Change>,
}

/// Why a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The verdict before.
    pub from: Verdict,
    /// The verdict now.
    pub to: Verdict,
    /// Distance at the last of the contradicting fixes.
    pub distance_km: Option<f64>,
    /// Radius of the estimate then, when there was one.
    pub p95_km: Option<f32>,
    /// Contradicting fixes in a row.
    pub fixes: u8,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "verdict {} -> {} after {} fixes", self.from.words(), self.to.words(), self.fixes)?;
        match (self.distance_km, self.p95_km) {
            (Some(km), Some(p95)) => write!(f, ": GNSS {km:.0} km from the estimate, radius {p95:.0} km (95 %)"),
            (None, Some(p95)) => write!(f, ": no GNSS position, radius {p95:.0} km (95 %)"),
            _ => write!(f, ": no estimate from the cameras"),
        }
    }
}

/// The comparison over time.
#[derive(Debug, Default)]
pub struct Compare {
    standing: Option<Verdict>,
    /// Fixes in a row that cannot be compared, where the standing verdict says another thing.
    blind: u8,
    /// Agreeing fixes in a row.
    agreeing: u8,
    /// Disagreeing fixes since the last agreement: those between them that cannot be compared do not hide them.
    disagreeing: u8,
}

impl Compare {
    /// A comparison without history; the first verdict stands at once.
    pub fn new() -> Self {
        Compare::default()
    }

    /// Compares one fix.
    pub fn push(&mut self, gnss: Option<&GnssFix>, tracked: Option<&Tracked>) -> Comparison {
        let distance_km = gnss.zip(tracked).map(|(g, t)| g.position.distance_km(t.position));
        let now = self.verdict_now(gnss, tracked, distance_km);
        let standing = *self.standing.get_or_insert(now);
        match now {
            Verdict::Agree => (self.agreeing, self.disagreeing) = (self.agreeing.saturating_add(1), 0),
            Verdict::Disagree => (self.agreeing, self.disagreeing) = (0, self.disagreeing.saturating_add(1)),
            // What cannot be compared is no sign of health, nor does it take back what was seen before.
            Verdict::GpsAbsent | Verdict::VisionUnsure => self.agreeing = 0,
        }
        let blind = matches!(now, Verdict::GpsAbsent | Verdict::VisionUnsure) && now != standing;
        self.blind = if blind { self.blind.saturating_add(1) } else { 0 };
        let fixes = match now {
            Verdict::Agree => self.agreeing,
            Verdict::Disagree => self.disagreeing,
            Verdict::GpsAbsent | Verdict::VisionUnsure => self.blind,
        };
        if now == standing || fixes < PATIENCE {
            return Comparison { verdict: standing, distance_km, change: None };
        }
        *self = Compare { standing: Some(now), ..Compare::default() };
        let p95_km = tracked.map(|t| t.radius.p95_km);
        let change = Change { from: standing, to: now, distance_km, p95_km, fixes };
        Comparison { verdict: now, distance_km, change: Some(change) }
    }

    fn verdict_now(&self, gnss: Option<&GnssFix>, tracked: Option<&Tracked>, distance_km: Option<f64>) -> Verdict {
        let Some(gnss) = gnss else {
            return Verdict::GpsAbsent;
        };
        let (Some(tracked), Some(distance_km)) = (tracked, distance_km) else {
            return Verdict::VisionUnsure;
        };
        if tracked.radius.p95_km > UNSURE_P95_KM {
            return Verdict::VisionUnsure;
        }
        let slack = if self.standing == Some(Verdict::Agree) { HYSTERESIS } else { 1.0 };
        let receiver_km = f64::from(gnss.accuracy_m.unwrap_or(0.0)) / 1000.0;
        let limit = (f64::from(tracked.radius.p95_km) * slack).max(FLOOR_KM) + 3.0 * receiver_km;
        if distance_km <= limit { Verdict::Agree } else { Verdict::Disagree }
    }
}

#[cfg(test)]
mod tests {
    use homing_models::{Candidate, CellId, LatLon, Radius};

    use super::*;

    fn home() -> LatLon {
        LatLon::new(48.0, 11.0).unwrap()
    }

    fn tracked(p95_km: f32) -> Tracked {
        let position = home();
        let candidate = Candidate { cell: CellId(0), probability: 1.0, weight: 1.0, position, prototype: None };
        Tracked { position, radius: Radius { p50_km: p95_km / 5.0, p95_km }, candidate, support: 1 }
    }

    fn gnss(km: f64) -> GnssFix {
        GnssFix { position: home().destination(70.0, km), accuracy_m: Some(4.0) }
    }

    #[test]
    fn the_four_verdicts() {
        let first = |g: Option<GnssFix>, t: Option<Tracked>| Compare::new().push(g.as_ref(), t.as_ref()).verdict;
        assert_eq!(first(Some(gnss(99.0)), Some(tracked(100.0))), Verdict::Agree);
        assert_eq!(first(Some(gnss(101.0)), Some(tracked(100.0))), Verdict::Disagree);
        assert_eq!(first(None, Some(tracked(100.0))), Verdict::GpsAbsent);
        assert_eq!(first(None, None), Verdict::GpsAbsent);
        assert_eq!(first(Some(gnss(1.0)), None), Verdict::VisionUnsure);
        assert_eq!(first(Some(gnss(1.0)), Some(tracked(9000.0))), Verdict::VisionUnsure);
    }

    #[test]
    fn gaps_do_not_hide_a_disagreement_and_do_not_count_as_agreement() {
        let mut c = Compare::new();
        let mut push = |km: Option<f64>| c.push(km.map(gnss).as_ref(), Some(&tracked(100.0))).verdict;
        assert_eq!(push(Some(10.0)), Verdict::Agree);
        // A receiver that lies, and is silent before three lies have come in a row.
        let said: Vec<Verdict> = [Some(900.0), Some(900.0), None, Some(900.0)].map(&mut push).into();
        assert_eq!(said[2..], [Verdict::Agree, Verdict::Disagree]);
        let said: Vec<Verdict> = [Some(10.0), None, Some(10.0), None, Some(10.0), Some(10.0)].map(&mut push).into();
        assert!(said.iter().all(|v| *v == Verdict::Disagree), "no three agreements in a row: {said:?}");
        assert_eq!(push(Some(10.0)), Verdict::Agree);
    }

    #[test]
    fn a_verdict_changes_only_after_three_contrary_fixes_and_gives_its_evidence() {
        let mut c = Compare::new();
        let mut push = |km: Option<f64>| c.push(km.map(gnss).as_ref(), Some(&tracked(100.0)));
        assert_eq!(push(Some(10.0)).verdict, Verdict::Agree);
        assert_eq!(push(Some(2500.0)).verdict, Verdict::Agree);
        assert_eq!(push(Some(10.0)).verdict, Verdict::Agree, "one stray fix is forgotten");
        assert_eq!(push(Some(2500.0)).verdict, Verdict::Agree);
        assert_eq!(push(Some(2500.0)).change, None);
        let third = push(Some(2500.0));
        assert_eq!(third.verdict, Verdict::Disagree);
        let change = third.change.unwrap();
        assert_eq!((change.from, change.to, change.fixes), (Verdict::Agree, Verdict::Disagree, 3));
        assert_eq!(
            change.to_string(),
            "verdict agree -> disagree after 3 fixes: GNSS 2500 km from the estimate, radius 100 km (95 %)"
        );
        for _ in 0..2 {
            assert_eq!(push(None).verdict, Verdict::Disagree);
        }
        assert_eq!(push(None).verdict, Verdict::GpsAbsent);
    }

    #[test]
    fn near_the_rim_agreement_holds_on() {
        let mut c = Compare::new();
        c.push(Some(&gnss(90.0)), Some(&tracked(100.0)));
        for _ in 0..10 {
            assert_eq!(c.push(Some(&gnss(120.0)), Some(&tracked(100.0))).verdict, Verdict::Agree);
        }
        let mut c = Compare::new();
        c.push(Some(&gnss(900.0)), Some(&tracked(100.0)));
        for _ in 0..10 {
            assert_eq!(c.push(Some(&gnss(120.0)), Some(&tracked(100.0))).verdict, Verdict::Disagree);
        }
    }

    /// A vehicle that stands, with estimates of 30 km (95 %) that lie up to 15 km off in all directions, while GNSS is
    /// so many kilometres away. Answers with the verdicts and with the distances at which they changed.
    fn story(away_km: impl Iterator<Item = Option<f64>>) -> (Vec<Verdict>, Vec<f64>) {
        let mut c = Compare::new();
        let (mut verdicts, mut changes) = (Vec::new(), Vec::new());
        for (i, km) in away_km.enumerate() {
            // The golden angle, so that no three estimates in a row lie on one side.
            let position = home().destination(137.508 * i as f64, 5.0 * (i % 4) as f64);
            let compared = c.push(km.map(gnss).as_ref(), Some(&Tracked { position, ..tracked(30.0) }));
            verdicts.push(compared.verdict);
            changes.extend(compared.change.map(|_| km.unwrap_or(f64::NAN)));
        }
        (verdicts, changes)
    }

    #[test]
    fn a_drag_off_is_seen_before_two_radii_and_never_believed_again() {
        for km_per_fix in [0.1, 0.25, 1.0, 3.0] {
            let steps = (200.0 / km_per_fix) as usize;
            let (verdicts, changes) = story((0..=steps).map(|i| Some(i as f64 * km_per_fix)));
            assert_eq!((verdicts[0], verdicts[steps]), (Verdict::Agree, Verdict::Disagree));
            let [km] = changes[..] else { panic!("{km_per_fix} km a fix: changes at {changes:?} km") };
            assert!(km > 15.0 && km < 60.0, "{km_per_fix} km a fix: seen at {km} km");
        }
    }

    #[test]
    fn a_jump_a_loss_and_a_return_take_three_fixes_each() {
        let away = [(10, Some(0.0)), (10, Some(200.0)), (10, None), (10, Some(200.0)), (10, Some(0.0))];
        let (verdicts, changes) = story(away.into_iter().flat_map(|(fixes, km)| std::iter::repeat_n(km, fixes)));
        let stands = [Verdict::Agree, Verdict::Disagree, Verdict::GpsAbsent, Verdict::Disagree, Verdict::Agree];
        for (part, verdicts) in verdicts.chunks(10).enumerate() {
            // The two fixes at a change are still taken for strays.
            let before = stands[part.saturating_sub(1)];
            let expected = [[before; 2].as_slice(), &[stands[part]; 8]].concat();
            assert_eq!(verdicts, expected, "part {part}");
        }
        assert_eq!(changes.len(), 4);
    }
}
