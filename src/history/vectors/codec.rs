//! The stored form of vectors. Pure; bytes that are damaged or hostile are rejected and never panic.
//!
//! Vectors of a chunk are stored as differences from the chunk's centre, because all vectors of a camera are similar. There are
//! two forms:
//!
//! - A [`Code`] has 8 bits for each dimension and a scale. It serves for exact scores.
//! - A [`Block`] has one bit for each dimension, its sign, and a factor. It serves for a first pass over all vectors: the dot
//!   product of a query and a difference is about `factor * sum(sign * query)`. The factor makes this estimate right on average.
//!
//! A block is made of codes alone. All numbers are little-endian:
//!
//! | bytes | content of a block |
//! |---|---|
//! | 1, 1, 2, 4 | format (1), 0, dimensions, vectors |
//! | 8 | the base of all times, in milliseconds |
//! | 4 each | first time, after the base |
//! | 4 each | how long the picture was unchanged |
//! | 2 each | number in the chunk |
//! | 4 each | factor |
//! | 8 for 64 dimensions each | signs; 1 is positive |

/// The vectors of a chunk at most.
pub const CHUNK: usize = 4096;
/// The codes that are packed into a block together.
pub const BLOCK: usize = 256;
/// The dimensions of a vector at most.
pub const MOST_DIMENSIONS: usize = 8192;

const FORMAT: u8 = 1;
const HEADER: usize = 16;
/// The bytes of one vector in a block, without its signs.
const ENTRY: usize = 4 + 4 + 2 + 4;
/// The largest code. -128 is not used, so that positive and negative values have the same steps.
const STEPS: f32 = 127.0;

/// When a picture was seen, from its first to its last frame, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first frame.
    pub first: i64,
    /// The last frame that showed the same picture.
    pub last: i64,
}

impl Span {
    /// A single moment.
    #[must_use]
    pub fn at(time: i64) -> Self {
        Self { first: time, last: time }
    }

    /// Whether the picture was seen at or after `since` and before `until`.
    #[must_use]
    pub fn is_within(&self, since: Option<i64>, until: Option<i64>) -> bool {
        since.is_none_or(|since| self.last >= since) && until.is_none_or(|until| self.first < until)
    }
}

/// A difference from the centre as bytes: a scale (4 bytes) and one step of 8 bits for each dimension.
#[must_use]
pub fn encode(difference: &[f32]) -> Vec<u8> {
    let largest = difference.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = largest / STEPS;
    let mut bytes = scale.to_le_bytes().to_vec();
    // `as` saturates, and 0 / 0 becomes 0.
    bytes.extend(difference.iter().map(|value| ((value / scale).round() as i8).cast_unsigned()));
    bytes
}

/// A difference from the centre, in its stored form.
#[derive(Debug, Clone, Copy)]
pub struct Code<'a> {
    scale: f32,
    steps: &'a [u8],
}

impl<'a> Code<'a> {
    /// Reads what [`encode`] wrote; `None` if it is no vector of this length.
    #[must_use]
    pub fn parse(bytes: &'a [u8], dimensions: usize) -> Option<Self> {
        let (scale, steps) = bytes.split_first_chunk::<4>()?;
        let scale = f32::from_le_bytes(*scale);
        // Vectors have length 1, so no difference is above 2.
        (steps.len() == dimensions && (0.0..=1.0).contains(&scale)).then_some(Self { scale, steps })
    }

    /// The dot product with a vector of the same length.
    #[must_use]
    pub fn dot(&self, query: &[f32]) -> f32 {
        let ((steps, steps_rest), (query, query_rest)) =
            (self.steps.as_chunks::<8>(), query.as_chunks::<8>());
        let product = |(step, value): (&u8, &f32)| f32::from(step.cast_signed()) * value;
        // Eight sums in parallel: with a single one, each addition waits for the one before it.
        let mut sums = [0.0_f32; 8];
        for (steps, query) in steps.iter().zip(query) {
            for ((sum, step), value) in sums.iter_mut().zip(steps).zip(query) {
                *sum += product((step, value));
            }
        }
        let rest: f32 = steps_rest.iter().zip(query_rest).map(product).sum();
        (sums.iter().sum::<f32>() + rest) * self.scale
    }

