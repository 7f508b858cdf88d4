//! One graph of a model: checks its inputs and outputs by name, and turns pictures and tokens into its inputs.

use std::{borrow::Cow, time::Duration};

use super::{
    error::ModelError,
    files::ModelFiles,
    origin::{Origin, Tower},
    preprocess::Layout,
    tokenizer::TokenBatch,
};
use crate::{
    config::{Device, Execution},
    engine::{
        Connection, Engine, EngineError, Engines, Input, ProviderShare, Rows, Supervised, Values,
        remote::VisionContract,
    },
};

pub(super) struct Graph {
    engine: Box<dyn Engine>,
    file: String,
    place: String,
}

/// What goes into a graph.
#[derive(Clone, Copy)]
pub(super) enum GraphInput<'a> {
    /// Prepared pictures of this form, one after the other.
    Pictures {
        values: &'a [f32],
        layout: Layout,
    },
    Texts(&'a TokenBatch),
}

impl Graph {
    pub(super) fn open(
        engines: &Engines,
        files: &ModelFiles,
        origin: &Origin,
        tower: Tower,
        execution: &Execution,
        device: Device,
    ) -> Result<Self, ModelError> {
        let (file, source) =
            (origin.name(tower), origin.open(files, tower, engines.fuses_attention(device))?);
        let opened = engines.open(&source, execution, device);
        let engine = opened.map_err(|error| match error {
            EngineError::Rejected(reason) => files.unusable(file, reason),
            unavailable => unavailable.into(),
        })?;
        Ok(Self { engine, file: file.to_owned(), place: files.place() })
    }

    /// The graph for pictures at the model server; `None`: this machine runs it.
    pub(super) fn at_server(
        engines: &Engines,
        files: &ModelFiles,
        contract: &VisionContract,
    ) -> Option<Result<Self, ModelError>> {
        let opened = engines.open_at_server(contract)?;
        let file = engines.server().map_or(String::new(), |server| server.name.clone());
        Some(match opened {
            Ok(engine) => Ok(Self { engine, file, place: files.place() }),
            Err(EngineError::Rejected(reason)) => Err(ModelError::Server(reason)),
            Err(unavailable) => Err(unavailable.into()),
        })
    }

    /// The graph on a thread of its own, where a run may take this long. A graph that takes longer is lost.
    pub(super) fn supervised(self, limit: Duration) -> Result<Self, ModelError> {
        let Self { engine, file, place } = self;
        let engine = Supervised::start(engine, limit).map_err(|error| ModelError::Run(error.to_string()))?;
        Ok(Self { engine: Box::new(engine), file, place })
    }

    /// Which execution providers run it. Empty: the engine does not say it.
    pub(super) fn placement(&self) -> Vec<ProviderShare> {
        self.engine.placement()
    }

    /// Where its next answers come from.
    pub(super) fn connection(&self) -> Connection {
        self.engine.connection()
    }

    /// Reports that the answers of a connection are wrong, and why.
    pub(super) fn distrust(&mut self, connection: u64, why: &str) {
        self.engine.distrust(connection, why);
    }

    /// Checks that the graph has the inputs `needed`, and no input that cannot be filled.
    pub(super) fn check_inputs(&self, needed: &[&str]) -> Result<(), ModelError> {
        let inputs = &self.engine.metadata().inputs;
        let found: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
        // Whether a model has a mask and kinds of tokens is its own choice.
        let known = |name: &&str| {
            needed.contains(name)
                || (["attention_mask", "token_type_ids"].contains(name) && needed.contains(&"input_ids"))
        };
        if needed.iter().all(|name| found.contains(name)) && found.iter().all(known) {
            return Ok(());
        }
        Err(self.deviation("inputs", needed.join(", "), found.join(", ")))
    }

