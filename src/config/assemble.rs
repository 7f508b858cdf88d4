//! Assembles a configuration from the YAML trees of its files: the keys of the main file, and the checks between sections.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    delivery::{self, Command, OutboxLimits, Webhook},
    device::{self, Device, Execution, Precision},
    home_assistant::{self, HomeAssistant},
    http_endpoint::{self, Listen},
    label_sets::{self, LabelSets},
    model::{self, ModelRef, ModelSettings},
    model_server::ModelServer,
    source_checks,
    sources::{self, Source, Sources},
};
use crate::{
    picture::{Limits, MAX_PIXELS_RANGE},
    policy::{
        Controls, HistorySettings, LabelSet,
        broker::{self, Mqtt},
        history,
    },
    topic::{self, Names},
    yaml::{
        fields::{Field, Form, ON_OFF, Spec, explain, specs, word_of, words},
        reader::{Reader, Section, Setting},
        tree::Node,
    },
};

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The name of the service in its alerts.
    pub instance: String,
    /// The model that scores the frames.
    pub model: ModelRef,
    /// What runs the model's graph for pictures; `None`: this machine.
    pub model_server: Option<ModelServer>,
    /// How the model is run.
    pub execution: Execution,
    /// How often the canary runs; `None`: never.
    pub canary: Option<Duration>,
    /// The ONNX Runtime shared library, if it is configured.
    pub onnxruntime: Option<PathBuf>,
    /// The broker.
    pub mqtt: Mqtt,
    /// A web server that receives alerts, too.
    pub webhook: Option<Webhook>,
    /// A program that receives alerts, too.
    pub command: Option<Command>,
    /// How much the outbox may hold.
    pub outbox: OutboxLimits,
    /// How the service is announced to Home Assistant; `None`: it is not announced.
    pub home_assistant: Option<HomeAssistant>,
    /// What the service remembers; `None`: nothing.
    pub history: Option<HistorySettings>,
    /// The HTTP endpoint for metrics and health; `None`: there is none.
    pub listen: Option<Listen>,
    /// The folder of the outbox and other state.
    pub state_dir: PathBuf,
    /// Pictures with more pixels are rejected.
    pub max_pixels: u64,
    /// The most memory for decoding, of all sources together.
    pub memory: u64,
    /// Whether pictures are decoded in processes without rights.
    pub sandbox: bool,
    /// Label sets in the order of the files (the main file, then `rules.d` by file name).
    pub label_sets: Vec<LabelSet>,
    /// Sources in the order of the files (the main file, then `sources.d` by file name).
    pub sources: Vec<Source>,
    /// The topic levels of the names of sources, label sets and labels.
    pub names: Arc<Names>,
    /// What was set while the service runs, and is in the settings above already.
    pub controls: Controls,
}

impl Config {
    /// The limits of one picture.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { max_pixels: self.max_pixels, memory: self.memory }
    }

    /// Every label set on every source that watches it.
    pub fn watches(&self) -> impl Iterator<Item = (&Source, &LabelSet)> {
        self.sources.iter().flat_map(|source| self.watched_by(source).map(move |set| (source, set)))
    }

    /// The sources that are read.
    pub fn enabled_sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.enabled)
    }

    /// The label sets that `source`, one of its sources, watches.
    pub fn watched_by<'c>(&'c self, source: &'c Source) -> impl Iterator<Item = &'c LabelSet> {
        source.watch.iter().filter_map(|name| self.label_sets.iter().find(|set| set.name == *name))
    }

    /// The topic levels of its names and of the names of `more` sources. Names keep the levels that they have in `before`.
    #[must_use]
    pub fn names_with<'n>(&'n self, more: impl IntoIterator<Item = &'n str>, before: &Names) -> Names {
        let sources = self.sources.iter().map(|source| &*source.name).chain(more);
        let sets = self.label_sets.iter();
        Names::of(sources, sets.map(|set| (&*set.name, set.alerting().map(|label| &*label.name))), before)
    }

    /// The settings for `check --explain`, without sources and label sets.
    #[must_use]
    pub fn explain(&self) -> Map<String, Value> {
        explain(FIELDS, self)
    }
}

