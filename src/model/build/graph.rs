//! Builds a graph step by step: each function adds a few operations and returns their result.
//!
//! Tokens are rows of one matrix, those of the first picture or text first, since ONNX Runtime multiplies matrices by weights
//! in the layout of the file (`Gemm` with `transB`). They become a tensor of three or four dimensions only where tokens of one
//! picture are combined.
//!
//! Every number is computed with 32 bits, whatever the weights have: a processor has no faster way. ONNX Runtime converts
//! weights of 16 bits once, when it loads the graph, and does not keep the others. So the memory is that of weights with 32
//! bits: about twice the size of the file. Only a table of embeddings stays as it is, and the rows that are looked up are
//! converted.

use std::{collections::BTreeMap, ops::Range};

use safetensors::Dtype;

use super::{
    error::BuildError,
    onnx::{Attribute, BATCH, Constant, Data, Dimension, Element, Graph, Node, ONNX_RUNTIME, Outlet},
    weights::{StoredTensor, Weights},
};

/// A value in a graph, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value(String);

/// The number of tokens of a picture or text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Length {
    Fixed(usize),
    /// A list of one number, from the inputs.
    Given(Value),
}

/// Rows of a tensor: a file may hold several matrices below each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rows {
    pub tensor: String,
    /// `None` for all rows.
    pub part: Option<RowRange>,
}

/// Some of the rows of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowRange {
    pub rows: Range<usize>,
    /// The number of rows of the whole tensor.
    pub of: usize,
}

impl Rows {
    /// A whole tensor.
    pub(super) fn all(tensor: impl Into<String>) -> Self {
        Self { tensor: tensor.into(), part: None }
    }

    /// Block number `at` of `of` equal blocks of `size` rows.
    pub(super) fn block(tensor: &str, at: usize, of: usize, size: usize) -> Self {
        let part = RowRange { rows: at * size..(at + 1) * size, of: of * size };
        Self { tensor: tensor.to_owned(), part: Some(part) }
    }
}

/// A linear layer: its weights have a row for each output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Linear {
    pub weight: Rows,
    pub bias: Option<Rows>,
    pub inputs: usize,
    pub outputs: usize,
}

impl Linear {
    /// `PREFIX.weight` and `PREFIX.bias`.
    pub(super) fn new(prefix: &str, inputs: usize, outputs: usize) -> Self {
        let bias = Some(Rows::all(format!("{prefix}.bias")));
        Self { bias, ..Self::without_bias(prefix, inputs, outputs) }
    }

    /// `PREFIX.weight`.
    pub(super) fn without_bias(prefix: &str, inputs: usize, outputs: usize) -> Self {
        Self { weight: Rows::all(format!("{prefix}.weight")), bias: None, inputs, outputs }
    }

    /// The layer number `at` of `of` layers of `width` inputs and outputs, which are below each other in two tensors.
    pub(super) fn stacked([weight, bias]: &[String; 2], at: usize, of: usize, width: usize) -> Self {
        let rows = |tensor: &str| Rows::block(tensor, at, of, width);
        Self { weight: rows(weight), bias: Some(rows(bias)), inputs: width, outputs: width }
    }
}

/// A graph that is being built.
pub(super) struct GraphBuilder<'w> {
    weights: &'w Weights,
    /// The file that the sizes come from, for messages.
    config: &'static str,
    /// Whether attention is one operator of ONNX Runtime, instead of several of ONNX.
    fuses_attention: bool,
    graph: Graph,
    /// Values that are in the graph, by what they are.
    known: BTreeMap<String, Value>,
    /// Constants that are in the graph, by their type, shape and bytes.
    constants: BTreeMap<(Element, Vec<usize>, Vec<u8>), Value>,
    next: usize,
}

impl<'w> GraphBuilder<'w> {
    pub(super) fn new(weights: &'w Weights, config: &'static str, fuses_attention: bool) -> Self {
        let (graph, known, constants) = (Graph::default(), BTreeMap::new(), BTreeMap::new());
        Self { weights, config, fuses_attention, graph, known, constants, next: 0 }
    }

    pub(super) fn finish(self) -> Graph {
        self.graph
    }

