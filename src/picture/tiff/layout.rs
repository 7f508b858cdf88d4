//! How a TIFF arranges its pixels: the tags that the decoder needs, checked.

use std::fmt;

use super::error::{FORMAT, corrupt, unsupported};
use crate::picture::{PictureError, ifd::Directory, limits::Limits};

/// The most samples of a pixel, as in the reference.
const MOST_SAMPLES: usize = 6;

/// The most numbers of a palette: three for each value of 8 bits.
const PALETTE: usize = 3 << 8;

/// The most chunks of all planes: those of 100 million pixels with the smallest tiles, 16 x 16, and 6 planes, and more.
const MOST_CHUNKS: usize = 1 << 22;

/// How the bytes of a chunk are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Raw,
    PackBits,
    Lzw,
    Deflate,
    Jpeg,
    /// Modified Huffman: rows start at a byte.
    FaxRows,
    Fax3 {
        /// Whether rows may be coded by their differences to the row above.
        two_dimensional: bool,
    },
    Fax4,
}

/// What the samples mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Grey {
        /// Whether 0 is white.
        inverted: bool,
    },
    Palette,
    Rgb,
    Cmyk,
    YCbCr,
    Lab,
}

impl fmt::Display for Colours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grey { .. } => "grey",
            Self::Palette => "a palette",
            Self::Rgb => "RGB",
            Self::Cmyk => "CMYK",
            Self::YCbCr => "YCbCr",
            Self::Lab => "Lab",
        })
    }
}

/// The type of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleKind {
    Unsigned,
    Signed,
    Float,
}

impl fmt::Display for SampleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "unsigned",
            Self::Signed => "signed",
            Self::Float => "floating-point",
        })
    }
}

/// What a predictor stored instead of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    Nothing,
    /// The difference to the pixel on the left.
    Differences,
    /// The differences of bytes: each row has the highest bytes of all its numbers first, then the next lower ones.
    FloatDifferences,
}

/// The arrangement of a picture.
#[derive(Debug)]
pub(super) struct Layout<'b> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) compression: Compression,
    pub(super) colours: Colours,
    pub(super) kind: SampleKind,
    /// Bits of a sample.
    pub(super) bits: usize,
    /// Samples of a pixel, with extra ones.
    pub(super) samples: usize,
    /// Whether the sample after the colours is alpha that the colours were multiplied with.
    pub(super) premultiplied: bool,
    pub(super) planar: bool,
    pub(super) predictor: Predictor,
    pub(super) reversed_bits: bool,
    pub(super) big_endian: bool,
    pub(super) chunk_width: usize,
    pub(super) chunk_height: usize,
    pub(super) chunks_across: usize,
    pub(super) chunks_down: usize,
    /// The chunks of all planes.
    chunks: usize,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
    file_length: usize,
    pub(super) palette: Vec<u64>,
    pub(super) jpeg_tables: Option<&'b [u8]>,
    /// How many pixels a sample of colour covers, across and down: 1, 2 or 4 of a picture that is subsampled.
    pub(super) subsampling: (usize, usize),
    /// The weights of red, green and blue in brightness, for YCbCr.
    pub(super) weights: [f64; 3],
    /// The levels of black and white of each component, for YCbCr.
    pub(super) levels: [f64; 6],
}

