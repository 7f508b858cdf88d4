//! What was set while the service runs (`stakeout set`, `snooze`, `enable` and `disable`, the same in the console, and topics that end
//! in `/set`): kept in the state folder, so that it survives a restart, and without a change of any file of the configuration.
//!
//! [`ControlStore::expand`] applies the controls to the configuration of the files. What a control is, and when the files win, is decided
//! in `policy` and in [`config::controlled`](crate::config::controlled).

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::watch;

use crate::{
    config::{
        Config,
        controlled::{Change, Controlled, Dropped, Refused, Wish},
    },
    policy::{Control, Controls, SetBy, Target},
    state_file::StateFile,
};

/// The file in the state folder.
const FILE: &str = "controls.json";

/// All controls of a service. Clones share them.
#[derive(Debug, Clone)]
pub struct ControlStore {
    kept: Arc<Mutex<Kept>>,
    /// Locked during a change and while it is written, so that the file has the newest one. `kept` is not locked while it is written:
    /// a slow disk does not hold up those who read.
    file: Arc<Mutex<StateFile>>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Kept {
    controls: Controls,
    /// The configuration of the files, with temporary labels and without controls.
    files: Arc<Config>,
    /// The snoozes that [`ControlStore::expand`] left out, because the clock was wrong.
    waiting: usize,
}

/// What a request has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The control that is set now; `None`: the setting has the value of the files.
    pub control: Option<Control>,
    /// Whether this is different from what was set before.
    pub is_new: bool,
}

impl ControlStore {
    /// Reads the file in `state_dir`. `files` is the configuration without controls.
    #[must_use]
    pub fn load(state_dir: &Path, files: &Config) -> Self {
        let (file, controls) = StateFile::load(
            state_dir,
            FILE,
            "what was set over MQTT, in the console or by a command has the value of the configuration again",
        );
        Self {
            kept: Arc::new(Mutex::new(Kept { controls, files: Arc::new(files.clone()), waiting: 0 })),
            file: Arc::new(Mutex::new(file)),
            changes: watch::Sender::new(()),
        }
    }

    /// `files` with all controls, as they count at `now`. What is dropped is only dropped by [`Self::in_force`].
    #[must_use]
    pub fn expand(&self, files: &Config, now: Timestamp) -> Controlled {
        let mut kept = self.lock();
        kept.waiting = kept.controls.waiting(now);
        files.controlled(&kept.controls, now)
    }

    /// `files` are in force, and what they changed is dropped. Blocks for the disk if that is something.
    pub fn in_force(&self, files: &Config, dropped: &[(Control, Dropped)]) {
        self.lock().files = Arc::new(files.clone());
        if dropped.is_empty() {
            return;
        }
        let controls: Vec<_> = dropped.iter().map(|(control, _)| control.clone()).collect();
        self.change(|kept| kept.remove_all(&controls));
        for (control, why) in dropped {
            let (name, setting) = (control.target.to_string(), control.setting.kind().word());
            let was = control.sentence(&TimeZone::system());
            match why {
                Dropped::FileChanged => {
                    tracing::info!(
                        name,
                        setting,
                        was,
                        "the configuration was changed, and wins over what was set"
                    );
                }
                Dropped::Gone => {
                    tracing::info!(
                        name,
                        setting,
                        was,
                        "what was set is forgotten: its source or label was removed"
                    );
                }
            }
        }
    }