    pub(super) fn weights(&self) -> &'w Weights {
        self.weights
    }

    /// An error about the file that the sizes come from.
    pub(super) fn wrong_config(&self, problem: impl Into<String>) -> BuildError {
        BuildError::new(self.config, problem)
    }

    pub(super) fn input(&mut self, name: &str, element: Element, shape: Vec<Dimension>) -> Value {
        self.graph.inputs.push(Outlet { name: name.to_owned(), element, shape });
        Value(name.to_owned())
    }

    /// Makes `value`, which has `columns` numbers for each picture or text, an output of this name.
    pub(super) fn output(&mut self, name: &str, value: &Value, columns: usize) {
        let node = Node {
            operator: "Identity",
            domain: "",
            inputs: vec![value.0.clone()],
            output: name.to_owned(),
            attributes: vec![],
        };
        self.graph.nodes.push(node);
        let shape = vec![BATCH, Dimension::Fixed(columns)];
        self.graph.outputs.push(Outlet { name: name.to_owned(), element: Element::Float, shape });
    }

    /// Adds an operation with one result.
    pub(super) fn op<const N: usize>(&mut self, operator: &'static str, inputs: [&Value; N]) -> Value {
        self.op_with(operator, inputs, vec![])
    }

    /// Adds an operation with settings.
    pub(super) fn op_with<const N: usize>(
        &mut self,
        operator: &'static str,
        inputs: [&Value; N],
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Value {
        let domain = if operator == "MultiHeadAttention" { ONNX_RUNTIME } else { "" };
        let output = format!("{}_{}", operator.to_lowercase(), self.next);
        self.next += 1;
        let inputs = inputs.map(|input| input.0.clone()).to_vec();
        self.graph.nodes.push(Node { operator, domain, inputs, output: output.clone(), attributes });
        Value(output)
    }

    /// Adds an operation along one dimension.
    pub(super) fn along<const N: usize>(
        &mut self,
        operator: &'static str,
        axis: i64,
        inputs: [&Value; N],
    ) -> Value {
        self.op_with(operator, inputs, vec![("axis", Attribute::Int(axis))])
    }

    /// A list of numbers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::Int64, vec![values.len()], bytes)
    }

    /// A single whole number.
    pub(super) fn int(&mut self, value: i64) -> Value {
        self.constant(Element::Int64, vec![], value.to_le_bytes().to_vec())
    }

    /// A single number.
    pub(super) fn float(&mut self, value: f32) -> Value {
        self.constant(Element::Float, vec![], value.to_le_bytes().to_vec())
    }

    /// A tensor of numbers.
    pub(super) fn floats(&mut self, shape: &[usize], values: &[f32]) -> Value {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Element::Float, shape.to_vec(), bytes)
    }

    fn constant(&mut self, element: Element, shape: Vec<usize>, bytes: Vec<u8>) -> Value {
        let key = (element, shape, bytes);
        if let Some(known) = self.constants.get(&key) {
            return known.clone();
        }
        let name = format!("constant_{}", self.next);
        self.next += 1;
        let (shape, data) = (key.1.clone(), Data::Inside(key.2.clone()));
        self.graph.constants.push(Constant { name: name.clone(), element, shape, data });
        self.constants.insert(key, Value(name.clone()));
        Value(name)
    }

    /// A tensor of the weights, as numbers of 32 bits.
    ///
    /// # Errors
    /// It is missing, or has another shape or type.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize]) -> Result<Value, BuildError> {
        self.rows(&Rows::all(name), shape)
    }

    /// Rows of a tensor of the weights, as numbers of 32 bits. `shape` is that of the rows.
    ///
    /// # Errors
    /// As [`Self::weight`].
    pub(super) fn rows(&mut self, rows: &Rows, shape: &[usize]) -> Result<Value, BuildError> {
        let (stored, element) = self.stored(rows, shape)?;
        if element == Element::Float {
            return Ok(stored);
        }
        let key = format!("{} as Float", stored.0);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let value = self.cast(&stored, Element::Float);
        self.known.insert(key, value.clone());
        Ok(value)
    }

    /// Rows of a tensor in the type that they are stored in.
    fn stored(&mut self, rows: &Rows, shape: &[usize]) -> Result<(Value, Element), BuildError> {
        let mut whole = shape.to_vec();
        if let (Some(part), Some(first)) = (&rows.part, whole.first_mut()) {
            *first = part.of;
        }
        let tensor = self.weights.tensor(&rows.tensor, &whole, self.config)?;
        let element = element(&tensor);
        let name = match &rows.part {
            None => rows.tensor.clone(),
            Some(RowRange { rows: range, .. }) => format!("{}[{}:{}]", rows.tensor, range.start, range.end),
        };
        let value = Value(name.clone());
        if self.known.insert(name.clone(), value.clone()).is_none() {
            let (skipped, length) = match &rows.part {
                None => (0, tensor.length),
                Some(part) => {
                    let row = tensor.length / part.of.max(1) as u64;
                    (row * part.rows.start as u64, row * part.rows.len() as u64)
                }
            };
            let (file, offset) = (self.weights.location(&tensor).to_owned(), tensor.offset + skipped);
            let data = Data::Outside { file, offset, length };
            self.graph.constants.push(Constant { name, element, shape: shape.to_vec(), data });
        }
        Ok((value, element))
    }

    pub(super) fn cast(&mut self, value: &Value, element: Element) -> Value {
        self.op_with("Cast", [value], vec![("to", Attribute::Int(element as i64))])
    }

    /// Looks up rows of a table of weights. The table stays as it is stored: only the rows that are found are converted.
    ///
    /// # Errors
    /// As [`Self::weight`].
    pub(super) fn look_up(
        &mut self,
        table: &str,
        shape: &[usize],
        rows: &Value,
    ) -> Result<Value, BuildError> {
        let (stored, element) = self.stored(&Rows::all(table), shape)?;
        let found = self.along("Gather", 0, [&stored, rows]);
        Ok(if element == Element::Float { found } else { self.cast(&found, Element::Float) })
    }

    /// Applies a linear layer to rows.
    ///
    /// # Errors
    /// As [`Self::weight`].
    pub(super) fn linear(&mut self, rows: &Value, layer: &Linear) -> Result<Value, BuildError> {
        let weight = self.rows(&layer.weight, &[layer.outputs, layer.inputs])?;
        let transposed = || vec![("transB", Attribute::Int(1))];
        Ok(match &layer.bias {
            None => self.op_with("Gemm", [rows, &weight], transposed()),
            Some(bias) => {
                let bias = self.rows(bias, &[layer.outputs])?;
                self.op_with("Gemm", [rows, &weight, &bias], transposed())
            }
        })
    }

    /// Multiplies rows by a matrix with a row for each input.
    ///
    /// # Errors
    /// As [`Self::weight`].
    pub(super) fn project(
        &mut self,
        rows: &Value,
        matrix: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Value, BuildError> {
        let matrix = self.weight(matrix, &[inputs, outputs])?;
        Ok(self.op("MatMul", [rows, &matrix]))
    }

    /// Normalises each row, with `PREFIX.weight` and `PREFIX.bias`.
    ///
    /// # Errors
    /// As [`Self::weight`].
    pub(super) fn layer_norm(
        &mut self,
        rows: &Value,
        prefix: &str,
        width: usize,
        epsilon: f32,
    ) -> Result<Value, BuildError> {
        let scale = self.weight(&format!("{prefix}.weight"), &[width])?;
        let bias = self.weight(&format!("{prefix}.bias"), &[width])?;
        let settings = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon))];
        Ok(self.op_with("LayerNormalization", [rows, &scale, &bias], settings))
    }

    pub(super) fn transpose(&mut self, value: &Value, order: &[i64]) -> Value {
        self.op_with("Transpose", [value], vec![("perm", Attribute::Ints(order.to_vec()))])
    }

    pub(super) fn reshape(&mut self, value: &Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.op("Reshape", [value, &shape])
    }

    /// The size of `value` in one dimension, as a list of one number.
    pub(super) fn size(&mut self, value: &Value, dimension: i64) -> Value {
        let part = vec![("end", Attribute::Int(dimension + 1)), ("start", Attribute::Int(dimension))];
        self.op_with("Shape", [value], part)
    }

    /// Rows as a tensor with the dimensions of pictures or texts, tokens, and `rest`.
    pub(super) fn by_token(&mut self, rows: &Value, length: &Length, rest: &[usize]) -> Value {
        let signed = |size: &usize| i64::try_from(*size).unwrap_or(i64::MAX);
        let rest: Vec<_> = rest.iter().map(signed).collect();
        let shape = match length {
            Length::Fixed(length) => self.ints(&[&[-1, signed(length)][..], &rest].concat()),
            Length::Given(length) => {
                let key = format!("by {} {rest:?}", length.0);
                if let Some(known) = self.known.get(&key) {
                    known.clone()
                } else {
                    let (any, rest) = (self.ints(&[-1]), self.ints(&rest));
                    let shape = self.along("Concat", 0, [&any, length, &rest]);
                    self.known.insert(key, shape.clone());
                    shape
                }
            }
        };
        self.op("Reshape", [rows, &shape])
    }

    /// A tensor as rows of `width` numbers.
    pub(super) fn as_rows(&mut self, tensor: &Value, width: usize) -> Value {
        self.reshape(tensor, &[-1, i64::try_from(width).unwrap_or(i64::MAX)])
    }

    /// The token at `position` of each picture or text; -1 is the last.
    pub(super) fn token(&mut self, rows: &Value, length: &Length, width: usize, position: i64) -> Value {
        let tokens = self.by_token(rows, length, &[width]);
        let position = self.int(position);
        self.along("Gather", 1, [&tokens, &position])
    }

    pub(super) fn fuses_attention(&self) -> bool {
        self.fuses_attention
    }
}

