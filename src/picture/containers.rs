//! Finds the EXIF and XMP blocks in the containers of JPEG, PNG and WebP, where the reference finds them.

use std::{
    borrow::Cow,
    io::{ErrorKind, Read},
};

use flate2::read::ZlibDecoder;

use super::metadata::{Metadata, PREFIX};

const XMP_PREFIX: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// The blocks of a JPEG, from the APP1 segments before the pixels. Several EXIF segments are parts of one block. Of
/// several XMP packets, the last one counts.
pub(super) fn jpeg(bytes: &[u8]) -> Metadata<'_> {
    let mut found = Metadata::default();
    for (marker, segment) in jpeg_segments(bytes) {
        if marker != 0xE1 {
            continue;
        }
        if let Some(part) = segment.strip_prefix(PREFIX) {
            match &mut found.exif {
                Some(exif) => exif.to_mut().extend_from_slice(part),
                None => found.exif = Some(segment.into()),
            }
        } else if let Some(packet) = segment.strip_prefix(XMP_PREFIX) {
            found.xmp = Some(packet.into());
        }
    }
    found
}

/// The position of the code of the next marker, at `at` or after it. Bytes that belong to no marker, and fill bytes, are skipped.
pub(super) fn next_marker(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xFF)?;
        at += bytes[at..].iter().position(|byte| *byte != 0xFF)?;
        // A zero says that the byte before it is no marker.
        if bytes[at] != 0 {
            return Some(at);
        }
    }
}

/// The segments of a JPEG before its first scan, by marker.
fn jpeg_segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            let code = next_marker(bytes, at)?;
            at = code + 1;
            match bytes[code] {
                // Markers without a segment.
                0x01 | 0xC8 | 0xD0..=0xD9 | 0xF0..=0xFD => {}
                // The pixels, or a marker that does not exist.
                0xDA | 0x02..=0xBF => return None,
                marker => {
                    let length = usize::from(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
                    let segment = bytes.get(at + 2..at + length)?;
                    at += length;
                    return Some((marker, segment));
                }
            }
        }
    })
}

/// The most that a compressed text of a PNG may unpack to, and all of them together: the limits of the reference.
const LONGEST_TEXT: u64 = 1 << 20;
const ALL_TEXTS: u64 = 64 * LONGEST_TEXT;

/// The blocks of a PNG, from `eXIf`, the text `Raw profile type exif` and the text of XMP, before or after the pixels.
pub(super) fn png(bytes: &[u8]) -> Metadata<'_> {
    let mut found = Metadata::default();
    let mut profile = None;
    let (mut is_animated, mut after_pixels, mut room) = (false, false, ALL_TEXTS);
    for (kind, data) in png_chunks(bytes) {
        match kind {
            b"IDAT" => after_pixels = true,
            b"acTL" => is_animated = data.first_chunk().is_some_and(|frames| u32::from_be_bytes(*frames) > 1),
            // The next frame of an animation.
            b"fcTL" if is_animated && after_pixels => break,
            b"eXIf" => found.exif = Some(data.into()),
            b"tEXt" | b"zTXt" | b"iTXt" => {
                let Some((key, text)) = png_text(kind, data, &mut room) else { continue };
                match key {
                    b"exif" if kind == b"tEXt" => found.exif = Some(text),
                    b"Raw profile type exif" => profile = Some(text),
                    b"XML:com.adobe.xmp" => found.xmp = Some(text),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if found.exif.is_none() {
        found.exif = profile.map(|text| raw_profile(&text).into());
    }
    found
}

/// The chunks of a PNG up to its end, by type. The last one may be cut off.
pub(super) fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        if kind == b"IEND" {
            return None;
        }
        let length = u32::from_be_bytes(*length) as usize;
        let data = &after[..length.min(after.len())];
        // A checksum follows.
        rest = after.get(length.saturating_add(4)..).unwrap_or_default();
        Some((kind, data))
    })
}

