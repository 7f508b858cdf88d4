//! One ONNX graph in a session: its inputs and outputs are read from it, checked and filled by name.

use std::{num::NonZero, thread};

use half::{f16, slice::HalfFloatSliceExt, vec::HalfFloatVecExt};
use ort::{
    session::{Session, SessionInputValue, SessionOutputs, builder::GraphOptimizationLevel},
    value::{Tensor, TensorElementType, TensorRef, ValueType},
};

use super::{device, heap::GivesBack};
use crate::{
    config::{Device, Execution},
    model::{ModelError, ModelFiles, Runtime, tokenizer::Batch},
};

/// A loaded graph.
pub(crate) struct Graph {
    session: Session,
    file: String,
    place: String,
}

/// What goes into a graph.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// Pixels of so many pictures, of this width and height.
    Pictures { values: &'a [f32], width: u32, height: u32 },
    /// Tokens of several texts.
    Texts(&'a Batch),
}

/// A matrix: one row for each picture or text.
#[derive(Debug)]
pub(crate) struct Rows {
    pub values: Vec<f32>,
    pub columns: usize,
}

impl Graph {
    pub(crate) fn load(
        runtime: &Runtime,
        files: &ModelFiles,
        file: &str,
        execution: &Execution,
        device: Device,
    ) -> Result<Self, ModelError> {
        let session = session(runtime, files, file, execution, device)
            .map_err(|reason| files.unusable(file, reason))?;
        Ok(Self { session, file: file.to_owned(), place: files.place() })
    }

    /// Holds the graph to the inputs that it must have, and to those that can be filled at all.
    pub(crate) fn check_inputs(&self, needed: &[&str]) -> Result<(), ModelError> {
        let found: Vec<_> = self.session.inputs().iter().map(ort::value::Outlet::name).collect();
        // Whether padding counts, and whether there are kinds of tokens, is the model's affair: it has these inputs or not.
        let known = |name: &&str| {
            needed.contains(name)
                || (["attention_mask", "token_type_ids"].contains(name) && needed.contains(&"input_ids"))
        };
        if needed.iter().all(|name| found.contains(name)) && found.iter().all(known) {
            return Ok(());
        }
        Err(self.deviation("inputs", needed.join(", "), &found))
    }

    /// The first of `wanted` that the graph has.
    pub(crate) fn output(&self, wanted: &[&'static str]) -> Result<&'static str, ModelError> {
        let found: Vec<_> = self.session.outputs().iter().map(ort::value::Outlet::name).collect();
        wanted
            .iter()
            .find(|name| found.contains(name))
            .copied()
            .ok_or_else(|| self.deviation("outputs", wanted.join(" or "), &found))
    }

    /// The size that an input has in a dimension, where the graph fixes it.
    pub(crate) fn fixed(&self, input: &str, dimension: usize) -> Option<usize> {
        match self.dtype(input)? {
            ValueType::Tensor { shape, .. } => {
                shape.get(dimension).and_then(|size| usize::try_from(*size).ok())
            }
            _ => None,
        }
    }

    /// Runs the graph and returns the outputs asked for.
    pub(crate) fn run<const N: usize>(
        &mut self,
        inputs: &[Input<'_>],
        outputs: [&'static str; N],
    ) -> Result<[Rows; N], ModelError> {
        let mut values = Vec::new();
        for input in inputs {
            values.extend(self.values(*input)?);
        }
        let found = self.session.run(values).map_err(failed)?;
        let rows = outputs.iter().map(|name| rows(&found, name)).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.try_into().expect("one matrix for each name"))
    }

    /// What an input is to the graph: tensors by name.
    fn values<'v>(&self, input: Input<'v>) -> Result<Vec<(&'static str, SessionInputValue<'v>)>, ModelError> {
        match input {
            Input::Pictures { values, width, height } => {
                let (width, height) = (width as usize, height as usize);
                let count = values.len() / (3 * width * height);
                let shape = [count, 3, height, width];
                let tensor = match self.element("pixel_values") {
                    // Some exports of half precision want their pictures so, too.
                    Some(TensorElementType::Float16) => {
                        let halves = Vec::from_f32_slice(values);
                        Tensor::<f16>::from_array((shape, halves)).map_err(failed)?.into()
                    }
                    _ => TensorRef::from_array_view((shape, values)).map_err(failed)?.into(),
                };
                Ok(vec![("pixel_values", tensor)])
            }
            Input::Texts(batch) => {
                let mut values = vec![("input_ids", self.tokens("input_ids", &batch.ids, batch)?)];
                if self.dtype("attention_mask").is_some() {
                    values.push(("attention_mask", self.tokens("attention_mask", &batch.mask, batch)?));
                }
                if self.dtype("token_type_ids").is_some() {
                    // A prompt is one sentence, and all of a first sentence is of kind 0.
                    let kinds = vec![0; batch.ids.len()];
                    values.push(("token_type_ids", self.tokens("token_type_ids", &kinds, batch)?));
                }
                Ok(values)
            }
        }
    }

    /// Ids as the graph's own kind of integer.
    fn tokens<'v>(
        &self,
        input: &str,
        ids: &[i64],
        batch: &Batch,
    ) -> Result<SessionInputValue<'v>, ModelError> {
        let shape = [batch.rows, batch.columns];
        if self.element(input) == Some(TensorElementType::Int32) {
            let ids: Vec<i32> = ids.iter().map(|id| i32::try_from(*id).unwrap_or(i32::MAX)).collect();
            return Ok(Tensor::from_array((shape, ids)).map_err(failed)?.into());
        }
        Ok(Tensor::from_array((shape, ids.to_vec())).map_err(failed)?.into())
    }

    fn dtype(&self, input: &str) -> Option<&ValueType> {
        self.session.inputs().iter().find(|outlet| outlet.name() == input).map(ort::value::Outlet::dtype)
    }

    /// The kind of number that an input holds.
    fn element(&self, input: &str) -> Option<TensorElementType> {
        match self.dtype(input)? {
            ValueType::Tensor { ty, .. } => Some(*ty),
            _ => None,
        }
    }

    fn deviation(&self, what: &'static str, expected: String, found: &[&str]) -> ModelError {
        ModelError::Graph {
            place: self.place.clone(),
            file: self.file.clone(),
            what,
            expected,
            found: found.join(", "),
        }
    }
}

fn rows(found: &SessionOutputs<'_>, name: &str) -> Result<Rows, ModelError> {
    let value = found.get(name).ok_or_else(|| ModelError::Run(format!("it gave no {name}")))?;
    let half = matches!(value.dtype(), ValueType::Tensor { ty: TensorElementType::Float16, .. });
    let (shape, values) = if half {
        let (shape, values) = value.try_extract_tensor::<f16>().map_err(failed)?;
        (shape, values.to_f32_vec())
    } else {
        let (shape, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
        (shape, values.to_vec())
    };
    match shape.as_ref() {
        [_, columns] => Ok(Rows { values, columns: usize::try_from(*columns).unwrap_or_default() }),
        shape => Err(ModelError::Run(format!("its {name} has the shape {shape:?} instead of a matrix's"))),
    }
}

fn failed(error: ort::Error) -> ModelError {
    ModelError::Run(error.to_string())
}

fn session(
    runtime: &Runtime,
    files: &ModelFiles,
    file: &str,
    execution: &Execution,
    device: Device,
) -> Result<Session, String> {
    let text = |error: ort::Error| error.to_string();
    let recovered = |error: ort::Error<ort::session::builder::SessionBuilder>| error.to_string();
    let mut builder = Session::builder(runtime.environment())
        .map_err(text)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(recovered)?
        // Frames come one a second: spinning between them would cost more than the model.
        .with_intra_op_spinning(false)
        .map_err(recovered)?;
    // Always said: left to itself, ONNX Runtime ties each thread to a processor, which a hardened service may not.
    let threads =
        execution.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    builder = builder.with_intra_threads(threads).map_err(recovered)?;
    builder = device::on(builder, device, execution.gpu_memory)?;
    let _gives_back = GivesBack::from_now_on();
    match files {
        // By its path, so that weights kept in a file beside it are found.
        ModelFiles::Folder(folder) => builder.commit_from_file(folder.join(file)).map_err(text),
        ModelFiles::Embedded(_) => {
            let bytes = files.read(file).map_err(|error| error.to_string())?.unwrap_or_default();
            builder.commit_from_memory(&bytes).map_err(text)
        }
    }
}
