//! Weight files with random numbers, in a folder of their own.

use std::{cell::RefCell, collections::BTreeMap, fs, path::Path};

use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::model::build::{
    BuildError, Recipe, Tower, WeightSource,
    graph::GraphBuilder,
    onnx::{Data, Graph},
    weights::Weights,
};

/// A tensor: its shape, and its numbers as they are stored.
pub(super) type Tensor = (Vec<usize>, Vec<f32>);

/// A model with random weights.
pub(super) struct Checkpoint {
    folder: TempDir,
    source: WeightSource,
    config: Json,
    dtype: Dtype,
    pub tensors: RefCell<BTreeMap<String, Tensor>>,
}

impl Checkpoint {
    /// With every tensor that the graphs of a configuration ask for.
    pub(super) fn random(source: WeightSource, config: Json, dtype: Dtype) -> Self {
        let weights = Weights::of_anything();
        let recipe = Recipe { source, config: config.clone(), weights, masks_padding: true };
        let graphs = [Tower::Vision, Tower::Text].map(|tower| recipe.graph(tower, false).unwrap());
        Self::with(source, config, dtype, &graphs)
    }

    /// With every tensor that a graph asks for.
    pub(super) fn of(
        source: WeightSource,
        config: Json,
        dtype: Dtype,
        build: &dyn Fn(&mut GraphBuilder<'_>) -> Result<(), BuildError>,
    ) -> Self {
        let weights = Weights::of_anything();
        let mut builder = GraphBuilder::new(&weights, "config.json", false);
        build(&mut builder).unwrap();
        Self::with(source, config, dtype, &[builder.finish()])
    }

    fn with(source: WeightSource, config: Json, dtype: Dtype, graphs: &[Graph]) -> Self {
        let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let constants = graphs.iter().flat_map(|graph| &graph.constants);
        for constant in constants.filter(|it| matches!(it.data, Data::Outside { .. })) {
            // Rows of a tensor have the numbers of the first and of the one after the last in their name.
            let (name, rows) = match constant.name.split_once('[') {
                None => (&*constant.name, constant.shape.first().copied()),
                Some((name, rows)) => {
                    let end = rows.trim_end_matches(']').split(':').next_back().unwrap();
                    (name, Some(end.parse().unwrap()))
                }
            };
            let shape = shapes.entry(name.to_owned()).or_insert_with(|| constant.shape.clone());
            if let (Some(first), Some(rows)) = (shape.first_mut(), rows) {
                *first = rows.max(*first);
            }
        }
        // A second row of the kinds of tokens, which is not used.
        for (_, kinds) in shapes.iter_mut().filter(|(name, _)| name.contains("token_type")) {
            kinds[0] = config["text_config"]["type_vocab_size"].as_u64().unwrap() as usize;
        }
        let mut seed = 1;
        let mut tensors = BTreeMap::new();
        for (name, shape) in shapes {
            seed += 1;
            let is_scale = shape.len() == 1 && name.ends_with("weight");
            let place = |number: f32| stored(if is_scale { 1.0 + 0.3 * number } else { 0.6 * number }, dtype);
            let count = shape.iter().product();
            tensors.insert(name, (shape, numbers(count, seed).into_iter().map(place).collect()));
        }
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder, source, config, dtype, tensors: RefCell::new(tensors) };
        this.write();
        this
    }

    /// Writes the weight file, with tensors one after the other.
    fn write(&self) {
        let (mut header, mut data) = (json!({"__metadata__": {"format": "pt"}}), Vec::new());
        for (name, (shape, values)) in &*self.tensors.borrow() {
            let begin = data.len();
            for value in values {
                match self.dtype {
                    Dtype::F16 => data.extend(f16::from_f32(*value).to_le_bytes()),
                    Dtype::BF16 => data.extend(bf16::from_f32(*value).to_le_bytes()),
                    _ => data.extend(value.to_le_bytes()),
                }
            }
            header[name] = json!({
                "dtype": format!("{:?}", self.dtype), "shape": shape, "data_offsets": [begin, data.len()]
            });
        }
        let header = header.to_string();
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
        fs::write(self.folder().join(self.source.weights), file).unwrap();
    }

    /// Replaces the numbers beside the towers.
    pub(super) fn with_numbers(&self, numbers: &[(&str, f32)]) {
        self.tensors.borrow_mut().retain(|name, _| !name.starts_with("logit_"));
        for (name, number) in numbers {
            self.tensors.borrow_mut().insert((*name).to_owned(), (vec![1], vec![*number]));
        }
        self.write();
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn recipe(&self, masks_padding: bool) -> Recipe {
        Recipe::read(self.folder(), self.source, self.config.clone(), masks_padding).unwrap()
    }
}

fn stored(number: f32, dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F16 => f16::from_f32(number).to_f32(),
        Dtype::BF16 => bf16::from_f32(number).to_f32(),
        _ => number,
    }
}

/// A fixed sequence of numbers between -1 and 1.
pub(super) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let mut next = || {
        // Numerical Recipes' linear congruential generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as u16) / 32_768.0 - 1.0
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}