/// The type of a tensor that [`Weights::tensor`] has accepted.
fn element(tensor: &StoredTensor) -> Element {
    match tensor.dtype {
        Dtype::F16 => Element::Half,
        Dtype::BF16 => Element::BFloat16,
        _ => Element::Float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(weights: &Weights, build: impl FnOnce(&mut GraphBuilder<'_>)) -> Graph {
        let mut builder = GraphBuilder::new(weights, "config.json", false);
        build(&mut builder);
        builder.finish()
    }

    fn operators(graph: &Graph) -> Vec<&'static str> {
        graph.nodes.iter().map(|node| node.operator).collect()
    }

    #[test]
    fn weights_stay_in_their_file_and_are_named_once() {
        let weights = Weights::imagined(&[("a.weight", Dtype::F32, &[3, 2]), ("a.bias", Dtype::F32, &[3])]);
        let graph = built(&weights, |builder| {
            let x = builder.input("x", Element::Float, vec![Dimension::Any("n"), Dimension::Fixed(2)]);
            for _ in 0..2 {
                builder.linear(&x, &Linear::new("a", 2, 3)).unwrap();
            }
        });
        assert_eq!(operators(&graph), ["Gemm", "Gemm"]);
        assert_eq!(graph.nodes[0].inputs, ["x", "a.weight", "a.bias"]);
        let outside = |offset, length| Data::Outside { file: "model.safetensors".to_owned(), offset, length };
        let places: Vec<_> = graph.constants.iter().map(|constant| constant.data.clone()).collect();
        assert_eq!(places, [outside(1000, 24), outside(1024, 12)]);
    }

    #[test]
    fn rows_of_a_stacked_tensor_are_a_part_of_its_bytes() {
        let weights = Weights::imagined(&[("w", Dtype::F32, &[6, 2]), ("b", Dtype::F32, &[6])]);
        let graph = built(&weights, |builder| {
            let x = builder.input("x", Element::Float, vec![]);
            builder.linear(&x, &Linear::stacked(&["w".to_owned(), "b".to_owned()], 1, 3, 2)).unwrap();
        });
        let constants: Vec<_> =
            graph.constants.iter().map(|it| (&*it.name, &it.shape[..], &it.data)).collect();
        let outside = |offset, length| Data::Outside { file: "model.safetensors".to_owned(), offset, length };
        let (weight, bias) = (outside(1000 + 16, 16), outside(1048 + 8, 8));
        assert_eq!(constants, [("w[2:4]", &[2, 2][..], &weight), ("b[2:4]", &[2][..], &bias)]);
    }

    #[test]
    fn weights_of_16_bits_are_converted_and_a_table_is_converted_row_by_row() {
        let weights = Weights::imagined(&[("h", Dtype::F16, &[2]), ("t", Dtype::BF16, &[9, 2])]);
        let graph = built(&weights, |builder| {
            let ids = builder.input("ids", Element::Int64, vec![]);
            let found = builder.look_up("t", &[9, 2], &ids).unwrap();
            let (half, again) = (builder.weight("h", &[2]).unwrap(), builder.weight("h", &[2]).unwrap());
            assert_eq!(half, again);
            builder.op("Add", [&found, &half]);
        });
        assert_eq!(operators(&graph), ["Gather", "Cast", "Cast", "Add"]);
        assert_eq!(graph.nodes[0].inputs, ["t", "ids"]);
        let elements: Vec<_> = graph.constants.iter().map(|constant| constant.element).collect();
        assert_eq!(elements, [Element::BFloat16, Element::Half]);
    }

    #[test]
    fn tokens_are_rows_until_they_are_combined() {
        let weights = Weights::imagined(&[]);
        let graph = built(&weights, |builder| {
            let x = builder.input("x", Element::Float, vec![]);
            let length = Length::Given(builder.size(&x, 1));
            builder.by_token(&x, &Length::Fixed(5), &[4]);
            builder.by_token(&x, &length, &[2, 4]);
            builder.by_token(&x, &length, &[2, 4]);
            builder.token(&x, &Length::Fixed(5), 4, -1);
        });
        // The shape of a given length is computed once.
        assert_eq!(
            operators(&graph),
            ["Shape", "Reshape", "Concat", "Reshape", "Reshape", "Reshape", "Gather"]
        );
        let lists: Vec<_> = graph.constants.iter().map(|constant| constant.shape.clone()).collect();
        assert_eq!(lists, [vec![3], vec![1], vec![2], vec![]]);
    }

    #[test]
    fn what_a_config_asks_for_and_the_weights_lack_is_an_error() {
        let weights = Weights::imagined(&[("a.weight", Dtype::F32, &[3, 2])]);
        built(&weights, |builder| {
            let x = builder.input("x", Element::Float, vec![]);
            let error = builder.linear(&x, &Linear::new("a", 3, 2)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "model.safetensors: the tensor `a.weight` has the shape [3, 2], and config.json asks for [2, 3]"
            );
            let error = builder.linear(&x, &Linear::new("a", 2, 3)).unwrap_err();
            assert_eq!(error.to_string(), "model.safetensors: the tensor `a.bias` is missing");
        });
    }
}
