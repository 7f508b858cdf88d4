//! The settings of a model of the reference.

use super::config::Section;

/// The settings that a graph depends on, beside the weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// `config.json`
    pub config: Section<'a>,
    /// Whether the model's tokenizer says where the padding is.
    pub masks_padding: bool,
}
