//! Random numbers that derive from a seed.

use std::cell::RefCell;

thread_local! {
    static JITTER: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// A sequence of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence number `stream` of `seed`. Each stream is independent of how much the others are used.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        random.draw();
        random
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    /// True in this many of a hundred cases.
    pub(crate) fn percent(&mut self, of_hundred: u64) -> bool {
        self.below(100) < of_hundred
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = usize::try_from(self.below(choices.len() as u64)).expect("it is below the length");
        choices[at]
    }
}

/// This thread simulates: delays derive from `random`, and work that blocks is carried out at once. `None`: it does not any more.
pub(crate) fn simulate(random: Option<Random>) {
    JITTER.set(random);
}

/// Whether this thread simulates.
pub(crate) fn is_simulated() -> bool {
    JITTER.with_borrow(Option::is_some)
}

/// The next number from 0 to 1 if this thread simulates.
pub(crate) fn jitter() -> Option<f64> {
    JITTER.with_borrow_mut(|random| random.as_mut().map(|random| random.below(1001) as f64 / 1000.0))
}
