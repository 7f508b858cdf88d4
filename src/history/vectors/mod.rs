//! The embeddings of scored frames, packed for searching. They are kept only with `history: { search: true }`.
//!
//! The vectors of one view (a source, or a region of it), one model and one day are a chunk of at most 4,096. A chunk has a centre:
//! the average of the view's vectors before it. Each vector is stored as its difference from the centre ([`codec`]), after a fixed
//! rotation ([`rotation`]):
//!
//! - as a row with 8 bits for each dimension, which is written with the frame. It serves for exact scores.
//! - as one bit for each dimension in a block. The first pass of a search reads blocks only. 256 rows are packed into a block, and
//!   all blocks of a chunk into one when it is complete, so that little is written more than once. A search reads rows that are in
//!   no block yet.
//!
//! A frame that shows the same picture as the frame before it, which has the same embedding, only makes the span of its row longer.
//!
//! Forgetting deletes rows, takes their bits out of blocks, and deletes chunks without rows.

pub mod codec;
mod forget;
pub mod read;
mod recorder;
pub mod rotation;
pub mod series;
pub mod tables;

pub use forget::forget;
pub use recorder::Recorder;

use super::table::{Export, Table, TimeColumns};

/// What retention and forgetting need to know. The other tables belong to rows of this one.
pub const TABLE: Table = Table {
    names: &["region", "model"],
    // Each has thousands of vectors.
    step: 2,
    forget: Some(forget),
    export: Export::Nothing,
    ..Table::new(tables::NAME, tables::CREATE, TimeColumns::Span { first: "first", last: "last" })
};
