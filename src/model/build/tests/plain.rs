//! The formulas of the towers in plain code, with 64 bits and without any regard for time.

use super::{checkpoint::Checkpoint, *};
use crate::model::build::graph::Rows;

/// Rows of numbers.
pub(super) type Matrix = Vec<Vec<f64>>;

/// The weights of a checkpoint.
pub(super) struct Plain {
    tensors: std::collections::BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Plain {
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect();
        let tensors = checkpoint.tensors.borrow();
        let tensors =
            tensors.iter().map(|(name, (shape, values))| (name.clone(), (shape.clone(), wide(values))));
        Self { tensors: tensors.collect() }
    }

    pub(super) fn vector(&self, name: &str) -> Vec<f64> {
        self.tensors[name].1.clone()
    }

    /// A tensor as rows along its last dimension.
    pub(super) fn table(&self, name: &str) -> Matrix {
        let (shape, values) = &self.tensors[name];
        values.chunks(*shape.last().unwrap()).map(<[f64]>::to_vec).collect()
    }

    fn rows(&self, rows: &Rows) -> Matrix {
        let (shape, values) = &self.tensors[&rows.tensor];
        let of_row: usize = shape[1..].iter().product();
        let all: Matrix = values.chunks(of_row).map(<[f64]>::to_vec).collect();
        rows.part.as_ref().map_or(all.clone(), |part| all[part.rows.clone()].to_vec())
    }

    pub(super) fn look_up(&self, table: &str, ids: &[i64]) -> Matrix {
        let table = self.table(table);
        ids.iter().map(|id| table[*id as usize].clone()).collect()
    }

    /// Tokens with the numbers of their places.
    pub(super) fn placed(&self, tokens: Matrix, places: &str) -> Matrix {
        let places = self.table(places)[..tokens.len()].to_vec();
        sum(&tokens, &places)
    }

    pub(super) fn linear(&self, rows: &[Vec<f64>], layer: &Linear) -> Matrix {
        let weights = self.rows(&layer.weight);
        let bias: Vec<f64> = match &layer.bias {
            None => vec![0.0; layer.outputs],
            Some(bias) => self.rows(bias).concat(),
        };
        rows.iter()
            .map(|row| weights.iter().zip(&bias).map(|(weight, bias)| dot(row, weight) + bias).collect())
            .collect()
    }

    /// Rows times a matrix.
    pub(super) fn project(&self, rows: &[Vec<f64>], matrix: &str) -> Matrix {
        let matrix = self.table(matrix);
        let column = |at: usize| matrix.iter().map(|row| row[at]).collect::<Vec<_>>();
        let columns: Matrix = (0..matrix[0].len()).map(column).collect();
        rows.iter().map(|row| columns.iter().map(|column| dot(row, column)).collect()).collect()
    }

    pub(super) fn norm(&self, rows: &[Vec<f64>], prefix: &str, epsilon: f64) -> Matrix {
        let (scale, bias) =
            (self.vector(&format!("{prefix}.weight")), self.vector(&format!("{prefix}.bias")));
        let normed = |row: &Vec<f64>| {
            let count = row.len() as f64;
            let mean = row.iter().sum::<f64>() / count;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            let value = |(at, value): (usize, &f64)| {
                (value - mean) / (variance + epsilon).sqrt() * scale[at] + bias[at]
            };
            row.iter().enumerate().map(value).collect()
        };
        rows.iter().map(normed).collect()
    }

    /// The patches of a picture: planes of this edge, and the edge of a patch.
    pub(super) fn patches(&self, picture: &[f64], (edge, patch): (usize, usize), filters: &str) -> Matrix {
        let (_, weights) = &self.tensors[&format!("{filters}.weight")];
        let bias = self.tensors.get(&format!("{filters}.bias")).map(|(_, bias)| bias.clone());
        let along = edge / patch;
        let token = |row: usize, column: usize| {
            let mut pixels = Vec::new();
            for channel in 0..3 {
                for y in 0..patch {
                    let start = channel * edge * edge + (row * patch + y) * edge + column * patch;
                    pixels.extend_from_slice(&picture[start..start + patch]);
                }
            }
            let filter = |(at, filter): (usize, &[f64])| {
                dot(&pixels, filter) + bias.as_ref().map_or(0.0, |bias| bias[at])
            };
            weights.chunks(pixels.len()).enumerate().map(filter).collect()
        };
        (0..along * along).map(|at| token(at / along, at % along)).collect()
    }

