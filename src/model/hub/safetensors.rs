//! Scale and bias out of a weight file of gigabytes, by a few hundred bytes of it: its header says where they are.

use serde_json::Value;

use super::{
    Event, HubError,
    client::{Client, Place},
    retry::patiently,
};
use crate::model::Logits;

const FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The header of a model with ten thousand tensors is a tenth of this.
const LONGEST_HEADER: u64 = 16 << 20;

/// What the weights of a repository say; `None` if it has no such file, or the file no such numbers.
pub(crate) fn logits(
    client: &Client,
    id: &str,
    revision: &str,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Logits>, HubError> {
    let place = Place { id, revision, file: FILE };
    if let Some(logits) = optional(in_file(client, place, tell))? {
        return Ok(logits);
    }
    // Large models come in several files, and another file says what is in which.
    let index = Place { file: INDEX, ..place };
    let Some(index) = optional(patiently(tell, |_| client.small(index)))? else { return Ok(None) };
    let index: Value = serde_json::from_slice(&index).unwrap_or_default();
    let Some(file) = index["weight_map"]["logit_scale"].as_str() else { return Ok(None) };
    if !crate::config::is_plain_path(file) {
        return Ok(None);
    }
    Ok(optional(in_file(client, Place { file, ..place }, tell))?.flatten())
}

/// What is not there, or not for us, is no error: there are other places to look.
fn optional<T>(found: Result<T, HubError>) -> Result<Option<T>, HubError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(HubError::Unknown { .. } | HubError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn in_file(
    client: &Client,
    place: Place<'_>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Logits>, HubError> {
    in_weights(|begin, length| patiently(tell, |_| client.bytes(place, begin, length)))
}

/// `bytes` are the file's from a place on, so many.
pub(crate) fn in_weights<E>(
    mut bytes: impl FnMut(u64, u64) -> Result<Vec<u8>, E>,
) -> Result<Option<Logits>, E> {
    let length = bytes(0, 8)?;
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    if !(2..=LONGEST_HEADER).contains(&length) {
        return Ok(None);
    }
    let header: Value = serde_json::from_slice(&bytes(8, length)?).unwrap_or_default();
    let mut number = |name: &str| -> Result<Option<f32>, E> {
        let Some(tensor) = Tensor::of(&header[name]) else { return Ok(None) };
        // What the other side says may lie beyond what any file can hold.
        let begin =
            tensor.begin.checked_add(8 + length).filter(|begin| *begin < u64::MAX - tensor.kind.bytes());
        let Some(begin) = begin else { return Ok(None) };
        Ok(tensor.number(&bytes(begin, tensor.kind.bytes())?))
    };
    // Weights hold the logarithm of the multiplier. CLIP has no bias.
    let Some(scale) = number("logit_scale")? else { return Ok(None) };
    Ok(Logits::checked(scale.exp(), number("logit_bias")?.unwrap_or(0.0)))
}

/// A single number among the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tensor {
    kind: Kind,
    begin: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F32,
    F16,
    Bf16,
}

impl Tensor {
    fn of(entry: &Value) -> Option<Self> {
        let kind = match entry["dtype"].as_str()? {
            "F32" => Kind::F32,
            "F16" => Kind::F16,
            "BF16" => Kind::Bf16,
            _ => return None,
        };
        let [begin, end] = entry["data_offsets"].as_array()?.as_slice() else { return None };
        let (begin, end) = (begin.as_u64()?, end.as_u64()?);
        (begin.checked_add(kind.bytes()) == Some(end)).then_some(Self { kind, begin })
    }

    fn number(self, bytes: &[u8]) -> Option<f32> {
        match (self.kind, bytes) {
            (Kind::F32, bytes) => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
            (Kind::Bf16, [low, high]) => Some(f32::from_le_bytes([0, 0, *low, *high])),
            (Kind::F16, [low, high]) => Some(half(u16::from_le_bytes([*low, *high]))),
            _ => None,
        }
    }
}

impl Kind {
    fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// IEEE 754 half precision: sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_read_in_each_precision() {
        let tensor =
            |kind: &str, end: u64| Tensor::of(&json!({"dtype": kind, "shape": [], "data_offsets": [8, end]}));
        let number = |kind, bytes: &[u8]| tensor(kind, 8 + bytes.len() as u64).unwrap().number(bytes);
        assert_eq!(number("F32", &4.605_17f32.to_le_bytes()), Some(4.605_17));
        assert_eq!(number("F16", &[0x9b, 0x44]), Some(4.605_468_8), "the half nearest to ln 100");
        assert_eq!(number("F16", &[0x00, 0xca]), Some(-12.0));
        assert_eq!(number("F16", &[0x01, 0x00]), Some(2f32.powi(-24)));
        assert_eq!(number("BF16", &[0x40, 0xc1]), Some(-12.0));
        assert_eq!(tensor("F32", 16), None, "that is two numbers");
        assert_eq!(tensor("I64", 16), None);
        assert_eq!(Tensor::of(&Value::Null), None);
    }

    #[test]
    fn weights_that_lie_about_their_places_have_no_numbers() {
        let header = |begin: u64| {
            let tensor = json!({"dtype": "F32", "shape": [], "data_offsets": [begin, begin + 4]});
            json!({"logit_scale": tensor}).to_string()
        };
        let read = |header: String, length: u64| {
            let mut file = length.to_le_bytes().to_vec();
            file.extend_from_slice(header.as_bytes());
            file.extend_from_slice(&0f32.to_le_bytes());
            in_weights(|begin, length| -> Result<_, ()> {
                let begin = usize::try_from(begin).map_err(|_| ())?.min(file.len());
                Ok(file[begin..].iter().take(length as usize).copied().collect())
            })
        };
        let honest = header(0);
        assert_eq!(read(honest.clone(), honest.len() as u64), Ok(Logits::checked(1.0, 0.0)));
        for place in [header(u64::MAX - 4), header(u64::MAX - 12), header(1 << 40)] {
            let length = place.len() as u64;
            assert_eq!(read(place, length), Ok(None));
        }
        assert_eq!(read(honest, u64::MAX), Ok(None), "a header longer than any model's");
    }
}
