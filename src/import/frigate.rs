//! Reads a configuration of Frigate, as its versions 0.13 to 0.16 document it.

use serde_json::{Map, Value, json};

use super::{
    document::Item,
    go2rtc,
    report::{self, Options, Report},
    shapes::Polygon,
    streams::{self, Input, Syntax},
    words::words,
};
use crate::config::draft::{Broker, Draft, DraftSet, DraftSource};

/// The label set of the objects that all cameras track.
const SET: &str = "objects";
/// The region of the whole frame, beside those of zones.
const WHOLE: &str = "frame";
/// What Frigate tracks unless something else is said.
const USUAL: &str = "person";

/// Keys without a counterpart, and why, or what to write instead.
const WITHOUT: &[(&str, &str)] = &[
    ("audio", "stakeout does not listen"),
    ("audio_transcription", "stakeout does not listen"),
    ("auth", "the console has a sign-in of its own (docs/console.md)"),
    ("birdseye", "stakeout records and restreams no video"),
    ("camera_groups", "the console shows all cameras"),
    ("classification", "write what to distinguish as labels (docs/rules.md)"),
    ("database", "stakeout has files of its own, in `state_dir`"),
    ("detectors", "`device` selects what runs the model (docs/models.md)"),
    (
        "environment_vars",
        "set these variables for the service: `systemctl edit stakeout`, `Environment=NAME=VALUE`",
    ),
    ("face_recognition", "stakeout recognizes no faces"),
    ("ffmpeg", "stakeout uses FFmpeg itself; `hwaccel` of a source selects the hardware"),
    ("genai", "write what to watch for as labels, in words"),
    ("live", "stakeout records and restreams no video"),
    ("logger", "the environment variable RUST_LOG selects what is logged"),
    ("lpr", "stakeout reads no licence plates"),
    ("model", "the models are others (docs/models.md)"),
    ("networking", "`listen` has the address of the console"),
    ("notifications", "Home Assistant notifies (docs/home-assistant.md), or `webhook` and `command`"),
    ("onvif", "stakeout does not move cameras"),
    ("proxy", "`listen: { base_url: ... }` is for a proxy"),
    ("record", "stakeout records no video"),
    ("review", "each alert is marked in the console"),
    ("rtmp", "stakeout records and restreams no video"),
    ("semantic_search", "write `history: { search: true }` to search by words"),
    ("snapshots", "each alert has a snapshot"),
    ("telemetry", "`listen` has metrics (docs/monitoring.md)"),
    ("timestamp_style", "stakeout draws nothing into pictures"),
    ("tls", "`listen: { tls: ... }` is for the console"),
    ("ui", "the console has no settings"),
];
/// Keys that are read, or mean nothing without the rest.
const READ: &[&str] = &["cameras", "detect", "go2rtc", "motion", "mqtt", "objects", "version", "safe_mode"];
/// The same in a camera.
const READ_IN_CAMERA: &[&str] = &[
    "best_image_timeout",
    "detect",
    "enabled",
    "ffmpeg",
    "friendly_name",
    "motion",
    "objects",
    "type",
    "webui_url",
    "zones",
];

/// The configuration for the cameras.
pub(super) fn read(root: Item<'_>, options: &Options, report: &mut Report) -> Draft {
    leave_out(root, READ, report);
    objects_left_out(root, report);
    let mut sets = Sets { options, sets: vec![] };
    let cameras = root.get("cameras").into_iter().flat_map(Item::entries);
    let sources = cameras.filter_map(|(name, item)| camera(root, (name, item), &mut sets, report));
    let sources: Vec<_> = sources.collect();
    if sources.is_empty() {
        report.whole("there is no camera that can be watched");
    }
    let broker = broker(root, options, report);
    let variables: Vec<_> = sources
        .iter()
        .flat_map(|source| source.settings.values().filter_map(Value::as_str))
        .chain([&broker.username, &broker.password].into_iter().flatten().map(String::as_str))
        .flat_map(streams::variables)
        .map(str::to_owned)
        .collect();
    if let Some(first) = variables.first() {
        report.whole(format!("the service needs the environment variables of Frigate, such as {first}"));
    }
    Draft {
        heading: vec!["Made from a configuration of Frigate by `stakeout import`.".to_owned()],
        model: options.model.clone(),
        broker,
        home_assistant: true,
        sets: sets.sets,
        sources,
    }
}