    pub(super) fn pre_norm(
        &self,
        tokens: Matrix,
        sizes: &Sizes,
        layer: impl Fn(usize) -> Layer,
        sees: impl Fn(usize, usize) -> bool,
        angles: Option<&[Vec<f32>]>,
    ) -> Matrix {
        let epsilon = f64::from(sizes.epsilon);
        let mut tokens = tokens;
        for at in 0..sizes.layers {
            let layer = layer(at);
            let normed = self.norm(&tokens, &layer.norms[0], epsilon);
            let attended = self.attend(&normed, &layer, sizes, &sees, angles);
            tokens = sum(&tokens, &self.scaled(attended, layer.scales[0].as_deref()));
            let normed = self.norm(&tokens, &layer.norms[1], epsilon);
            let outer = self.inner_layers(&normed, [&layer.first, &layer.second], sizes.gelu);
            tokens = sum(&tokens, &self.scaled(outer, layer.scales[1].as_deref()));
        }
        tokens
    }

    pub(super) fn post_norm(
        &self,
        tokens: Matrix,
        sizes: &Sizes,
        layer: impl Fn(usize) -> Layer,
        sees: impl Fn(usize, usize) -> bool,
    ) -> Matrix {
        let epsilon = f64::from(sizes.epsilon);
        let mut tokens = tokens;
        for at in 0..sizes.layers {
            let layer = layer(at);
            let attended = sum(&tokens, &self.attend(&tokens, &layer, sizes, &sees, None));
            let normed = self.norm(&attended, &layer.norms[0], epsilon);
            let outer = sum(&normed, &self.inner_layers(&normed, [&layer.first, &layer.second], sizes.gelu));
            tokens = self.norm(&outer, &layer.norms[1], epsilon);
        }
        tokens
    }

    fn scaled(&self, rows: Matrix, scale: Option<&str>) -> Matrix {
        let Some(scale) = scale else { return rows };
        let scale = self.vector(scale);
        rows.iter().map(|row| row.iter().zip(&scale).map(|(a, b)| a * b).collect()).collect()
    }

    fn inner_layers(&self, rows: &[Vec<f64>], [first, second]: [&Linear; 2], gelu: Gelu) -> Matrix {
        let inner = self.linear(rows, first);
        let bent: Matrix =
            inner.iter().map(|row| row.iter().map(|value| bent(*value, gelu)).collect()).collect();
        self.linear(&bent, second)
    }

    fn attend(
        &self,
        rows: &[Vec<f64>],
        layer: &Layer,
        sizes: &Sizes,
        sees: &impl Fn(usize, usize) -> bool,
        angles: Option<&[Vec<f32>]>,
    ) -> Matrix {
        let turned = |rows: Matrix| match angles {
            None => rows,
            Some(angles) => rows.iter().zip(angles).map(|(row, angles)| turned(row, angles)).collect(),
        };
        let (queries, keys) =
            (turned(self.linear(rows, &layer.query)), turned(self.linear(rows, &layer.key)));
        let values = self.linear(rows, &layer.value);
        self.linear(&attention(&queries, &keys, &values, sizes.heads, sees), &layer.out)
    }

    pub(super) fn pool(
        &self,
        rows: &[Vec<f64>],
        pooling: &Pooling,
        sizes: &Sizes,
        sees: impl Fn(usize) -> bool,
    ) -> Vec<f64> {
        let query = self.linear(&[self.vector(&pooling.probe)], &pooling.query);
        let (keys, values) = (self.linear(rows, &pooling.key), self.linear(rows, &pooling.value));
        let attended = attention(&query, &keys, &values, sizes.heads, &|_: usize, seen: usize| sees(seen));
        let attended = self.linear(&attended, &pooling.out);
        let normed = self.norm(&attended, &pooling.norm, f64::from(sizes.epsilon));
        let outer = self.inner_layers(&normed, [&pooling.first, &pooling.second], sizes.gelu);
        sum(&attended, &outer).remove(0)
    }

