//! Decides what of the facts needs a person, and says what to do. Pure.

use super::facts::{Advice, Delivery, Facts, PartState, SandboxState};

/// Connections begin to fail soon if fewer files than this part of the limit can be opened.
const FREE_FILES: u64 = 10;

/// What needs a person: first what may lose alerts, then sources that do not deliver, then the rest.
pub(super) fn advice(facts: &Facts) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut add = |about: &str, what: String, remedy: &str| {
        advice.push(Advice { about: about.to_owned(), what, remedy: remedy.to_owned() });
    };
    for part in facts.parts.iter().filter(|part| part.state == PartState::Stuck) {
        let remedy = "If this lasts for minutes, restart the service, and report it with a support bundle.";
        add("service", format!("{} makes no progress", part.name), remedy);
    }
    if let Some(delivery) = &facts.delivery {
        of_delivery(delivery, &mut add);
    }
    if let Some(what) = &facts.model.problem {
        let remedy =
            "Update the driver of the device and its plugin, and restart the service, or set `device: cpu`.";
        add("model", what.clone(), remedy);
    }
    for problem in &facts.sources.problems {
        add(&format!("source {}", problem.source), problem.cause.clone(), &problem.remedy);
    }
    if !facts.config_valid {
        add(
            "configuration",
            "the files are invalid, and an earlier configuration is in force".to_owned(),
            "Correct the mistakes that the page Configuration or `stakeout check` shows.",
        );
    }
    if let Some(why) = facts.history.as_ref().and_then(|history| history.failing.as_ref()) {
        let remedy =
            "Check that the disk of the state folder works and is not full. Alerts are not affected.";
        add("history", format!("nothing is remembered: {why}"), remedy);
    }
    if let Some(disk) = facts.disk.as_ref().filter(|disk| disk.almost_full) {
        let what = format!("the disk of {} is almost full", disk.folder);
        add("disk", what, "Free space on this disk: the history deletes its oldest entries until then.");
    }
    if let (Some(open), Some(most)) = (facts.process.open_files, facts.process.most_open_files)
        && most.saturating_sub(open) < most / FREE_FILES
    {
        let what = format!("{open} files are open, and {most} are allowed");
        add("process", what, "Raise `LimitNOFILE=` of the service.");
    }
    if facts.decoders.sandbox == SandboxState::Impossible {
        let why = facts.decoders.why.as_deref().unwrap_or("the system does not allow a sandbox");
        add(
            "sandbox",
            format!("pictures are decoded in the service, because {why}"),
            "Allow the system call seccomp in your container or unit, or set `sandbox: off` to accept this.",
        );
    }
    if !facts.clock.synchronised {
        add(
            "clock",
            "no time server has set the clock: alerts may contain a wrong time".to_owned(),
            "Run `timedatectl set-ntp true`, or install chrony.",
        );
    }
    advice
}