    /// The difference from the centre.
    pub fn values(&self) -> impl Iterator<Item = f32> + use<'a> {
        let scale = self.scale;
        self.steps.iter().map(move |step| f32::from(step.cast_signed()) * scale)
    }

    /// What the sum of signs and query is multiplied with: `|d|^2 / sum(|d|)` of the difference `d`.
    fn factor(&self) -> f32 {
        let mut sums = (0_u32, 0_u32);
        for step in self.steps {
            let step = u32::from(step.cast_signed().unsigned_abs());
            sums = (sums.0 + step * step, sums.1 + step);
        }
        self.scale * sums.0 as f32 / (sums.1 as f32).max(1.0)
    }

    fn signs(&self) -> impl Iterator<Item = u64> + use<'a> {
        let bit = |(at, step): (usize, &u8)| u64::from(step.cast_signed() >= 0) << at;
        self.steps.chunks(64).map(move |steps| steps.iter().enumerate().map(bit).sum())
    }
}

/// Packs vectors into a block.
#[derive(Debug)]
pub struct BlockBuilder {
    dimensions: usize,
    spans: Vec<Span>,
    numbers: Vec<u16>,
    factors: Vec<f32>,
    signs: Vec<u8>,
}

impl BlockBuilder {
    /// An empty block.
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions, spans: vec![], numbers: vec![], factors: vec![], signs: vec![] }
    }

    /// Adds a vector. `number` is its number in the chunk.
    pub fn push(&mut self, number: u16, span: Span, code: Code<'_>) {
        self.spans.push(span);
        self.numbers.push(number);
        self.factors.push(code.factor());
        self.signs.extend(code.signs().flat_map(u64::to_le_bytes));
    }

    /// Adds the vectors of another block that `keep` returns true for.
    pub fn append(&mut self, block: &Block<'_>, keep: impl Fn(Span) -> bool) {
        for at in (0..block.len()).filter(|at| keep(block.span(*at))) {
            self.spans.push(block.span(at));
            self.numbers.push(block.number(at));
            self.factors.push(block.factor(at));
            self.signs.extend_from_slice(block.signs(at));
        }
    }

    /// The number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// From the first to the last time; `None` without vectors.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        let first = self.spans.iter().map(|span| span.first).min()?;
        let last = self.spans.iter().map(|span| span.last).max()?;
        Some(Span { first, last })
    }

    /// The block.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let base = self.span().map_or(0, |span| span.first);
        // A chunk covers a day, and a span at most an hour more.
        let distance = |from: i64, to: i64| u32::try_from(to.saturating_sub(from).max(0)).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + self.len() * ENTRY + self.signs.len());
        bytes.extend([FORMAT, 0]);
        bytes.extend(u16::try_from(self.dimensions).unwrap_or(0).to_le_bytes());
        bytes.extend(u32::try_from(self.len()).unwrap_or(0).to_le_bytes());
        bytes.extend(base.to_le_bytes());
        bytes.extend(self.spans.iter().flat_map(|span| distance(base, span.first).to_le_bytes()));
        bytes.extend(self.spans.iter().flat_map(|span| distance(span.first, span.last).to_le_bytes()));
        bytes.extend(self.numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(self.factors.iter().flat_map(|factor| factor.to_le_bytes()));
        bytes.extend_from_slice(&self.signs);
        bytes
    }
}

/// A block in its stored form.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    base: i64,
    starts: &'a [[u8; 4]],
    durations: &'a [[u8; 4]],
    numbers: &'a [[u8; 2]],
    factors: &'a [[u8; 4]],
    signs: &'a [u8],
    /// The bytes of the signs of one vector.
    stride: usize,
}

