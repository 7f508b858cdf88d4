use image::{ExtendedColorType, ImageEncoder};
use proptest::prelude::*;

use super::*;

const MAX_PIXELS: u64 = 10_000;

fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture, PictureError> {
    super::decode(bytes, Limits::of(max_pixels))
}

fn decode_within(bytes: &[u8], max_pixels: u64, longest: Duration) -> Result<Picture, PictureError> {
    super::decode_within(bytes, Limits::of(max_pixels), longest)
}

/// A file of `tests/fixtures/pictures`.
fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/pictures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The CRC-32 of the pixels.
fn checksum(picture: &Picture) -> u32 {
    let mut checksum = flate2::Crc::new();
    checksum.update(&picture.rgb());
    checksum.sum()
}

/// Colours that differ from pixel to pixel.
fn sample(width: u32, height: u32) -> Picture {
    let pixel = |at: u32| [(at * 7 % 256) as u8, (at * 13 % 256) as u8, (at * 29 % 256) as u8];
    Picture::of_rgb(width, height, (0..width * height).flat_map(pixel).collect())
}

fn jpeg(picture: &Picture) -> Vec<u8> {
    picture.to_jpeg(90).unwrap()
}

fn png(
    width: u32,
    height: u32,
    data: &[u8],
    set: impl FnOnce(&mut ::png::Encoder<'_, &mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(::png::ColorType::Rgb);
    set(&mut encoder);
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

fn gif(palette: &[u8], frames: &[::gif::Frame<'_>], size: (u16, u16)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::gif::Encoder::new(&mut bytes, size.0, size.1, palette).unwrap();
    frames.iter().for_each(|frame| encoder.write_frame(frame).unwrap());
    drop(encoder);
    bytes
}

fn webp(picture: &Picture) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::webp::WebPEncoder::new_lossless(&mut bytes)
        .write_image(&picture.rgb(), picture.width, picture.height, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

fn bmp(picture: &Picture) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::bmp::BmpEncoder::new(&mut bytes)
        .write_image(&picture.rgb(), picture.width, picture.height, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// An uncompressed TIFF with an orientation, by hand.
fn tiff(picture: &Picture, orientation: u16) -> Vec<u8> {
    let pixels = 8u32;
    let bits = pixels + picture.rgb().len() as u32;
    let directory = bits + 6;
    let entries: [(u16, u16, u32, u32); 10] = [
        (256, 4, 1, picture.width),
        (257, 4, 1, picture.height),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, pixels),
        (274, 3, 1, orientation.into()),
        (277, 3, 1, 3),
        (278, 4, 1, picture.height),
        (279, 4, 1, picture.rgb().len() as u32),
    ];
    let mut bytes = b"II*\0".to_vec();
    bytes.extend(directory.to_le_bytes());
    bytes.extend(&*picture.rgb());
    bytes.extend([8, 0, 8, 0, 8, 0]);
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

/// The same small picture in every format.
fn all_formats() -> Vec<(&'static str, Vec<u8>)> {
    let picture = sample(9, 7);
    let indices: Vec<u8> = (0..63).map(|at| at % 4).collect();
    let frame = ::gif::Frame { width: 9, height: 7, buffer: indices.into(), ..Default::default() };
    vec![
        ("JPEG", jpeg(&picture)),
        ("PNG", png(9, 7, &picture.rgb(), |_| {})),
        ("GIF", gif(&[0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255], &[frame], (9, 7))),
        ("WebP", webp(&picture)),
        ("BMP", bmp(&picture)),
        ("TIFF", tiff(&picture, 1)),
    ]
}

/// Those, and small pictures of formats that this crate does not write.
fn more_formats() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = all_formats().into_iter().map(|(_, bytes)| bytes).collect();
    all.extend(["grid.avif", "whole.heic", "rgb.jp2", "bw-group4.tif"].map(fixture));
    all
}

#[test]
fn every_format_is_detected_by_its_content() {
    for (name, bytes) in all_formats() {
        assert_eq!(Format::of(&bytes).unwrap().name(), name);
        let picture = decode(&bytes, MAX_PIXELS).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((picture.width, picture.height, picture.rgb().len()), (9, 7, 9 * 7 * 3), "{name}");
        if !["JPEG", "GIF"].contains(&name) {
            assert_eq!(picture, sample(9, 7), "{name}");
        }
    }
}

#[test]
fn other_bytes_are_rejected() {
    let cause = |bytes: &[u8]| decode(bytes, MAX_PIXELS).unwrap_err().cause();
    assert_eq!(cause(b""), "empty");
    for bytes in
        [b"hello".as_slice(), b"<svg/>", b"\xFF\xD8", b"GIF88a", b"BM", b"RIFF\0\0\0\0WAVE", &[0; 1000]]
    {
        assert_eq!(cause(bytes), "not_a_picture");
    }
}

#[test]
fn too_many_pixels_are_refused_by_the_header() {
    for (name, bytes) in all_formats() {
        let error = decode(&bytes, 62).unwrap_err();
        assert_eq!(error, PictureError::TooLarge { width: 9, height: 7, max_pixels: 62 }, "{name}");
        assert!(decode(&bytes, 63).is_ok(), "{name}");
    }
    // A large size in the header allocates nothing: the file holds no such pixels.
    let mut huge = png(1, 1, &[0; 3], |_| {});
    huge[16..24].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]);
    assert!(decode(&huge, u64::MAX).is_err());
}

#[test]
fn a_truncated_picture_is_an_error_or_complete() {
    for (name, bytes) in all_formats() {
        let whole = decode(&bytes, MAX_PIXELS).unwrap();
        let mut errors = 0;
        for end in 0..bytes.len() {
            match decode(&bytes[..end], MAX_PIXELS) {
                Ok(picture) => assert_eq!(picture, whole, "{name} of {} cut at {end}", bytes.len()),
                Err(_) => errors += 1,
            }
        }
        let half = decode(&bytes[..bytes.len() * 6 / 10], MAX_PIXELS).unwrap_err();
        assert_eq!(half, PictureError::Truncated { format: name });
        // Only what follows the pixels may be missing: of a PNG the checksums of the pixels and of their chunk, and the end; of a
        // TIFF the last tags, which have defaults.
        let most = if name == "PNG" || name == "TIFF" { 28 } else { 16 };
        assert!(bytes.len() - errors <= most, "{name}: {errors} errors of {}", bytes.len());
    }
}

#[test]
fn the_widest_png_is_decoded_and_a_wider_one_is_rejected() {
    let wide = |width: u32| {
        png(width, 1, &vec![7; width as usize * 8], |encoder| {
            encoder.set_color(::png::ColorType::Rgba);
            encoder.set_depth(::png::BitDepth::Sixteen);
        })
    };
    assert_eq!(decode(&wide(65_535), 65_535).unwrap().width, 65_535);
    let error = decode(&wide(65_536), 65_536).unwrap_err();
    assert_eq!(error.cause(), "unsupported");
    assert!(error.to_string().contains("65536 x 1"), "{error}");
}

/// A TIFF of one column of grey, a strip for each of its `rows`, and all of them at the same place: a stream of `nothing` empty
/// blocks before the one byte that it unpacks to.
fn tiff_of_nothing(rows: u32, nothing: usize) -> Vec<u8> {
    const EMPTY_BLOCK: [u8; 5] = [0, 0, 0, 0xFF, 0xFF];
    let mut stream = vec![0x78, 0x01];
    stream.extend(EMPTY_BLOCK.repeat(nothing));
    // The last block, its byte, and the checksum of the whole.
    stream.extend([1, 1, 0, 0xFE, 0xFF, 7, 0, 8, 0, 8]);
    let length = stream.len() as u32;
    let offsets = 8 + length;
    let lengths = offsets + 4 * rows;
    let directory = lengths + 4 * rows;
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 4, 1, 1),
        (257, 4, 1, rows),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, rows, offsets),
        (277, 3, 1, 1),
        (278, 4, 1, 1),
        (279, 4, rows, lengths),
    ];
    let mut bytes = b"II*\0".to_vec();
    bytes.extend(directory.to_le_bytes());
    bytes.extend(stream);
    (0..rows).for_each(|_| bytes.extend(8_u32.to_le_bytes()));
    (0..rows).for_each(|_| bytes.extend(length.to_le_bytes()));
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn a_picture_that_keeps_its_decoder_busy_is_rejected() {
    // A small one is decoded.
    let small = decode(&tiff_of_nothing(3, 10), MAX_PIXELS).unwrap();
    assert_eq!((small.width, small.height, &*small.rgb()), (1, 3, &[7; 9][..]));
    // Two megabytes that would take minutes.
    let longest = Duration::from_millis(100);
    let error = decode_within(&tiff_of_nothing(60_000, 400_000), 60_000, longest).unwrap_err();
    assert_eq!(error, PictureError::TooSlow { format: "TIFF", longest });
    assert_eq!(error.cause(), "too_slow");

    for (name, bytes) in all_formats().into_iter().filter(|(name, _)| *name != "JPEG") {
        let error = decode_within(&bytes, MAX_PIXELS, Duration::ZERO).unwrap_err();
        assert_eq!(error, PictureError::TooSlow { format: name, longest: Duration::ZERO });
    }
    for (name, format) in [("grid.avif", "AVIF"), ("grid.heic", "HEIC")] {
        let error = decode_within(&fixture(name), MAX_PIXELS, Duration::ZERO).unwrap_err();
        assert_eq!(error, PictureError::TooSlow { format, longest: Duration::ZERO });
    }
}

