//! The measurements, in rounds: each round measures everything once, so that other load on the machine affects everything alike.
//! The result is the median of the rounds.

use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    parts::{BenchPart, run_part},
    path::pictures_per_second,
    setup::{Setup, watchlist},
    test_image,
};
use crate::{
    classify::labels::LabelVectors,
    model::{Model, hub::Found},
    picture::{self, Picture},
};

const ROUNDS: usize = 5;
/// Repetitions of what loads the model.
const STARTS: usize = 3;
/// Texts that are encoded to measure the time of one.
const TEXTS: usize = 8;
/// The size of the large label set.
const MANY_LABELS: usize = 1000;

/// The results. Times are in seconds.
#[derive(Debug, Clone)]
pub struct Measured {
    pub(super) model: String,
    pub(super) variant: String,
    pub(super) device: String,
    pub(super) threads: usize,
    pub(super) processors: usize,
    pub(super) picture: (u32, u32, usize),
    pub(super) labels: usize,
    /// The times of one picture on one thread.
    pub(super) decode: f64,
    pub(super) preprocess: f64,
    /// Each batch, and the pictures per second of the bare session in one run.
    pub(super) tried: Vec<(usize, f64)>,
    /// The rates with a batch of 1 and with the best batch; one entry if these are the same.
    pub(super) rates: Vec<Rate>,
    /// The time of one text, and of loading the text tower for it.
    pub(super) text: f64,
    pub(super) text_load: f64,
    /// The time of one picture's scores, for 10 labels and for 1,000.
    pub(super) scoring: [f64; 2],
    pub(super) session_load: f64,
    pub(super) start: f64,
    /// Bytes of the vision tower's files.
    pub(super) weights: u64,
    /// The peak memory of a process that works like the service, for each of `rates`.
    pub(super) peaks: Vec<Option<u64>>,
}

/// Pictures per second with one batch size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) batch: usize,
    /// Of the bare session, on prepared pictures.
    pub(super) session: f64,
    /// From JPEG bytes to scores.
    pub(super) whole: f64,
}

impl Rate {
    /// The share of the bare session's rate that is left: `whole / session`.
    pub(super) fn share(&self) -> f64 {
        self.whole / self.session
    }
}

/// Measures everything for the picture `jpeg`; the rounds take about `time`.
///
/// # Errors
/// The model or the picture cannot be used, or a process cannot be started.
pub fn measure(setup: &Setup, jpeg: &[u8], time: Duration) -> Result<Measured> {
    let jpeg: Arc<[u8]> = jpeg.into();
    let picture = picture::decode(&jpeg, setup.limits()).context("the picture cannot be used")?;
    let (found, model, names, vectors) = setup.load()?;
    Bench { setup, jpeg, picture, found, model, names, vectors }.run(time)
}

/// The loaded model and what it scores.
struct Bench<'a> {
    setup: &'a Setup,
    jpeg: Arc<[u8]>,
    picture: Picture,
    found: Found,
    model: Model,
    names: Vec<String>,
    vectors: LabelVectors,
}

/// The times of decoding and preparing a picture, and for each batch the rates of the session and of the whole path: one
/// entry per round.
#[derive(Default)]
struct Rounds {
    decode: Vec<f64>,
    preprocess: Vec<f64>,
    rates: Vec<Vec<(f64, f64)>>,
}

