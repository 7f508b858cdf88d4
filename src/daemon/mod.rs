//! The only wiring: builds the parts, connects them, waits for the word to stop, and takes them down in order.
//!
//! It refuses to decide anything about frames, scores or alerts; that is `judge` and what it calls. What changes while it
//! runs is made ready by `reader` and carried out by `keeper`, as `plan` says.

mod judge;
mod judging;
mod keeper;
mod meter;
mod plan;
mod reader;
#[cfg(test)]
mod samples;
mod signals;
mod sources;

use std::{path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use self::judge::Judge;
use self::{
    judging::Judging, keeper::Keeper, meter::Meter, plan::Plan, reader::Reader, signals::Signals,
    sources::Sources,
};
use crate::{
    alert::{
        Topics,
        board::Board,
        home_assistant::Announcement,
        outbox::{self, Outbox},
        publisher::{Announcer, Farewell, Publisher},
    },
    classify::{self, LabelEncoder, LoadError, labels::VectorCache},
    config::{self, Config},
    source,
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
    let (mut house, look_again) = House::build(path, &config).await?;
    signals::tell_systemd_ready();
    tracing::info!(
        sources = config.sources.len(),
        label_sets = config.label_sets.len(),
        model = &*config.model.name(),
        "watching"
    );
    let ask = config::watch::watch(path, look_again).context("cannot watch the configuration")?;
    told.hang_up_asks(ask);

    tokio::select! {
        signal = told.stop() => tracing::info!(signal, "stopping"),
        part = house.ends.next() => bail!("{part} ended without being told to; its last words are above"),
        error = house.keeper.run() => return Err(error),
    }
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
    stop_publisher: CancellationToken,
}

/// How each part tells that it ended.
struct Ends {
    model: thread::JoinHandle<Result<classify::Counts, classify::NobodyListens>>,
    /// Closes when the judge ends. It ends when the model does, so this speaks for both.
    judge: oneshot::Receiver<()>,
    publisher: JoinHandle<Result<Farewell, outbox::Error>>,
}

impl House {
    /// Builds from the end to the beginning, so that nothing flows before it can go the whole way. Each word into the
    /// sender is a look at the configuration.
    async fn build(path: &Path, config: &Config) -> anyhow::Result<(Self, mpsc::Sender<()>)> {
        let outbox = Arc::new(Outbox::open(&config.state_dir)?);
        let model = classify::load_model(config)?;
        let mut encoder = LabelEncoder::new(&model, VectorCache::of_user());
        let watchlist = encoder.watchlist(&config.label_sets, &config.sources).map_err(LoadError::from)?;

        // What the broker should know before the first frame: no label is raised, no source is there yet.
        let (topics, board) = (Topics::new(&config.mqtt.prefix), Board::new());
        board.set(&topics.config_status(), &keeper::status(&[]));
        let judge = Judge::new(&config.mqtt.prefix, &config.model.name());
        let announcer = Announcer::new(Announcement::of(config));
        let publisher = Publisher::new(&config.mqtt, Arc::clone(&outbox), &board)?
            .announcing(&announcer, &config.state_dir);
        let meter = Meter::new(topics.clone(), publisher.scores());
        let mut judging = Judging { judge, meter, topics: topics.clone(), outbox, board: board.clone() };
        judging.reload(config);
        let stop_publisher = CancellationToken::new();
        let publisher = tokio::spawn(publisher.run(stop_publisher.clone(), GRACE));

        let (scored, to_judge) = mpsc::channel(UNDER_WAY);
        let (frames, to_model) = mpsc::channel(UNDER_WAY);
        let (configs, to_follow) = mpsc::channel(1);
        let (watchlist, to_look_for) = watch::channel(Arc::new(watchlist));
        let judge = judging.spawn(to_judge, to_follow)?;
        let model = classify::spawn(model, to_look_for, to_model, scored)?;

        let nothing = Config { sources: Vec::new(), ..config.clone() };
        let mut sources = Sources::new(frames, topics.clone(), board.clone());
        sources.carry_out(&Plan::between(&nothing, config)).await?;

        let (look_again, to_reader) = mpsc::channel(1);
        let (news, to_keeper) = mpsc::channel(1);
        Reader { path: path.to_owned(), in_force: config.clone(), encoder }.spawn(to_reader, news)?;
        let keeper = Keeper {
            news: to_keeper,
            watchlist,
            judge: configs,
            sources,
            topics,
            board,
            announcer,
            invalid: false,
        };
        let ends = Ends { model, judge, publisher };
        Ok((Self { keeper, ends, stop_publisher }, look_again))
    }

    /// Only the sources are told; the rest ends when what it reads from has ended, and the publisher last. A look at the
    /// configuration that is under way comes to nothing.
    async fn stop(self) -> anyhow::Result<()> {
        let sources = self.keeper.sources.tell_to_end();
        // The judge is the last to see a frame: when it has ended, every frame under way went the whole way.
        let _ = self.ends.judge.await;
        sources.join().await?;
        let counts = self.ends.model.join().map_err(|_| anyhow!("the model panicked"))??;
        let classify::Counts { scored, failed, unwatched } = counts;
        tracing::info!(scored, failed, unwatched, "the model is done");

        self.stop_publisher.cancel();
        let farewell = self.ends.publisher.await.context("the publisher panicked")??;
        tracing::info!(waiting = farewell.waiting, said_offline = farewell.said, "stopped");
        Ok(())
    }
}

impl Ends {
    /// Which part ended that should not have.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.judge => if self.model.is_finished() { "the model" } else { "the judge" },
            _ = &mut self.publisher => "the publisher",
        }
    }
}
