//! Writes a new configuration with comments, for people who have none yet: `stakeout init` and `stakeout import`.
//!
//! Values are written as they are typed in a configuration: `${env:NAME}` is a reference. The caller checks the result as every
//! configuration is checked.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::additions::{in_one_line, scalar};
use crate::source::kinds::camera::has_video_name;

/// The column of comments.
const COLUMN: usize = 40;

/// A new configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// Lines of a comment at the top.
    pub heading: Vec<String>,
    /// The model; `None` is the bundled one.
    pub model: Option<String>,
    /// The broker.
    pub broker: Broker,
    /// Whether Home Assistant finds everything.
    pub home_assistant: bool,
    /// What to watch for.
    pub sets: Vec<DraftSet>,
    /// Where frames come from.
    pub sources: Vec<DraftSource>,
}

/// The section `mqtt`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broker {
    /// The address.
    pub url: String,
    /// The user.
    pub username: Option<String>,
    /// The password, or a reference to it.
    pub password: Option<String>,
    /// The first levels of the topics.
    pub prefix: Option<String>,
}

/// A label set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftSet {
    /// Its name.
    pub name: String,
    /// What is in view when nothing is.
    pub background: Vec<String>,
    /// Its labels.
    pub labels: Vec<DraftLabel>,
}

/// A label: what to watch for, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftLabel {
    /// Its name, a part of the topics.
    pub name: String,
    /// The words that are scored.
    pub prompt: String,
}

/// A source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DraftSource {
    /// Its name.
    pub name: String,
    /// A comment above it.
    pub comment: Option<String>,
    /// Its settings, in this order.
    pub settings: Map<String, Value>,
}

impl DraftLabel {
    /// A label for words such as `a package by the door`. The article is not a part of the name.
    #[must_use]
    pub fn of(words: &str) -> Self {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let lower = words.to_lowercase();
        let article = ["a ", "an ", "the "].into_iter().find(|article| lower.starts_with(*article));
        let name = article.map_or(&*words, |article| &words[article.len()..]);
        Self { name: name.to_owned(), prompt: words }
    }
}

/// A text without references: `${` in it would make the service read something else. For texts that come from others.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

impl DraftSource {
    /// A source for an address or a path: the kind is the one that its scheme or its name suggests.
    #[must_use]
    pub fn at(address: &str) -> Self {
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let path = rest.split(['?', '#']).next().unwrap_or_default().to_lowercase();
        let is_stream =
            [".m3u8", ".mjpg", ".mjpeg", ".mp4", ".ts", ".flv"].iter().any(|end| path.ends_with(end));
        let key = match scheme {
            "rtsp" | "rtsps" => "rtsp",
            "http" | "https" if !is_stream => "http",
            "" if !address.starts_with("/dev/video") && !has_video_name(Path::new(address)) => "folder",
            _ => "video",
        };
        Self { settings: Map::from_iter([(key.to_owned(), json!(address))]), ..Self::default() }
    }
}

