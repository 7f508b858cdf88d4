//! Rewrites a graph so that it computes with 16 bits, for devices that are faster so. Pure.
//!
//! Pictures go in and vectors come out with 32 bits. Weights that have 32 bits in their file are converted once, when the graph is
//! loaded. ONNX Runtime has half precision (fp16) for every operator, and bfloat16 for some only: the others stay at 32 bits.

use std::collections::{BTreeMap, BTreeSet};

use half::{bf16, f16};

use super::onnx::{Attribute, Constant, Data, Element, Graph, Node};

/// The operators that compute with bfloat16.
const WITH_BFLOAT16: [&str; 16] = [
    "Add",
    "Cast",
    "Concat",
    "Expand",
    "Gather",
    "Gemm",
    "Identity",
    "LayerNormalization",
    "MatMul",
    "Mul",
    "Reshape",
    "Shape",
    "Slice",
    "Softmax",
    "Transpose",
    "Where",
];
/// The operators whose results are no floats, whatever goes in.
const TO_INTEGERS: [&str; 6] = ["ArgMax", "Equal", "Greater", "Less", "QuantizeLinear", "Shape"];

/// The graph with 16-bit numbers of this kind.
pub(super) fn rewritten(graph: Graph, element: Element) -> Graph {
    let mut rewriter = Rewriter { element, nodes: Vec::new(), floats: BTreeMap::new() };
    let mut constants = Vec::with_capacity(graph.constants.len());
    for input in graph.inputs.iter().filter(|input| input.element == Element::Float) {
        rewriter.is_full(&input.name);
    }
    for constant in graph.constants {
        match (&constant.data, constant.element) {
            (Data::Inside(bytes), Element::Float) => {
                let data = Data::Inside(shortened(bytes, element));
                rewriter.is_short(&constant.name);
                constants.push(Constant { element, data, ..constant });
                continue;
            }
            (_, Element::Float) => rewriter.is_full(&constant.name),
            (_, found) if found == element => rewriter.is_short(&constant.name),
            // Numbers of the other kind with 16 bits are only converted, by operations that are in the graph already.
            _ => {}
        }
        constants.push(constant);
    }
    let outputs: BTreeSet<&str> = graph.outputs.iter().map(|output| &*output.name).collect();
    for node in graph.nodes {
        rewriter.node(node, &outputs);
    }
    Graph { inputs: graph.inputs, outputs: graph.outputs, constants, nodes: rewriter.nodes }
}

/// Floats with 16 bits. The largest number of 32 bits becomes the largest of 16 bits: a graph hides a token with it.
fn shortened(bytes: &[u8], element: Element) -> Vec<u8> {
    let floats = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    match element {
        Element::BFloat16 => floats
            .flat_map(|float| {
                let most = bf16::MAX.to_f32();
                bf16::from_f32(float.clamp(-most, most)).to_le_bytes()
            })
            .collect(),
        _ => floats
            .flat_map(|float| {
                let most = f16::MAX.to_f32();
                f16::from_f32(float.clamp(-most, most)).to_le_bytes()
            })
            .collect(),
    }
}

/// How a float is in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FloatNames {
    /// Its name with 32 bits, if it has one.
    full: Option<String>,
    /// Its name with 16 bits, if it has one.
    short: Option<String>,
}

struct Rewriter {
    element: Element,
    nodes: Vec<Node>,
    /// Every float, by its name in the old graph.
    floats: BTreeMap<String, FloatNames>,
}

impl Rewriter {
    fn is_full(&mut self, name: &str) {
        self.floats.insert(name.to_owned(), FloatNames { full: Some(name.to_owned()), short: None });
    }

    fn is_short(&mut self, name: &str) {
        self.floats.insert(name.to_owned(), FloatNames { full: None, short: Some(name.to_owned()) });
    }

    /// The name of a value with 16 bits, or with 32 bits if `full`. Values that are no floats keep their name.
    fn name(&mut self, value: &str, full: bool) -> String {
        let Some(known) = self.floats.get(value).cloned() else { return value.to_owned() };
        let (wanted, other) = if full { (known.full, known.short) } else { (known.short, known.full) };
        if let Some(name) = wanted {
            return name;
        }
        let from = other.unwrap_or_else(|| value.to_owned());
        let name = format!("{value} with {} bits", if full { 32 } else { 16 });
        let to = if full { Element::Float } else { self.element };
        self.cast(&from, &name, to);
        if let Some(known) = self.floats.get_mut(value) {
            *(if full { &mut known.full } else { &mut known.short }) = Some(name.clone());
        }
        name
    }

    fn cast(&mut self, input: &str, output: &str, to: Element) {
        let attributes = vec![("to", Attribute::Int(to as i64))];
        let inputs = vec![input.to_owned()];
        self.nodes.push(Node { operator: "Cast", domain: "", inputs, output: output.to_owned(), attributes });
    }

