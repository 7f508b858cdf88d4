//! Chunks are read as they were written, comparisons stay the same, and damaged chunks end.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{
    Chunk, Columns, FrameBuffer, ScoreRecorder, TABLE, Window,
    bytes::Damaged,
    chunk::{ChunkWriter, Rounding},
    chunks,
};
use crate::{
    classify::SetScores,
    history::{
        History,
        table::{Export, Range, Selection, name_id},
    },
    judge::{
        Assessment, Checkpoint, FrameScores, LabelSetup, LabelState, SetSetup, Setup, SourceJudge, Start,
    },
    observe::Observation,
    picture::Picture,
    policy::{Condition, Levels, Silence, TriggerSettings},
    trigger::{Baseline, Gates, PresenceState, TriggerState, rounding},
};

const START: i64 = 1_800_000_000_000;

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(START + millisecond).unwrap()
}

/// A setup with two label sets, these numbers of labels, and a rule.
pub(super) fn setup(labels: [usize; 2]) -> Setup {
    let label = |name: String, when: Option<&str>| LabelSetup {
        name,
        trigger: TriggerSettings { clear_below: 0.4, ..TriggerSettings::at(0.6) },
        over: Some(Duration::from_secs(600)),
        active: None,
        severity: None,
        message: None,
        silence: Silence::default(),
        when: when.map(|when| Condition::of("yard", when)),
        of: "model prompts".to_owned(),
    };
    let set = |name: &str, count: usize, rules| SetSetup {
        name: name.to_owned(),
        labels: (0..count).map(|number| label(format!("l{number}"), None)).collect(),
        rules,
    };
    let rules = vec![label("rule".to_owned(), Some("l0"))];
    Setup {
        model: "m".to_owned(),
        sets: vec![set("yard", labels[0], rules), set("porch", labels[1], vec![])],
    }
}

fn checkpoint(setup: Setup, states: Vec<LabelState>) -> Checkpoint {
    let clock_set_by = SignedDuration::from_millis(-5);
    Checkpoint { setup: Arc::new(setup), states, clock_set_by, start: Start::Restarted }
}

/// A frame as it is read: its time, its scores as bits, and which sets were scored.
type Frame = (Timestamp, Vec<Option<u32>>, Vec<bool>);

fn read(bytes: &[u8], setup: &Setup) -> Result<(Vec<LabelState>, Vec<Frame>), Damaged> {
    let (mut states, mut frames) = (vec![], vec![]);
    let chunk = Chunk::read(bytes, setup, &mut states)?;
    chunk.frames(&mut FrameBuffer::default(), |frame| {
        let scores = frame.scores.iter().map(|score| score.map(f32::to_bits)).collect();
        frames.push((frame.at, scores, frame.sets.to_vec()));
    })?;
    Ok((states, frames))
}

/// The frames with the scores of the second label and of the third one, whose label set is the second one.
fn read_columns(bytes: &[u8], setup: &Setup) -> Result<Vec<Frame>, Damaged> {
    let mut frames = vec![];
    let columns = Columns { labels: vec![1, 2], sets: vec![1] };
    Chunk::read(bytes, setup, &mut vec![])?.frames_of(&columns, &mut FrameBuffer::default(), |frame| {
        let scores = frame.scores.iter().map(|score| score.map(f32::to_bits)).collect();
        frames.push((frame.at, scores, frame.sets.to_vec()));
    })?;
    Ok(frames)
}

fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of((-1_000_000_000_000i64..1_000_000_000).prop_map(at))
}

fn any_state() -> impl Strategy<Value = LabelState> {
    let baseline = prop::option::of((0.0f64..=1.0, 0.0f64..=1.0, -5_000_000i64..0)).prop_map(|parts| {
        parts.and_then(|(level, weight, time)| Baseline::of_parts(level, weight, at(time)))
    });
    let trigger = (any::<bool>(), any::<u64>(), any::<u64>(), any_time(), any_time(), 0.0f32..1.0, baseline);
    let presence = (any::<bool>(), any::<u64>(), any::<u64>(), any_time(), any::<u8>(), any::<bool>());
    (trigger, presence).prop_map(|(trigger, presence)| {
        let (raised, high, low, agreed_since, last_raised, raised_at, baseline) = trigger;
        let trigger = TriggerState { raised, high, low, agreed_since, last_raised, raised_at, baseline };
        let (present, high, low, agreed_since, seen, known) = presence;
        LabelState { trigger, presence: PresenceState { present, high, low, agreed_since, seen, known } }
    })
}