#[test]
fn a_jpeg_with_more_scans_than_any_encoder_writes_is_rejected() {
    let picture = sample(48, 48);
    let image = turbojpeg::Image {
        pixels: &picture.rgb()[..],
        width: 48,
        pitch: 48 * 3,
        height: 48,
        format: turbojpeg::PixelFormat::RGB,
    };
    let mut encoder = turbojpeg::Compressor::new().unwrap();
    encoder.set_progressive(true).unwrap();
    let plain = encoder.compress_to_vec(image).unwrap();
    assert!(decode(&plain, MAX_PIXELS).is_ok());

    let scan = plain.windows(2).rposition(|marker| marker == [0xFF, 0xDA]).unwrap();
    let (before, last) = plain.split_at(scan);
    let last = last.strip_suffix(&[0xFF, 0xD9]).unwrap();
    let many = |scans: usize| [before, &last.repeat(scans), &[0xFF, 0xD9]].concat();
    let refused = |scans: usize| decode(&many(scans), MAX_PIXELS).unwrap_err().to_string();
    let text = refused(600);
    assert!(text.contains("scans"), "{text}");
    assert!(
        !refused(100).contains("scans"),
        "a small picture may have many scans, whatever else is wrong with it"
    );
}

#[test]
fn extra_bytes_do_not_spoil_a_jpeg() {
    let mut bytes = jpeg(&sample(16, 16));
    let whole = decode(&bytes, MAX_PIXELS).unwrap();
    let end = bytes.len() - 2;
    bytes.splice(end..end, [1, 2, 3]);
    assert_eq!(decode(&bytes, MAX_PIXELS), Ok(whole.clone()), "before the end marker, as webcams write them");
    bytes.extend([0; 100]);
    assert_eq!(decode(&bytes, MAX_PIXELS), Ok(whole), "after it");
}

