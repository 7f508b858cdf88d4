//! Measures how long it takes to judge a week of stored scores again: `cargo bench --bench rejudge`.
//!
//! It stores 604,800 frames, one a second, with ten labels and a rule over two of them, as the service does. Then it reads and judges
//! them with `history::rejudge`, without printing. For comparison it reads the same rows and adds up their bytes, and adds up the same
//! bytes in memory. It prints a table, and has no pass or fail.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::{sync::Arc, time::Duration, time::Instant};

use jiff::{SignedDuration, Timestamp};
use stakeout::{
    classify::SetScores,
    history::{
        History, Reader,
        rejudge::{Event, rejudge},
        scores::{self, ScoreRecorder, Window},
    },
    judge::{Assessment, Checkpoint, FrameScores, LabelSetup, SetSetup, Setup, SourceJudge, Start},
    observe::Observation,
    picture::Picture,
    policy::{Hold, Silence, TriggerSettings},
};

const LABELS: usize = 10;
const FRAMES: u64 = 7 * 86_400;
const TIMES: usize = 9;
const SOURCE: &str = "gate";

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path()).unwrap();
    store(&mut history);
    drop(history);
    let reader = Reader::open(folder.path()).unwrap();
    let (mut bytes, mut chunks) = (Vec::new(), 0);
    read(&reader, |chunk| {
        bytes.extend_from_slice(chunk);
        chunks += 1;
    });
    let (mut frames, mut alerts) = (0, 0);
    let judged = least(|| {
        (frames, alerts) = (0, 0);
        let all = rejudge(&reader, SOURCE, Window::default(), &[], |event| match event {
            Event::Turn(..) => alerts += 1,
            Event::Judged(..) => frames += 1,
        });
        assert_eq!(all.unwrap().damaged, 0);
    });
    assert_eq!(frames, FRAMES);
    let rows = least(|| {
        let mut sum = 0_u64;
        read(&reader, |chunk| sum = sum.wrapping_add(added(chunk)));
        std::hint::black_box(sum);
    });
    let memory = least(|| {
        std::hint::black_box(added(std::hint::black_box(&bytes)));
    });
    let each = bytes.len() as f64 / (FRAMES as f64 * LABELS as f64);
    println!(
        "{frames} frames of {LABELS} labels in {chunks} chunks: {} bytes, {each:.2} for each label and frame; {alerts} changes",
        bytes.len()
    );
    println!("\n| what | least | median of {TIMES} |\n|---|---|---|");
    for (what, (least, median)) in [
        ("read and judged again", judged),
        ("the same rows read and added up", rows),
        ("the same bytes added up in memory", memory),
    ] {
        println!("| {what} | {:.1} ms | {:.1} ms |", ms(least), ms(median));
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The least time and the median.
fn least(mut run: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort();
    (times[0], times[TIMES / 2])
}

fn added(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn read(reader: &Reader, mut each: impl FnMut(&[u8])) {
    scores::chunks::<anyhow::Error>(reader.connection(), SOURCE, Window::default(), |chunk| {
        each(chunk.unwrap().bytes);
        Ok(())
    })
    .unwrap();
}

fn setup() -> Setup {
    let label = |number: usize| LabelSetup {
        name: format!("label {number}"),
        trigger: TriggerSettings {
            clear_below: 0.4,
            hold: Hold { frames: 2, of: 3 },
            cooldown: Duration::from_secs(60),
            ..TriggerSettings::at(0.6)
        },
        over: Some(Duration::from_secs(600)),
        active: None,
        severity: None,
        message: None,
        silence: Silence::default(),
        when: None,
        of: "a model and prompts".to_owned(),
    };
    let labels = (0..LABELS).map(label).collect();
    let when = r#"{"text":"label 0 and not label 1","tree":{"All":[{"Name":{"label_set":"yard","label":"label 0"}},
        {"Not":{"Name":{"label_set":"yard","label":"label 1"}}}]}}"#;
    let rule = LabelSetup { over: None, when: Some(serde_json::from_str(when).unwrap()), ..label(LABELS) };
    Setup {
        model: "bundled".to_owned(),
        sets: vec![SetSetup { name: "yard".to_owned(), labels, rules: vec![rule] }],
    }
}

/// Stores the week: quiet scores with some noise, and for each label a minute every hour in which it is in view.
fn store(history: &mut History) {
    let setup = Arc::new(setup());
    let (set, source): (Arc<str>, Arc<str>) = ("yard".into(), SOURCE.into());
    let names: Vec<Arc<str>> = setup.labels().map(|(_, label)| label.name.as_str().into()).collect();
    let picture: Arc<Picture> = Picture::of_rgb(1, 1, vec![0; 3]).into();
    let start: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
    let (mut judge, mut recorder) = (SourceJudge::new(&setup), ScoreRecorder::default());
    let mut random = 1_u64;
    for minute in 0..FRAMES / 60 {
        history
            .write(|transaction| {
                for number in minute * 60..minute * 60 + 60 {
                    let checkpoint = number.is_multiple_of(60).then(|| Checkpoint {
                        setup: Arc::clone(&setup),
                        states: judge.states().collect(),
                        clock_set_by: SignedDuration::ZERO,
                        start: if number == 0 { Start::Restarted } else { Start::Continued },
                    });
                    let scores: Vec<_> = (0..LABELS)
                        .map(|label| {
                            random = random
                                .wrapping_mul(6_364_136_223_846_793_005)
                                .wrapping_add(1_442_695_040_888_963_407);
                            let noise = (random >> 40) as f32 / (1_u64 << 24) as f32;
                            let is_shown = (minute + label as u64 * 7).is_multiple_of(60);
                            if is_shown { 0.6 + 0.4 * noise } else { 0.3 * noise }
                        })
                        .collect();
                    // A camera is never exactly on time.
                    let at = start
                        + SignedDuration::from_millis(
                            i64::try_from(number * 1000 + (random >> 33) % 20).unwrap(),
                        );
                    let given: Vec<_> = scores.iter().copied().map(Some).collect();
                    judge.judge(&FrameScores { at, scores: &given, sets: &[true] }, |_| {});
                    let observation =
                        observation((&source, &set, &names, &picture), (number, at, &scores), checkpoint);
                    recorder.record(transaction, &observation)?;
                }
                Ok(())
            })
            .unwrap();
    }
    history.write(|transaction| recorder.flush(transaction)).unwrap();
}

type Shared<'s> = (&'s Arc<str>, &'s Arc<str>, &'s [Arc<str>], &'s Arc<Picture>);

fn observation(
    (source, set, names, picture): Shared<'_>,
    (number, at, scores): (u64, Timestamp, &[f32]),
    checkpoint: Option<Checkpoint>,
) -> Observation {
    let assessment = |(label, score): (&Arc<str>, &f32)| Assessment {
        label_set: Arc::clone(set),
        label: Arc::clone(label),
        when: None,
        score: *score,
        region: None,
        levels: None,
        baseline: None,
        raised: false,
        raised_since: None,
        held_by: None,
        also_held_by: Default::default(),
        passed: Default::default(),
    };
    Observation {
        judged_at: at,
        number,
        checkpoint,
        source: Arc::clone(source),
        origin: String::new(),
        captured_at: at,
        duration: Duration::ZERO,
        picture: Arc::clone(picture),
        sets: vec![SetScores { label_set: Arc::clone(set), labels: names.into(), regions: vec![] }],
        embeddings: vec![],
        alerts: vec![],
        assessments: names.iter().zip(scores).map(assessment).collect(),
    }
}
