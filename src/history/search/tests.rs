//! Searches of a real file: recall against brute force, filters, baselines, forgetting and damage.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    classify::score::dot,
    history::{
        History,
        store::Selection,
        vectors::{self, Recorder, codec::Span},
    },
};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// 2026-11-20
const START: i64 = 1_795_132_800_000;
const DIMENSIONS: usize = 128;

/// Random numbers with a fixed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// Nearly normal, with deviation 1.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIMENSIONS).map(|_| self.normal()).collect()
    }
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    vector.into_iter().map(|value| value / length).collect()
}

fn mix(parts: &[(&[f32], f32)]) -> Vec<f32> {
    unit((0..DIMENSIONS).map(|at| parts.iter().map(|(vector, weight)| vector[at] * weight).sum()).collect())
}

/// A history with the vectors of frames, and the same vectors for brute force.
struct World {
    _folder: tempfile::TempDir,
    history: History,
    recorder: Recorder,
    random: Random,
    frames: Vec<(String, i64, Arc<[f32]>)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        Self {
            _folder: folder,
            history,
            recorder: Recorder::new("clip"),
            random: Random(seed),
            frames: vec![],
        }
    }

    fn record(&mut self, source: &str, frames: &[(i64, Arc<[f32]>)]) {
        let name: Arc<str> = source.into();
        let recorder = &mut self.recorder;
        self.history
            .write(|transaction| {
                frames.iter().try_for_each(|(time, vector)| {
                    recorder.record_frame(transaction, &name, *time, [(None, vector)])
                })
            })
            .unwrap();
        self.frames
            .extend(frames.iter().map(|(time, vector)| (source.to_owned(), *time, Arc::clone(vector))));
    }

    /// Records events of several frames, two hours apart. As with a real model, all vectors of a camera are similar, and differ in
    /// few directions.
    fn record_events(&mut self, source: &str, events: usize, frames: usize) {
        let random = &mut self.random;
        let centre = unit(random.vector());
        let directions: Vec<_> = (0..20).map(|_| unit(random.vector())).collect();
        let mut recorded = Vec::new();
        for event in 0..events {
            let mut content = centre.iter().map(|value| value * 2.0).collect::<Vec<_>>();
            for direction in &directions {
                let weight = random.normal() * 0.25;
                content.iter_mut().zip(direction).for_each(|(sum, value)| *sum += weight * value);
            }
            for frame in 0..frames {
                let noise = unit(random.vector());
                let vector = mix(&[(&content, 1.0), (&noise, 0.2)]).into();
                recorded.push((START + event as i64 * 2 * HOUR + frame as i64 * 2 * SECOND, vector));
            }
        }
        for part in recorded.chunks(500) {
            self.record(source, part);
        }
    }

    fn search(&self, search: &Search<'_>) -> Found {
        super::search(self.history.connection(), search).unwrap()
    }

    /// The best events by brute force: the time of their best frame. All frames within two hours are one event.
    fn brute_force(&self, query: &[f32], keep: impl Fn(&str, i64) -> bool, top: usize) -> Vec<i64> {
        let mut best: BTreeMap<(&str, i64), (f32, i64)> = BTreeMap::new();
        for (source, time, vector) in self.frames.iter().filter(|(source, time, _)| keep(source, *time)) {
            let found = (dot(query, vector), *time);
            let event = best.entry((source, (time - START).div_euclid(2 * HOUR))).or_insert(found);
            if found.0 > event.0 {
                *event = found;
            }
        }
        let mut best: Vec<_> = best.into_values().collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.iter().take(top).map(|(_, time)| *time).collect()
    }
}

fn of(vectors: &[Vec<f32>]) -> Search<'_> {
    Search { vectors, model: "clip", source: None, since: None, until: None, top: 20 }
}

/// How many of the expected events are among the results.
fn common(found: &Found, expected: &[i64]) -> usize {
    let event = |time: &i64| (time - START).div_euclid(2 * HOUR);
    let found: Vec<_> = found.matches.iter().map(|it| event(&it.time)).collect();
    expected.iter().filter(|time| found.contains(&event(time))).count()
}