impl Draft {
    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Lines::default();
        for line in &self.heading {
            lines.comment(0, line);
        }
        lines.comment(0, "After a change: `stakeout check` prints every mistake with its line and remedy. All keys: reference.yaml.");
        self.model(&mut lines);
        self.broker(&mut lines);
        lines.empty();
        lines.comment(
            0,
            "Everything that is watched appears in Home Assistant automatically, if it uses the same broker.",
        );
        lines.entry(0, "home_assistant", &json!(self.home_assistant), "");
        self.sets(&mut lines);
        self.sources(&mut lines);
        lines.0
    }

    fn model(&self, lines: &mut Lines) {
        lines.empty();
        match &self.model {
            Some(model) => {
                lines.entry(0, "model", &json!(model), "downloaded once; docs/models.md has others");
            }
            None => {
                lines.comment(
                    0,
                    "The bundled model knows drawings only. For cameras name another one (docs/models.md):",
                );
                lines.comment(0, "model: openai/clip-vit-base-patch16");
            }
        }
    }

    fn broker(&self, lines: &mut Lines) {
        let Broker { url, username, password, prefix } = &self.broker;
        lines.empty();
        lines.comment(0, "The broker for the alerts. To receive them: mosquitto_sub -v -t 'stakeout/#'");
        lines.key(0, "mqtt", "");
        lines.entry(1, "url", &json!(url), "");
        if let Some(username) = username {
            lines.entry(1, "username", &json!(username), "");
        }
        if let Some(password) = password {
            lines.entry(1, "password", &json!(password), REFERENCE);
        }
        if let Some(prefix) = prefix {
            lines.entry(1, "prefix", &json!(prefix), "the first levels of every topic");
        }
    }

    fn sets(&self, lines: &mut Lines) {
        lines.empty();
        lines.comment(0, "What to watch for. The labels of a set are scored together. They share a score of 1 with the background, which never");
        lines.comment(0, "raises an alert: it describes the picture when nothing is there.");
        if self.sets.is_empty() {
            lines.entry(
                0,
                "label_sets",
                &json!({}),
                "the console leads through the first one: `stakeout console`",
            );
            return;
        }
        lines.key(0, "label_sets", "");
        for set in &self.sets {
            lines.key(1, &set.name, "");
            if !set.background.is_empty() {
                lines.entry(2, "background", &json!(set.background), "");
            }
            lines.key(2, "labels", "");
            for (at, label) in set.labels.iter().enumerate() {
                let settings = json!({ "prompts": [label.prompt], "threshold": 0.7, "hold": "2 of 3", "cooldown": "1m" });
                let comment = if at == 0 {
                    "alert at this score or above, on 2 of 3 frames, once a minute"
                } else {
                    ""
                };
                lines.entry(3, &label.name, &settings, comment);
            }
        }
    }

    fn sources(&self, lines: &mut Lines) {
        lines.empty();
        lines.comment(0, "Where frames come from, and which label sets are scored on them.");
        if self.sources.is_empty() {
            lines.entry(
                0,
                "sources",
                &json!({}),
                "the console leads through the first one: `stakeout console`",
            );
            return;
        }
        lines.key(0, "sources", "");
        for source in &self.sources {
            if let Some(comment) = &source.comment {
                lines.comment(1, comment);
            }
            lines.key(1, &source.name, "");
            for (key, value) in &source.settings {
                let comment = if key == "password" { REFERENCE } else { "" };
                lines.entry(2, key, value, comment);
            }
        }
    }
}

const REFERENCE: &str = "or a reference: ${env:NAME}, ${file:/path}, ${credential:NAME}";

