//! What the graph for pictures of a model takes and gives, and whether the graph at a server does the same. Pure.

use std::sync::{Arc, OnceLock};

use super::{
    numbers::Width,
    protocol::{ModelMetadataResponse, TensorMetadata},
};

/// The input of the graph.
pub(super) const PIXEL_VALUES: &str = "pixel_values";

/// What the graph for pictures of a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisionContract {
    /// Width and height of the model's pictures.
    pub size: (u32, u32),
    /// The outputs that hold the embedding, the best first.
    pub outputs: &'static [&'static str],
    /// The length of the vectors of texts, once it is known: those of pictures must have the same.
    pub vector: Arc<OnceLock<usize>>,
}

/// How pictures are sent to one server, and which answer is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// The width of pixels.
    pub(super) pixels: Width,
    /// The output that holds the embedding.
    pub(super) output: &'static str,
    /// The number of pictures in each request, if the graph fixes it.
    pub(super) batch: Option<usize>,
}

impl VisionContract {
    /// The terms for a server that describes its graph with `metadata`. The error says what is different, for people.
    pub(super) fn agree(&self, metadata: &ModelMetadataResponse) -> Result<Terms, String> {
        let ModelMetadataResponse { inputs, outputs, .. } = metadata;
        if inputs.is_empty() && outputs.is_empty() {
            return Err(
                "it does not describe its inputs and outputs (MLServer: list both in model-settings.json)"
                    .to_owned(),
            );
        }
        let [input] = &inputs[..] else { return Err(self.other_inputs(inputs)) };
        if input.name != PIXEL_VALUES {
            return Err(self.other_inputs(inputs));
        }
        let pixels = Width::of(&input.datatype).ok_or_else(|| kind(input))?;
        let batch = self.batch(input)?;
        let find = |name: &str| outputs.iter().find(|output| output.name == name);
        let Some(name) = self.outputs.iter().copied().find(|name| find(name).is_some()) else {
            let wanted = self.outputs.join(" or ");
            return Err(format!("its outputs are {}, and {wanted} is expected", names(outputs)));
        };
        match find(name) {
            Some(output) if Width::of(&output.datatype).is_none() => Err(kind(output)),
            Some(output) if ![0, 2].contains(&output.shape.len()) => Err(format!(
                "its output {name} has the shape {}, and one row of numbers for each picture is expected",
                shape(output)
            )),
            _ => Ok(Terms { pixels, output: name, batch }),
        }
    }

    /// Whether vectors of this length suit those of texts. The error says what is different, for people.
    pub(super) fn agree_on_length(&self, columns: usize) -> Result<(), String> {
        match self.vector.get() {
            Some(texts) if *texts != columns => {
                Err(format!("it gives vectors of {columns} numbers, and those of texts have {texts}"))
            }
            _ => Ok(()),
        }
    }

    fn other_inputs(&self, inputs: &[TensorMetadata]) -> String {
        let found = names(inputs);
        let hint = if inputs.iter().any(|input| input.name == "input_ids") {
            ": it is a graph for pictures and texts, or for texts"
        } else {
            ""
        };
        format!("its inputs are {found}, and {PIXEL_VALUES} alone is expected{hint}")
    }

    /// The number of pictures that the graph fixes.
    fn batch(&self, input: &TensorMetadata) -> Result<Option<usize>, String> {
        let (width, height) = self.size;
        let any_or = |size: i64, expected: u32| size < 0 || size == i64::from(expected);
        match input.shape[..] {
            [batch, channels, rows, columns]
                if batch != 0 && any_or(channels, 3) && any_or(rows, height) && any_or(columns, width) =>
            {
                Ok(usize::try_from(batch).ok())
            }
            _ => Err(format!(
                "its input {} has the shape {}, and [any number, 3, {height}, {width}] is expected",
                input.name,
                shape(input)
            )),
        }
    }
}

fn kind(tensor: &TensorMetadata) -> String {
    format!("its {} is of the kind {}, and FP32, FP16 or BF16 is expected", tensor.name, tensor.datatype)
}

fn names(tensors: &[TensorMetadata]) -> String {
    const MOST: usize = 8;
    if tensors.is_empty() {
        return "none".to_owned();
    }
    let mut names: Vec<_> = tensors.iter().take(MOST).map(|tensor| tensor.name.as_str()).collect();
    if tensors.len() > MOST {
        names.push("...");
    }
    names.join(", ")
}