#[test]
fn orientation_turns_the_picture_upright() {
    let upright = sample(3, 2);
    let at = |picture: &Picture, x: u32, y: u32| {
        let start = ((y * picture.width + x) * 3) as usize;
        picture.rgb()[start..start + 3].to_vec()
    };
    // The place of the file's upper left pixel, by the EXIF standard.
    let corners = [(0, 0), (2, 0), (2, 1), (0, 1), (0, 0), (1, 0), (1, 2), (0, 2)];
    for (orientation, (x, y)) in (1..).zip(corners) {
        let turned = decode(&tiff(&upright, orientation), MAX_PIXELS).unwrap();
        let size = if orientation < 5 { (3, 2) } else { (2, 3) };
        assert_eq!((turned.width, turned.height), size, "{orientation}");
        assert_eq!(at(&turned, x, y), at(&upright, 0, 0), "{orientation}");
    }
    // The same block in a JPEG and a PNG.
    let block = tiff(&sample(1, 1), 6);
    let mut in_jpeg = jpeg(&upright);
    let segment = [b"Exif\0\0".as_slice(), &block].concat();
    let length = (segment.len() as u16 + 2).to_be_bytes();
    in_jpeg.splice(2..2, [0xFF, 0xE1, length[0], length[1]].into_iter().chain(segment));
    assert_eq!(decode(&in_jpeg, MAX_PIXELS).unwrap().width, 2);
    let mut info = ::png::Info::with_size(3, 2);
    info.color_type = ::png::ColorType::Rgb;
    info.exif_metadata = Some(block.into());
    let mut in_png = Vec::new();
    let encoder = ::png::Encoder::with_info(&mut in_png, info).unwrap();
    encoder.write_header().unwrap().write_image_data(&upright.rgb()).unwrap();
    assert_eq!(decode(&in_png, MAX_PIXELS).unwrap().width, 2);
}