impl<'a> Block<'a> {
    /// Reads what [`BlockBuilder::bytes`] wrote; `None` if these are not exactly the bytes of a block of such vectors.
    #[must_use]
    pub fn parse(bytes: &'a [u8], dimensions: usize) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let [FORMAT, 0, d0, d1, c0, c1, c2, c3, base @ ..] = *header else { return None };
        let count = usize::try_from(u32::from_le_bytes([c0, c1, c2, c3])).ok()?;
        if usize::from(u16::from_le_bytes([d0, d1])) != dimensions || dimensions == 0 || count > CHUNK {
            return None;
        }
        let (starts, rest) = rest.split_at_checked(4 * count)?;
        let (durations, rest) = rest.split_at_checked(4 * count)?;
        let (numbers, rest) = rest.split_at_checked(2 * count)?;
        let (factors, signs) = rest.split_at_checked(4 * count)?;
        let stride = dimensions.div_ceil(64) * 8;
        (signs.len() == stride * count).then_some(Self {
            base: i64::from_le_bytes(base),
            starts: starts.as_chunks().0,
            durations: durations.as_chunks().0,
            numbers: numbers.as_chunks().0,
            factors: factors.as_chunks().0,
            signs,
            stride,
        })
    }

    /// The number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// When the picture of a vector was seen.
    ///
    /// # Panics
    /// The index is out of range, here and below.
    #[must_use]
    pub fn span(&self, at: usize) -> Span {
        let first = self.base.saturating_add(u32::from_le_bytes(self.starts[at]).into());
        Span { first, last: first.saturating_add(u32::from_le_bytes(self.durations[at]).into()) }
    }

