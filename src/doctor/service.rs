//! The checks of a running service, for the console and for support bundles. Each has a time limit, and all of them together have one.
//!
//! What the service itself proves all the time is not checked again: it has loaded its model, and it listens at its port.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    broker_findings, delivery_checks, device,
    finding::Finding,
    machine, sandbox_finding,
    secrets::{self, exposed_secrets},
    sources, summary,
};
use crate::{
    config::{self, Config},
    sandbox::Sandbox,
    source::Access,
};

/// The time limits of a run.
#[derive(Debug, Clone, Copy)]
struct TimeLimits {
    /// Of one check.
    check: Duration,
    /// Of all checks.
    run: Duration,
}

/// A request may take 50 s.
const LIMITS: TimeLimits = TimeLimits { check: Duration::from_secs(15), run: Duration::from_secs(40) };
/// The checks that run at the same time.
const AT_ONCE: usize = 8;
/// The most threads of checks that did not end in time. No further check is started then.
const MOST_UNFINISHED: usize = 32;

/// The threads of checks that have not ended, those of earlier runs included.
static UNFINISHED: AtomicUsize = AtomicUsize::new(0);

/// A check that has not begun.
struct Task {
    what: String,
    run: Box<dyn FnOnce() -> Vec<Finding> + Send>,
}

impl Task {
    fn new(what: impl Into<String>, run: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Self {
        Self { what: what.into(), run: Box::new(run) }
    }
}

/// Runs all checks for `config`, which is in force, and for the files at `path`. Blocks for at most 40 s.
#[must_use]
pub fn run_in_service(path: &Path, config: &Arc<Config>) -> Vec<Finding> {
    let sandbox = Arc::new(Sandbox::configured(config.sandbox, config.limits()));
    run_all(tasks(path, config, &sandbox), LIMITS)
}

/// Every check, in the order of `stakeout doctor`.
fn tasks(path: &Path, config: &Arc<Config>, sandbox: &Arc<Sandbox>) -> Vec<Task> {
    let path = path.to_owned();
    let of = |check: fn(&Config) -> Vec<Finding>| {
        let config = Arc::clone(config);
        move || check(&config)
    };
    let sandbox_state = Arc::clone(sandbox);
    let mut tasks = vec![
        Task::new("configuration", move || files(&path)),
        Task::new("secrets", of(secrets::of_config)),
        Task::new("machine", || machine::findings(&Access::Own)),
        Task::new("ONNX Runtime and FFmpeg", of(|config| device::findings(Some(config)))),
        Task::new("state folder", of(|config| vec![machine::state_dir(&config.state_dir, &Access::Own)])),
        Task::new("broker", of(of_broker)),
        Task::new("sandbox", move || vec![sandbox_finding(&sandbox_state)]),
        Task::new("webhook, command and listen", of(delivery_checks::of_service)),
    ];
    let of_sources = config.sources.iter().enumerate().map(|(number, source)| {
        let (config, sandbox) = (Arc::clone(config), Arc::clone(sandbox));
        Task::new(format!("source {}", source.name), move || {
            let source = config.sources.get(number);
            source
                .map(|source| sources::finding(&config, source, &Access::Own, &sandbox))
                .into_iter()
                .collect()
        })
    });
    tasks.extend(of_sources);
    tasks
}

/// The files of the configuration, which may have changed since.
fn files(path: &Path) -> Vec<Finding> {
    match config::look(path) {
        Ok(loaded) => {
            let mut findings = vec![Finding::ok("configuration", summary(&loaded.config))];
            let of_files = exposed_secrets(&loaded).into_iter();
            // Those of the configuration in force have a check of their own.
            findings.extend(of_files.filter(|finding| finding.what.starts_with("permissions of ")));
            findings
        }
        Err(problems) => {
            let message =
                format!("the files are invalid, and an earlier configuration is in force\n{problems}");
            vec![Finding::failed("configuration", message, "correct them")]
        }
    }
}

fn of_broker(config: &Config) -> Vec<Finding> {
    broker_findings(config).unwrap_or_else(|error| {
        vec![Finding::failed("broker", format!("cannot be checked: {error:#}"), "please report it")]
    })
}

/// Runs `tasks`, some at the same time, and returns their findings in the order of the tasks. A task that does not end in time goes on,
/// and its result is dropped.
fn run_all(tasks: Vec<Task>, limits: TimeLimits) -> Vec<Finding> {
    let until = Instant::now() + limits.run;
    let (sender, receiver) = mpsc::channel();
    let mut waiting: VecDeque<_> = tasks.into_iter().enumerate().collect();
    let mut running: BTreeMap<usize, (String, Instant)> = BTreeMap::new();
    let mut found: BTreeMap<usize, Vec<Finding>> = BTreeMap::new();
    loop {
        let has_room = || Instant::now() < until && UNFINISHED.load(Ordering::Relaxed) < MOST_UNFINISHED;
        while running.len() < AT_ONCE
            && has_room()
            && let Some((number, Task { what, run })) = waiting.pop_front()
        {
            start(number, run, sender.clone());
            running.insert(number, (what, (Instant::now() + limits.check).min(until)));
        }
        let Some(next) = running.values().map(|(_, until)| *until).min() else { break };
        if let Ok((number, findings)) = receiver.recv_timeout(next.saturating_duration_since(Instant::now()))
        {
            if running.remove(&number).is_some() {
                found.insert(number, findings);
            }
            continue;
        }
        let now = Instant::now();
        for (number, (what, _)) in running.extract_if(.., |_, (_, until)| *until <= now) {
            found.insert(number, vec![unfinished(what)]);
        }
    }
    found.extend(waiting.into_iter().map(|(number, task)| (number, vec![unchecked(task.what)])));
    found.into_values().flatten().collect()
}

/// Runs a task on a thread of its own. The receiver may be gone when it ends.
fn start(
    number: usize,
    run: Box<dyn FnOnce() -> Vec<Finding> + Send>,
    sender: mpsc::Sender<(usize, Vec<Finding>)>,
) {
    UNFINISHED.fetch_add(1, Ordering::Relaxed);
    let failed = sender.clone();
    let work = move || {
        let findings = catch_unwind(AssertUnwindSafe(run));
        UNFINISHED.fetch_sub(1, Ordering::Relaxed);
        let bug =
            |_| vec![Finding::failed("checks", "a bug in the program", "please report it, with the log")];
        let _ = sender.send((number, findings.unwrap_or_else(bug)));
    };
    if let Err(error) = thread::Builder::new().name("check".to_owned()).spawn(work) {
        UNFINISHED.fetch_sub(1, Ordering::Relaxed);
        let message = format!("the system refuses a thread: {error}");
        let _ = failed.send((number, vec![Finding::failed("checks", message, "stop other programs")]));
    }
}

fn unfinished(what: String) -> Finding {
    let message = "the check did not end in time";
    Finding::note(what, message, "run `stakeout doctor` on this machine, which waits longer")
}

fn unchecked(what: String) -> Finding {
    let message = "not checked: the other checks took too long";
    Finding::note(what, message, "run `stakeout doctor` on this machine, which checks everything")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::State, samples};

