//! `stakeout replay`, black box: recordings in, alerts out.

use std::{
    fs,
    path::Path,
    process::Output,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::common::{
    service::{Home, sample},
    stakeout,
};

fn replay(home: &Home, arguments: &[&Path]) -> Output {
    stakeout().arg("replay").arg("--config").arg(home.path("stakeout.yaml")).args(arguments).output().unwrap()
}

/// A copy of a sample that was captured so many seconds after nine o'clock.
fn record(folder: &Path, name: &str, picture: &str, second: u64) {
    let path = folder.join(name);
    fs::copy(sample(picture), &path).unwrap();
    let nine = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_424_400);
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(nine + Duration::from_secs(second)).unwrap();
}

fn told(output: &Output) -> Vec<String> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let told = lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).map(|alert| {
        let word = |key: &str| alert[key].as_str().unwrap().to_owned();
        format!("{} {} {}", word("time"), word("label"), word("state"))
    });
    told.collect()
}

#[test]
fn a_folder_is_played_on_its_own_clock_and_always_tells_the_same() {
    let home = Home::new(1, "");
    let day = home.path("day");
    fs::create_dir_all(day.join("later")).unwrap();
    record(&day, "z.jpg", "red-car.jpg", 0);
    record(&day, "a.jpg", "red-car-far-away.jpg", 1);
    record(&day.join("later"), "1.jpg", "empty-wall.jpg", 60);
    record(&day, "b.jpg", "green-tree.jpg", 61);
    fs::write(day.join(".thumbnails"), "not a recording").unwrap();

    let output = replay(&home, &[&day]);
    let expected = [
        "2026-11-23T09:00:00.000Z red car raised",
        "2026-11-23T09:01:00.000Z red car cleared",
        "2026-11-23T09:01:01.000Z green tree raised",
    ];
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told(&output), expected);
    assert_eq!(replay(&home, &[&day]).stdout, output.stdout, "to the letter");
}

#[test]
fn what_cannot_be_played_is_named_and_the_rest_is_played() {
    let home = Home::new(1, "");
    record(&home.path(""), "car.jpg", "red-car.jpg", 0);
    fs::write(home.path("words.jpg"), "no picture").unwrap();
    let output = replay(&home, &[&home.path("words.jpg"), &home.path("car.jpg")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told(&output), ["2026-11-23T09:00:00.000Z red car raised"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("words.jpg: ") && said.contains("1 played, 1 not"), "{said}");
}

#[test]
fn a_source_that_is_not_there_is_told_with_those_that_are() {
    let home = Home::new(1, "");
    let folder = home.path("");
    let output = replay(&home, &[Path::new("--source"), Path::new("Garage"), &folder]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim_end(), "error: there is no source Garage; there are: Inbox");
}
