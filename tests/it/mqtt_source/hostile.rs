//! Hostile messages: files that are no pictures, false sizes, decompression bombs, endless JSON, invalid text. A real broker
//! passes them to a running service, which continues and stays within its memory limit.
//!
//! Short by default; `tools/prove_input.sh` sets `STAKEOUT_HOSTILE` to the number of messages and shows the figures. A
//! message depends only on its number, so a harmful one can be sent again.

use std::time::Instant;

use super::*;
use crate::bombs::png_of;

/// The number of messages between two checks of the service.
const BATCH: u64 = 50;
/// The memory that the service may use in addition to the memory after the first batch: a few of the largest pictures that
/// `max_pixels` allows, and the packets that wait.
const MORE_KIB: u64 = 128 * 1024;
const MAX_PIXELS: u32 = 4_000_000;

#[test]
fn a_service_survives_hostile_messages() {
    let count = std::env::var("STAKEOUT_HOSTILE").map_or(500, |count| count.parse().unwrap());
    let (cameras, alerts) = (Broker::start(), Broker::start());
    let subscriber = Subscriber::start(&alerts);
    let broker = format!("broker: {{ url: mqtt://127.0.0.1:{} }}", cameras.port);
    // Shared, so that no message is skipped for a newer one. A source for each topic, so that a spoilt picture that still
    // shows a red car raises no alert of the topic whose pictures must raise one.
    let sources = format!(
        "  raw: {{ mqtt: raw/+, name: 'raw {{1}}', share: us, {broker}, watch: [objects] }}\n  \
         json: {{ mqtt: json/+, name: 'json {{1}}', share: us, {broker}, json: {{ picture: /image, time: /time }}, watch: [objects] }}\n"
    );
    let home = Home::with_sources(alerts.port, "home", &sources);
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let text = text.replace("state_dir: state", &format!("state_dir: state\nmax_pixels: {MAX_PIXELS}"));
    fs::write(home.path("stakeout.yaml"), text).unwrap();
    let mut service = Service::start(&home);
    let mut offline = BTreeSet::from(["r home/raw/status online", "r home/json/status online"]);
    while !offline.is_empty() {
        offline.remove(&*subscriber.next().line());
    }

    let (began, messages) = (Instant::now(), Messages::new());
    let mut publisher = Publisher::connect(cameras.port);
    let (mut sent, mut bytes, mut settled, mut most) = (0_u64, 0, None, 0);
    while sent < count {
        for number in sent..count.min(sent + BATCH) {
            let (topic, payload) = messages.message(number);
            bytes += payload.len();
            publisher.publish(topic, &payload);
        }
        sent = count.min(sent + BATCH);
        check_service(&mut publisher, &subscriber);
        let now = service.memory("VmRSS");
        settled.get_or_insert(now);
        most = most.max(now);
    }
    let settled = settled.expect("a batch at least");
    let peak = service.memory("VmHWM");
    assert!(peak < settled + MORE_KIB, "{settled} KiB after the first batch, {peak} KiB at most");

    service.stop();
    let log = service.log();
    let count_of = |source: &str| -> u64 {
        let line =
            log.lines().find(|line| line.contains(" seen, ") && line.contains(&format!(" {source}: ")));
        let line = line.unwrap_or_else(|| panic!("no counts of {source}: {log}"));
        println!("{line}");
        line.split(" seen, ").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (decoded, beacons) = (count_of("raw") + count_of("json"), 4 * sent.div_ceil(BATCH));
    assert!(decoded >= sent + beacons, "{decoded} of {sent} messages were decoded");
    assert!(!log.contains("panicked"), "{log}");
    println!(
        "{sent} messages, {:.1} MB, in {:.0} s; memory {:.0} MiB after the first {BATCH}, {:.0} MiB between batches at most, {:.0} MiB at the peak",
        bytes as f64 / 1e6,
        began.elapsed().as_secs_f64(),
        settled as f64 / 1024.0,
        most as f64 / 1024.0,
        peak as f64 / 1024.0
    );
}

/// Checks that both sources still raise an alert, after everything that was sent before.
fn check_service(publisher: &mut Publisher, subscriber: &Subscriber) {
    let in_json =
        |picture: &str| json!({ "image": BASE64_STANDARD.encode(jpeg(picture)) }).to_string().into_bytes();
    // First an empty wall: the last check has raised the label.
    for picture in ["empty-wall.jpg", "red-car.jpg"] {
        publisher.publish("raw/well", &jpeg(picture));
        publisher.publish("json/well", &in_json(picture));
    }
    publisher.settle();
    let mut missing = BTreeSet::from(["raw/well", "json/well"]);
    while !missing.is_empty() {
        let message = subscriber.next();
        if message.topic.ends_with("objects/red_car/alert") && message.text().contains(r#""state":"raised""#)
        {
            let alert: Value = serde_json::from_slice(&message.payload).unwrap();
            missing.remove(alert["frame"]["origin"].as_str().unwrap());
        }
    }
}

/// The valid pictures. Hostile messages are made from them.
struct Messages {
    whole: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Messages {
    fn new() -> Self {
        Self {
            whole: vec![jpeg("red-car.jpg"), png("green-tree.jpg"), webp("empty-wall.jpg")],
            large: large(),
        }
    }

    /// ReceivedMessage `number`, always the same.
    fn message(&self, number: u64) -> (&'static str, Vec<u8>) {
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let whole = &self.whole[random.below(self.whole.len())];
        let raw = match random.below(12) {
            0 => random.bytes(4096),
            1 | 2 => whole[..random.below(whole.len())].to_vec(),
            3..=5 => random.spoil(whole),
            6 => [&whole[..random.below(whole.len())], &random.bytes(2048)[..]].concat(),
            7 => BASE64_STANDARD.encode(random.spoil(whole)).into_bytes(),
            8 => random.spoil(BASE64_STANDARD.encode(whole).as_bytes()),
            9 => [b"data:image/png;base64", &random.bytes(64)[..]].concat(),
            10 => Vec::new(),
            _ => self.large[random.below(self.large.len())].clone(),
        };
        if random.below(2) == 0 {
            return ("raw/cam", raw);
        }
        ("json/cam", self.json(&mut random, &raw))
    }

    fn json(&self, random: &mut Random, raw: &[u8]) -> Vec<u8> {
        let image = BASE64_STANDARD.encode(raw);
        let deep = 1 + random.below(20_000);
        match random.below(12) {
            0 => raw.to_vec(),
            1 => "[".repeat(deep).into_bytes(),
            2 => {
                format!(r#"{{"a":{}1{},"image":"{image}"}}"#, "[".repeat(deep), "]".repeat(deep)).into_bytes()
            }
            3 => format!(r#"{}"image":"{image}"#, r#"{"image":"#.repeat(deep)).into_bytes(),
            4 => [br#"{"image":""#, raw, br#""}"#].concat(),
            5 => format!(r#"{{"image":"{image}","time":1e{deep}}}"#).into_bytes(),
            6 => format!(r#"{{"image":"{image}","time":-{deep}e300,"image":7}}"#).into_bytes(),
            7 => format!(r#"{{"image":"{}"}}"#, r"\ud800\u0000".repeat(deep / 4)).into_bytes(),
            8 => random.spoil(format!(r#"{{"time":"2026-11-23T08:15:30Z","image":"{image}"}}"#).as_bytes()),
            9 => format!(r#"{{{}"image":"{image}"}}"#, r#""a":{},"#.repeat(deep)).into_bytes(),
            10 => [r#"{"image":["#.as_bytes(), &b"\xff\xfe\xc0\x80,"[..], b"]}"].concat(),
            _ => format!(r#"{{"image":"data:image/jpeg;base64,{image}","time":null}}"#).into_bytes(),
        }
    }
}

/// Pictures that claim to be larger than allowed, or are.
fn large() -> Vec<Vec<u8>> {
    let side = u32::from(u16::MAX);
    let mut jpeg_header = jpeg("red-car.jpg");
    let frame = jpeg_header.windows(2).position(|two| two == [0xff, 0xc0] || two == [0xff, 0xc2]).unwrap();
    jpeg_header[frame + 5..frame + 9].fill(0xff);
    let gif = [
        b"GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff\x2c\0\0\0\0\xff\xff\xff\xff\x00\x02"
            .as_slice(),
        &[0x16; 64],
    ]
    .concat();
    let mut bmp =
        b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\0\x18\0".to_vec();
    bmp.resize(4096, 0);
    let webp = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff".to_vec();
    vec![
        png_of(u32::MAX >> 1, u32::MAX >> 1, &[0; 1000]),
        png_of(side, side, &[0; 1000]),
        // As large as allowed, and truncated.
        png_of(2000, 2000, &[0; 1000]),
        // Unpacked ten thousand times as large as packed, and larger than its header says.
        png_of(10, 10, &vec![0; 32 << 20]),
        // Complete, and more pixels than allowed.
        png_of(MAX_PIXELS / 1000 + 1, 1000, &vec![0; (3 * (MAX_PIXELS as usize / 1000 + 1) + 1) * 1000]),
        // Complete and allowed: it must be accepted.
        png_of(MAX_PIXELS / 1000, 1000, &vec![0; (3 * (MAX_PIXELS as usize / 1000) + 1) * 1000]),
        jpeg_header,
        gif,
        bmp,
        webp,
    ]
}

/// Pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % below.max(1)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    /// `whole` with a few bytes changed, anywhere or near the beginning, where the sizes are.
    fn spoil(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut spoilt = whole.to_vec();
        let within = if self.below(2) == 0 { spoilt.len().min(200) } else { spoilt.len() };
        for _ in 0..=self.below(20) {
            let (at, byte) = (self.below(within), self.next().to_le_bytes()[5]);
            if let Some(place) = spoilt.get_mut(at) {
                *place = byte;
            }
        }
        spoilt
    }
}
