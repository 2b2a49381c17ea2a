//! A display on a thread of its own, so that a slow, hung or unplugged one never delays a fix.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{BoardError, Display, Screen};

/// Opens a display, and opens it again after it failed. Runs on the display's thread.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Display>, BoardError> + Send>;

/// How a display is driven; tests have shorter times.
#[derive(Clone, Copy)]
struct Pace {
    /// Shortest time from one picture to the next.
    period: Duration,
    /// Waiting time after a first failure; doubled with each further one.
    first_pause: Duration,
    /// Longest waiting time.
    longest_pause: Duration,
    /// A picture that takes longer is told about.
    patience: Duration,
    /// How long the end of the program waits for the last picture.
    farewell: Duration,
}

const PACE: Pace = Pace {
    period: Duration::from_millis(200),
    first_pause: Duration::from_millis(250),
    longest_pause: Duration::from_secs(8),
    patience: Duration::from_secs(5),
    farewell: Duration::from_secs(1),
};

/// Drives any display on a thread, five times a second at most. Screens that come faster are dropped, the newest is
/// kept. [`show`](Display::show) never waits, and returns what went wrong since it was last called, once per change;
/// a display that failed is opened again after 0.25 s, and ever more rarely up to 8 s. Dropping it waits up to 1 s
/// for the last screen.
pub struct Threaded {
    name: String,
    pace: Pace,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The screen to show next.
    newest: Option<Screen>,
    /// What went wrong and nobody was told yet.
    error: Option<BoardError>,
    /// Since when a screen is being shown, and whether somebody was told that it takes long.
    busy: Option<(Instant, bool)>,
    /// No more screens will come.
    closing: bool,
    /// The thread is gone.
    ended: bool,
}

impl Shared {
    /// The state is usable whatever happened to a thread that held it: every change of it is complete.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threaded {
    /// Starts the thread, which opens the display when the first screen comes. `name` is for messages.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(name: &str, open: Opener) -> Result<Self, BoardError> {
        Threaded::paced(name, open, PACE)
    }

    fn paced(name: &str, open: Opener, pace: Pace) -> Result<Self, BoardError> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("display".to_owned())
            // A display lives on its thread only: drivers need not be able to move to another.
            .spawn(move || Worker { shared: theirs, open, pace, display: None }.work())
            .map_err(|e: io::Error| failed(name, format!("no thread: {e}")))?;
        Ok(Threaded { name: name.to_owned(), pace, shared })
    }
}

