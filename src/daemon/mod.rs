//! The wiring of the service: builds the parts, connects them, waits for a stop signal, and stops them in order.
//!
//! Decisions about frames, scores and alerts are in `judge` and below. While the service runs, `config_reader` prepares
//! changes of the configuration and `config_applier` applies them, as `config::plan` says.

mod admissions;
mod broker_state;
pub(crate) mod checkpoints;
mod clock_steps;
mod config_applier;
mod config_reader;
mod delivery;
mod dynamic_sources;
mod endings;
mod heartbeats;
mod judge_thread;
mod model_status;
mod signals;
#[cfg(test)]
mod simulation;
mod sources;
mod watchdog;

use std::{path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};

pub use self::judge_thread::saved_baselines;
use self::{
    broker_state::BrokerState,
    checkpoints::Checkpoints,
    clock_steps::ClockSteps,
    config_applier::ConfigApplier,
    config_reader::ConfigReader,
    delivery::Delivery,
    dynamic_sources::DynamicSources,
    judge_thread::{BaselineFile, JudgeThread},
    signals::{Reloads, Signals},
    sources::Sources,
};
use crate::{
    alert::{Topics, board::Board, outbox::Outbox, publisher::Publisher},
    api::{self, socket, states},
    classify::{
        self, GuardedModel, IdleModel, LabelEncoder, LoadError, PictureEncoding, TextEncoding,
        labels::VectorCache,
    },
    clock::Clock,
    config::{
        self, Config, Device, Execution,
        controlled::Controlled,
        plan::Plan,
        state::ConfigState,
        watch::{ReadContent, Reader},
    },
    controls::ControlStore,
    history::{self, CatchUp, near_misses::NearMissReporter},
    judge::Judge,
    observe::{NewestFrames, Observers, ScorePublisher, ServiceMetrics},
    sandbox::{Sandbox, State},
    source::{self, CrashRecord, Decoders},
    trial,
    watches::Watches,
    web,
    yaml::value,
};

/// At the end of a stop, the time that the history does not use: a disk that is too slow for it is no failure.
const RESERVE: Duration = Duration::from_secs(1);
/// The frames that fit between two parts: the slots of a thousand sources. An unused place costs nothing.
const IN_FLIGHT: usize = 1000 * source::SLOTS;

/// Runs the service until SIGTERM or SIGINT. `path` is the main file of `config`. The files may change meanwhile. The API uses `tools`.
/// `stop_timeout` is the time from the stop signal until everything in flight must have reached the disk and the broker; the publisher may
/// use half of it.
///
/// # Errors
/// What prevents the start, or the part that ended before the stop signal.
pub fn run(path: &Path, config: Config, tools: api::Tools, stop_timeout: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let ended = runtime.block_on(run_until_stopped(path, config, tools, stop_timeout));
    // A task that is still running, after the deadline for example, must not delay the exit.
    runtime.shutdown_background();
    ended
}

async fn run_until_stopped(
    path: &Path,
    config: Config,
    tools: api::Tools,
    stop_timeout: Duration,
) -> anyhow::Result<()> {
    // First, so that a signal during the start stops the service in order instead of killing the process.
    let mut signals = Signals::new()?;
    let metrics = Arc::new(ServiceMetrics::new(&config));
    let api = Arc::new(api::Service::new(&config.state_dir, Arc::clone(&metrics)));
    let (state, states) = watch::channel(ConfigState::started(&config, config::main_file::tag_now(path)));
    api.set_configuration(api::Configuration::new(path, &config, states));
    api.set_tools(tools);
    let server = web::start(config.listen.as_ref(), Arc::clone(&api))?;
    // The file stays locked: no other service uses this state folder.
    let outbox = Arc::new(delivery::open_outbox(&config)?);
    let _sockets = server.open_sockets(&socket::of_service(&config.state_dir));
    signals::notify_status("loading the model");
    let watches = Watches::load(&config.state_dir);
    let grace = stop_timeout / 2;
    let (mut service, config_reader) =
        Service::start(path, &config, (outbox, grace), &api, &watches, state).await?;
    metrics.set_ready(true);
    signals::notify_ready();
    tracing::info!(
        sources = config.sources.len(),
        label_sets = config.label_sets.len(),
        model = &*config.model.name(),
        "watching"
    );
    let ask = config::watch::watch(path, config_reader).context("cannot watch the configuration")?;
    signals.reload_on_hang_up(ask, service.applier.reloads.clone());
    let topics = service.applier.broker.subscribe_topics();
    tokio::spawn(states::follow(Arc::clone(&api)));
    let watchdog = watchdog::run(Arc::clone(&metrics), service.applier.broker.board.clone(), topics);

    tokio::select! {
        signal = signals.stop() => tracing::info!(signal, "stopping"),
        part = service.parts.next() => bail!("{part} ended without a stop signal; its last message is above"),
        error = service.applier.run() => return Err(error),
        () = watchdog => bail!("the watchdog task ended"),
    }
    metrics.set_ready(false);
    signals::notify_stopping();
    let history_until = Instant::now() + stop_timeout.saturating_sub(RESERVE);
    tokio::select! {
        stopped = service.stop(history_until) => stopped,
        () = tokio::time::sleep(stop_timeout) => {
            let time = value::duration_text(stop_timeout);
            bail!("stopped after {time} with work left; alerts that were raised are in the outbox")
        }
        signal = signals.stop() => bail!("stopped at once by a second signal ({signal})"),
    }
}

