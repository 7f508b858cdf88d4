//! One connection to the broker, from `online` to `offline`: straight-line code that ends at the first trouble.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    BOARD_LAG, FEW, GOODBYE, Interrupted, JSON, Publisher, TEXT,
    discovery::Discovery,
    link::{self, Link, Message},
    outage::Word,
    window::Step,
};
use crate::alert::{
    OFFLINE, ONLINE,
    board::{self, Values},
};

impl Publisher {
    /// One connection, from beginning to end. A new client each time: nothing of an old one can get in the way.
    pub(super) async fn session(
        &mut self,
        stop: &CancellationToken,
        grace: Duration,
    ) -> Result<(), Interrupted> {
        let (link, pump) = link::open(self.options.clone());
        tokio::select! {
            ended = pump.run() => Ok(ended?),
            interrupted = self.talk(&link, stop, grace) => interrupted,
            // Without a goodbye the last will says it.
            () = async { stop.cancelled().await; sleep(grace).await } => Err(Interrupted::OutOfTime),
        }
    }

    async fn talk(
        &mut self,
        link: &Link,
        stop: &CancellationToken,
        grace: Duration,
    ) -> Result<(), Interrupted> {
        tokio::select! {
            () = link.connected() => {}
            // A broker that was away until now is not waited for.
            () = stop.cancelled(), if self.outage.is_on() => return Err(Interrupted::OutOfTime),
        }
        let topic = self.topics.status();
        let status = Message { topic: &topic, retain: true, kind: TEXT, expiry: None };
        if let Err(refusal) = link.deliver(status, ONLINE.into()).await? {
            self.warn_refused(&topic, &refusal);
        }
        self.connected().await;
        self.serve(link, stop, grace).await?;
        if let Err(refusal) = link.deliver(status, OFFLINE.into()).await? {
            self.warn_refused(&topic, &refusal);
        }
        link.disconnect().await;
        Ok(())
    }

    /// Tells what is there and what comes: alerts first, then the board, then Home Assistant, then scores; until `stop` and nothing is left or the time is up.
    async fn serve(
        &mut self,
        link: &Link,
        stop: &CancellationToken,
        grace: Duration,
    ) -> Result<(), Interrupted> {
        let (mut told, mut leave) = (Values::new(), None);
        self.tell_board(link, &mut told).await?;
        let mut board_told = Instant::now();
        let mut announcing = false;
        loop {
            // Asked first: what was there before `stop` is seen below.
            if stop.is_cancelled() {
                leave.get_or_insert_with(|| Instant::now() + grace.saturating_sub(GOODBYE));
            }
            let step = self.deliver_some(link).await?;
            let more = step == Step::More && leave.is_none_or(|leave| Instant::now() < leave);
            // Alerts first. Of the board the newest values alone count, so it waits for a pause, but not for long.
            if !more || board_told.elapsed() > BOARD_LAG {
                self.tell_board(link, &mut told).await?;
                announcing = leave.is_none() && self.announce_next(link).await?;
                board_told = Instant::now();
            }
            if more || announcing {
                continue;
            }
            if leave.is_some() {
                return self.settle_all().await;
            }
            tokio::select! {
                () = self.window.due(&self.outbox) => {}
                _ = self.news.changed() => {}
                () = news_of(self.discovery.as_mut()) => {}
                scores = self.scores.next() => self.offer_scores(link, scores),
                () = stop.cancelled() => {}
            }
        }
    }

    /// Makes the broker equal to the board: everything at first, later what changed.
    async fn tell_board(&mut self, link: &Link, told: &mut Values) -> Result<(), Interrupted> {
        let news = {
            let values = self.news.borrow_and_update();
            // What left the board is news if it comes back.
            told.retain(|topic, _| values.contains_key(topic));
            board::news(&values, told).into_iter().collect::<Vec<_>>()
        };
        // Of two answers to two messages a broker with Nagle's algorithm holds back the second until our system
        // acknowledges the first, which it delays by 40 ms: longer than a few take one by one.
        let at_once = if news.len() <= FEW { 1 } else { news.len() };
        let mut refused = None;
        for news in news.chunks(at_once) {
            let mut receipts = Vec::with_capacity(news.len());
            for (topic, payload) in news {
                let kind = if payload.starts_with('{') { JSON } else { TEXT };
                let message = Message { topic, retain: true, kind, expiry: None };
                receipts.push((topic, link.send(message, payload.as_bytes().to_vec()).await?));
                told.insert(topic.clone(), Arc::clone(payload));
            }
            for (topic, receipt) in receipts {
                if let Err(refusal) = receipt.answer().await? {
                    refused.get_or_insert((topic.clone(), refusal));
                }
            }
        }
        // Tried again when it changes, and in the next session: the newest value alone counts. One speaks for all.
        if let Some((topic, refusal)) = refused {
            self.warn_refused(&topic, &refusal);
        }
        Ok(())
    }

    async fn connected(&mut self) {
        self.counts.connected.store(true, Ordering::Relaxed);
        self.let_go().await;
        self.rewind();
        self.forget_scores();
        if let Some(discovery) = &mut self.discovery {
            discovery.start_over();
        }
        let (broker, waiting) = (&self.url, self.outbox.waiting());
        match self.outage.over(Instant::now()) {
            Word::First => tracing::info!(broker, waiting, "connected to the broker"),
            Word::Back(away) => {
                let away_s = away.as_secs();
                tracing::info!(
                    broker,
                    waiting,
                    away_s,
                    "the broker is back; the alerts that waited are sent now"
                );
            }
            Word::Nothing => {}
        }
    }
}

async fn news_of(discovery: Option<&mut Discovery>) {
    match discovery {
        Some(discovery) => discovery.news().await,
        None => std::future::pending().await,
    }
}
