//! An error and its causes, or a panic, as one line for people.

use std::any::Any;
use std::error::Error;

/// The error, then what caused it, each said once and without line ends. An error whose own text quotes its cause
/// already is not followed by it again.
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let flat = |e: &dyn Error| e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = flat(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let said = flat(cause);
        if !line.contains(&said) {
            line = format!("{line}: {said}");
        }
        next = cause.source();
    }
    line
}

/// What a panic that was caught said, without line ends.
pub fn panic_line(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no reason given").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("cannot read x: {source}; check the path")]
        Quotes { source: io::Error },
        #[error("no\nmodel")]
        Keeps { source: Box<Layer> },
    }

    #[test]
    fn each_cause_is_said_once() {
        let quotes = || Layer::Quotes { source: io::Error::from_raw_os_error(2) };
        let says = "cannot read x: No such file or directory (os error 2); check the path";
        assert_eq!(one_line(&quotes()), says);
        assert_eq!(one_line(&Layer::Keeps { source: Box::new(quotes()) }), format!("no model: {says}"));
    }
    #[test]
    fn a_panic_is_said_in_its_own_words() {
        let said = |panic: fn()| panic_line(&*std::panic::catch_unwind(panic).unwrap_err());
        assert_eq!(said(|| panic!("no\nend")), "no end");
        assert_eq!(said(|| panic!("{} of 3", 4)), "4 of 3");
        assert_eq!(said(|| std::panic::panic_any(7)), "no reason given");
    }
}