fn of_delivery(delivery: &Delivery, add: &mut impl FnMut(&str, String, &str)) {
    let outbox = &delivery.outbox;
    if !outbox.on_disk {
        let why = outbox.why.as_deref().unwrap_or("the disk does not work");
        add(
            "outbox",
            format!("alerts that wait are not safe on disk: {why}"),
            "Check that the disk of the state folder works, is not full, and can be written by the service.",
        );
    }
    if outbox.dropped > 0 {
        let what = format!("{} alerts were dropped since the start", outbox.dropped);
        let remedy =
            "Repair the receiver that does not accept alerts, or raise `max_size` and `max_age` of `outbox`.";
        add("outbox", what, remedy);
    }
    for sink in &delivery.sinks {
        let is_broker = sink.name == "mqtt";
        let error = sink.error.as_ref().filter(|error| !error.is_over);
        let is_absent = is_broker && !delivery.connected;
        if !is_absent && error.is_none() {
            continue;
        }
        let about = if is_broker { "broker" } else { sink.name.as_str() };
        let cause = error.map_or_else(String::new, |error| format!(": {}", error.cause));
        let (fault, remedy) = match is_broker {
            true => (
                "it is not connected",
                "Check that the broker runs, and the address, the user and the password in `mqtt`.",
            ),
            false => {
                ("it does not accept alerts", "Check the receiver, and its section in the configuration.")
            }
        };
        let waiting = match sink.waiting {
            1 => "1 alert waits".to_owned(),
            count => format!("{count} alerts wait"),
        };
        add(about, format!("{fault}{cause}; {waiting}"), remedy);
    }
    if outbox.state_files_failing > 0 {
        add(
            "state folder",
            format!("files of the state folder cannot be written: {}", outbox.state_files_failing),
            "The log names them. Check the disk, and that the service owns the folder.",
        );
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::{
        system::facts::{
            ClockFacts, Decoders, Disk, FaultySource, HistoryFacts, Model, Outbox, Platform, Process,
            ServicePart, Sink, SinkError, Sources,
        },
        time::Time,
    };

    /// A service that works.
    fn well() -> Facts {
        let sink = |name: &str| Sink { name: name.to_owned(), ..Sink::default() };
        let outbox = Outbox { on_disk: true, ..Outbox::default() };
        Facts {
            version: "1.0.0".to_owned(),
            since: Time(Timestamp::UNIX_EPOCH),
            up_s: 60,
            ready: true,
            platform: Platform::default(),
            model: Model::default(),
            parts: vec![ServicePart { name: "the judge".to_owned(), state: PartState::Working }],
            config_valid: true,
            delivery: Some(Delivery {
                connected: true,
                sinks: vec![sink("mqtt"), sink("webhook")],
                outbox,
                ..Delivery::default()
            }),
            history: Some(HistoryFacts::default()),
            disk: Some(Disk { folder: "/state".to_owned(), total: 1000, free: 500, almost_full: false }),
            process: Process { memory: None, open_files: Some(100), most_open_files: Some(1024) },
            decoders: Decoders { sandbox: SandboxState::On, ..Decoders::default() },
            sources: Sources { online: 2, ..Sources::default() },
            clock: ClockFacts { now: Time(Timestamp::UNIX_EPOCH), synchronised: true },
            watches: Some(0),
            clients: 1,
            problems: vec![],
            log: vec![],
            bundle: vec![],
        }
    }

    fn delivery(change: impl FnOnce(&mut Delivery)) -> Facts {
        let mut facts = well();
        change(facts.delivery.as_mut().unwrap());
        facts
    }

    #[test]
    fn each_problem_says_what_is_wrong_and_what_to_do() {
        let failed = |is_over| {
            Some(SinkError { cause: "refused".to_owned(), at: Time(Timestamp::UNIX_EPOCH), is_over })
        };
        let gate = FaultySource {
            source: "gate".to_owned(),
            cause: "no answer".to_owned(),
            since: Time(Timestamp::UNIX_EPOCH),
            remedy: "Check the camera.".to_owned(),
        };
        let stuck = ServicePart { name: "the judge".to_owned(), state: PartState::Stuck };
        let full = Disk { folder: "/state".to_owned(), almost_full: true, ..Disk::default() };
        let failing =
            HistoryFacts { failing: Some("the disk is full".to_owned()), ..HistoryFacts::default() };
        let files = Process { open_files: Some(1000), most_open_files: Some(1024), ..Process::default() };
        let mut broken_sandbox = well();
        broken_sandbox.decoders.sandbox = SandboxState::Impossible;
        let clock = ClockFacts { synchronised: false, ..well().clock };
        let model = Model { problem: Some("the device webgpu failed".to_owned()), ..Model::default() };
        for (facts, about, what) in [
            (Facts { parts: vec![stuck], ..well() }, "service", "the judge makes no progress"),
            (Facts { model, ..well() }, "model", "the device webgpu failed"),
            (
                delivery(|it| {
                    it.connected = false;
                    it.sinks[0].error = failed(false);
                    it.sinks[0].waiting = 3;
                }),
                "broker",
                "it is not connected: refused; 3 alerts wait",
            ),
            (delivery(|it| it.connected = false), "broker", "it is not connected; 0 alerts wait"),
            (
                delivery(|it| it.sinks[1].error = failed(false)),
                "webhook",
                "it does not accept alerts: refused; 0 alerts wait",
            ),
            (
                delivery(|it| {
                    it.outbox.on_disk = false;
                    it.outbox.why = Some("full".to_owned());
                }),
                "outbox",
                "alerts that wait are not safe on disk: full",
            ),
            (delivery(|it| it.outbox.dropped = 2), "outbox", "2 alerts were dropped since the start"),
            (
                delivery(|it| it.outbox.state_files_failing = 1),
                "state folder",
                "files of the state folder cannot be written: 1",
            ),
            (
                Facts { sources: Sources { problems: vec![gate], ..Sources::default() }, ..well() },
                "source gate",
                "no answer",
            ),
            (
                Facts { config_valid: false, ..well() },
                "configuration",
                "the files are invalid, and an earlier configuration is in force",
            ),
            (
                Facts { history: Some(failing), ..well() },
                "history",
                "nothing is remembered: the disk is full",
            ),
            (Facts { disk: Some(full), ..well() }, "disk", "the disk of /state is almost full"),
            (Facts { process: files, ..well() }, "process", "1000 files are open, and 1024 are allowed"),
            (
                broken_sandbox,
                "sandbox",
                "pictures are decoded in the service, because the system does not allow a sandbox",
            ),
            (
                Facts { clock, ..well() },
                "clock",
                "no time server has set the clock: alerts may contain a wrong time",
            ),
        ] {
            let found = advice(&facts);
            let [only] = &found[..] else { panic!("{about}: {found:?}") };
            assert_eq!((&*only.about, &*only.what), (about, what));
            assert!(only.remedy.ends_with('.'), "{only:?}");
        }
        for facts in [well(), delivery(|it| it.sinks[0].error = failed(true))] {
            assert_eq!(advice(&facts), [], "it works, or works again");
        }
        assert_eq!(advice(&Facts { delivery: None, history: None, disk: None, ..well() }), [], "it starts");
    }
}
