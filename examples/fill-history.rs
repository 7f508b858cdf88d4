//! Fills the history of a configuration with days of scores, alerts and near misses, as cameras would have done:
//! `cargo run --release --example fill-history -- CONFIG [DAYS [SECONDS]]`.
//!
//! Each source has a frame every SECONDS (1 by default) of the last DAYS (7). Scores are quiet with some noise. Each label is in view for
//! a minute every six hours, and nearly in view in between. The triggers of the configuration judge them, so that alerts, near misses and
//! pictures are those of a real service. `web/tools/measure.mjs` uses it.

#![allow(clippy::unwrap_used, reason = "a helper of measurements that cannot go on panics")]

use std::{collections::HashMap, env, fs, path::Path, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use stakeout::{
    classify::{RegionScores, Scored, SetScores},
    config::{self, Config},
    frame::{Frame, Slot},
    history::{History, recorders::Recorders},
    judge::{Checkpoint, Judge, Judged, Start},
    observe::Observation,
    picture::{self, mask::Masked},
};
use uuid::{NoContext, Uuid};

/// The pictures of the sources, in turn.
const SAMPLES: [&str; 3] = ["empty-wall.jpg", "red-car.jpg", "green-tree.jpg"];
/// The frames between two checkpoints.
const CHECKPOINT: u64 = 60;
/// The minutes from one appearance of a label to the next.
const APPEARS: u64 = 6 * 60;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let Some(path) = arguments.first() else { panic!("name a configuration: CONFIG [DAYS [SECONDS]]") };
    let number =
        |at: usize, otherwise: u64| arguments.get(at).map_or(otherwise, |text| text.parse().unwrap());
    let (days, every) = (number(1, 7), number(2, 1).max(1));
    let config =
        Arc::new(config::load(Path::new(path)).unwrap_or_else(|problems| panic!("{problems}")).config);
    let mut history = History::open(&config.state_dir).unwrap();
    let end = Timestamp::now();
    let mut filler = Filler::new(&config, end - SignedDuration::from_secs(60));
    let frames = days * 86_400 / every;
    let mut recorders = Recorders::new(&config);
    let start = end - SignedDuration::from_secs(i64::try_from(frames * every).unwrap());
    let mut alerts = 0;
    for first in (0..frames).step_by(600) {
        history
            .write(|transaction| {
                for number in first..(first + 600).min(frames) {
                    let second = number * every;
                    for source in 0..config.sources.len() {
                        let observation = filler.observe(source, number, start, second);
                        alerts += observation.alerts.len();
                        recorders.record(transaction, &observation)?;
                    }
                }
                Ok(())
            })
            .unwrap();
    }
    history.write(|transaction| recorders.flush(transaction)).unwrap();
    let (sources, size) = (config.sources.len(), history.size() / 1_000_000);
    eprintln!("{sources} sources, {} frames, {alerts} alerts, {size} MB", frames * sources as u64);
}

/// Makes frames, and judges them.
struct Filler {
    judge: Judge,
    sources: Vec<FilledSource>,
    random: u64,
}

struct FilledSource {
    name: Arc<str>,
    picture: Masked,
    sets: Vec<NamedSet>,
}

/// The name of a label set, and the names of its labels.
type NamedSet = (Arc<str>, Arc<[Arc<str>]>);

impl Filler {
    fn new(config: &Arc<Config>, now: Timestamp) -> Self {
        let mut judge = Judge::new(&config.mqtt.prefix, &config.model.name());
        judge.reload(config, now, Uuid::now_v7);
        let mut pictures = HashMap::new();
        let sources = config.sources.iter().enumerate().map(|(number, source)| {
            let sample = SAMPLES[number % SAMPLES.len()];
            let picture = pictures.entry(sample).or_insert_with(|| sample_picture(sample, config));
            let names = |set: &stakeout::policy::LabelSet| -> Arc<[Arc<str>]> {
                set.labels.iter().map(|label| Arc::from(label.name.as_str())).collect()
            };
            FilledSource {
                name: source.name.as_str().into(),
                picture: picture.clone(),
                sets: config.watched_by(source).map(|set| (set.name.as_str().into(), names(set))).collect(),
            }
        });
        let sources = sources.collect();
        Self { judge, sources, random: 1 }
    }

    /// The frame with this number of a source, `second` seconds after `start`.
    fn observe(&mut self, source: usize, number: u64, start: Timestamp, second: u64) -> Observation {
        let noise = self.noise();
        // A camera is never exactly on time.
        let late = i64::try_from(second * 1000).unwrap() + (noise * 20.0) as i64;
        let at = start + SignedDuration::from_millis(late);
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap();
        let sets = (0..self.sources[source].sets.len()).map(|set| self.scores(source, set, second / 60));
        let sets = sets.collect::<Vec<_>>();
        let FilledSource { name, picture, .. } = &self.sources[source];
        let frame = Frame {
            source: Arc::clone(name),
            origin: "filled".to_owned(),
            captured_at: at,
            picture: picture.clone(),
            slot: Slot::free(),
        };
        let checkpoint = number.is_multiple_of(CHECKPOINT).then(|| {
            let checkpoint = self.judge.checkpoint(name).unwrap();
            let start = if number == 0 { Start::Restarted } else { Start::Continued };
            Checkpoint { start, ..checkpoint }
        });
        let scored = Scored { frame, sets, embeddings: vec![] };
        let id = || Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, at.as_second().unsigned_abs(), 0));
        let Judged { alerts, assessments } = self.judge.judge(&scored, at, id);
        let Scored { frame, sets, embeddings } = scored;
        Observation {
            judged_at: at,
            number,
            checkpoint,
            source: frame.source,
            origin: frame.origin,
            captured_at: at,
            duration: Duration::ZERO,
            picture: frame.picture.into(),
            sets,
            embeddings,
            alerts,
            assessments,
        }
    }

    /// The scores of a label set in a minute: in view, nearly in view, or quiet.
    fn scores(&mut self, source: usize, set: usize, minute: u64) -> SetScores {
        let (label_set, labels) = self.sources[source].sets[set].clone();
        let shift = source as u64 * 17 + set as u64 * 5;
        let all = (0..labels.len() as u64).map(|label| {
            let noise = self.noise();
            match (minute + shift + label * 41) % APPEARS {
                0 => 0.7 + 0.3 * noise,
                180 => 0.45 + 0.2 * noise,
                _ => 0.3 * noise,
            }
        });
        let region = RegionScores { region: None, labels: all.collect(), background: Some(0.5) };
        SetScores { label_set, labels, regions: vec![region] }
    }

    /// A number from 0 to 1, always the same ones in the same order.
    fn noise(&mut self) -> f32 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as f32 / (1_u64 << 24) as f32
    }
}

fn sample_picture(name: &str, config: &Config) -> Masked {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled/samples").join(name);
    Masked::new(picture::decode(&fs::read(path).unwrap(), config.limits()).unwrap(), &[])
}
