//! The lives of the service in a simulation: each starts with what the last one left on the disk.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Step, Timed, broker, schedule::Vanishing, world::World};
use crate::{
    alert::{
        board::Board,
        home_assistant::Announcement,
        outbox::{self, Outbox, Sink},
        publisher::{Announcer, Counts, Farewell, Publisher},
        sinks::SinkWorker,
    },
    daemon::delivery::Delivery,
    faults::{Operation, Random, simulate},
    mqtt::fake,
};

/// What can go wrong is over by then: the longest wait of the service is the minute for an acknowledgement, then 30 s until it connects.
const RECOVERY: Duration = Duration::from_secs(300);
/// What a publisher and a sink have at a stop, if nothing else is configured.
const GRACE: Duration = Duration::from_secs(5);
/// More than an outbox of a simulation holds.
const ALL: usize = 100_000;
/// How long the machine is off after a power cut, in milliseconds.
const OFF: i64 = 40_000;
/// What one append may drop without counting it, if the service dies meanwhile.
const UNCOUNTED: u64 = 50;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The service was killed, or the power was cut.
    Crash { power: bool },
    /// It was stopped with SIGTERM.
    Stopped,
    /// The run is over.
    Finished,
}

/// The parts of the service that run.
struct Service {
    world: Arc<World>,
    outbox: Arc<Outbox>,
    board: Board,
    counts: Arc<Counts>,
    delivery: Option<Delivery>,
    webhook: Option<(JoinHandle<()>, CancellationToken)>,
    /// Whether a crash at a change of the disk cuts the power.
    power: bool,
    /// The outbox has not noticed yet that its file vanished: as often as this it had noticed one before.
    vanished: Option<u64>,
}

/// Runs the service as often as the steps let it start, until all are carried out and everything works again.
pub(super) fn live(world: &Arc<World>, steps: VecDeque<Timed>) {
    lives(world, steps);
    simulate(None);
}

fn lives(world: &Arc<World>, mut steps: VecDeque<Timed>) {
    for number in 0.. {
        simulate(Some(Random::new(world.seed, 100 + number)));
        // One thread: the same tasks run in the same order each time.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O");
        let ended = runtime.block_on(async { tokio::spawn(life(Arc::clone(world), steps)).await });
        // Ends all tasks. The disk is dead by now if this is a crash.
        drop(runtime);
        let end = match ended {
            Ok((rest, end)) => {
                steps = rest;
                end
            }
            Err(panicked) => return world.wrong(format!("a part panicked: {panicked}")),
        };
        match end {
            End::Finished => return,
            End::Stopped => {}
            End::Crash { power } => {
                world.disk.revive(power);
                if power {
                    world.clock.reboot(OFF);
                }
            }
        }
        world.ledger().memory_lost();
    }
}

async fn life(world: Arc<World>, mut steps: VecDeque<Timed>) -> (VecDeque<Timed>, End) {
    world.begin();
    world.trace("the service starts");
    let end = match Service::start(&world) {
        Ok(mut service) => service.live(&mut steps).await,
        Err(_) if world.disk.is_dead() => {
            world.ledger().uncounted += UNCOUNTED;
            End::Crash { power: true }
        }
        Err(error) => {
            world.wrong(format!("the service does not start: {error} ({error:?})"));
            End::Finished
        }
    };
    let end = if world.disk.is_dead() && !matches!(end, End::Crash { .. }) {
        End::Crash { power: true }
    } else {
        end
    };
    world.trace(format!("{end:?}"));
    world.end();
    (steps, end)
}

impl Service {
    fn start(world: &Arc<World>) -> Result<Self, outbox::Error> {
        let outbox = Arc::new(open(world)?);
        let marks = remembered(world, &outbox);
        world.restore(&marks);
        let board = Board::new();
        for (topic, raised) in &marks {
            board.set(topic, switch(*raised));
        }
        let (options, address) = fake::broker();
        tokio::spawn(broker::serve(Arc::clone(world), address));
        let publisher = Publisher::new(&world.config.mqtt, Arc::clone(&outbox), &board);
        let mut publisher = publisher.expect("no files for TLS").over(options);
        if world.profile.home_assistant {
            let announcer = Announcer::new(Announcement::of(&world.config));
            publisher = publisher.announcing(&announcer, &world.config.state_dir);
        }
        let counts = publisher.counts();
        let delivery =
            Delivery::start(&world.config, &outbox, publisher, &board, watch::channel(None).1, GRACE);
        let webhook = world.profile.webhook.then(|| webhook(world, &outbox));
        let delivery = Some(delivery);
        Ok(Self {
            world: Arc::clone(world),
            outbox,
            board,
            counts,
            delivery,
            webhook,
            power: true,
            vanished: None,
        })
    }

