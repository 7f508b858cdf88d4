//! Makes a configuration of the trees of its files: the top level, and what is in it besides the sections that
//! have a module of their own.

use std::path::{Path, PathBuf};

use super::{
    Config, ModelRef, Mqtt, MqttVersion, OutboxLimits, Source, SourceKind, broker, delivery, device,
    home_assistant, listen,
    load::File,
    model,
    read_label_sets::{self, LabelSets},
    read_sources, watched,
};
use crate::{
    topic,
    yaml::{
        reader::{Reader, Section, Setting},
        tree, value,
    },
};

pub(super) const KEYS: &[&str] = &[
    "model",
    "device",
    "threads",
    "max_batch",
    "gpu_memory",
    "onnxruntime",
    "state_dir",
    "max_pixels",
    "mqtt",
    "webhook",
    "command",
    "outbox",
    "home_assistant",
    "listen",
    "label_sets",
    "sources",
];

/// Looks at everything before it gives up. Without a main file only the rules are looked at, for their mistakes.
pub(super) fn build(reader: &mut Reader<'_>, main: Option<&File>, rules: &[Option<File>]) -> Option<Config> {
    let section = main.and_then(|file| top(reader, file, KEYS, &[]));
    let mut sets = LabelSets::default();
    let own_sets = section.as_ref().and_then(|section| section.get("label_sets"));
    if let Some(at) = &own_sets {
        sets.read(reader, at);
    }
    for file in rules.iter().flatten() {
        read_rules(reader, &mut sets, file);
    }

    sets.complete(reader);

    let (section, main) = (section?, main?);
    if section.lacks("label_sets") && sets.names.is_empty() {
        missing(
            reader,
            main,
            "label_sets",
            &format!("describe what to watch for:\n{}", read_label_sets::EXAMPLE),
        );
    }
    let sources = section.get("sources").map(|at| read_sources::read(reader, &at, &sets));
    sources.iter().flatten().for_each(|source| check_topic(reader, source));
    if section.lacks("sources") {
        missing(reader, main, "sources", &format!("say where frames come from:\n{}", read_sources::EXAMPLE));
    }
    if reader.problems.is_empty() {
        watched::check_regions(reader, sources.as_deref().unwrap_or_default(), &sets.sets);
        watched::check_baselines(reader, sources.as_deref().unwrap_or_default(), &sets.sets);
        watched::check_rules(reader, sources.as_deref().unwrap_or_default(), &sets.sets);
    }
    let mqtt = section.get("mqtt").map(|at| broker::read(reader, &at));
    if section.lacks("mqtt") {
        missing(reader, main, "mqtt", &format!("name the broker that alerts go to:\n{}", broker::EXAMPLE));
    }
    sources
        .iter()
        .flatten()
        .for_each(|source| check_share(reader, source, mqtt.as_ref().and_then(Option::as_ref)));
    let name = mqtt.as_ref().and_then(Option::as_ref).map_or("", |mqtt| &mqtt.prefix);
    let home_assistant =
        section.get("home_assistant").map_or(Some(None), |at| home_assistant::read(reader, &at, name));
    let webhook = section.get("webhook").map(|at| delivery::webhook(reader, &at));
    let command = section.get("command").map(|at| delivery::command(reader, &at));
    let outbox =
        section.get("outbox").map_or(Some(OutboxLimits::default()), |at| delivery::outbox(reader, &at));
    let listen = section.get("listen").map(|at| listen::read(reader, &at));
    let model = section.get("model").map_or(Some(ModelRef::Bundled), |at| model::read(reader, &at));
    let execution = device::read(reader, &section);
    let max_pixels =
        section.get("max_pixels").map_or(Some(100_000_000), |at| number(reader, &at, 1, 10_000_000_000));
    let onnxruntime = section.get("onnxruntime").and_then(|at| reader.path(&at));
    let state_dir = state_dir(reader, &section);
    // Only now, when everything was looked at, may something that is wrong end it.
    Some(Config {
        model: model?,
        execution: execution?,
        onnxruntime,
        mqtt: mqtt??,
        webhook: webhook.map_or(Some(None), |webhook| webhook.map(Some))?,
        command: command.map_or(Some(None), |command| command.map(Some))?,
        outbox: outbox?,
        home_assistant: home_assistant?,
        listen: listen.map_or(Some(None), |listen| listen.map(Some))?,
        state_dir: state_dir?,
        max_pixels: max_pixels?,
        label_sets: sets.sets,
        sources: sources?,
    })
}

