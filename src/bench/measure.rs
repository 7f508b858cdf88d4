//! The measurements, in rounds: each round measures everything once, so that whatever else the machine does meanwhile
//! meets all of them alike. What is told is the median of the rounds.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{
    parts::{self, Part},
    test_image,
};
use crate::{
    classify::{
        Watchlist,
        labels::{self, LabelVectors, VectorCache},
        score_all,
    },
    commands::{bench::Args, classify::label_set},
    frame::{Frame, Slot},
    model::{Model, Runtime, hub::Found},
    picture::{self, MAX_PIXELS, Picture},
};

const ROUNDS: usize = 5;
/// Rounds of what loads the model anew.
const STARTS: usize = 3;
/// Texts that are encoded to see what one costs.
const TEXTS: usize = 8;
/// What a label set is held against.
const MANY_LABELS: usize = 1000;
const SOURCE: &str = "bench";

/// Everything that is measured. Times are in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) model: String,
    pub(crate) variant: String,
    pub(crate) device: String,
    pub(crate) threads: usize,
    pub(crate) processors: usize,
    pub(crate) picture: (u32, u32, usize),
    pub(crate) labels: usize,
    /// One picture, on one thread.
    pub(crate) decode: f64,
    pub(crate) preprocess: f64,
    /// One run each: batch and pictures a second of the bare session.
    pub(crate) tried: Vec<(usize, f64)>,
    /// With one picture at once, and with the best batch; one entry where these are the same.
    pub(crate) rates: Vec<Rate>,
    /// What one text takes, and what loading the text tower for it takes.
    pub(crate) text: f64,
    pub(crate) text_load: f64,
    /// One picture's scores, for 10 labels and for 1,000.
    pub(crate) scoring: [f64; 2],
    pub(crate) session_load: f64,
    pub(crate) start: f64,
    /// Bytes of the vision tower's files.
    pub(crate) weights: u64,
    /// The most memory of a process that did what the service does, for each of `rates`.
    pub(crate) peaks: Vec<Option<u64>>,
}

/// Pictures a second, at one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) batch: usize,
    /// Of the bare session, on numbers that are ready.
    pub(crate) session: f64,
    /// From JPEG bytes to scores.
    pub(crate) whole: f64,
    /// The second over the first: the median of the rounds, each of which measured both.
    pub(crate) share: f64,
}

/// What is measured with.
pub(crate) struct Bench<'a> {
    args: &'a Args,
    jpeg: Arc<[u8]>,
    picture: Picture,
    found: Found,
    model: Model,
    names: Vec<String>,
    vectors: LabelVectors,
}

impl<'a> Bench<'a> {
    /// Loads the model and encodes the labels, as the service does when it starts.
    pub(crate) fn new(args: &'a Args, jpeg: &[u8]) -> Result<Self> {
        let picture = picture::decode(jpeg, MAX_PIXELS).context("the picture cannot be used")?;
        let runtime = Runtime::load(args.onnxruntime.as_deref())?;
        let found = args.find(&runtime)?;
        let model = args.load(&runtime, &found)?;
        let names = test_image::labels(usize::from(args.labels));
        let sets =
            labels::encode(&[label_set(&"{}".parse()?, &names)], model.text(), &VectorCache::of_user())?;
        let vectors = sets.into_iter().next().context("the labels have no vectors")?;
        Ok(Self { args, jpeg: jpeg.into(), picture, found, model, names, vectors })
    }

