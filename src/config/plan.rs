//! The plan of a reload: which sources stop and start, and which changes wait for a restart.
//!
//! Pure: two configurations go in, a plan comes out. Which triggers keep their state is decided by
//! [`Judge`](crate::judge::Judge).

use super::{assemble::Config, sources::Source};
use crate::source::kinds::camera::Unchanged;

/// The changes from the running configuration to a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The configuration after the plan was applied: the new one, except for the keys of `after_restart`.
    pub in_force: Config,
    /// Whether it differs from the running one.
    pub changes: bool,
    /// The names of sources that stop: removed, disabled, or with other settings.
    pub stop: Vec<String>,
    /// Sources that start after those of `stop` have ended: added, enabled, or with other settings. A change of the label sets that
    /// a source watches does not restart it. A change of its regions restarts only cameras that compare frames in them.
    pub start: Vec<Source>,
    /// Changed keys that take effect after a restart.
    pub after_restart: Vec<&'static str>,
}

impl Plan {
    /// The plan that turns `running` into `new`.
    #[must_use]
    pub fn between(running: &Config, new: &Config) -> Self {
        let in_force = in_force(running, new);
        // Sources reject pictures that are too large.
        let restart_all = running.max_pixels != in_force.max_pixels;
        let continues = |before: &Source, after: &Source| {
            let same_regions =
                before.regions == after.regions || after.kind.settings().unchanged() == Unchanged::Score;
            before.enabled
                && after.enabled
                && before.name == after.name
                && before.kind == after.kind
                && before.mask == after.mask
                && same_regions
                && !restart_all
        };
        let stops = |old: &&Source| !in_force.sources.iter().any(|new| continues(old, new));
        let starts = |new: &&Source| !running.sources.iter().any(|old| continues(old, new));
        Self {
            stop: running.enabled_sources().filter(stops).map(|source| source.name.clone()).collect(),
            start: in_force.enabled_sources().filter(starts).cloned().collect(),
            changes: in_force != *running,
            after_restart: after_restart(running, new),
            in_force,
        }
    }
}

/// `new`, without the keys that cannot change while the service runs. Every field is named, so that a new one requires a decision.
fn in_force(running: &Config, new: &Config) -> Config {
    let (running, new) = (running.clone(), new.clone());
    Config {
        instance: new.instance,
        model: running.model,
        model_server: running.model_server,
        execution: running.execution,
        canary: running.canary,
        onnxruntime: running.onnxruntime,
        mqtt: running.mqtt,
        webhook: running.webhook,
        command: running.command,
        outbox: running.outbox,
        home_assistant: new.home_assistant,
        // Its settings can change, but only a start opens the file.
        history: running.history.map(|running| new.history.unwrap_or(running)),
        listen: running.listen,
        state_dir: running.state_dir,
        max_pixels: new.max_pixels,
        memory: new.memory,
        sandbox: running.sandbox,
        label_sets: new.label_sets,
        sources: new.sources,
        names: new.names,
        controls: new.controls,
    }
}

