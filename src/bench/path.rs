//! The path of a frame from JPEG bytes to scores, with the threads of the service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::setup::SOURCE;
use crate::{
    classify::{Watchlist, score_all},
    frame::{Frame, Slot},
    model::Model,
    picture::{self, Limits, mask::Masked},
};

/// Pictures per second from JPEG bytes to scores, in batches of `batch`, with the service's code: cameras decode on threads of
/// their own, and the frames that wait for the model form its batch. Measured from the end of the first batch, so that filling it
/// does not count, to the end of the first batch after `slice`.
pub(super) fn pictures_per_second(
    model: &mut Model,
    watchlist: Watchlist,
    (jpeg, limits): (&Arc<[u8]>, Limits),
    batch: usize,
    slice: Duration,
) -> Result<f64> {
    let (_watchlist, watched) = watch::channel(Arc::new(watchlist));
    let (frames, to_model) = mpsc::channel(batch);
    let (scored, mut answers) = mpsc::channel(batch);
    let enough = Arc::new(AtomicBool::new(false));
    let cameras = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(batch + 1);
    let cameras: Vec<_> = (0..cameras)
        .map(|_| {
            let (jpeg, frames, enough) = (Arc::clone(jpeg), frames.clone(), Arc::clone(&enough));
            thread::spawn(move || camera((&jpeg, limits), &frames, &enough))
        })
        .collect();
    drop(frames);
    let counter = thread::spawn(move || {
        let mut rate = None;
        let mut first = None;
        // Every batch except the first is full, so an answer and the one `batch` later are one run apart.
        for number in 0_usize.. {
            if answers.blocking_recv().is_none() {
                break;
            }
            let since = *first.get_or_insert_with(Instant::now);
            if rate.is_none() && number > 0 && number % batch == 0 && since.elapsed() >= slice {
                rate = Some(number as f64 / since.elapsed().as_secs_f64());
                enough.store(true, Ordering::Relaxed);
            }
        }
        rate
    });
    score_all(model, watched, to_model, &scored, batch)??;
    drop(scored);
    for camera in cameras {
        camera.join().map_err(|_| anyhow!("decoding panicked"))??;
    }
    let rate = counter.join().map_err(|_| anyhow!("counting panicked"))?;
    rate.context("the model could not score the picture")
}

/// Decodes and sends the picture repeatedly until `enough` is set.
fn camera((jpeg, limits): (&[u8], Limits), frames: &mpsc::Sender<Frame>, enough: &AtomicBool) -> Result<()> {
    while !enough.load(Ordering::Relaxed) {
        let frame = Frame {
            source: SOURCE.into(),
            origin: String::new(),
            captured_at: Timestamp::UNIX_EPOCH,
            picture: Masked::new(picture::decode(jpeg, limits)?, &[]),
            slot: Slot::free(),
        };
        if frames.blocking_send(frame).is_err() {
            break;
        }
    }
    Ok(())
}
