//! The subscriber that keeps the newest frame of each source: what it shows as vectors, what was decided, and a small picture.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Observation, Subscription, pictures::NewestPictures};
use crate::{classify::SetScores, config::Config, judge::Assessment, picture::Picture};

/// The name of a region and its embedding.
pub type RegionEmbedding = (Option<Arc<str>>, Arc<[f32]>);

/// The newest scored frame of a source. Its picture is only kept small: pictures of all sources would fill the memory.
#[derive(Debug, Clone)]
pub struct NewestFrame {
    /// When the picture was captured.
    pub captured_at: Timestamp,
    /// When the frame was judged.
    pub judged_at: Timestamp,
    /// Where the picture came from: a path, an address, a topic.
    pub origin: String,
    /// Width and height of the picture in pixels.
    pub size: (u32, u32),
    /// The embedding (a vector of length 1) of each region, with the region's name; `None` is the whole frame.
    pub regions: Vec<RegionEmbedding>,
    /// The scores of each label set that the source watches.
    pub sets: Vec<SetScores>,
    /// What the trigger of each label and rule made of the frame.
    pub assessments: Vec<Assessment>,
    /// When the first frame with this picture was captured: the model scored that one, and the frames since repeat its scores.
    pub scored_at: Timestamp,
    /// Recognises a repeated picture, and does not keep it alive.
    picture: Weak<Picture>,
}

impl NewestFrame {
    /// The frame of `observation`, which follows the frame `before`.
    fn of(observation: &Observation, before: Option<&Self>) -> Self {
        // A source whose view does not change sends the same picture again.
        let same = |before: &&Self| std::ptr::eq(before.picture.as_ptr(), Arc::as_ptr(&observation.picture));
        let named = observation.sets.first().map(|set| set.regions.as_slice()).unwrap_or_default();
        let names = named.iter().map(|region| region.region.clone()).chain(std::iter::repeat(None));
        Self {
            captured_at: observation.captured_at,
            judged_at: observation.judged_at,
            origin: observation.origin.clone(),
            size: (observation.picture.width, observation.picture.height),
            regions: names.zip(observation.embeddings.iter().cloned()).collect(),
            sets: observation.sets.clone(),
            assessments: observation.assessments.clone(),
            scored_at: before.filter(same).map_or(observation.captured_at, |before| before.scored_at),
            picture: Arc::downgrade(&observation.picture),
        }
    }
}

/// The newest frame of each source, for any number of threads. Clones share it.
#[derive(Debug, Clone)]
pub struct NewestFrames {
    frames: Arc<Mutex<HashMap<Arc<str>, Arc<NewestFrame>>>>,
    /// A small picture of each source.
    pub pictures: NewestPictures,
    config: watch::Receiver<Arc<Config>>,
}

impl NewestFrames {
    /// Follows what `subscription` brings. The returned future ends when the judge does.
    pub fn follow(mut subscription: Subscription) -> (Self, impl Future<Output = ()>) {
        let pictures = NewestPictures::default();
        let newest =
            Self { frames: Arc::default(), pictures: pictures.clone(), config: subscription.config.clone() };
        let kept = newest.clone();
        let following = async move {
            let Subscription { observations, config } = &mut subscription;
            loop {
                let next = tokio::select! {
                    Ok(()) = config.changed() => None,
                    observation = observations.recv() => match observation {
                        Some(observation) => Some(observation),
                        None => break,
                    },
                };
                kept.see(next.as_deref(), config);
            }
        };
        let both = async move {
            tokio::select! {
                () = following => {}
                () = pictures.make() => {}
            }
        };
        (newest, both)
    }

    /// Forgets what is of no source of the configuration in force, and keeps the frame of `observation`.
    fn see(&self, observation: Option<&Observation>, config: &mut watch::Receiver<Arc<Config>>) {
        let is_changed = observation.is_none() || config.has_changed().unwrap_or(false);
        let config = Arc::clone(&config.borrow_and_update());
        let is_source = |name: &str| config.sources.iter().any(|source| *source.name == *name);
        let mut frames = lock(&self.frames);
        if is_changed {
            frames.retain(|name, _| is_source(name));
            self.pictures.retain(is_source);
        }
        // Observations of a source that was removed may be in the queue.
        if let Some(observation) = observation.filter(|it| is_source(&it.source)) {
            self.pictures.offer(observation);
            let before = frames.get(&observation.source).map(|frame| &**frame);
            let newest = NewestFrame::of(observation, before);
            frames.insert(Arc::clone(&observation.source), newest.into());
        }
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

    #[test]
    fn frames_that_repeat_a_picture_say_when_it_was_scored() {
        let picture: Arc<Picture> = Picture::of_rgb(2, 1, vec![0; 6]).into();
        let mut newest: Option<NewestFrame> = None;
        let mut see = |second, picture: &Arc<Picture>| {
            let captured_at = Timestamp::from_second(second).unwrap();
            let observation =
                Observation { captured_at, picture: Arc::clone(picture), ..observation("1.jpg") };
            newest = Some(NewestFrame::of(&observation, newest.as_ref()));
            newest.as_ref().map(|frame| frame.scored_at.as_second())
        };
        assert_eq!([0, 12].map(|second| see(second, &picture)), [Some(0), Some(0)]);
        let other = Picture::of_rgb(2, 1, vec![0; 6]).into();
        assert_eq!(see(13, &other), Some(13), "the same pixels are not the same picture");
        assert_eq!(see(14, &picture), Some(14), "it was scored again");
        assert_eq!(Arc::strong_count(&picture), 1, "it is not kept alive");
    }

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

    /// Time passes only when nothing is left to do.
    async fn all_is_done() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_was_removed_is_forgotten_without_another_frame() {
        let mut config = samples::config();
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let mut observers = Observers::new(Arc::new(config.clone()), metrics);
        let (newest, following) = NewestFrames::follow(observers.subscribe("newest"));
        let task = tokio::spawn(following);
        observers.publish(observation("1.jpg"));
        all_is_done().await;
        assert!(newest.of("Front Door").is_some());

        config.sources.retain(|source| source.name != "Front Door");
        observers.reload(&Arc::new(config.clone()));
        all_is_done().await;
        assert!(newest.of("Front Door").is_none());
        assert!(newest.pictures.of(&"Front Door".into()).await.is_none());

        // One more source, as a dynamic one is added.
        config.sources.push(samples::source("gate", &[]));
        observers.reload(&Arc::new(config));
        observers.publish(Observation { source: "gate".into(), ..observation("2.jpg") });
        all_is_done().await;
        assert!(newest.of("gate").is_some());
        drop(observers);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn older_observations_of_a_removed_source_do_not_bring_it_back() {
        let mut config = samples::config();
        let metrics = Arc::new(ServiceMetrics::new(&config));
        let mut observers = Observers::new(Arc::new(config.clone()), metrics);
        let (newest, following) = NewestFrames::follow(observers.subscribe("newest"));
        for number in 0..5 {
            observers.publish(observation(&format!("{number}.jpg")));
        }
        observers.publish(Observation { source: "back".into(), ..observation("6.jpg") });
        config.sources.retain(|source| source.name != "Front Door");
        observers.reload(&Arc::new(config));
        let task = tokio::spawn(following);
        all_is_done().await;
        assert!(newest.of("back").is_some() && newest.of("Front Door").is_none());
        assert!(newest.pictures.of(&"Front Door".into()).await.is_none());
        drop(observers);
        task.await.unwrap();
    }
}