/// The keys of the main file.
pub(super) const FIELDS: &[Field<Config>] = &[
    Field::new(
        "model",
        Form::Either(&[model::FORM, Form::Mapping(&model::TABLE)]),
        "The model: `bundled` is the one inside the program; a folder in the layout of the hub (/models/clip, ./clip); or a hub id \
         (openai/clip-vit-base-patch16), which is downloaded once if it is not in the hub's cache.",
        |it: &Config| Some(model::shown(&it.model, it.model_server.as_ref())),
    )
    .default("bundled"),
    Field::new(
        "device",
        Device::FORM,
        "cpu; cuda, cuda:1, tensorrt or tensorrt-rtx (NVIDIA); migraphx or rocm (AMD); openvino, openvino:cpu, openvino:gpu, \
         openvino:gpu.1 or openvino:npu (Intel); webgpu; qnn (Qualcomm); coreml; directml; or a plugin by its file. A device that does \
         not work is an error. auto: `stakeout run` measures what is installed and takes the fastest that computes right (never \
         tensorrt), otherwise the processor.",
        |it: &Config| Some(it.execution.device.shown()),
    )
    .default("auto"),
    Field::new(
        "precision",
        Precision::FORM,
        "The precision in which openvino computes graphs of full precision. auto: bf16 or fp16 where the device has it in hardware.",
        |it: &Config| Some(json!(it.execution.precision.word())),
    )
    .default("auto"),
    Field::new(
        "canary",
        device::canary::FORM,
        "How often fixed pictures pass through the model, to check that the device computes right; it also happens at the start. After \
         a failure the model continues on the processor. Files that run unchanged on the processor need no check. off: never.",
        |it: &Config| Some(json!(device::canary::shown(it.canary))),
    )
    .default("1h"),
    Field::new("threads", Execution::COUNT, "Threads of one run on the processor.", |it: &Config| {
        Some(it.execution.threads.map_or(json!("one for each processor"), |threads| json!(threads)))
    })
    .default_is("one for each processor")
    .example("4"),
    Field::new("max_batch", Execution::COUNT, "The most pictures in one run of the model.", |it: &Config| {
        Some(json!(it.execution.max_batch))
    })
    .default("8"),
    Field::new("gpu_memory", Execution::GPU_MEMORY, "The most memory of an NVIDIA or AMD GPU.", |it: &Config| {
        Some(json!(it.execution.gpu_memory))
    })
    .example("2GB"),
    Field::new("onnxruntime", Form::Path, "The ONNX Runtime shared library.", |it: &Config| {
        let path = it.onnxruntime.as_ref();
        Some(path.map_or(json!("searched for in the usual places"), |path| json!(path.display().to_string())))
    })
    .default_is("searched for in the usual places")
    .example("/usr/lib/libonnxruntime.so"),
    Field::new("state_dir", Form::Path, "The folder of the outbox and other state.", |it: &Config| {
        Some(json!(it.state_dir.display().to_string()))
    })
    .default_is("$STATE_DIRECTORY if it is set (systemd does), /var/lib/stakeout for root, ~/.local/state/stakeout for other users")
    .example("/var/lib/stakeout"),
    Field::new("max_pixels", Form::Whole(MAX_PIXELS_RANGE.0, MAX_PIXELS_RANGE.1), "Pictures with more pixels, and videos with such frames, are rejected before they are decoded.", |it: &Config| {
        Some(json!(it.max_pixels))
    })
    .default("100_000_000"),
    Field::new(
        "memory",
        Form::Size(64_000_000, 1 << 40),
        "The most memory for decoding, of all sources together: pictures wait for each other, and one that needs more than all of it \
         is rejected before it is decoded. A pixel takes 3 bytes. While it is decoded, it takes more: up to 16 bytes in JPEG, 20 in \
         AVIF, and 46 in JPEG 2000. The model has memory of its own.",
        |it: &Config| Some(json!(it.memory)),
    )
    .default("512MB"),
    Field::new(
        "sandbox",
        Form::Words(&words(&ON_OFF)),
        "on: pictures of folders, web addresses and MQTT topics are decoded in processes without files, network and secrets. off: in \
         the service itself.",
        |it: &Config| Some(json!(word_of(&ON_OFF, &it.sandbox))),
    )
    .default("on"),
    Field::new(
        "instance",
        Form::Text,
        "The name of this service in its alerts, for people who run several.",
        |it: &Config| Some(json!(it.instance)),
    )
    .default_is("mqtt.client_id")
    .example("gate-pi"),
    Field::new("mqtt", Form::Mapping(&broker::TABLE), "The broker that alerts are published to.", |it: &Config| {
        Some(explain(broker::FIELDS, &it.mqtt).into())
    }),
    Field::new(
        "home_assistant",
        Form::Either(&[Form::Switch, Form::Mapping(&home_assistant::TABLE)]),
        "true: sources and labels appear in Home Assistant automatically (MQTT discovery).",
        |it: &Config| {
            let explained = it.home_assistant.as_ref().map(|it| explain(home_assistant::FIELDS, it));
            Some(explained.map_or(json!(false), Value::from))
        },
    )
    .default("false"),
    Field::new("outbox", Form::Mapping(&delivery::OUTBOX), "The limits of the outbox: alerts are kept on disk, in state_dir, until all receivers have them.", |it: &Config| {
        Some(explain(delivery::OUTBOX_FIELDS, &it.outbox).into())
    }),
    Field::new(
        "history",
        history::FORM,
        "What the service remembers in state_dir: alerts, near misses, the scores of all frames, small pictures. off: nothing.",
        |it: &Config| Some(history::shown(it.history.as_ref())),
    )
    .default("on"),
    Field::new("webhook", Form::Mapping(&delivery::WEBHOOK), "A web server that alerts are posted to as well, as the same JSON.", |it: &Config| {
        Some(json!(it.webhook.as_ref().map(|it| explain(delivery::WEBHOOK_FIELDS, it))))
    }),
    Field::new("command", Form::Mapping(&delivery::COMMAND), "A program that is started for each alert as well.", |it: &Config| {
        Some(json!(it.command.as_ref().map(|it| explain(delivery::COMMAND_FIELDS, it))))
    }),
    Field::new(
        "listen",
        Form::Either(&[http_endpoint::ADDRESS, Form::Mapping(&http_endpoint::TABLE)]),
        "The HTTP endpoint, which is off by default: /console/ for people; /metrics for Prometheus; /healthz, whether every part of \
         the service makes progress; /readyz, whether it watches; /api/v1/ for programs.",
        |it: &Config| Some(json!(it.listen.as_ref().map(|it| explain(http_endpoint::FIELDS, it)))),
    )
    .example("127.0.0.1:9464"),
    Field::new("label_sets", label_sets::FORM, "What to watch for: labels that are scored together. Files in `rules.d` can contain more.", |_: &Config| None),
    Field::new(
        "defaults",
        sources::DEFAULTS,
        "Settings that sources have unless they have their own: of all sources whose kind has the key (`every: 2s`), or of one kind \
         (`rtsp: { transport: tcp }`), which takes precedence.",
        |_: &Config| None,
    )
    .example("{ watch: [porch], rtsp: { transport: tcp } }"),
    Field::new("sources", sources::FORM, "Where frames come from. Files in `sources.d` can contain more.", |_: &Config| None),
];

