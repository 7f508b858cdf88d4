//! Rewrites a graph so that its linear layers multiply whole numbers of 8 bits. Pure.
//!
//! The weights of a layer are numbers that `quantise` has made. Its inputs become whole numbers while the graph runs. Each row, a
//! token, is first divided by its largest number: so every token uses the whole range, and its result does not depend on other
//! tokens or pictures of the run. (With one scale for all tokens, as the 8-bit files of the hub have it, a few tokens with large
//! numbers make all others coarse.)
//!
//! What is small or sensitive keeps its full precision: the patches, the norms, the attention itself, the layers after the
//! pooling, and layers whose weights do not fit 8 bits.

use std::collections::{BTreeMap, BTreeSet};

use super::onnx::{Attribute, Constant, Data, Element, Graph, Node, ONNX_RUNTIME};

/// Parts of the names of layers that work on one row for each picture or text. They take no time, and every error of theirs is one of the
/// result.
const AFTER_POOLING: [&str; 5] =
    ["visual_projection", "text_projection", ".head.", "attn_pool", "pre_projection"];
/// A number below every row's largest one, which keeps a row of zeros from being divided by 0.
const TINY: f32 = 1e-20;
/// The largest number of an input.
const MOST: u8 = 127;
/// The number that means 0.
const ZERO: u8 = 128;

/// A linear layer that could multiply whole numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinearLayer {
    /// The constant with its weights: a row for each output.
    pub weight: Constant,
    pub inputs: usize,
}

/// The weights of a layer as whole numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WholeWeights {
    /// A row for each input.
    pub numbers: Data,
    /// One for each output.
    pub scales: Data,
}

/// The linear layers of a graph that may be quantised, each once.
pub(super) fn layers(graph: &Graph) -> Vec<LinearLayer> {
    let constants = by_name(graph);
    let mut found = BTreeMap::new();
    for node in &graph.nodes {
        let Some(weight) = weight_of(graph, node).and_then(|name| constants.get(name)) else { continue };
        let is_late = AFTER_POOLING.iter().any(|part| weight.name.contains(part));
        if let ([_, inputs], false) = (&weight.shape[..], is_late) {
            let layer = LinearLayer { weight: (*weight).clone(), inputs: *inputs };
            found.insert(&*weight.name, layer);
        }
    }
    found.into_values().collect()
}

/// The graph with the layers of `whole`, by the names of their weights, in whole numbers.
pub(super) fn rewritten(graph: Graph, whole: &BTreeMap<String, WholeWeights>) -> Graph {
    let shapes: BTreeMap<String, Vec<usize>> =
        graph.constants.iter().map(|constant| (constant.name.clone(), constant.shape.clone())).collect();
    let weights: Vec<Option<String>> =
        graph.nodes.iter().map(|node| weight_of(&graph, node).map(str::to_owned)).collect();
    let mut rewriter = Rewriter { nodes: Vec::new(), rows: BTreeMap::new() };
    let Graph { inputs, outputs, mut constants, nodes } = graph;
    for (node, weight) in nodes.into_iter().zip(weights) {
        match weight.as_ref().and_then(|name| Some((name, whole.get(name)?, shapes.get(name)?))) {
            Some((name, whole, shape)) => {
                let [numbers, scales] = [format!("{name} numbers"), format!("{name} scales")];
                if constants.iter().all(|constant| constant.name != numbers) {
                    let (outputs, inputs) = (shape[0], shape[1]);
                    constants.push(Constant {
                        name: numbers.clone(),
                        element: Element::Int8,
                        shape: vec![inputs, outputs],
                        data: whole.numbers.clone(),
                    });
                    let (element, data) = (Element::Float, whole.scales.clone());
                    constants.push(Constant { name: scales.clone(), element, shape: vec![outputs], data });
                }
                rewriter.linear(&node, &numbers, &scales);
            }
            None => rewriter.nodes.push(node),
        }
    }
    constants.extend(scalars());
    without_unused(Graph { inputs, outputs, constants, nodes: rewriter.nodes })
}

