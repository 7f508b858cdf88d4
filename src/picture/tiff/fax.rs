//! Fax compression: modified Huffman rows, group 3 and group 4. The code tables are those of the `fax` crate.
//!
//! Source: ITU-T T.4 and T.6. A run of white is coded as 0 bits.

use std::convert::Infallible;

use fax::{
    BitReader, ByteReader,
    maps::{Mode, black, mode, white},
};

use super::layout::Compression;

/// Decodes rows of `width` pixels into `rows`, one bit a pixel; each row starts at a byte. `None` if a code is invalid or the data
/// end before the last row.
pub(super) fn decode(bytes: &[u8], kind: Compression, width: usize, rows: &mut [u8]) -> Option<()> {
    let width16 = u16::try_from(width).ok()?;
    let source = bytes.iter().map(|byte| Ok::<u8, Infallible>(*byte));
    let mut reader = ByteReader::new(source).ok()?;
    let mut previous = Vec::new();
    for row in rows.chunks_exact_mut(width.div_ceil(8)) {
        let changes = match kind {
            Compression::Fax4 => by_differences(&mut reader, &previous, width16)?,
            Compression::Fax3 { two_dimensional } => {
                skip_to_row(&mut reader);
                if two_dimensional && !take_bit(&mut reader)? {
                    by_differences(&mut reader, &previous, width16)?
                } else {
                    by_runs(&mut reader, width16)?
                }
            }
            _ => {
                let changes = by_runs(&mut reader, width16)?;
                let rest = reader.bits_to_byte_boundary();
                reader.consume(rest).ok()?;
                changes
            }
        };
        paint(row, &changes, width);
        previous = changes;
    }
    Some(())
}

/// Sets the bits of every second run. `changes` are the columns at which the colour changes, starting with white.
fn paint(row: &mut [u8], changes: &[u16], width: usize) {
    for pair in changes.chunks(2) {
        let start = usize::from(pair[0]);
        let end = pair.get(1).map_or(width, |end| usize::from(*end));
        for column in start..end.min(width) {
            row[column / 8] |= 0x80 >> (column % 8);
        }
    }
}

fn take_bit(reader: &mut impl BitReader) -> Option<bool> {
    let bit = reader.peek(1)?;
    reader.consume(1).ok()?;
    Some(bit == 1)
}

/// Skips the mark between two rows, if there is one: eleven zeros or more, and a one.
fn skip_to_row(reader: &mut impl BitReader) {
    if reader.peek(11) != Some(0) {
        return;
    }
    while let Some(bit) = take_bit(reader) {
        if bit {
            return;
        }
    }
}

/// The length of a run: codes of multiples of 64, and one of the rest.
fn run(reader: &mut impl BitReader, is_black: bool) -> Option<u16> {
    let mut length = 0_u16;
    loop {
        let part = if is_black { black::decode(reader) } else { white::decode(reader) }?;
        length = length.checked_add(part)?;
        if part < 64 {
            return Some(length);
        }
    }
}

fn by_runs(reader: &mut impl BitReader, width: u16) -> Option<Vec<u16>> {
    let (mut changes, mut column, mut is_black) = (Vec::new(), 0_u16, false);
    while column < width {
        column = column.checked_add(run(reader, is_black)?)?.min(width);
        if column < width {
            changes.push(column);
        }
        is_black = !is_black;
    }
    Some(changes)
}

/// A row that is coded by its differences to the one above it.
fn by_differences(reader: &mut impl BitReader, above: &[u16], width: u16) -> Option<Vec<u16>> {
    let mut changes = Vec::new();
    let (mut column, mut is_black, mut is_start, mut next) = (0_u16, false, true, 0);
    while column < width {
        // The first change in the row above that is to the right of this column. Every second change is to the opposite colour.
        while above.get(next).is_some_and(|change| *change < column || *change == column && !is_start) {
            next += 1;
        }
        let opposite = if next.is_multiple_of(2) == is_black { next + 1 } else { next };
        let change = |at: usize| above.get(at).copied().unwrap_or(width);
        match mode::decode(reader)? {
            Mode::Pass => column = change(opposite + 1),
            Mode::Vertical(distance) => {
                let place = i32::from(change(opposite)) + i32::from(distance);
                column = u16::try_from(place)
                    .ok()
                    .filter(|place| *place <= width && (is_start || *place >= column))?;
                changes.push(column);
                is_black = !is_black;
            }
            Mode::Horizontal => {
                for colour in [is_black, !is_black] {
                    column = column.checked_add(run(reader, colour)?)?.min(width);
                    changes.push(column);
                }
            }
            Mode::Extension | Mode::EOF => return None,
        }
        is_start = false;
    }
    // A change at the end of the row changes no pixel.
    while changes.last().is_some_and(|change| *change >= width) {
        changes.pop();
    }
    Some(changes)
}