/// The text so far.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn empty(&mut self) {
        self.0.push('\n');
    }

    /// A line of a comment. Line breaks in it would end the comment.
    fn comment(&mut self, depth: usize, text: &str) {
        let text: String =
            text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.0.push_str(&format!("{}# {text}\n", "  ".repeat(depth)));
    }

    fn key(&mut self, depth: usize, key: &str, comment: &str) {
        self.line(format!("{}{}:", "  ".repeat(depth), scalar(key)), comment);
    }

    fn entry(&mut self, depth: usize, key: &str, value: &Value, comment: &str) {
        self.line(format!("{}{}: {}", "  ".repeat(depth), scalar(key), in_one_line(value)), comment);
    }

    fn line(&mut self, line: String, comment: &str) {
        let width = line.chars().count();
        self.0.push_str(&line);
        if !comment.is_empty() {
            self.0.push_str(&format!("{} # {comment}", " ".repeat(COLUMN.saturating_sub(width + 1))));
        }
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Replaced, SourceKind, load_with};

    fn draft() -> Draft {
        let settings = json!({ "rtsp": "rtsp://10.0.0.21/s?a=b", "username": "viewer", "password": "p: #\"'$", "watch": ["yard"] });
        Draft {
            heading: vec!["Written by a test.\nmqtt: {}".to_owned()],
            model: None,
            broker: Broker {
                url: "mqtt://broker:1883".to_owned(),
                username: Some("me".to_owned()),
                ..Broker::default()
            },
            home_assistant: true,
            sets: vec![DraftSet {
                name: "yard".to_owned(),
                background: vec!["an empty yard".to_owned()],
                labels: ["a person", "The  red car: mine"].map(DraftLabel::of).to_vec(),
            }],
            sources: vec![DraftSource {
                name: "front door".to_owned(),
                comment: Some("DS-2CD".to_owned()),
                settings: settings.as_object().unwrap().clone(),
            }],
        }
    }

    fn load(draft: &Draft) -> crate::config::Config {
        let (file, text) = (Path::new("/nonexistent/stakeout.yaml"), draft.text());
        let loaded = load_with(file, Replaced { file, text: &text });
        loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")).config
    }

    #[test]
    fn a_draft_is_a_valid_configuration_with_comments() {
        let draft = draft();
        let text = draft.text();
        assert!(text.starts_with("# Written by a test. mqtt: {}\n# After a change"), "{text}");
        assert!(text.contains("  # DS-2CD\n  front door:\n    rtsp: \"rtsp://10.0.0.21/s?a=b\"\n"), "{text}");
        let config = load(&draft);
        assert_eq!((&*config.mqtt.host, config.home_assistant.is_some()), ("broker", true));
        let labels = config.label_sets[0].labels.iter().map(|label| (&*label.name, &*label.prompts[0]));
        assert_eq!(
            labels.collect::<Vec<_>>(),
            [("person", "a person"), ("red car: mine", "The red car: mine")]
        );
        let SourceKind::Stream(stream) = &config.sources[0].kind else { panic!("a stream") };
        let crate::config::Input::Rtsp(address) = &stream.input else { panic!("an address") };
        assert_eq!(address.login(), Some(("viewer", "p: #\"'$")));
    }

    #[test]
    fn a_draft_without_cameras_is_set_up_in_the_console() {
        let config = load(&Draft { sets: vec![], sources: vec![], ..draft() });
        assert_eq!((config.sources.len(), config.label_sets.len()), (0, 0));
    }

    #[test]
    fn an_address_suggests_the_kind_of_source() {
        for (address, key) in [
            ("rtsp://h/s", "rtsp"),
            ("rtsps://h/s", "rtsp"),
            ("http://h/cgi-bin/snapshot?x=1", "http"),
            ("https://h/live.m3u8?x", "video"),
            ("rtmp://h/live", "video"),
            ("/dev/video0", "video"),
            ("day.mp4", "video"),
            ("/srv/inbox", "folder"),
        ] {
            assert_eq!(DraftSource::at(address).settings[key], address, "{address}");
        }
    }

    #[test]
    fn names_have_no_article() {
        for (words, name) in [
            ("a person", "person"),
            ("An open gate", "open gate"),
            ("the  cat ", "cat"),
            ("another dog", "another dog"),
            ("a", "a"),
            ("Ein Hund", "Ein Hund"),
        ] {
            assert_eq!(DraftLabel::of(words).name, name, "{words}");
        }
    }

    proptest! {
        #[test]
        fn every_name_and_every_value_is_read_as_it_was_given(
            name in "[^\\p{C}\u{feff}\\s]{1,12}", text in "[^\\p{C}$\u{feff}\\s]{1,12}",
        ) {
            // YAML's own key for merging.
            prop_assume!(name != "<<");
            let settings = json!({ "folder": "inbox", "location": text, "watch": ["yard"] });
            let source = DraftSource { name: name.clone(), comment: Some(text.clone()), settings: settings.as_object().unwrap().clone() };
            let config = load(&Draft { sources: vec![source], ..draft() });
            prop_assert_eq!(&config.sources[0].name, &name);
            prop_assert_eq!(config.sources[0].location.as_ref(), Some(&text));
        }
    }
}
