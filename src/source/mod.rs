//! Where frames come from: the kinds of source, and the one loop that keeps a source alive.
//!
//! Every source has a thread of its own, `source-<name>`, so that its blocking reads and its decoding hold up nobody
//! else. A source never dies: whatever goes wrong it says so, reports its status and tries again, until it is told to
//! stop. A kind of source refuses to retry by itself; it is straight-line code that ends with its cause.

mod cause;
mod counts;
pub mod handover;
mod info;
pub mod kinds;
pub mod reachability;
mod retry;
mod sampler;
mod unchanged;

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    thread,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

#[cfg(fuzzing)]
pub use self::kinds::mqtt::fuzz as fuzz_mqtt;
pub use self::{
    cause::{Cause, Causes},
    counts::{Counts, Snapshot},
    info::StreamInfo,
    kinds::{
        http::probe as probe_http,
        stream::{Ffmpeg, Recording, StreamError, StreamProbe, ffmpeg, probe as probe_stream},
    },
};
use self::{reachability::Reachability, retry::Retry};
use crate::{
    config::{self, SourceKind},
    frame::Frame,
};

/// So often a source that has nothing to do shows that it could.
const BEAT: Duration = Duration::from_secs(5);

/// How many frames of one source may be under way.
pub const SLOTS: usize = 4;

/// Whether a source delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does, or would as soon as there is something.
    Online,
    /// It cannot; it keeps trying. Every source starts like this.
    Offline,
    /// It is connected, yet nothing comes.
    Stalled,
}

impl Status {
    /// The word that is published.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Stalled => "stalled",
        }
    }
}

/// What a source is given to work with.
#[derive(Debug)]
pub struct Context {
    /// The name of the source, as typed.
    pub name: Arc<str>,
    /// Where the frames go.
    pub frames: mpsc::Sender<Frame>,
    /// The slots of this source: [`SLOTS`] permits that no other source uses.
    pub slots: Arc<Semaphore>,
    /// Tells the source to end.
    pub stop: CancellationToken,
    /// Cancelled by the source when it has said for the first time how it is doing: a folder is watched then, or is not there.
    pub begun: CancellationToken,
    /// Where the source says whether it delivers.
    pub status: watch::Sender<Status>,
    /// Where the source counts.
    pub counts: Arc<Counts>,
    /// Pictures that would decode to more pixels are refused.
    pub max_pixels: u64,
    /// What only sources of MQTT topics need; `None` where there are none of them.
    pub topics: Option<ForTopics>,
}

/// What sources of MQTT topics need besides.
#[derive(Debug)]
pub struct ForTopics {
    /// The broker that they listen to unless they name another one.
    pub broker: config::Mqtt,
    /// Where one asks whether there may be another source of the name that its pictures give.
    pub appeared: mpsc::Sender<Appeared>,
}

/// A source with a pattern for names has met a name for the first time.
#[derive(Debug)]
pub struct Appeared {
    /// The name of the source with the pattern.
    pub source: Arc<str>,
    /// The name that was met.
    pub name: String,
    /// The topic that led to it.
    pub topic: String,
    /// Whether frames may be sent under this name. When it is told, everything is ready for the first of them.
    pub answer: oneshot::Sender<Admission>,
}

/// The answer to [`Appeared`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Frames are sent under this name, which may be an earlier spelling of the same one.
    Admitted(Arc<str>),
    /// There can be no such source, and why.
    Refused(String),
}

impl Context {
    /// Tells the status to whoever listens, if it changed; the first time that the source has begun.
    fn report(&self, status: Status) {
        self.status.send_if_modified(|old| std::mem::replace(old, status) != status);
        self.begun.cancel();
    }
}

