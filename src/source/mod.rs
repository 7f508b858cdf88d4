//! Delivers frames: the thread of each source, and the one loop that keeps a source alive.
//!
//! Every source has its own thread, `source-<name>`, so that its blocking reads and its decoding delay no other source. A
//! source never dies: after a failure it logs the cause, reports its status and tries again, until the stop signal. The
//! kinds of sources are in [`kinds`]: straight-line code that ends with its cause.

pub mod access;
pub mod cause;
pub mod clips;
pub mod context;
pub mod counts;
pub mod crash_record;
pub mod decoders;
pub mod file_times;
pub mod handover;
pub mod info;
pub mod kind;
pub mod kinds;
mod patience;
pub mod problem;
pub mod reachability;
mod retry;
pub mod sampler;
pub mod unchanged;
mod unusable;

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    thread,
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use self::kind::GENERAL_REMEDIES;
#[cfg(fuzzing)]
pub use self::kinds::mqtt::fuzz as fuzz_mqtt;
pub use self::{
    access::Access,
    context::{Admission, Appeared, Context, ForTopics, SLOTS, Status},
    counts::{Counts, Snapshot},
    crash_record::CrashRecord,
    decoders::Decoders,
    info::StreamInfo,
    kind::{Outcome, Probe, Surroundings},
    kinds::{
        causes, picture, probe,
        stream::{
            error::StreamError,
            probe::{Ffmpeg, ffmpeg},
            recording::Recording,
        },
    },
    problem::Problem,
};
use self::{kind::Failure, kinds::Running, patience::Patience, reachability::Reachability, retry::Retry};
use crate::config;

/// How often an idle source signals that its thread is not blocked.
const BEAT: Duration = Duration::from_secs(5);

/// Starts `source` on its own thread, which ends when `context.stop` is cancelled.
///
/// # Errors
/// When the system refuses another thread.
pub fn spawn(source: &config::Source, context: Context) -> io::Result<thread::JoinHandle<()>> {
    // The source's own runtime: its timers, channels and sockets live and end with the thread.
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
        // A request that is in flight has its own time-out and must not delay the end.
        runtime.shutdown_background();
    })
}

/// Signals progress while the source waits; a blocked thread sends no signal.
async fn beat(context: &Context) {
    loop {
        context.counts.pulse().beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// The retry loop of every source.
async fn keep_alive(settings: &config::Source, context: &Context) {
    let (mut source, mut retry) = (Running::new(settings), Retry::default());
    let mut host = Reachability::of(settings.kind.settings().tcp_address());
    // Single failures have a log limit of their own.
    let (mut patience, mut single) = (Patience::default(), Retry::default());
    loop {
        let started = Instant::now();
        let ended = match caught(source.run_once(context)).await {
            Some(ended) => ended,
            None => {
                // A panic may leave its state inconsistent.
                source = Running::new(settings);
                Err(Failure::offline(anyhow::anyhow!(
                    "a bug in the program, described above; please report it"
                )))
            }
        };
        let Err(Failure { cause, status, refused }) = ended else {
            context.report(Status::Offline);
            break;
        };
        let (now, online) = (Instant::now(), *context.status.borrow() == Status::Online);
        let has_worked = context.counts.take_good();
        if has_worked {
            host.reset();
        }
        let is_transient = patience.failed(has_worked, status, now.into_std()) && online;
        if !is_transient {
            context.report(status);
        }
        let refused = refused && !is_transient;
        let delay = retry.failed(now - started, refused, online);
        let (name, cause) = (&*context.name, format!("{cause:#}"));
        if !is_transient {
            context.fail(&cause);
        }
        if is_transient && single.is_news(&cause, false, now) {
            tracing::warn!(source = name, cause, "{cause}; the source tries again and stays online");
        } else if !is_transient && retry.is_news(&cause, refused, now) {
            tracing::error!(source = name, cause, "the source failed; it will try again");
        }
        tokio::select! {
            () = context.stop.cancelled() => break,
            () = tokio::time::sleep(delay) => {}
            // The pause after a single failure is short anyway.
            () = host.restored(), if !refused && !is_transient => retry.reachable_again(),
        }
    }
    source.end(context);
}

/// The result of `future`; `None` if it panics. A source that meets a bug loses its state and continues.
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
    async fn a_panic_is_a_result_and_not_the_end() {
        assert_eq!(caught(async { tokio::task::yield_now().await }).await, Some(()));
        let panics = async {
            tokio::task::yield_now().await;
            panic!("as a test")
        };
        assert_eq!(caught::<()>(panics).await, None);
    }
}
