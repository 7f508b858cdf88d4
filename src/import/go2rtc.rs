//! Reads a configuration of go2rtc: each stream is a camera.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    document::Item,
    report::{self, Options, Report},
    streams::{self, Input, Syntax},
};
use crate::config::draft::{Broker, Draft, DraftSource};

/// The name of the label set.
const SET: &str = "objects";
/// A stream whose name ends so is the low-resolution stream of the camera with the rest of the name.
const SUB: &[&str] = &["_sub", "-sub", "_low", "-low", "_substream", "-substream"];
/// The most streams that refer to each other, one after the other.
const MOST_STEPS: usize = 8;

/// The configuration for the streams.
pub(super) fn read(root: Item<'_>, options: &Options, report: &mut Report) -> Draft {
    for (key, item) in root.entries().filter(|(key, _)| *key != "streams") {
        report.note(item.line, format!("`{key}` is left out: only the streams have a counterpart"));
    }
    let empty = Map::new();
    let streams = root.get("streams");
    let names: Vec<&str> =
        streams.iter().flat_map(|streams| streams.entries()).map(|(name, _)| name).collect();
    let mut sources = vec![];
    for (name, item) in streams.iter().flat_map(|streams| streams.entries()) {
        if let Some(sub) = SUB.iter().map(|end| format!("{name}{end}")).find(|sub| names.contains(&&**sub)) {
            report.note(item.line, format!("`{name}` is left out: `{sub}` is its low-resolution stream"));
            continue;
        }
        let whole = SUB.iter().find_map(|end| name.strip_suffix(end)).filter(|whole| names.contains(whole));
        match settings(streams, name, Syntax::Go2rtc, report) {
            Some(found) => sources.push(source(whole.unwrap_or(name), found, &empty)),
            None => {
                report.note(item.line, format!("`{name}` is left out: none of its addresses can be used"))
            }
        }
    }
    if sources.is_empty() {
        report.whole("there is no stream that can be watched");
    }
    let url = options.broker.clone().unwrap_or_else(|| {
        report.whole("go2rtc has no broker: the result has the one of this machine, `mqtt://localhost:1883`");
        "mqtt://localhost:1883".to_owned()
    });
    Draft {
        heading: vec!["Made from a configuration of go2rtc by `stakeout import`.".to_owned()],
        model: options.model.clone(),
        broker: Broker { url, ..Broker::default() },
        home_assistant: false,
        sets: if sources.is_empty() { vec![] } else { vec![report::label_set(SET, &options.watch_for)] },
        sources,
    }
}

/// A source with these settings, and `more` after them.
fn source(name: &str, settings: Map<String, Value>, more: &Map<String, Value>) -> DraftSource {
    let watch = [("watch".to_owned(), json!([SET]))];
    let settings = settings.into_iter().chain(more.clone()).chain(watch).collect();
    DraftSource { name: name.to_owned(), comment: None, settings }
}

/// The settings of a source for the stream `name`: of its low-resolution address, or of the first one that can be used. What cannot be
/// used is noted.
pub(super) fn settings(
    streams: Option<Item<'_>>,
    name: &str,
    syntax: Syntax,
    report: &mut Report,
) -> Option<Map<String, Value>> {
    let (mut seen, mut name) = (BTreeSet::new(), name.to_owned());
    for _ in 0..MOST_STEPS {
        let stream = streams?.get(&name)?;
        seen.insert(name);
        let (mut found, mut other) = (vec![], None);
        for item in stream.items() {
            let Some(typed) = item.text() else {
                report.note(item.line, "this is no address, and is left out");
                continue;
            };
            match streams::input(typed, syntax) {
                Ok(Input::Source(settings)) => found.push((streams::is_low_resolution(typed), settings)),
                Ok(Input::Stream(of)) => other = other.or(Some(of)),
                Err(why) => report.note(item.line, format!("the address is left out: {why}")),
            }
        }
        // The first of equal ones: `false` is less than `true`.
        found.sort_by_key(|(is_low, _)| !is_low);
        if let Some((_, settings)) = found.into_iter().next() {
            return Some(settings);
        }
        name = other.filter(|other| !seen.contains(other))?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Note, Origin, import};

    fn imported(text: &str) -> (Draft, Vec<Note>) {
        let (origin, imported) = import(text, &Options::default()).unwrap();
        assert_eq!(origin, Origin::Go2rtc);
        (imported.draft, imported.notes)
    }

    #[test]
    fn each_stream_is_a_source_and_the_low_resolution_is_preferred() {
        let text = "\
api: { listen: ':1984' }
streams:
  dahua:
    - rtsp://me:${PW}@h/cam/realmonitor?channel=1&subtype=0
    - rtsp://me:${PW}@h/cam/realmonitor?channel=1&subtype=1
    - ffmpeg:dahua#audio=opus
  front: rtsp://h/main
  front_sub: rtsp://h/second
  copy: ffmpeg:front#video=h264
  reolink: onvif://me:hunter2@h
  loop: [ffmpeg:loop]
";
        let (draft, notes) = imported(text);
        let found: Vec<_> =
            draft.sources.iter().map(|it| (&*it.name, it.settings["rtsp"].as_str().unwrap())).collect();
        let expected = [
            ("dahua", "rtsp://me:${env:PW}@h/cam/realmonitor?channel=1&subtype=1"),
            ("front", "rtsp://h/second"),
            ("copy", "rtsp://h/main"),
        ];
        assert_eq!(found, expected);
        let lines: Vec<_> = notes.iter().map(|note| note.line).collect();
        assert_eq!(lines, [None, Some(1), Some(7), Some(10), Some(10), Some(11)], "{notes:#?}");
        assert!(notes[2].text.contains("`front_sub` is its low-resolution stream"), "{notes:#?}");
        assert!(notes.iter().all(|note| !note.text.contains("hunter2")), "{notes:#?}");
        assert_eq!(draft.sets[0].labels[0].prompt, "a person");
    }
}
