//! What the service remembers: alerts, near misses, scores, pictures and embeddings, in `history.db` in the state folder.
//!
//! The thread `history` is a subscriber of observations: its queue is bounded, and what does not fit is lost and counted. A disk
//! that is full, slow or broken delays neither scoring nor alerts. [`store`] is the file, [`spawn`] starts the thread, `recorders` is what
//! the thread does with each observation, `retention` what it deletes for age and size, [`forget`] what it deletes on request, and
//! `pace` when it commits. Each kind of content has a file of its own here, which owns its tables: a line in [`store::TABLES`] and one in
//! `recorders`.
//!
//! Rules for a table:
//!
//! - Times are INTEGER milliseconds since 1970, UTC, of the capture. Sources, label sets, labels, regions and models are INTEGER
//!   identifiers of the table `names`, which [`store::name_id`] assigns. Blobs contain no such identifiers.
//! - It has a rowid, a column `source`, and an index that begins with its time (of a span: its end).
//! - `CREATE ... IF NOT EXISTS`: the statements run whenever a writer opens the file.
//!
//! [`CatchUp`] embeds stored pictures after a change of the model. A [`Reader`] reads beside the writer, and when no service runs.

pub mod alerts;
mod catch_up;
mod embedded;
pub mod export;
pub mod filter;
pub mod forget;
pub mod inventory;
pub mod marks;
pub mod near_misses;
mod pace;
pub mod pictures;
pub mod recorders;
pub mod rejudge;
mod retention;
#[cfg(test)]
mod samples;
pub mod scores;
pub mod search;
pub mod store;
mod table;
pub mod timeline;
pub mod vectors;
mod writer;

pub use self::{
    catch_up::CatchUp,
    embedded::EmbeddedPicture,
    filter::Filter,
    inventory::Inventory,
    retention::Space,
    store::{Error, History, Reader},
    writer::{Handle, SUBSCRIBER, spawn},
};