#[test]
fn recall_against_brute_force() {
    let mut world = World::new(1);
    world.record_events("yard", 700, 8);
    let (mut hits, mut expected) = (0, 0);
    for _ in 0..12 {
        // Words are far from all pictures: the larger part of their vector has nothing to do with any.
        let picture = Arc::clone(&world.frames[world.random.next() as usize % world.frames.len()].2);
        let other = unit(world.random.vector());
        let query = [mix(&[(&picture, 0.4), (&other, 1.0)])];
        let found = world.search(&of(&query));
        let best = world.brute_force(&query[0], |_, _| true, 20);
        assert_eq!(found.vectors, 5600);
        assert!(found.matches.windows(2).all(|pair| pair[0].lift >= pair[1].lift));
        // One result for each event.
        let mut events: Vec<_> =
            found.matches.iter().map(|it| (it.time - START).div_euclid(2 * HOUR)).collect();
        events.sort_unstable();
        events.dedup();
        assert_eq!(events.len(), found.matches.len());
        hits += common(&found, &best);
        expected += found.matches.len().min(20);
    }
    assert!(hits as f64 >= 0.99 * f64::from(expected as u32), "{hits} of {expected}");
    assert!(expected >= 100, "{expected}");
}

#[test]
fn filters_by_time_and_source_are_exact() {
    let mut world = World::new(2);
    world.record_events("yard", 100, 3);
    world.record_events("door", 100, 3);
    for _ in 0..40 {
        let (source, time, picture) = world.frames[world.random.next() as usize % world.frames.len()].clone();
        let query = [picture.to_vec()];
        let time_of = |random: &mut Random| START + (random.next() % (200 * HOUR as u64)) as i64;
        let (since, until) = (time_of(&mut world.random), time_of(&mut world.random));
        let (since, until) = (since.min(until), since.max(until));
        let search =
            Search { source: Some(&source), since: Some(since), until: Some(until), top: 1000, ..of(&query) };
        let found = world.search(&search);
        let inside = |name: &str, time: i64| name == source && time >= since && time < until;
        assert_eq!(
            found.vectors,
            world.frames.iter().filter(|(name, time, _)| inside(name, *time)).count() as u64
        );
        for it in &found.matches {
            assert!(inside(&it.source, it.time) && inside(&it.source, it.span.first), "{it:?}");
        }
        // The frame itself is the best match of its own picture, up to and including its own time.
        let best = |since, until| {
            let search = Search { source: Some(&source), since, until, ..of(&query) };
            world.search(&search).matches.first().map(|it| it.time)
        };
        assert_eq!(best(Some(time), None), Some(time));
        assert_eq!(best(Some(time), Some(time + 1)), Some(time));
        assert_ne!(best(None, Some(time)), Some(time));
        assert_ne!(best(Some(time + 1), None), Some(time));
    }
    let query = [unit(world.random.vector())];
    let nowhere = world.search(&Search { source: Some("cellar"), ..of(&query) });
    assert_eq!((nowhere.vectors, nowhere.sources, nowhere.matches.len()), (0, 0, 0));
}

#[test]
fn a_camera_that_is_always_similar_does_not_hide_a_rare_event() {
    let mut world = World::new(3);
    let random = &mut world.random;
    let [lawn, street, dog] = [(); 3].map(|()| unit(random.vector()));
    // A camera whose every picture is similar to the words, and one that sees a dog twice.
    let frames = |random: &mut Random,
                  scene: &[f32],
                  dogs: &[usize],
                  always: f32|
     -> Vec<(i64, Arc<[f32]>)> {
        let frame = |at: usize| {
            let noise = unit(random.vector());
            let dog_weight = if dogs.contains(&at) { 0.35 } else { always };
            (START + at as i64 * 60 * SECOND, mix(&[(scene, 1.0), (&dog, dog_weight), (&noise, 0.3)]).into())
        };
        (0..400).map(frame).collect()
    };
    let (lawns, streets) = (frames(random, &lawn, &[], 0.6), frames(random, &street, &[50, 300], 0.0));
    world.record("lawn", &lawns);
    world.record("street", &streets);
    let query = [dog.clone()];
    let found = world.search(&of(&query));
    let best: Vec<_> =
        found.matches.iter().take(2).map(|it| (&*it.source, (it.time - START) / 60 / SECOND)).collect();
    assert!(best.contains(&("street", 50)) && best.contains(&("street", 300)), "{best:?}");
    assert!(found.matches[..2].iter().all(|it| it.is_likely), "{:?}", &found.matches[..2]);
    assert!(found.matches[2..].iter().all(|it| !it.is_likely), "{:?}", &found.matches[2..]);
    assert!(found.matches[0].similarities[0] < dot(&dog, &lawns[0].1), "the lawn is more similar");
    // Something that was never there.
    let other = [unit(world.random.vector())];
    let nothing = world.search(&of(&other));
    assert!(nothing.matches.iter().all(|it| !it.is_likely), "{nothing:?}");
}