    fn node(&mut self, mut node: Node, outputs: &BTreeSet<&str>) {
        if outputs.contains(&*node.output) {
            // An output is a copy of a value, by `Identity`.
            let value = self.name(&node.inputs[0], false);
            return self.cast(&value, &node.output, Element::Float);
        }
        let full = self.element == Element::BFloat16 && !WITH_BFLOAT16.contains(&node.operator);
        let takes_floats = node.inputs.iter().any(|input| self.floats.contains_key(input));
        let to = node.attributes.iter().find(|(name, _)| *name == "to").map(|(_, to)| to.clone());
        let makes_floats = match &to {
            Some(to) => *to == Attribute::Int(Element::Float as i64),
            None => takes_floats && !TO_INTEGERS.contains(&node.operator),
        };
        if let (Some(_), true) = (&to, makes_floats) {
            // Weights of 16 bits and whole numbers become floats.
            let input = node.inputs[0].clone();
            if let Some(known) = self.floats.get(&input).cloned() {
                self.floats.insert(node.output, known);
                return;
            }
            node.attributes = vec![("to", Attribute::Int(self.element as i64))];
            self.is_short(&node.output);
            self.nodes.push(node);
            return;
        }
        node.inputs = node.inputs.iter().map(|input| self.name(input, full)).collect();
        if makes_floats {
            if full { self.is_full(&node.output) } else { self.is_short(&node.output) }
        }
        self.nodes.push(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build::onnx::{BATCH, Dimension, Outlet};

    fn outside(name: &str, element: Element) -> Constant {
        let data = Data::Outside { file: "model.safetensors".to_owned(), offset: 0, length: 4 };
        Constant { name: name.to_owned(), element, shape: vec![1], data }
    }

    fn node(operator: &'static str, inputs: &[&str], output: &str, to: Option<Element>) -> Node {
        let attributes = to.map(|to| ("to", Attribute::Int(to as i64))).into_iter().collect();
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        Node { operator, domain: "", inputs, output: output.to_owned(), attributes }
    }

    fn graph() -> Graph {
        let outlet = |name: &str, element| Outlet {
            name: name.to_owned(),
            element,
            shape: vec![BATCH, Dimension::Fixed(1)],
        };
        let inside = |name: &str, element, bytes: &[u8]| Constant {
            data: Data::Inside(bytes.to_vec()),
            ..outside(name, element)
        };
        Graph {
            inputs: vec![outlet("x", Element::Float), outlet("ids", Element::Int64)],
            outputs: vec![outlet("y", Element::Float)],
            constants: vec![
                outside("full", Element::Float),
                outside("half", Element::Half),
                inside("hidden", Element::Float, &f32::MIN.to_le_bytes()),
                inside("one", Element::Int64, &1_i64.to_le_bytes()),
            ],
            nodes: vec![
                node("Gather", &["half", "ids"], "row", None),
                node("Cast", &["row"], "row as Float", Some(Element::Float)),
                node("Gemm", &["x", "full"], "a", None),
                node("Add", &["a", "row as Float"], "b", None),
                node("Gelu", &["b"], "c", None),
                node("Add", &["c", "hidden"], "d", None),
                node("Shape", &["d"], "size", None),
                node("Add", &["size", "one"], "more", None),
                node("Reshape", &["d", "more"], "e", None),
                node("Identity", &["e"], "y", None),
            ],
        }
    }

    fn lines(graph: &Graph) -> Vec<String> {
        let line = |node: &Node| format!("{} = {}({})", node.output, node.operator, node.inputs.join(", "));
        graph.nodes.iter().map(line).collect()
    }

    #[test]
    fn everything_between_the_inputs_and_the_outputs_has_16_bits() {
        let made = rewritten(graph(), Element::Half);
        assert_eq!(
            lines(&made),
            [
                "row = Gather(half, ids)",
                "x with 16 bits = Cast(x)",
                "full with 16 bits = Cast(full)",
                "a = Gemm(x with 16 bits, full with 16 bits)",
                "b = Add(a, row)",
                "c = Gelu(b)",
                "d = Add(c, hidden)",
                "size = Shape(d)",
                "more = Add(size, one)",
                "e = Reshape(d, more)",
                "y = Cast(e)",
            ]
        );
        let hidden = &made.constants[2];
        assert_eq!(
            (hidden.element, &hidden.data),
            (Element::Half, &Data::Inside(f16::MIN.to_le_bytes().to_vec()))
        );
        assert_eq!(made.constants[3], graph().constants[3]);
        assert_eq!(made.nodes[10].attributes, [("to", Attribute::Int(Element::Float as i64))]);
    }

    #[test]
    fn operators_without_bfloat16_keep_32_bits() {
        let made = rewritten(graph(), Element::BFloat16);
        assert_eq!(
            lines(&made),
            [
                "row = Gather(half, ids)",
                "row as Float = Cast(row)",
                "x with 16 bits = Cast(x)",
                "full with 16 bits = Cast(full)",
                "a = Gemm(x with 16 bits, full with 16 bits)",
                "b = Add(a, row as Float)",
                "b with 32 bits = Cast(b)",
                "c = Gelu(b with 32 bits)",
                "c with 16 bits = Cast(c)",
                "d = Add(c with 16 bits, hidden)",
                "size = Shape(d)",
                "more = Add(size, one)",
                "e = Reshape(d, more)",
                "y = Cast(e)",
            ]
        );
        assert_eq!(made.nodes[1].attributes, [("to", Attribute::Int(Element::BFloat16 as i64))]);
    }
}
