//! What is known about a model of the reference beside its weights.

use super::config::Section;

/// What is known about a model beside its weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// `config.json`
    pub config: Section<'a>,
    /// Whether the model's tokenizer says where the padding is.
    pub masks_padding: bool,
}
