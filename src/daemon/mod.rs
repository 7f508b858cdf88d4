//! The only wiring: builds the parts, connects them, waits for the word to stop, and takes them down in order.
//!
//! It refuses to decide anything about frames, scores or alerts; that is `judge` and what it calls. What changes while it
//! runs is made ready by `reader` and carried out by `keeper`, as `plan` says.

mod baselines;
pub mod config_applier;
mod delivery;
pub mod dynamic_sources;
pub mod judge_thread;
mod plan;
mod reader;
mod signals;
mod sources;
pub mod stale_topics;
pub mod watchdog;

use std::{path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    baselines::Baselines,
    config_applier::Keeper,
    delivery::Delivery,
    dynamic_sources::Members,
    judge_thread::Judging,
    plan::Plan,
    reader::Reader,
    signals::{Reloads, Signals},
    sources::Sources,
    stale_topics::Leftovers,
};
pub use crate::judge::Judge;
use crate::{
    alert::{
        Topics,
        board::Board,
        home_assistant::Announcement,
        publisher::{Announcer, Publisher},
    },
    classify::{self, LabelEncoder, LoadError, labels::VectorCache},
    config::{self, Config},
    observe::{metrics::Figures, score_publisher::Meter},
    source, web,
};

/// How long everything under way may take to reach the disk and the broker after the word to stop.
const DEADLINE: Duration = Duration::from_secs(10);
/// How much of it the publisher may use.
const GRACE: Duration = Duration::from_secs(5);
/// So many frames may be between two parts: the slots of a thousand sources, however many come while it runs. Room that
/// is not used costs nothing.
const UNDER_WAY: usize = 1000 * source::SLOTS;

/// Watches as `config` says until told to stop by SIGTERM or SIGINT. The files of `config`, of which `path` is the main
/// one, may change meanwhile.
///
/// # Errors
/// What hinders the start, or which part ended without being told to.
pub fn run(path: &Path, config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let ended = runtime.block_on(watch_until_told(path, config));
    // What still runs then (after the deadline, say) must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn watch_until_told(path: &Path, config: Config) -> anyhow::Result<()> {
    // First of all, so that a signal during the start is not the end of the process but the end of its work.
    let mut told = Signals::new()?;
    let figures = Arc::new(Figures::new(&config));
    if let Some(settings) = &config.listen {
        let figures = Arc::clone(&figures);
        web::start(settings, Arc::new(move |path| figures.answer(path)))?;
    }
    signals::tell_systemd_status("loading the model");
    let (mut house, look_again) = House::build(path, &config, &figures).await?;
    figures.set_ready(true);
    signals::tell_systemd_ready();
    tracing::info!(
        sources = config.sources.len(),
        label_sets = config.label_sets.len(),
        model = &*config.model.name(),
        "watching"
    );
    let ask = config::watch::watch(path, look_again).context("cannot watch the configuration")?;
    told.hang_up_asks(ask, house.keeper.reloads.clone());
    let topics = Topics::new(&config.mqtt.prefix);
    let vitals = watchdog::tell(Arc::clone(&figures), house.keeper.board.clone(), topics);

    tokio::select! {
        signal = told.stop() => tracing::info!(signal, "stopping"),
        part = house.ends.next() => bail!("{part} ended without being told to; its last words are above"),
        error = house.keeper.run() => return Err(error),
        () = vitals => bail!("nobody tells systemd any more"),
    }
    figures.set_ready(false);
    signals::tell_systemd_stopping();
    tokio::select! {
        done = house.stop() => done,
        () = tokio::time::sleep(DEADLINE) => {
            bail!("stopped after {} s with work left; alerts that were raised are in the outbox", DEADLINE.as_secs())
        }
        signal = told.stop() => bail!("stopped at once by a second signal ({signal})"),
    }
}

/// The parts, connected and running.
struct House {
    keeper: Keeper,
    ends: Ends,
}

/// How each part tells that it ended.
struct Ends {
    model: thread::JoinHandle<Result<classify::Counts, classify::ReceiverGone>>,
    /// Closes when the judge ends. It ends when the model does, so this speaks for both.
    judge: oneshot::Receiver<()>,
    delivery: Delivery,
}

