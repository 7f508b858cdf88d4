//! Observers: what receives each scored frame after the judge.
//!
//! The judge thread publishes one [`Observation`] for each frame, after the frame's alerts are in the outbox. Each subscriber
//! has a bounded queue. A subscriber that is too slow loses observations, which are counted, and never holds up the judge.
//! Counters are not a subscriber: they must be exact and never wait, so [`ServiceMetrics`] is updated directly.
//!
//! A new subscriber is a file here or a module of its own, and one line in `daemon` that calls [`Observers::subscribe`].

pub mod metrics;
pub mod newest;
pub mod pictures;
pub mod scores;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

pub use self::{
    metrics::{HistoryCounts, ServiceMetrics},
    newest::NewestFrames,
    pictures::{NewestPictures, SmallPicture},
    scores::ScorePublisher,
};
use crate::{
    alert::Alert,
    classify::SetScores,
    config::Config,
    judge::{Assessment, Checkpoint},
    picture::Picture,
};

/// The observations that wait for one subscriber at most. Each holds a decoded picture, so there are few.
const QUEUE: usize = 16;

/// One scored frame after the judge.
#[derive(Debug)]
pub struct Observation {
    /// When the frame was judged.
    pub judged_at: Timestamp,
    /// The number of the frame among those of its source. If one is missing, this subscriber has lost an observation.
    pub number: u64,
    /// The triggers of the source before the frame, where they do not follow from the frames before.
    pub checkpoint: Option<Checkpoint>,
    /// The name of the source, as in the configuration.
    pub source: Arc<str>,
    /// Where the picture came from: a path, an address, a topic.
    pub origin: String,
    /// When the picture was captured, in whole milliseconds.
    pub captured_at: Timestamp,
    /// From the moment the source took a slot for the frame until its alerts were on disk.
    pub duration: Duration,
    /// The decoded picture.
    pub picture: Arc<Picture>,
    /// The scores of each label set that the source watches.
    pub sets: Vec<SetScores>,
    /// The embedding (a vector of length 1) of each region, in the order of [`SetScores::regions`].
    pub embeddings: Vec<Arc<[f32]>>,
    /// The alerts that the frame caused.
    pub alerts: Vec<Alert>,
    /// What the trigger of each label and rule made of the frame.
    pub assessments: Vec<Assessment>,
}

/// The subscribers, as the judge thread sees them.
pub struct Observers {
    config: watch::Sender<Arc<Config>>,
    subscribers: Vec<Subscriber>,
    metrics: Arc<ServiceMetrics>,
}

struct Subscriber {
    name: &'static str,
    queue: mpsc::Sender<Arc<Observation>>,
}

/// The receiving end of one subscriber.
pub struct Subscription {
    /// The observations, in the order of the judge, without those that were lost. Closes when the judge ends.
    pub observations: mpsc::Receiver<Arc<Observation>>,
    /// The configuration in force, dynamic sources included.
    pub config: watch::Receiver<Arc<Config>>,
}

impl Observers {
    /// No subscribers yet. `metrics` counts what they lose.
    #[must_use]
    pub fn new(config: Arc<Config>, metrics: Arc<ServiceMetrics>) -> Self {
        Self { config: watch::Sender::new(config), subscribers: Vec::new(), metrics }
    }

    /// Adds a subscriber; `name` is its label in the metrics.
    #[must_use]
    pub fn subscribe(&mut self, name: &'static str) -> Subscription {
        let (queue, observations) = mpsc::channel(QUEUE);
        self.metrics.lost_observations(name, 0);
        self.subscribers.push(Subscriber { name, queue });
        Subscription { observations, config: self.config.subscribe() }
    }

    /// The configuration in force, dynamic sources included, for a part that needs no observations.
    #[must_use]
    pub fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// Another configuration is in force.
    pub fn reload(&self, config: &Arc<Config>) {
        self.config.send_replace(Arc::clone(config));
    }

    /// Hands the observation to every subscriber that has room for it. Never waits. Returns whether all of them had.
    pub fn publish(&self, observation: Observation) -> bool {
        let observation = Arc::new(observation);
        let mut received = true;
        for Subscriber { name, queue } in &self.subscribers {
            if queue.try_send(Arc::clone(&observation)).is_err() {
                self.metrics.lost_observations(name, 1);
                received = false;
            }
        }
        received
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::samples;

    pub(crate) fn observation(origin: &str) -> Observation {
        Observation {
            judged_at: Timestamp::UNIX_EPOCH,
            number: 0,
            checkpoint: None,
            source: "Front Door".into(),
            origin: origin.to_owned(),
            captured_at: Timestamp::UNIX_EPOCH,
            duration: Duration::ZERO,
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            sets: vec![],
            embeddings: vec![],
            alerts: vec![],
            assessments: vec![],
        }
    }

    #[test]
    fn a_slow_subscriber_loses_observations_and_holds_up_no_other() {
        let config = samples::config();
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let mut observers = Observers::new(Arc::new(config), Arc::clone(&metrics));
        let (mut slow, mut quick) = (observers.subscribe("slow"), observers.subscribe("quick"));
        let mut received = Vec::new();
        for number in 0..QUEUE + 4 {
            let had_room = observers.publish(observation(&number.to_string()));
            assert_eq!(had_room, number < QUEUE, "the slow one has room for {number}");
            received.extend(quick.observations.try_recv().map(|it| it.origin.clone()));
        }
        let numbers = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(received, numbers(QUEUE + 4));
        let waiting = std::iter::from_fn(|| slow.observations.try_recv().ok()).map(|it| it.origin.clone());
        assert_eq!(waiting.collect::<Vec<_>>(), numbers(QUEUE));
        let page = metrics.page();
        for (name, lost) in [("slow", 4), ("quick", 0)] {
            let line = format!("stakeout_observations_lost_total{{subscriber=\"{name}\"}} {lost}\n");
            assert!(page.contains(&line), "{line} is missing in\n{page}");
        }
    }
}