#[test]
fn words_and_a_picture_together() {
    let mut world = World::new(4);
    let random = &mut world.random;
    let [scene, dog, ball] = [(); 3].map(|()| unit(random.vector()));
    let content = |at: usize| match at {
        40 => (0.35, 0.0),
        80 => (0.0, 0.35),
        120 => (0.3, 0.3),
        _ => (0.0, 0.0),
    };
    let frames: Vec<_> = (0..300)
        .map(|at| {
            let (dogs, balls) = content(at);
            let noise = unit(random.vector());
            let vector = mix(&[(&scene, 1.0), (&dog, dogs), (&ball, balls), (&noise, 0.3)]);
            (START + at as i64 * 120 * SECOND, vector.into())
        })
        .collect();
    world.record("yard", &frames);
    let query = [dog, ball];
    let best = |vectors: &[Vec<f32>]| (world.search(&of(vectors)).matches[0].time - START) / 120 / SECOND;
    assert_eq!((best(&query[..1]), best(&query[1..]), best(&query)), (40, 80, 120));
    assert_eq!(world.search(&of(&query)).matches[0].similarities.len(), 2);
    for vectors in [&[][..], &[vec![]], &[vec![1.0], vec![1.0, 0.0]]] {
        let failed = search(world.history.connection(), &of(vectors));
        assert!(matches!(failed, Err(SearchError::Vectors)));
    }
}

#[test]
fn frames_of_the_same_picture_are_one_row() {
    let mut world = World::new(5);
    let [one, two] = [(); 2].map(|()| Arc::<[f32]>::from(unit(world.random.vector())));
    let frames = |vector: &Arc<[f32]>, from: i64, to: i64| -> Vec<_> {
        (from..to).map(|second| (START + second * SECOND, Arc::clone(vector))).collect()
    };
    world.record("yard", &frames(&one, 0, 300));
    world.record("yard", &frames(&two, 300, 310));
    world.record("yard", &frames(&one, 310, 4_000));
    let recorder = &mut world.recorder;
    world.history.write(|transaction| recorder.flush(transaction)).unwrap();
    let rows = rows(&world.history);
    let seconds: Vec<_> =
        rows.iter().map(|span| ((span.first - START) / SECOND, (span.last - START) / SECOND)).collect();
    // A span is an hour at most.
    assert_eq!(seconds, [(0, 299), (300, 309), (310, 3_910), (3_911, 3_999)]);
    let found = world.search(&of(&[two.to_vec()]));
    assert_eq!(found.span, Some(Span { first: START, last: START + 3_999 * SECOND }));
}

#[test]
fn a_restart_goes_on_with_the_same_chunk() {
    let mut world = World::new(6);
    world.record_events("yard", 12, 30);
    world.recorder = Recorder::new("clip");
    let more: Vec<_> =
        (0..20).map(|at| (START + 23 * HOUR + at * SECOND, unit(world.random.vector()).into())).collect();
    world.record("yard", &more);
    let chunks: i64 = count(&world.history, "vector_chunks");
    // The first has 256 vectors and no centre, the second one the rest of the day.
    assert_eq!((chunks, rows(&world.history).len()), (2, 380));
    let found = world.search(&of(&[more[7].1.to_vec()]));
    assert_eq!((found.vectors, found.matches[0].time), (380, more[7].0));
}

