//! Prepares items on threads of their own, ahead of the consumer, and hands them out in order.

use std::{
    io, panic,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

/// Items that threads prepare. The first thread makes items 0, n, 2n and so on, the second items 1, n + 1 and so on.
pub struct Prefetch<T> {
    threads: Vec<(Receiver<T>, thread::JoinHandle<()>)>,
    /// The thread that makes the next item.
    next: usize,
}

/// What [`Prefetch::wait_for`] has waited for.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited<T> {
    /// The next item.
    Item(T),
    /// It was not ready in time.
    Nothing,
    /// Its thread has ended.
    Ended,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts a thread for each of `makers`, which yields the items of that thread. At most `ready` items wait for the
    /// consumer; then the threads pause. A thread also ends when the consumer has dropped the `Prefetch`.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn spawn<I>(name: &str, makers: impl IntoIterator<Item = I>, ready: usize) -> io::Result<Self>
    where
        I: Iterator<Item = T> + Send + 'static,
    {
        let makers: Vec<I> = makers.into_iter().collect();
        let (count, mut threads) = (makers.len(), Vec::new());
        for (number, maker) in makers.into_iter().enumerate() {
            let (sender, items) = sync_channel(ready.div_ceil(count));
            let name = if count == 1 { name.to_owned() } else { format!("{name}-{number}") };
            let thread = thread::Builder::new().name(name).spawn(move || {
                for item in maker {
                    if sender.send(item).is_err() {
                        return;
                    }
                }
            })?;
            threads.push((items, thread));
        }
        Ok(Self { threads, next: 0 })
    }

    /// Waits for the next item; `None` if its thread has ended.
    pub fn wait(&mut self) -> Option<T> {
        let item = self.due().recv().ok();
        self.next += 1;
        item
    }

    /// Waits for the next item, but no longer than this.
    pub fn wait_for(&mut self, longest: Duration) -> Waited<T> {
        match self.due().recv_timeout(longest) {
            Ok(item) => {
                self.next += 1;
                Waited::Item(item)
            }
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Ended,
        }
    }

    /// The next item, if it is ready.
    pub fn take_ready(&mut self) -> Option<T> {
        let item = self.due().try_recv().ok()?;
        self.next += 1;
        Some(item)
    }

    /// Waits until all threads have ended, and continues the panic of a thread that panicked.
    pub fn join(self) {
        for (items, thread) in self.threads {
            drop(items);
            if let Err(panic) = thread.join() {
                panic::resume_unwind(panic);
            }
        }
    }

    fn due(&self) -> &Receiver<T> {
        &self.threads[self.next % self.threads.len()].0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn items_come_in_order_from_any_number_of_threads() {
        for threads in 1..4 {
            let maker = |first| (first..10).step_by(threads);
            let mut items = Prefetch::spawn("test", (0..threads).map(maker), 3).unwrap();
            let found: Vec<_> = (0..10).map_while(|_| items.wait()).collect();
            assert_eq!(found, (0..10).collect::<Vec<_>>(), "{threads} threads");
            assert_eq!((items.wait(), items.take_ready()), (None, None));
            items.join();
        }
    }

    #[test]
    fn an_item_that_is_not_ready_is_not_lost() {
        let (send, items) = std::sync::mpsc::channel();
        let mut prefetch = Prefetch::spawn("test", [items.into_iter()], 1).unwrap();
        assert_eq!(prefetch.wait_for(Duration::from_millis(1)), Waited::Nothing);
        send.send(7).unwrap();
        assert_eq!(prefetch.wait_for(Duration::MAX), Waited::Item(7));
        drop(send);
        assert_eq!(prefetch.wait_for(Duration::MAX), Waited::Ended);
        prefetch.join();
    }

    #[test]
    fn the_threads_are_only_a_bounded_number_of_items_ahead() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let maker = (0..100).inspect(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let mut items = Prefetch::spawn("test", [maker], 2).unwrap();
        for taken in 1..100 {
            items.wait().unwrap();
            // Two are ready, and one more is made and waits to become ready.
            assert!(made.load(Ordering::SeqCst) <= taken + 3);
        }
        drop(items);
    }

    #[test]
    #[should_panic(expected = "bad item")]
    fn a_panic_of_a_thread_continues_in_the_consumer() {
        let mut items = Prefetch::spawn("test", [(0..1).inspect(|_| panic!("bad item"))], 1).unwrap();
        assert_eq!(items.wait(), None);
        items.join();
    }
}
