//! Reads the directories of a TIFF file, and of an EXIF block, which is a small TIFF file.
//!
//! The rules for broken files are those of the reference (Pillow's `ImageFileDirectory_v2`): an entry of an unknown kind, or
//! whose values are outside of the file, does not exist; of two entries with the same tag the first one counts; and a directory
//! that is cut off has the entries before the cut.

use std::collections::BTreeMap;

/// A TIFF file or an EXIF block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiff<'b> {
    bytes: &'b [u8],
    big_endian: bool,
    /// BigTIFF: offsets of 64 bits.
    big: bool,
    /// Where the first directory is.
    first: u64,
}

impl<'b> Tiff<'b> {
    /// `None` if the header is not that of a TIFF file.
    pub(super) fn new(bytes: &'b [u8]) -> Option<Self> {
        let (big_endian, big) = match bytes {
            // The second form of each line is invalid, but some programs write it.
            [b'M', b'M', 0, 42, ..] | [b'M', b'M', 42, 0, ..] => (true, false),
            [b'I', b'I', 42, 0, ..] | [b'I', b'I', 0, 42, ..] => (false, false),
            [b'M', b'M', 0, 43, ..] => (true, true),
            [b'I', b'I', 43, 0, ..] => (false, true),
            _ => return None,
        };
        let file = Self { bytes, big_endian, big, first: 0 };
        let first = if big { file.number(8, 8)? } else { file.number(4, 4)? };
        Some(Self { first, ..file })
    }

    /// The whole file.
    pub(super) fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// All bytes that start at `offset`; `None` if the file ends before.
    pub(super) fn rest(&self, offset: u64) -> Option<&'b [u8]> {
        self.bytes.get(usize::try_from(offset).ok()?..)
    }

    /// The directory of the first picture.
    pub(super) fn first(&self) -> Directory<'b> {
        self.directory(self.first)
    }

    /// The directory at `offset`.
    pub(super) fn directory(&self, offset: u64) -> Directory<'b> {
        let mut entries = BTreeMap::new();
        // The directory ends where the file does.
        let is_cut = self.read(offset, &mut entries).is_none();
        Directory { big_endian: self.big_endian, entries, is_cut }
    }

    fn read(&self, offset: u64, entries: &mut BTreeMap<u16, Entry<'b>>) -> Option<()> {
        let (count_bytes, entry_bytes, inline) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(offset, count_bytes)?;
        let mut at = offset.checked_add(count_bytes as u64)?;
        // The values of one directory are together no longer than the file.
        let mut outside = 0_u64;
        for _ in 0..count {
            // Inside of the file, so no sum below is out of range.
            self.slice(at, entry_bytes)?;
            let (tag, kind) = (self.number(at, 2)? as u16, self.number(at + 2, 2)? as u16);
            let values = self.number(at + 4, inline)?;
            let place = at + 4 + inline as u64;
            at += entry_bytes;
            let Some(size) = size_of(kind) else { continue };
            let Some(length) = values.checked_mul(size) else { continue };
            let data = if length > inline as u64 {
                outside = outside.saturating_add(length);
                if outside > self.bytes.len() as u64 {
                    continue;
                }
                self.number(place, inline).and_then(|offset| self.slice(offset, length))
            } else {
                self.slice(place, length)
            };
            let Some(data) = data.filter(|data| !data.is_empty()) else { continue };
            entries.entry(tag).or_insert(Entry { kind, data });
        }
        Some(())
    }

    /// `length` bytes at `offset`; `None` if the file ends before.
    pub(super) fn slice(&self, offset: u64, length: u64) -> Option<&'b [u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        self.bytes.get(start..end)
    }

    fn number(&self, offset: u64, length: usize) -> Option<u64> {
        Some(unsigned(self.slice(offset, length as u64)?, self.big_endian))
    }
}

/// The tags of one picture and their values.
#[derive(Debug)]
pub(super) struct Directory<'b> {
    big_endian: bool,
    /// By tag.
    entries: BTreeMap<u16, Entry<'b>>,
    is_cut: bool,
}

#[derive(Debug)]
struct Entry<'b> {
    kind: u16,
    data: &'b [u8],
}

impl<'b> Directory<'b> {
    /// Whether the file ends before the directory does.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// The first value of a tag, if it is a number.
    pub(super) fn number(&self, tag: u16) -> Option<f64> {
        self.numbers(tag, 1)?.first().copied()
    }

    /// The first `most` values of a tag that holds numbers of any type.
    pub(super) fn numbers(&self, tag: u16, most: usize) -> Option<Vec<f64>> {
        let entry = self.entry(tag)?;
        let (big, size) = (self.big_endian, usize::try_from(size_of(entry.kind)?).ok()?);
        let number = |bytes: &[u8]| {
            let whole = unsigned(bytes, big);
            Some(match entry.kind {
                3 | 4 | 13 | 16 => whole as f64,
                6 | 8 | 9 => signed(bytes, big) as f64,
                11 => f64::from(f32::from_bits(u32::try_from(whole).ok()?)),
                12 => f64::from_bits(whole),
                5 => unsigned(&bytes[..4], big) as f64 / unsigned(&bytes[4..], big) as f64,
                10 => signed(&bytes[..4], big) as f64 / signed(&bytes[4..], big) as f64,
                _ => return None,
            })
        };
        entry.data.chunks_exact(size).take(most).map(number).collect()
    }

