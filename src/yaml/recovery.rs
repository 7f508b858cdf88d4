//! Ways to read the rest of a file after a place that is no YAML: by a small repair, or without the entry around that place.

use super::{
    edits::{Edit, Loss},
    lines::{Block, blocks_around, key, key_without_colon, line, start_of_line},
    syntax::Fault,
};

/// What to change in `text` so that it can be read, the smallest loss first.
pub fn ways(text: &str, fault: &Fault) -> Vec<Vec<Edit>> {
    let blocks = blocks_around(text, fault.mistake.span.start);
    let losses = blocks.iter().flat_map(|block| [without_value(text, block), Some(without(block))]);
    fault.repairs.iter().cloned().chain(losses.flatten().map(|edit| vec![edit])).collect()
}

/// The entry with its key and no value, or the item of a list without its content.
fn without_value(text: &str, block: &Block) -> Option<Edit> {
    let range = block.range.clone();
    let words = &line(text, start_of_line(text, range.start))[block.column..];
    let (with, names) = match key(words).or_else(|| Some(key_without_colon(words)?.0)) {
        _ if words.starts_with("- ") => ("- ~".to_owned(), true),
        Some(key) => (format!("{key}: ~"), false),
        None => return None,
    };
    Some(Edit { range: range.clone(), with, loss: Some(Loss { range, names }) })
}

/// Nothing of the block.
fn without(block: &Block) -> Edit {
    let range = block.range.clone();
    Edit { range: range.clone(), with: String::new(), loss: Some(Loss { range, names: true }) }
}