    /// Carries out the steps until one ends the service. After the last one everything works again.
    async fn live(&mut self, steps: &mut VecDeque<Timed>) -> End {
        while let Some(Timed { after, step }) = steps.front().copied() {
            if let Some(end) = self.pass(after).await {
                return self.ended(end);
            }
            steps.pop_front();
            self.world.trace(format!("{step:?}"));
            if let Some(end) = self.carry_out(step).await {
                return self.ended(end);
            }
        }
        let end = self.recover().await;
        self.ended(end)
    }

    /// The life ends: what it counted is booked.
    fn ended(&self, end: End) -> End {
        if let End::Crash { .. } = end {
            // No part can do anything any more.
            self.world.disk.die();
        }
        let Service { world, outbox, .. } = self;
        let failed = [Operation::Read, Operation::Open].map(|operation| world.disk.failures(operation));
        let status = outbox.status().borrow().clone();
        if let Some(file) = status.set_aside {
            world.wrong(format!("the outbox was damaged: {file}"));
        }
        let mut ledger = world.ledger();
        ledger.dropped += outbox.dropped();
        ledger.unreadable |= failed != [0, 0];
        end
    }

    /// Lets this time pass. Returns how the life ends, if it does meanwhile.
    async fn pass(&mut self, time: Duration) -> Option<End> {
        let Some(delivery) = &mut self.delivery else { return Some(End::Stopped) };
        let world = &self.world;
        tokio::select! {
            biased;
            () = world.disk.crashed() => return Some(self.crash()),
            part = delivery.next() => {
                world.wrong(format!("a part ended: {part}"));
                return Some(End::Finished);
            }
            () = sleep(time) => {}
        }
        self.measure()
    }

    /// Books what is on the disk by now. Now and then, compares the gauge of the outbox with what it holds.
    fn measure(&mut self) -> Option<End> {
        let (world, outbox) = (&self.world, &self.outbox);
        let is_in_memory = || outbox.status().borrow().in_memory.is_some();
        if world.percent(20) && !is_in_memory() {
            let held = outbox.read(Sink::Mqtt, 0, ALL).len() as u64;
            let waiting = outbox.waiting();
            // Reading may have failed.
            if held != waiting && !is_in_memory() && !world.disk.is_dead() {
                world.wrong(format!("the outbox holds {held} alerts, and its gauge is {waiting}"));
            }
        }
        if world.disk.is_dead() {
            return Some(self.crash());
        }
        let vanished = outbox.status().borrow().vanished;
        if self.vanished.is_some_and(|before| vanished > before) {
            self.vanished = None;
        }
        if self.vanished.is_none() && self.outbox.status().borrow().in_memory.is_none() {
            self.world.ledger().all_on_disk();
        }
        None
    }

    /// The service died at a change of the disk.
    fn crash(&self) -> End {
        if self.world.profile.small {
            self.world.ledger().uncounted += UNCOUNTED;
        }
        End::Crash { power: self.power }
    }

    async fn carry_out(&mut self, step: Step) -> Option<End> {
        let world = Arc::clone(&self.world);
        match step {
            Step::Raise { alerts } => return self.raise(alerts),
            Step::Disk(condition) => world.disk.set(condition),
            Step::Broker(answers) => {
                world.broker().answers = answers;
                if !answers.up {
                    world.breaks.send_modify(|breaks| *breaks += 1);
                }
            }
            Step::Break { forgets } => {
                if forgets {
                    world.broker().retained.clear();
                }
                world.breaks.send_modify(|breaks| *breaks += 1);
            }
            Step::Deny { label, denied } => {
                let topic = world.alert_topic(label);
                let to_deny = &mut world.broker().to_deny;
                if denied {
                    to_deny.insert(topic)
                } else {
                    to_deny.remove(&topic)
                };
            }
            Step::Quota { used_up } => world.broker().quota_to_be_used_up = used_up,
            Step::Webhook { works } => world.webhook_works.store(works, Ordering::Relaxed),
            Step::Clock { milliseconds } => world.clock.jump(milliseconds),
            Step::Vanish(what) => self.vanish(what),
            Step::Synchronise => world.clock.synchronise(),
            Step::Crash { power } => return Some(End::Crash { power }),
            Step::CrashAt { change, power } => {
                self.power = power;
                world.disk.set_death(Some(change));
            }
            Step::Stop => return Some(self.stop().await.map_or_else(|| self.crash(), |_| End::Stopped)),
        }
        None
    }

