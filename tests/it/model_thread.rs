//! The thread that owns the model.

use std::{fs, path::PathBuf, sync::Arc, thread::JoinHandle};

use stakeout::{
    classify::{
        Counts, LabelEncoder, PictureEncoding, ReceiverGone, Scored, Watchlist, labels::VectorCache, spawn,
    },
    config::{DeviceLook, Folder, Region, Source, SourceKind},
    frame::{Frame, Slot},
    model::{Model, ModelFiles, Options, Runtime},
    picture::{self, Picture, mask::Masked},
    policy::{Label, LabelSet, TriggerSettings},
};
use tokio::sync::{mpsc, watch};

use crate::common::fixtures;

fn label_set(name: &str, labels: &[&str], background: &[&str]) -> LabelSet {
    let rule = TriggerSettings::at(0.5);
    let label = |name: &&str| Label::new(name, rule);
    LabelSet {
        background: background.iter().map(ToString::to_string).collect(),
        ..LabelSet::new(name, "{}".parse().unwrap(), labels.iter().map(label).collect())
    }
}

fn source(name: &str, regions: Vec<Region>, watch: &[&str]) -> Source {
    let folder = Folder::at("/inbox");
    Source {
        name: name.to_owned(),
        kind: SourceKind::Folder(folder),
        enabled: true,
        mask: Vec::new(),
        regions,
        watch: watch.iter().map(ToString::to_string).collect(),
        adjusted: Vec::new(),
        controlled: Vec::new(),
        scores: false,
        baseline: None,
        look: DeviceLook::default(),
        location: None,
        area: None,
    }
}

fn frame(source: &str, picture: Picture) -> Frame {
    let captured_at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    Frame {
        source: source.into(),
        origin: "a test".to_owned(),
        captured_at,
        picture: Masked::new(picture, &[]),
        slot: Slot::free(),
    }
}

struct Setup {
    thread: JoinHandle<Result<Counts, ReceiverGone>>,
    encoder: LabelEncoder,
    watchlist: watch::Sender<Arc<Watchlist>>,
    frames: mpsc::Sender<Frame>,
    scored: mpsc::Receiver<Scored>,
}

fn start(sources: &[Source]) -> Option<(Setup, PathBuf)> {
    let folder = fixtures("mira-clip")?;
    let model =
        Model::load(&Runtime::load(None).unwrap(), &ModelFiles::Folder(folder.clone()), &Options::default())
            .unwrap();
    let sets = [
        label_set("wear", &["topwear", "shoes"], &["watches", "bags"]),
        label_set("other", &["belts", "ties"], &[]),
    ];
    let mut encoder = LabelEncoder::new(&model, VectorCache::none());
    let (watchlist, to_look_for) = watch::channel(Arc::new(encoder.watchlist(&sets, sources).unwrap()));
    let (frames, receiver) = mpsc::channel(64);
    let (sender, scored) = mpsc::channel(64);
    let (_, of_people) = PictureEncoding::channel();
    let (thread, _) = spawn(model, to_look_for, receiver, of_people, sender, Arc::default()).unwrap();
    Some((Setup { thread, encoder, watchlist, frames, scored }, folder.join("samples")))
}

fn sample(folder: &std::path::Path, name: &str) -> Picture {
    picture::decode(&fs::read(folder.join(name)).unwrap(), picture::Limits::of(1_000_000)).unwrap()
}

#[test]
fn frames_are_scored_in_order_with_the_sets_of_their_source() {
    let sources = [source("one", Vec::new(), &["wear"]), source("two", Vec::new(), &["other", "wear"])];
    let Some((mut setup, samples)) = start(&sources) else { return };
    // More than one batch. Frames in the channel are scored after it is closed.
    for _ in 0..10 {
        setup.frames.try_send(frame("one", sample(&samples, "6101.png"))).unwrap();
        setup.frames.try_send(frame("two", sample(&samples, "7724.png"))).unwrap();
    }
    drop(setup.frames);
    let mut seen = Vec::new();
    while let Some(scored) = setup.scored.blocking_recv() {
        let sets: Vec<&str> = scored.sets.iter().map(|set| &*set.label_set).collect();
        let top = &scored.sets.last().unwrap().regions;
        assert_eq!((top.len(), &top[0].region, top[0].labels.len()), (1, &None, 2));
        let sum = top[0].labels.iter().sum::<f32>() + top[0].background.unwrap();
        assert!((sum - 1.0).abs() < 1e-5);
        match &*scored.frame.source {
            "one" => assert!(sets == ["wear"] && top[0].labels[0] > 0.9, "{:?}", scored.sets),
            _ => {
                assert!(sets == ["other", "wear"] && top[0].labels[1] > 0.9, "{:?}", scored.sets);
                assert_eq!(scored.sets[0].regions[0].background, None);
            }
        }
        seen.push(scored.frame.source.to_string());
    }
    assert_eq!(seen, ["one", "two"].repeat(10));
    assert_eq!(setup.thread.join().unwrap(), Ok(Counts { scored: 20, ..Counts::default() }));
}

