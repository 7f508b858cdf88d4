//! ONVIF: finds cameras on the local network, and asks a camera for the addresses of its streams and pictures.
//!
//! [`discover`] sends a probe (WS-Discovery) and collects the answers for a limited time. [`profiles`] asks one camera (SOAP over HTTP).
//! Answers come from the network, so they are untrusted: their size and number are limited, and a login is sent only to the host that the
//! caller has named. What the messages say is in `messages` and `answers`, which are pure.

mod answers;
mod client;
mod discovery;
mod messages;

pub use self::{
    answers::{Camera, Profile},
    client::{Login, OnvifError, profiles},
    discovery::{GROUP, discover},
};

/// The least length of the shorter side of a picture that is preferred: models look at 224 pixels and more.
const SHORTEST_SIDE: u32 = 240;

/// The profile to watch: of those whose pictures are large enough for a model the smallest, which costs the least to decode; otherwise the
/// largest. Only profiles with a stream count.
#[must_use]
pub fn preferred(profiles: &[Profile]) -> Option<&Profile> {
    let with_stream = || profiles.iter().filter(|profile| profile.stream.is_some());
    let side = |profile: &&Profile| profile.size.map_or(0, |(width, height)| width.min(height));
    let pixels =
        |profile: &&Profile| profile.size.map(|(width, height)| u64::from(width) * u64::from(height));
    let large_enough = with_stream().filter(|profile| side(profile) >= SHORTEST_SIDE);
    // Of equal ones the first: cameras name the main profile first.
    large_enough.min_by_key(pixels).or_else(|| with_stream().rev().max_by_key(pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, size: Option<(u32, u32)>) -> Profile {
        Profile {
            name: name.to_owned(),
            size,
            stream: Some(format!("rtsp://h/{name}")),
            ..Profile::default()
        }
    }

    #[test]
    fn the_smallest_picture_that_is_large_enough_is_preferred() {
        let chosen = |profiles: &[Profile]| preferred(profiles).map(|profile| profile.name.clone());
        let (main, sub, tiny) = (
            profile("main", Some((2560, 1440))),
            profile("sub", Some((640, 360))),
            profile("tiny", Some((176, 144))),
        );
        let unknown = profile("unknown", None);
        for (profiles, expected) in [
            (&[main.clone(), sub.clone(), tiny.clone()][..], Some("sub")),
            (&[main.clone(), tiny.clone()], Some("main")),
            (&[tiny.clone(), profile("small", Some((320, 180)))], Some("small")),
            (&[unknown.clone(), tiny], Some("tiny")),
            (&[unknown], Some("unknown")),
            (&[profile("one", Some((640, 480))), profile("two", Some((640, 480)))], Some("one")),
            (&[Profile { stream: None, ..sub }, main], Some("main")),
            (&[], None),
        ] {
            assert_eq!(chosen(profiles).as_deref(), expected);
        }
    }
}