/// The running service.
struct Service {
    applier: ConfigApplier,
    parts: Parts,
}

/// The parts whose end ends the service.
struct Parts {
    model: thread::JoinHandle<Result<classify::Counts, classify::ReceiverGone>>,
    /// Closes when the judge ends. The judge ends when the model does, so this reports both.
    judge: oneshot::Receiver<()>,
    observers: JoinSet<()>,
    /// Closes when the thread of the history ends; `None` if there is none.
    history: Option<oneshot::Receiver<()>>,
    delivery: Delivery,
}

impl Service {
    /// Starts the parts from the last to the first, so that a frame can go all the way as soon as it exists. The returned reader
    /// checks the configuration when the watcher of the files asks for it. At the stop, the outbox has `grace` for what is left.
    async fn start(
        path: &Path,
        files: &Config,
        (outbox, grace): (Arc<Outbox>, Duration),
        api: &Arc<api::Service>,
        watches: &Watches,
        state: watch::Sender<ConfigState>,
    ) -> anyhow::Result<(Self, Reader)> {
        let (config, controls) = controlled(&watches.expand(files));
        let (config, metrics) = (&config, &api.metrics);
        let model = load_model(config, metrics)?;
        let mut encoder = LabelEncoder::new(model.model(), VectorCache::of_user());
        let activation = encoder.activation();
        // Known dynamic sources are watched before their next picture.
        let mut dynamic_sources = DynamicSources::load(&config.state_dir);
        let watched = Arc::new(dynamic_sources.expand(config));
        config_applier::write(dynamic_sources.save()).await;
        let watchlist = encoder.watchlist(&watched.label_sets, &watched.sources).map_err(LoadError::from)?;

        let broker = BrokerState::new(config, &watched);
        let publisher = Publisher::new(&config.mqtt, Arc::clone(&outbox), &broker.board)?
            .announcing(&broker.announcer, &config.state_dir);
        metrics.set_delivery(config, publisher.counts(), Arc::clone(&outbox));

        let (mut observers, observer_tasks, newest) =
            start_observers(&watched, &publisher, api, (watches, &controls));
        let (history, history_ends) = start_history(config, &mut observers, metrics, api)?.unzip();
        let configs = observers.config();
        let (scored, to_judge) = mpsc::channel(IN_FLIGHT);
        let (watching, to_watch) = mpsc::channel(1);
        let judge = prepare_judge(&watched, &outbox, &broker.board, observers, metrics, history.clone());
        let engine = metrics.model.engine.subscribe();
        let delivery = Delivery::start(config, &outbox, publisher, &broker.board, engine, grace);
        model_status::publish(
            &Topics::new(&config.mqtt.prefix),
            &broker.board,
            metrics.model.canary.subscribe(),
        );
        let (beats, to_beat) = mpsc::channel(1);
        let judge = judge.spawn(to_judge, to_watch, to_beat)?;
        if let Some(every) = config.mqtt.connection.heartbeat {
            tokio::spawn(heartbeats::run(every, Arc::clone(metrics), beats));
        }
        let (frames, to_model) = mpsc::channel(IN_FLIGHT);
        let (watchlist, watchlists) = watch::channel(Arc::new(watchlist));
        let (pictures, to_search) = PictureEncoding::channel();
        let (model, idle_model) =
            classify::spawn(model, watchlists, to_model, to_search, scored, Arc::clone(&metrics.model))?;
        let mut parts = Parts { model, judge, observers: observer_tasks, history: history_ends, delivery };

        let (appears, appeared) = mpsc::channel(1);
        let sandbox = Arc::new(start_sandbox(config));
        metrics.set_sandbox(Arc::clone(&sandbox));
        let decoders =
            Decoders::new(Arc::clone(&metrics.decoder_memory), CrashRecord::open(&config.state_dir), sandbox);
        if let Some(history) = history {
            let catch_up = catch_up(config, idle_model, history, &decoders, configs, metrics);
            parts.observers.spawn(async move {
                catch_up.run().await;
                // It ends after the model, whose end is reported.
                std::future::pending().await
            });
        }
        let mut sources = Sources::new(frames, appears, &broker, Arc::clone(metrics), Arc::clone(&decoders));
        let nothing = Config { sources: Vec::new(), ..config.clone() };
        sources.apply(&Plan::between(&nothing, config)).await?;
        sources.publish(config, &dynamic_sources);

        let reloads = Reloads::default();
        let reader = ConfigReader {
            path: path.to_owned(),
            read: ReadContent::default(),
            in_force: config.clone(),
            files: files.clone(),
            watches: watches.clone(),
            controls: controls.clone(),
            encoder,
            metrics: Arc::clone(metrics),
            reloads: reloads.clone(),
            state,
        };
        let (texts, to_encode) = TextEncoding::channel();
        let (config_reader, results) = reader.spawn(to_encode)?;
        let watches = watches.clone();
        api.set_live(api::Live { newest, texts, pictures, decoders, watches, controls, activation });
        if config.mqtt.commands {
            tokio::spawn(api::mqtt::serve(Arc::clone(&watched), Arc::clone(api)));
        }
        let applier = ConfigApplier {
            results,
            watchlist,
            judge: watching,
            sources,
            broker,
            appeared,
            dynamic_sources,
            watched,
            metrics: Arc::clone(metrics),
            in_force: config.clone(),
            invalid: false,
            reloads,
        };
        Ok((Self { applier, parts }, config_reader))
    }

