//! Writes weights as a `.safetensors` file.

use std::collections::BTreeMap;

use serde_json::json;

use super::onnx::Weight;

/// The file with these weights: the length of the header, the header, and the numbers of each weight.
pub fn file(weights: &[Weight]) -> Vec<u8> {
    let (mut header, mut data) = (BTreeMap::new(), Vec::new());
    for Weight { name, shape, values } in weights {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        assert!(header.insert(name, entry).is_none(), "{name} exists twice");
    }
    let mut header = json!(header).to_string();
    // So that the numbers are aligned, as in every file that the library of the format writes.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}
