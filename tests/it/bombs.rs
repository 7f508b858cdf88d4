//! Small files that declare or unpack to gigabytes, and pictures that end the service: the running service stays within its
//! memory, names them in its log, and raises the alerts of the other pictures.

use std::{fs, io::Write, sync::Arc};

use flate2::{Compression, write::ZlibEncoder};
use stakeout::{
    config::Decode,
    picture::Limits,
    source::{Recording, StreamError},
};

use crate::common::{
    broker::{Broker, Publisher, ReceivedMessage, Subscriber},
    service::{Home, Service, sample},
    wait_until,
};

/// The side of a picture with as many pixels as [`LIMITS`] allow. Its RGB pixels take a fifth of their memory.
const SIDE: u32 = 2000;
// Everything is decoded in one process, so its peak is that of all decoders.
const LIMITS: &str = "max_pixels: 4000000\nmemory: 64MB\nsandbox: off\n";
/// What the service may take in addition to the memory before: `memory`, a picture with its copies for the model and for its snapshot, and
/// what the allocator keeps for each thread. The samples of three `samples.tif` alone are 450 MB.
const MORE_KIB: u64 = (64 + 64 + 64) * 1024;

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A TIFF of zeros in one strip with deflate, of grey samples of this many bits and a number of extra ones.
fn tiff(side: u32, bits: u16, samples: u16) -> Vec<u8> {
    let size = side as usize * side as usize * usize::from(bits / 8 * samples);
    deflated_tiff((side, side), bits, samples, side, &[zlib(&vec![0; size])])
}

/// A TIFF whose strips of `rows` rows are these in turn, and all of them at the same places.
fn deflated_tiff(size: (u32, u32), bits: u16, samples: u16, rows: u32, strips: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"II*\0\0\0\0\0".to_vec();
    let mut places = Vec::new();
    for strip in strips {
        places.push((bytes.len() as u32, strip.len() as u32));
        bytes.extend(strip);
    }
    let count = size.1.div_ceil(rows);
    let place = |number: u32| places[number as usize % places.len()];
    let mut outside = |values: Vec<u8>| {
        let at = bytes.len() as u32;
        bytes.extend(values);
        at
    };
    let offsets = outside((0..count).flat_map(|number| place(number).0.to_le_bytes()).collect());
    let lengths = outside((0..count).flat_map(|number| place(number).1.to_le_bytes()).collect());
    let all_bits = outside(bits.to_le_bytes().repeat(usize::from(samples.max(3))));
    let one = |table: u32, only: u32| if count == 1 { only } else { table };
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 4, 1, size.0),
        (257, 4, 1, size.1),
        (258, 3, samples.max(3).into(), all_bits),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, count, one(offsets, place(0).0)),
        (277, 3, 1, samples.into()),
        (278, 4, 1, rows),
        (279, 4, count, one(lengths, place(0).1)),
    ];
    let directory = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&directory.to_le_bytes());
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

/// A picture that is decoded until its time limit: each of its strips is a stream of empty blocks before its one byte.
fn slow_tiff() -> Vec<u8> {
    const EMPTY_BLOCK: [u8; 5] = [0, 0, 0, 0xFF, 0xFF];
    let mut stream = vec![0x78, 0x01];
    stream.extend(EMPTY_BLOCK.repeat(400_000));
    // The last block, its byte, and the checksum of the whole.
    stream.extend([1, 1, 0, 0xFE, 0xFF, 7, 0, 8, 0, 8]);
    deflated_tiff((1, 60_000), 8, 1, 1, &[stream])
}

/// A PNG of `side` x `side` pixels, as its header says; most of them are missing.
fn png(side: u32) -> Vec<u8> {
    png_of(side, side, &vec![0; 1 << 20])
}

/// A PNG with this size in its header and these bytes as its lines.
pub(crate) fn png_of(width: u32, height: u32, lines: &[u8]) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut checksum = flate2::Crc::new();
        checksum.update(kind);
        checksum.update(data);
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &checksum.sum().to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", &zlib(lines)), chunk(b"IEND", b"")].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunks].concat()
}

