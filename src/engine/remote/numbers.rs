//! The numbers of a tensor as raw bytes, in the width that a server computes in. Pure.

use half::{bf16, f16, slice::HalfFloatSliceExt as _, vec::HalfFloatVecExt as _};
use prost::bytes::Bytes;

/// The width of a server's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// 32 bits.
    Full,
    /// 16 bits, IEEE 754.
    Half,
    /// 16 bits, with the range of 32.
    Brain,
}

impl Width {
    const WORDS: [(&str, Self); 3] = [("FP32", Self::Full), ("FP16", Self::Half), ("BF16", Self::Brain)];

    /// The width that the protocol calls `datatype`; `None` for numbers of another kind.
    pub(super) fn of(datatype: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(word, _)| *word == datatype).map(|(_, width)| width)
    }

    /// The protocol's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Full => "FP32",
            Self::Half => "FP16",
            Self::Brain => "BF16",
        }
    }

    /// `values` as the server takes them.
    pub(super) fn encode(self, values: &[f32]) -> Bytes {
        match self {
            Self::Full => bytes(values, |value| value.to_le_bytes()),
            Self::Half => bytes(&Vec::<f16>::from_f32_slice(values), |value| value.to_le_bytes()),
            Self::Brain => bytes(&Vec::<bf16>::from_f32_slice(values), |value| value.to_le_bytes()),
        }
    }

    /// The values that a server gave; `None` if the last number is not complete.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        match self {
            Self::Full => Some(numbers(bytes)?.map(f32::from_le_bytes).collect()),
            Self::Half => Some(numbers(bytes)?.map(f16::from_le_bytes).collect::<Vec<_>>().to_f32_vec()),
            Self::Brain => Some(numbers(bytes)?.map(bf16::from_le_bytes).collect::<Vec<_>>().to_f32_vec()),
        }
    }
}

fn bytes<T: Copy, const N: usize>(values: &[T], of: impl Fn(T) -> [u8; N]) -> Bytes {
    let mut bytes = vec![0; values.len() * N];
    bytes.chunks_exact_mut(N).zip(values).for_each(|(place, value)| place.copy_from_slice(&of(*value)));
    bytes.into()
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<impl Iterator<Item = [u8; N]>> {
    let (numbers, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| numbers.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_in_each_width() {
        // 1.0 and -2.0
        for (word, expected) in [
            ("FP32", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0][..]),
            ("FP16", &[0, 0x3c, 0, 0xc0][..]),
            ("BF16", &[0x80, 0x3f, 0, 0xc0][..]),
        ] {
            let width = Width::of(word).unwrap();
            assert_eq!(width.word(), word);
            assert_eq!(width.encode(&[1.0, -2.0]), expected, "{word}");
            assert_eq!(width.decode(expected), Some(vec![1.0, -2.0]), "{word}");
            assert_eq!(width.decode(&expected[1..]), None, "{word}: a number is cut");
        }
        assert_eq!([Width::of("UINT8"), Width::of("FP64"), Width::of("")], [None; 3]);
    }

    #[test]
    fn half_precision_is_rounded_and_full_precision_is_kept() {
        let value = 0.123_456_79;
        assert_eq!(Width::Full.decode(&Width::Full.encode(&[value])), Some(vec![value]));
        let rounded = Width::Half.decode(&Width::Half.encode(&[value])).unwrap()[0];
        assert!((rounded - value).abs() < 1e-4 && rounded != value, "{rounded}");
    }
}
