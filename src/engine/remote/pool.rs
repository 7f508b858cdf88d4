//! The servers of a configuration: connects to them, checks them now and then, and knows which of them is used.
//!
//! One task decides which servers are due ([`super::roster`]), and each check is a task of its own. All of them run on the thread
//! `model-server`, which also drives the connections.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::{
    contract::VisionContract,
    failure::Failure,
    link::Link,
    roster::{Condition, Roster},
};
use crate::{backoff::jitter, config::ModelServer};

/// The servers.
pub(super) struct Pool {
    settings: Arc<ModelServer>,
    contract: VisionContract,
    began: Instant,
    state: Mutex<State>,
    /// A result of a check was reported.
    reported: Condvar,
    /// A server has failed, so that it is due earlier.
    failed: Notify,
}

struct State {
    roster: Roster,
    /// The connections of servers that answer.
    links: Vec<Option<Arc<Link>>>,
    /// The number of each server's newest connection.
    numbers: Vec<u64>,
    /// How many connections there were.
    opened: u64,
    /// The server that was used last, for the log.
    used: Option<usize>,
}

impl Pool {
    pub(super) fn new(settings: Arc<ModelServer>, contract: VisionContract) -> Self {
        let servers = settings.servers.len();
        let links = std::iter::repeat_with(|| None).take(servers).collect();
        let (roster, numbers) = (Roster::new(servers), vec![0; servers]);
        let state = State { roster, links, numbers, opened: 0, used: None };
        Self {
            settings,
            contract,
            began: Instant::now(),
            state: Mutex::new(state),
            reported: Condvar::new(),
            failed: Notify::new(),
        }
    }

    /// Checks servers when they are due, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let due = self.lock().roster.due(self.now());
            for server in due {
                tokio::spawn(Arc::clone(&self).check(server));
            }
            let rest = self.lock().roster.rest(self.now());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.failed.notified() => {}
            }
        }
    }

    async fn check(self: Arc<Self>, server: usize) {
        let link = self.lock().links[server].clone();
        let checked = match link {
            Some(link) => link.check().await.map(|()| link),
            None => {
                let opened = Link::open(&self.settings.servers[server], &self.settings, &self.contract);
                opened.await.map(Arc::new)
            }
        };
        match checked {
            Ok(link) => self.is_ready(server, link),
            Err(failure) => self.has_failed(server, failure),
        }
        // It may be due earlier than the task that waits knows.
        self.failed.notify_one();
    }

    /// Waits until it is known which server is used, for `limit` at most.
    pub(super) fn wait_until_settled(&self, limit: Duration) {
        let state = self.lock();
        let waited = self.reported.wait_timeout_while(state, limit, |state| !state.roster.is_settled());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// The server that is used, and the connection to it.
    pub(super) fn preferred(&self) -> Option<(usize, Arc<Link>)> {
        loop {
            let (server, link) = self.first_ready()?;
            // The vectors of texts may have become known since the server was checked.
            match self.contract.agree_on_length(link.columns()) {
                Ok(()) => return Some((server, link)),
                Err(difference) => self.has_failed(server, link.unsuitable(&difference)),
            }
        }
    }

    /// The number of the connection that is used.
    pub(super) fn connection(&self) -> Option<u64> {
        let (server, _) = self.preferred()?;
        Some(self.lock().numbers[server])
    }

    /// The answers of a connection are wrong. Its server is not used for a while.
    pub(super) fn distrust(&self, connection: u64, why: &str) {
        let mut state = self.lock();
        let Some(server) = state.numbers.iter().position(|number| *number == connection) else { return };
        let condition = Condition::Unsuitable(format!("its answers are wrong: {why}"));
        self.close(&mut state, server, &condition);
        state.roster.distrusted(server, condition, self.now());
        self.has_changed(&mut state);
    }

    fn first_ready(&self) -> Option<(usize, Arc<Link>)> {
        let state = self.lock();
        let server = state.roster.preferred()?;
        Some((server, state.links[server].clone()?))
    }

    /// The server has answered a request.
    pub(super) fn has_answered(&self, server: usize) {
        self.lock().roster.answered(server);
    }

    /// The server has not answered a request or a check. Its connection is closed.
    pub(super) fn has_failed(&self, server: usize, failure: Failure) {
        let mut state = self.lock();
        let condition = match failure {
            Failure::Away(why) | Failure::Rejected(why) => Condition::Away(why),
            Failure::Unsuitable(why) => Condition::Unsuitable(why),
        };
        self.close(&mut state, server, &condition);
        state.roster.failed(server, condition, self.now(), jitter());
        self.has_changed(&mut state);
    }

    /// Closes the connection to a server, before its condition becomes this one.
    fn close(&self, state: &mut State, server: usize, condition: &Condition) {
        state.links[server] = None;
        // The same reason is logged once.
        if state.roster.conditions().nth(server) != Some(condition)
            && let Condition::Away(why) | Condition::Unsuitable(why) = condition
        {
            let address = &self.settings.servers[server];
            warn!("the model server {address} is not used: {why}");
        }
    }

    /// The condition of a server is another one.
    fn has_changed(&self, state: &mut State) {
        self.log_used(state);
        self.reported.notify_all();
        self.failed.notify_one();
    }

    fn is_ready(&self, server: usize, link: Arc<Link>) {
        if let Err(difference) = self.contract.agree_on_length(link.columns()) {
            return self.has_failed(server, link.unsuitable(&difference));
        }
        let mut state = self.lock();
        if state.links[server].is_none() {
            state.opened += 1;
            state.numbers[server] = state.opened;
        }
        state.links[server] = Some(link);
        state.roster.ready(server, self.now());
        self.log_used(&mut state);
        self.reported.notify_all();
    }

    fn log_used(&self, state: &mut State) {
        let used = state.roster.preferred();
        if used != state.used {
            state.used = used;
            if let Some(server) = used {
                let (address, model) = (&self.settings.servers[server], &self.settings.name);
                info!("the model server {address} scores the pictures, with its model {model}");
            }
        }
    }

    /// Whether each server is unsuitable, so that a person must change something.
    pub(super) fn is_hopeless(&self) -> bool {
        let state = self.lock();
        state.roster.conditions().all(|condition| matches!(condition, Condition::Unsuitable(_)))
    }

    /// Why no server is used, for people.
    pub(super) fn why(&self) -> String {
        let state = self.lock();
        let servers = self.settings.servers.iter().zip(state.roster.conditions());
        let reasons = servers.filter_map(|(address, condition)| match condition {
            Condition::Ready => None,
            Condition::Unknown => Some(format!("the model server {address} has not answered yet")),
            Condition::Away(why) | Condition::Unsuitable(why) => {
                Some(format!("the model server {address}: {why}"))
            }
        });
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        if reasons.is_empty() { "the request is to be repeated".to_owned() } else { reasons }
    }

    /// The time since the start, by a clock that is never set.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