fn after_restart(running: &Config, new: &Config) -> Vec<&'static str> {
    let (before, after) = (running.execution, new.execution);
    let changed = [
        ("model", running.model != new.model || running.model_server != new.model_server),
        ("device", before.device != after.device),
        ("precision", before.precision != after.precision),
        ("canary", running.canary != new.canary),
        ("threads", before.threads != after.threads),
        ("max_batch", before.max_batch != after.max_batch),
        ("gpu_memory", before.gpu_memory != after.gpu_memory),
        ("onnxruntime", running.onnxruntime != new.onnxruntime),
        ("mqtt", running.mqtt != new.mqtt),
        ("webhook", running.webhook != new.webhook),
        ("command", running.command != new.command),
        ("outbox", running.outbox != new.outbox),
        ("history", running.history.is_some() != new.history.is_some()),
        ("listen", running.listen != new.listen),
        ("state_dir", running.state_dir != new.state_dir),
        ("sandbox", running.sandbox != new.sandbox),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{HistoryPictures, HistorySettings, HubModel, ModelRef, Precision, Region, SourceKind},
        picture::mask::Polygon,
        policy::{Control, Controls, SetBy, Setting, Target},
        samples,
    };

    /// `-` stops, `+` starts, `!` waits for a restart, `=` changes nothing.
    fn summary(plan: &Plan) -> String {
        let stop = plan.stop.iter().map(|name| format!("-{name}"));
        let start = plan.start.iter().map(|source| format!("+{}", source.name));
        let keys = plan.after_restart.iter().map(|key| format!("!{key}"));
        let unchanged = (!plan.changes).then(|| "=".to_owned());
        stop.chain(start).chain(keys).chain(unchanged).collect::<Vec<_>>().join(" ")
    }

    /// What a case changes, how, and the plan for it.
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Config), &'a str);

    #[test]
    fn each_kind_of_change() {
        let mask = || vec![Polygon::new(vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).expect("a triangle")];
        let snoozed = || -> Controls {
            let setting = Setting::Snooze { until: Timestamp::MAX, asked: "1h".to_owned() };
            let (target, at) = (Target::source("back"), Timestamp::UNIX_EPOCH);
            [Control { target, setting, by: SetBy::Mqtt, at }].into_iter().collect()
        };
        let region = || Region { name: "step".to_owned(), x: 0.0, y: 0.0, width: 0.5, height: 0.5 };
        let cases: &[Case<'_>] = &[
            ("nothing", &|_| {}, "="),
            ("another order of sources", &|c| c.sources.reverse(), ""),
            ("a source added", &|c| c.sources.push(samples::source("new", &[])), "+new"),
            ("a source removed", &|c| c.sources.truncate(1), "-back"),
            ("a source renamed", &|c| c.sources[1].name = "new".into(), "-back +new"),
            ("a folder", &|c| c.sources[1].kind = samples::source("other", &[]).kind, "-back +back"),
            ("the label sets of a source", &|c| c.sources[1].watch = vec!["yard".into()], ""),
            ("a source disabled", &|c| c.sources[1].enabled = false, "-back"),
            ("a snooze", &|c| c.controls = snoozed(), ""),
            ("a mask", &|c| c.sources[0].mask = mask(), "-Front Door +Front Door"),
            ("a region", &|c| c.sources[0].regions.push(region()), ""),
            ("a label", &|c| c.label_sets[0].labels.push(samples::label("cat", 0.5)), ""),
            ("a threshold", &|c| c.label_sets[0].labels[0].trigger.threshold = 0.9, ""),
            ("a setting of every source", &|c| c.max_pixels += 1, "-Front Door -back +Front Door +back"),
            ("the memory for decoding", &|c| c.memory += 1, ""),
            ("the model", &|c| c.model = ModelRef::Hub(HubModel::named("a/b")), "!model ="),
            ("the threads", &|c| c.execution.threads = Some(7), "!threads ="),
            ("the precision", &|c| c.execution.precision = Precision::Bf16, "!precision ="),
            ("the canary", &|c| c.canary = Some(Duration::from_secs(60)), "!canary ="),
            ("the broker", &|c| c.mqtt.prefix = "elsewhere".into(), "!mqtt ="),
            ("the state folder", &|c| c.state_dir = "elsewhere".into(), "!state_dir ="),
            ("the history", &|c| c.history = Some(HistorySettings::default()), "!history ="),
            ("the sandbox", &|c| c.sandbox = !c.sandbox, "!sandbox ="),
        ];
        for (name, edit, expected) in cases {
            let running = samples::config();
            let mut new = running.clone();
            edit(&mut new);
            assert_eq!(summary(&Plan::between(&running, &new)), *expected, "{name}");
        }
    }

    /// The file is open or not: all settings of an open one can change.
    #[test]
    fn only_on_and_off_of_the_history_need_a_restart() {
        let (usual, short) = (HistorySettings::default(), Duration::from_secs(3600));
        let brief = HistorySettings {
            keep: short,
            max_size: 10_000_000,
            pictures: HistoryPictures::Off,
            search: true,
            near_misses: false,
        };
        let (usual, brief) = (Some(usual), Some(brief));
        let cases = [
            ("the same", usual, usual, usual, "="),
            ("other settings", usual, brief, brief, ""),
            ("off", usual, None, usual, "!history ="),
            ("on", None, brief, None, "!history ="),
            ("still off", None, None, None, "="),
        ];
        for (name, before, after, in_force, expected) in cases {
            let running = Config { history: before, ..samples::config() };
            let plan = Plan::between(&running, &Config { history: after, ..running.clone() });
            assert_eq!((summary(&plan).as_str(), plan.in_force.history), (expected, in_force), "{name}");
        }
    }

    #[test]
    fn a_key_that_needs_a_restart_is_kept_and_reported_until_it_is_restored() {
        let running = samples::config();
        let mut new = running.clone();
        new.mqtt.port = 1;
        new.label_sets.pop();
        let plan = Plan::between(&running, &new);
        assert_eq!((plan.in_force.mqtt.port, plan.in_force.label_sets.len()), (1883, 1));
        let again = Plan::between(&plan.in_force, &new);
        assert_eq!((again.changes, again.after_restart), (false, vec!["mqtt"]));
        new.mqtt.port = 1883;
        assert_eq!(Plan::between(&plan.in_force, &new).after_restart, Vec::<&str>::new());
    }

    /// The running sources, as far as a plan changes them.
    type Running = BTreeMap<String, (SourceKind, u64)>;

    fn running(config: &Config) -> Running {
        let source = |source: &Source| (source.name.clone(), (source.kind.clone(), config.max_pixels));
        config.enabled_sources().map(source).collect()
    }

    fn any_config() -> impl Strategy<Value = Config> {
        let source = (any::<bool>(), "[xy]", prop::sample::subsequence(vec!["porch", "yard"], 0..=2));
        let sources = prop::collection::btree_map("[a-d]", source, 0..4);
        (sources, 1u64..3, 0u16..2, 0usize..=2).prop_map(|(sources, max_pixels, port, labels)| {
            let mut config = samples::config();
            config.sources = sources
                .into_iter()
                .map(|(name, (enabled, folder, watch))| Source {
                    enabled,
                    kind: samples::source(&folder, &[]).kind,
                    ..samples::source(&name, &watch)
                })
                .collect();
            config.max_pixels = max_pixels;
            config.mqtt.port = port;
            config.label_sets[0].labels.truncate(labels);
            config
        })
    }

    proptest! {
        #[test]
        fn an_applied_plan_gives_the_new_configuration(old in any_config(), new in any_config()) {
            let plan = Plan::between(&old, &new);
            let mut now = running(&old);
            for name in &plan.stop {
                prop_assert!(now.remove(name).is_some(), "{} stops and was not running", name);
            }
            for source in &plan.start {
                let before = now.insert(source.name.clone(), (source.kind.clone(), plan.in_force.max_pixels));
                prop_assert!(before.is_none(), "{} is running already", source.name);
            }
            prop_assert_eq!(now, running(&new));
            prop_assert_eq!(&plan.in_force.label_sets, &new.label_sets);
            prop_assert_eq!(&plan.in_force.sources, &new.sources);
            prop_assert_eq!(&plan.in_force.mqtt, &old.mqtt);
            let again = Plan::between(&plan.in_force, &new);
            prop_assert!(!again.changes && again.stop.is_empty() && again.start.is_empty());
            let untouched = |name: &String| old.enabled_sources().any(|source| source.name == *name)
                && !plan.stop.contains(name);
            for source in new.sources.iter().filter(|source| untouched(&source.name)) {
                prop_assert!(!plan.start.contains(source));
            }
        }
    }
}