    /// Only the sources receive the stop signal. Each other part ends when its input closes, the publisher last. A check of the
    /// configuration in flight is dropped. Waits for the history until the given time.
    async fn stop(self, history_until: Instant) -> anyhow::Result<()> {
        let mut broker = self.applier.broker;
        let sources = self.applier.sources.stop();
        // The judge receives each frame last: when it has ended, no frame is in flight.
        let _ = self.parts.judge.await;
        sources.join().await?;
        let counts = self.parts.model.join().map_err(|_| anyhow!("the model panicked"))??;
        let classify::Counts { scored, repeated, failed, unwatched } = counts;
        tracing::info!(scored, repeated, failed, unwatched, "the model has ended");

        if self.parts.delivery.stop().await?.said {
            broker.settle();
        }
        if let Some(history) = self.parts.history
            && tokio::time::timeout_at(history_until, history).await.is_err()
        {
            tracing::warn!("the history is not written to its end: the disk is too slow");
        }
        Ok(())
    }
}

/// Chooses the device, loads the model, and checks that the device computes right before the first frame.
fn load_model(config: &Config, metrics: &ServiceMetrics) -> anyhow::Result<GuardedModel> {
    let choice = trial::choose(config, &trial::Program::running()).map_err(LoadError::from)?;
    let chosen = choice.apply(config);
    // Until the device has passed its check: a device that ends the service is not loaded again and again.
    trial::loading(config, chosen.execution.device);
    let loaded = classify::load_model_as(config, &chosen);
    if loaded.is_err() {
        // An error is no crash.
        trial::loaded(config, chosen.execution.device);
    }
    let (model, reason) = match (loaded, choice.candidate) {
        // It worked in another process. No one has named it, so the processor does.
        (Err(error), Some(candidate)) => {
            tracing::warn!(%candidate, %error, "what was chosen for `device: auto` cannot be loaded: the model runs on the processor");
            let execution = Execution { device: Device::Cpu, ..config.execution };
            let on_processor = Config { execution, ..config.clone() };
            (classify::load_model_as(config, &on_processor)?, String::new())
        }
        (loaded, _) => (loaded?, choice.reason),
    };
    let mut facts = model.facts();
    if !reason.is_empty() {
        facts.reason = reason;
    }
    tracing::info!(place = facts.place, device = %facts.device, "the graph of the model for pictures: {}", facts.graph);
    metrics.set_model(facts);
    let model = match config.canary {
        Some(every) => GuardedModel::start(model, every, &metrics.model),
        None => model.into(),
    };
    trial::loaded(config, chosen.execution.device);
    Ok(model)
}