/// An AVI with a few of these frames, each a PNG, which declares `side` x `side` pixels.
fn avi(side: u32, frame: &[u8]) -> Vec<u8> {
    const FRAMES: u32 = 5;
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let padding = &[0][..data.len() % 2];
        [&kind[..], &(data.len() as u32).to_le_bytes(), data, padding].concat()
    };
    let list = |kind: &[u8; 4], data: &[u8]| chunk(b"LIST", &[&kind[..], data].concat());
    let numbers = |all: &[u32]| all.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let main = numbers(&[100_000, 0, 0, 0x10, FRAMES, 0, 1, 0, side, side, 0, 0, 0, 0]);
    let stream = [&b"vidsMPNG"[..], &numbers(&[0, 0, 0, 1, 10, 0, FRAMES, 0, u32::MAX, 0, 0, 0])].concat();
    let format = [&numbers(&[40, side, side, 24 << 16 | 1])[..], b"MPNG", &numbers(&[0; 5])].concat();
    let streams = list(b"strl", &[chunk(b"strh", &stream), chunk(b"strf", &format)].concat());
    let header = list(b"hdrl", &[chunk(b"avih", &main), streams].concat());
    let movie = list(b"movi", &chunk(b"00dc", frame).repeat(FRAMES as usize));
    let length = chunk(b"00dc", frame).len() as u32;
    let entry =
        |number: u32| [&b"00dc"[..], &numbers(&[0x10, 4 + number * length, frame.len() as u32])].concat();
    let index = chunk(b"idx1", &(0..FRAMES).flat_map(entry).collect::<Vec<_>>());
    chunk(b"RIFF", &[&b"AVI "[..], &header, &movie, &index].concat())
}

fn is_raised(message: &ReceivedMessage) -> bool {
    message.topic.ends_with("objects/red_car/alert") && message.text().contains(r#""state":"raised""#)
}

#[test]
fn a_video_with_huge_frames_is_rejected_whatever_its_container_says() {
    let folder = tempfile::tempdir().unwrap();
    let open = |side: u32, limits: Limits| {
        let file = folder.path().join("clip.avi");
        fs::write(&file, avi(side, &png(16_000))).unwrap();
        let every = std::time::Duration::from_millis(100);
        let mut recording = Recording::open(&file, every, Decode::Auto, limits, Arc::default())?;
        Ok::<_, StreamError>(recording.next_frame()?.map(|(_, picture)| (picture.width, picture.height)))
    };
    let limits = Limits::of(4_000_000);
    let error = open(16_000, limits).unwrap_err().to_string();
    assert!(
        error.ends_with("it has 16000 x 16000 pixels, more than the 4000000 that max_pixels allows"),
        "{error}"
    );
    // With pixels enough, memory decides.
    let error = open(16_000, Limits::of(1_000_000_000)).unwrap_err().to_string();
    assert!(error.ends_with("more than the 512 MB that memory allows"), "{error}");
    // The decoder finds the true size.
    for limits in [limits, Limits::of(1_000_000_000)] {
        if let Ok(frame) = open(64, limits) {
            assert_eq!(frame, None);
        }
    }
}

#[test]
fn many_bombs_at_once_take_no_more_than_the_memory_that_is_configured() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let folders = ["a", "b", "c"];
    let source =
        |name: &str| format!("  {name}: {{ folder: {name}, existing: process, watch: [objects] }}\n");
    let home = Home::with_sources(broker.port, "home", &folders.map(source).concat());
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    fs::write(
        home.path("stakeout.yaml"),
        text.replace("state_dir: state", &format!("state_dir: state\n{LIMITS}")),
    )
    .unwrap();
    folders.iter().for_each(|name| fs::create_dir(home.path(name)).unwrap());
    let mut service = Service::start(&home);
    let mut offline: Vec<_> = folders.map(|name| format!("r home/{name}/status online")).into();
    while !offline.is_empty() {
        let line = subscriber.next().line();
        offline.retain(|wanted| *wanted != line);
    }
    let alive = |number: u32| {
        for name in folders {
            for (picture, file) in [("empty-wall.jpg", "wall"), ("red-car.jpg", "car")] {
                let elsewhere = home.path("upload");
                fs::copy(sample(picture), &elsewhere).unwrap();
                fs::rename(elsewhere, home.path(name).join(format!("{file}-{number}.jpg"))).unwrap();
            }
        }
        let mut missing = folders.map(|name| format!("home/{name}/objects/red_car/alert")).to_vec();
        while !missing.is_empty() {
            let seen = subscriber.until("an alert of each folder", is_raised);
            missing.retain(|topic| seen.last().is_none_or(|alert| alert.topic != *topic));
        }
    };
    alive(1);
    let before = service.peak_memory();

    let bombs = [
        // 150 MB of samples from 0.1 MB.
        ("samples.tif", tiff(SIDE, 32, 6)),
        // One at a time: its strip and its pixels are more than half of the memory.
        ("strip.tif", tiff(SIDE, 32, 2)),
        ("wide.tif", tiff(SIDE + 1, 8, 1)),
        ("large.png", png(16_000)),
        ("video.avi", avi(16_000, &png(16_000))),
        ("liar.avi", avi(64, &png(16_000))),
    ];
    for name in folders {
        for (file, bytes) in &bombs {
            let elsewhere = home.path("upload");
            fs::write(&elsewhere, bytes).unwrap();
            fs::rename(elsewhere, home.path(name).join(file)).unwrap();
        }
    }
    for name in folders {
        for (file, _) in bombs.iter().filter(|(file, _)| *file != "strip.tif") {
            service.wait_for_log(&format!("/{name}/{file}: "));
        }
    }
    alive(2);
    let peak = service.peak_memory();
    service.stop();
    let log = service.log();
    for text in [
        "MB of memory to be decoded, more than the 64 MB that memory allows",
        "wide.tif: it has 2001 x 2001 pixels, more than the 4000000 that max_pixels allows",
        "large.png: it has 16000 x 16000 pixels, more than the 4000000 that max_pixels allows",
        "video.avi: it has 16000 x 16000 pixels, more than the 4000000 that max_pixels allows",
    ] {
        assert!(log.contains(text), "{text:?} is missing in {log}");
    }
    assert!(!log.contains("strip.tif: "), "it is scored: {log}");
    assert!(peak < before + MORE_KIB, "{before} KiB before, {peak} KiB at most");
}