impl Display for Threaded {
    fn show(&mut self, screen: &Screen) -> Result<(), BoardError> {
        let mut state = self.shared.lock();
        state.newest = Some(screen.clone());
        self.shared.changed.notify_all();
        if let Some(e) = state.error.take() {
            return Err(e);
        }
        match &mut state.busy {
            Some((since, told)) if !*told && since.elapsed() > self.pace.patience => {
                *told = true;
                let seconds = since.elapsed().as_secs_f32();
                Err(failed(&self.name, format!("a picture takes it {seconds:.0} s and is not done; fixes go on")))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.changed.notify_all();
        // A display that hangs is left behind.
        drop(self.shared.changed.wait_timeout_while(state, self.pace.farewell, |s| !s.ended));
    }
}

fn failed(name: &str, cause: String) -> BoardError {
    BoardError::Part { part: name.to_owned(), cause }
}

/// What runs on the thread.
struct Worker {
    shared: Arc<Shared>,
    open: Opener,
    pace: Pace,
    display: Option<Box<dyn Display>>,
}

impl Worker {
    fn work(mut self) {
        let _end = End(Arc::clone(&self.shared));
        let mut not_before = Instant::now();
        let mut pause = self.pace.first_pause;
        // The failure that was told, in words.
        let mut failing: Option<String> = None;
        while let Some(screen) = self.next(not_before, failing.is_some()) {
            let started = Instant::now();
            let shown = self.show(&screen);
            let mut state = self.shared.lock();
            state.busy = None;
            match shown {
                Ok(()) => {
                    failing = None;
                    pause = self.pace.first_pause;
                    not_before = started + self.pace.period;
                }
                Err(e) => {
                    let words = e.to_string();
                    if failing.as_ref() != Some(&words) {
                        state.error = Some(e);
                        failing = Some(words);
                    }
                    // It is due as soon as the display works again, unless a newer one came.
                    state.newest.get_or_insert(screen);
                    drop(state);
                    self.display = None;
                    not_before = Instant::now() + pause;
                    pause = (pause * 2).min(self.pace.longest_pause);
                }
            }
        }
    }

    /// Waits for a screen and its time; `None` at the end.
    fn next(&self, not_before: Instant, failing: bool) -> Option<Screen> {
        let mut state = self.shared.lock();
        loop {
            let early = not_before.saturating_duration_since(Instant::now());
            if state.closing {
                // The last screen is shown at once, but not by a display that is known to fail.
                return state.newest.take().filter(|_| !failing);
            }
            if !early.is_zero() {
                state = self.shared.changed.wait_timeout(state, early).unwrap_or_else(PoisonError::into_inner).0;
            } else if let Some(screen) = state.newest.take() {
                state.busy = Some((Instant::now(), false));
                return Some(screen);
            } else {
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn show(&mut self, screen: &Screen) -> Result<(), BoardError> {
        let display = match &mut self.display {
            Some(display) => display,
            none => none.insert((self.open)()?),
        };
        display.show(screen)
    }
}

/// Says that the thread is gone, even when a driver panicked.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        if !state.closing {
            state.busy = None;
            state.error = Some(failed("display", "its driver broke down; it stays dark until a restart".to_owned()));
        }
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use embedded_graphics::{
        Drawable,
        pixelcolor::BinaryColor,
        prelude::{Pixel, Point},
    };

    use super::*;

    /// What a test's display does with a screen.
    type Showing = Box<dyn FnMut(&Screen) -> Result<(), BoardError> + Send>;

    struct Scripted(Arc<Mutex<Showing>>);

    impl Display for Scripted {
        fn show(&mut self, screen: &Screen) -> Result<(), BoardError> {
            (self.0.lock().unwrap())(screen)
        }
    }

    fn threaded(pace: Pace, showing: Showing) -> Threaded {
        let showing = Arc::new(Mutex::new(showing));
        let open = move || Ok(Box::new(Scripted(Arc::clone(&showing))) as Box<dyn Display>);
        Threaded::paced("display test", Box::new(open), pace).unwrap()
    }

    /// A screen that can be told from others.
    fn numbered(n: u32) -> Screen {
        let mut screen = Screen::new();
        Pixel(Point::new(n as i32, 0), BinaryColor::On).draw(&mut screen).unwrap();
        screen
    }

    fn number(screen: &Screen) -> u32 {
        (0..Screen::WIDTH).find(|x| screen.lit(*x, 0)).unwrap()
    }

    fn next<T>(from: &Receiver<T>) -> T {
        from.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn told(sender: &Sender<u32>, screen: &Screen) {
        let _ = sender.send(number(screen));
    }

    #[test]
    fn a_slow_display_delays_nobody_and_shows_the_newest_last() {
        let (begun, begins) = channel();
        let (done, dones) = channel();
        let mut display = threaded(
            PACE,
            Box::new(move |screen| {
                told(&begun, screen);
                thread::sleep(Duration::from_secs(2));
                told(&done, screen);
                Ok(())
            }),
        );
        display.show(&numbered(0)).unwrap();
        assert_eq!(next(&begins), 0);
        let started = Instant::now();
        for n in 1..=100 {
            display.show(&numbered(n)).unwrap();
        }
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        assert!(dones.try_recv().is_err(), "the first picture is still on its way");
        assert_eq!((next(&dones), next(&begins), next(&dones)), (0, 100, 100));
    }

    #[test]
    fn a_display_that_hangs_is_told_about_once_and_left_behind() {
        let (release, released) = channel::<()>();
        let pace = Pace { patience: Duration::from_millis(30), farewell: Duration::from_millis(100), ..PACE };
        let mut display = threaded(
            pace,
            Box::new(move |_| {
                let _ = released.recv();
                Ok(())
            }),
        );
        let started = Instant::now();
        let mut errors = Vec::new();
        for n in 0..20 {
            errors.extend(display.show(&numbered(n)).err().map(|e| e.to_string()));
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("display test: a picture takes it"), "{}", errors[0]);
        drop(display);
        assert!(started.elapsed() < Duration::from_secs(5));
        drop(release);
    }

    #[test]
    fn pictures_keep_their_distance() {
        let (begun, begins) = channel();
        let pace = Pace { period: Duration::from_millis(100), ..PACE };
        let mut display = threaded(
            pace,
            Box::new(move |_| {
                let _ = begun.send(Instant::now());
                Ok(())
            }),
        );
        let started = Instant::now();
        for n in 0..30 {
            display.show(&numbered(n)).unwrap();
            thread::sleep(Duration::from_millis(10));
        }
        let most = started.elapsed().as_millis() / 100 + 2;
        drop(display);
        let times: Vec<_> = begins.iter().collect();
        assert!(times.len() >= 2 && times.len() as u128 <= most, "{} of {most}", times.len());
        // The last one comes when the program ends.
        assert!(times.windows(2).rev().skip(1).all(|t| t[1] - t[0] >= pace.period));
    }

    #[test]
    fn errors_come_once_per_change_and_the_display_is_opened_again() {
        let (opened, opens) = channel();
        let (shown, shows) = channel();
        let shown = Arc::new(Mutex::new(shown));
        let mut tries = 0;
        let open = move || {
            tries += 1;
            let _ = opened.send((tries, Instant::now()));
            match tries {
                1..=4 => Err(failed("display test", "no bus".to_owned())),
                5 => Err(failed("display test", "nothing answers".to_owned())),
                _ => {
                    let shown = Arc::clone(&shown);
                    let showing: Showing = Box::new(move |screen| {
                        told(&shown.lock().unwrap(), screen);
                        Ok(())
                    });
                    Ok(Box::new(Scripted(Arc::new(Mutex::new(showing)))) as Box<dyn Display>)
                }
            }
        };
        let pace = Pace {
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(40),
            period: Duration::ZERO,
            ..PACE
        };
        let mut display = Threaded::paced("display test", Box::new(open), pace).unwrap();
        let mut errors = Vec::new();
        let mut n = 0;
        // One picture is enough: it is kept until the display works.
        display.show(&numbered(n)).unwrap();
        let times: Vec<Instant> = (1..=6)
            .map(|i| {
                let (tries, at) = next(&opens);
                assert_eq!(tries, i);
                at
            })
            .collect();
        let pauses: Vec<Duration> = times.windows(2).map(|t| t[1] - t[0]).collect();
        for (pause, least) in pauses.iter().zip([10, 20, 40, 40, 40]) {
            assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
        }
        assert_eq!(next(&shows), 0);
        for _ in 0..3 {
            n += 1;
            errors.extend(display.show(&numbered(n)).err().map(|e| e.to_string()));
        }
        // The first words were replaced by newer ones before anybody asked.
        assert_eq!(errors, ["display test: nothing answers"]);
        drop(display);
        assert_eq!(shows.iter().last(), Some(n));
        assert!(opens.try_recv().is_err(), "a display that works is not opened again");
    }

    #[test]
    fn the_same_failure_is_not_told_twice() {
        let pace = Pace {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(1),
            period: Duration::ZERO,
            ..PACE
        };
        let (failed_at, failures) = channel();
        let mut display = threaded(
            pace,
            Box::new(move |screen| {
                told(&failed_at, screen);
                Err(failed("display test", "unplugged".to_owned()))
            }),
        );
        let mut errors = Vec::new();
        for n in 0..10 {
            errors.extend(display.show(&numbered(n)).err());
            next(&failures);
            next(&failures);
        }
        assert_eq!(errors.len(), 1);
        let started = Instant::now();
        drop(display);
        assert!(started.elapsed() < PACE.farewell, "a display that fails is not waited for");
    }

    #[test]
    fn a_driver_that_panics_is_told_about() {
        let mut display = threaded(PACE, Box::new(|_| panic!("a test's driver breaks down")));
        let _ = display.show(&numbered(0));
        let started = Instant::now();
        let e = loop {
            assert!(started.elapsed() < Duration::from_secs(20));
            if let Err(e) = display.show(&numbered(1)) {
                break e.to_string();
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert!(e.contains("broke down"), "{e}");
        assert!(display.show(&numbered(2)).is_ok());
    }
}