    /// The number of a vector in its chunk.
    #[must_use]
    pub fn number(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.numbers[at])
    }

    /// The factor of a vector.
    #[must_use]
    pub fn factor(&self, at: usize) -> f32 {
        f32::from_le_bytes(self.factors[at])
    }

    /// The signs of a vector.
    #[must_use]
    pub fn signs(&self, at: usize) -> &'a [u8] {
        &self.signs[at * self.stride..][..self.stride]
    }

    /// The signs of all vectors, one after the other.
    #[must_use]
    pub fn all_signs(&self) -> &'a [u8] {
        self.signs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(vectors: &[Vec<f32>], start: i64) -> Vec<u8> {
        let dimensions = vectors.first().map_or(1, Vec::len);
        let mut builder = BlockBuilder::new(dimensions);
        for (number, vector) in (0_u16..).zip(vectors) {
            let time = start + 1000 * i64::from(number);
            let span = Span { first: time, last: time + i64::from(number) };
            builder.push(number, span, Code::parse(&encode(vector), dimensions).unwrap());
        }
        builder.bytes()
    }

    fn vectors() -> impl Strategy<Value = Vec<Vec<f32>>> {
        (1_usize..200, 1_usize..8).prop_flat_map(|(dimensions, count)| {
            prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, dimensions), count)
        })
    }

    proptest! {
        #[test]
        fn a_code_is_within_half_a_step(difference in prop::collection::vec(-1.0_f32..1.0, 1..300)) {
            let bytes = encode(&difference);
            prop_assert_eq!(bytes.len(), difference.len() + 4);
            let code = Code::parse(&bytes, difference.len()).unwrap();
            let largest = difference.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (stored, value) in code.values().zip(&difference) {
                prop_assert!((stored - value).abs() <= largest / 127.0 * 0.501, "{stored} {value}");
            }
            let query: Vec<f32> = difference.iter().map(|value| 0.5 - value).collect();
            let exact: f32 = code.values().zip(&query).map(|(a, b)| a * b).sum();
            prop_assert!((code.dot(&query) - exact).abs() < 1e-3);
        }

        #[test]
        fn a_block_keeps_times_numbers_and_signs(vectors in vectors(), start in -1_i64 << 40..1 << 40) {
            let dimensions = vectors[0].len();
            let bytes = block(&vectors, start);
            let parsed = Block::parse(&bytes, dimensions).unwrap();
            prop_assert_eq!(parsed.len(), vectors.len());
            for (at, vector) in vectors.iter().enumerate() {
                let first = start + 1000 * at as i64;
                prop_assert_eq!(parsed.span(at), Span { first, last: first + at as i64 });
                prop_assert_eq!(usize::from(parsed.number(at)), at);
                let (words, _) = parsed.signs(at).as_chunks::<8>();
                for (dimension, stored) in Code::parse(&encode(vector), dimensions).unwrap().values().enumerate() {
                    let bit = u64::from_le_bytes(words[dimension / 64]) >> (dimension % 64) & 1;
                    prop_assert_eq!(bit == 1, stored >= 0.0);
                }
            }
            // A copy of all is equal, and one without the first half has the others.
            let mut copy = BlockBuilder::new(dimensions);
            copy.append(&parsed, |_| true);
            prop_assert_eq!(copy.bytes(), bytes.clone());
            let mut rest = BlockBuilder::new(dimensions);
            rest.append(&parsed, |span| span.first > start);
            let rest = rest.bytes();
            let rest = Block::parse(&rest, dimensions).unwrap();
            prop_assert_eq!(rest.len(), vectors.len() - 1);
            for at in 0..rest.len() {
                prop_assert_eq!(rest.signs(at), parsed.signs(at + 1));
                prop_assert_eq!(rest.span(at), parsed.span(at + 1));
            }
        }

        #[test]
        fn hostile_bytes_are_rejected_or_read_without_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            dimensions in 0_usize..200,
            count in 0_u32..6,
            plausible: bool,
        ) {
            if plausible && bytes.len() >= HEADER {
                bytes[..2].copy_from_slice(&[FORMAT, 0]);
                bytes[2..4].copy_from_slice(&(dimensions as u16).to_le_bytes());
                bytes[4..8].copy_from_slice(&count.to_le_bytes());
                let needed = HEADER + count as usize * (ENTRY + dimensions.div_ceil(64) * 8);
                bytes.resize(needed, 0xa5);
            }
            if let Some(block) = Block::parse(&bytes, dimensions) {
                for at in 0..block.len() {
                    let _ = (block.span(at), block.number(at), block.factor(at), block.signs(at));
                }
                let mut copy = BlockBuilder::new(dimensions);
                copy.append(&block, |_| true);
                let _ = copy.bytes();
            } else {
                prop_assert!(!plausible || dimensions == 0 || bytes.len() < HEADER);
            }
            if let Some(code) = Code::parse(&bytes, dimensions) {
                let _ = (code.dot(&vec![1.0; dimensions]), code.factor(), code.signs().count());
            }
        }
    }

    #[test]
    fn odd_vectors_have_a_code() {
        for vector in [vec![0.0; 5], vec![f32::NAN; 5], vec![f32::INFINITY, 1.0, 0.0, 0.0, 0.0]] {
            let bytes = encode(&vector);
            assert_eq!(bytes.len(), 9);
            if let Some(code) = Code::parse(&bytes, 5) {
                assert!(code.values().all(f32::is_finite) && code.factor().is_finite(), "{vector:?}");
            }
        }
        let cut = encode(&[0.5; 5]);
        assert!(Code::parse(&cut[..8], 5).is_none() && Code::parse(&cut, 4).is_none());
    }

    #[test]
    fn a_span_is_within_a_filter_if_a_part_of_it_is() {
        let span = Span { first: 10, last: 20 };
        let cases = [
            (None, None, true),
            (Some(20), None, true),
            (Some(21), None, false),
            (None, Some(11), true),
            (None, Some(10), false),
            (Some(12), Some(13), true),
            (Some(21), Some(30), false),
        ];
        for (since, until, expected) in cases {
            assert_eq!(span.is_within(since, until), expected, "{since:?} {until:?}");
        }
    }
}
