//! Requests over MQTT that set something, mark an alert, or publish a picture: topics that end in `/set` and `/get`, and `<prefix>/mark`.
//!
//! A request has no answer. What it changes is published at its state topic; what is wrong with it is in the log, with what to do.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    control,
    error::{Error, Kind},
    mark,
    rate::{Decision, Rate},
    service::Service,
    verb,
};
use crate::{
    alert::{
        Topics,
        control_topics::{self, Command},
    },
    config::{Config, controlled::Wish},
    mqtt::connection::{Client, Message, Received},
    policy::{SetBy, SettingKind, Snooze, TriggerSettings},
    yaml::value,
};

/// The largest payload of a setting, in bytes.
const LONGEST_VALUE: usize = 64;
/// The largest payload of a verdict, in bytes.
const LONGEST_MARK: usize = 4096;
/// This number of requests is carried out in [`WINDOW`] ...
const MOST: usize = 500;
/// ... and of this number more it is logged that they are refused. The others are dropped.
const MOST_REFUSED: usize = 1;
const WINDOW: Duration = Duration::from_secs(10);
/// The pictures that are asked for and wait at most.
const PICTURES: usize = 16;

/// A message to one of the topics.
pub(super) struct Request {
    /// The connection over which it came.
    pub(super) client: Client,
    /// The message.
    pub(super) message: Received,
}

/// The topics that are known.
struct KnownTopics {
    /// The configurations that have them.
    configs: (Arc<Config>, Arc<Config>),
    topics: Topics,
    commands: BTreeMap<String, Command>,
}

/// A picture that is asked for.
struct Picture {
    client: Client,
    source: String,
    topic: String,
    /// Seconds after which the broker discards it.
    expiry: Option<u32>,
}

/// Carries out requests, one after the other, until their channel closes.
pub(super) async fn work(requests: mpsc::Receiver<Request>, service: &Arc<Service>) {
    let (pictures, wanted) = mpsc::channel(PICTURES);
    tokio::join!(carry_out(requests, pictures, service), send_pictures(wanted, service));
}

async fn carry_out(
    mut requests: mpsc::Receiver<Request>,
    pictures: mpsc::Sender<Picture>,
    service: &Arc<Service>,
) {
    let mut rate = Rate::new(MOST, MOST_REFUSED, WINDOW);
    let mut known = None;
    while let Some(Request { client, message }) = requests.recv().await {
        match rate.decide(Instant::now()) {
            Decision::Answer => {}
            Decision::Refuse => {
                let seconds = WINDOW.as_secs();
                tracing::warn!("requests over MQTT are dropped: more than {MOST} arrived within {seconds} s");
                continue;
            }
            Decision::Drop => continue,
        }
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        if let Err(error) = one(&topic, &message.payload, &mut known, (&client, &pictures), service).await {
            let remedy = error.remedy.unwrap_or_default();
            tracing::warn!(topic, "a request over MQTT is refused: {}. {remedy}", error.what);
        }
    }
}

/// Carries out one request.
async fn one(
    topic: &str,
    payload: &[u8],
    known: &mut Option<KnownTopics>,
    (client, pictures): (&Client, &mpsc::Sender<Picture>),
    service: &Arc<Service>,
) -> Result<(), Error> {
    let live = service.live()?;
    let configs = (live.newest.config(), live.controls.files());
    let is_same = |known: &KnownTopics| {
        Arc::ptr_eq(&known.configs.0, &configs.0) && Arc::ptr_eq(&known.configs.1, &configs.1)
    };
    if !known.as_ref().is_some_and(is_same) {
        *known = Some(KnownTopics::of(configs));
    }
    let Some(KnownTopics { configs: (watched, _), topics, commands }) = known else { return Ok(()) };
    if topic == topics.mark() {
        let request = verdict(payload)?;
        return service.write(move |history| mark::answer(history, &request)).await.map(|_| ());
    }
    let command = commands.get(topic).ok_or_else(|| {
        Error::new(Kind::NotFound, "no source and no label has this topic")
            .remedy("`stakeout check --explain` lists the topics.")
    })?;
    match command {
        Command::Set(target, kind) => {
            let (target, wish) = (target.clone(), wish(*kind, payload)?);
            control::set(service, target, wish, SetBy::Mqtt).await.map(|_| ())
        }
        Command::Snapshot(source) => {
            let expiry = watched.mqtt.connection.message_expiry;
            let picture = Picture {
                client: client.clone(),
                source: source.clone(),
                topic: topics.requested_snapshot(source),
                expiry: expiry.and_then(|expiry| u32::try_from(expiry.as_secs()).ok()),
            };
            pictures.try_send(picture).map_err(|_| {
                Error::new(Kind::TooMany, "other pictures are being made")
                    .remedy("Ask again in a few seconds.")
            })
        }
    }
}