/// Pictures of each kind, and the size and the checksum of the pixels that Pillow 13 gives:
/// `ImageOps.exif_transpose(Image.open(name)).convert("RGB")`.
const REFERENCE: &[(&str, u32, u32, u32)] = &[
    ("restarts.jpg", 61, 45, 0xf6072540),
    ("restarts-padded.jpg", 61, 45, 0xf6072540),
    ("progressive.jpg", 61, 45, 0x248c7d5e),
    ("cmyk.jpg", 61, 45, 0xbb354e83),
    ("xmp.jpg", 16, 24, 0x97ac2262),
    ("xmp.png", 16, 24, 0x00f7afee),
    ("xmp.webp", 16, 24, 0xf3fa6313),
    ("xmp.tif", 16, 24, 0xf3fa6313),
    ("exif-after-pixels.png", 16, 24, 0xf3fa6313),
    ("raw-profile.png", 16, 24, 0x00f7afee),
    ("no-end.png", 61, 45, 0x1de03acb),
    ("no-checksum.png", 61, 45, 0x1de03acb),
    ("no-adler.png", 61, 45, 0x1de03acb),
    ("yuv420p-pc-smpte170m.avif", 33, 25, 0x38486ee4),
    ("yuv420p-tv-bt709.avif", 33, 25, 0xe580478a),
    ("yuv422p-tv-smpte170m.avif", 33, 25, 0x07531ffd),
    ("yuv444p-pc-bt709.avif", 33, 25, 0x7b64c6b1),
    ("yuv420p10le-tv-bt2020nc.avif", 33, 25, 0x561b2ae2),
    ("yuv444p12le-pc-bt709.avif", 33, 25, 0x1962e866),
    ("gray-tv-bt709.avif", 33, 25, 0xeb55e45e),
    ("gray10le-pc-smpte170m.avif", 33, 25, 0xc8098b4c),
    ("gbrp-pc-bt709.avif", 33, 25, 0xcdac8449),
    ("turned-2.avif", 24, 16, 0x17333e7e),
    ("turned-3.avif", 24, 16, 0x7e66def0),
    ("turned-4.avif", 24, 16, 0x22b45946),
    ("turned-5.avif", 16, 24, 0x97031e69),
    ("turned-6.avif", 16, 24, 0xe80424b7),
    ("turned-7.avif", 16, 24, 0x6f1fae5e),
    ("turned-8.avif", 16, 24, 0x46657e82),
    ("xmp.avif", 16, 24, 0xe80424b7),
    ("alpha.avif", 24, 16, 0xafc84913),
    ("grid.avif", 100, 90, 0x0580602d),
    ("grid-turned.avif", 90, 100, 0x36453546),
    ("rgb.jp2", 24, 16, 0x2ae8de91),
    ("lossy.jp2", 61, 45, 0x0bc0bee3),
    ("la.jp2", 24, 16, 0xf72eb90e),
    ("rgba.jp2", 24, 16, 0x2ae8de91),
    ("grey.j2k", 24, 16, 0xf72eb90e),
    ("tiles.jp2", 61, 45, 0x1de03acb),
    ("grey16.jp2", 24, 16, 0x69949668),
    ("bw-group3.tif", 61, 45, 0x38ba4e73),
    ("bw-group4.tif", 61, 45, 0x38ba4e73),
    ("bw-tiff_ccitt.tif", 61, 45, 0x38ba4e73),
    ("bw-packbits.tif", 61, 45, 0x38ba4e73),
    ("grey-lzw.tif", 61, 45, 0x30b4aeef),
    ("la.tif", 24, 16, 0xf72eb90e),
    ("palette.tif", 24, 16, 0x0baa1dd4),
    ("palette-lzw.tif", 24, 16, 0xb093fb46),
    ("rgba.tif", 24, 16, 0x2ae8de91),
    ("cmyk.tif", 24, 16, 0x2ae8de91),
    ("ycbcr.tif", 24, 16, 0xe583b91b),
    ("jpeg.tif", 61, 45, 0xbb354e83),
    ("jpeg-grey.tif", 61, 45, 0xf0097228),
    ("int32.tif", 24, 16, 0xa39be405),
    ("float.tif", 24, 16, 0x0ebb47eb),
    ("uint16.tif", 24, 16, 0x69949668),
    ("tiles.tif", 61, 45, 0x1de03acb),
    ("planes.tif", 61, 45, 0x1de03acb),
    ("big.tif", 24, 16, 0xc7349c88),
    ("rgb16-big-endian.tif", 24, 16, 0xc7349c88),
    ("float-predicted.tif", 24, 16, 0xc21e6407),
    ("premultiplied.tif", 24, 16, 0x483b594f),
    ("int16.tif", 24, 16, 0xa39be405),
    ("white-is-zero.tif", 24, 16, 0x95475d14),
    ("bw-group3-2d.tif", 61, 45, 0x38ba4e73),
    ("bw-group3-fill.tif", 61, 45, 0x38ba4e73),
    ("bw-fill-order.tif", 61, 45, 0x38ba4e73),
    ("jpeg-tiles.tif", 61, 45, 0x30b04ce3),
    ("jpeg-rgb.tif", 61, 45, 0x08d054f3),
    ("planes-lzw.tif", 61, 45, 0x1de03acb),
    ("ycbcr-subsampled.tif", 61, 45, 0x788958be),
    ("ycbcr-half.tif", 61, 45, 0x3db67fe8),
    ("ycbcr-packed.tif", 61, 45, 0xe3671838),
];

