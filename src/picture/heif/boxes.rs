//! Reads the boxes of a HEIF file: which items are in it, where their bytes are, and their properties.
//!
//! Source: ISO/IEC 14496-12 and 23008-12. Unknown boxes are skipped. Nothing is copied, and no number of the file is trusted: an
//! item whose bytes are outside of the file has no bytes. What is kept of the file has limits, because an entry of one byte takes
//! many bytes of memory.

use std::collections::HashMap;

/// The most items: those of a picture and its alpha, of as many tiles as are supported, and more.
const MOST_ITEMS: usize = 1 << 14;
/// The most extents of an item, as in libheif.
const MOST_EXTENTS: u64 = 32;
/// The most properties of an item, and the most of a file: a number of a property has 15 bits.
const MOST_PROPERTIES: (usize, usize) = (32, 0x7FFF);
/// The most references between items.
const MOST_REFERENCES: usize = 1 << 16;

/// A four-character code.
pub(super) type Code = [u8; 4];

/// The boxes of a file or of another box.
pub(super) fn boxes(mut rest: &[u8]) -> impl Iterator<Item = (Code, &[u8])> {
    std::iter::from_fn(move || {
        let mut reader = Bytes(rest);
        let length = reader.number(4)?;
        let kind = *reader.0.first_chunk()?;
        reader.skip(4)?;
        let length = match length {
            0 => rest.len() as u64,
            1 => reader.number(8)?,
            length => length,
        };
        let header = rest.len() - reader.0.len();
        let length = usize::try_from(length).ok()?.min(rest.len());
        let content = rest.get(header..length)?;
        rest = &rest[length..];
        Some((kind, content))
    })
}

/// Big-endian numbers, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'b>(pub(super) &'b [u8]);

impl<'b> Bytes<'b> {
    /// A number of up to 8 bytes. A number of 0 bytes is 0.
    pub(super) fn number(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn code(&mut self) -> Option<Code> {
        let code = *self.0.first_chunk()?;
        self.skip(4)?;
        Some(code)
    }

    /// A text up to the next zero byte, without that byte.
    fn text(&mut self) -> Option<&'b [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = &self.0[..end];
        self.skip(end + 1)?;
        Some(text)
    }

    /// The version and the flags of a box.
    fn version(&mut self) -> Option<(u64, u64)> {
        Some((self.number(1)?, self.number(3)?))
    }
}

/// An item of a file.
#[derive(Debug, Default, Clone)]
pub(super) struct Item<'b> {
    pub(super) kind: Code,
    /// The media type, for an item of the kind `mime`.
    pub(super) content_type: &'b [u8],
    location: ItemLocation,
    /// Properties in order: their box and its content.
    pub(super) properties: Vec<(Code, &'b [u8])>,
}

/// Where the bytes of an item are.
#[derive(Debug, Default, Clone)]
struct ItemLocation {
    in_data_box: bool,
    unsupported: bool,
    /// Offsets and lengths. Length 0 means up to the end.
    extents: Vec<(u64, u64)>,
}

/// What the `meta` box of a file says.
#[derive(Debug, Default)]
pub(super) struct Meta<'b> {
    pub(super) file: &'b [u8],
    data: &'b [u8],
    pub(super) primary: Option<u64>,
    pub(super) items: HashMap<u64, Item<'b>>,
    /// The kind of reference, the item that refers, and the items that it refers to.
    pub(super) references: Vec<(Code, u64, Vec<u64>)>,
}

impl<'b> Meta<'b> {
    /// `None` if there is no such box, or it is broken.
    pub(super) fn read(file: &'b [u8]) -> Option<Self> {
        let (_, content) = boxes(file).find(|(kind, _)| kind == b"meta")?;
        let mut reader = Bytes(content);
        reader.version()?;
        let mut meta = Self { file, ..Self::default() };
        let all = reader.0;
        let content = |code: &Code| boxes(all).find(|(kind, _)| kind == code).map(|(_, content)| content);
        meta.data = content(b"idat").unwrap_or_default();
        meta.primary = content(b"pitm").and_then(|content| {
            let mut reader = Bytes(content);
            let (version, _) = reader.version()?;
            reader.number(if version == 0 { 2 } else { 4 })
        });
        meta.read_items(content(b"iinf")?)?;
        meta.read_places(content(b"iloc")?)?;
        // If one of these boxes is broken, its part before the damage is used.
        let _ = content(b"iprp").and_then(|content| meta.read_properties(content));
        let _ = content(b"iref").and_then(|content| meta.read_references(content));
        Some(meta)
    }