    /// The part of a SigLIP's vision tower after its tokens.
    pub(super) fn siglip(&self, tokens: Matrix, sizes: &Sizes, sees: impl Fn(usize) -> bool) -> Vec<f64> {
        let layer = |at| Layer::of_clip(&format!("vision_model.encoder.layers.{at}"), sizes);
        let tokens = self.pre_norm(tokens, sizes, layer, |_, seen| sees(seen), None);
        let tokens = self.norm(&tokens, "vision_model.post_layernorm", f64::from(sizes.epsilon));
        self.pool(&tokens, &Pooling::of_siglip("vision_model.head", sizes), sizes, sees)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn sum(a: &[Vec<f64>], b: &[Vec<f64>]) -> Matrix {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
}

pub(super) fn mean(rows: &[Vec<f64>]) -> Vec<f64> {
    let column = |at: usize| rows.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64;
    (0..rows[0].len()).map(column).collect()
}

fn bent(x: f64, gelu: Gelu) -> f64 {
    match gelu {
        Gelu::Quick => x / (1.0 + (-1.702 * x).exp()),
        Gelu::Exact => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Gelu::Tanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

/// The error function, by its series: exact enough for the numbers of the tests.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn attention(
    queries: &[Vec<f64>],
    keys: &[Vec<f64>],
    values: &[Vec<f64>],
    heads: usize,
    sees: &impl Fn(usize, usize) -> bool,
) -> Matrix {
    let size = queries[0].len() / heads;
    let of_query = |(seer, query): (usize, &Vec<f64>)| {
        let of_head = |head: usize| {
            let part = head * size..(head + 1) * size;
            let score = |key: &Vec<f64>| dot(&query[part.clone()], &key[part.clone()]) / (size as f64).sqrt();
            let weight =
                |(seen, key): (usize, &Vec<f64>)| if sees(seer, seen) { score(key).exp() } else { 0.0 };
            let weights: Vec<f64> = keys.iter().enumerate().map(weight).collect();
            let all: f64 = weights.iter().sum();
            let number =
                |at: usize| values.iter().zip(&weights).map(|(value, weight)| value[at] * weight / all).sum();
            part.clone().map(number).collect::<Vec<f64>>()
        };
        (0..heads).flat_map(of_head).collect()
    };
    queries.iter().enumerate().map(of_query).collect()
}

/// Each pair of numbers of each head, turned by its angle.
fn turned(row: &[f64], angles: &[f32]) -> Vec<f64> {
    let pairs = row.as_chunks::<2>().0.iter().zip(angles.iter().cycle());
    let turn = |([a, b], angle): (&[f64; 2], &f32)| {
        let (sin, cos) = f64::from(*angle).sin_cos();
        [a * cos - b * sin, b * cos + a * sin]
    };
    pairs.flat_map(turn).collect()
}

/// The positions of a square, resized with antialiasing to rows and columns, and filled up with the first to `count`.
pub(super) fn resized(
    square: &[Vec<f64>],
    edge: usize,
    (rows, columns): (usize, usize),
    count: usize,
) -> Matrix {
    let shares = |place: usize, size: usize| {
        let step = edge as f64 / size as f64;
        let (middle, reach) = ((place as f64 + 0.5) * step, step.max(1.0));
        let share = |at: usize| (1.0 - ((at as f64 + 0.5 - middle) / reach).abs()).max(0.0);
        let shares: Vec<f64> = (0..edge).map(share).collect();
        let all: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / all).collect::<Vec<_>>()
    };
    let position = |row: usize, column: usize| {
        let (down, across) = (shares(row, rows), shares(column, columns));
        let mut result = vec![0.0; square[0].len()];
        for (at, numbers) in square.iter().enumerate() {
            let share = down[at / edge] * across[at % edge];
            result.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += share * number);
        }
        result
    };
    let places = (0..rows * columns).map(|at| position(at / columns, at % columns));
    let first = position(0, 0);
    places.chain(std::iter::repeat(first)).take(count).collect()
}
