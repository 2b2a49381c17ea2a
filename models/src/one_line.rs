//! An error and its causes as one line for people.

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
}