    /// The bytes of an item; `None` if they are not in the file.
    pub(super) fn bytes(&self, item: &Item<'_>) -> Option<Vec<u8>> {
        let location = &item.location;
        if location.unsupported {
            return None;
        }
        let all = if location.in_data_box { self.data } else { self.file };
        let mut bytes = Vec::new();
        for (offset, length) in &location.extents {
            let start = usize::try_from(*offset).ok()?;
            let length = usize::try_from(*length).ok()?;
            let part = all.get(start..)?;
            bytes.extend_from_slice(if length == 0 { part } else { part.get(..length)? });
            // Extents that overlap could make gigabytes of a small file.
            (bytes.len() <= self.file.len()).then_some(())?;
        }
        Some(bytes)
    }

    /// The bytes of the `wanted` item that describes the item `of`, otherwise of the first `wanted` item.
    pub(super) fn description(&self, of: u64, wanted: impl Fn(&Item<'_>) -> bool) -> Option<Vec<u8>> {
        let is_wanted = |id: &u64| self.items.get(id).is_some_and(&wanted);
        let describing = self.references.iter().filter(|(kind, _, to)| kind == b"cdsc" && to.contains(&of));
        let describing = describing.map(|(_, from, _)| *from).filter(is_wanted).min();
        let id = describing.or_else(|| self.items.keys().copied().filter(is_wanted).min())?;
        self.bytes(self.items.get(&id)?)
    }

    fn read_items(&mut self, content: &'b [u8]) -> Option<()> {
        let mut reader = Bytes(content);
        let (version, _) = reader.version()?;
        reader.number(if version == 0 { 2 } else { 4 })?;
        for (kind, content) in boxes(reader.0) {
            let mut reader = Bytes(content);
            let (version, _) = reader.version()?;
            if kind != *b"infe" || version < 2 {
                continue;
            }
            let id = reader.number(if version == 2 { 2 } else { 4 })?;
            reader.skip(2)?;
            let kind = reader.code()?;
            let _name = reader.text();
            let content_type = if kind == *b"mime" { reader.text().unwrap_or(reader.0) } else { &[] };
            (self.items.len() < MOST_ITEMS).then_some(())?;
            self.items.insert(id, Item { kind, content_type, ..Item::default() });
        }
        Some(())
    }

    fn read_places(&mut self, content: &[u8]) -> Option<()> {
        let mut reader = Bytes(content);
        let (version, _) = reader.version()?;
        let sizes = reader.number(2)?;
        let size = |nibble: u32| (sizes >> (4 * nibble) & 15) as usize;
        let [offset_size, length_size, base_size, index_size] = [3, 2, 1, 0].map(size);
        [offset_size, length_size, base_size].iter().all(|size| *size <= 8).then_some(())?;
        let wide = if version < 2 { 2 } else { 4 };
        for _ in 0..reader.number(wide)? {
            let id = reader.number(wide)?;
            let method = if version == 0 { 0 } else { reader.number(2)? & 15 };
            let elsewhere = reader.number(2)? != 0;
            let base = reader.number(base_size)?;
            let mut location = ItemLocation {
                in_data_box: method == 1,
                unsupported: method > 1 || elsewhere,
                extents: Vec::new(),
            };
            let extents = reader.number(2)?;
            (extents <= MOST_EXTENTS).then_some(())?;
            for _ in 0..extents {
                if version > 0 {
                    reader.skip(index_size)?;
                }
                let offset = base.checked_add(reader.number(offset_size)?)?;
                location.extents.push((offset, reader.number(length_size)?));
            }
            if let Some(item) = self.items.get_mut(&id) {
                item.location = location;
            }
        }
        Some(())
    }

    fn read_properties(&mut self, content: &'b [u8]) -> Option<()> {
        let (_, all) = boxes(content).find(|(kind, _)| kind == b"ipco")?;
        let all: Vec<_> = boxes(all).take(MOST_PROPERTIES.1).collect();
        for (_, content) in boxes(content).filter(|(kind, _)| kind == b"ipma") {
            let mut reader = Bytes(content);
            let (version, flags) = reader.version()?;
            for _ in 0..reader.number(4)? {
                let id = reader.number(if version == 0 { 2 } else { 4 })?;
                for _ in 0..reader.number(1)? {
                    // The highest bit says that the property is essential.
                    let number =
                        if flags & 1 == 1 { reader.number(2)? & 0x7FFF } else { reader.number(1)? & 0x7F };
                    let property =
                        usize::try_from(number).ok().and_then(|number| all.get(number.checked_sub(1)?));
                    if let Some((item, property)) = self.items.get_mut(&id).zip(property) {
                        (item.properties.len() < MOST_PROPERTIES.0).then_some(())?;
                        item.properties.push(*property);
                    }
                }
            }
        }
        Some(())
    }

    fn read_references(&mut self, content: &[u8]) -> Option<()> {
        let mut reader = Bytes(content);
        let wide = if reader.version()?.0 == 0 { 2 } else { 4 };
        let mut room = MOST_REFERENCES;
        for (kind, content) in boxes(reader.0) {
            let mut reader = Bytes(content);
            let from = reader.number(wide)?;
            let count = reader.number(2)?;
            room = room.checked_sub(1 + usize::try_from(count).ok()?)?;
            let to = (0..count).map(|_| reader.number(wide)).collect::<Option<Vec<_>>>()?;
            self.references.push((kind, from, to));
        }
        Some(())
    }
}

impl<'b> Item<'b> {
    pub(super) fn property(&self, code: &Code) -> Option<&'b [u8]> {
        self.properties.iter().find(|(kind, _)| kind == code).map(|(_, content)| *content)
    }

