//! Carries out what changes in the configuration while everything else goes on, and tells how the configuration is.
//!
//! The only place that knows the order: what is looked for changes before the triggers, and both before the sources.
//! It refuses to wait for anything slow but a source's end; what a change needs comes ready-made from the
//! [`reader`](super::reader).

use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{
    dynamic_sources::{Answer, Members},
    plan::Plan,
    reader::News,
    signals::{Look, Reloads},
    sources::Sources,
    stale_topics::{self, Leftovers},
};
use crate::{
    alert::{Topics, board::Board, home_assistant::Announcement, publisher::Announcer},
    classify::Watchlist,
    config::Config,
    observe::metrics::Figures,
    source::{Admission, Appeared},
};

/// The ends that a change reaches everything by.
pub(super) struct Keeper {
    pub(super) news: mpsc::Receiver<(Look, News)>,
    pub(super) watchlist: watch::Sender<Arc<Watchlist>>,
    pub(super) judge: mpsc::Sender<Arc<Config>>,
    pub(super) sources: Sources,
    pub(super) topics: Topics,
    pub(super) board: Board,
    pub(super) announcer: Announcer,
    /// Names that sources meet.
    pub(super) appeared: mpsc::Receiver<Appeared>,
    pub(super) members: Members,
    pub(super) figures: Arc<Figures>,
    /// What the broker may keep of us, and of that what it should.
    pub(super) leftovers: Leftovers,
    pub(super) retained: BTreeSet<String>,
    /// As typed, without members.
    pub(super) in_force: Config,
    /// Whether the newest look found mistakes.
    pub(super) invalid: bool,
    pub(super) reloads: Reloads,
}

impl Keeper {
    /// Carries out one change after the other. It ends only when it cannot go on; then it says why.
    pub(super) async fn run(&mut self) -> anyhow::Error {
        loop {
            let done = tokio::select! {
                news = self.news.recv() => match news {
                    Some((look, news)) => self.follow(news).await.map(|()| self.reloads.done(&look)),
                    None => return anyhow::anyhow!(
                        "nobody reads the configuration any more; the last words of who did are above"
                    ),
                },
                Some(appeared) = self.appeared.recv() => {
                    self.admit(appeared).await;
                    Ok(())
                }
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    async fn follow(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::Valid { plan, watchlist } => {
                self.figures.reloaded(true);
                self.carry_out(&plan, watchlist).await?;
                self.tell(&status(&plan.after_restart));
                if std::mem::take(&mut self.invalid) {
                    tracing::info!("the configuration is in order again");
                }
            }
            News::Invalid(problems) => {
                self.figures.reloaded(false);
                tracing::error!(
                    "the configuration is not in order; what was in force stays in force\n{problems}"
                );
                self.tell(&invalid(&problems));
                self.invalid = true;
            }
        }
        Ok(())
    }

    /// Lets a source in that has appeared, if it may. It is answered when everything is ready for its first frame.
    async fn admit(&mut self, appeared: Appeared) {
        let answer = match self.members.admit(&self.in_force, &appeared) {
            Answer::Known(name) => Admission::Admitted(name),
            Answer::Refused(why) => Admission::Refused(why),
            Answer::New(name) => {
                self.members.keep();
                let watched = self.members.expand(&self.in_force);
                let watchlist = self.watchlist.borrow().on(&watched.sources);
                self.put_in_force(watchlist, watched).await;
                self.sources.tell_of(&self.in_force, &self.members);
                tracing::info!(
                    source = &*name,
                    of = &*appeared.source,
                    topic = appeared.topic,
                    "a source has appeared"
                );
                Admission::Admitted(name)
            }
        };
        // A source that was told to end meanwhile does not wait for it.
        let _ = appeared.answer.send(answer);
    }

    /// Makes `watched`, which is a configuration with its members, what is looked for, judged and announced.
    async fn put_in_force(&mut self, watchlist: Watchlist, watched: Config) {
        // First what is looked for: a source that starts is on the list before its first frame. Frames that are under way
        // meet the old triggers with new scores or the other way round; labels find each other by name.
        self.watchlist.send_replace(Arc::new(watchlist));
        self.announcer.announce(Announcement::of(&watched));
        self.retained = stale_topics::retained(&watched, &self.in_force, &self.topics);
        self.leftovers.add(self.retained.clone());
        // The judge is gone only when the house ends, which somebody else tells.
        let _ = self.judge.send(Arc::new(watched)).await;
    }

    async fn carry_out(&mut self, plan: &Plan, watchlist: Option<Watchlist>) -> anyhow::Result<()> {
        if !plan.after_restart.is_empty() {
            let keys = plan.after_restart.join(", ");
            tracing::warn!(keys, "changed, and takes effect after a restart");
        }
        let Some(watchlist) = watchlist else {
            tracing::debug!("the configuration is what it was");
            return Ok(());
        };
        self.in_force = plan.in_force.clone();
        let watched = self.members.expand(&self.in_force);
        self.put_in_force(watchlist.on(&watched.sources), watched).await;
        self.members.keep();
        self.sources.carry_out(plan).await?;
        self.sources.tell_of(&self.in_force, &self.members);
        tracing::info!(
            started = names(plan.start.iter().map(|source| &source.name)),
            stopped = names(&plan.stop),
            label_sets = plan.in_force.label_sets.len(),
            sources = plan.in_force.sources.len(),
            "the configuration has changed and is in force"
        );
        Ok(())
    }

    fn tell(&self, status: &str) {
        self.board.set(&self.topics.config_status(), status);
    }
}

/// What is published of a configuration that is in order; `after_restart` are the keys that wait for one.
pub(super) fn status(after_restart: &[&str]) -> String {
    match after_restart {
        [] => json!({ "state": "ok" }).to_string(),
        keys => json!({ "state": "ok", "after_restart": keys }).to_string(),
    }
}

fn invalid(problems: &str) -> String {
    json!({ "state": "invalid", "problems": problems }).to_string()
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_of_the_configuration() {
        assert_eq!(status(&[]), r#"{"state":"ok"}"#);
        assert_eq!(status(&["model", "mqtt"]), r#"{"state":"ok","after_restart":["model","mqtt"]}"#);
        assert_eq!(invalid("a \"b\"\nc"), r#"{"state":"invalid","problems":"a \"b\"\nc"}"#);
    }
}