impl Bench<'_> {
    fn run(mut self, time: Duration) -> Result<Measured> {
        let (text, text_load) = self.texts()?;
        let tensor = self.tensor();
        let tried = self.try_batches(&tensor)?;
        let best = tried.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(1, |(batch, _)| *batch);
        let mut batches = vec![1, best];
        batches.dedup();
        let rounds = self.rounds(&tensor, &batches, time)?;
        let (session_load, start, peaks) = self.starts(&batches)?;
        let rate = |(batch, rounds): (&usize, &Vec<(f64, f64)>)| Rate {
            batch: *batch,
            session: median(rounds.iter().map(|(session, _)| *session).collect()),
            whole: median(rounds.iter().map(|(_, whole)| *whole).collect()),
        };
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Measured {
            model: self.setup.model.name().into_owned(),
            variant: self.found.variant().to_owned(),
            device: self.model.device().to_string(),
            threads: self.setup.execution.threads.unwrap_or(processors),
            processors,
            picture: (self.picture.width, self.picture.height, self.jpeg.len()),
            labels: self.names.len(),
            decode: median(rounds.decode),
            preprocess: median(rounds.preprocess),
            tried,
            rates: batches.iter().zip(&rounds.rates).map(rate).collect(),
            text,
            text_load,
            scoring: self.scoring()?,
            session_load,
            start,
            weights: self.model.vision_bytes(),
            peaks,
        })
    }

    fn rounds(&mut self, tensor: &[f32], batches: &[usize], time: Duration) -> Result<Rounds> {
        let slice = time.div_f64((ROUNDS * (2 + 2 * batches.len())) as f64);
        let mut rounds = Rounds { rates: vec![Vec::new(); batches.len()], ..Rounds::default() };
        for _ in 0..ROUNDS {
            rounds.decode.push(each(slice, || Ok(picture::decode(&self.jpeg, self.setup.limits())?))?);
            rounds.preprocess.push(each(slice, || Ok(self.tensor()))?);
            for (batch, rates) in batches.iter().zip(&mut rounds.rates) {
                let session = self.session(tensor, *batch, slice)?;
                let watchlist = watchlist(&self.names, self.vectors.clone());
                let whole = pictures_per_second(
                    &mut self.model,
                    watchlist,
                    (&self.jpeg, self.setup.limits()),
                    *batch,
                    slice,
                )?;
                rates.push((session, whole));
            }
        }
        Ok(rounds)
    }

    /// The picture as the model's input.
    fn tensor(&self) -> Vec<f32> {
        let preprocessor = self.model.preprocessor();
        let mut values = Vec::with_capacity(preprocessor.tensor_len());
        preprocessor.append(&self.picture, &mut values);
        values
    }

    /// Pictures per second of the bare session, in one run of each batch after a first run that does not count.
    fn try_batches(&mut self, tensor: &[f32]) -> Result<Vec<(usize, f64)>> {
        self.model.embed_prepared(tensor)?;
        let batches = self.setup.batches();
        batches.into_iter().map(|batch| Ok((batch, self.session(tensor, batch, Duration::ZERO)?))).collect()
    }

    fn session(&mut self, tensor: &[f32], batch: usize, slice: Duration) -> Result<f64> {
        let values = tensor.repeat(batch);
        let run = each(slice, || Ok(self.model.embed_prepared(&values)?))?;
        Ok(batch as f64 / run)
    }

    /// The time of a text and of loading the text tower: from several texts and one, because each call loads the tower.
    fn texts(&self) -> Result<(f64, f64)> {
        let texts = test_image::labels(1 + TEXTS);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encode = |texts: &[&str]| each(Duration::ZERO, || Ok(self.model.text().encode(texts)?));
        let (mut one, mut several) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            one.push(encode(&texts[..1])?);
            several.push(encode(&texts)?);
        }
        let (one, several) = (median(one), median(several));
        let text = ((several - one) / TEXTS as f64).max(0.0);
        Ok((text, (one - text).max(0.0)))
    }

    /// The time of one picture's scores, for 10 labels and for many; their vectors are made from the existing ones.
    fn scoring(&mut self) -> Result<[f64; 2]> {
        let picture = self.model.embed_prepared(&self.tensor())?.pop().context("the model gave no answer")?;
        let (logits, activation) = (self.model.logits(), self.model.activation());
        let cost = |count: usize| {
            let labels = (0..count).map(|number| {
                let mut vector = self.vectors.labels[number % self.vectors.labels.len()].to_vec();
                let by = number % vector.len().max(1);
                vector.rotate_left(by);
                vector.into()
            });
            let labels = LabelVectors { labels: labels.collect(), ..self.vectors.clone() };
            each(Duration::from_millis(50), || Ok(labels.scores(black_box(&picture), logits, activation)))
        };
        Ok([cost(10)?, cost(MANY_LABELS)?])
    }

    /// The time to load the bare session and of a whole start, and the peak memory with each batch, in processes of their own.
    fn starts(&self, batches: &[usize]) -> Result<(f64, f64, Vec<Option<u64>>)> {
        let (mut sessions, mut starts, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STARTS {
            sessions.push(run_part(self.setup, BenchPart::Session, 1)?.seconds);
            starts.push(run_part(self.setup, BenchPart::Service, 1)?.seconds);
        }
        for batch in batches {
            peaks.push(run_part(self.setup, BenchPart::Service, *batch)?.peak);
        }
        Ok((median(sessions), median(starts), peaks))
    }
}

/// The mean time of a call in seconds: calls repeatedly for `slice`, at least once.
fn each<T>(slice: Duration, mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    let begin = Instant::now();
    let mut calls = 0_u32;
    loop {
        black_box(call()?);
        calls += 1;
        if begin.elapsed() >= slice {
            return Ok(begin.elapsed().as_secs_f64() / f64::from(calls));
        }
    }
}

/// The middle value, or the mean of the two middle values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => values[middle - 1].midpoint(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }
}