/// Publishes the pictures that are asked for, one after the other.
async fn send_pictures(mut wanted: mpsc::Receiver<Picture>, service: &Arc<Service>) {
    while let Some(Picture { client, source, topic, expiry }) = wanted.recv().await {
        let Ok(live) = service.live() else { continue };
        let Some(picture) = live.newest.pictures.of(&source.as_str().into()).await else {
            tracing::warn!(
                source,
                "a picture was asked for over MQTT, and there was no frame since the start"
            );
            continue;
        };
        let message = Message { topic: &topic, retain: true, kind: "image/jpeg", expiry };
        // It fails if the connection has ended: then it is asked for again.
        let _ = client.publish(message, picture.jpeg.clone());
    }
}

impl KnownTopics {
    fn of(configs: (Arc<Config>, Arc<Config>)) -> Self {
        let topics = Topics::of(&configs.0);
        let commands = control_topics::commands(&configs.0, &configs.1, &topics);
        Self { configs, topics, commands }
    }
}

/// What a payload asks for.
fn wish(kind: SettingKind, payload: &[u8]) -> Result<Wish, Error> {
    let text = text(payload, LONGEST_VALUE)?.trim();
    match kind {
        SettingKind::Enabled => switch(text).map(Wish::Enabled),
        SettingKind::Threshold => threshold(text).map(Wish::Threshold),
        SettingKind::Snooze => {
            let wrong = |remedy| Error::parameter("snooze", format!("{text:?} is no snooze")).remedy(remedy);
            Snooze::parse(text).map(Wish::Snooze).map_err(wrong)
        }
    }
}

fn switch(text: &str) -> Result<bool, Error> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(Error::parameter("enabled", format!("{text:?} is neither on nor off"))
            .remedy("Publish `ON` or `OFF`.")),
    }
}

fn threshold(text: &str) -> Result<f32, Error> {
    TriggerSettings::level_of(text).ok_or_else(|| {
        let meant = value::fraction_meant(text);
        Error::parameter("threshold", format!("{text:?} is not a score above 0 and up to 1"))
            .remedy(meant.unwrap_or_else(|| "Publish a score such as `0.6`.".to_owned()))
    })
}

fn verdict(payload: &[u8]) -> Result<mark::Request, Error> {
    let text = text(payload, LONGEST_MARK)?;
    let fields = serde_json::from_str(text).map_err(|error| {
        Error::new(Kind::BadRequest, format!("the request is not JSON: {error}"))
            .remedy(r#"Publish `{"id": "...", "verdict": "right"}`."#)
    })?;
    verb::parse(fields)
}

fn text(payload: &[u8], longest: usize) -> Result<&str, Error> {
    if payload.len() > longest {
        let what = format!("the payload has {} bytes, and {longest} are allowed", payload.len());
        return Err(Error::new(Kind::TooLarge, what).remedy("Publish only the value."));
    }
    std::str::from_utf8(payload).map_err(|_| {
        Error::new(Kind::BadRequest, "the payload is not text").remedy("Publish the value as text, in UTF-8.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_payloads() {
        use SettingKind::{Enabled, Snooze as Silence, Threshold};
        let hour = Wish::Snooze(Snooze::For(Duration::from_secs(3600)));
        let long = "1".repeat(65);
        for (kind, payload, expected) in [
            (Enabled, "ON", Ok(Wish::Enabled(true))),
            (Enabled, " off\n", Ok(Wish::Enabled(false))),
            (Enabled, "true", Ok(Wish::Enabled(true))),
            (Enabled, "", Err("\"\" is neither on nor off")),
            (Enabled, "toggle", Err("\"toggle\" is neither on nor off")),
            (Threshold, "0.7", Ok(Wish::Threshold(0.7))),
            (Threshold, "70", Err("\"70\" is not a score above 0 and up to 1")),
            (Threshold, "NaN", Err("\"NaN\" is not a score above 0 and up to 1")),
            (Threshold, &*long, Err("the payload has 65 bytes, and 64 are allowed")),
            (Silence, "1h", Ok(hour)),
            (Silence, "off", Ok(Wish::Snooze(Snooze::Off))),
            (Silence, "long", Err("\"long\" is no snooze")),
            (Silence, "a\nb", Err("\"a\\nb\" is no snooze")),
        ] {
            let read = wish(kind, payload.as_bytes()).map_err(|error| {
                assert!(error.remedy.is_some(), "{error}");
                error.what
            });
            assert_eq!(
                read.as_ref().map_err(|what| &**what),
                expected.as_ref().map_err(|what| *what),
                "{payload:?}"
            );
        }
        assert_eq!(wish(Enabled, b"\xff").unwrap_err().what, "the payload is not text");
    }

    #[test]
    fn verdicts_are_requests_of_the_verb() {
        let request = verdict(br#"{"id": "019340a2-7b1c", "verdict": "wrong"}"#).unwrap();
        assert_eq!((request.id.as_deref(), request.verdict), (Some("019340a2-7b1c"), mark::Choice::Wrong));
        for (payload, what) in [
            (r#"{"id": "x", "verdict": "maybe"}"#, "unknown variant"),
            ("right", "not JSON"),
            (&*"x".repeat(5000), "5000 bytes"),
        ] {
            assert!(verdict(payload.as_bytes()).unwrap_err().what.contains(what), "{payload}");
        }
    }
}