/// A file and its tree.
pub(super) struct File {
    /// Its number in the list of files.
    pub number: usize,
    pub root: Node,
}

/// The files beside the main file; `None` for one that cannot be read.
pub(super) struct Included {
    /// Those of `rules.d`.
    pub rules: Vec<Option<File>>,
    /// Those of `sources.d`.
    pub sources: Vec<Option<File>>,
}

/// Reads everything before a mistake ends it. Without a main file only the other files are read, for their mistakes.
pub(super) fn assemble(reader: &mut Reader<'_>, main: Option<&File>, included: &Included) -> Option<Config> {
    let section = main.and_then(|file| top(reader, file, specs(FIELDS), |_| None));
    let sets = all_label_sets(reader, section.as_ref(), &included.rules);
    let sources = all_sources(reader, section.as_ref(), &included.sources, &sets);
    let (section, main) = (section?, main?);
    if sets.known.sets.is_empty() {
        missing(reader, &section, main, "label_sets", label_sets::EXAMPLE);
    }
    if included.sources.is_empty() {
        missing(reader, &section, main, "sources", sources::EXAMPLE);
    }
    sources.iter().for_each(|source| check_topic(reader, source));
    if reader.problems.is_empty() {
        source_checks::check_regions(reader, &sources, &sets.sets);
        source_checks::check_baselines(reader, &sources, &sets.sets);
        source_checks::check_rules(reader, &sources, &sets.sets);
    }
    missing(reader, &section, main, "mqtt", broker::EXAMPLE);
    let mqtt = section.get("mqtt").and_then(|at| broker::read(reader, &at));
    for source in &sources {
        if let Some((key, message, remedy)) = source.kind.settings().conflict(mqtt.as_ref()) {
            reader.problem_at(&format!("sources.{}.{key}", source.name), message, remedy);
        }
    }
    let name = mqtt.as_ref().map_or("", |mqtt| &mqtt.prefix);
    let home_assistant =
        section.read(reader, "home_assistant", |reader, at| home_assistant::read(reader, at, name));
    let instance = section.optional(reader, "instance", Reader::text);
    let webhook = section.optional(reader, "webhook", delivery::webhook);
    let command = section.optional(reader, "command", delivery::command);
    let outbox = section.optional(reader, "outbox", delivery::outbox);
    let history = section.read(reader, "history", history::read);
    let listen = section.optional(reader, "listen", http_endpoint::read);
    let model = section.read(reader, "model", model::read);
    let execution = device::read(reader, &section);
    if model.as_ref().is_some_and(|model| model.server.is_some()) {
        device::of_no_use(reader, &section);
    }
    let canary = section.read(reader, "canary", device::canary::read);
    let max_pixels = section.read(reader, "max_pixels", Reader::whole);
    let memory = section.read(reader, "memory", Reader::size);
    let sandbox = section.read(reader, "sandbox", |reader, at| reader.word(at, &ON_OFF));
    let onnxruntime = section.optional(reader, "onnxruntime", Reader::path);
    let state_dir = section.optional(reader, "state_dir", Reader::path);
    let state_dir = state_dir.map(|typed| typed.or_else(|| default_state_dir(reader)));
    if let Some(Some(state_dir)) = &state_dir {
        source_checks::check_state_dir(reader, &sources, state_dir);
    }
    // Everything is read: now a mistake may end it.
    let ModelSettings { model, server: model_server } = model?;
    let mqtt = mqtt?;
    let config = Config {
        instance: instance?.unwrap_or_else(|| mqtt.client_id.clone()),
        model,
        model_server,
        execution: execution?,
        canary: canary?,
        onnxruntime: onnxruntime?,
        mqtt,
        webhook: webhook?,
        command: command?,
        outbox: outbox?.unwrap_or_default(),
        home_assistant: home_assistant?,
        history: history?,
        listen: listen?,
        state_dir: state_dir??,
        max_pixels: max_pixels?,
        memory: memory?,
        sandbox: sandbox?,
        label_sets: sets.sets,
        sources,
        names: Arc::default(),
        controls: Controls::default(),
    };
    let names = config.names_with([], &Names::default());
    Some(Config { names: names.into(), ..config })
}

