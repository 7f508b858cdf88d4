//! How the picture of an alert is brought to the broker, before the alert.
//!
//! A picture that is too large for the broker is made smaller. It refuses to hold up its alert for ever: what the broker
//! does not take in any size is left out.

use super::{
    Interrupted, Publisher,
    link::{Link, Message, Refusal},
};
use crate::{
    alert::outbox::{Entry, Seq, Snapshot},
    picture,
};

/// A picture during which the session broke so often is left out: some brokers hang up on what is too large for them.
const TRIES: u32 = 4;
/// From the second time on it is made so much smaller each time: a connection may break once for any reason.
const SMALLER: usize = 4;

impl Publisher {
    pub(super) async fn deliver_snapshot(
        &mut self,
        link: &Link,
        seq: Seq,
        entry: &Entry,
    ) -> Result<(), Interrupted> {
        let Some(Snapshot { topic, jpeg }) = &entry.snapshot else { return Ok(()) };
        let tries = *self.window.snapshot_tries.get(&seq).unwrap_or(&0);
        let most = (tries > 1).then(|| jpeg.len() / SMALLER.pow(tries - 1));
        let most = [link.room(topic), most].into_iter().flatten().min();
        let refused = if tries >= TRIES {
            Some(format!("the connection broke {TRIES} times while it was sent"))
        } else {
            match fit(jpeg, most).await {
                None => Some("it is too large for the broker, and cannot be made smaller".to_owned()),
                Some(fitting) => {
                    if fitting.len() < jpeg.len() {
                        super::add(&self.counts.snapshots_scaled);
                        tracing::debug!(
                            id = entry.id,
                            from = jpeg.len(),
                            to = fitting.len(),
                            "the snapshot was made smaller"
                        );
                    }
                    self.window.snapshot_tries.insert(seq, tries + 1);
                    let message = Message { topic, retain: true, kind: super::JPEG, expiry: self.expiry() };
                    let answer = link.deliver(message, fitting).await?;
                    self.window.snapshot_tries.remove(&seq);
                    answer.err().map(|refusal: Refusal| refusal.to_string())
                }
            }
        };
        if let Some(why) = refused {
            // The one place where a picture is dropped on its way.
            super::add(&self.counts.snapshots_skipped);
            let (id, size) = (&entry.id, jpeg.len());
            tracing::warn!(id, topic, size, why, "the snapshot was left out; its alert is sent without it");
        }
        Ok(())
    }
}

/// The picture in at most so many bytes, if that is possible.
async fn fit(jpeg: &[u8], most: Option<usize>) -> Option<Vec<u8>> {
    let jpeg = jpeg.to_vec();
    match most {
        Some(most) if jpeg.len() > most => {
            // It takes a while, and the runtime has other things to do.
            tokio::task::spawn_blocking(move || picture::shrink_jpeg(&jpeg, most)).await.ok().flatten()
        }
        _ => Some(jpeg),
    }
}