    /// The file of the outbox vanishes while it is open. Until the outbox notices that, what is in it is lost with the process.
    fn vanish(&mut self, what: Vanishing) {
        let status = self.outbox.status().borrow().clone();
        if status.in_memory.is_some() {
            // It may not be open. No one can help a database whose log is deleted then.
            return;
        }
        let folder = &self.world.config.state_dir;
        let file = folder.join("outbox.sqlite");
        // It may be missing already.
        let _ = match what {
            Vanishing::Deleted => fs::remove_file(file),
            Vanishing::Renamed => fs::rename(file, folder.join("away.sqlite")),
            Vanishing::WithFolder => fs::remove_dir_all(folder),
            Vanishing::Log => fs::remove_file(folder.join("outbox.sqlite-wal")),
        };
        self.vanished = Some(status.vanished);
        self.world.ledger().at_risk();
    }

    /// Raises and clears labels, as the judge does: first the outbox, then the board.
    fn raise(&self, alerts: u64) -> Option<End> {
        let (world, entries) = (&self.world, self.world.alerts(alerts));
        let first = world.ledger().attempt(&entries, world.profile.webhook);
        world.trace(format!("alerts {first} to {} are appended", world.ledger().raised() - 1));
        self.outbox.append_all(entries.clone());
        let in_memory = self.outbox.status().borrow().in_memory.is_some();
        if world.disk.is_dead() {
            return Some(self.crash());
        }
        if in_memory {
            world.trace("they are only in memory");
        }
        world.ledger().appended(first, in_memory);
        for mark in entries.iter().filter_map(|entry| entry.mark.as_ref()) {
            self.board.set(&mark.topic, switch(mark.raised));
        }
        None
    }

    /// Stops the service with SIGTERM. `None`: it died meanwhile.
    async fn stop(&mut self) -> Option<Farewell> {
        let (delivery, webhook) = (self.delivery.take()?, self.webhook.take());
        let stopped = async {
            let farewell = delivery.stop().await;
            if let Some((worker, stop)) = webhook {
                stop.cancel();
                if worker.await.is_err() {
                    self.world.wrong("the webhook panicked".to_owned());
                }
            }
            farewell
        };
        tokio::select! {
            biased;
            () = self.world.disk.crashed() => None,
            farewell = stopped => match farewell {
                Ok(farewell) => Some(farewell),
                Err(error) => {
                    self.world.wrong(format!("the service does not stop: {error:#}"));
                    None
                }
            },
        }
    }

    /// Everything works again. Waits until nothing waits any more, and checks that everything agrees.
    async fn recover(&mut self) -> End {
        let world = Arc::clone(&self.world);
        world.trace("everything works again");
        world.heal();
        let began = Instant::now();
        loop {
            if let Some(end) = self.pass(Duration::from_secs(1)).await {
                return end;
            }
            let Some(why) = self.unquiet() else { break };
            if began.elapsed() > RECOVERY {
                world.wrong(format!("after {} s {why}", RECOVERY.as_secs()));
                return End::Finished;
            }
        }
        world.trace("nothing waits any more");
        match self.stop().await {
            Some(Farewell { waiting: 0, said: true }) => {}
            farewell => world.wrong(format!("the service stopped with {farewell:?}")),
        }
        let retained = world.broker().retained.get(&world.status_topic()).cloned();
        if retained.as_deref() != Some(b"offline") {
            world.wrong("the broker retains another status than offline".to_owned());
        }
        End::Finished
    }