/// The constant with the weights of a linear layer; `None` for other operations.
fn weight_of<'g>(graph: &'g Graph, node: &'g Node) -> Option<&'g str> {
    let transposed =
        node.attributes.iter().any(|(name, value)| *name == "transB" && *value == Attribute::Int(1));
    if node.operator != "Gemm" || !transposed {
        return None;
    }
    let weight = node.inputs.get(1)?;
    // Weights of 16 bits are converted first.
    let converted = graph.nodes.iter().find(|cast| cast.operator == "Cast" && cast.output == *weight);
    Some(converted.and_then(|cast| cast.inputs.first()).unwrap_or(weight))
}

fn by_name(graph: &Graph) -> BTreeMap<&str, &Constant> {
    graph.constants.iter().map(|constant| (&*constant.name, constant)).collect()
}

/// The numbers that all layers share.
fn scalars() -> [Constant; 4] {
    let scalar = |name: &str, element, data| Constant {
        name: name.to_owned(),
        element,
        shape: vec![],
        data: Data::Inside(data),
    };
    let step = 1.0 / f32::from(MOST);
    [
        scalar("int8 step", Element::Float, step.to_le_bytes().to_vec()),
        scalar("int8 zero", Element::UInt8, vec![ZERO]),
        scalar("int8 tiny", Element::Float, TINY.to_le_bytes().to_vec()),
        Constant {
            name: "int8 last".to_owned(),
            element: Element::Int64,
            shape: vec![1],
            data: Data::Inside((-1_i64).to_le_bytes().to_vec()),
        },
    ]
}

/// The nodes so far, and the rows that are whole numbers already.
struct Rewriter {
    nodes: Vec<Node>,
    /// By the name of the rows: those of the whole numbers and of each row's largest number.
    rows: BTreeMap<String, (String, String)>,
}

impl Rewriter {
    fn add(&mut self, operator: &'static str, inputs: &[&str], output: String) -> String {
        let domain = if operator == "MatMulIntegerToFloat" { ONNX_RUNTIME } else { "" };
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        self.nodes.push(Node { operator, domain, inputs, output: output.clone(), attributes: vec![] });
        output
    }

    /// Rows as whole numbers, and the largest number of each row. Layers with the same input share them.
    fn whole_rows(&mut self, rows: &str) -> (String, String) {
        if let Some(known) = self.rows.get(rows) {
            return known.clone();
        }
        let name = |part: &str| format!("{rows} {part}");
        let sizes = self.add("Abs", &[rows], name("sizes"));
        let largest = self.add("ReduceMax", &[&sizes, "int8 last"], name("largest"));
        let largest = self.add("Max", &[&largest, "int8 tiny"], name("divisor"));
        let unit = self.add("Div", &[rows, &largest], name("unit"));
        let whole = self.add("QuantizeLinear", &[&unit, "int8 step", "int8 zero"], name("whole"));
        self.rows.insert(rows.to_owned(), (whole.clone(), largest.clone()));
        (whole, largest)
    }

    /// The layer of a `Gemm` with a bias or without one.
    fn linear(&mut self, gemm: &Node, numbers: &str, scales: &str) {
        let (whole, largest) = self.whole_rows(&gemm.inputs[0]);
        let bias = gemm.inputs.get(2).filter(|bias| !bias.is_empty());
        let output = gemm.output.clone();
        let product = format!("{output} product");
        let inputs = [&*whole, numbers, "int8 step", scales, "int8 zero"];
        let product = self.add("MatMulIntegerToFloat", &inputs, product);
        match bias {
            None => {
                self.add("Mul", &[&product, &largest], output);
            }
            Some(bias) => {
                let scaled = self.add("Mul", &[&product, &largest], format!("{output} scaled"));
                self.add("Add", &[&scaled, bias], output);
            }
        }
    }
}

