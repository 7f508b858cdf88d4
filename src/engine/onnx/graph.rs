//! A graph in an ONNX Runtime session.

use std::{borrow::Cow, num::NonZero, thread};

use half::{f16, slice::HalfFloatSliceExt, vec::HalfFloatVecExt};
use ort::{
    session::{
        Session, SessionInputValue, SessionOutputs,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{Tensor, TensorElementType, TensorRef, ValueType},
};

use super::{
    device, plugin,
    runtime::Runtime,
    work::{self, Working},
};
use crate::{
    config::{Device, Execution},
    engine::interface::{
        Engine, EngineError, GraphContent, GraphSource, Input, InputInfo, Metadata, ProviderShare, Rows,
        Values,
    },
};

/// The setting of a session that records which provider runs which node. Versions that do not know it ignore it.
const RECORD_ASSIGNMENT: &str = "session.record_ep_graph_assignment_info";
/// The entry of a session with the folder of the weights, for a graph in memory.
const FOLDER_OF_WEIGHTS: &str = "session.model_external_initializers_file_folder_path";

pub(crate) struct OnnxGraph {
    session: Session,
    metadata: Metadata,
    placement: Vec<ProviderShare>,
    /// Set while the session is released: fields are dropped in this order.
    releasing: Option<Working<'static>>,
}

impl Drop for OnnxGraph {
    fn drop(&mut self) {
        self.releasing = Some(work::begin());
    }
}

impl OnnxGraph {
    /// # Errors
    /// [`EngineError::Rejected`], in ONNX Runtime's words.
    pub(crate) fn open(
        runtime: &Runtime,
        source: &GraphSource,
        execution: &Execution,
        device: Device,
    ) -> Result<Self, EngineError> {
        let _working = work::begin();
        let session = session(runtime, source, execution, device).map_err(EngineError::Rejected)?;
        let inputs = session.inputs().iter();
        let inputs =
            inputs.map(|input| InputInfo { name: input.name().to_owned(), shape: shape(input.dtype()) });
        let outputs = session.outputs().iter().map(|output| output.name().to_owned()).collect();
        let metadata = Metadata { inputs: inputs.collect(), outputs };
        let placement = match device.is_accelerator() {
            true => plugin::assignment(&session).into_iter(),
            false => Default::default(),
        };
        let placement = placement.map(|(provider, nodes)| ProviderShare { provider, nodes }).collect();
        Ok(Self { metadata, placement, session, releasing: None })
    }

    /// The kind of number that an input holds.
    fn element(&self, input: &str) -> Option<TensorElementType> {
        match self.session.inputs().iter().find(|outlet| outlet.name() == input)?.dtype() {
            ValueType::Tensor { ty, .. } => Some(*ty),
            _ => None,
        }
    }

    fn tensor<'v>(&self, input: &'v Input<'_>) -> Result<SessionInputValue<'v>, EngineError> {
        let shape = input.shape.clone();
        match (&input.values, self.element(input.name)) {
            // Some exports of half precision want pictures in half precision, too.
            (Values::Floats(values), Some(TensorElementType::Float16)) => {
                let halves = Vec::from_f32_slice(values);
                Ok(Tensor::<f16>::from_array((shape, halves)).map_err(rejected)?.into())
            }
            (Values::Floats(values), _) => {
                Ok(TensorRef::from_array_view((shape, &**values)).map_err(rejected)?.into())
            }
            (Values::Integers(values), Some(TensorElementType::Int32)) => {
                let values: Vec<i32> =
                    values.iter().map(|value| i32::try_from(*value).unwrap_or(i32::MAX)).collect();
                Ok(Tensor::from_array((shape, values)).map_err(rejected)?.into())
            }
            (Values::Integers(values), _) => {
                Ok(Tensor::from_array((shape, Cow::clone(values).into_owned())).map_err(rejected)?.into())
            }
        }
    }
}

impl Engine for OnnxGraph {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn run(&mut self, inputs: &[Input<'_>], outputs: &[&str]) -> Result<Vec<Rows>, EngineError> {
        let values = inputs
            .iter()
            .map(|input| Ok((input.name, self.tensor(input)?)))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let _working = work::begin();
        let answer = self.session.run(values).map_err(rejected)?;
        outputs.iter().map(|name| rows(&answer, name)).collect()
    }

    /// A library in the same process is always there.
    fn health(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn placement(&self) -> Vec<ProviderShare> {
        self.placement.clone()
    }
}

fn session(
    runtime: &Runtime,
    source: &GraphSource,
    execution: &Execution,
    device: Device,
) -> Result<Session, String> {
    let text = |error: ort::Error| error.to_string();
    let recovered = |error: ort::Error<SessionBuilder>| error.to_string();
    // ONNX Runtime's own default ties each thread to a processor, which a hardened service may not do.
    let threads =
        execution.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let builder = Session::builder(&runtime.environment)
        .map_err(text)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(recovered)?
        // Frames arrive about once a second: spinning between them would cost more than the model.
        .with_intra_op_spinning(false)
        .map_err(recovered)?
        .with_intra_threads(threads)
        .map_err(recovered)?;
    let builder = match device.is_accelerator() {
        // A provider that takes no node of the graph is otherwise invisible.
        true => builder.with_config_entry(RECORD_ASSIGNMENT, "1").map_err(recovered)?,
        false => builder,
    };
    let mut builder = device::on(runtime, builder, device, execution, &source.key)?;
    let _large_blocks = heap::ReturnLargeBlocks::new();
    match &source.content {
        // By its path, so that weights in a file beside the graph are found.
        GraphContent::File(path) => builder.commit_from_file(path),
        GraphContent::Bytes(bytes) => builder.commit_from_memory(bytes),
        GraphContent::BytesOfFolder(bytes, folder) => {
            let folder = folder.to_str().ok_or_else(|| format!("{} is no UTF-8", folder.display()))?;
            builder.with_config_entry(FOLDER_OF_WEIGHTS, folder).map_err(recovered)?.commit_from_memory(bytes)
        }
    }
    .map_err(text)
}

fn shape(dtype: &ValueType) -> Vec<Option<usize>> {
    match dtype {
        // ONNX Runtime gives -1 for a dimension of any size.
        ValueType::Tensor { shape, .. } => shape.iter().map(|size| usize::try_from(*size).ok()).collect(),
        _ => Vec::new(),
    }
}

fn rows(answer: &SessionOutputs<'_>, name: &str) -> Result<Rows, EngineError> {
    let value = answer.get(name).ok_or_else(|| EngineError::Rejected(format!("it gave no {name}")))?;
    let half = matches!(value.dtype(), ValueType::Tensor { ty: TensorElementType::Float16, .. });
    let (shape, values) = if half {
        let (shape, values) = value.try_extract_tensor::<f16>().map_err(rejected)?;
        (shape, values.to_f32_vec())
    } else {
        let (shape, values) = value.try_extract_tensor::<f32>().map_err(rejected)?;
        (shape, values.to_vec())
    };
    match shape.as_ref() {
        [_, columns] => Ok(Rows { values, columns: usize::try_from(*columns).unwrap_or_default() }),
        shape => {
            Err(EngineError::Rejected(format!("its {name} has the shape {shape:?} instead of a matrix's")))
        }
    }
}

fn rejected(error: ort::Error) -> EngineError {
    EngineError::Rejected(error.to_string())
}

/// Returns the memory that reading a graph takes as soon as it is free.
///
/// A graph that holds its weights itself is read into one block for each of them. ONNX Runtime then copies most of them into
/// the layout that suits the processor, and frees the blocks. With glibc's defaults these blocks stay with the process after
/// the second graph: with CLIP ViT-B/16, 509 MB instead of 392 MB at full precision and 201 instead of 149 with 8 bits.
/// Nothing else changes: the memory of frames stays with the process, which is faster.
mod heap {
    /// While it is alive, large blocks are taken from the system and returned to it.
    pub(super) struct ReturnLargeBlocks(());

    /// Most weights are larger, and little else is while a graph is read.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    const LARGE: i32 = 1 << 20;
    /// The values that glibc itself reaches once a block of this size or a larger one was freed, for the two thresholds.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    const REACHED: (i32, i32) = (32 << 20, 64 << 20);

    impl ReturnLargeBlocks {
        pub(super) fn new() -> Self {
            #[cfg(all(target_os = "linux", target_env = "gnu"))]
            set(libc::M_MMAP_THRESHOLD, LARGE);
            Self(())
        }
    }

    impl Drop for ReturnLargeBlocks {
        fn drop(&mut self) {
            #[cfg(all(target_os = "linux", target_env = "gnu"))]
            {
                set(libc::M_MMAP_THRESHOLD, REACHED.0);
                set(libc::M_TRIM_THRESHOLD, REACHED.1);
            }
        }
    }

    /// A value that is not accepted changes only how much memory is returned, so the result is not checked.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    fn set(parameter: i32, value: i32) {
        // SAFETY: mallopt takes two numbers, under the allocator's own lock. Threads that allocate meanwhile read the old
        // number or the new one, as they do when `free` raises the threshold.
        unsafe { libc::mallopt(parameter, value) };
    }
}
