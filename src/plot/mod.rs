//! Scores over time as a picture: for each label a line with its threshold, its clear level, the spans in which it was raised,
//! and thumbnails of what it saw.
//!
//! [`Timeline`] collects, `chart` decides where everything stands, and `svg` and `html` write it down. It refuses to look
//! at a clock, to load anything from elsewhere (an HTML file works offline), and to draw every frame of a long day: what falls
//! into one column is drawn as the range of its scores.

mod chart;
mod html;
mod svg;
mod timeline;

use std::{fs, path::Path, str::FromStr};

use anyhow::{Context, Result};

pub use self::{
    html::{document, section},
    svg::escaped,
    timeline::{Peak, Point, Timeline, Track},
};

/// A file that a plot is written to; its name says in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    path: std::path::PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Svg,
    Html,
}

impl FromStr for File {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let extension = Path::new(path).extension().map(|kind| kind.to_string_lossy().to_lowercase());
        let form = match extension.as_deref() {
            Some("svg") => Form::Svg,
            Some("html" | "htm") => Form::Html,
            _ => return Err("the name of a plot ends in .svg or .html".to_owned()),
        };
        Ok(Self { path: path.into(), form })
    }
}

impl File {
    /// Draws `timeline`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, timeline: &Timeline) -> Result<()> {
        let text = match self.form {
            Form::Svg => svg::file(&chart::whole(timeline)),
            Form::Html => html::page(timeline),
        };
        fs::write(&self.path, text).with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// A picture for an HTML page that needs no other file.
#[must_use]
pub fn data_uri(jpeg: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
}

#[cfg(test)]
mod tests;
