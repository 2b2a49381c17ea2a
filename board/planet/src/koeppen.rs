//! Koeppen climate zones from twelve months of temperature and precipitation.

/// A Koeppen-Geiger climate zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Koeppen(u8);

impl Koeppen {
    /// Codes of the 30 zones in index order.
    pub const CODES: [&'static str; 30] = homing_models::sites::KOEPPEN;

    /// 0..30, the order of [`Koeppen::CODES`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// The zone of a code such as "Cfb".
    pub fn from_code(code: &str) -> Option<Self> {
        Self::CODES.iter().position(|c| *c == code).map(|i| Koeppen(i as u8))
    }

    /// "Cfb".
    pub fn code(self) -> &'static str {
        Self::CODES[self.index()]
    }

    /// Main group, 'A' to 'E'.
    pub fn group(self) -> char {
        self.code().as_bytes()[0].into()
    }

    /// The rules of Peel, Finlayson and McMahon (2007), Table 1, with their 0 degrees between C and D, from monthly
    /// means in degrees Celsius and mm a day. Dryness is asked first, except in polar climates.
    pub fn of(temperature_c: &[f32; 12], precipitation_mm_day: &[f32; 12]) -> Self {
        let t = temperature_c;
        // Millimetres a month.
        let p = precipitation_mm_day.map(|v| v * 365.25 / 12.0);
        let mean = t.iter().sum::<f32>() / 12.0;
        let total: f32 = p.iter().sum();
        let hottest = t.iter().copied().fold(f32::MIN, f32::max);
        let coldest = t.iter().copied().fold(f32::MAX, f32::min);
        if hottest < 10.0 {
            return Koeppen(if hottest > 0.0 { 28 } else { 29 });
        }
        // Summer is the warmer of the half years April-September and October-March.
        let northern = 2.0 * t[3..9].iter().sum::<f32>() >= t.iter().sum::<f32>();
        let is_summer = |m: usize| (3..9).contains(&m) == northern;
        let of = |summer: bool| p.iter().enumerate().filter(move |(m, _)| is_summer(*m) == summer).map(|(_, &v)| v);
        let summer_total: f32 = of(true).sum();
        let offset = if summer_total >= 0.7 * total {
            28.0
        } else if total - summer_total >= 0.7 * total {
            0.0
        } else {
            14.0
        };
        let threshold = 2.0 * mean + offset;
        if total < 10.0 * threshold {
            let steppe = total >= 5.0 * threshold;
            return Koeppen(3 + 2 * u8::from(steppe) + u8::from(mean < 18.0));
        }
        let driest = p.iter().copied().fold(f32::MAX, f32::min);
        if coldest >= 18.0 {
            return Koeppen(if driest >= 60.0 {
                0
            } else if driest >= 100.0 - total / 25.0 {
                1
            } else {
                2
            });
        }
        let (low, high) = (|s| of(s).fold(f32::MAX, f32::min), |s| of(s).fold(f32::MIN, f32::max));
        let dry_summer = low(true) < 40.0 && low(true) < high(false) / 3.0;
        let dry_winter = low(false) < high(true) / 10.0;
        // Where both hold, the wetter half year decides.
        let season = match (dry_summer, dry_winter) {
            (true, true) => u8::from(summer_total >= total / 2.0),
            (true, false) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        let warm_months = t.iter().filter(|&&v| v >= 10.0).count();
        let heat = if hottest >= 22.0 {
            0
        } else if warm_months >= 4 {
            1
        } else {
            2
        };
        if coldest > 0.0 {
            Koeppen(7 + 3 * season + heat)
        } else {
            Koeppen(16 + 4 * season + if heat == 2 && coldest < -38.0 { 3 } else { heat })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Koeppen;

    /// Zone of a climate given by station normals (degrees Celsius, mm a month).
    fn zone(t: [f32; 12], mm: [f32; 12]) -> &'static str {
        Koeppen::of(&t, &mm.map(|v| v * 12.0 / 365.25)).code()
    }

    #[test]
    fn station_normals_give_the_known_zones() {
        let london = [5.2, 5.3, 7.6, 9.9, 13.3, 16.4, 18.7, 18.5, 15.7, 12.0, 8.0, 5.5];
        assert_eq!(zone(london, [55., 41., 42., 44., 49., 45., 45., 50., 49., 69., 59., 55.]), "Cfb");
        let cairo = [14., 15., 17.5, 21.5, 25., 27.5, 28., 28., 26., 24., 19., 15.];
        assert_eq!(zone(cairo, [5., 4., 4., 1., 0., 0., 0., 0., 0., 1., 4., 6.]), "BWh");
        assert_eq!(zone([27.0; 12], [170., 110., 170., 155., 170., 135., 155., 155., 160., 155., 255., 330.]), "Af");
        let mumbai = [24., 25., 27., 29., 30., 29., 28., 27., 28., 28., 27., 25.];
        assert_eq!(zone(mumbai, [0., 0., 0., 0., 12., 520., 840., 560., 340., 80., 15., 4.]), "Aw");
        let moscow = [-6.2, -5.9, -0.7, 6.9, 13.6, 17.3, 19.7, 17.6, 11.9, 5.8, -0.5, -4.4];
        assert_eq!(zone(moscow, [53., 44., 39., 37., 61., 78., 84., 78., 66., 70., 52., 51.]), "Dfb");
        let seoul = [-2.0, 0.7, 6.1, 12.6, 18.2, 22.7, 25.3, 26.1, 21.6, 15.0, 7.5, 0.2];
        assert_eq!(zone(seoul, [17., 28., 37., 73., 104., 130., 414., 348., 142., 52., 51., 23.]), "Dwa");
        let rome = [7.5, 8., 11., 14., 18.5, 22.5, 25., 25., 21.5, 17., 12., 8.5];
        assert_eq!(zone(rome, [67., 73., 58., 81., 53., 34., 19., 37., 73., 113., 115., 81.]), "Csa");
        assert_eq!(zone([-28., -29., -28., -18., -7., -1., 1., 0., -5., -14., -22., -26.], [10.0; 12]), "ET");
    }

    #[test]
    fn codes_round_trip() {
        for (i, code) in Koeppen::CODES.iter().enumerate() {
            assert_eq!(Koeppen::from_code(code).unwrap().index(), i);
        }
        assert_eq!(Koeppen::from_code("Xyz"), None);
    }
}