/// The graph without operations and constants whose results are not used.
fn without_unused(mut graph: Graph) -> Graph {
    let mut used: BTreeSet<String> = graph.outputs.iter().map(|output| output.name.clone()).collect();
    // Each operation comes after those whose results it uses.
    let is_used = |node: &Node, used: &mut BTreeSet<String>| {
        let is_used = used.contains(&node.output);
        if is_used {
            used.extend(node.inputs.iter().cloned());
        }
        is_used
    };
    let mut kept: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    for node in graph.nodes.into_iter().rev() {
        if is_used(&node, &mut used) {
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
    graph.constants.retain(|constant| used.contains(&constant.name));
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build::onnx::{BATCH, Dimension, Outlet};

    fn constant(name: &str, element: Element, shape: &[usize]) -> Constant {
        let data = Data::Outside { file: "model.safetensors".to_owned(), offset: 0, length: 4 };
        Constant { name: name.to_owned(), element, shape: shape.to_vec(), data }
    }

    fn node(operator: &'static str, inputs: &[&str], output: &str) -> Node {
        let attributes = if operator == "Gemm" { vec![("transB", Attribute::Int(1))] } else { vec![] };
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        Node { operator, domain: "", inputs, output: output.to_owned(), attributes }
    }

    fn outlet(name: &str) -> Outlet {
        Outlet { name: name.to_owned(), element: Element::Float, shape: vec![BATCH, Dimension::Fixed(3)] }
    }

    /// Two layers with one input, one of them with weights of 16 bits; one layer after the pooling.
    fn graph() -> Graph {
        Graph {
            inputs: vec![outlet("x")],
            outputs: vec![outlet("y")],
            constants: vec![
                constant("a.weight", Element::Float, &[2, 3]),
                constant("a.bias", Element::Float, &[2]),
                constant("b.weight", Element::Half, &[2, 3]),
                constant("visual_projection.weight", Element::Float, &[3, 2]),
            ],
            nodes: vec![
                node("Gemm", &["x", "a.weight", "a.bias"], "a"),
                node("Cast", &["b.weight"], "b.weight as Float"),
                node("Gemm", &["x", "b.weight as Float"], "b"),
                node("Add", &["a", "b"], "sum"),
                node("Gemm", &["sum", "visual_projection.weight"], "p"),
                node("Identity", &["p"], "y"),
            ],
        }
    }

    fn whole(names: &[&str]) -> BTreeMap<String, WholeWeights> {
        let inside = |byte| Data::Inside(vec![byte]);
        names
            .iter()
            .map(|name| ((*name).to_owned(), WholeWeights { numbers: inside(1), scales: inside(2) }))
            .collect()
    }

    #[test]
    fn layers_before_the_pooling_are_found() {
        let found = layers(&graph());
        let names: Vec<_> = found.iter().map(|layer| (&*layer.weight.name, layer.inputs)).collect();
        assert_eq!(names, [("a.weight", 3), ("b.weight", 3)]);
    }

    #[test]
    fn layers_with_one_input_share_its_whole_numbers() {
        let made = rewritten(graph(), &whole(&["a.weight", "b.weight"]));
        let operators: Vec<_> = made.nodes.iter().map(|node| node.operator).collect();
        assert_eq!(
            operators,
            [
                "Abs",
                "ReduceMax",
                "Max",
                "Div",
                "QuantizeLinear",
                "MatMulIntegerToFloat",
                "Mul",
                "Add",
                "MatMulIntegerToFloat",
                "Mul",
                "Add",
                "Gemm",
                "Identity"
            ]
        );
        let outputs: Vec<_> = made.nodes[7..].iter().map(|node| &*node.output).collect();
        assert_eq!(outputs, ["a", "b product", "b", "sum", "p", "y"]);
        let names: Vec<_> = made.constants.iter().map(|constant| &*constant.name).collect();
        assert_eq!(
            names,
            [
                "a.bias",
                "visual_projection.weight",
                "a.weight numbers",
                "a.weight scales",
                "b.weight numbers",
                "b.weight scales",
                "int8 step",
                "int8 zero",
                "int8 tiny",
                "int8 last"
            ]
        );
        let numbers = &made.constants[2];
        assert_eq!(
            (numbers.element, &numbers.shape[..]),
            (Element::Int8, &[3, 2][..]),
            "a row for each input"
        );
        // Each operation comes after those whose results it uses.
        let mut known: BTreeSet<&str> = names.into_iter().chain(["x"]).collect();
        for node in &made.nodes {
            assert!(node.inputs.iter().all(|input| known.contains(&**input)), "{node:?}");
            known.insert(&node.output);
        }
    }

    #[test]
    fn a_layer_that_is_kept_stays_as_it_is() {
        let made = rewritten(graph(), &whole(&["b.weight"]));
        assert_eq!(made.nodes[0], graph().nodes[0]);
        assert_eq!(rewritten(graph(), &whole(&[])), graph());
    }
}