/// A score, often next to a level, and sometimes none or NaN.
fn any_score() -> impl Strategy<Value = Option<f32>> {
    prop_oneof![
        6 => (0.0f32..=1.0).prop_map(Some),
        2 => (-3i32..=3).prop_map(|steps| Some(f32::from_bits(0.6f32.to_bits().wrapping_add_signed(steps)))),
        1 => (-3i32..=3).prop_map(|steps| Some(f32::from_bits(0.4f32.to_bits().wrapping_add_signed(steps)))),
        1 => Just(None),
        1 => prop::sample::select(vec![0.0, 1.0, f32::NAN, -0.5, 7.0]).prop_map(Some),
    ]
}

proptest! {
    /// Times, states and missing scores are read as they were written, and scores so that each comparison with the levels is the same.
    #[test]
    fn a_chunk_is_read_as_it_was_written(
        frames in prop::collection::vec(
            (-5000i64..100_000, prop::collection::vec(any_score(), 3), any::<[bool; 2]>(), 0usize..4),
            1..60,
        ),
        states in prop::collection::vec(any_state(), 4),
    ) {
        let checkpoint = checkpoint(setup([2, 1]), states);
        let levels = Levels { threshold: 0.6, clear_below: 0.4 };
        let mut writer = ChunkWriter::new(&checkpoint, true, at(0));
        let (mut now, mut written, mut stored, mut newest) = (0, vec![], vec![], None);
        for (step, scores, sets, repeat) in frames {
            now += step;
            // Some frames have the scores of the frame before.
            let (scores, sets) = newest.take().filter(|_| repeat > 0).unwrap_or((scores, sets));
            let rounding = Rounding::Levels(Some(levels));
            writer.add(at(now), scores.iter().map(|score| (*score, rounding)), &sets, &mut stored);
            let bits = stored.iter().map(|score| score.map(f32::to_bits)).collect::<Vec<_>>();
            for (score, stored) in scores.iter().zip(&stored) {
                prop_assert_eq!(score.is_some(), stored.is_some());
                let (Some(score), Some(stored)) = (*score, *stored) else { continue };
                prop_assert_eq!(score >= levels.threshold, stored >= levels.threshold);
                prop_assert_eq!(score < levels.clear_below, stored < levels.clear_below);
                prop_assert!(stored.to_bits() == score.to_bits() || (stored - score).abs() < 1.3e-4);
                prop_assert_eq!(rounding::rounded(score).to_bits(), rounding::rounded(stored).to_bits());
            }
            written.push((at(now), bits, sets.to_vec()));
            newest = Some((scores, sets));
        }
        let (_, last, count) = writer.span();
        prop_assert_eq!(count, written.len());
        prop_assert_eq!(last, written.iter().map(|(time, ..)| time.as_millisecond()).max().unwrap().max(START));
        let bytes = writer.finish();
        let (states, frames) = read(&bytes, &checkpoint.setup).unwrap();
        prop_assert_eq!(states, checkpoint.states);
        prop_assert_eq!(&frames, &written);
        let columns = written.iter().map(|(time, bits, sets)| (*time, bits[1..].to_vec(), sets[1..].to_vec()));
        prop_assert_eq!(read_columns(&bytes, &checkpoint.setup).unwrap(), columns.collect::<Vec<_>>());
    }

    /// Whatever the bytes are, reading ends, with little memory.
    #[test]
    fn random_bytes_are_damaged_or_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let setup = setup([2, 1]);
        let _ = read(&bytes, &setup);
        let _ = read_columns(&bytes, &setup);
        // Behind a valid head.
        let mut valid = ChunkWriter::new(&checkpoint(setup.clone(), vec![LabelState::default(); 4]), false, at(0)).finish();
        valid.truncate(valid.len() - 2);
        valid.extend(&bytes);
        if let Ok((_, frames)) = read(&valid, &setup) {
            prop_assert!(frames.len() <= 1 << 16);
        }
        let _ = read_columns(&valid, &setup);
    }

    /// One damaged byte or a missing end.
    #[test]
    fn damaged_bytes_are_damaged_or_end(at_byte in 0usize..2000, byte in any::<u8>(), length in 0usize..2000) {
        let (setup, mut bytes) = (setup([2, 1]), day(3, 40).0);
        let end = bytes.len();
        prop_assert!(read(&bytes[..length % end], &setup).is_err());
        bytes[at_byte % end] = byte;
        let _ = (read(&bytes, &setup), read_columns(&bytes, &setup));
    }
}