/// The HTTP endpoint alone, whatever else is wrong in the main file. `None` if `listen` is invalid or cannot be found.
pub(super) fn listen(reader: &mut Reader<'_>, main: &File) -> Option<Option<Listen>> {
    let section = top(reader, main, specs(FIELDS), |_| None)?;
    if section.lacks("listen") && reader.lost_keys(&Setting::root(&main.root)) {
        return None;
    }
    section.optional(reader, "listen", http_endpoint::read)
}

/// The state folder alone, whatever else is wrong in the main file. `None` if `state_dir` is invalid or cannot be found.
pub(super) fn state_dir(reader: &mut Reader<'_>, main: &File) -> Option<PathBuf> {
    let section = top(reader, main, specs(FIELDS), |_| None)?;
    if section.lacks("state_dir") && reader.lost_keys(&Setting::root(&main.root)) {
        return None;
    }
    let typed = section.optional(reader, "state_dir", Reader::path)?;
    typed.or_else(|| default_state_dir(reader))
}

/// The label sets of all files.
fn all_label_sets(reader: &mut Reader<'_>, main: Option<&Section<'_>>, rules: &[Option<File>]) -> LabelSets {
    let mut sets = LabelSets::default();
    if let Some(at) = main.and_then(|section| section.get("label_sets")) {
        sets.read(reader, &at);
    }
    for file in rules.iter().flatten() {
        if let Some(at) = only(reader, file, "rules.d", "label_sets") {
            sets.read(reader, &at);
        }
    }
    sets.complete(reader);
    sets
}

