//! The memory that all decoders of the process share, so that several large pictures at once do not exhaust the machine.
//!
//! A decoder computes from a header how much memory it needs ([`super::needed`]), and takes a [`Share`] of at least that size
//! before it starts. If too much is in use, it waits. The rules:
//!
//! - Pictures wait in the order in which they came, and so do clips. A large one is never overtaken by the smaller ones behind
//!   it.
//! - Live streams never wait: a camera would lose frames. What they hold counts, so the others wait sooner.
//! - A picture starts if no other picture is being decoded, even if clips and streams use everything, and a clip starts if no
//!   other clip is open. So no decoder waits for ever, and there is no deadlock: no part waits for a second share of the same
//!   kind, and none that holds the share of a picture waits for a clip.
//! - What people send has a budget of its own, besides the total ([`Memory::for_people`]). A picture of a person never waits here:
//!   it starts, or the answer is that the service is busy. No picture, clip or stream of a source waits for it.
//!
//! The share of a picture is kept until its frame is scored ([`Share::shrink`]): decoded pictures that wait for the model are
//! the larger part of the memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often a waiting decoder is asked whether it still waits.
const GLANCE: Duration = Duration::from_millis(250);
/// The part of the total that the pictures of people may use besides it: at the default of `memory`, the photo of a phone.
const PART_FOR_PEOPLE: u64 = 4;
/// They may use this many bytes also where the total is small: a frame of a stream of 1920 x 1080 pixels.
const LEAST_FOR_PEOPLE: u64 = 32_000_000;

/// What a share is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A picture, until its frame is scored.
    Picture,
    /// A clip or a recording, while it is open.
    Clip,
    /// A live stream, while it is open.
    Stream,
    /// What a person sends or tries, until it is answered.
    Person,
}

/// The number of uses.
const USES: usize = 4;

/// The memory for decoding.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    total: u64,
    /// Bytes in use, by [`Use`].
    used: [u64; USES],
    /// The numbers of waiting decoders, by [`Use`], the first one first.
    waiting: [VecDeque<u64>; USES],
    /// The number of the next decoder that waits.
    next: u64,
    waited: u64,
}

/// The state of the memory at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The bytes that decoders may use together.
    pub total: u64,
    /// The bytes that they use.
    pub used: u64,
    /// Decoders that wait.
    pub waiting: usize,
    /// How often a decoder had to wait.
    pub waited: u64,
}

impl State {
    /// Whether `bytes` may be used now.
    fn admits(&self, what: Use, bytes: u64) -> bool {
        let own = self.used[what as usize];
        match what {
            Use::Stream => true,
            Use::Person => own.saturating_add(bytes) <= self.for_people(),
            Use::Picture | Use::Clip => {
                let sources = self.all_used().saturating_sub(self.used[Use::Person as usize]);
                own == 0 || sources.saturating_add(bytes) <= self.total
            }
        }
    }

    fn all_used(&self) -> u64 {
        self.used.iter().fold(0, |sum, used| sum.saturating_add(*used))
    }

    fn for_people(&self) -> u64 {
        (self.total / PART_FOR_PEOPLE).max(LEAST_FOR_PEOPLE.min(self.total))
    }
}