/// Starts `source` on its own thread, which ends when `context.stop` is cancelled.
///
/// # Errors
/// When the system refuses another thread.
pub fn spawn(source: &config::Source, context: Context) -> io::Result<thread::JoinHandle<()>> {
    // The source's own runtime: its timers, channels, sockets and knocks at doors; it lives and ends with the thread.
    let name = format!("source-{}", context.name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name(&name)
        .max_blocking_threads(1)
        .build()?;
    let source = source.clone();
    thread::Builder::new().name(name).spawn(move || {
        let _at_work = context.counts.pulse().work();
        runtime.block_on(async {
            tokio::select! {
                () = keep_alive(&source, &context) => {}
                () = beat(&context) => {}
            }
        });
        // A request that is still under way then has its own time-out and must not hold up the end.
        runtime.shutdown_background();
    })
}

/// The causes that a source of this kind can report.
#[must_use]
pub fn causes(kind: &SourceKind) -> Causes {
    match kind {
        SourceKind::Folder(_) => kinds::folder::CAUSES,
        SourceKind::Stream(_) => kinds::stream::CAUSES,
        SourceKind::Http(_) => kinds::http::CAUSES,
        SourceKind::Mqtt(_) => kinds::mqtt::CAUSES,
    }
}

/// What the kinds have in common; what a kind must remember over its failures is inside.
enum Kind {
    Folder(Box<kinds::folder::FolderSource>),
    Stream(Box<kinds::stream::StreamSource>),
    Http(Box<kinds::http::HttpSource>),
    Mqtt(Box<kinds::mqtt::MqttSource>),
}

/// Why a source cannot go on, and what follows from it.
struct Trouble {
    cause: anyhow::Error,
    /// What it is until it is tried again.
    status: Status,
    /// Somebody has to put something right first: it is tried again slowly.
    refused: bool,
}

impl From<kinds::folder::FolderError> for Trouble {
    fn from(error: kinds::folder::FolderError) -> Self {
        Self { cause: error.into(), status: Status::Offline, refused: false }
    }
}

impl From<StreamError> for Trouble {
    fn from(error: StreamError) -> Self {
        Self { refused: error.is_refusal(), status: error.status(), cause: error.into() }
    }
}

impl From<kinds::http::HttpError> for Trouble {
    fn from(error: kinds::http::HttpError) -> Self {
        Self { refused: error.is_refusal(), cause: error.into(), status: Status::Offline }
    }
}

impl From<kinds::mqtt::MqttError> for Trouble {
    fn from(error: kinds::mqtt::MqttError) -> Self {
        Self { refused: error.is_refusal(), cause: error.into(), status: Status::Offline }
    }
}

impl Kind {
    fn new(source: &config::Source) -> Self {
        let regions = &source.regions;
        match &source.kind {
            SourceKind::Folder(folder) => Self::Folder(Box::new(kinds::folder::FolderSource::new(folder))),
            SourceKind::Stream(stream) => {
                Self::Stream(Box::new(kinds::stream::StreamSource::new(stream, regions)))
            }
            SourceKind::Http(http) => Self::Http(Box::new(kinds::http::HttpSource::new(http, regions))),
            SourceKind::Mqtt(mqtt) => Self::Mqtt(Box::new(kinds::mqtt::MqttSource::new(mqtt))),
        }
    }

    /// Delivers frames until it is told to stop (`Ok`) or cannot go on.
    async fn run_once(&mut self, context: &Context) -> Result<(), Trouble> {
        match self {
            Self::Folder(folder) => Ok(folder.run_once(context).await?),
            Self::Stream(stream) => Ok(stream.run_once(context).await?),
            Self::Http(http) => Ok(http.run_once(context).await?),
            Self::Mqtt(mqtt) => Ok(mqtt.run_once(context).await?),
        }
    }

    /// What is left to do when it was told to stop.
    fn end(&mut self, context: &Context) {
        match self {
            Self::Folder(folder) => folder.end(context),
            Self::Stream(_) | Self::Http(_) | Self::Mqtt(_) => {}
        }
    }
}

/// A source that waits for something is well; what blocks its thread gives no sign by itself.
async fn beat(context: &Context) {
    loop {
        context.counts.pulse().beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// The one retry loop.
async fn keep_alive(settings: &config::Source, context: &Context) {
    let (mut kind, mut retry) = (Kind::new(settings), Retry::default());
    let mut host = Reachability::of(settings.kind.door());
    loop {
        let started = Instant::now();
        let ended = match caught(kind.run_once(context)).await {
            Some(ended) => ended,
            None => {
                // What it remembered may be half a thought.
                kind = Kind::new(settings);
                let cause = anyhow::anyhow!("a fault in the program, described above; please report it");
                Err(Trouble { cause, status: Status::Offline, refused: false })
            }
        };
        let online = *context.status.borrow() == Status::Online;
        if online {
            host.reset();
        }
        context.report(ended.as_ref().err().map_or(Status::Offline, |trouble| trouble.status));
        let Err(trouble) = ended else { break };

        let now = Instant::now();
        let delay = retry.failed(now - started, trouble.refused, online);
        let cause = format!("{:#}", trouble.cause);
        if retry.is_news(&cause, trouble.refused, now) {
            tracing::error!(source = &*context.name, cause, "the source cannot go on; it will try again");
        }
        tokio::select! {
            () = context.stop.cancelled() => break,
            () = tokio::time::sleep(delay) => {}
            () = host.restored(), if !trouble.refused => retry.reachable_again(),
        }
    }
    kind.end(context);
}

/// What `future` comes to; `None` if it panics. A source that meets a fault of ours loses what it remembered and goes on.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|task| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_not_the_end() {
        assert_eq!(caught(async { tokio::task::yield_now().await }).await, Some(()));
        let panics = async {
            tokio::task::yield_now().await;
            panic!("as a test")
        };
        assert_eq!(caught::<()>(panics).await, None);
    }
}