    /// Width and height as the file says.
    pub(super) fn size(&self) -> Option<(u64, u64)> {
        let mut reader = Bytes(self.property(b"ispe")?);
        reader.version()?;
        Some((reader.number(4)?, reader.number(4)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    /// A file with one item, number 1. Its extents have neither an offset nor a length, so they take no bytes in the file.
    fn file(extents: u16) -> Vec<u8> {
        let entry = boxed(b"infe", b"\x02\0\0\0\0\x01\0\0Exif\0");
        let items = boxed(b"iinf", &[&[0, 0, 0, 0, 0, 1][..], &entry].concat());
        let place = [&[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0][..], &extents.to_be_bytes()].concat();
        boxed(b"meta", &[&[0; 4][..], &items, &boxed(b"iloc", &place)].concat())
    }

    #[test]
    fn extents_that_take_no_bytes_are_not_repeated() {
        let whole = file(1);
        let meta = Meta::read(&whole).unwrap();
        assert_eq!(meta.description(1, |item| item.kind == *b"Exif"), Some(whole.clone()));
        let twice = file(2);
        assert_eq!(Meta::read(&twice).unwrap().description(1, |_| true), None, "longer than the file");
        assert!(Meta::read(&file(u16::MAX)).is_none());
    }

    #[test]
    fn entries_of_a_byte_fill_no_memory() {
        // 1024 times 255 properties of one item.
        let entries = [&[0, 1, 255][..], &[1; 255]].concat().repeat(1024);
        let associations = boxed(b"ipma", &[&[0, 0, 0, 0, 0, 0, 4, 0][..], &entries].concat());
        let properties = [boxed(b"ipco", &boxed(b"irot", &[]).repeat(100_000)), associations].concat();
        let reference = boxed(b"dimg", &[&[0, 1, 0xFF, 0xFF][..], &[0; 2 * 0xFFFF]].concat());
        let references = [&[0; 4][..], &reference.repeat(20)].concat();
        let entry = |id: u16| boxed(b"infe", &[&[2, 0, 0, 0][..], &id.to_be_bytes(), b"\0\0Exif\0"].concat());
        let entries: Vec<_> = (2..20_000).flat_map(entry).collect();
        let items = [&[0; 6][..], &entries].concat();

        let mut meta = Meta::default();
        meta.items.insert(1, Item::default());
        assert!(meta.read_properties(&properties).is_none());
        assert_eq!(meta.items[&1].properties.len(), MOST_PROPERTIES.0);
        assert!(meta.read_references(&references).is_none());
        assert_eq!(meta.references.iter().map(|(_, _, to)| to.len()).sum::<usize>(), 0xFFFF);
        assert!(meta.read_items(&items).is_none());
        assert_eq!(meta.items.len(), MOST_ITEMS);
    }

    #[test]
    fn the_item_that_describes_the_picture_comes_first() {
        let item = |content_type| Item {
            content_type,
            location: ItemLocation { in_data_box: true, extents: vec![(0, 1)], ..ItemLocation::default() },
            ..Item::default()
        };
        let mut meta = Meta { file: b"x", data: b"x", ..Meta::default() };
        meta.items = [(1, item(b"a")), (2, item(b"a")), (3, item(b"b"))].into();
        meta.items.get_mut(&2).unwrap().location.extents = vec![];
        let found = |meta: &Meta<'_>| meta.description(9, |item| item.content_type == b"a");
        assert_eq!(found(&meta).as_deref(), Some(&b"x"[..]), "the first one");
        meta.references = vec![(*b"cdsc", 3, vec![9]), (*b"thmb", 1, vec![9]), (*b"cdsc", 2, vec![8, 9])];
        assert_eq!(found(&meta).as_deref(), Some(&b""[..]), "the one that refers to it");
        assert_eq!(meta.description(9, |item| item.content_type == b"c"), None);
    }
}
