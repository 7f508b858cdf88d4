//! Reads, decodes and prepares pictures on threads of their own while the model runs, and hands them out in their order.

use std::{
    fs,
    io::{self, Read},
    num::NonZero,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use anyhow::{Context, Result, anyhow, bail};

use super::{Item, Origin};
use crate::{commands::fetch, model::preprocess::Preprocessor, picture};

/// More threads would not be faster than any model.
const MOST_THREADS: usize = 4;

/// What the model takes, of every picture in its order.
pub(super) struct Ahead {
    /// The first thread has every picture whose number is a multiple of their count, the second those behind these, and so on.
    threads: Vec<Receiver<Result<Vec<f32>>>>,
    next: usize,
    count: usize,
}

impl Ahead {
    /// Begins. About twice `at_once` pictures may be ready and not taken.
    pub(super) fn spawn(
        items: &Arc<[Item]>,
        preprocessor: &Preprocessor,
        at_once: usize,
    ) -> io::Result<Self> {
        // Half of the processors: the model has work for the others.
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let count = (processors / 2).clamp(1, MOST_THREADS);
        let start = |first| {
            let (sender, receiver) = sync_channel((2 * at_once).div_ceil(count));
            let (items, preprocessor) = (Arc::clone(items), preprocessor.clone());
            thread::Builder::new().name(format!("pictures-{first}")).spawn(move || {
                for item in items.iter().skip(first).step_by(count) {
                    // Nobody takes them any more: the command has ended early, and says why.
                    if sender.send(prepared(item, &preprocessor)).is_err() {
                        return;
                    }
                }
            })?;
            Ok(receiver)
        };
        let threads = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, next: 0, count: items.len() })
    }
}

impl Iterator for Ahead {
    type Item = Result<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        let thread = &self.threads[self.next % self.threads.len()];
        self.next += 1;
        Some(thread.recv().unwrap_or_else(|_| Err(anyhow!("what reads the pictures panicked"))))
    }
}

fn prepared(item: &Item, preprocessor: &Preprocessor) -> Result<Vec<f32>> {
    let picture = picture::decode(&read(item)?, picture::MAX_PIXELS)?;
    let mut values = Vec::with_capacity(preprocessor.tensor_len());
    preprocessor.append(&picture, &mut values);
    Ok(values)
}

fn read(item: &Item) -> Result<Vec<u8>> {
    match &item.origin {
        Origin::File(path) => fs::read(path).context("it cannot be read"),
        Origin::Address => fetch::get(&item.name),
        Origin::StandardInput => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("standard input cannot be read")?;
            Ok(bytes)
        }
        Origin::Nowhere(why) => bail!("{why}"),
    }
}
