//! Tells every score, where that is asked for.
//!
//! It refuses to wait: whether anybody hears it is up to the publisher, and a frame is never held up for it.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use crate::{
    alert::{Topics, publisher::ScoreSink},
    classify::{RegionScores, Scored, SetScores},
    config::Config,
    observe::scores::{Limiter, Scores},
};

/// Follows the scores of the sources that ask for it.
pub(crate) struct Meter {
    topics: Topics,
    sources: HashSet<String>,
    limiter: Limiter,
    sink: ScoreSink,
}

impl Meter {
    /// Follows nothing yet; [`Self::reload`] says what.
    pub(crate) fn new(topics: Topics, sink: ScoreSink) -> Self {
        Self { topics, sources: HashSet::new(), limiter: Limiter::default(), sink }
    }

    /// Follows the sources of `config` that ask for it.
    pub(crate) fn reload(&mut self, config: &Config) {
        let asked = config.sources.iter().filter(|source| source.scores);
        self.sources = asked.map(|source| source.name.clone()).collect();
    }

    /// Tells the scores of this frame, unless there were some a moment ago.
    pub(crate) fn tell(&mut self, scored: &Scored, now: Timestamp) {
        let source = &scored.frame.source;
        if !self.sources.contains(&**source) {
            return;
        }
        for set in &scored.sets {
            if self.limiter.allows(source, &set.label_set, now) {
                let topic = self.topics.scores(source, &set.label_set);
                self.sink.tell(topic, scores(scored, set).to_json());
            }
        }
    }
}

fn scores(scored: &Scored, set: &SetScores) -> Scores {
    let best = (0..set.labels.len()).filter_map(|label| set.best(label)).collect::<Vec<_>>();
    let highest: Option<&RegionScores> = best
        .iter()
        .copied()
        .reduce(|highest, best| if best.0 > highest.0 { best } else { highest })
        .map(|best| best.1);
    Scores {
        time: scored.frame.captured_at,
        source: Arc::clone(&scored.frame.source),
        label_set: Arc::clone(&set.label_set),
        region: highest.and_then(|region| region.region.clone()),
        scores: set.labels.iter().cloned().zip(best.iter().map(|(score, _)| *score)).collect(),
        background: highest.and_then(|region| region.background),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Frame, Slot},
        picture::Picture,
    };

    #[test]
    fn each_label_tells_the_score_that_its_trigger_sees() {
        let region = |name: &str, labels: [f32; 2], background| RegionScores {
            region: Some(name.into()),
            labels: labels.to_vec(),
            background: Some(background),
        };
        let set = SetScores {
            label_set: "porch".into(),
            labels: ["person".into(), "package".into()].into(),
            regions: vec![region("step", [0.1, 0.8], 0.1), region("gate", [0.3, 0.6], 0.2)],
        };
        let frame = Frame {
            source: "door".into(),
            origin: "1.jpg".to_owned(),
            captured_at: Timestamp::UNIX_EPOCH,
            picture: Picture::of_rgb(2, 1, vec![0; 6]).into(),
            slot: Slot::free(),
        };
        let told = scores(&Scored { frame, sets: vec![], embeddings: vec![] }, &set);
        assert_eq!(told.scores, [("person".into(), 0.3), ("package".into(), 0.8)]);
        assert_eq!((told.region.as_deref(), told.background), (Some("step"), Some(0.1)));
    }
}
