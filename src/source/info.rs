//! What a stream is and what is decoded of it, for people: published when it changes, and counted on nowhere.

use std::time::Duration;

use serde_json::json;

/// What is known of a stream that is open, or was.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    /// How it is encoded, in FFmpeg's word: `h264`, `hevc`.
    pub codec: String,
    /// Pixels from left to right and from top to bottom.
    pub size: (u32, u32),
    /// Pictures in a second, if the stream says so.
    pub rate: Option<f64>,
    /// The longest of the last times between two key frames; `None` until there were enough.
    pub key_frames: Option<Duration>,
    /// What is decoded: `key_frames` or `all`.
    pub decode: &'static str,
    /// What decodes: `none` is the processor.
    pub hwaccel: &'static str,
}

impl StreamInfo {
    /// As it is published.
    #[must_use]
    pub fn to_json(&self) -> String {
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        json!({
            "codec": self.codec,
            "width": self.size.0,
            "height": self.size.1,
            "rate": self.rate.map(tenths),
            "key_frame_every": self.key_frames.map(|every| tenths(every.as_secs_f64())),
            "decode": self.decode,
            "hwaccel": self.hwaccel,
        })
        .to_string()
    }

    /// Whether it is worth telling where `old` was told: key frames of many cameras come a little earlier or later each time.
    #[must_use]
    pub fn is_news(&self, old: &Self) -> bool {
        let alike = match (old.key_frames, self.key_frames) {
            (Some(old), Some(new)) => old.abs_diff(new) <= old / 5,
            (old, new) => old == new,
        };
        !alike || Self { key_frames: old.key_frames, ..self.clone() } != *old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_news() {
        let old = StreamInfo {
            codec: "h264".to_owned(),
            size: (1920, 1080),
            rate: Some(25.0),
            key_frames: Some(Duration::from_secs(2)),
            decode: "all",
            hwaccel: "none",
        };
        let every =
            |seconds| StreamInfo { key_frames: Some(Duration::from_secs_f64(seconds)), ..old.clone() };
        let cases = [
            ("the same", old.clone(), false),
            ("a little later", every(2.3), false),
            ("much later", every(4.0), true),
            ("not known any more", StreamInfo { key_frames: None, ..old.clone() }, true),
            ("another size", StreamInfo { size: (640, 480), ..old.clone() }, true),
            ("another choice", StreamInfo { decode: "key_frames", ..old.clone() }, true),
        ];
        for (name, new, expected) in cases {
            assert_eq!(new.is_news(&old), expected, "{name}");
        }
    }
}
