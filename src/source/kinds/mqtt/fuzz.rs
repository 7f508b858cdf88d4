//! The entry point for the fuzzer: messages that any client could publish.

use jiff::{SignedDuration, Timestamp};

use super::{
    payload::{self, Found},
    settings::{JsonPlaces, MqttSettings},
};
use crate::{
    policy::{NamePattern, TopicFilter},
    topic::topic_level,
};

/// Reads a message: its topic, a line break, its payload.
pub fn fuzz(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n');
    let (topic, payload) = at.map_or((&[][..], data), |at| (&data[..at], &data[at + 1..]));
    let topic = String::from_utf8_lossy(topic);
    let places = |picture: &str| JsonPlaces {
        picture: picture.to_owned(),
        time: Some("/time".to_owned()),
        name: Some("/name".to_owned()),
    };
    for json in [None, Some(places("/image")), Some(places("/a/0/b~1c"))] {
        let settings = MqttSettings {
            filters: ["frigate/+/snapshot", "#"]
                .iter()
                .filter_map(|text| TopicFilter::parse(text).ok())
                .collect(),
            name: NamePattern::parse(if json.is_some() { "{1}-{name}" } else { "frigate-{1}" }).ok(),
            json: json.clone(),
            retained: false,
            share: None,
            max_packet: u32::MAX,
            max_sources: 1,
            broker: None,
        };
        let Ok(Found { picture, time, name }) = payload::read(payload, json.as_ref()) else { continue };
        assert!(picture.len() <= payload.len(), "a picture is never larger than its payload");
        let arrived = Timestamp::UNIX_EPOCH;
        assert!(
            payload::captured_at(time, arrived).0.duration_since(arrived) <= SignedDuration::from_mins(1)
        );
        if let Some(name) = settings.source_name(&topic, name.as_deref()) {
            assert!(!topic_level(&name).contains(['/', '+', '#', '\0']), "a name is one level of a topic");
        }
    }
}