    fn task(what: &str, run: impl FnOnce() + Send + 'static) -> Task {
        let name = what.to_owned();
        Task::new(what, move || {
            run();
            vec![Finding::ok(name, "works")]
        })
    }

    const AMPLE: Duration = Duration::from_secs(600);

    #[test]
    fn findings_are_in_the_order_of_the_checks() {
        let (begun, begins) = mpsc::channel();
        let tasks = vec![
            // The first one ends after the second one.
            task("first", move || begins.recv().unwrap()),
            task("second", move || begun.send(()).unwrap()),
            task("broken", || panic!("a fault")),
            task("last", || {}),
        ];
        let findings = run_all(tasks, TimeLimits { check: AMPLE, run: AMPLE });
        let found: Vec<_> = findings.iter().map(|it| (&*it.what, it.state)).collect();
        let expected =
            [("first", State::Ok), ("second", State::Ok), ("checks", State::Failed), ("last", State::Ok)];
        assert_eq!(found, expected, "{findings:?}");
    }

    #[test]
    fn a_check_that_does_not_end_is_not_waited_for() {
        let (keep, block) = mpsc::channel::<()>();
        let limits = TimeLimits { check: Duration::ZERO, run: AMPLE };
        let findings = run_all(vec![task("stuck", move || assert!(block.recv().is_err()))], limits);
        assert_eq!((&*findings[0].what, findings[0].state, findings.len()), ("stuck", State::Note, 1));
        drop(keep);
    }

    #[test]
    fn checks_that_cannot_begin_in_time_are_named() {
        let limits = TimeLimits { check: Duration::from_secs(60), run: Duration::ZERO };
        let findings = run_all(vec![task("late", || {})], limits);
        assert_eq!((&*findings[0].what, findings[0].state, findings.len()), ("late", State::Note, 1));
        assert!(findings[0].remedy.as_ref().unwrap().contains("stakeout doctor"));
    }

    #[test]
    fn every_source_has_a_check() {
        let config = Arc::new(samples::config());
        let tasks = tasks(Path::new("stakeout.yaml"), &config, &Arc::new(Sandbox::off()));
        let names: Vec<_> = tasks.iter().map(|task| &*task.what).collect();
        assert!(names.ends_with(&["source Front Door", "source back"]), "{names:?}");
    }
}