    /// The first `most` values of a tag that holds whole numbers without a sign.
    pub(super) fn whole_numbers(&self, tag: u16, most: usize) -> Option<Vec<u64>> {
        let entry = self.entry(tag)?;
        let size = match entry.kind {
            1 | 3 | 4 | 13 | 16 => usize::try_from(size_of(entry.kind)?).ok()?,
            _ => return None,
        };
        let values = entry.data.chunks_exact(size).take(most);
        Some(values.map(|value| unsigned(value, self.big_endian)).collect())
    }

    /// The first value of such a tag.
    pub(super) fn whole_number(&self, tag: u16) -> Option<u64> {
        self.whole_numbers(tag, 1)?.first().copied()
    }

    /// A text without the zero byte that ends it.
    pub(super) fn text(&self, tag: u16) -> Option<&'b str> {
        let data = self.entry(tag).filter(|entry| entry.kind == 2)?.data;
        std::str::from_utf8(data.split(|byte| *byte == 0).next()?).ok()
    }

    /// The bytes of a tag of any kind.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'b [u8]> {
        self.entry(tag).map(|entry| entry.data)
    }

    fn entry(&self, tag: u16) -> Option<&Entry<'b>> {
        self.entries.get(&tag)
    }
}

/// The bytes of one value; `None` for an unknown kind.
fn size_of(kind: u16) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 => 8,
        _ => return None,
    })
}

fn unsigned(bytes: &[u8], big_endian: bool) -> u64 {
    let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
}

fn signed(bytes: &[u8], big_endian: bool) -> i64 {
    let unused = 64 - 8 * bytes.len() as u32;
    (unsigned(bytes, big_endian) << unused) as i64 >> unused
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A little-endian TIFF with one directory of these entries (tag, kind, values); long values follow the directory.
    pub(in crate::picture) fn little(entries: &[(u16, u16, &[u8])]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        let mut outside = Vec::new();
        let after = 8 + 2 + 12 * entries.len() + 4;
        for (tag, kind, data) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend((data.len() as u32 / size_of(*kind).unwrap_or(1) as u32).to_le_bytes());
            if data.len() <= 4 {
                bytes.extend([*data, &[0; 4][data.len()..]].concat());
            } else {
                bytes.extend(((after + outside.len()) as u32).to_le_bytes());
                outside.extend_from_slice(data);
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(outside);
        bytes
    }

    #[test]
    fn values_of_every_kind_are_read() {
        let bytes = little(&[
            (1, 3, &[6, 0]),
            (2, 4, &[6, 0, 1, 0]),
            (3, 6, &[0xFE]),
            (4, 9, &[0xFF; 4]),
            (5, 11, &6_f32.to_le_bytes()),
            (6, 5, &[12, 0, 0, 0, 2, 0, 0, 0]),
            (7, 12, &6_f64.to_le_bytes()),
            (8, 2, b"2026\0"),
            (9, 1, &[1, 2]),
            (10, 99, &[1]),
            (1, 3, &[9, 0]),
        ]);
        let directory = Tiff::new(&bytes).unwrap().first();
        let numbers = (1..=10).map(|tag| directory.number(tag)).collect::<Vec<_>>();
        let expected = [
            Some(6.0),
            Some(65542.0),
            Some(-2.0),
            Some(-1.0),
            Some(6.0),
            Some(6.0),
            Some(6.0),
            None,
            None,
            None,
        ];
        assert_eq!(numbers, expected);
        assert_eq!(directory.text(8), Some("2026"));
        assert_eq!(directory.whole_numbers(9, 9), Some(vec![1, 2]));
        assert_eq!((directory.whole_numbers(9, 1), directory.whole_number(9)), (Some(vec![1]), Some(1)));
        assert!(!directory.has(10));
    }

    #[test]
    fn a_broken_directory_has_its_readable_entries() {
        let whole = little(&[(1, 3, &[6, 0]), (2, 2, b"long text"), (3, 3, &[7, 0])]);
        let read = |bytes: &[u8]| {
            let directory = Tiff::new(bytes).unwrap().first();
            [1, 2, 3].map(|tag| directory.has(tag))
        };
        assert_eq!(read(&whole), [true; 3]);
        assert_eq!(read(&whole[..whole.len() - 3]), [true, false, true], "the text is cut off");
        assert_eq!(read(&whole[..30]), [true, false, false]);
        assert_eq!(read(&whole[..8]), [false; 3]);
        assert!(Tiff::new(&whole[..7]).is_none());
        assert!(Tiff::new(b"MM*\0\0\0\0\x08").is_some(), "a wrong header that is read");
        assert!(Tiff::new(b"II+\0\x08\0\0\0").is_none(), "BigTIFF needs 16 bytes");
    }
}