#[test]
fn pixels_are_those_of_the_reference() {
    let differs =
        |(name, width, height, expected): &(&str, u32, u32, u32)| match decode(&fixture(name), MAX_PIXELS) {
            Ok(picture)
                if (picture.width, picture.height, checksum(&picture)) == (*width, *height, *expected) =>
            {
                None
            }
            other => Some(format!("{name}: {other:?}")),
        };
    let differences = REFERENCE.iter().filter_map(differs).collect::<Vec<_>>();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Pillow reads no HEIC: the expected pixels are those of libheif, which rounds differently.
#[test]
fn heic_is_decoded_whole_and_in_tiles() {
    for name in ["whole.heic", "grid.heic"] {
        let found = decode(&fixture(name), MAX_PIXELS).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = decode(&fixture(&format!("{name}.png")), MAX_PIXELS).unwrap();
        assert_eq!((found.width, found.height), (expected.width, expected.height), "{name}");
        let most = found.rgb().iter().zip(&*expected.rgb()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most <= Some(3), "{name}: {most:?}");
    }
}

#[test]
fn hostile_containers_are_rejected() {
    // Stored as 32 bits after the box of the size of the whole: the picture is larger than the limit.
    let mut large = fixture("grid.avif");
    let size = large.windows(8).rposition(|bytes| bytes == [0, 0, 0, 100, 0, 0, 0, 90]).unwrap();
    large[size..size + 4].copy_from_slice(&[0, 0, 0xFF, 0]);
    assert_eq!(decode(&large, MAX_PIXELS).unwrap_err().cause(), "too_large");
    // A tile that is not in the file, and pixels that are cut off.
    for name in ["grid.avif", "grid.heic", "turned-6.avif", "whole.heic", "rgb.jp2", "grey.j2k"] {
        let bytes = fixture(name);
        let error = decode(&bytes[..bytes.len() - 40], MAX_PIXELS).unwrap_err();
        assert_eq!(error.cause(), "truncated", "{name}: {error}");
    }
    let mut components = fixture("rgb.jp2");
    let stream = components.windows(4).position(|bytes| bytes == jp2::CODESTREAM).unwrap();
    components[stream + 40..stream + 42].copy_from_slice(&[0x40, 0]);
    assert_eq!(decode(&components, MAX_PIXELS).unwrap_err().cause(), "unsupported");
}

/// A PNG of 10,000 x 10,000 pixels with this kind of colour, depth and interlacing. Its pixels are missing: only its header is read.
fn huge_png(colour: u8, depth: u8, interlacing: u8) -> Vec<u8> {
    let mut bytes = png(1, 1, &[0; 3], |_| {});
    bytes[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
    (bytes[24], bytes[25], bytes[28]) = (depth, colour, interlacing);
    let mut checksum = flate2::Crc::new();
    checksum.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    bytes
}

/// A TIFF of one strip, which is not in the file. Only its header is read.
fn huge_tiff(
    side: u32,
    (colours, samples, bits): (u32, u32, u16),
    compression: u16,
    more: &[(u16, &[u32])],
) -> Vec<u8> {
    let all_bits = bits.to_le_bytes().repeat(samples as usize);
    let wide = |number: u32| number.to_le_bytes();
    let mut entries = vec![
        (256, 4, wide(side).to_vec()),
        (257, 4, wide(side).to_vec()),
        (258, 3, all_bits),
        (259, 3, compression.to_le_bytes().to_vec()),
        (262, 4, wide(colours).to_vec()),
        (273, 4, wide(8).to_vec()),
        (277, 4, wide(samples).to_vec()),
        (278, 4, wide(side).to_vec()),
        (279, 4, wide(1).to_vec()),
    ];
    for (tag, values) in more {
        entries.retain(|(known, ..)| known != tag);
        entries.push((*tag, 4, values.iter().flat_map(|value| wide(*value)).collect()));
    }
    entries.sort();
    let entries: Vec<_> = entries.iter().map(|(tag, kind, data)| (*tag, *kind, &data[..])).collect();
    ifd::tests::little(&entries)
}

#[test]
fn pictures_that_need_more_memory_than_allowed_are_refused_by_their_headers() {
    // 100 million pixels, which `max_pixels` allows. Decoding them would take between 1 and 3 GB.
    let interlaced = |colour: u8, depth: u8| huge_png(colour, depth, 1);
    let mut sized = fixture("rgb.jp2");
    let stream = sized.windows(4).position(|bytes| bytes == jp2::CODESTREAM).unwrap();
    for at in [8, 12, 24, 28] {
        sized[stream + at..stream + at + 4].copy_from_slice(&10_000_u32.to_be_bytes());
    }
    let ispe = |name: &str| {
        let mut bytes = fixture(name);
        let places: Vec<_> = bytes.windows(4).enumerate().filter(|(_, code)| *code == b"ispe").collect();
        for at in places.into_iter().map(|(at, _)| at).collect::<Vec<_>>() {
            bytes[at + 8..at + 16].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
        }
        bytes
    };
    let mut progressive = fixture("progressive.jpg");
    let frame = progressive.windows(2).position(|marker| marker == [0xFF, 0xC2]).unwrap();
    progressive[frame + 5..frame + 9].copy_from_slice(&[0x27, 0x10, 0x27, 0x10]);
    let side = 10_000;
    for (name, bytes) in [
        ("TIFF, grey of 32 bits with 5 more samples, in a strip", huge_tiff(side, (1, 6, 32), 8, &[])),
        ("TIFF, the same in planes", huge_tiff(side, (1, 6, 32), 8, &[(284, &[2]), (273, &[8; 6])])),
        ("TIFF, the same without compression", huge_tiff(side, (1, 6, 32), 1, &[])),
        ("TIFF, CMYK of 16 bits with LZW", huge_tiff(side, (5, 4, 16), 5, &[])),
        ("TIFF, RGB of 16 bits with PackBits", huge_tiff(side, (2, 3, 16), 32_773, &[])),
        ("TIFF, turned", huge_tiff(side, (1, 1, 8), 8, &[(274, &[6])])),
        ("TIFF, a tile that is far wider than the picture", {
            let tile: [(u16, &[u32]); 4] = [(322, &[99_999_984]), (323, &[1]), (324, &[8]), (325, &[1])];
            let mut bytes = huge_tiff(1, (1, 6, 32), 8, &tile);
            // There is no tag 273 any more.
            let strip = bytes.windows(4).position(|entry| entry == [17, 1, 4, 0]).unwrap();
            bytes[strip..strip + 2].copy_from_slice(&[18, 1]);
            bytes
        }),
        ("PNG, interlaced RGBA of 16 bits", interlaced(6, 16)),
        ("PNG, interlaced RGB", interlaced(2, 8)),
        ("JPEG 2000", sized),
        ("AVIF", ispe("turned-6.avif")),
        ("HEIC", ispe("whole.heic")),
        ("JPEG, progressive", progressive),
    ] {
        let limits = Limits::of(100_000_000);
        let error = super::decode(&bytes, limits).unwrap_err();
        assert!(matches!(error, PictureError::NeedsMemory { .. }), "{name}: {error}");
        assert_eq!(needed(&bytes, limits), Err(error), "{name}");
        assert!(needed(&bytes, Limits { memory: u64::MAX, ..limits }).unwrap() > 512_000_000, "{name}");
    }
}

#[test]
fn a_picture_is_decoded_with_the_memory_that_its_header_needs_and_with_no_less() {
    for bytes in more_formats() {
        let all = needed(&bytes, Limits::of(MAX_PIXELS)).unwrap();
        let name = Format::of(&bytes).unwrap().name();
        let with = |memory| super::decode(&bytes, Limits { max_pixels: MAX_PIXELS, memory });
        assert!(with(all).is_ok(), "{name}: {all}");
        assert_eq!(with(all - 1), Err(PictureError::NeedsMemory { needed: all, memory: all - 1 }), "{name}");
        // The decoded picture is a part of it.
        assert!(all > with(all).unwrap().bytes(), "{name}");
    }
}

#[test]
fn usual_pictures_of_the_most_pixels_need_no_more_than_the_default() {
    let mut baseline = jpeg(&sample(16, 16));
    let frame = baseline.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    baseline[frame + 5..frame + 9].copy_from_slice(&[0x27, 0x10, 0x27, 0x10]);
    let (png, tiff) = (huge_png(2, 8, 0), huge_tiff(10_000, (0, 1, 1), 4, &[]));
    for (name, bytes) in [("JPEG", baseline), ("PNG", png), ("TIFF", tiff)] {
        let needed =
            needed(&bytes, Limits::of(100_000_000)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(needed > 300_000_000, "{name}: {needed}");
    }
}

/// The reference converts Lab with a table, between whose entries it interpolates.
#[test]
fn lab_is_within_three_levels_of_the_reference() {
    let [found, expected] =
        ["lab.tif", "lab.tif.png"].map(|name| decode(&fixture(name), MAX_PIXELS).unwrap());
    let most = found.rgb().iter().zip(&*expected.rgb()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(most <= Some(3), "{most:?}");
}

#[test]
fn what_a_tiff_lacks_is_named() {
    // The tags of compression, bits and type of the uncompressed picture.
    let with = |tag: u16, value: u32| {
        let mut bytes = tiff(&sample(3, 2), 1);
        let entry = bytes.windows(2).position(|pair| pair == tag.to_le_bytes()).unwrap();
        bytes[entry + 8..entry + 12].copy_from_slice(&value.to_le_bytes());
        decode(&bytes, MAX_PIXELS).unwrap_err()
    };
    for (tag, value, expected) in [
        (259, 50_000, "its compression is Zstandard (50000)"),
        (259, 6, "its compression is JPEG of the old style (6)"),
        (262, 32_844, "its photometric interpretation is 32844"),
        (262, 5, "its colours are CMYK, with 3 unsigned samples of 8 bits"),
        (277, 7, "its pixels have 7 samples"),
    ] {
        let error = with(tag, value);
        assert_eq!(error.cause(), "unsupported");
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    // YCbCr with PackBits.
    let subsampled = ifd::tests::little(&[
        (256, 3, &[2, 0]),
        (257, 3, &[2, 0]),
        (258, 3, &[8, 0]),
        (259, 3, &32_773_u16.to_le_bytes()),
        (262, 3, &[6, 0]),
        (277, 3, &[3, 0]),
        (530, 16, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
    ]);
    let error = decode(&subsampled, MAX_PIXELS).unwrap_err().to_string();
    assert!(error.ends_with("a sample of its colours covers 4294967296 x 4294967296 pixels"), "{error}");
}

#[test]
fn png_samples_are_converted_as_in_the_reference() {
    use ::png::{BitDepth::*, ColorType::*};
    type Case<'a> = (
        &'a str,
        ::png::ColorType,
        ::png::BitDepth,
        &'a [u8],
        &'a [u8],
        Option<&'a [u8]>,
        &'a [u8],
        Option<[u8; 3]>,
    );
    let cases: &[Case<'_>] = &[
        (
            "1 bit is black or white",
            Grayscale,
            One,
            &[0b0100_0000],
            &[],
            None,
            &[0, 0, 0, 255, 255, 255],
            None,
        ),
        ("2 bits are spread", Grayscale, Two, &[0b0111_0000], &[], None, &[85, 85, 85, 255, 255, 255], None),
        ("4 bits are spread", Grayscale, Four, &[0x1F], &[], None, &[17, 17, 17, 255, 255, 255], None),
        (
            "16-bit grey is clipped",
            Grayscale,
            Sixteen,
            &[0, 9, 1, 0],
            &[],
            None,
            &[9, 9, 9, 255, 255, 255],
            None,
        ),
        (
            "16-bit colour by its high byte",
            Rgb,
            Sixteen,
            &[1, 9, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9],
            &[],
            None,
            &[1, 2, 3, 4, 5, 6],
            None,
        ),
        ("alpha is dropped", Rgba, Eight, &[1, 2, 3, 0, 4, 5, 6, 9], &[], None, &[1, 2, 3, 4, 5, 6], None),
        (
            "alpha of 16-bit grey too",
            GrayscaleAlpha,
            Sixteen,
            &[7, 1, 0, 0, 8, 1, 0, 0],
            &[],
            None,
            &[7, 7, 7, 8, 8, 8],
            None,
        ),
        (
            "a colour may be transparent",
            Rgb,
            Eight,
            &[1, 2, 3, 4, 5, 6],
            &[],
            Some(&[0, 4, 0, 5, 0, 6]),
            &[1, 2, 3, 4, 5, 6],
            Some([4, 5, 6]),
        ),
        (
            "a grey may be transparent",
            Grayscale,
            Eight,
            &[7, 8],
            &[],
            Some(&[0, 8]),
            &[7, 7, 7, 8, 8, 8],
            Some([8; 3]),
        ),
        (
            "one entry of a palette may be",
            Indexed,
            Eight,
            &[1, 0],
            &[9, 8, 7, 6, 5, 4],
            Some(&[255, 0]),
            &[6, 5, 4, 9, 8, 7],
            Some([6, 5, 4]),
        ),
        (
            "half transparent does not count",
            Indexed,
            Eight,
            &[1, 0],
            &[9, 8, 7, 6, 5, 4],
            Some(&[128, 0]),
            &[6, 5, 4, 9, 8, 7],
            None,
        ),
    ];
    for (name, colour, depth, data, palette, trns, rgb, transparent) in cases {
        let bytes = png(2, 1, data, |encoder| {
            encoder.set_color(*colour);
            encoder.set_depth(*depth);
            if !palette.is_empty() {
                encoder.set_palette(palette.to_vec());
            }
            if let Some(trns) = trns {
                encoder.set_trns(trns.to_vec());
            }
        });
        let picture = decode(&bytes, MAX_PIXELS).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((&*picture.rgb(), picture.transparent), (*rgb, *transparent), "{name}");
    }
}

#[test]
fn a_gif_is_its_first_frame_on_the_transparent_colour() {
    let frame = |index: u8, left, transparent| ::gif::Frame {
        left,
        width: 1,
        height: 1,
        buffer: vec![index].into(),
        transparent,
        ..Default::default()
    };
    let palette = [1, 2, 3, 4, 5, 6];
    let picture =
        decode(&gif(&palette, &[frame(1, 1, Some(0)), frame(0, 0, None)], (2, 1)), MAX_PIXELS).unwrap();
    assert_eq!((picture.rgb().into_owned(), picture.transparent), (vec![1, 2, 3, 4, 5, 6], Some([1, 2, 3])));
    let picture = decode(&gif(&palette, &[frame(1, 0, None)], (1, 1)), MAX_PIXELS).unwrap();
    assert_eq!((picture.rgb().into_owned(), picture.transparent), (vec![4, 5, 6], None));
}

#[test]
fn every_crop_is_a_picture() {
    let picture = sample(4, 3);
    assert_eq!(picture.crop(0, 0, 4, 3), picture);
    let part = picture.crop(1, 1, 2, 2);
    assert_eq!((part.width, part.height, &part.rgb()[..3]), (2, 2, &picture.rgb()[15..18]));
    for part in [picture.crop(3, 2, 9, 9), picture.crop(9, 9, 1, 1), picture.crop(3, 2, 0, 0)] {
        assert_eq!((part.width, part.height, &*part.rgb()), (1, 1, &picture.rgb()[33..]));
    }
}

#[test]
fn a_snapshot_can_be_decoded_again() {
    let grey = Picture::of_rgb(30, 20, vec![90; 1800]);
    assert_eq!(decode(&jpeg(&grey), MAX_PIXELS), Ok(grey));
    let wide = Picture::of_rgb(70_000, 1, vec![0; 210_000]);
    assert_eq!(wide.to_jpeg(90).unwrap_err().cause(), "encode");
}

/// Whether the bytes are rejected, or become a picture of at most [`MAX_PIXELS`].
fn is_within_the_limit(bytes: &[u8]) -> bool {
    decode(bytes, MAX_PIXELS).map_or(true, |picture| {
        let pixels = u64::from(picture.width) * u64::from(picture.height);
        pixels > 0 && pixels <= MAX_PIXELS && picture.rgb().len() as u64 == pixels * 3
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_pictures_are_decoded_within_the_limit_or_rejected(
        format in 0usize..10,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let mut bytes = more_formats().swap_remove(format);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        prop_assert!(is_within_the_limit(&bytes));
    }

    #[test]
    fn noise_after_a_signature_is_decoded_within_the_limit_or_rejected(format in 0usize..10, noise in prop::collection::vec(any::<u8>(), 30..300)) {
        let mut bytes = more_formats().swap_remove(format);
        bytes.truncate(12);
        bytes.extend(noise);
        prop_assert!(is_within_the_limit(&bytes));
    }
}