fn shape(tensor: &TensorMetadata) -> String {
    let size = |size: &i64| if *size < 0 { "any".to_owned() } else { size.to_string() };
    format!("[{}]", tensor.shape.iter().map(size).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> VisionContract {
        let outputs = &["image_embeds", "pooler_output"];
        VisionContract { size: (224, 200), outputs, vector: Arc::default() }
    }

    fn tensor(name: &str, datatype: &str, shape: &[i64]) -> TensorMetadata {
        TensorMetadata { name: name.to_owned(), datatype: datatype.to_owned(), shape: shape.to_vec() }
    }

    fn agree(inputs: &[TensorMetadata], outputs: &[TensorMetadata]) -> Result<Terms, String> {
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        clip().agree(&ModelMetadataResponse { inputs, outputs, ..ModelMetadataResponse::default() })
    }

    #[test]
    fn a_graph_that_suits() {
        let any = tensor("pixel_values", "FP32", &[-1, 3, 200, 224]);
        let embeds = tensor("image_embeds", "FP32", &[-1, 512]);
        let hidden = tensor("last_hidden_state", "FP32", &[-1, 50, 768]);
        let pooled = tensor("pooler_output", "FP16", &[-1, 768]);
        for (input, outputs, expected) in [
            (any.clone(), vec![hidden.clone(), pooled.clone(), embeds], (Width::Full, "image_embeds", None)),
            (any, vec![hidden, pooled.clone()], (Width::Full, "pooler_output", None)),
            (
                tensor("pixel_values", "FP16", &[4, -1, -1, -1]),
                vec![pooled.clone()],
                (Width::Half, "pooler_output", Some(4)),
            ),
            (
                tensor("pixel_values", "BF16", &[1, 3, 200, 224]),
                vec![pooled],
                (Width::Brain, "pooler_output", Some(1)),
            ),
        ] {
            let (pixels, output, batch) = expected;
            assert_eq!(agree(&[input], &outputs), Ok(Terms { pixels, output, batch }));
        }
    }

    #[test]
    fn what_is_different_is_explained() {
        let pixels = |datatype: &str, shape: &[i64]| tensor("pixel_values", datatype, shape);
        let right = || pixels("FP32", &[-1, 3, 200, 224]);
        let embeds = || vec![tensor("image_embeds", "FP32", &[-1, 512])];
        for (inputs, outputs, expected) in [
            (vec![], vec![], "it does not describe its inputs and outputs"),
            (
                vec![tensor("image", "FP32", &[])],
                embeds(),
                "its inputs are image, and pixel_values alone is expected",
            ),
            (
                vec![tensor("input_ids", "INT64", &[-1, 77]), right()],
                embeds(),
                "its inputs are input_ids, pixel_values, and pixel_values alone is expected: it is a graph for pictures and texts",
            ),
            (
                vec![pixels("UINT8", &[-1, 3, 200, 224])],
                embeds(),
                "its pixel_values is of the kind UINT8, and FP32, FP16 or BF16 is expected",
            ),
            (
                vec![pixels("FP32", &[-1, 3, 336, 336])],
                embeds(),
                "its input pixel_values has the shape [any, 3, 336, 336], and [any number, 3, 200, 224] is expected",
            ),
            (
                vec![pixels("FP32", &[3, 200, 224])],
                embeds(),
                "its input pixel_values has the shape [3, 200, 224]",
            ),
            (vec![right()], vec![], "its outputs are none, and image_embeds or pooler_output is expected"),
            (
                vec![right()],
                vec![tensor("last_hidden_state", "FP32", &[-1, 50, 768])],
                "its outputs are last_hidden_state, and image_embeds or pooler_output is expected",
            ),
            (
                vec![right()],
                vec![tensor("image_embeds", "FP32", &[-1, 50, 512])],
                "its output image_embeds has the shape [any, 50, 512], and one row",
            ),
            (
                vec![right()],
                vec![tensor("image_embeds", "INT8", &[-1, 512])],
                "its image_embeds is of the kind INT8",
            ),
        ] {
            let error = agree(&inputs, &outputs).unwrap_err();
            assert!(error.starts_with(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn vectors_have_the_length_of_those_of_texts() {
        let contract = clip();
        assert_eq!(contract.agree_on_length(768), Ok(()), "it is not known yet");
        contract.vector.set(512).unwrap();
        assert_eq!(contract.agree_on_length(512), Ok(()));
        let error = contract.agree_on_length(768).unwrap_err();
        assert_eq!(error, "it gives vectors of 768 numbers, and those of texts have 512");
    }
}
