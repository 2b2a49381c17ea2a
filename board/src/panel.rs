//! The status lamp and the button of a vehicle: two GPIO lines, each with a thread of its own.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::BoardError;

/// What the lamp says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Dark: the program does not run.
    #[default]
    Off,
    /// Steady: GPS and cameras agree.
    Agree,
    /// Flickers, five times a second: GPS and cameras disagree.
    Disagree,
    /// Slow, a second on and a second off: no GPS, the cameras lead.
    Absent,
    /// Two flashes every two seconds: the cameras give no estimate.
    NoEstimate,
}

impl Signal {
    /// On and off in turn, beginning with on, in milliseconds, again and again. Steady ones are empty.
    fn pattern(self) -> &'static [u64] {
        match self {
            Signal::Off | Signal::Agree => &[],
            Signal::Disagree => &[100, 100],
            Signal::Absent => &[1000, 1000],
            Signal::NoEstimate => &[100, 150, 100, 1650],
        }
    }
}

/// A status lamp.
pub trait Lamp {
    /// Changes what the lamp says; returns at once. Returns what went wrong since last called, once per change.
    ///
    /// # Errors
    /// When the lamp's line could not be switched. It is tried again.
    fn say(&mut self, signal: Signal) -> Result<(), BoardError>;
}

/// A button.
pub trait Button {
    /// Whether the button was pressed since last asked; returns at once. A button that is held was pressed once.
    ///
    /// # Errors
    /// When the button's line could not be read since last asked, once per change. It is tried again.
    fn pressed(&mut self) -> Result<bool, BoardError>;
}

/// The lamp and the button that a board has.
#[derive(Default)]
pub struct Panel {
    /// The status lamp.
    pub lamp: Option<Box<dyn Lamp>>,
    /// The button.
    pub button: Option<Box<dyn Button>>,
}

/// Switches a line; `true` lights the lamp. Errors are words for people.
pub type Switch = Box<dyn FnMut(bool) -> Result<(), String> + Send>;
/// Reads a line; `true` while the button is held down. Errors are words for people.
pub type Contact = Box<dyn FnMut() -> Result<bool, String> + Send>;

/// How long the end of the program waits for the lamp to be dark.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often the button is read. Contacts bounce for 20 ms at most.
const SAMPLE: Duration = Duration::from_millis(10);
/// So many readings alike make a press.
const ALIKE: u8 = 3;

/// Words that were not told yet, and those that were told last.
#[derive(Default)]
struct Trouble {
    told: Option<String>,
    untold: Option<String>,
}

impl Trouble {
    fn note<T>(&mut self, outcome: Result<T, String>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.told = None;
                Some(value)
            }
            Err(words) => {
                if self.told.as_ref() != Some(&words) {
                    self.told = Some(words.clone());
                    self.untold = Some(words);
                }
                None
            }
        }
    }

    fn tell(&mut self, part: &str) -> Result<(), BoardError> {
        match self.untold.take() {
            None => Ok(()),
            Some(cause) => Err(BoardError::Part { part: part.to_owned(), cause }),
        }
    }
}

/// A lamp on a line that can be switched. Dark when dropped.
pub struct BlinkingLamp(Arc<LampShared>);

struct LampShared {
    state: Mutex<LampState>,
    changed: Condvar,
}

#[derive(Default)]
struct LampState {
    signal: Signal,
    trouble: Trouble,
    closing: bool,
    dark: bool,
}

impl LampShared {
    fn lock(&self) -> MutexGuard<'_, LampState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlinkingLamp {
    /// Starts the lamp's thread, with the lamp dark.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(switch: Switch) -> Result<Self, BoardError> {
        let shared = Arc::new(LampShared { state: Mutex::default(), changed: Condvar::new() });
        let worker = Arc::clone(&shared);
        spawn("lamp", move || blink(&worker, switch))?;
        Ok(BlinkingLamp(shared))
    }
}

impl Lamp for BlinkingLamp {
    fn say(&mut self, signal: Signal) -> Result<(), BoardError> {
        let mut state = self.0.lock();
        if state.signal != signal {
            state.signal = signal;
            self.0.changed.notify_all();
        }
        state.trouble.tell("lamp")
    }
}

