//! Reads scale and bias from a weight file of gigabytes: the file's header says which few bytes hold them.

use half::{bf16, f16};
use safetensors::{Dtype, tensor::Metadata};
use serde_json::Value;

use super::{
    client::{Client, FilePath},
    error::HubError,
    event::Event,
    retry::retrying,
};
use crate::model::family::Logits;

const FILE: &str = "model.safetensors";
/// In repositories of OpenCLIP's format.
const OPEN_CLIP_FILE: &str = "open_clip_model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// An index of ten thousand tensors is a tenth of this.
const LONGEST_INDEX: u64 = 16 << 20;
/// The header of a model with ten thousand tensors is a tenth of this.
const LONGEST_HEADER: u64 = 16 << 20;

/// Scale and bias from a repository's weights; `None` if it has no weight file, or the file no such numbers.
pub(super) fn logits(
    client: &Client,
    id: &str,
    revision: &str,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Logits>, HubError> {
    let path = FilePath { id, revision, file: FILE };
    for file in [FILE, OPEN_CLIP_FILE] {
        if let Some(logits) = optional(in_file(client, FilePath { file, ..path }, report))? {
            return Ok(logits);
        }
    }
    // The weights of large models are in several files, and an index says which tensor is in which file.
    let index = FilePath { file: INDEX, ..path };
    let Some(index) = optional(retrying(report, |_| client.small(index, LONGEST_INDEX)))? else {
        return Ok(None);
    };
    let index: Value = serde_json::from_slice(&index).unwrap_or_default();
    let Some(file) = index["weight_map"]["logit_scale"].as_str() else { return Ok(None) };
    if !crate::config::is_plain_path(file) {
        return Ok(None);
    }
    Ok(optional(in_file(client, FilePath { file, ..path }, report))?.flatten())
}

/// A file that does not exist, or that may not be read, is no error: there are other sources of the scale.
fn optional<T>(found: Result<T, HubError>) -> Result<Option<T>, HubError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(HubError::Unknown { .. } | HubError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn in_file(
    client: &Client,
    path: FilePath<'_>,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Logits>, HubError> {
    in_weights(|begin, length| retrying(report, |_| client.bytes(path, begin, length)))
}

/// `bytes` reads from the file: the first byte and the number of bytes.
pub(super) fn in_weights<E>(
    mut bytes: impl FnMut(u64, u64) -> Result<Vec<u8>, E>,
) -> Result<Option<Logits>, E> {
    let length = bytes(0, 8)?;
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    if !(2..=LONGEST_HEADER).contains(&length) {
        return Ok(None);
    }
    let Ok(header) = serde_json::from_slice::<Metadata>(&bytes(8, length)?) else { return Ok(None) };
    let mut number = |name: &str| -> Result<Option<f32>, E> {
        let Some(place) = header.info(name).and_then(|tensor| {
            let size = tensor.dtype.bitsize() as u64 / 8;
            let begin = u64::try_from(tensor.data_offsets.0).ok()?.checked_add(8 + length)?;
            // A damaged header may point beyond the end of any file.
            let is_one_number = tensor.shape.iter().product::<usize>() == 1;
            (is_one_number && begin.checked_add(size).is_some()).then_some((tensor.dtype, begin, size))
        }) else {
            return Ok(None);
        };
        let (dtype, begin, size) = place;
        Ok(match dtype {
            Dtype::F32 => bytes(begin, size)?.try_into().ok().map(f32::from_le_bytes),
            Dtype::F16 => bytes(begin, size)?.try_into().ok().map(|bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => {
                bytes(begin, size)?.try_into().ok().map(|bytes| bf16::from_le_bytes(bytes).to_f32())
            }
            _ => None,
        })
    };
    // Weights hold the logarithm of the multiplier. CLIP has no bias.
    let Some(scale) = number("logit_scale")? else { return Ok(None) };
    Ok(Logits::checked(scale.exp(), number("logit_bias")?.unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A weight file as the hub has it, read in parts.
    fn read(header: &Value, length: Option<u64>, data: &[u8]) -> Result<Option<Logits>, ()> {
        let header = header.to_string();
        let length = length.unwrap_or(header.len() as u64);
        let file = [&length.to_le_bytes(), header.as_bytes(), data].concat();
        in_weights(|begin, length| {
            let begin = usize::try_from(begin).map_err(|_| ())?.min(file.len());
            Ok(file[begin..].iter().take(length as usize).copied().collect())
        })
    }

    fn tensor(dtype: &str, begin: u64, end: u64) -> Value {
        json!({"dtype": dtype, "shape": [], "data_offsets": [begin, end]})
    }

    #[test]
    fn a_number_is_read_in_each_precision() {
        let bias = |dtype: &str, bytes: &[u8]| {
            let end = 4 + bytes.len() as u64;
            let header = json!({"logit_scale": tensor("F32", 0, 4), "logit_bias": tensor(dtype, 4, end)});
            let data = [&0f32.to_le_bytes()[..], bytes].concat();
            read(&header, None, &data).unwrap().map(|logits| logits.bias)
        };
        assert_eq!(bias("F32", &4.605_17f32.to_le_bytes()), Some(4.605_17));
        assert_eq!(bias("F16", &[0x9b, 0x44]), Some(4.605_468_8), "the half nearest to ln 100");
        assert_eq!(bias("F16", &[0x00, 0xca]), Some(-12.0));
        assert_eq!(bias("F16", &[0x01, 0x00]), Some(2f32.powi(-24)));
        assert_eq!(bias("BF16", &[0x40, 0xc1]), Some(-12.0));
        assert_eq!(bias("I64", &[0; 8]), Some(0.0), "a bias of another type is ignored");
        let two = json!({"logit_scale": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}});
        assert_eq!(read(&two, None, &[0; 8]), Ok(None), "two numbers are no scale");
        assert_eq!(read(&json!({"other": tensor("F32", 0, 4)}), None, &[0; 4]), Ok(None));
    }

    #[test]
    fn a_damaged_header_has_no_numbers() {
        let header = |begin: u64| json!({"logit_scale": tensor("F32", begin, begin + 4)});
        assert_eq!(read(&header(0), None, &[0; 4]), Ok(Logits::checked(1.0, 0.0)));
        for begin in [u64::MAX - 4, u64::MAX - 12, 1 << 40] {
            assert_eq!(read(&header(begin), None, &[0; 4]), Ok(None));
        }
        assert_eq!(read(&header(0), Some(u64::MAX), &[]), Ok(None), "longer than any header");
        assert_eq!(read(&json!([]), None, &[]), Ok(None));
    }
}