    /// Carries out a request. Blocks for the disk.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn wish(&self, target: &Target, wish: Wish, by: SetBy, now: Timestamp) -> Result<Done, Refused> {
        let mut file = lock(&self.file);
        let mut kept = self.lock();
        let zone = TimeZone::system();
        let change = kept.files.wish(&kept.controls, (target, wish), (by, now, &zone))?;
        let done = match change {
            Change::Set(control) => {
                let before = kept.controls.find(target, wish.kind()).map(|before| before.setting.clone());
                kept.controls.set(control.clone());
                Done { is_new: before.as_ref() != Some(&control.setting), control: Some(control) }
            }
            Change::Remove(target, kind) => {
                Done { is_new: kept.controls.remove(&target, kind).is_some(), control: None }
            }
        };
        let controls = kept.controls.clone();
        drop(kept);
        if done.is_new {
            file.save(&controls);
            drop(file);
            self.changes.send_replace(());
            report(target, wish, by, &done, &zone);
        }
        Ok(done)
    }

    /// Ends the snoozes whose time is over `now`, and returns them. Blocks for the disk if there are some. If the clock was wrong and
    /// is right now, snoozes that did not count count again.
    #[must_use]
    pub fn tick(&self, now: Timestamp) -> Vec<Control> {
        let kept = self.lock();
        let is_over = kept.controls.next_end().is_some_and(|end| end <= now);
        let is_changed = kept.controls.waiting(now) != kept.waiting;
        drop(kept);
        if is_over {
            return self.change(|controls| controls.expire(now));
        }
        if is_changed {
            self.changes.send_replace(());
        }
        Vec::new()
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Controls {
        self.lock().controls.clone()
    }

    /// The configuration of the files, with temporary labels and without controls.
    #[must_use]
    pub fn files(&self) -> Arc<Config> {
        Arc::clone(&self.lock().files)
    }

    /// Marked as changed when the configuration must be expanded again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Controls) -> T) -> T {
        let mut file = lock(&self.file);
        let mut kept = self.lock();
        let changed = change(&mut kept.controls);
        let controls = kept.controls.clone();
        drop(kept);
        file.save(&controls);
        drop(file);
        self.changes.send_replace(());
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

fn report(target: &Target, wish: Wish, by: SetBy, done: &Done, zone: &TimeZone) {
    let (name, setting) = (target.to_string(), wish.kind().word());
    match &done.control {
        Some(control) => {
            tracing::info!(name, setting, value = control.setting.value(zone), "set {}", by.words());
        }
        None => tracing::info!(name, setting, "back to the configuration, {}", by.words()),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The controls of a service with this state folder, for commands that run beside it; none if they cannot be read.
#[must_use]
pub fn saved(state_dir: &Path) -> Controls {
    let content = fs::read(state_dir.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        faults::sweep,
        policy::{SettingKind, Snooze, TriggerSettings},
        samples,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn person() -> Target {
        Target::label("back", "porch", "Person")
    }

    fn hour() -> Wish {
        Wish::Snooze(Snooze::For(Duration::from_secs(3600)))
    }

    fn threshold(controls: &Controls) -> Option<String> {
        controls.find(&person(), SettingKind::Threshold).map(|control| control.setting.value(&TimeZone::UTC))
    }

    #[test]
    fn what_is_set_survives_a_restart_until_the_files_change() {
        let (folder, mut files) = (tempfile::tempdir().unwrap(), samples::config());
        let store = ControlStore::load(folder.path(), &files);
        let mut changes = store.changes();
        let done = store.wish(&person(), Wish::Threshold(0.8), SetBy::Mqtt, at(0)).unwrap();
        assert!(done.is_new && changes.has_changed().unwrap());
        changes.mark_unchanged();
        let again = store.wish(&person(), Wish::Threshold(0.8), SetBy::Api, at(1)).unwrap();
        assert!(!again.is_new && !changes.has_changed().unwrap(), "the same value");

        let store = ControlStore::load(folder.path(), &files);
        let Controlled { config, dropped } = store.expand(&files, at(2));
        assert_eq!((config.controls, dropped), (store.list(), vec![]));
        assert_eq!(threshold(&saved(folder.path())).as_deref(), Some("0.8"));

        files.label_sets[0].labels[0].trigger = TriggerSettings::at(0.65);
        let Controlled { config, dropped } = store.expand(&files, at(3));
        assert_eq!((config.controls.len(), dropped.len(), store.list().len()), (0, 1, 1), "not in force yet");
        store.in_force(&files, &dropped);
        assert!(store.list().is_empty() && saved(folder.path()).is_empty());
        let back = store.wish(&person(), Wish::Threshold(0.65), SetBy::Api, at(4)).unwrap();
        assert_eq!(back, Done { control: None, is_new: false });
    }

    #[test]
    fn a_snooze_ends_at_its_time_and_waits_for_a_clock_that_is_wrong() {
        let (folder, files) = (tempfile::tempdir().unwrap(), samples::config());
        let store = ControlStore::load(folder.path(), &files);
        store.wish(&person(), hour(), SetBy::Command, at(0)).unwrap();
        let mut changes = store.changes();
        let snoozed = |store: &ControlStore, now| {
            let config = store.expand(&files, now).config;
            config.sources[1].label("porch", &config.label_sets[0].labels[0]).silence.snoozed_until
        };
        assert_eq!(snoozed(&store, at(-1000)), None, "the clock of a machine without a battery");
        assert_eq!((store.tick(at(-900)), changes.has_changed().unwrap()), (vec![], false));
        assert_eq!((store.tick(at(10)), changes.has_changed().unwrap()), (vec![], true), "it was set");
        changes.mark_unchanged();
        assert_eq!(snoozed(&store, at(10)), Some(at(3600)));
        assert_eq!((store.tick(at(3599)), changes.has_changed().unwrap()), (vec![], false));
        assert_eq!((store.tick(at(3600)).len(), changes.has_changed().unwrap()), (1, true));
        assert_eq!((store.list().len(), snoozed(&store, at(3600))), (0, None));
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let (folder, files) = (tempfile::tempdir().unwrap(), samples::config());
        let store = ControlStore::load(folder.path(), &files);
        let refused = store.wish(&Target::source("garage"), hour(), SetBy::Mqtt, at(0)).unwrap_err();
        assert!(refused.to_string().starts_with("there is no source `garage`"), "{refused}");
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn no_fault_of_the_disk_damages_what_was_set() {
        let files = samples::config();
        let faults = sweep(
            |disk| {
                let store = ControlStore::load(disk.path(), &files);
                store.wish(&person(), Wish::Threshold(0.8), SetBy::Mqtt, at(0)).unwrap();
            },
            |disk| {
                let store = ControlStore::load(disk.path(), &files);
                let _ = store.wish(&person(), Wish::Threshold(0.9), SetBy::Mqtt, at(1));
            },
            |disk, fault| {
                let value = threshold(&ControlStore::load(disk.path(), &files).list());
                let kept = fs::read_to_string(disk.path().join("controls.json.damaged")).unwrap_or_default();
                let known = matches!(value.as_deref(), Some("0.8" | "0.9"));
                assert!(known || kept.contains("0.8"), "{fault:?}: {value:?} {kept}");
            },
        );
        assert!(faults > 0, "{faults}");
    }
}
