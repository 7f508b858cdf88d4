//! Carries out what changes in the configuration while everything else goes on, and tells how the configuration is.
//!
//! The only place that knows the order: what is looked for changes before the triggers, and both before the sources.
//! It refuses to wait for anything slow but a source's end; what a change needs comes ready-made from the
//! [`reader`](super::reader).

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{plan::Plan, reader::News, signals, sources::Sources};
use crate::{
    alert::{Topics, board::Board, home_assistant::Announcement, publisher::Announcer},
    classify::Watchlist,
    config::Config,
};

/// The ends that a change reaches everything by.
pub(super) struct Keeper {
    pub(super) news: mpsc::Receiver<News>,
    pub(super) watchlist: watch::Sender<Arc<Watchlist>>,
    pub(super) judge: mpsc::Sender<Arc<Config>>,
    pub(super) sources: Sources,
    pub(super) topics: Topics,
    pub(super) board: Board,
    pub(super) announcer: Announcer,
    /// Whether the newest look found mistakes.
    pub(super) invalid: bool,
}

impl Keeper {
    /// Carries out one change after the other. It ends only when it cannot go on; then it says why.
    pub(super) async fn run(&mut self) -> anyhow::Error {
        while let Some(news) = self.news.recv().await {
            match news {
                News::Valid { plan, watchlist } => {
                    if let Err(error) = self.carry_out(&plan, watchlist).await {
                        return error;
                    }
                    self.tell(&status(&plan.after_restart));
                    if std::mem::take(&mut self.invalid) {
                        tracing::info!("the configuration is in order again");
                    }
                }
                News::Invalid(problems) => {
                    tracing::error!(
                        "the configuration is not in order; what was in force stays in force\n{problems}"
                    );
                    self.tell(&invalid(&problems));
                    self.invalid = true;
                }
            }
            signals::tell_systemd_ready();
        }
        anyhow::anyhow!("nobody reads the configuration any more; the last words of who did are above")
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
        // First what is looked for: a source that starts is on the list before its first frame. Frames that are under way
        // meet the old triggers with new scores or the other way round; labels find each other by name.
        self.watchlist.send_replace(Arc::new(watchlist));
        // The judge is gone only when the house ends, which somebody else tells.
        let _ = self.judge.send(Arc::new(plan.in_force.clone())).await;
        self.sources.carry_out(plan).await?;
        self.announcer.announce(Announcement::of(&plan.in_force));
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