impl House {
    /// Builds from the end to the beginning, so that nothing flows before it can go the whole way. Each word into the
    /// sender is a look at the configuration.
    async fn build(
        path: &Path,
        config: &Config,
        figures: &Arc<Figures>,
    ) -> anyhow::Result<(Self, mpsc::Sender<()>)> {
        let outbox = Arc::new(delivery::open(config)?);
        let model = classify::load_model(config)?;
        let mut encoder = LabelEncoder::new(&model, VectorCache::of_user());
        // Sources that topics named before are watched before their next picture.
        let mut members = Members::recall(&config.state_dir);
        let watched = members.expand(config);
        let mut leftovers = Leftovers::recall(&config.state_dir);
        let watchlist = encoder.watchlist(&watched.label_sets, &watched.sources).map_err(LoadError::from)?;

        // What the broker should know before the first frame: no label is raised, no source is there yet.
        let (topics, board) = (Topics::new(&config.mqtt.prefix), Board::new());
        board.set(&topics.config_status(), &config_applier::status(&[]));
        let retained = stale_topics::retained(&watched, config, &topics);
        for gone in leftovers.gone(&retained) {
            board.set(&gone, "");
        }
        leftovers.add(retained.clone());
        let mut judge = Judge::new(&config.mqtt.prefix, &config.model.name());
        let (baselines, known) = Baselines::recall(&config.state_dir);
        judge.remember(known);
        let announcer = Announcer::new(Announcement::of(&watched));
        let publisher = Publisher::new(&config.mqtt, Arc::clone(&outbox), &board)?
            .announcing(&announcer, &config.state_dir);
        figures.delivers(config, publisher.counts(), Arc::clone(&outbox));
        let meter = Meter::new(topics.clone(), publisher.scores());
        let (topics_of_judge, outbox_of_judge) = (topics.clone(), Arc::clone(&outbox));
        let mut judging = Judging {
            judge,
            baselines,
            meter,
            topics: topics_of_judge,
            outbox: outbox_of_judge,
            board: board.clone(),
            figures: Arc::clone(figures),
        };
        judging.recall();
        judging.reload(&watched);
        let delivery = Delivery::start(config, &outbox, publisher, &board, GRACE);

        let (scored, to_judge) = mpsc::channel(UNDER_WAY);
        let (frames, to_model) = mpsc::channel(UNDER_WAY);
        let (configs, to_follow) = mpsc::channel(1);
        let (watchlist, to_look_for) = watch::channel(Arc::new(watchlist));
        let judge = judging.spawn(to_judge, to_follow)?;
        let model = classify::spawn(model, to_look_for, to_model, scored, Arc::clone(&figures.model))?;

        let nothing = Config { sources: Vec::new(), ..config.clone() };
        let (appears, appeared) = mpsc::channel(1);
        let mut sources = Sources::new(frames, appears, topics.clone(), board.clone(), Arc::clone(figures));
        sources.carry_out(&Plan::between(&nothing, config)).await?;
        sources.tell_of(config, &members);

        let (look_again, to_reader) = mpsc::channel(1);
        let (news, to_keeper) = mpsc::channel(1);
        let reloads = Reloads::default();
        let reader = Reader {
            path: path.to_owned(),
            in_force: config.clone(),
            encoder,
            figures: Arc::clone(figures),
            reloads: reloads.clone(),
        };
        reader.spawn(to_reader, news)?;
        let keeper = Keeper {
            news: to_keeper,
            watchlist,
            judge: configs,
            sources,
            topics,
            board,
            announcer,
            appeared,
            members,
            figures: Arc::clone(figures),
            leftovers,
            retained,
            in_force: config.clone(),
            invalid: false,
            reloads,
        };
        let ends = Ends { model, judge, delivery };
        Ok((Self { keeper, ends }, look_again))
    }

    /// Only the sources are told; the rest ends when what it reads from has ended, and the publisher last. A look at the
    /// configuration that is under way comes to nothing.
    async fn stop(self) -> anyhow::Result<()> {
        let (mut leftovers, retained) = (self.keeper.leftovers, self.keeper.retained);
        let sources = self.keeper.sources.tell_to_end();
        // The judge is the last to see a frame: when it has ended, every frame under way went the whole way.
        let _ = self.ends.judge.await;
        sources.join().await?;
        let counts = self.ends.model.join().map_err(|_| anyhow!("the model panicked"))??;
        let classify::Counts { scored, repeated, failed, unwatched } = counts;
        tracing::info!(scored, repeated, failed, unwatched, "the model is done");

        if self.ends.delivery.stop().await?.said {
            leftovers.settle(retained);
        }
        Ok(())
    }
}

impl Ends {
    /// Which part ended that should not have.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.judge => if self.model.is_finished() { "the model" } else { "the judge" },
            part = self.delivery.next() => part,
        }
    }
}
