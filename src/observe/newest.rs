//! The subscriber that keeps the newest frame of each source, without its picture: what it shows as vectors, and what was decided.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Observation, Subscription};
use crate::{classify::SetScores, config::Config};

/// The newest scored frame of a source. Its picture is not kept: pictures of all sources would fill the memory.
#[derive(Debug, Clone)]
pub struct NewestFrame {
    /// When the picture was captured.
    pub captured_at: Timestamp,
    /// When the frame was judged.
    pub judged_at: Timestamp,
    /// Where the picture came from: a path, an address, a topic.
    pub origin: String,
    /// The embedding (a vector of length 1) of each region, with the region's name; `None` is the whole frame.
    pub regions: Vec<(Option<Arc<str>>, Arc<[f32]>)>,
    /// The scores of each label set that the source watches.
    pub sets: Vec<SetScores>,
}

impl NewestFrame {
    fn of(observation: &Observation) -> Self {
        let named = observation.sets.first().map(|set| set.regions.as_slice()).unwrap_or_default();
        let names = named.iter().map(|region| region.region.clone()).chain(std::iter::repeat(None));
        Self {
            captured_at: observation.captured_at,
            judged_at: observation.judged_at,
            origin: observation.origin.clone(),
            regions: names.zip(observation.embeddings.iter().cloned()).collect(),
            sets: observation.sets.clone(),
        }
    }
}

/// The newest frame of each source, for any number of threads. Clones share it.
#[derive(Debug, Clone)]
pub struct NewestFrames {
    frames: Arc<Mutex<HashMap<Arc<str>, Arc<NewestFrame>>>>,
    config: watch::Receiver<Arc<Config>>,
}

impl NewestFrames {
    /// Follows what `subscription` brings. The returned future ends when the judge does.
    pub fn follow(mut subscription: Subscription) -> (Self, impl Future<Output = ()>) {
        let newest = Self { frames: Arc::default(), config: subscription.config.clone() };
        let frames = Arc::clone(&newest.frames);
        let following = async move {
            while let Some(observation) = subscription.observations.recv().await {
                let mut frames = lock(&frames);
                if subscription.config.has_changed().unwrap_or(false) {
                    let config = subscription.config.borrow_and_update();
                    frames.retain(|name, _| config.sources.iter().any(|source| *source.name == **name));
                }
                frames.insert(Arc::clone(&observation.source), NewestFrame::of(&observation).into());
            }
        };
        (newest, following)
    }

    /// The newest frame of a source, by its name in the configuration; `None` if it has had none since the start.
    #[must_use]
    pub fn of(&self, source: &str) -> Option<Arc<NewestFrame>> {
        lock(&self.frames).get(source).cloned()
    }

    /// The configuration in force, dynamic sources included.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }
}

fn lock(
    frames: &Mutex<HashMap<Arc<str>, Arc<NewestFrame>>>,
) -> MutexGuard<'_, HashMap<Arc<str>, Arc<NewestFrame>>> {
    frames.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observe::{Observers, ServiceMetrics, tests::observation},
        samples,
    };

    #[tokio::test]
    async fn the_newest_frame_is_kept_while_its_source_exists() {
        let mut config = samples::config();
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let mut observers = Observers::new(Arc::new(config.clone()), metrics);
        let (newest, following) = NewestFrames::follow(observers.subscribe("newest"));
        assert!(newest.of("Front Door").is_none());
        observers.publish(observation("1.jpg"));
        let second = Observation { embeddings: vec![[1.0, 0.0].into()], ..observation("2.jpg") };
        observers.publish(second);
        config.sources.retain(|source| source.name != "Front Door");
        let back = Observation { source: "back".into(), ..observation("3.jpg") };
        let task = tokio::spawn(following);
        while newest.of("Front Door").is_none_or(|frame| frame.origin != "2.jpg") {
            tokio::task::yield_now().await;
        }
        let frame = newest.of("Front Door").unwrap();
        assert_eq!((frame.regions.len(), &*frame.regions[0].1), (1, &[1.0, 0.0][..]));
        assert_eq!(frame.regions[0].0, None, "the whole frame");

        observers.reload(&Arc::new(config));
        observers.publish(back);
        while newest.of("back").is_none() {
            tokio::task::yield_now().await;
        }
        assert!(newest.of("Front Door").is_none(), "the source was removed");
        assert_eq!(newest.config().sources.len(), 1);
        drop(observers);
        task.await.unwrap();
    }
}