    /// The first of `wanted` that the graph has.
    pub(super) fn output(&self, wanted: &[&'static str]) -> Result<&'static str, ModelError> {
        let found = &self.engine.metadata().outputs;
        let output = wanted.iter().find(|name| found.iter().any(|output| output == *name));
        output.copied().ok_or_else(|| self.deviation("outputs", wanted.join(" or "), found.join(", ")))
    }

    /// The size that the graph fixes for a dimension of an input.
    pub(super) fn fixed(&self, input: &str, dimension: usize) -> Option<usize> {
        self.engine.metadata().fixed_size(input, dimension)
    }

    /// Checks whether a run could succeed now.
    pub(super) fn health(&mut self) -> Result<(), ModelError> {
        Ok(self.engine.health()?)
    }

    /// Runs the graph and returns the outputs of these names.
    pub(super) fn run<const N: usize>(
        &mut self,
        inputs: &[GraphInput<'_>],
        outputs: [&'static str; N],
    ) -> Result<[Rows; N], ModelError> {
        let inputs: Vec<_> = inputs.iter().flat_map(|input| self.tensors(*input)).collect();
        let rows = self.engine.run(&inputs, &outputs)?;
        let found = rows.len();
        rows.try_into().map_err(|_| ModelError::Run(format!("it gave {found} outputs instead of {N}")))
    }

    fn tensors<'v>(&self, input: GraphInput<'v>) -> Vec<Input<'v>> {
        match input {
            GraphInput::Pictures { values, layout: Layout::Planes { width, height } } => {
                let (width, height) = (width as usize, height as usize);
                let shape = vec![values.len() / (3 * width * height), 3, height, width];
                vec![Input { name: "pixel_values", shape, values: Values::Floats(Cow::Borrowed(values)) }]
            }
            GraphInput::Pictures { values, layout: layout @ Layout::Patches { most, .. } } => {
                patches(values, layout, most as usize)
            }
            GraphInput::Texts(batch) => {
                let tensor = |name, values| Input {
                    name,
                    shape: vec![batch.rows, batch.columns],
                    values: Values::Integers(values),
                };
                let mut inputs = vec![tensor("input_ids", Cow::Borrowed(&batch.ids[..]))];
                if self.engine.metadata().has_input("attention_mask") {
                    inputs.push(tensor("attention_mask", Cow::Borrowed(&batch.mask[..])));
                }
                if self.engine.metadata().has_input("token_type_ids") {
                    // A prompt is one sentence, and every token of a first sentence is of kind 0.
                    inputs.push(tensor("token_type_ids", vec![0; batch.ids.len()].into()));
                }
                inputs
            }
        }
    }

    fn deviation(&self, what: &'static str, expected: String, found: String) -> ModelError {
        ModelError::Graph { place: self.place.clone(), file: self.file.clone(), what, expected, found }
    }
}

/// The inputs of a graph that takes patches: their values, which of them are real, and how many rows and columns a picture has.
fn patches<'v>(values: &[f32], layout: Layout, most: usize) -> Vec<Input<'v>> {
    let pictures = values.chunks_exact(layout.values());
    let batch = pictures.len();
    let (mut pixels, mut mask, mut shapes) = (Vec::with_capacity(values.len()), Vec::new(), Vec::new());
    for picture in pictures {
        let (values, shape) = picture.split_at(picture.len() - 2);
        // Whole numbers, as the preprocessing writes them.
        let [rows, columns] = [shape[0] as i64, shape[1] as i64];
        let real = usize::try_from(rows * columns).unwrap_or(0).min(most);
        pixels.extend_from_slice(values);
        mask.extend(std::iter::repeat_n(1, real).chain(std::iter::repeat_n(0, most - real)));
        shapes.extend([rows, columns]);
    }
    let input = |name, shape, values| Input { name, shape, values };
    vec![
        input("pixel_values", vec![batch, most, layout.patch_values()], Values::Floats(pixels.into())),
        input("pixel_attention_mask", vec![batch, most], Values::Integers(mask.into())),
        input("spatial_shapes", vec![batch, 2], Values::Integers(shapes.into())),
    ]
}

/// Every row divided by its length.
pub(super) fn unit_rows(rows: &Rows) -> Result<Vec<Vec<f32>>, ModelError> {
    rows.values
        .chunks_exact(rows.columns.max(1))
        .map(|row| {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            if !(length.is_finite() && length > 0.0) {
                return Err(ModelError::NotANumber);
            }
            Ok(row.iter().map(|value| value / length).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_become_three_inputs() {
        let layout = Layout::Patches { side: 1, most: 3 };
        let picture = |value: f32, rows: f32, columns: f32| [&[value; 9][..], &[rows, columns]].concat();
        let values = [picture(0.5, 1.0, 2.0), picture(0.25, 3.0, 1.0)].concat();
        let inputs = patches(&values, layout, 3);
        let names: Vec<_> = inputs.iter().map(|input| input.name).collect();
        assert_eq!(names, layout.inputs());
        let shapes: Vec<_> = inputs.iter().map(|input| input.shape.clone()).collect();
        assert_eq!(shapes, [vec![2, 3, 3], vec![2, 3], vec![2, 2]]);
        let [Values::Floats(pixels), Values::Integers(mask), Values::Integers(shapes)] =
            [0, 1, 2].map(|at: usize| inputs[at].values.clone())
        else {
            panic!("{inputs:?}")
        };
        assert_eq!((&pixels[..9], &pixels[9..]), (&[0.5; 9][..], &[0.25; 9][..]));
        assert_eq!((&mask[..], &shapes[..]), (&[1, 1, 0, 1, 1, 1][..], &[1, 2, 3, 1][..]));
    }
}