/// A chunk with this number of labels and of frames, about one a second, and the number of bytes before the frames.
fn day(labels: usize, frames: i64) -> (Vec<u8>, usize) {
    let checkpoint = checkpoint(setup([labels - 1, 1]), vec![LabelState::default(); labels + 1]);
    let head = ChunkWriter::new(&checkpoint, true, at(0)).finish().len();
    let mut writer = ChunkWriter::new(&checkpoint, true, at(0));
    for frame in 0..frames {
        let score = |label: usize| ((frame * 37 + label as i64 * 11) % 101) as f32 / 101.0;
        let scores = (0..labels).map(|label| (Some(score(label)), Rounding::Levels(None)));
        writer.add(at(frame * 1000 + frame * 7 % 13), scores, &[true; 2], &mut vec![]);
    }
    (writer.finish(), head)
}

#[test]
fn a_label_costs_two_bytes_a_frame_and_a_repeated_frame_almost_nothing() {
    let (bytes, _) = day(10, 60);
    let each = bytes.len() as f64 / 600.0;
    assert!(each < 2.4, "{each} bytes for each label and frame, with the states");

    let checkpoint = checkpoint(setup([9, 1]), vec![LabelState::default(); 11]);
    let empty = ChunkWriter::new(&checkpoint, true, at(0)).finish().len();
    let repeated = |times: &dyn Fn(i64) -> i64| {
        let mut writer = ChunkWriter::new(&checkpoint, true, at(0));
        for frame in 0..3600 {
            let scores = (0..10).map(|_| (Some(0.25), Rounding::Levels(None)));
            writer.add(at(times(frame)), scores, &[true; 2], &mut vec![]);
        }
        writer.finish().len() - empty
    };
    let regular = repeated(&|frame| frame * 1000);
    assert!(regular < 40, "{regular} bytes for an hour at equal distances");
    let jitter = repeated(&|frame| frame * 1000 + frame * 7 % 13);
    assert!(jitter < 4000, "{jitter} bytes for an hour with jitter: about one a frame");
}

#[test]
fn a_chunk_of_another_setup_or_format_is_damaged() {
    let (mut bytes, _) = day(3, 40);
    assert!(read(&bytes, &setup([2, 1])).is_ok());
    bytes[0] = 9;
    assert_eq!(read(&bytes, &setup([2, 1])).unwrap_err(), Damaged);
    assert!(read(&[], &setup([2, 1])).is_err());
}

#[test]
fn a_label_can_be_removed_and_the_others_stay_exactly() {
    let setup = Arc::new(setup([2, 1]));
    let states: Vec<_> = (0..4_u8)
        .map(|seen| LabelState {
            presence: PresenceState { seen, ..PresenceState::default() },
            ..LabelState::default()
        })
        .collect();
    let checkpoint = Checkpoint { setup: Arc::clone(&setup), ..checkpoint(Setup::default(), states) };
    let levels = Rounding::Levels(Some(Levels { threshold: 0.6, clear_below: 0.4 }));
    let mut writer = ChunkWriter::new(&checkpoint, true, at(0));
    // The first one is stored exactly: the nearest value is below the threshold.
    let scores = [Some(0.600_003), Some(0.3), None];
    writer.add(at(0), scores.into_iter().map(|score| (score, levels)), &[true, false], &mut vec![]);
    let bytes = writer.finish();
    let mut states = vec![];
    let chunk = Chunk::read(&bytes, &setup, &mut states).unwrap();
    let rest = chunk.without(&setup, &states, |label| label.name == "l1").unwrap().finish();
    let (states, frames) = read(&rest, &setup).unwrap();
    assert_eq!(states.iter().map(|state| state.presence.seen).collect::<Vec<_>>(), [0, 0, 2, 3]);
    assert_eq!(frames, [(at(0), vec![Some(0.600_003_f32.to_bits()), None, None], vec![true, false])]);
}

/// A frame of `gate` on which the labels have these scores, as an observation.
fn observation(setup: &Arc<Setup>, number: u64, scores: &[f32]) -> Observation {
    let assessment = |((set, label), score): ((&SetSetup, &LabelSetup), &f32)| Assessment {
        label_set: set.name.as_str().into(),
        label: label.name.as_str().into(),
        when: None,
        score: *score,
        region: None,
        levels: None,
        baseline: None,
        raised: false,
        raised_since: None,
        held_by: None,
        also_held_by: Gates::default(),
        passed: Gates::default(),
    };
    let sets = setup.sets.iter().map(|set| SetScores {
        label_set: set.name.as_str().into(),
        labels: [].into(),
        regions: vec![],
    });
    let states = SourceJudge::new(setup).states().collect();
    let new = Checkpoint { setup: Arc::clone(setup), ..checkpoint(Setup::default(), states) };
    Observation {
        judged_at: at(0),
        number,
        checkpoint: (number == 0).then_some(new),
        source: "gate".into(),
        origin: String::new(),
        captured_at: at(number.cast_signed() * 1000),
        duration: Duration::ZERO,
        picture: Picture::of_rgb(1, 1, vec![0; 3]).into(),
        sets: sets.collect(),
        embeddings: vec![],
        alerts: vec![],
        assessments: setup.labels().zip(scores).map(assessment).collect(),
    }
}