/// Notes the entries of a mapping that are not read.
fn leave_out(item: Item<'_>, read: &[&str], report: &mut Report) {
    for (key, entry) in item.entries().filter(|(key, _)| !read.contains(key) && !key.starts_with("x-")) {
        let why = WITHOUT.iter().find(|(known, _)| *known == key).map(|(_, why)| *why);
        let why = why.unwrap_or("it has no counterpart, or is not known here");
        report.note(entry.line, format!("`{key}` is left out: {why}"));
    }
}

/// Notes settings of objects and of motion that have no counterpart, of all cameras or of one.
fn objects_left_out(item: Item<'_>, report: &mut Report) {
    if let Some(filters) = item.at(&["objects", "filters"]) {
        let why =
            "scores of a model for words are others; find thresholds with `stakeout tune` or in the console";
        report.note(filters.line, format!("`objects.filters` is left out: {why}"));
    }
    if let Some(mask) = item.at(&["objects", "mask"]) {
        let why = "it is about the feet of objects, and a `mask` here hides the pixels";
        report.note(mask.line, format!("`objects.mask` is left out: {why}"));
    }
}

/// The broker.
fn broker(root: Item<'_>, options: &Options, report: &mut Report) -> Broker {
    if let Some(url) = &options.broker {
        return Broker { url: url.clone(), ..Broker::default() };
    }
    let mqtt = root.get("mqtt");
    let value = |key: &str| mqtt.and_then(|mqtt| mqtt.get(key));
    let text = |key: &str| value(key).and_then(Item::text).map(|text| Syntax::Frigate.references(text));
    let is_off = value("enabled").is_some_and(Item::is_false);
    let Some(host) = text("host").filter(|_| !is_off) else {
        let line = mqtt.map_or(1, |mqtt| mqtt.line);
        report.note(
            line,
            "there is no broker in use: the result has the one of this machine, `mqtt://localhost:1883`",
        );
        return Broker { url: "mqtt://localhost:1883".to_owned(), ..Broker::default() };
    };
    let is_tls = value("tls_ca_certs").is_some();
    for key in ["tls_ca_certs", "tls_client_cert", "tls_client_key", "tls_insecure"] {
        if let Some(item) = value(key) {
            let why = "write the files as this machine has them: `mqtt: { tls: { ca: FILE } }`";
            report.note(item.line, format!("`mqtt.{key}` is left out: {why}"));
        }
    }
    if let Some(item) = value("topic_prefix").or_else(|| value("client_id")) {
        report
            .note(item.line, "topics and client identifier are others: see docs/topics.md and `mqtt.prefix`");
    }
    let (scheme, usual) = if is_tls { ("mqtts", 8883) } else { ("mqtt", 1883) };
    let port = value("port").and_then(Item::text).and_then(|port| port.parse::<u16>().ok());
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    Broker {
        url: format!("{scheme}://{host}:{}", port.unwrap_or(usual)),
        username: text("user"),
        password: text("password"),
        prefix: None,
    }
}

/// The label sets of the cameras: one for each list of objects.
struct Sets<'o> {
    options: &'o Options,
    sets: Vec<DraftSet>,
}

impl Sets<'_> {
    /// The name of the set with these objects, which is added if there is none.
    fn of(&mut self, camera: &str, is_own: bool, objects: &[&str]) -> String {
        let words: Vec<String> = match &self.options.watch_for[..] {
            [] => objects.iter().map(|object| words(object)).collect(),
            typed => typed.to_vec(),
        };
        let own_name = if camera == SET { "camera" } else { camera };
        let name = if is_own && self.options.watch_for.is_empty() { own_name } else { SET };
        let set = report::label_set(name, &words);
        match self.sets.iter().find(|known| known.labels == set.labels) {
            Some(known) => known.name.clone(),
            None => {
                let name = set.name.clone();
                self.sets.push(set);
                name
            }
        }
    }
}

