//! Turns the configuration of Frigate or go2rtc into one of this program: cameras, broker, zones, masks, and what is watched for. What has
//! no counterpart is reported with its line.
//!
//! Pure: text goes in, a [`Draft`](crate::config::draft::Draft) and a report come out. `frigate` and `go2rtc` read the two formats;
//! `shapes`, `streams` and `words` translate coordinates, addresses and names of objects.

mod document;
mod frigate;
mod go2rtc;
mod report;
mod shapes;
mod streams;
mod words;

pub use self::report::{Imported, Note, Options};
use self::{document::Document, report::Report};

/// Why nothing is imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The text is no YAML.
    #[error("line {line}: {message}")]
    NotYaml {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It is neither format.
    #[error(
        "this is a configuration of neither Frigate (which has `cameras`) nor go2rtc (which has `streams`)"
    )]
    Unknown,
}

/// The program that a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Frigate.
    Frigate,
    /// go2rtc.
    Go2rtc,
}

/// Imports a configuration.
///
/// # Errors
/// The text is no YAML, or no configuration of Frigate or go2rtc.
pub fn import(text: &str, options: &Options) -> Result<(Origin, Imported), ImportError> {
    let mut report = Report::default();
    let document = Document::parse(text, &mut report)
        .map_err(|(line, message)| ImportError::NotYaml { line, message })?;
    let root = document.root();
    let (origin, draft) = if root.get("cameras").is_some() {
        (Origin::Frigate, frigate::read(root, options, &mut report))
    } else if root.get("streams").is_some() {
        (Origin::Go2rtc, go2rtc::read(root, options, &mut report))
    } else {
        return Err(ImportError::Unknown);
    };
    Ok((origin, Imported { draft, notes: report.into_notes() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_two_formats_are_imported() {
        let error = |text: &str| import(text, &Options::default()).unwrap_err();
        assert_eq!(error("a: 1\n"), ImportError::Unknown);
        assert_eq!(error(""), ImportError::Unknown);
        assert!(matches!(error("a: 1\nb: [\n"), ImportError::NotYaml { .. }));
        let origin = |text: &str| import(text, &Options::default()).unwrap().0;
        assert_eq!(origin("cameras: {}\n"), Origin::Frigate);
        assert_eq!(origin("streams: {}\n"), Origin::Go2rtc);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(cameras|streams):\n([ a-z{}:\\[\\],.#0-9/\n-]{0,120})") {
            let _ = import(&text, &Options::default());
        }
    }
}
