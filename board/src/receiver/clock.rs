//! The time that fixes carry against ours: whether it goes on, stands still or jumps.
//!
//! A receiver whose time jumps has been reset, has a fault of weeks (GPS counts 1024 of them), or is being spoofed.

use std::time::{Duration, Instant};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Differences from here on are jumps. Sentences are up to a second late, and lie in buffers.
const JUMP_MS: i64 = 2500;
/// A jump is told at most so often; each is counted.
const TELL: Duration = Duration::from_secs(60);

/// Milliseconds from one time of day to another, by the nearer way round.
pub(super) fn time_apart(from: i64, to: i64) -> i64 {
    (to - from + DAY / 2).rem_euclid(DAY) - DAY / 2
}

/// What the time of a fix did since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It went on, about as ours did.
    On,
    /// It is that of the last one: another sentence of it, or a repetition.
    Same,
    /// It is a little before the last one's.
    Behind,
    /// It went another way than ours.
    Jumped {
        /// By how many milliseconds more.
        by: i64,
        /// Whether it is long enough since the last jump was told.
        told: bool,
    },
}

/// Follows the time of fixes.
#[derive(Default)]
pub(super) struct Clock {
    last: Option<Last>,
    told: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Last {
    /// Milliseconds since 1970 when dated, else since some midnight.
    ms: i64,
    dated: bool,
    /// When it came.
    at: Instant,
}

impl Clock {
    /// A fix of this time of day, in milliseconds, and of this day, if its sentence has one, came now.
    pub(super) fn step(&mut self, time: i64, day: Option<i64>, now: Instant) -> Step {
        let Some(last) = self.last else {
            let ms = day.unwrap_or_default() * DAY + time;
            self.last = Some(Last { ms, dated: day.is_some(), at: now });
            return Step::On;
        };
        let waited = i64::try_from(now.saturating_duration_since(last.at).as_millis()).unwrap_or(i64::MAX / 4);
        // Without a date whole days cannot be seen, and are taken to be as many as have passed.
        let by = match day.filter(|_| last.dated) {
            Some(day) => day * DAY + time - last.ms - waited,
            None => time_apart((last.ms + waited).rem_euclid(DAY), time),
        };
        let moved = waited + by;
        let ms = day.map_or(last.ms + moved, |day| day * DAY + time);
        let dated = last.dated || day.is_some();
        if moved == 0 {
            // The date may have come with this sentence; when the fix came stays as it is.
            self.last = Some(Last { ms, dated, at: last.at });
            return Step::Same;
        }
        if moved < 0 && by.abs() <= JUMP_MS {
            return Step::Behind;
        }
        self.last = Some(Last { ms, dated, at: now });
        match by.abs() <= JUMP_MS {
            true => Step::On,
            false => Step::Jumped { by, told: self.tells(now) },
        }
    }

    fn tells(&mut self, now: Instant) -> bool {
        let tells = self.told.is_none_or(|t| now.saturating_duration_since(t) >= TELL);
        if tells {
            self.told = Some(now);
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    /// Steps of (seconds of ours, seconds of the fix, day).
    fn steps(of: &[(u64, i64, Option<i64>)]) -> Vec<Step> {
        let (mut clock, start) = (Clock::default(), Instant::now());
        of.iter().map(|(ours, time, day)| clock.step(time * SECOND, *day, start + Duration::from_secs(*ours))).collect()
    }

    #[test]
    fn on_over_midnight_and_through_hours_without_a_fix() {
        let last = DAY / SECOND - 1;
        assert_eq!(steps(&[(0, last, None), (1, 0, None), (2, 1, None)]), [Step::On; 3]);
        // The sentence with the date is the second of the new day.
        assert_eq!(
            steps(&[(0, last, Some(7)), (1, 0, None), (1, 0, Some(8)), (2, 1, Some(8))])[1..],
            [Step::On, Step::Same, Step::On]
        );
        assert_eq!(steps(&[(0, 5, None), (40 * 3600, 5 + 16 * 3600, None)]), [Step::On; 2]);
    }

    #[test]
    fn jumps_are_of_seconds_days_and_weeks() {
        let told = |by, told| Step::Jumped { by, told };
        assert_eq!(steps(&[(0, 10, None), (1, 20, None), (2, 21, None)])[1..], [told(9 * SECOND, true), Step::On]);
        assert_eq!(steps(&[(0, 10, Some(0)), (1, 11, Some(7168))])[1], told(7168 * DAY, true));
        assert_eq!(steps(&[(0, 10, None), (0, 10, Some(20_000)), (1, 11, Some(20_001))])[2], told(DAY, true));
        let often = steps(&[(0, 10, None), (1, 20, None), (2, 10, None), (70, 20, None)]);
        assert_eq!(often[2..], [told(-11 * SECOND, false), told(-58 * SECOND, true)]);
    }

    #[test]
    fn standing_still_is_not_going_on() {
        let still = steps(&[(0, 10, None), (1, 10, None), (9, 10, None), (10, 20, None)]);
        assert_eq!(still[1..], [Step::Same, Step::Same, Step::On]);
        assert_eq!(steps(&[(0, 10, None), (1, 9, None)])[1], Step::Behind);
    }
}
