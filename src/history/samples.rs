//! Observations for the tests of this room.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    alert::{Alert, FrameInfo, Place, State},
    judge::{Assessment, Gate},
    observe::Observation,
    picture::Picture,
    policy::Levels,
    trigger::{GateKind, Gates},
};

/// The time that milliseconds are counted from. An hour begins.
pub(super) const START: i64 = 1_800_000_000_000;

pub(super) fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(START + millisecond).unwrap()
}

/// A frame of `source` without alerts, which was judged when it was captured.
pub(super) fn observation(source: &str, millisecond: i64, picture: &Arc<Picture>) -> Observation {
    Observation {
        judged_at: at(millisecond),
        number: 1,
        checkpoint: None,
        source: source.into(),
        origin: format!("{millisecond}.jpg"),
        captured_at: at(millisecond),
        duration: Duration::ZERO,
        picture: Arc::clone(picture),
        sets: vec![],
        embeddings: vec![],
        alerts: vec![],
        assessments: vec![],
    }
}

pub(super) fn grey(level: u8) -> Arc<Picture> {
    Picture::of_rgb(640, 360, vec![level; 640 * 360 * 3]).into()
}

/// An alert of the label `person` in `porch`, with the identifier `number`.
pub(super) fn alert(source: &str, state: State, number: u128, millisecond: i64) -> Alert {
    Alert {
        id: Uuid::from_u128(number),
        state,
        time: at(millisecond + 25),
        source: source.into(),
        region: None,
        label_set: "porch".into(),
        label: "person".into(),
        when: None,
        score: 0.83,
        threshold: 0.6,
        baseline: None,
        severity: None,
        message: None,
        reason: None,
        scores: vec![("person".into(), 0.83), ("package".into(), 0.02)],
        background: Some(0.15),
        model: "bundled".into(),
        frame: FrameInfo {
            origin: format!("{millisecond}.jpg"),
            captured_at: at(millisecond),
            width: 640,
            height: 360,
        },
        snapshot: None,
        place: Place::default(),
    }
}

/// What the trigger of `person` in `porch`, with a threshold of 0.6, made of a frame.
pub(super) fn assessment(score: f32, held_by: Option<Gate>) -> Assessment {
    Assessment {
        label_set: "porch".into(),
        label: "person".into(),
        when: None,
        score,
        region: None,
        levels: Some(Levels { threshold: 0.6, clear_below: 0.4 }),
        baseline: None,
        raised: held_by.is_none(),
        raised_since: None,
        held_by,
        also_held_by: Gates::default(),
        passed: [GateKind::Threshold].into_iter().collect(),
    }
}