/// What a source is doing is told where the service tells that of its own parts.
fn check_topic(reader: &mut Reader<'_>, source: &Source) {
    if let Some((own, told)) = topic::own_topic(&source.name) {
        let message = format!("a source cannot be called `{}`", source.name);
        let remedy = format!("`{own}/status` {told}: take another name");
        let problem = reader.places.problem(&format!("sources.{}", source.name), message, remedy);
        reader.problems.push(problem);
    }
}

/// Several machines can split the pictures of a topic between them only where the broker knows how.
fn check_share(reader: &mut Reader<'_>, source: &Source, usual: Option<&Mqtt>) {
    let SourceKind::Mqtt(settings) = &source.kind else { return };
    let broker = settings.broker.as_ref().or(usual);
    if settings.share.is_some() && broker.is_some_and(|broker| broker.connection.version == MqttVersion::V311)
    {
        let remedy = "remove it, or write `version: 5` for its broker if that speaks it";
        let place = format!("sources.{}.share", source.name);
        let problem = reader.places.problem(&place, "there is no `share` in MQTT 3.1.1", remedy);
        reader.problems.push(problem);
    }
}

fn missing(reader: &mut Reader<'_>, file: &File, key: &str, remedy: &str) {
    let message = format!("there is no `{key}`");
    reader.problems.push(reader.places.files.problem_of_file(file.number, message, remedy.to_owned()));
}

/// The top level of a file.
fn top<'n>(reader: &mut Reader<'_>, file: &'n File, known: &[&str], refused: &[&str]) -> Option<Section<'n>> {
    let root =
        Setting { path: String::new(), name: "", key: file.root.span, node: &file.root, in_list: false };
    if !matches!(file.root.value, tree::Value::Mapping(_)) {
        let message =
            format!("a configuration is a mapping, lines of `key: value`, and this is {}", root.shown());
        reader.problem(root.span(), message, "put a space behind each colon, and no `-` before the keys");
        return None;
    }
    reader.section_with(&root, known, refused, "")
}

/// A file of `rules.d` holds label sets and nothing else: what it can do to a machine must be plain.
fn read_rules(reader: &mut Reader<'_>, sets: &mut LabelSets, file: &File) {
    let Some(section) = top(reader, file, &["label_sets"], KEYS) else { return };
    for key in KEYS.iter().filter(|key| **key != "label_sets") {
        if let Some(at) = section.get(key) {
            let message = format!("`{key}` does not belong in `rules.d`");
            reader.problem(at.key, message, "files there hold only `label_sets`: put it into the main file");
        }
    }
    if let Some(at) = section.get("label_sets") {
        sets.read(reader, &at);
    }
}

pub(super) fn number(reader: &mut Reader<'_>, at: &Setting<'_>, least: u64, most: u64) -> Option<u64> {
    reader.parsed(at, &format!("a whole number from {least} to {most}"), |text| {
        value::whole(text).filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            let million = text.strip_suffix(['M', 'm']).and_then(value::whole);
            million.map_or_else(
                || "write a number in this range, or leave it out".to_owned(),
                |number| format!("did you mean `{number}_000_000`?"),
            )
        })
    })
}

/// Typed, or what systemd made for the service, or the usual place: the system's, or the user's own.
fn state_dir(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<PathBuf> {
    if let Some(at) = section.get("state_dir") {
        return reader.path(&at);
    }
    let env = |name| (reader.surroundings.env)(name).filter(|given| !given.is_empty());
    // systemd separates several with colons; the unit names one.
    if let Some(given) = env("STATE_DIRECTORY") {
        return Some(given.to_str()?.split(':').next()?.into());
    }
    let own = env("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env("HOME")?).join(".local/state")));
    let own = own.filter(|_| !reader.surroundings.superuser).map(|folder| folder.join("stakeout"));
    Some(own.unwrap_or_else(|| "/var/lib/stakeout".into()))
}