    /// Measures everything; the rounds take about `time`.
    pub(crate) fn run(mut self, time: Duration) -> Result<Measured> {
        let (text, text_load) = self.texts()?;
        let tensor = self.tensor();
        let tried = self.try_batches(&tensor)?;
        let best = tried.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(1, |(batch, _)| *batch);
        let mut batches = vec![1, best];
        batches.dedup();

        let slice = time.div_f64((ROUNDS * (2 + 2 * batches.len())) as f64);
        let (mut decode, mut preprocess) = (Vec::new(), Vec::new());
        let mut rates: Vec<Vec<(f64, f64)>> = vec![Vec::new(); batches.len()];
        for _ in 0..ROUNDS {
            decode.push(each(slice, || Ok(picture::decode(&self.jpeg, MAX_PIXELS)?))?);
            preprocess.push(each(slice, || Ok(self.tensor()))?);
            for (batch, rates) in batches.iter().zip(&mut rates) {
                let session = self.session(&tensor, *batch, slice)?;
                rates.push((session, self.whole(*batch, slice)?));
            }
        }
        let (session_load, start, peaks) = self.starts(&batches)?;
        let rate = |(batch, rounds): (&usize, &Vec<(f64, f64)>)| Rate {
            batch: *batch,
            session: median(rounds.iter().map(|(session, _)| *session).collect()),
            whole: median(rounds.iter().map(|(_, whole)| *whole).collect()),
            share: median(rounds.iter().map(|(session, whole)| whole / session).collect()),
        };
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Measured {
            model: self.args.model().name().into_owned(),
            variant: self.found.variant().to_owned(),
            device: self.model.device().to_string(),
            threads: self.args.threads.map_or(processors, usize::from),
            processors,
            picture: (self.picture.width, self.picture.height, self.jpeg.len()),
            labels: self.names.len(),
            decode: median(decode),
            preprocess: median(preprocess),
            tried,
            rates: batches.iter().zip(&rates).map(rate).collect(),
            text,
            text_load,
            scoring: self.scoring()?,
            session_load,
            start,
            weights: self.model.vision_bytes(),
            peaks,
        })
    }

    /// What the pictures that go through the model are to it.
    fn tensor(&self) -> Vec<f32> {
        let preprocessor = self.model.preprocessor();
        let mut values = Vec::with_capacity(preprocessor.tensor_len());
        preprocessor.append(&self.picture, &mut values);
        values
    }

    /// Pictures a second of the bare session, in one run of each batch (and one before, that does not count).
    fn try_batches(&mut self, tensor: &[f32]) -> Result<Vec<(usize, f64)>> {
        self.model.embed_prepared(tensor)?;
        let batches = self.args.batches();
        batches.into_iter().map(|batch| Ok((batch, self.session(tensor, batch, Duration::ZERO)?))).collect()
    }

    fn session(&mut self, tensor: &[f32], batch: usize, slice: Duration) -> Result<f64> {
        let values = tensor.repeat(batch);
        let run = each(slice, || Ok(self.model.embed_prepared(&values)?))?;
        Ok(batch as f64 / run)
    }

    fn whole(&mut self, batch: usize, slice: Duration) -> Result<f64> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let watchlist = Watchlist::of_one(SOURCE, &names, self.vectors.clone());
        whole(&mut self.model, watchlist, &self.jpeg, batch, slice)
    }

    /// What a text costs: several against one, since each time the text tower is loaded and let go.
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

    /// What the scores of one picture cost, for few labels and for many; their vectors are made of those that are there.
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

    /// Load of the bare session, whole start, and the peak of memory at each batch, each in processes of its own.
    fn starts(&self, batches: &[usize]) -> Result<(f64, f64, Vec<Option<u64>>)> {
        let (mut sessions, mut starts, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STARTS {
            sessions.push(parts::started(self.args, Part::Session, 1)?.seconds);
            starts.push(parts::started(self.args, Part::Service, 1)?.seconds);
        }
        for batch in batches {
            peaks.push(parts::started(self.args, Part::Service, *batch)?.peak);
        }
        Ok((median(sessions), median(starts), peaks))
    }
}

/// A start of the service, as far as the model: loads it and encodes the labels, or takes their vectors from the disk.
pub(crate) fn start(args: &Args) -> Result<(Model, Watchlist)> {
    let runtime = Runtime::load(args.onnxruntime.as_deref())?;
    let model = args.load(&runtime, &args.find(&runtime)?)?;
    let names = test_image::labels(usize::from(args.labels));
    let sets = labels::encode(&[label_set(&"{}".parse()?, &names)], model.text(), &VectorCache::of_user())?;
    let vectors = sets.into_iter().next().context("the labels have no vectors")?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok((model, Watchlist::of_one(SOURCE, &names, vectors)))
}

/// Pictures a second from JPEG bytes to scores, `batch` at once, through what the service runs: cameras decode on threads
/// of their own, and what waits at the model is the batch. Measured from the end of the first batch on, so that the
/// way to it does not count, and until a batch ends after `slice`.
pub(crate) fn whole(
    model: &mut Model,
    watchlist: Watchlist,
    jpeg: &Arc<[u8]>,
    batch: usize,
    slice: Duration,
) -> Result<f64> {
    let (_watchlist, to_look_for) = watch::channel(Arc::new(watchlist));
    let (frames, to_model) = mpsc::channel(batch);
    let (scored, mut answers) = mpsc::channel(batch);
    let enough = Arc::new(AtomicBool::new(false));
    let cameras = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(batch + 1);
    let cameras: Vec<_> = (0..cameras)
        .map(|_| {
            let (jpeg, frames, enough) = (Arc::clone(jpeg), frames.clone(), Arc::clone(&enough));
            thread::spawn(move || camera(&jpeg, &frames, &enough))
        })
        .collect();
    drop(frames);
    let counter = thread::spawn(move || {
        let mut rate = None;
        let mut first = None;
        // Every batch but the first is full, so an answer and the one `batch` behind it stand one run apart.
        for number in 0_usize.. {
            if answers.blocking_recv().is_none() {
                break;
            }
            let since = *first.get_or_insert_with(Instant::now);
            if rate.is_none() && number > 0 && number % batch == 0 && since.elapsed() >= slice {
                rate = Some(number as f64 / since.elapsed().as_secs_f64());
                enough.store(true, Ordering::Relaxed);
            }
        }
        rate
    });
    score_all(model, to_look_for, to_model, &scored, batch)??;
    drop(scored);
    for camera in cameras {
        camera.join().map_err(|_| anyhow!("decoding panicked"))??;
    }
    let rate = counter.join().map_err(|_| anyhow!("counting panicked"))?;
    rate.context("the model could not score the picture")
}

/// Decodes the picture again and again, and sends it, until it is enough.
fn camera(jpeg: &[u8], frames: &mpsc::Sender<Frame>, enough: &AtomicBool) -> Result<()> {
    while !enough.load(Ordering::Relaxed) {
        let frame = Frame {
            source: SOURCE.into(),
            origin: String::new(),
            captured_at: Timestamp::UNIX_EPOCH,
            picture: picture::decode(jpeg, MAX_PIXELS)?.into(),
            slot: Slot::free(),
        };
        if frames.blocking_send(frame).is_err() {
            break;
        }
    }
    Ok(())
}

/// Seconds of one call: of as many as `slice` has room for, and at least one.
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

/// The one in the middle, or the mean of the two there.
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
    fn the_median() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }
}