/// Starts the service and kills it while it decodes the picture `name`, until it skips that picture. Usually the third one does. On a busy
/// machine a picture may reach its time limit before the kill: it is delivered again then, and the kills before prove nothing.
fn killed_while_decoding_until_skipped(home: &Home, name: &str, mut deliver: impl FnMut()) -> Service {
    const TOO_SLOW: &str = "was not decoded within";
    let skipped = format!("{name}: {CRASHED}");
    for kills in 0..20 {
        let mut service = Service::start(home);
        if kills > 0 {
            // The record of the one before has been read.
            service.wait_for_log("the service ended unexpectedly");
        }
        let mut delivered = usize::from(kills > 0);
        wait_until("the picture is being decoded or skipped", || {
            if service.log().matches(TOO_SLOW).count() >= delivered {
                delivered += 1;
                deliver();
            }
            let record = fs::read_to_string(home.path("state/decoding")).unwrap_or_default();
            let is_decoded = |line: &str| line.contains(" x0 ") && line.contains(name);
            record.lines().any(is_decoded) || service.log().contains(&skipped)
        });
        let log = service.log();
        if log.contains(&skipped) {
            assert!(kills >= 2, "one coincidence proves nothing: {log}");
            return service;
        }
        service.signal("-KILL");
        service.wait();
    }
    panic!("the picture is decoded at each start");
}

const CRASHED: &str = "the service ended unexpectedly twice while it decoded this picture, so it is skipped";

#[test]
fn a_file_that_ends_the_service_twice_is_skipped_later() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let home = Home::with_sources(
        broker.port,
        "home",
        "  inbox: { folder: inbox, existing: process, watch: [objects] }\n",
    );
    let mut service = killed_while_decoding_until_skipped(&home, "slow.tif", || {
        fs::write(home.path("inbox/slow.tif"), slow_tiff()).unwrap();
    });
    home.drop_picture("red-car.jpg", "car.jpg");
    subscriber.until("the alert of another picture", is_raised);
    service.stop();
    let log = service.log();
    assert_eq!(log.matches(CRASHED).count(), 1, "{log}");
    assert!(log.contains("crashed 1"), "it is counted: {log}");
    assert!(home.path("inbox/slow.tif").exists());
    let record = fs::read_to_string(home.path("state/decoding")).unwrap();
    assert_eq!(record.trim(), "", "after an orderly stop nothing is suspected");
}

#[test]
fn a_shared_message_that_ends_the_service_twice_is_skipped_and_acknowledged() {
    let (cameras, alerts) = (Broker::start(), Broker::start());
    let subscriber = Subscriber::start(&alerts);
    let source = format!(
        "  shared: {{ mqtt: cam/+, share: us, broker: {{ url: mqtt://127.0.0.1:{} }}, watch: [objects] }}\n",
        cameras.port
    );
    let home = Home::with_sources(alerts.port, "home", &source);
    let mut publisher = Publisher::connect(cameras.port);
    let mut online = false;
    let mut service = killed_while_decoding_until_skipped(&home, "cam/slow", || {
        if !online {
            let status = "r home/shared/status online";
            subscriber.until("the source to be online", |message| message.line() == status);
            online = true;
        }
        publisher.publish("cam/slow", &slow_tiff());
        publisher.settle();
    });
    publisher.publish("cam/car", &fs::read(sample("red-car.jpg")).unwrap());
    subscriber.until("the alert of another picture", is_raised);
    service.stop();
    let log = service.log();
    assert_eq!(log.matches(CRASHED).count(), 1, "{log}");
    assert!(log.contains("crashed 1"), "it is counted: {log}");

    // It was acknowledged: the broker does not deliver it again.
    let mut service = Service::start(&home);
    publisher.publish("cam/wall", &fs::read(sample("empty-wall.jpg")).unwrap());
    publisher.publish("cam/car", &fs::read(sample("red-car.jpg")).unwrap());
    subscriber.until("the alert of the next picture", is_raised);
    service.stop();
    assert!(!service.log().contains("cam/slow"), "{}", service.log());
}
