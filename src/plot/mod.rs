//! Plots of scores over time, as SVG or HTML: for each label its scores, threshold, clear level, raised spans and thumbnails.
//!
//! `chart` lays out a [`Timeline`], and `svg` and `html` write it. An HTML file works offline, and has the look and the charts of the
//! console. A long day is not drawn frame by frame: a column shows the range of its scores.

mod chart;
mod html;
mod svg;

use std::{fs, path::Path, str::FromStr};

use anyhow::{Context, Result};

pub use self::{
    html::{card, document, graph, id, thumbnails},
    svg::escaped,
};
use crate::replay::Timeline;

/// A file to write a plot to; its extension selects the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    path: std::path::PathBuf,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Svg,
    Html,
}

impl FromStr for File {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let extension = Path::new(path).extension().map(|kind| kind.to_string_lossy().to_lowercase());
        let format = match extension.as_deref() {
            Some("svg") => Format::Svg,
            Some("html" | "htm") => Format::Html,
            _ => return Err("the name of a plot ends in .svg or .html".to_owned()),
        };
        Ok(Self { path: path.into(), format })
    }
}

impl File {
    /// Draws `timeline`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, timeline: &Timeline) -> Result<()> {
        let text = match self.format {
            Format::Svg => chart::whole(timeline).file(),
            Format::Html => html::page(timeline),
        };
        fs::write(&self.path, text).with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

#[cfg(test)]
mod tests;