    /// What is not as it should be.
    fn unquiet(&self) -> Option<String> {
        let (world, outbox) = (&self.world, &self.outbox);
        let (broker, webhook) = (outbox.waiting(), outbox.waiting_for(Sink::Webhook));
        let in_memory = outbox.status().borrow().in_memory.clone();
        if let Some(why) = in_memory {
            return Some(format!("the outbox does not use the disk: {why}"));
        }
        if broker > 0 || webhook > 0 && world.profile.webhook {
            return Some(format!("{broker} alerts wait for the broker and {webhook} for the webhook"));
        }
        if !self.counts.connected.load(Ordering::Relaxed) {
            return Some("the broker is not connected".to_owned());
        }
        let values = self.board.subscribe().borrow().clone();
        let retained = &world.broker().retained;
        let differs = values.iter().find(|(topic, payload)| {
            let expected = (!payload.is_empty()).then_some(payload.as_bytes());
            retained.get(*topic).map(Vec::as_slice) != expected
        });
        if let Some((topic, payload)) = differs {
            return Some(format!("{topic} is not {payload} at the broker"));
        }
        let announced =
            |(topic, payload): &(String, String)| retained.get(topic) == Some(&payload.clone().into_bytes());
        if world.profile.home_assistant
            && let Some((topic, _)) =
                Announcement::of(&world.config).messages().find(|message| !announced(message))
        {
            return Some(format!("the broker does not have {topic}"));
        }
        let status = retained.get(&world.status_topic()).map(Vec::as_slice);
        (status != Some(b"online")).then(|| "the service is not online at the broker".to_owned())
    }
}

/// Starts the webhook.
fn webhook(world: &Arc<World>, outbox: &Arc<Outbox>) -> (JoinHandle<()>, CancellationToken) {
    let receiver = Arc::clone(world);
    let accepts = move |entry: &outbox::Entry| {
        // A service that died sends nothing any more.
        let works = receiver.webhook_works() && !receiver.disk.is_dead();
        if works {
            receiver.ledger().posted(entry);
        }
        works
    };
    let (worker, stop) = (SinkWorker::receiver(Arc::new(accepts)), CancellationToken::new());
    (tokio::spawn(worker.run(Arc::clone(outbox), stop.clone(), GRACE)), stop)
}

/// Opens the outbox for the sinks of this run.
fn open(world: &World) -> Result<Outbox, outbox::Error> {
    let sinks: &[Sink] = if world.profile.webhook { &[Sink::Mqtt, Sink::Webhook] } else { &[Sink::Mqtt] };
    Outbox::with_clock(&world.config.state_dir, world.config.outbox, sinks, world.clock.of_service())
}

/// The states of the labels that the outbox remembers, by their topics; they must be those that were written.
fn remembered(world: &World, outbox: &Outbox) -> BTreeMap<String, bool> {
    let marks: BTreeMap<_, _> =
        outbox.marks().into_iter().map(|(topic, raised, _)| (topic, raised)).collect();
    if outbox.status().borrow().in_memory.is_some() {
        // It could not read them.
        world.ledger().unreadable = true;
        return marks;
    }
    let mut wrong = Vec::new();
    for (topic, states) in world.ledger().states() {
        let mark = marks.get(topic).copied();
        // A label without a mark was cleared, and never raised.
        let known = states.contains(&mark) || mark.is_none() && states.contains(&Some(false));
        if !known {
            wrong.push(format!("the outbox remembers {mark:?} for {topic}, and not one of {states:?}"));
        }
    }
    wrong.into_iter().for_each(|wrong| world.wrong(wrong));
    marks
}

fn switch(raised: bool) -> &'static str {
    if raised { "ON" } else { "OFF" }
}

/// Opens the outbox once more after the run: nothing must be left in it.
pub(super) fn check_disk(world: &World) {
    match open(world) {
        Ok(outbox) => {
            let left = outbox.read(Sink::Mqtt, 0, ALL).len();
            if left > 0 || outbox.waiting() > 0 {
                world.wrong(format!(
                    "{left} alerts are left on the disk, and the gauge is {}",
                    outbox.waiting()
                ));
            }
            remembered(world, &outbox);
        }
        Err(error) => world.wrong(format!("the outbox cannot be opened after the run: {error}")),
    }
}