impl Drop for BlinkingLamp {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closing = true;
        self.0.changed.notify_all();
        drop(self.0.changed.wait_timeout_while(state, FAREWELL, |s| !s.dark));
    }
}

fn blink(shared: &LampShared, mut switch: Switch) {
    /// A line that failed is tried again.
    const AGAIN: Duration = Duration::from_secs(1);
    let mut state = shared.lock();
    let (mut signal, mut step) = (state.signal, 0);
    while !state.closing {
        if state.signal != signal {
            (signal, step) = (state.signal, 0);
        }
        // The line may be slow: nobody waits for it.
        drop(state);
        let pattern = signal.pattern();
        let outcome = switch(signal != Signal::Off && step % 2 == 0);
        state = shared.lock();
        let works = state.trouble.note(outcome).is_some();
        let pause = match (pattern.get(step), works) {
            (Some(ms), true) => Some(Duration::from_millis(*ms)),
            (None, true) => None,
            (_, false) => Some(AGAIN),
        };
        step = if pattern.is_empty() { 0 } else { (step + 1) % pattern.len() };
        let unchanged = |s: &mut LampState| !s.closing && s.signal == signal;
        state = match pause {
            Some(pause) => {
                let waited = shared.changed.wait_timeout_while(state, pause, unchanged);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.changed.wait_while(state, unchanged).unwrap_or_else(PoisonError::into_inner),
        };
    }
    drop(state);
    // Nobody is left to be told.
    let _ = switch(false);
    shared.lock().dark = true;
    shared.changed.notify_all();
}

/// A button on a line that can be read.
pub struct PolledButton(Arc<ButtonShared>);

#[derive(Default)]
struct ButtonShared {
    pressed: AtomicBool,
    closing: AtomicBool,
    trouble: Mutex<Trouble>,
}

impl ButtonShared {
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PolledButton {
    /// Starts the thread that watches the button. One that is held down already was not pressed.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(mut contact: Contact) -> Result<Self, BoardError> {
        let shared = Arc::new(ButtonShared::default());
        let worker = Arc::clone(&shared);
        spawn("button", move || {
            let mut debounce = Debounce::default();
            while !worker.closing.load(Ordering::Relaxed) {
                let reading = contact();
                if let Some(down) = worker.trouble().note(reading)
                    && debounce.pressed(down)
                {
                    worker.pressed.store(true, Ordering::Relaxed);
                }
                thread::sleep(SAMPLE);
            }
        })?;
        Ok(PolledButton(shared))
    }
}

impl Button for PolledButton {
    fn pressed(&mut self) -> Result<bool, BoardError> {
        self.0.trouble().tell("button")?;
        Ok(self.0.pressed.swap(false, Ordering::Relaxed))
    }
}

impl Drop for PolledButton {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }
}

/// Makes presses of readings: contacts open and close several times when they are moved.
#[derive(Default)]
struct Debounce {
    /// What the button is, once it was read often enough.
    down: Option<bool>,
    last: bool,
    alike: u8,
}

impl Debounce {
    /// Takes one reading; `true` at the one that makes a press.
    fn pressed(&mut self, down: bool) -> bool {
        self.alike = if down == self.last { self.alike.saturating_add(1) } else { 1 };
        self.last = down;
        if self.alike < ALIKE || self.down == Some(down) {
            return false;
        }
        let before = self.down.replace(down);
        down && before == Some(false)
    }
}