#[test]
fn regions_are_scored_separately_and_the_best_one_counts() {
    let region = |name: &str, x: f64| Region { name: name.to_owned(), x, y: 0.0, width: 0.5, height: 1.0 };
    let sources = [source("one", vec![region("left", 0.0), region("right", 0.5)], &["wear"])];
    let Some((mut setup, samples)) = start(&sources) else { return };
    // Two photos side by side: a shirt and a shoe.
    let (left, right) = (sample(&samples, "6101.png"), sample(&samples, "7724.png"));
    assert_eq!((left.width, left.height), (right.width, right.height));
    let (left_rgb, right_rgb) = (left.rgb(), right.rgb());
    let rows =
        left_rgb.chunks_exact(left.width as usize * 3).zip(right_rgb.chunks_exact(right.width as usize * 3));
    let rgb = rows.flat_map(|(left, right)| [left, right].concat()).collect();
    let both = Picture::of_rgb(left.width * 2, left.height, rgb);
    for _ in 0..9 {
        setup.frames.try_send(frame("one", both.clone())).unwrap();
    }
    drop(setup.frames);
    let mut count = 0;
    while let Some(scored) = setup.scored.blocking_recv() {
        let wear = &scored.sets[0];
        let best = |label: usize| {
            wear.best(label).and_then(|(score, region)| Some((score, region.region.clone()?))).unwrap()
        };
        assert_eq!((best(0).1, best(1).1), (Arc::from("left"), Arc::from("right")));
        assert!(best(0).0 > 0.9 && best(1).0 > 0.9, "{wear:?}");
        count += 1;
    }
    assert_eq!(count, 9);
}

#[test]
fn a_frame_of_a_removed_source_is_counted_and_affects_no_other() {
    let Some((mut setup, samples)) = start(&[source("one", Vec::new(), &["wear"])]) else { return };
    let picture = sample(&samples, "6101.png");
    for name in ["one", "removed", "one"] {
        setup.frames.try_send(frame(name, picture.clone())).unwrap();
    }
    drop(setup.frames);
    let mut seen = 0;
    while let Some(scored) = setup.scored.blocking_recv() {
        assert_eq!(&*scored.frame.source, "one");
        seen += 1;
    }
    assert_eq!(seen, 2);
    assert_eq!(setup.thread.join().unwrap(), Ok(Counts { scored: 2, unwatched: 1, ..Counts::default() }));
}

#[test]
fn the_next_frame_is_scored_with_the_newest_watchlist() {
    let Some((mut setup, samples)) = start(&[source("one", Vec::new(), &["wear"])]) else { return };
    let look = |setup: &mut Setup, name: &str| {
        setup.frames.try_send(frame(name, sample(&samples, "7724.png"))).unwrap();
        let scored = setup.scored.blocking_recv().unwrap();
        let labels = scored.sets[0].labels.iter().map(ToString::to_string).collect::<Vec<_>>();
        (labels.join(" "), scored.sets[0].regions[0].labels.clone())
    };
    let (labels, before) = look(&mut setup, "one");
    assert_eq!((&*labels, before.len()), ("topwear shoes", 2));

    let sets = [label_set("wear", &["hats", "topwear", "shoes"], &["watches", "bags"])];
    let sources = [source("one", Vec::new(), &["wear"]), source("two", Vec::new(), &["wear"])];
    setup.watchlist.send_replace(Arc::new(setup.encoder.watchlist(&sets, &sources).unwrap()));
    for name in ["one", "two"] {
        let (labels, after) = look(&mut setup, name);
        assert_eq!((&*labels, after.len()), ("hats topwear shoes", 3), "{name}");
        assert!(after[2] > 0.9 && after[2] <= before[1] + 1e-6, "{before:?} {after:?}");
    }
}

#[test]
fn the_thread_reports_that_its_receiver_is_gone() {
    let Some((setup, samples)) = start(&[source("one", Vec::new(), &["wear"])]) else { return };
    drop(setup.scored);
    setup.frames.try_send(frame("one", sample(&samples, "6101.png"))).unwrap();
    assert_eq!(setup.thread.join().unwrap(), Err(ReceiverGone));
}
