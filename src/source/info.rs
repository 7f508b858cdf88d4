//! The properties of a stream and what of it is decoded: published for people when they change, and used nowhere else.

use std::time::Duration;

use serde_json::json;

/// The properties of a stream that is open, or was.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    /// How it is encoded, in FFmpeg's word: `h264`, `hevc`.
    pub codec: String,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames a second, if the stream says so.
    pub rate: Option<f64>,
    /// The longest of the last intervals between key frames; `None` until there are enough.
    pub key_frames: Option<Duration>,
    /// What is decoded: `key_frames` or `all`.
    pub decode: &'static str,
    /// What decodes: `none` is the processor.
    pub hwaccel: &'static str,
}

impl StreamInfo {
    /// The JSON text that is published.
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

    /// Whether to publish these properties after `old`: intervals between key frames vary a little with many cameras.
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
    fn what_is_published_again() {
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
            ("unknown again", StreamInfo { key_frames: None, ..old.clone() }, true),
            ("another size", StreamInfo { size: (640, 480), ..old.clone() }, true),
            ("another choice", StreamInfo { decode: "key_frames", ..old.clone() }, true),
        ];
        for (name, new, expected) in cases {
            assert_eq!(new.is_news(&old), expected, "{name}");
        }
    }
}