fn camera(
    root: Item<'_>,
    (name, camera): (&str, Item<'_>),
    sets: &mut Sets<'_>,
    report: &mut Report,
) -> Option<DraftSource> {
    if camera.get("enabled").is_some_and(Item::is_false) {
        report.note(camera.line, format!("the camera `{name}` is left out: it is not enabled"));
        return None;
    }
    leave_out_of_camera(camera, report);
    let Some(mut settings) = input(root, (name, camera), report) else {
        report.note(camera.line, format!("the camera `{name}` is left out: none of its inputs can be used"));
        return None;
    };
    let size = size(camera).or_else(|| size(root));
    let mask = masks(camera, size, report);
    if !mask.is_empty() {
        settings.insert("mask".to_owned(), mask.into());
    }
    let regions = zones(camera, size, report);
    if !regions.is_empty() {
        settings.insert("regions".to_owned(), regions.into());
    }
    let own = camera.at(&["objects", "track"]);
    let objects = own.or_else(|| root.at(&["objects", "track"])).map_or_else(Vec::new, Item::texts);
    let objects = if objects.is_empty() { vec![USUAL] } else { objects };
    settings.insert("watch".to_owned(), json!([sets.of(name, own.is_some(), &objects)]));
    let look = look(camera);
    if !look.is_empty() {
        settings.insert("home_assistant".to_owned(), look.into());
    }
    Some(DraftSource { name: name.to_owned(), comment: None, settings })
}

fn leave_out_of_camera(camera: Item<'_>, report: &mut Report) {
    leave_out(camera, READ_IN_CAMERA, report);
    objects_left_out(camera, report);
    for (key, entry) in
        camera.get("ffmpeg").into_iter().flat_map(Item::entries).filter(|(key, _)| *key != "inputs")
    {
        let why = "stakeout uses FFmpeg itself; `hwaccel` of the source selects the hardware";
        report.note(entry.line, format!("`ffmpeg.{key}` is left out: {why}"));
    }
}

/// The settings for the input that Frigate detects on, which usually has the lowest resolution.
fn input(
    root: Item<'_>,
    (name, camera): (&str, Item<'_>),
    report: &mut Report,
) -> Option<Map<String, Value>> {
    let inputs = camera.at(&["ffmpeg", "inputs"]).map_or_else(Vec::new, Item::items);
    let detects =
        |input: &&Item<'_>| input.get("roles").is_some_and(|roles| roles.texts().contains(&"detect"));
    let chosen = inputs.iter().find(detects).or(inputs.first());
    let restreams = root.at(&["go2rtc", "streams"]);
    let Some(path) = chosen.and_then(|input| input.get("path")) else {
        // Its stream in go2rtc has the same name.
        return go2rtc::settings(restreams, name, Syntax::Frigate, report);
    };
    let typed = path.text()?;
    if let Some(stream) = streams::restream(typed) {
        let found = go2rtc::settings(restreams, stream, Syntax::Frigate, report);
        let said = match &found {
            Some(_) => format!(
                "`{name}` is watched at the camera itself, and not through Frigate's restream `{stream}`"
            ),
            None => {
                format!("`{name}` is watched through Frigate's restream, which has to run on this machine")
            }
        };
        report.note(path.line, said);
        if found.is_some() {
            return found;
        }
    }
    match streams::input(typed, Syntax::Frigate) {
        Ok(Input::Source(settings)) => Some(settings),
        Ok(Input::Stream(stream)) => go2rtc::settings(restreams, &stream, Syntax::Frigate, report),
        Err(why) => {
            report.note(path.line, format!("the address is left out: {why}"));
            None
        }
    }
}

/// The size of the frames that coordinates in pixels are for.
fn size(item: Item<'_>) -> Option<(f64, f64)> {
    let number = |key| item.at(&["detect", key])?.number().filter(|number| *number > 0.0);
    number("width").zip(number("height"))
}

/// The masks of a camera: those of motion.
fn masks(camera: Item<'_>, size: Option<(f64, f64)>, report: &mut Report) -> Vec<Value> {
    let Some(mask) = camera.at(&["motion", "mask"]) else { return vec![] };
    let mut polygons = vec![];
    for item in each_mask(mask) {
        let coordinates = item.get("coordinates").unwrap_or(item);
        match Polygon::parse(&coordinates.texts(), size) {
            Ok(polygon) => polygons.push(polygon.corners()),
            Err(wrong) => report.note(item.line, format!("a mask is left out: {}", wrong.text())),
        }
    }
    if !polygons.is_empty() {
        let said = "here a mask hides the pixels from everything; Frigate only ignores motion in it. Remove those that hide what you look for";
        report.note(mask.line, said);
    }
    polygons
}

/// The masks: one text, a list of them, or names with coordinates.
fn each_mask(mask: Item<'_>) -> Vec<Item<'_>> {
    if mask.get("coordinates").is_some() {
        return vec![mask];
    }
    let named: Vec<_> = mask.entries().map(|(_, item)| item).collect();
    if named.is_empty() { mask.items() } else { named }
}

/// The regions for the zones of a camera: the rectangle around each.
fn zones(camera: Item<'_>, size: Option<(f64, f64)>, report: &mut Report) -> Map<String, Value> {
    let required = required_zones(camera);
    let mut regions = Map::new();
    for (name, zone) in camera.get("zones").into_iter().flat_map(Item::entries) {
        if zone.get("enabled").is_some_and(Item::is_false) {
            report.note(zone.line, format!("the zone `{name}` is left out: it is not enabled"));
            continue;
        }
        if !required.is_empty() && !required.contains(&name) {
            report.note(zone.line, format!("the zone `{name}` is left out: no alert requires it"));
            continue;
        }
        let coordinates = zone.get("coordinates").map_or_else(Vec::new, Item::texts);
        let polygon = Polygon::parse(&coordinates, size);
        let bounds = polygon.as_ref().ok().and_then(Polygon::bounds);
        match (polygon, bounds) {
            (Ok(polygon), Some(bounds)) => {
                if !polygon.is_rectangle() {
                    let said = "a region is a rectangle: the one around the polygon";
                    report.note(zone.line, format!("the zone `{name}` is changed: {said}"));
                }
                regions.insert(name.to_owned(), bounds);
            }
            (Ok(_), None) => report.note(zone.line, format!("the zone `{name}` is left out: it has no area")),
            (Err(wrong), _) => {
                report.note(zone.line, format!("the zone `{name}` is left out: {}", wrong.text()));
            }
        }
        let others = ["objects", "filters", "loitering_time", "inertia", "distances", "speed_threshold"];
        for (key, item) in zone.entries().filter(|(key, _)| others.contains(key)) {
            report.note(
                item.line,
                format!("`{key}` of the zone `{name}` is left out: see `watch`, `hold` and `for`"),
            );
        }
    }
    // Regions replace the whole frame; zones do not, unless alerts require them.
    if required.is_empty() && !regions.is_empty() && !regions.contains_key(WHOLE) {
        regions.insert(WHOLE.to_owned(), json!([0, 0, 1, 1]));
    }
    regions
}

/// The zones that an alert requires.
fn required_zones(camera: Item<'_>) -> Vec<&str> {
    camera.at(&["review", "alerts", "required_zones"]).map_or_else(Vec::new, Item::texts)
}

/// The appearance of a camera in Home Assistant.
fn look(camera: Item<'_>) -> Map<String, Value> {
    let name = camera.get("friendly_name").and_then(Item::text).filter(|name| !name.is_empty());
    let page = camera.get("webui_url").and_then(Item::text);
    let page = page.filter(|page| page.starts_with("http") && page.contains("://") && !page.contains('@'));
    let entry = |(key, value): (&str, Option<&str>)| Some((key.to_owned(), json!(value?)));
    [("name", name), ("configuration_url", page)].into_iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Note, Origin, import};

    fn imported(text: &str) -> (Draft, Vec<Note>) {
        let (origin, imported) = import(text, &Options::default()).unwrap();
        assert_eq!(origin, Origin::Frigate);
        (imported.draft, imported.notes)
    }

    fn settings(draft: &Draft, at: usize) -> Value {
        Value::Object(draft.sources[at].settings.clone())
    }

    #[test]
    fn the_smallest_configuration() {
        let text = "\
mqtt:
  host: mqtt.server.com
cameras:
  back:
    ffmpeg:
      inputs:
        - path: rtsp://viewer:{FRIGATE_RTSP_PASSWORD}@10.0.10.10:554/cam/realmonitor?channel=1&subtype=2
          roles:
            - detect
";
        let (draft, notes) = imported(text);
        assert_eq!(
            draft.broker,
            Broker { url: "mqtt://mqtt.server.com:1883".to_owned(), ..Broker::default() }
        );
        let address =
            "rtsp://viewer:${env:FRIGATE_RTSP_PASSWORD}@10.0.10.10:554/cam/realmonitor?channel=1&subtype=2";
        assert_eq!(settings(&draft, 0), json!({ "rtsp": address, "watch": ["objects"] }));
        assert_eq!(draft.sets[0].labels[0].prompt, "a person");
        let [note] = &notes[..] else { panic!("{notes:#?}") };
        assert!(note.text.contains("FRIGATE_RTSP_PASSWORD") && note.line.is_none(), "{note:?}");
    }

    #[test]
    fn inputs_zones_masks_and_objects() {
        let text = "\
mqtt: { host: broker, port: 1884, user: me, password: hunter2, topic_prefix: frigate }
objects: { track: [person, dog], filters: { person: { threshold: 0.7 } } }
detect: { width: 1280, height: 720, fps: 5 }
record: { enabled: true }
go2rtc:
  streams:
    gate: [rtsp://h/main, rtsp://h/gate_sub]
cameras:
  front:
    friendly_name: Front Door
    ffmpeg:
      hwaccel_args: preset-vaapi
      inputs:
        - { path: rtsp://h/high, roles: [record] }
        - { path: rtsp://h/low, roles: [audio, detect] }
    motion: { mask: [\"0,0,640,0,640,72\"], threshold: 30 }
    zones:
      step: { coordinates: \"0.2,0.5,0.8,0.5,0.8,1,0.2,1\", objects: [person] }
      path: { coordinates: [\"0,0\", \"640,0\", \"640,360\"] }
      bad: { coordinates: \"1\" }
  gate:
    ffmpeg: { inputs: [{ path: rtsp://127.0.0.1:8554/gate, roles: [detect] }] }
    objects: { track: [car] }
    review: { alerts: { required_zones: [drive] } }
    zones: { drive: { coordinates: \"0,0,1,0,1,1,0,1\" }, lawn: { coordinates: \"0,0,1,0,1,1\" } }
  off: { enabled: false }
";
        let (draft, notes) = imported(text);
        assert_eq!(draft.broker.url, "mqtt://broker:1884");
        assert_eq!(
            (draft.broker.username.as_deref(), draft.broker.password.as_deref()),
            (Some("me"), Some("hunter2"))
        );
        let expected = json!({
            "rtsp": "rtsp://h/low",
            "mask": [[[0.0, 0.0], [0.5, 0.0], [0.5, 0.1]]],
            "regions": { "step": [0.2, 0.5, 0.6, 0.5], "path": [0.0, 0.0, 0.5, 0.5], "frame": [0, 0, 1, 1] },
            "watch": ["objects"],
            "home_assistant": { "name": "Front Door" },
        });
        assert_eq!(settings(&draft, 0), expected);
        let expected = json!({ "rtsp": "rtsp://h/gate_sub", "regions": { "drive": [0.0, 0.0, 1.0, 1.0] }, "watch": ["gate"] });
        assert_eq!(settings(&draft, 1), expected);
        assert_eq!(draft.sources.len(), 2);
        let sets: Vec<_> = draft
            .sets
            .iter()
            .map(|set| (&*set.name, set.labels.iter().map(|label| &*label.prompt).collect::<Vec<_>>()))
            .collect();
        assert_eq!(sets, [("objects", vec!["a person", "a dog"]), ("gate", vec!["a car"])]);
        let noted = |line: usize, text: &str| {
            notes.iter().any(|note| note.line == Some(line) && note.text.contains(text))
        };
        for (line, text) in [
            (1, "topics"),
            (2, "objects.filters"),
            (4, "records no video"),
            (12, "ffmpeg.hwaccel_args"),
            (16, "only ignores motion"),
            (18, "`objects` of the zone `step`"),
            (19, "the one around the polygon"),
            (20, "three or more pairs"),
            (22, "restream `gate`"),
            (24, "each alert is marked"),
            (25, "no alert requires it"),
            (26, "not enabled"),
        ] {
            assert!(noted(line, text), "{line} {text}: {notes:#?}");
        }
        assert!(!notes.iter().any(|note| note.text.contains("hunter2")), "{notes:#?}");
    }

    #[test]
    fn what_is_said_on_the_command_line_goes_first() {
        let options = Options {
            broker: Some("mqtt://other".to_owned()),
            watch_for: vec!["a fox".to_owned(), "a hen".to_owned()],
            model: Some("a/b".to_owned()),
        };
        let text =
            "cameras: { a: { ffmpeg: { inputs: [{ path: rtsp://h/a }] }, objects: { track: [cat] } } }\n";
        let (_, imported) = import(text, &options).unwrap();
        assert_eq!(
            (&*imported.draft.broker.url, imported.draft.model.as_deref()),
            ("mqtt://other", Some("a/b"))
        );
        let labels: Vec<_> = imported.draft.sets[0].labels.iter().map(|label| &*label.name).collect();
        assert_eq!((imported.draft.sets.len(), labels), (1, vec!["fox", "hen"]));
    }
}