impl Memory {
    /// Memory of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Arc<Self> {
        let state = Mutex::new(State { total, ..State::default() });
        Arc::new(Self { state, released: Condvar::new() })
    }

    /// The bytes that the decoders of sources may use together, which is also the most that one of their pictures may need.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    /// The bytes that pictures of people may use together, besides the total: a quarter of it, or more if it is small.
    #[must_use]
    pub fn for_people(&self) -> u64 {
        self.lock().for_people()
    }

    /// Changes the total. Shares that are in use stay as they are.
    pub fn resize(&self, total: u64) {
        self.lock().total = total;
        self.released.notify_all();
    }

    /// The state now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.lock();
        Usage {
            total: state.total,
            used: state.all_used(),
            waiting: state.waiting.iter().map(VecDeque::len).sum(),
            waited: state.waited,
        }
    }

    /// Takes a share of `bytes`, or an empty one if there is no room for it now or another decoder waits.
    #[must_use]
    pub fn share_now(self: &Arc<Self>, what: Use, bytes: u64) -> Share {
        let mut state = self.lock();
        let queue = what as usize;
        let is_free = state.waiting[queue].is_empty() && state.admits(what, bytes);
        let bytes = if is_free { bytes } else { 0 };
        state.used[queue] = state.used[queue].saturating_add(bytes);
        drop(state);
        Share { memory: Arc::clone(self), what, bytes }
    }

    /// Takes a share of `bytes`, and waits until there is room. While it waits, it calls `goes_on` several times a second; `None`
    /// after that has returned false.
    pub fn share(
        self: &Arc<Self>,
        what: Use,
        bytes: u64,
        mut goes_on: impl FnMut() -> bool,
    ) -> Option<Share> {
        let mut state = self.lock();
        let queue = what as usize;
        if !state.waiting[queue].is_empty() || !state.admits(what, bytes) {
            let number = state.next;
            state.next += 1;
            state.waited += 1;
            state.waiting[queue].push_back(number);
            loop {
                drop(state);
                let stays = goes_on();
                state = self.lock();
                if !stays {
                    state.waiting[queue].retain(|waiting| *waiting != number);
                    self.released.notify_all();
                    return None;
                }
                if state.waiting[queue].front() == Some(&number) && state.admits(what, bytes) {
                    state.waiting[queue].pop_front();
                    // There may be room for the next one, too.
                    self.released.notify_all();
                    break;
                }
                let waited = self.released.wait_timeout(state, GLANCE);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.used[queue] = state.used[queue].saturating_add(bytes);
        drop(state);
        Some(Share { memory: Arc::clone(self), what, bytes })
    }

    /// Takes a share for a live stream, which never waits.
    #[must_use]
    pub fn for_stream(self: &Arc<Self>, bytes: u64) -> Share {
        let mut state = self.lock();
        let used = &mut state.used[Use::Stream as usize];
        *used = used.saturating_add(bytes);
        drop(state);
        Share { memory: Arc::clone(self), what: Use::Stream, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the memory that are in use until this is dropped.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    what: Use,
    bytes: u64,
}

impl Share {
    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back everything but `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.release(self.bytes - bytes);
            self.bytes = bytes;
        }
    }

    fn release(&self, bytes: u64) {
        let mut state = self.memory.lock();
        let used = &mut state.used[self.what as usize];
        *used = used.saturating_sub(bytes);
        drop(state);
        self.memory.released.notify_all();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{self, Receiver},
        thread,
    };

    use super::*;

    #[test]
    fn who_may_start() {
        use Use::{Clip, Person, Picture, Stream};
        const MB: u64 = 1_000_000;
        // Pictures, clips, streams, people; what for, how many megabytes of 400; whether it starts.
        for (used, what, bytes, starts) in [
            ([0, 0, 0, 0], Picture, 400, true),
            ([240, 0, 0, 0], Picture, 160, true),
            ([240, 0, 0, 0], Picture, 161, false),
            ([0, 360, 360, 0], Picture, 400, true),
            ([1, 390, 0, 0], Picture, 10, false),
            ([360, 0, 0, 0], Clip, 400, true),
            ([0, 200, 0, 0], Clip, 200, true),
            ([0, 200, 0, 0], Clip, 201, false),
            ([400, 400, 400, 0], Stream, 400, true),
            ([1, 0, 0, 0], Picture, u64::MAX / MB, false),
            // No source waits for people.
            ([240, 0, 0, 100], Picture, 160, true),
            ([0, 200, 0, 100], Clip, 200, true),
            // People wait for no source, and use only their own budget.
            ([400, 400, 400, 0], Person, 100, true),
            ([0, 0, 0, 0], Person, 101, false),
            ([0, 0, 0, 60], Person, 40, true),
            ([0, 0, 0, 60], Person, 41, false),
            ([0, 0, 0, 1], Person, u64::MAX / MB, false),
        ] {
            let state = State { total: 400 * MB, used: used.map(|used| used * MB), ..State::default() };
            assert_eq!(state.admits(what, bytes * MB), starts, "{used:?} {what:?} {bytes}");
        }
    }

    #[test]
    fn people_have_a_quarter_besides_and_enough_for_a_camera_where_memory_is_small() {
        for (total, people) in [(512, 128), (4096, 1024), (128, 32), (64, 32), (16, 16), (0, 0)] {
            assert_eq!(Memory::new(total * 1_000_000).for_people(), people * 1_000_000, "{total}");
        }
    }

    #[test]
    fn what_people_send_starts_no_source_later_and_waits_behind_none() {
        let memory = Memory::new(100);
        let person = memory.share_now(Use::Person, memory.for_people());
        assert_eq!(
            (person.bytes(), memory.share_now(Use::Person, 1).bytes()),
            (100, 0),
            "their budget is in use"
        );
        let picture = memory.share_now(Use::Picture, 100);
        assert_eq!(picture.bytes(), 100, "a source has all of its memory");
        let (started, starts) = mpsc::channel();
        let hold = taker(&memory, 50, 1, &started);
        wait_until(&memory, |usage| usage.waiting == 1);
        drop(person);
        assert_eq!(memory.share_now(Use::Person, 100).bytes(), 100, "although a source waits");
        drop(picture);
        assert_eq!(starts.recv(), Ok(1));
        drop(hold);
    }

    /// A thread that takes a share, sends its number, and holds the share until the returned sender is dropped.
    fn taker(memory: &Arc<Memory>, bytes: u64, number: u32, started: &mpsc::Sender<u32>) -> mpsc::Sender<()> {
        let (memory, started) = (Arc::clone(memory), started.clone());
        let (hold, held) = mpsc::channel::<()>();
        thread::spawn(move || {
            let share = memory.share(Use::Picture, bytes, || true).unwrap();
            started.send(number).unwrap();
            let _ = held.recv();
            drop(share);
        });
        hold
    }

    fn wait_until(memory: &Memory, is_so: impl Fn(Usage) -> bool) {
        while !is_so(memory.usage()) {
            thread::yield_now();
        }
    }

    #[test]
    fn a_share_that_is_taken_now_is_empty_if_there_is_no_room_or_another_decoder_waits() {
        let memory = Memory::new(100);
        let all = memory.share_now(Use::Picture, 70);
        assert_eq!(all.bytes(), 70);
        let more = [40, 30].map(|bytes| memory.share_now(Use::Picture, bytes));
        assert_eq!(more.each_ref().map(Share::bytes), [0, 30]);
        drop(more);
        let (started, starts) = mpsc::channel();
        let hold = taker(&memory, 50, 1, &started);
        wait_until(&memory, |usage| usage.waiting == 1);
        assert_eq!(memory.share_now(Use::Picture, 1).bytes(), 0);
        drop(all);
        assert_eq!(starts.recv(), Ok(1));
        assert_eq!(memory.share_now(Use::Picture, 1).bytes(), 1);
        drop(hold);
    }

    #[test]
    fn decoders_wait_in_order_and_a_small_one_does_not_overtake() {
        let memory = Memory::new(100);
        let (started, order) = mpsc::channel();
        let first = taker(&memory, 60, 1, &started);
        assert_eq!(order.recv(), Ok(1));
        let large = taker(&memory, 90, 2, &started);
        wait_until(&memory, |usage| usage.waiting == 1);
        // It would fit beside the first one, and does not fit beside the large one.
        let small = taker(&memory, 20, 3, &started);
        wait_until(&memory, |usage| usage.waiting == 2);
        assert_eq!(memory.usage(), Usage { total: 100, used: 60, waiting: 2, waited: 2 });
        drop(first);
        assert_eq!(order.recv(), Ok(2));
        wait_until(&memory, |usage| usage == Usage { total: 100, used: 90, waiting: 1, waited: 2 });
        drop(large);
        assert_eq!(order.recv(), Ok(3));
        wait_until(&memory, |usage| usage == Usage { total: 100, used: 20, waiting: 0, waited: 2 });
        drop(small);
        wait_until(&memory, |usage| usage.used == 0);
    }

    #[test]
    fn one_that_needs_everything_starts_alone_and_all_of_many_end() {
        let memory = Memory::new(100);
        let (done, ended): (_, Receiver<u64>) = mpsc::channel();
        for number in 0..40 {
            let (memory, done) = (Arc::clone(&memory), done.clone());
            thread::spawn(move || {
                let bytes = [100, 1, 60, 250][number as usize % 4];
                let mut share = memory.share(Use::Picture, bytes, || true).unwrap();
                let used = memory.usage().used;
                assert!(used <= 100 || used == 250, "{used}");
                share.shrink(bytes / 2);
                drop(share);
                done.send(number).unwrap();
            });
        }
        drop(done);
        assert_eq!(ended.iter().sum::<u64>(), (0..40).sum::<u64>());
        assert_eq!((memory.usage().used, memory.usage().waiting), (0, 0));
    }

    #[test]
    fn a_decoder_that_stops_waiting_blocks_no_other() {
        let memory = Memory::new(100);
        let held = memory.share(Use::Picture, 100, || true).unwrap();
        let mut asked = 0;
        let refused = memory.share(Use::Picture, 50, || {
            asked += 1;
            asked < 3
        });
        assert!(refused.is_none() && asked == 3, "it was asked while it waited");
        assert_eq!(memory.usage().waiting, 0);
        drop(held);
        assert!(memory.share(Use::Picture, 100, || false).is_some(), "there is room: it is not asked");
    }

    #[test]
    fn streams_and_clips_count_and_pictures_still_start() {
        let memory = Memory::new(100);
        let (stream, clip) = (memory.for_stream(80), memory.share(Use::Clip, 90, || false).unwrap());
        assert_eq!(memory.usage().used, 170);
        let mut picture = memory.share(Use::Picture, 100, || false).unwrap();
        assert!(memory.share(Use::Picture, 1, || false).is_none());
        assert!(memory.share(Use::Clip, 1, || false).is_none());
        drop((stream, clip));
        picture.shrink(99);
        assert!(memory.share(Use::Picture, 1, || false).is_some());
        memory.resize(10);
        assert!(memory.share(Use::Picture, 1, || false).is_none());
        assert_eq!((memory.total(), memory.usage().used), (10, 99));
    }
}