/// A history with these frames of `gate`.
fn recorded(folder: &Path, frames: &[(u64, [f32; 3])]) -> History {
    let (mut history, mut recorder) = (History::open(folder).unwrap(), ScoreRecorder::default());
    let setup = Arc::new(setup([2, 1]));
    for (number, scores) in frames {
        let observation = observation(&setup, *number, scores);
        history.write(|transaction| recorder.record(transaction, &observation)).unwrap();
    }
    history.write(|transaction| recorder.flush(transaction)).unwrap();
    history
}

/// The times of all stored frames in milliseconds, with their scores.
fn stored(history: &History) -> Vec<(i64, Vec<Option<f32>>)> {
    let (mut frames, mut states, mut buffer) = (vec![], vec![], FrameBuffer::default());
    chunks::<rusqlite::Error>(history.connection(), "gate", Window::default(), |stored| {
        let stored = stored.unwrap();
        let chunk = Chunk::read(stored.bytes, stored.setup, &mut states).unwrap();
        let each =
            |frame: &FrameScores<'_>| frames.push((frame.at.as_millisecond() - START, frame.scores.to_vec()));
        chunk.frames(&mut buffer, each).unwrap();
        Ok(())
    })
    .unwrap();
    frames
}

#[test]
fn after_a_lost_observation_nothing_is_recorded_until_the_next_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let scores = [0.25, 0.5, 0.75];
    let history = recorded(folder.path(), &[(0, scores), (1, scores), (3, scores), (4, scores), (0, scores)]);
    let frames = stored(&history);
    assert_eq!(frames.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [0, 1000, 0]);
    assert!(frames.iter().all(|(_, stored)| *stored == scores.map(Some)));
}

#[test]
fn scores_are_forgotten_by_label_or_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = recorded(folder.path(), &[(0, [0.25, 0.5, 0.75]), (1, [0.25, 0.5, 0.75])]);
    let forget = |history: &mut History, label: Option<&str>, from: i64, to: i64| {
        let forget = TABLE.forget.unwrap();
        history
            .write(|transaction| {
                let label = label.map(|label| name_id(transaction, label)).transpose()?;
                let source = name_id(transaction, "gate")?;
                forget(transaction, &Selection { source, from: START + from, to: START + to, label })
            })
            .unwrap()
    };
    assert_eq!(forget(&mut history, None, 5000, 9000), 0, "another time");
    assert_eq!(forget(&mut history, Some("l1"), 0, 500), 1);
    assert_eq!(
        stored(&history),
        [(0, vec![Some(0.25), None, Some(0.75)]), (1000, vec![Some(0.25), None, Some(0.75)])]
    );
    assert_eq!(forget(&mut history, None, 0, 500), 1);
    assert_eq!(stored(&history), []);
    let setups = "SELECT count(*) FROM score_setups";
    assert_eq!(history.connection().query_row(setups, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn the_export_has_a_line_for_each_frame() {
    let folder = tempfile::tempdir().unwrap();
    let history =
        recorded(folder.path(), &[(0, [0.25, 0.5, 0.75]), (1, [0.25, 0.5, 0.75]), (2, [0.5, 0.5, 0.5])]);
    let Export::Lines(export) = TABLE.export else { panic!("lines") };
    let mut lines = vec![];
    let range = Range { source: None, from: START, to: START + 1000 };
    export(history.connection(), &range, &mut |line| {
        lines.push(line.to_string());
        true
    })
    .unwrap();
    let expected = r#"{"time":"2027-01-15T08:00:01.000Z","source":"gate","scores":{"yard":{"l0":0.25,"l1":0.5},"porch":{"l0":0.75}}}"#;
    assert_eq!((lines.len(), &*lines[1]), (2, expected));
}

#[test]
fn a_damaged_setup_or_chunk_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = recorded(folder.path(), &[(0, [0.25, 0.5, 0.75])]);
    history.write(|transaction| transaction.execute("UPDATE score_setups SET content = '{}'", [])).unwrap();
    let mut damaged = 0;
    chunks::<rusqlite::Error>(history.connection(), "gate", Window::default(), |stored| {
        damaged += usize::from(stored.is_err());
        Ok(())
    })
    .unwrap();
    assert_eq!(damaged, 1);
}
