//! A sink that follows a script, with a clock that moves on only when everything waits.

use std::{collections::VecDeque, sync::Mutex};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The answers of a sink, and what it was sent, with the time since the start.
#[derive(Clone)]
pub(super) struct Script {
    answers: Arc<Mutex<VecDeque<Result<(), Failure>>>>,
    sent: Arc<Mutex<Vec<(String, Duration)>>>,
    began: Instant,
}

impl Script {
    /// After the last answer everything is accepted.
    fn new(answers: impl IntoIterator<Item = Result<(), Failure>>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { answers, sent: Arc::default(), began: Instant::now() }
    }

    pub(super) fn send(&self, entry: &Entry) -> Result<(), Failure> {
        self.sent.lock().unwrap().push((entry.id.clone(), self.began.elapsed()));
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))
    }

    fn ids(&self) -> String {
        self.sent.lock().unwrap().iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// A worker for `script`, its outbox with this many alerts, and its stop signal.
fn start(
    script: &Script,
    alerts: u32,
) -> (tempfile::TempDir, Arc<Outbox>, CancellationToken, tokio::task::JoinHandle<()>) {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Arc::new(Outbox::with(folder.path(), Default::default(), &[Sink::Webhook]).unwrap());
    (1..=alerts).for_each(|number| append(&outbox, number));
    let worker = SinkWorker::new(Sink::Webhook, Target::Script(script.clone()), "the script".to_owned());
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(Arc::clone(&outbox), stop.clone(), 5 * SECOND));
    (folder, outbox, stop, running)
}

fn append(outbox: &Outbox, number: u32) {
    let text = || "text".to_owned();
    outbox.append(&Entry {
        id: number.to_string(),
        topic: text(),
        payload: text(),
        snapshot: None,
        mark: None,
    });
}

async fn until_empty(outbox: &Outbox) {
    while outbox.waiting_for(Sink::Webhook) > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

fn unavailable() -> Result<(), Failure> {
    Err(Failure::Unavailable("no route".to_owned()))
}

fn refused() -> Result<(), Failure> {
    Err(Failure::Refused("400".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_sink_gets_its_alerts_in_order_when_it_is_back() {
    let script = Script::new([unavailable(), unavailable(), unavailable()]);
    let (_folder, outbox, ..) = start(&script, 3);
    until_empty(&outbox).await;
    assert_eq!(script.ids(), "1 1 1 1 2 3");
    let times: Vec<_> = script.sent.lock().unwrap().iter().map(|(_, at)| *at).collect();
    // Delays of 1, 2 and 4 s, each shortened by up to a half.
    assert!((Duration::from_millis(3500)..=7 * SECOND + SECOND / 10).contains(&times[3]), "{times:?}");
    append(&outbox, 4);
    until_empty(&outbox).await;
    assert_eq!(script.ids(), "1 1 1 1 2 3 4", "an append wakes the worker");
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_refused_again_and_again_is_overtaken_and_offered_again_later() {
    let script = Script::new(std::iter::repeat_with(refused).take(5));
    let (_folder, outbox, ..) = start(&script, 3);
    until_empty(&outbox).await;
    assert_eq!(script.ids(), "1 1 1 1 1 2 3 1");
    let last = script.sent.lock().unwrap().last().unwrap().1;
    assert!((600 * SECOND..620 * SECOND).contains(&last), "after ten minutes, not {last:?}");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_left_is_sent_and_a_failure_ends_that() {
    for (answers, left) in [(vec![], 0), (vec![Ok(()), unavailable()], 2)] {
        let script = Script::new(answers);
        let (_folder, outbox, stop, running) = start(&script, 3);
        stop.cancel();
        let stopped = Instant::now();
        running.await.unwrap();
        assert_eq!(outbox.waiting_for(Sink::Webhook), left);
        assert_eq!(stopped.elapsed(), Duration::ZERO, "nothing is waited for");
    }
}