impl Parts {
    /// Waits until a part ends before the stop signal, and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.judge => if self.model.is_finished() { "the model" } else { "the judge" },
            Some(_) = self.observers.join_next() => "an observer",
            Some(_) = wait_for(&mut self.history) => "the history",
            part = self.delivery.next() => part,
        }
    }
}

/// Waits for the end of a part, if it exists.
async fn wait_for(part: &mut Option<oneshot::Receiver<()>>) -> Option<()> {
    let _ = part.as_mut()?.await;
    Some(())
}

/// What decodes the pictures of sources.
fn start_sandbox(config: &Config) -> Sandbox {
    let sandbox = Sandbox::configured(config.sandbox, config.limits());
    match sandbox.state() {
        State::Impossible(why) => tracing::warn!(
            why,
            "there is no sandbox, and pictures are decoded in the service: {why}; `sandbox: off` accepts that without this line"
        ),
        State::On(layers) => {
            tracing::info!(
                layers = layers.join(", "),
                "pictures are decoded in processes without files and network"
            );
        }
        State::Off => tracing::info!("the sandbox is off: pictures are decoded in the service"),
    }
    sandbox
}

/// The configuration with what was set while a service ran. Blocks for the disk.
fn controlled(files: &Config) -> (Config, ControlStore) {
    let controls = ControlStore::load(&files.state_dir, files);
    let Controlled { config, dropped } = controls.expand(files, Timestamp::now());
    controls.in_force(files, &dropped);
    (config, controls)
}

/// Every subscriber of observations has a line here.
fn start_observers(
    watched: &Arc<Config>,
    publisher: &Publisher,
    api: &Arc<api::Service>,
    (watches, controls): (&Watches, &ControlStore),
) -> (Observers, JoinSet<()>, NewestFrames) {
    let mut observers = Observers::new(Arc::clone(watched), Arc::clone(&api.metrics));
    let mut tasks = JoinSet::new();
    tasks.spawn(ScorePublisher::new(watched, publisher.scores()).run(observers.subscribe("scores")));
    tasks.spawn(NearMissReporter::new(watched, publisher.scores()).run(observers.subscribe("near_misses")));
    let (newest, following) = NewestFrames::follow(observers.subscribe("newest"));
    tasks.spawn(following);
    tasks.spawn(endings::run(watches.clone(), controls.clone(), observers.subscribe("watches")));
    let (api, events) = (Arc::clone(api), observers.subscribe("events"));
    tasks.spawn(async move { api.events.follow(events).await });
    (observers, tasks, newest)
}

/// The thread that remembers what happens, unless the configuration forbids it. The result closes when it ends.
fn start_history(
    config: &Config,
    observers: &mut Observers,
    metrics: &Arc<ServiceMetrics>,
    api: &api::Service,
) -> anyhow::Result<Option<(history::Handle, oneshot::Receiver<()>)>> {
    let Some(settings) = config.history else { return Ok(None) };
    let subscription = observers.subscribe(history::SUBSCRIBER);
    let (handle, ended) =
        history::spawn(settings, subscription, metrics).context("cannot start the history")?;
    api.set_history(handle.clone());
    Ok(Some((handle, ended)))
}

/// Embeds the stored pictures that this model has not embedded. It ends when the model does.
fn catch_up(
    config: &Config,
    model: IdleModel,
    history: history::Handle,
    decoders: &Arc<Decoders>,
    configs: watch::Receiver<Arc<Config>>,
    metrics: &ServiceMetrics,
) -> CatchUp {
    let (state_dir, counts) = (config.state_dir.clone(), metrics.add_history());
    let decoders = Arc::clone(decoders);
    CatchUp { state_dir, model, history, decoders, config: configs, counts }
}

/// The judge, with the state from before the restart.
fn prepare_judge(
    watched: &Arc<Config>,
    outbox: &Arc<Outbox>,
    board: &Board,
    observers: Observers,
    metrics: &Arc<ServiceMetrics>,
    history: Option<history::Handle>,
) -> JudgeThread {
    let mut judge = Judge::new(&watched.mqtt.prefix, &watched.model.name());
    let (baselines, saved) = BaselineFile::load(&watched.state_dir);
    judge.restore_baselines(saved);
    let mut thread = JudgeThread {
        judge,
        baselines,
        topics: Topics::of(watched),
        outbox: Arc::clone(outbox),
        board: board.clone(),
        metrics: Arc::clone(metrics),
        observers,
        steps: ClockSteps::new(Clock::system()),
        checkpoints: Checkpoints::default(),
        history,
    };
    thread.restore();
    thread.reload(watched);
    thread
}