impl<'b> Layout<'b> {
    /// # Errors
    /// A tag is missing or contradicts another one, or the picture is of a kind that is not supported.
    pub(super) fn read(
        tags: &Directory<'b>,
        big_endian: bool,
        file_length: usize,
    ) -> Result<Self, PictureError> {
        let number = |tag: u16, default: u64| tags.whole_number(tag).unwrap_or(default);
        let size = |tag: u16| {
            let size = tags.whole_number(tag).and_then(|size| usize::try_from(size).ok());
            size.ok_or_else(|| corrupt("it has no size"))
        };
        let (width, height) = (size(256)?, size(257)?);
        let compression = compression(number(259, 1), number(292, 0))?;
        let colours = colours(number(262, 0))?;
        let samples = usize::try_from(number(277, 1)).unwrap_or(usize::MAX);
        if !(1..=MOST_SAMPLES).contains(&samples) {
            return Err(unsupported(format!("its pixels have {samples} samples")));
        }
        let bits = tags.whole_numbers(258, MOST_SAMPLES).unwrap_or_else(|| vec![1]);
        let first = bits.first().copied().unwrap_or(1);
        if bits.iter().take(samples).any(|bits| *bits != first) {
            return Err(unsupported("its samples have different sizes"));
        }
        let kind = match number(339, 1) {
            1 | 4 => SampleKind::Unsigned,
            2 => SampleKind::Signed,
            3 => SampleKind::Float,
            other => return Err(unsupported(format!("its samples are of the type {other}"))),
        };
        let predictor = match number(317, 1) {
            1 => Predictor::Nothing,
            2 => Predictor::Differences,
            3 => Predictor::FloatDifferences,
            other => return Err(unsupported(format!("it has the predictor {other}"))),
        };
        let is_tiled = !tags.has(273) && tags.has(324);
        let (chunk_width, chunk_height) = if is_tiled {
            (size(322)?, size(323)?)
        } else {
            (width, number(278, u64::MAX).min(height as u64) as usize)
        };
        if chunk_width == 0 || chunk_height == 0 || width == 0 || height == 0 {
            return Err(corrupt("its size or that of its parts is 0"));
        }
        let (offsets, lengths) = if is_tiled { (324, 325) } else { (273, 279) };
        let real = |tag: u16, at: usize| tags.numbers(tag, at + 1).and_then(|all| all.get(at).copied());
        let sub = tags.whole_numbers(530, 2).unwrap_or_default();
        let planar = number(284, 1) == 2 && samples > 1;
        let (chunks_across, chunks_down) = (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
        let planes = if planar { samples } else { 1 };
        let chunks = chunks_across.saturating_mul(chunks_down).saturating_mul(planes);
        let subsampling =
            |at: usize| sub.get(at).map_or(2, |sub| usize::try_from(*sub).unwrap_or(usize::MAX).max(1));
        let layout = Self {
            width,
            height,
            compression,
            colours,
            kind,
            bits: usize::try_from(first).unwrap_or(usize::MAX),
            samples,
            premultiplied: tags.whole_number(338) == Some(1),
            planar,
            predictor,
            reversed_bits: number(266, 1) == 2,
            big_endian,
            chunk_width,
            chunk_height,
            chunks_across,
            chunks_down,
            chunks,
            offsets: tags.whole_numbers(offsets, chunks.min(MOST_CHUNKS)).unwrap_or_default(),
            lengths: tags.whole_numbers(lengths, chunks.min(MOST_CHUNKS)).unwrap_or_default(),
            file_length,
            palette: tags.whole_numbers(320, PALETTE).unwrap_or_default(),
            jpeg_tables: tags.bytes(347),
            subsampling: (subsampling(0), subsampling(1)),
            weights: [(0, 0.299), (1, 0.587), (2, 0.114)]
                .map(|(at, default)| real(529, at).unwrap_or(default)),
            levels: std::array::from_fn(|at| {
                real(532, at).unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0][at])
            }),
        };
        layout.check_kind()?;
        Ok(layout)
    }

    /// Checks that there is a conversion for these pixels.
    fn check_kind(&self) -> Result<(), PictureError> {
        let colours = match self.colours {
            Colours::Grey { .. } | Colours::Palette => 1,
            Colours::Rgb | Colours::YCbCr | Colours::Lab => 3,
            Colours::Cmyk => 4,
        };
        let whole = self.kind == SampleKind::Unsigned;
        let is_known = match self.colours {
            Colours::Grey { .. } => match self.kind {
                SampleKind::Unsigned => [1, 2, 4, 8, 12, 16, 32].contains(&self.bits),
                SampleKind::Signed => [8, 16, 32].contains(&self.bits),
                SampleKind::Float => self.bits == 32,
            },
            Colours::Palette => whole && [1, 2, 4, 8].contains(&self.bits),
            Colours::Rgb | Colours::Cmyk => whole && [8, 16].contains(&self.bits),
            Colours::YCbCr | Colours::Lab => whole && self.bits == 8,
        };
        let is_gray_ycbcr = self.colours == Colours::YCbCr && self.samples == 1;
        let several_small = self.bits < 8 && self.samples > 1;
        if !is_known || several_small || (self.samples < colours && !is_gray_ycbcr) {
            let (colours, bits, samples, kind) = (self.colours, self.bits, self.samples, self.kind);
            return Err(unsupported(format!(
                "its colours are {colours}, with {samples} {kind} samples of {bits} bits"
            )));
        }
        let in_jpeg = matches!(self.colours, Colours::Grey { .. } | Colours::Rgb | Colours::YCbCr);
        if self.compression == Compression::Jpeg && (self.planar || !in_jpeg) {
            let planes = if self.planar { " in separate planes" } else { "" };
            return Err(unsupported(format!(
                "its colours are {}, with JPEG compression{planes}",
                self.colours
            )));
        }
        let (across, down) = self.subsampling;
        if self.is_subsampled() && ![across, down].iter().all(|side| [1, 2, 4].contains(side)) {
            return Err(unsupported(format!("a sample of its colours covers {across} x {down} pixels")));
        }
        if self.bits == 12 && self.planar {
            return Err(unsupported("its samples of 12 bits are in separate planes"));
        }
        Ok(())
    }

    /// Whether chunks hold blocks of pixels that share a colour. The reference reads packed YCbCr with libtiff, and plain YCbCr
    /// without it.
    pub(super) fn is_subsampled(&self) -> bool {
        self.colours == Colours::YCbCr
            && !matches!(self.compression, Compression::Raw | Compression::Jpeg)
            && self.samples > 1
            && !self.planar
    }

    /// Checks the size of the picture and of its chunks, and the number of the chunks.
    ///
    /// # Errors
    /// The picture or a chunk is larger than a picture may be, or chunks are missing.
    pub(super) fn check_sizes(&self, limits: Limits) -> Result<(), PictureError> {
        // A tile may be larger than a small picture.
        const SMALL: u64 = 1 << 22;
        limits.pixels(FORMAT, (self.width as u64, self.height as u64))?;
        let pixels = (self.chunk_width as u64).saturating_mul(self.chunk_height as u64);
        if pixels > limits.max_pixels.max(SMALL) {
            return Err(corrupt(format!(
                "its tiles have {} x {} pixels",
                self.chunk_width, self.chunk_height
            )));
        }
        if self.offsets.len() < self.chunks {
            return Err(corrupt("it has fewer parts than its size needs"));
        }
        Ok(())
    }

    /// The rows of a chunk that are in the picture, at most.
    pub(super) fn rows(&self) -> usize {
        self.chunk_height.min(self.height)
    }

    /// The planes of a chunk, and the samples of a pixel in each of them.
    pub(super) fn planes(&self) -> (usize, usize) {
        if self.planar { (self.samples, 1) } else { (1, self.samples) }
    }

    /// The bytes of a row of a plane without compression: of blocks of several rows if colours are subsampled.
    pub(super) fn row(&self) -> u64 {
        let width = self.chunk_width as u64;
        if self.is_subsampled() {
            let (across, down) = self.subsampling;
            return width.div_ceil(across as u64).saturating_mul((across * down + 2) as u64);
        }
        // At most 6 samples of 32 bits.
        width.saturating_mul((self.bits * self.planes().1) as u64).div_ceil(8)
    }

    /// The bytes of the first `rows` rows of a chunk without compression, in all planes.
    pub(super) fn unpacked(&self, rows: usize) -> u64 {
        let rows = if self.is_subsampled() { rows.div_ceil(self.subsampling.1) } else { rows };
        self.row().saturating_mul(rows as u64).saturating_mul(self.planes().0 as u64)
    }

    /// The bytes of memory of the tables of chunks.
    pub(super) fn tables(&self) -> u64 {
        ((self.offsets.len() + self.lengths.len()) * size_of::<u64>()) as u64
    }

    /// Where the left upper corner of a chunk is.
    pub(super) fn place(&self, number: usize) -> (usize, usize) {
        (number % self.chunks_across * self.chunk_width, number / self.chunks_across * self.chunk_height)
    }

    /// The offset and the length of the bytes of a chunk. Without a length, they end at the end of the file.
    pub(super) fn bytes_of(&self, number: usize) -> (u64, u64) {
        let offset = self.offsets.get(number).copied().unwrap_or(u64::MAX);
        let rest = (self.file_length as u64).saturating_sub(offset);
        (offset, self.lengths.get(number).copied().filter(|length| *length > 0).unwrap_or(rest))
    }
}

fn compression(number: u64, fax_options: u64) -> Result<Compression, PictureError> {
    let name = match number {
        1 => return Ok(Compression::Raw),
        2 => return Ok(Compression::FaxRows),
        3 => return Ok(Compression::Fax3 { two_dimensional: fax_options & 1 == 1 }),
        4 => return Ok(Compression::Fax4),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32_946 => return Ok(Compression::Deflate),
        32_773 => return Ok(Compression::PackBits),
        6 => "JPEG of the old style",
        32_809 => "ThunderScan",
        34_676 | 34_677 => "SGI LogLuv",
        34_925 => "LZMA",
        50_000 => "Zstandard",
        50_001 => "WebP",
        _ => "unknown",
    };
    Err(unsupported(format!("its compression is {name} ({number})")))
}

fn colours(number: u64) -> Result<Colours, PictureError> {
    Ok(match number {
        0 => Colours::Grey { inverted: true },
        1 => Colours::Grey { inverted: false },
        2 => Colours::Rgb,
        3 => Colours::Palette,
        5 => Colours::Cmyk,
        6 => Colours::YCbCr,
        8 => Colours::Lab,
        other => return Err(unsupported(format!("its photometric interpretation is {other}"))),
    })
}
