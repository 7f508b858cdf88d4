//! Reads the boxes of a HEIF file: which items are in it, where their bytes are, and their properties.
//!
//! Source: ISO/IEC 14496-12 and 23008-12. Unknown boxes are skipped. Nothing is copied, and no number of the file is trusted: an
//! item whose bytes are outside of the file has none.

use std::collections::HashMap;

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
    /// A number of up to 8 bytes; 0 of none.
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

    /// A text that a zero byte ends.
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
    /// Of an item of the kind `mime`.
    pub(super) content_type: &'b [u8],
    places: Places,
    /// Properties in order: their box and its content.
    pub(super) properties: Vec<(Code, &'b [u8])>,
}

/// Where the bytes of an item are.
#[derive(Debug, Default, Clone)]
struct Places {
    in_data_box: bool,
    unsupported: bool,
    /// Offsets and lengths; length 0: to the end.
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
        let all: Vec<_> = boxes(reader.0).collect();
        let content = |code: &Code| all.iter().find(|(kind, _)| kind == code).map(|(_, content)| *content);
        meta.data = content(b"idat").unwrap_or_default();
        meta.primary = content(b"pitm").and_then(|content| {
            let mut reader = Bytes(content);
            let (version, _) = reader.version()?;
            reader.number(if version == 0 { 2 } else { 4 })
        });
        meta.read_items(content(b"iinf")?)?;
        meta.read_places(content(b"iloc")?)?;
        // These end where they are broken: what was read is used.
        let _ = content(b"iprp").and_then(|content| meta.read_properties(content));
        let _ = content(b"iref").and_then(|content| meta.read_references(content));
        Some(meta)
    }

    /// The bytes of an item; `None` if they are not in the file.
    pub(super) fn bytes(&self, item: &Item<'_>) -> Option<Vec<u8>> {
        let places = &item.places;
        if places.unsupported {
            return None;
        }
        let all = if places.in_data_box { self.data } else { self.file };
        let mut bytes = Vec::new();
        for (offset, length) in &places.extents {
            let start = usize::try_from(*offset).ok()?;
            let length = usize::try_from(*length).ok()?;
            let part = all.get(start..)?;
            bytes.extend_from_slice(if length == 0 { part } else { part.get(..length)? });
            // Extents that overlap could make gigabytes of a small file.
            (bytes.len() <= self.file.len()).then_some(())?;
        }
        Some(bytes)
    }

    /// The first item of which `wanted` is true that describes the item `of`, or the picture as a whole.
    pub(super) fn description(&self, of: u64, wanted: impl Fn(&Item<'_>) -> bool) -> Option<Vec<u8>> {
        let describes = |id: &u64| {
            let mut references =
                self.references.iter().filter(|(kind, from, _)| kind == b"cdsc" && from == id);
            references.any(|(_, _, to)| to.contains(&of))
        };
        let mut ids: Vec<_> = self.items.iter().filter(|(_, item)| wanted(item)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let id = ids.iter().find(|id| describes(id)).or(ids.first())?;
        self.bytes(&self.items[id])
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
            let mut places = Places {
                in_data_box: method == 1,
                unsupported: method > 1 || elsewhere,
                extents: Vec::new(),
            };
            for _ in 0..reader.number(2)? {
                if version > 0 {
                    reader.skip(index_size)?;
                }
                let offset = base.checked_add(reader.number(offset_size)?)?;
                places.extents.push((offset, reader.number(length_size)?));
            }
            if let Some(item) = self.items.get_mut(&id) {
                item.places = places;
            }
        }
        Some(())
    }

    fn read_properties(&mut self, content: &'b [u8]) -> Option<()> {
        let all: Vec<_> =
            boxes(content).find(|(kind, _)| kind == b"ipco").map(|(_, content)| boxes(content).collect())?;
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
        for (kind, content) in boxes(reader.0) {
            let mut reader = Bytes(content);
            let from = reader.number(wide)?;
            let count = reader.number(2)?;
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
