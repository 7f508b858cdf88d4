//! Reads the scores of a source for a chart: every frame in a range of time, reduced to a few points for each label.

use rusqlite::Connection;

use super::{
    chunk::{Chunk, FrameBuffer},
    reduce::{Reduced, Reducer},
    table::{self, Window},
};

/// What is drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// The times of about the first and the last frame, in milliseconds since 1970; `None` if there is no frame.
    pub span: Option<(i64, i64)>,
    /// The points and gaps.
    pub reduced: Reduced,
    /// The number of damaged chunks, which are left out.
    pub damaged: u64,
}

/// The scores of a source in the window: at most `points` for each label that `wants` (label set and label), and at most `most` in all.
///
/// # Errors
/// The file cannot be read.
pub fn chart(
    connection: &Connection,
    source: &str,
    window: Window,
    (points, most): (usize, usize),
    wants: impl Fn(&str, &str) -> bool,
) -> rusqlite::Result<Chart> {
    let Some(span) = table::span(connection, source, window)? else { return Ok(Chart::default()) };
    let mut reducer = Reducer::new(span, points, most);
    let (mut states, mut buffer, mut damaged) = (Vec::new(), FrameBuffer::default(), 0);
    table::chunks::<rusqlite::Error>(connection, source, window, |chunk| {
        let read =
            chunk.and_then(|stored| Ok((Chunk::read(stored.bytes, stored.setup, &mut states)?, stored)));
        let Ok((chunk, stored)) = read else {
            damaged += 1;
            return Ok(());
        };
        reducer.enter(stored.setup, &wants);
        // The frames before the damage, if there is any.
        let read = chunk.frames(&mut buffer, |frame| {
            if window.contains(frame.at) {
                reducer.add(frame);
            }
        });
        damaged += u64::from(read.is_err());
        Ok(())
    })?;
    Ok(Chart { span: Some(span), reduced: reducer.finish(), damaged })
}