/// The sources of all files.
fn all_sources(
    reader: &mut Reader<'_>,
    main: Option<&Section<'_>>,
    files: &[Option<File>],
    sets: &LabelSets,
) -> Vec<Source> {
    let mut sources = Sources::default();
    if let Some(at) = main.and_then(|section| section.get("defaults")) {
        sources.read_defaults(reader, &at);
    }
    if let Some(at) = main.and_then(|section| section.get("sources")) {
        sources.read(reader, &at, sets);
    }
    for file in files.iter().flatten() {
        if let Some(at) = only(reader, file, "sources.d", "sources") {
            sources.read(reader, &at, sets);
        }
    }
    sources.complete(reader)
}

/// The section of a file in a folder beside the main file. The file has no other one, so that it cannot change anything else on a
/// machine.
fn only<'n>(reader: &mut Reader<'_>, file: &'n File, folder: &str, key: &'static str) -> Option<Setting<'n>> {
    let (allowed, others): (Vec<_>, Vec<_>) = specs(FIELDS).into_iter().partition(|spec| spec.key == key);
    let section = top(reader, file, allowed, |typed| {
        let is_known = others.iter().any(|spec| spec.key == typed);
        is_known.then(|| {
            let remedy = format!("move it to the main file: files in `{folder}` contain only `{key}`");
            (format!("`{typed}` is not allowed in `{folder}`"), remedy)
        })
    });
    section.and_then(|section| section.get(key))
}

/// The top level of a file.
fn top<'n>(
    reader: &mut Reader<'_>,
    file: &'n File,
    known: Vec<&'static Spec>,
    refuse: impl Fn(&str) -> Option<(String, String)>,
) -> Option<Section<'n>> {
    let root = Setting::root(&file.root);
    if !root.is_mapping() {
        let message =
            format!("a configuration is a mapping, lines of `key: value`, and this is {}", root.shown());
        reader.problem(root.span(), message, "write a space after each colon, and no `-` before the keys");
        return None;
    }
    reader.section_with(&root, "", known, refuse)
}

/// Reports a section that must be in the main file.
fn missing(reader: &mut Reader<'_>, section: &Section<'_>, file: &File, key: &str, example: &str) {
    if section.lacks(key) && !reader.lost_keys(&Setting::root(&file.root)) {
        let doc = specs(FIELDS).iter().find(|spec| spec.key == key).map_or("", |spec| spec.doc);
        let (message, remedy) = (format!("there is no `{key}`"), format!("{doc} Add it:\n{example}"));
        reader.problems.push(reader.places.files.problem_of_file(file.number, message, remedy));
    }
}

/// Reports a source whose status would be published to a topic of the service itself.
fn check_topic(reader: &mut Reader<'_>, source: &Source) {
    if let Some((own, what)) = topic::own_topic(&source.name) {
        let message = format!("a source cannot be called `{}`", source.name);
        let remedy = format!("choose another name: `{own}/status` {what}");
        reader.problem_at(&format!("sources.{}", source.name), message, remedy);
    }
}

/// The folder that systemd made for the service, or the usual place: the system's, or the user's own.
fn default_state_dir(reader: &Reader<'_>) -> Option<PathBuf> {
    let env = |name| (reader.surroundings.env)(name).filter(|value| !value.is_empty());
    // systemd separates several with colons; the unit names one.
    if let Some(given) = env("STATE_DIRECTORY") {
        return Some(given.to_str()?.split(':').next()?.into());
    }
    let own = env("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env("HOME")?).join(".local/state")));
    let own = own.filter(|_| !reader.surroundings.superuser).map(|folder| folder.join("stakeout"));
    Some(own.unwrap_or_else(|| "/var/lib/stakeout".into()))
}
