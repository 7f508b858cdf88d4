//! `stakeout search`: with the running service, without it, and the recall on vectors of a real model.

use std::{
    fs,
    path::Path,
    process::Output,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use stakeout::{
    classify::score::dot,
    history::{
        History,
        search::{Search, search},
        vectors::Recorder,
    },
};

use crate::{
    common::{
        broker::Broker,
        fixtures,
        service::{Home, Service, sample},
        stakeout, wait_until,
    },
    parity::published::npy,
};

const HISTORY: &str = "history: { search: true, pictures: changes }\n";

fn run(home: &Home, arguments: &[&str]) -> Output {
    stakeout().args(["search", "--config"]).arg(home.path("stakeout.yaml")).args(arguments).output().unwrap()
}

fn found(home: &Home, arguments: &[&str]) -> Value {
    let output = run(home, &[arguments, &["--json"]].concat());
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Drops a picture that was taken this number of days ago.
fn drop_picture_of(home: &Home, name: &str, days: u64) {
    let elsewhere = home.path("upload");
    fs::copy(sample(name), &elsewhere).unwrap();
    let day = SystemTime::now() - Duration::from_secs(days * 86_400);
    fs::File::options().write(true).open(&elsewhere).unwrap().set_modified(day).unwrap();
    fs::rename(elsewhere, home.path("inbox").join(name)).unwrap();
}

/// A service that has embedded three pictures, of three days: frames of the same minute may be one event.
fn service_with_three_pictures(home: &Home) -> Service {
    let service = Service::start(home);
    service.wait_until_watching();
    for (days, name) in [(2, "red-car.jpg"), (1, "green-tree.jpg"), (0, "blue-umbrella.jpg")] {
        drop_picture_of(home, name, days);
    }
    wait_until("the embeddings of three pictures", || found(home, &["a red car"])["embeddings"] == 3);
    service
}

#[test]
fn a_picture_is_found_by_words_and_by_a_picture() {
    let broker = Broker::start();
    let home = Home::new(broker.port, HISTORY);
    let mut service = service_with_three_pictures(&home);

    let words = found(&home, &["a red car"]);
    assert_eq!(words["matches"][0]["source"], "Inbox", "{words}");
    // The command loads the model for a picture, and reads the file of the running service.
    let like = sample("red-car.jpg").display().to_string();
    let same = found(&home, &["--like", &like]);
    assert_eq!(same["matches"][0]["time"], words["matches"][0]["time"], "{same}");
    assert!(same["matches"][0]["similarity"].as_f64().unwrap() > 0.99, "{same}");
    let both = found(&home, &["a red car", "--like", &like, "--source", "Inbox", "--top", "1"]);
    assert_eq!(both["matches"].as_array().unwrap().len(), 1, "{both}");
    assert_eq!(both["matches"][0]["time"], words["matches"][0]["time"]);

    // The small pictures, and the text for people.
    let folder = home.path("found");
    let output = run(&home, &["a red car", "--pictures", &folder.display().to_string()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("Inbox") && text.contains("--- probably nothing below ---"), "{text}");
    assert!(notes.contains("searched 3 embeddings of 1 source"), "{notes}");
    let pictures = fs::read_dir(&folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let pictures: Vec<_> = pictures.collect();
    assert!(!pictures.is_empty() && pictures.iter().all(|jpeg| jpeg.starts_with(&[0xff, 0xd8])), "{text}");

    let until = found(&home, &["a red car", "--until", "2001-01-01"]);
    assert_eq!(until["embeddings"], 0, "{until}");
    service.stop();
    assert_eq!(found(&home, &["a red car"])["matches"], words["matches"], "without a service");
}

/// Copies a folder with what is in it.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy_folder(&from, &to) } else { fs::copy(from, to).map(drop).unwrap() }
    }
}

#[test]
fn stored_pictures_are_found_after_a_change_of_the_model() {
    let broker = Broker::start();
    let home = Home::new(broker.port, HISTORY);
    let mut service = service_with_three_pictures(&home);
    let before = found(&home, &["a red car"]);
    service.stop();

    // The same model in a folder is another model.
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled"), &home.path("other"));
    let configuration = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::write(home.path("stakeout.yaml"), format!("model: ./other\n{configuration}")).unwrap();
    let without_service = found(&home, &["a red car"]);
    let counts = ["embeddings", "embeddings_of_other_models"].map(|key| without_service[key].clone());
    assert_eq!(counts, [0, 3], "{without_service}");

    let mut service = Service::start(&home);
    service.wait_for_log("the stored pictures are embedded");
    let after = found(&home, &["a red car"]);
    let counts =
        ["embeddings", "embeddings_of_other_models", "pictures_to_embed"].map(|key| after[key].clone());
    assert_eq!(counts, [3, 3, 0], "{after}");
    assert_eq!(after["matches"][0]["time"], before["matches"][0]["time"], "{after}");
    assert_eq!(after["matches"][0]["picture"], before["matches"][0]["picture"], "{after}");
    service.stop();

    // Nothing is left to do at the next start.
    let mut service = Service::start(&home);
    service.wait_until_watching();
    assert_eq!(found(&home, &["a red car"])["embeddings"], 3);
    service.stop();
}

#[test]
fn wrong_usage_says_what_to_do() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let refused = |arguments: &[&str], code, text: &str| {
        let output = run(&home, arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(text) && output.stdout.is_empty(), "{message}");
    };
    refused(&[], 64, "TEXT");
    refused(&["a cat", "--top", "0"], 64, "--top");
    refused(&["a cat", "--since", "soon"], 64, "--since");
    refused(&[" "], 64, "there are no words to search for");
    refused(
        &["a cat", "--since", "2026-11-23", "--until", "2026-11-22"],
        64,
        "until: it is not later than `since`",
    );
    refused(&["a cat"], 1, "Set `history: { search: true }`");
    refused(&["--like", "none.jpg"], 1, "none.jpg");
}

/// Vectors of CLIP ViT-B/32: seven photos and the names of 80 things. Each photo is a camera. Its frames differ from the photo by what
/// the names differ in, which are directions that the model uses.
#[test]
fn recall_on_vectors_of_a_real_model() {
    const EVENTS: usize = 250;
    const FRAMES: usize = 4;
    const HOURS: i64 = 2 * 3_600_000;
    const START: i64 = 1_795_132_800_000;
    let Some(folder) = fixtures("clip-vectors") else { return };
    let rows = |name| -> Vec<Vec<f32>> {
        npy(&fs::read(folder.join(name)).unwrap()).chunks_exact(512).map(|row| unit(row.to_vec())).collect()
    };
    let (pictures, texts) = (rows("image_embeds.npy"), rows("text_embeds_coco80.npy"));
    let mean: Vec<f32> =
        (0..512).map(|at| texts.iter().map(|text| text[at]).sum::<f32>() / texts.len() as f32).collect();
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The sum of four is nearly normal, with deviation 1.
        let sum: u64 = (0..4).map(|part| (state >> 16 >> (11 * part)) & 0x7ff).sum();
        (sum as f32 / 2048.0 - 2.0) * 3.0_f32.sqrt()
    };
    let state_dir = tempfile::tempdir().unwrap();
    let mut history = History::open(state_dir.path()).unwrap();
    let mut recorder = Recorder::new("clip");
    let mut cameras: Vec<Vec<(i64, Arc<[f32]>)>> = Vec::new();
    for (number, picture) in pictures.iter().enumerate().take(2) {
        let mut frames: Vec<(i64, Arc<[f32]>)> = Vec::new();
        for event in 0..EVENTS {
            let mut content = picture.clone();
            for text in &texts {
                let weight = 0.12 * random();
                content
                    .iter_mut()
                    .zip(text.iter().zip(&mean))
                    .for_each(|(sum, (it, mean))| *sum += weight * (it - mean));
            }
            for frame in 0..FRAMES {
                let vector = unit(content.iter().map(|value| value + 0.008 * random()).collect());
                frames.push((START + event as i64 * HOURS + frame as i64 * 1000, vector.into()));
            }
        }
        let source: Arc<str> = number.to_string().into();
        history
            .write(|transaction| {
                frames.iter().try_for_each(|(time, vector)| {
                    recorder.record_frame(transaction, &source, *time, [(None, vector)])
                })
            })
            .unwrap();
        cameras.push(frames);
    }
    let (mut hits, mut expected) = (0, 0);
    for text in &texts {
        for (number, frames) in cameras.iter().enumerate() {
            let (vectors, source) = ([text.clone()], number.to_string());
            let asked = Search {
                vectors: &vectors,
                model: "clip",
                source: Some(&source),
                since: None,
                until: None,
                top: 20,
            };
            let answer = search(history.connection(), &asked).unwrap();
            let events: Vec<_> = answer.matches.iter().map(|it| (it.time - START) / HOURS).collect();
            let mut exact: Vec<_> = frames
                .chunks(FRAMES)
                .map(|event| event.iter().map(|(_, vector)| dot(text, vector)).fold(f32::MIN, f32::max))
                .zip(0_i64..)
                .collect();
            exact.sort_by(|a, b| b.0.total_cmp(&a.0));
            hits += exact[..20].iter().filter(|(_, event)| events.contains(event)).count();
            expected += 20;
        }
    }
    assert!(hits * 100 >= expected * 99, "{hits} of {expected}");
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    vector.into_iter().map(|value| value / length).collect()
}