/// The key and the text of a text chunk; `None` if it is broken or too long. `room` is what compressed texts may still unpack to.
fn png_text<'b>(kind: &[u8; 4], data: &'b [u8], room: &mut u64) -> Option<(&'b [u8], Cow<'b, [u8]>)> {
    let split = |data: &'b [u8]| {
        let end = data.iter().position(|byte| *byte == 0)?;
        Some((&data[..end], &data[end + 1..]))
    };
    let (key, rest) = split(data)?;
    let text = match (kind, rest) {
        (b"tEXt", text) => text.into(),
        (b"zTXt", [0, packed @ ..]) => unpacked(packed, room)?.into(),
        (b"iTXt", [flag, method, rest @ ..]) => {
            let (_language, rest) = split(rest)?;
            let (_translated, text) = split(rest)?;
            match (flag, method) {
                (0, _) => text.into(),
                (_, 0) => unpacked(text, room)?.into(),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((key, text))
}

fn unpacked(packed: &[u8], room: &mut u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let longest = LONGEST_TEXT.min(*room);
    let read = ZlibDecoder::new(packed).take(longest + 1).read_to_end(&mut text);
    *room = room.saturating_sub(text.len() as u64);
    match read {
        // A stream that is cut off is read as far as it goes.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => None,
        _ => (text.len() as u64 <= longest).then_some(text),
    }
}

/// ImageMagick's form: an empty line, the name, the length, and then lines of hexadecimal digits. For other characters
/// it returns an unreadable block, as in the reference.
fn raw_profile(text: &[u8]) -> Vec<u8> {
    let digits = text.splitn(4, |byte| *byte == b'\n').nth(3).unwrap_or_default();
    let mut digits = digits.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut block = Vec::new();
    while let Some(high) = digits.next() {
        let Some((high, low)) = digit(high).zip(digits.next().and_then(digit)) else {
            return b"not hexadecimal".to_vec();
        };
        block.push((high * 16 + low) as u8);
    }
    block
}

/// The blocks of a WebP in the extended form, if its flags announce them. The first chunk of each kind counts.
pub(super) fn webp(bytes: &[u8]) -> Metadata<'_> {
    const EXIF: u8 = 0x08;
    const XMP: u8 = 0x04;
    let mut found = Metadata::default();
    let mut chunks = riff_chunks(bytes.get(12..).unwrap_or_default());
    let Some((b"VP8X", [flags, ..])) = chunks.next() else { return found };
    for (kind, data) in chunks {
        let place = match kind {
            b"EXIF" if flags & EXIF != 0 => &mut found.exif,
            b"XMP " if flags & XMP != 0 => &mut found.xmp,
            _ => continue,
        };
        place.get_or_insert(data.into());
    }
    found
}

/// The sizes of the VP8 pictures in a WebP, those of an animation included, as their own headers give them.
pub(super) fn vp8_sizes(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let chunks = riff_chunks(bytes.get(12..).unwrap_or_default());
    chunks.flat_map(|(kind, data)| frame_chunks(kind, data)).filter_map(|(kind, data)| {
        // The type of the frame, a start code, and 14 bits for each side.
        let [_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = *data else { return None };
        let side = |low, high| u64::from(u16::from_le_bytes([low, high]) & 0x3FFF);
        (kind == b"VP8 ").then_some((side(w0, w1), side(h0, h1)))
    })
}

/// The chunks in a frame of an animation, which follow 16 bytes; or else the chunk itself.
fn frame_chunks<'b>(kind: &'b [u8; 4], data: &'b [u8]) -> impl Iterator<Item = (&'b [u8; 4], &'b [u8])> {
    let (whole, inside) = match kind {
        b"ANMF" => (None, data.get(16..).unwrap_or_default()),
        _ => (Some((kind, data)), &[][..]),
    };
    whole.into_iter().chain(riff_chunks(inside))
}

fn riff_chunks(mut rest: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = after.get(..length)?;
        // A chunk of odd length is followed by a padding byte.
        rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
        Some((kind, data))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{super::ifd::tests::little, *};

    fn block(orientation: u8) -> Vec<u8> {
        little(&[(274, 3, &[orientation, 0])])
    }

    fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
        [&[0xFF, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
    }

    fn exif(orientation: u8) -> Vec<u8> {
        segment(0xE1, &[PREFIX, &block(orientation)].concat())
    }

    fn xmp(orientation: u8) -> Vec<u8> {
        let packet = format!("<x tiff:Orientation=\"{orientation}\"/>");
        segment(0xE1, &[XMP_PREFIX, packet.as_bytes()].concat())
    }

    fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &[0; 4]].concat()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    /// Every expected value is that of Pillow 13.
    #[test]
    fn the_segments_of_a_jpeg_are_found_where_the_reference_finds_them() {
        let whole = [PREFIX, &block(6)].concat();
        let (first, second) = whole.split_at(20);
        let two_parts = [segment(0xE1, first), segment(0xE1, &[PREFIX, second].concat())].concat();
        let cases: &[(&str, &[Vec<u8>], u8)] = &[
            ("first", &[exif(6)], 6),
            ("after another APP1", &[segment(0xE1, b"other"), exif(6)], 6),
            ("in two parts", &[two_parts], 6),
            ("two blocks: the first one decides", &[exif(6), exif(3)], 6),
            ("XMP", &[xmp(8)], 8),
            ("two packets: the last one", &[xmp(8), xmp(5)], 5),
            ("EXIF before XMP in any order", &[xmp(8), exif(6)], 6),
            ("after stray bytes and fill bytes", &[vec![7, 0xFF, 0, 9, 0xFF, 0xFF], exif(6)], 6),
            ("after the pixels", &[segment(0xDA, &[0]), exif(6)], 1),
        ];
        for (name, segments, expected) in cases {
            let bytes = [&[0xFF, 0xD8][..], &segments.concat()].concat();
            assert_eq!(jpeg(&bytes).orientation().to_exif(), *expected, "{name}");
        }
    }

    /// Every expected value is that of Pillow 13.
    #[test]
    fn the_chunks_of_a_png_are_found_where_the_reference_finds_them() {
        let hexadecimal: String =
            [PREFIX, &block(6)].concat().iter().map(|byte| format!("{byte:02x}")).collect();
        let profile = format!("\nexif\n      32\n{}\n{}\n", &hexadecimal[..40], &hexadecimal[40..]);
        let text = |key: &str, rest: &[u8]| [key.as_bytes(), b"\0", rest].concat();
        let international = |key: &str, flag: u8, rest: &[u8]| text(key, &[&[flag, 0, 0, 0], rest].concat());
        const XMP: &str = "XML:com.adobe.xmp";
        const PROFILE: &str = "Raw profile type exif";
        let packet = b"<tiff:Orientation>8</tiff:Orientation>";
        let pixels = chunk(b"IDAT", b"x");
        let cases: &[(&str, &[Vec<u8>], u8)] = &[
            ("before the pixels", &[chunk(b"eXIf", &block(6)), pixels.clone()], 6),
            ("after the pixels", &[pixels.clone(), chunk(b"eXIf", &block(6))], 6),
            ("the last one", &[chunk(b"eXIf", &block(6)), pixels.clone(), chunk(b"eXIf", &block(3))], 3),
            ("profile", &[chunk(b"tEXt", &text(PROFILE, profile.as_bytes()))], 6),
            (
                "compressed profile",
                &[chunk(b"zTXt", &text(PROFILE, &[&[0], &zlib(profile.as_bytes())[..]].concat()))],
                6,
            ),
            (
                "profile after the pixels",
                &[pixels.clone(), chunk(b"tEXt", &text(PROFILE, profile.as_bytes()))],
                6,
            ),
            (
                "eXIf before a profile",
                &[chunk(b"tEXt", &text(PROFILE, profile.as_bytes())), chunk(b"eXIf", &block(3))],
                3,
            ),
            (
                "a profile of another name",
                &[chunk(b"tEXt", &text("Raw profile type APP1", profile.as_bytes()))],
                1,
            ),
            ("a broken profile", &[chunk(b"tEXt", &text(PROFILE, b"\nexif\n3\nxyz"))], 1),
            ("XMP", &[chunk(b"iTXt", &international(XMP, 0, packet))], 8),
            ("compressed XMP", &[chunk(b"iTXt", &international(XMP, 1, &zlib(packet)))], 8),
            ("XMP after the pixels", &[pixels.clone(), chunk(b"iTXt", &international(XMP, 0, packet))], 8),
            ("XMP as plain text", &[chunk(b"tEXt", &text(XMP, packet))], 8),
            (
                "EXIF before XMP",
                &[chunk(b"iTXt", &international(XMP, 0, packet)), chunk(b"eXIf", &block(6))],
                6,
            ),
            ("after the end", &[chunk(b"IEND", b""), chunk(b"eXIf", &block(6))], 1),
            (
                "with the next frame",
                &[
                    chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]),
                    pixels,
                    chunk(b"fcTL", b""),
                    chunk(b"eXIf", &block(6)),
                ],
                1,
            ),
        ];
        for (name, chunks, expected) in cases {
            let bytes = [&b"\x89PNG\r\n\x1a\n"[..], &chunks.concat()].concat();
            assert_eq!(png(&bytes).orientation().to_exif(), *expected, "{name}");
        }
        let (bomb, mut room) = (zlib(&vec![b'0'; 2 << 20]), ALL_TEXTS);
        assert_eq!(unpacked(&bomb, &mut room), None);
        // Texts that are each short enough.
        let short = zlib(&vec![b'0'; 1 << 20]);
        let read = (0..100).take_while(|_| unpacked(&short, &mut room).is_some()).count();
        assert_eq!((read, room), (62, 0));
    }

    /// Every expected value is that of Pillow 13.
    #[test]
    fn the_chunks_of_a_webp_are_found_where_the_reference_finds_them() {
        let riff = |kind: &[u8], data: &[u8]| {
            let padding = &[0][..data.len() % 2];
            [kind, &(data.len() as u32).to_le_bytes(), data, padding].concat()
        };
        let both =
            [riff(b"VP8L", b"odd"), riff(b"EXIF", &block(6)), riff(b"XMP ", b"tiff:Orientation=\"8\"")]
                .concat();
        let extended =
            |flags: u8| [riff(b"VP8X", &[flags, 0, 0, 0, 0, 0, 0, 0, 0, 0]), both.clone()].concat();
        let cases = [
            ("both", extended(0x0C), 6),
            ("only EXIF", extended(0x08), 6),
            ("only XMP", extended(0x04), 8),
            ("not announced", extended(0), 1),
            ("a simple file", both.clone(), 1),
            ("two blocks: the first one", [extended(0x08), riff(b"EXIF", &block(3))].concat(), 6),
        ];
        for (name, chunks, expected) in cases {
            let bytes = [&b"RIFF\0\0\0\0WEBP"[..], &chunks].concat();
            assert_eq!(webp(&bytes).orientation().to_exif(), expected, "{name}");
        }
    }
}
