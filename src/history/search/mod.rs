//! Finds stored frames by words or by a picture.
//!
//! A search is two passes over the vectors of a model. The first one estimates the similarity of the query and every vector from
//! one bit for each dimension ([`query`]), and keeps the best moments ([`candidates`]). The second one computes the similarity of
//! these from 8 bits, the best first, until no other one can be among the results. Results are ranked by lift over what is usual for
//! the camera ([`baseline`]), and frames of the same event are one result ([`events`]). These modules are pure. `run`, `views` and
//! `rescore` read the file and use them.

pub mod baseline;
pub mod candidates;
pub mod events;
pub mod query;
mod rescore;
mod run;
mod views;

pub use run::{Found, Match, Search, SearchError, search};

#[cfg(test)]
mod tests;