#[test]
fn complete_chunks_have_one_block() {
    let mut world = World::new(7);
    // 256 in the first chunk, 4,096 in the second one.
    world.record_events("yard", 1, 4_400);
    let blocks: Vec<i64> = {
        let mut select =
            world.history.connection().prepare("SELECT vectors FROM vector_blocks ORDER BY id").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(blocks, [256, 4_096]);
    let query = [world.frames[4_000].2.to_vec()];
    let found = world.search(&of(&query));
    assert_eq!(found.vectors, 4_400);
    assert!(found.matches[0].span.is_within(Some(world.frames[4_000].1), Some(world.frames[4_000].1 + 1)));
}

#[test]
fn forgotten_vectors_are_gone_from_rows_and_blocks() {
    let mut world = World::new(8);
    world.record_events("yard", 12, 30);
    world.record_events("door", 12, 30);
    let (source, time, picture) = world.frames[95].clone();
    let query = [picture.to_vec()];
    assert_eq!(world.search(&of(&query)).matches[0].time, time);
    let yard =
        world.history.write(|transaction| crate::history::store::name_id(transaction, &source)).unwrap();
    let forget = |world: &mut World, from, to| {
        let selection = Selection { source: yard, from, to, label: None };
        let forgotten = world.history.write(|transaction| vectors::forget(transaction, &selection)).unwrap();
        world.recorder = Recorder::new("clip");
        forgotten
    };
    // The fourth event, and its first frame exactly.
    let event = START + 6 * HOUR;
    assert_eq!(forget(&mut world, event, event + HOUR), 30);
    let found = world.search(&of(&query));
    assert_eq!((found.vectors, count(&world.history, "vectors")), (690, 690));
    assert!(
        found
            .matches
            .iter()
            .all(|it| it.source != "yard" || !it.span.is_within(Some(event), Some(event + HOUR)))
    );
    let in_blocks: i64 = world
        .history
        .connection()
        .query_row("SELECT sum(vectors) FROM vector_blocks", [], |row| row.get(0))
        .unwrap();
    // 256 of each source were packed.
    assert_eq!(in_blocks, 2 * 256 - 30);
    assert_eq!(forget(&mut world, i64::MIN, i64::MAX), 330);
    assert_eq!(count(&world.history, "vectors"), 360);
    world.record("yard", &[(START + DAY, Arc::clone(&picture))]);
    assert_eq!(world.search(&of(&query)).matches[0].time, START + DAY);
    assert_eq!(forget(&mut world, i64::MIN, i64::MAX), 1);
    for table in ["vector_chunks", "vector_centres"] {
        assert_eq!(count(&world.history, table), 2, "{table}: of the other source");
    }
}

#[test]
fn retention_deletes_whole_chunks_and_recording_goes_on() {
    let mut world = World::new(12);
    world.record_events("yard", 12, 30);
    // As retention deletes rows of any table.
    let delete =
        "DELETE FROM vector_chunks WHERE rowid IN (SELECT rowid FROM vector_chunks WHERE last <= ?1)";
    assert_eq!(
        world.history.write(|transaction| transaction.execute(delete, [START + 30 * DAY])).unwrap(),
        2
    );
    for table in ["vectors", "vector_blocks", "vector_centres", "vector_chunks"] {
        assert_eq!(count(&world.history, table), 0, "{table}");
    }
    // The recorder has the deleted chunk in memory.
    let vector: Arc<[f32]> = unit(world.random.vector()).into();
    world.record("yard", &[(START + 23 * HOUR, Arc::clone(&vector))]);
    let found = world.search(&of(&[vector.to_vec()]));
    assert_eq!((found.vectors, found.matches[0].time), (1, START + 23 * HOUR));
    assert_eq!(count(&world.history, "vectors"), 1);
}

#[test]
fn vectors_of_another_model_are_counted_and_not_compared() {
    let mut world = World::new(9);
    world.record_events("yard", 12, 30);
    let query = [world.frames[10].2.to_vec()];
    world.recorder = Recorder::new("siglip");
    world.record_events("yard", 1, 40);
    let found = world.search(&of(&query));
    assert_eq!((found.vectors, found.of_other_models), (360, 40));
    let siglip = world.search(&Search { model: "siglip", ..of(&query) });
    assert_eq!((siglip.vectors, siglip.of_other_models), (40, 360));
    let unknown = world.search(&Search { model: "metaclip", source: Some("yard"), ..of(&query) });
    assert_eq!((unknown.vectors, unknown.of_other_models), (0, 400));
    // The same name, and vectors of another length.
    let longer = world.search(&of(&[vec![0.1; 2 * DIMENSIONS]]));
    assert_eq!((longer.vectors, longer.of_other_models), (0, 400));
}

#[test]
fn regions_are_views_of_their_own_and_one_event() {
    let mut world = World::new(10);
    let source: Arc<str> = "yard".into();
    let [scene, gate, dog] = [(); 3].map(|()| unit(world.random.vector()));
    for at in 0..200_i64 {
        let weight = if at == 77 { 0.5 } else { 0.0 };
        let mut frame = |scene: &[f32], weight| -> Arc<[f32]> {
            let noise = unit(world.random.vector());
            mix(&[(scene, 1.0), (&dog, weight), (&noise, 0.3)]).into()
        };
        let (whole, region) = (frame(&scene, weight / 3.0), frame(&gate, weight));
        let recorder = &mut world.recorder;
        let time = START + at * 180 * SECOND;
        world
            .history
            .write(|transaction| {
                recorder.record_frame(transaction, &source, time, [(None, &whole), (Some("gate"), &region)])
            })
            .unwrap();
    }
    let found = world.search(&of(&[dog]));
    let best = &found.matches[0];
    assert_eq!((best.region.as_deref(), best.time), (Some("gate"), START + 77 * 180 * SECOND));
    let same = found.matches.iter().filter(|it| it.time == best.time).count();
    assert_eq!((same, found.vectors, found.sources), (1, 400, 1));
}

#[test]
fn damaged_content_is_skipped() {
    let mut world = World::new(11);
    world.record_events("yard", 12, 60);
    let query = [world.frames[10].2.to_vec()];
    let random = &mut world.random;
    for (table, column) in [("vector_blocks", "content"), ("vectors", "code"), ("vector_centres", "centre")] {
        for _ in 0..20 {
            let select = format!("SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?1");
            let at = random.next() as i64 % count(&world.history, table);
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
            let (id, mut bytes) = world.history.connection().query_row(&select, [at.abs()], read).unwrap();
            match random.next() % 3 {
                0 => bytes.truncate(random.next() as usize % (bytes.len() + 1)),
                1 => bytes.extend([7; 5]),
                _ => {
                    let length = bytes.len().max(1);
                    bytes.resize(length, 0);
                    bytes[random.next() as usize % length.min(40)] ^= 0x80 | random.next() as u8;
                }
            }
            let update = format!("UPDATE {table} SET {column} = ?2 WHERE rowid = ?1");
            world
                .history
                .write(|transaction| transaction.execute(&update, rusqlite::params![id, bytes]))
                .unwrap();
            let found = search(world.history.connection(), &of(&query)).unwrap();
            assert!(found.matches.len() <= 20);
        }
    }
    // And recording goes on.
    world.recorder = Recorder::new("clip");
    world.record_events("yard", 2, 300);
}

fn count(history: &History, table: &str) -> i64 {
    let select = format!("SELECT count(*) FROM {table}");
    history.connection().query_row(&select, [], |row| row.get(0)).unwrap()
}

fn rows(history: &History) -> Vec<Span> {
    let mut select = history.connection().prepare("SELECT first, last FROM vectors ORDER BY id").unwrap();
    let span = |row: &rusqlite::Row<'_>| Ok(Span { first: row.get(0)?, last: row.get(1)? });
    select.query_map([], span).unwrap().map(Result::unwrap).collect()
}
