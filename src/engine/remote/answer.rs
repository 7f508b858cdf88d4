//! The rows in a server's answer, if it is the answer to the question. Pure.

use super::{
    numbers::Width,
    protocol::{InferTensor, ModelInferResponse},
};
use crate::engine::interface::Rows;

/// What an answer must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The name of the output.
    pub(super) output: &'static str,
    /// The number of rows.
    pub(super) rows: usize,
    /// The length of a row, if it is known.
    pub(super) columns: Option<usize>,
}

/// The rows of the expected output. The error says what is wrong, for people.
pub(super) fn rows(answer: ModelInferResponse, expected: Expected) -> Result<Rows, String> {
    let name = expected.output;
    let found = answer.outputs.iter().position(|output| output.name == name);
    let number = found.ok_or_else(|| format!("it has no {name}"))?;
    let output = &answer.outputs[number];
    let columns = columns(output, expected)?;
    // Raw contents have the place of their output.
    let values = match (answer.raw_output_contents.get(number), &output.contents) {
        (Some(bytes), _) => {
            let width = Width::of(&output.datatype)
                .ok_or_else(|| format!("its {name} is of the kind {}", output.datatype))?;
            width.decode(bytes).ok_or_else(|| format!("its {name} ends within a number"))?
        }
        (None, Some(contents)) => contents.fp32_contents.clone(),
        (None, None) => Vec::new(),
    };
    if values.len() != expected.rows * columns {
        return Err(format!(
            "its {name} has {} numbers instead of {}",
            values.len(),
            expected.rows * columns
        ));
    }
    Ok(Rows { values, columns })
}

/// The length of a row.
fn columns(output: &InferTensor, expected: Expected) -> Result<usize, String> {
    let Expected { output: name, rows, columns } = expected;
    let shape: Vec<_> = output.shape.iter().map(|size| usize::try_from(*size).unwrap_or_default()).collect();
    match shape[..] {
        [found, length] if found == rows && length > 0 && columns.is_none_or(|columns| columns == length) => {
            Ok(length)
        }
        _ => {
            let length = columns.map_or("any number".to_owned(), |columns| columns.to_string());
            Err(format!("its {name} has the shape {:?} instead of [{rows}, {length}]", output.shape))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::remote::protocol::TensorContents;

    const ASKED: Expected = Expected { output: "image_embeds", rows: 2, columns: Some(3) };

    fn output(name: &str, datatype: &str, shape: &[i64]) -> InferTensor {
        let (name, datatype, shape) = (name.to_owned(), datatype.to_owned(), shape.to_vec());
        InferTensor { name, datatype, shape, contents: None }
    }

    fn answer(outputs: Vec<InferTensor>, raw: &[&[u8]]) -> ModelInferResponse {
        let raw_output_contents = raw.iter().map(|bytes| bytes.to_vec().into()).collect();
        ModelInferResponse { outputs, raw_output_contents, ..ModelInferResponse::default() }
    }

    #[test]
    fn rows_are_found_by_the_name_of_their_output() {
        let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let embeds = |datatype| output("image_embeds", datatype, &[2, 3]);
        let other = || output("last_hidden_state", "FP32", &[2, 1, 1]);
        let raw = |width: Width| width.encode(&values).to_vec();
        let numbers = InferTensor {
            contents: Some(TensorContents { fp32_contents: values.to_vec() }),
            ..embeds("FP32")
        };
        for found in [
            answer(vec![embeds("FP32")], &[&raw(Width::Full)]),
            answer(vec![embeds("FP16")], &[&raw(Width::Half)]),
            answer(vec![embeds("BF16")], &[&raw(Width::Brain)]),
            answer(vec![other(), embeds("FP32")], &[&[0; 8], &raw(Width::Full)]),
            answer(vec![numbers], &[]),
        ] {
            assert_eq!(rows(found, ASKED), Ok(Rows { values: values.to_vec(), columns: 3 }));
        }
        let unknown = Expected { columns: None, ..ASKED };
        assert_eq!(rows(answer(vec![embeds("FP32")], &[&raw(Width::Full)]), unknown).unwrap().columns, 3);
    }

    #[test]
    fn a_wrong_answer_is_no_answer() {
        let embeds = |shape: &[i64]| output("image_embeds", "FP32", shape);
        let of = |output: InferTensor, bytes: usize| {
            rows(answer(vec![output], &[&vec![0; bytes]]), ASKED).unwrap_err()
        };
        for (found, expected) in [
            (of(output("pooler_output", "FP32", &[2, 3]), 24), "it has no image_embeds"),
            (of(embeds(&[1, 3]), 12), "its image_embeds has the shape [1, 3] instead of [2, 3]"),
            (of(embeds(&[2, 4]), 32), "its image_embeds has the shape [2, 4] instead of [2, 3]"),
            (of(embeds(&[2, 3, 1]), 24), "its image_embeds has the shape [2, 3, 1]"),
            (of(embeds(&[-1, 3]), 24), "its image_embeds has the shape [-1, 3]"),
            (of(embeds(&[2, 3]), 20), "its image_embeds has 5 numbers instead of 6"),
            (of(embeds(&[2, 3]), 23), "its image_embeds ends within a number"),
            (of(output("image_embeds", "INT8", &[2, 3]), 6), "its image_embeds is of the kind INT8"),
            (rows(answer(vec![embeds(&[2, 3])], &[]), ASKED).unwrap_err(), "its image_embeds has 0 numbers"),
            (rows(answer(vec![], &[]), ASKED).unwrap_err(), "it has no image_embeds"),
        ] {
            assert!(found.starts_with(expected), "{expected}: {found}");
        }
    }
}