fn spawn(part: &str, work: impl FnOnce() + Send + 'static) -> Result<(), BoardError> {
    match thread::Builder::new().name(part.to_owned()).spawn(work) {
        Ok(_) => Ok(()),
        Err(e) => Err(BoardError::Part { part: part.to_owned(), cause: format!("no thread: {e}") }),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, channel},
        time::Instant,
    };

    use super::*;

    fn lamp() -> (BlinkingLamp, Receiver<(bool, Instant)>) {
        let (switched, switches) = channel();
        let lamp = BlinkingLamp::new(Box::new(move |on| {
            let _ = switched.send((on, Instant::now()));
            Ok(())
        }));
        (lamp.unwrap(), switches)
    }

    fn next<T>(from: &Receiver<T>) -> T {
        from.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn displays_lamp_blinks_as_the_signal_says() {
        let (mut lamp, switches) = lamp();
        assert!(!next(&switches).0, "dark at first");
        lamp.say(Signal::Agree).unwrap();
        assert!(next(&switches).0);
        lamp.say(Signal::Agree).unwrap();
        assert!(switches.recv_timeout(Duration::from_millis(50)).is_err(), "steady");
        lamp.say(Signal::NoEstimate).unwrap();
        let seen: Vec<_> = (0..5).map(|_| next(&switches)).collect();
        assert_eq!(seen.iter().map(|s| s.0).collect::<Vec<_>>(), [true, false, true, false, true]);
        for (pair, least) in seen.windows(2).zip([100, 150, 100, 1650]) {
            assert!(pair[1].1 - pair[0].1 >= Duration::from_millis(least));
        }
        // A change does not wait for the rest of the pattern, here the long dark one.
        assert_eq!([0; 3].map(|_| next(&switches).0), [false, true, false]);
        let started = Instant::now();
        lamp.say(Signal::Absent).unwrap();
        assert!(next(&switches).0);
        assert!(started.elapsed() < Duration::from_millis(1500));
        lamp.say(Signal::Disagree).unwrap();
        assert!(next(&switches).0, "each begins with on");
        drop(lamp);
        assert!(!switches.iter().last().unwrap().0, "dark in the end");
    }

    #[test]
    fn displays_lamp_that_fails_is_told_about_once() {
        let (tried, tries) = channel();
        let mut lamp = BlinkingLamp::new(Box::new(move |on| {
            let _ = tried.send(on);
            Err("line 17 is in use".to_owned())
        }))
        .unwrap();
        next(&tries);
        let signals = [Signal::Agree, Signal::Disagree, Signal::Absent];
        let mut errors = Vec::new();
        for signal in signals {
            errors.extend(lamp.say(signal).err().map(|e| e.to_string()));
            next(&tries);
        }
        errors.extend(lamp.say(Signal::Absent).err().map(|e| e.to_string()));
        assert_eq!(errors, ["lamp: line 17 is in use"]);
    }

    #[test]
    fn displays_lamp_that_hangs_delays_nobody() {
        let (release, released) = channel::<()>();
        let mut lamp = BlinkingLamp::new(Box::new(move |_| {
            let _ = released.recv();
            Ok(())
        }))
        .unwrap();
        let started = Instant::now();
        for _ in 0..100 {
            lamp.say(Signal::Agree).unwrap();
            lamp.say(Signal::Disagree).unwrap();
        }
        drop(lamp);
        assert!(started.elapsed() < Duration::from_secs(2));
        drop(release);
    }

    #[test]
    fn displays_button_counts_presses_not_bounces() {
        let presses = |readings: &str| {
            let mut debounce = Debounce::default();
            readings.chars().filter(|r| debounce.pressed(*r == '#')).count()
        };
        assert_eq!(presses("....####...."), 1);
        assert_eq!(presses("....#.#.##.######.#.#...."), 1, "bounces");
        assert_eq!(presses("...##....#...##..."), 0, "too short");
        assert_eq!(presses("...####...####..."), 2);
        assert_eq!(presses("########"), 0, "held from the start");
        assert_eq!(presses("######...####"), 1);
    }

    #[test]
    fn displays_button_remembers_a_press_until_asked() {
        let down = Arc::new(Mutex::new(Ok(false)));
        let (read, reads) = channel();
        let line = Arc::clone(&down);
        let mut button = PolledButton::new(Box::new(move || {
            let _ = read.send(());
            line.lock().unwrap().clone()
        }))
        .unwrap();
        let settle = || (0..6).for_each(|_| next(&reads));
        let settle = || {
            while reads.try_recv().is_ok() {}
            settle();
        };
        let set = |reading: Result<bool, &str>| *down.lock().unwrap() = reading.map_err(str::to_owned);
        settle();
        assert!(!button.pressed().unwrap());
        set(Ok(true));
        settle();
        set(Ok(false));
        settle();
        assert!(button.pressed().unwrap());
        assert!(!button.pressed().unwrap());
        set(Err("gone"));
        settle();
        assert_eq!(button.pressed().unwrap_err().to_string(), "button: gone");
        settle();
        assert!(!button.pressed().unwrap(), "the same failure is not told twice");
        drop(button);
    }
}
