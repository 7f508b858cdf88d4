//! Decodes the pictures of all sources, and those of people: within the memory that they share, and with a record of what is being
//! decoded.
//!
//! A source thread may wait here for memory. It signals progress meanwhile, because it is healthy; and the stop signal ends the
//! wait. A picture of a person never waits for memory, and delays no source: few of them are decoded at the same time, within a
//! budget of their own ([`Memory::for_people`]).

use std::{sync::Arc, time::Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    counts::Counts,
    crash_record::{CrashRecord, Entry, Fingerprint},
};
use crate::{
    picture::{
        Limits, Memory, PictureError, Share, Use,
        mask::{Masked, Polygon},
    },
    sandbox::{DecodeError, Outcome, Sandbox},
};

/// The pictures of people that are decoded, or wait for the model, at the same time at most.
const OF_PEOPLE: usize = 2;

/// What the sources of the service share to decode pictures.
#[derive(Debug)]
pub struct Decoders {
    memory: Arc<Memory>,
    record: CrashRecord,
    sandbox: Arc<Sandbox>,
    people: Arc<Semaphore>,
}

impl Decoders {
    /// Decoders that use this memory, keep this record, and decode pictures in this sandbox.
    #[must_use]
    pub fn new(memory: Arc<Memory>, record: CrashRecord, sandbox: Arc<Sandbox>) -> Arc<Self> {
        Arc::new(Self { memory, record, sandbox, people: Arc::new(Semaphore::new(OF_PEOPLE)) })
    }

    /// Decoders with memory of `total` bytes, without a record and without a sandbox: for commands.
    #[must_use]
    pub fn unrecorded(total: u64) -> Arc<Self> {
        Self::new(Memory::new(total), CrashRecord::default(), Arc::new(Sandbox::off()))
    }

    /// Decodes a picture that a person sends, which is of no source. The stop signal ends a wait for a decoder process. `Busy`: other
    /// pictures of people are decoded.
    pub(crate) fn of_people(
        self: &Arc<Self>,
        max_pixels: u64,
        stop: CancellationToken,
    ) -> Result<PersonDecoder, PersonError> {
        let place = Arc::clone(&self.people).try_acquire_owned().map_err(|_| PersonError::Busy)?;
        let decoder = PictureDecoder {
            // No source has this name, so these pictures have decoder processes of their own.
            source: "".into(),
            decoders: Arc::clone(self),
            counts: Arc::default(),
            stop,
            max_pixels,
            mask: Arc::default(),
        };
        Ok(PersonDecoder { decoder, _place: place })
    }

    /// A share of the budget of people for a camera that a person tries: as many bytes as `part` makes of the budget. `Busy`: other
    /// people use it.
    pub(crate) fn share_of_people(&self, part: impl FnOnce(u64) -> u64) -> Result<Share, PersonError> {
        person_share(&self.memory, part(self.memory.for_people()))
    }

    /// What decodes pictures.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The memory that they share.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The service stops in order: what is still being decoded is not suspected at the next start.
    pub fn stopped(&self) {
        self.record.clear();
    }
}

/// A decoded picture.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) picture: Masked,
    /// Its memory, which is to be held until its frame is scored.
    pub(crate) share: Share,
}

/// Why bytes were not decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDecoded {
    /// They are no usable picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The service ended while it decoded them, more than once.
    #[error(
        "the service ended unexpectedly twice while it decoded this picture, so it is skipped. To try it again, stop and start the \
         service, and send the picture again"
    )]
    Crashed,
    /// The stop signal was given while the decoder waited for memory.
    #[error("the service stops")]
    Stopped,
}

/// Why a picture of a person was not decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonError {
    /// Its bytes, or the end of the service.
    #[error(transparent)]
    NotDecoded(NotDecoded),
    /// It needs more than people may use.
    #[error(
        "it needs {} MB of memory to be decoded, and people may use {} MB: a part of `memory`",
        needed.div_ceil(1_000_000), most / 1_000_000
    )]
    NeedsMemory { needed: u64, most: u64 },
    /// Other people's pictures are decoded, or wait for the model.
    #[error("the service is busy with other pictures that people have sent")]
    Busy,
}

impl From<NotDecoded> for PersonError {
    fn from(error: NotDecoded) -> Self {
        match error {
            NotDecoded::Picture(PictureError::NeedsMemory { needed, memory }) => {
                Self::NeedsMemory { needed, most: memory }
            }
            error => Self::NotDecoded(error),
        }
    }
}

/// Takes a share of the budget of people, or none if too much of it is in use.
fn person_share(memory: &Arc<Memory>, bytes: u64) -> Result<Share, PersonError> {
    let share = memory.share_now(Use::Person, bytes);
    if share.bytes() < bytes { Err(PersonError::Busy) } else { Ok(share) }
}

/// Decodes a picture of a person. Until it is dropped, it takes one of the few places for that.
#[derive(Debug)]
pub(crate) struct PersonDecoder {
    decoder: PictureDecoder,
    _place: OwnedSemaphorePermit,
}

impl PersonDecoder {
    /// Decodes a picture, which is called `origin`. Does not wait for memory.
    pub(crate) fn decode(&self, bytes: &[u8], origin: &str) -> Result<Decoded, PersonError> {
        let memory = &self.decoder.decoders.memory;
        let limits = Limits { max_pixels: self.decoder.max_pixels, memory: memory.for_people() };
        self.decoder
            .decode_within((bytes, origin), limits, Use::Person, |needed| person_share(memory, needed))
    }
}

/// Decodes the pictures of one source, on any thread.
#[derive(Debug, Clone)]
pub(crate) struct PictureDecoder {
    pub(super) source: Arc<str>,
    pub(super) decoders: Arc<Decoders>,
    pub(super) counts: Arc<Counts>,
    pub(super) stop: CancellationToken,
    pub(super) max_pixels: u64,
    /// What is hidden in every picture.
    pub(super) mask: Arc<[Polygon]>,
}

impl Decoders {
    /// Takes a share of the memory for a clip that is opened. While it waits, it calls `goes_on`; `None` after that has returned
    /// false.
    pub(crate) fn clip_share(&self, bytes: u64, goes_on: impl FnMut() -> bool) -> Option<Share> {
        self.memory.share(Use::Clip, bytes, goes_on)
    }

    /// Records that a clip is opened. `hash` is a hash of some parts of it. An error if the service ended twice while the clip was
    /// open.
    pub(crate) fn record_clip(&self, hash: u64, length: u64, name: &str) -> Result<Entry<'_>, NotDecoded> {
        let fingerprint = Fingerprint::of_parts(hash, length);
        if self.record.is_suspected(fingerprint) {
            return Err(NotDecoded::Crashed);
        }
        Ok(self.record.begin(fingerprint, name))
    }
}

impl From<DecodeError> for NotDecoded {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Picture(error) => Self::Picture(error),
            DecodeError::Stopped => Self::Stopped,
        }
    }
}

impl PictureDecoder {
    /// Decodes pictures that the service has stored, of at most `max_pixels` pixels. `name` is their source for the sandbox.
    pub(crate) fn of_stored(name: &str, decoders: Arc<Decoders>, max_pixels: u64, mask: &[Polygon]) -> Self {
        Self {
            source: name.into(),
            decoders,
            counts: Arc::default(),
            // The end of the service does not wait for this decoder.
            stop: CancellationToken::new(),
            max_pixels,
            mask: mask.into(),
        }
    }

    /// Decodes a picture, which is called `origin`, and hides what is masked. May wait for memory, for as long as other pictures
    /// are decoded and scored.
    pub(crate) fn decode(&self, bytes: &[u8], origin: &str) -> Result<Decoded, NotDecoded> {
        let memory = &self.decoders.memory;
        let limits = Limits { max_pixels: self.max_pixels, memory: memory.total() };
        self.decode_within((bytes, origin), limits, Use::Picture, |needed| {
            memory.share(Use::Picture, needed, || self.goes_on()).ok_or(NotDecoded::Stopped)
        })
    }

    /// The same for this use of the memory. `take` takes the share for a picture that needs more than is free.
    fn decode_within<E: From<NotDecoded>>(
        &self,
        (bytes, origin): (&[u8], &str),
        limits: Limits,
        what: Use,
        take: impl Fn(u64) -> Result<Share, E>,
    ) -> Result<Decoded, E> {
        let Decoders { memory, record, sandbox, .. } = &*self.decoders;
        let fingerprint = Fingerprint::of(bytes);
        if record.is_suspected(fingerprint) {
            return Err(NotDecoded::Crashed.into());
        }
        let goes_on = || self.goes_on();
        let mut job = sandbox.begin(&self.source, bytes, limits, &goes_on).map_err(NotDecoded::from)?;
        let mut share = memory.share_now(what, job.expected());
        loop {
            let outcome = match share.bytes() {
                // Only the header is read.
                0 => job.decode_within(0),
                granted => {
                    let entry = record.begin(fingerprint, &format!("{origin} ({})", self.source));
                    let began = Instant::now();
                    let outcome = job.decode_within(granted);
                    // One that needs more memory is decoded in the next round.
                    if matches!(outcome, Ok(Outcome::Needs(_))) {
                        entry.not_decoded();
                    } else {
                        self.counts.decoded(began.elapsed());
                        drop(entry);
                    }
                    outcome
                }
            };
            match outcome.map_err(NotDecoded::from)? {
                Outcome::Decoded(picture) => {
                    let picture = Masked::new(picture, &self.mask);
                    share.shrink(picture.bytes());
                    return Ok(Decoded { picture, share });
                }
                Outcome::Needs(needed) => {
                    // First this one: who waits for a second share may wait for ever.
                    drop(share);
                    share = take(needed)?;
                }
            }
        }
    }

    /// Signals progress while it waits. Whether the stop signal was not given.
    fn goes_on(&self) -> bool {
        self.counts.pulse().beat();
        !self.stop.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, thread, time::Duration};

    use super::*;
    use crate::picture::{Picture, mask::GREY};

    fn jpeg() -> Vec<u8> {
        Picture::of_rgb(64, 48, vec![90; 64 * 48 * 3]).to_jpeg(90).unwrap()
    }

    /// The decoder of a source.
    fn decoder(decoders: &Arc<Decoders>) -> PictureDecoder {
        PictureDecoder {
            source: "door".into(),
            decoders: Arc::clone(decoders),
            counts: Arc::default(),
            stop: CancellationToken::new(),
            max_pixels: 1_000_000,
            mask: Arc::default(),
        }
    }

    #[test]
    fn what_is_masked_is_grey_and_the_rest_is_as_without_a_mask() {
        let decoders = Decoders::unrecorded(100_000_000);
        let left = Polygon::new(vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]).unwrap();
        let masked = PictureDecoder { mask: [left].into(), ..decoder(&decoders) };
        let rgb =
            |decoder: PictureDecoder| decoder.decode(&jpeg(), "a.jpg").unwrap().picture.rgb().into_owned();
        let (masked, plain) = (rgb(masked), rgb(decoder(&decoders)));
        for (masked, plain) in masked.chunks(64 * 3).zip(plain.chunks(64 * 3)) {
            let (hidden, shown) = masked.split_at(32 * 3);
            assert!(hidden.iter().all(|level| *level == GREY) && shown == &plain[32 * 3..]);
        }
    }

    #[test]
    fn the_memory_of_a_picture_is_held_until_its_frame_is_scored() {
        let decoders = Decoders::unrecorded(100_000_000);
        let decoded = decoder(&decoders).decode(&jpeg(), "a.jpg").unwrap();
        assert_eq!(decoders.memory().usage().used, 64 * 48 * 3);
        drop(decoded);
        assert_eq!(decoders.memory().usage().used, 0);
        let error = decoder(&decoders).decode(b"no picture", "b.jpg").unwrap_err();
        assert!(matches!(error, NotDecoded::Picture(PictureError::NotAPicture)), "{error}");
        assert_eq!(decoders.memory().usage().used, 0);
    }

    #[test]
    fn a_picture_that_needs_more_than_all_memory_is_rejected_in_words() {
        let error = decoder(&Decoders::unrecorded(1_000_000)).decode(&jpeg(), "a.jpg").unwrap_err();
        let expected = "it needs 3 MB of memory to be decoded, more than the 1 MB that memory allows";
        assert_eq!(error.to_string(), expected);
    }

    /// The decoder of a person.
    fn of_person(decoders: &Arc<Decoders>, max_pixels: u64) -> Result<PersonDecoder, PersonError> {
        decoders.of_people(max_pixels, CancellationToken::new())
    }

    #[test]
    fn a_picture_of_a_person_is_decoded_although_sources_use_all_memory_and_wait() {
        let decoders = Decoders::unrecorded(100_000_000);
        let memory = decoders.memory();
        let all = memory.share(Use::Picture, memory.total(), || true).unwrap();
        let source = decoder(&decoders);
        let stop = source.stop.clone();
        let waiting = thread::spawn(move || source.decode(&jpeg(), "a.jpg").map(drop));
        while memory.usage().waiting == 0 {
            thread::yield_now();
        }
        let person = of_person(&decoders, 1_000_000).unwrap();
        let decoded = person.decode(&jpeg(), "b.jpg").unwrap();
        assert_eq!(memory.usage().used, memory.total() + 64 * 48 * 3);
        drop((person, decoded, all));
        assert!(waiting.join().unwrap().is_ok(), "the source has its turn");
        assert_eq!((memory.usage().used, stop.is_cancelled()), (0, false));
    }

    #[test]
    fn a_picture_of_a_person_is_refused_instead_of_waiting() {
        let decoders = Decoders::unrecorded(100_000_000);
        let refused = |decoders, max_pixels, bytes: &[u8]| {
            of_person(decoders, max_pixels).unwrap().decode(bytes, "a.jpg").unwrap_err()
        };
        let error = refused(&decoders, 1_000, &jpeg());
        assert!(error.to_string().contains("64 x 48 pixels"), "{error}");
        let share = decoders.share_of_people(|budget| budget).unwrap();
        assert!(matches!(refused(&decoders, 1_000_000, &jpeg()), PersonError::Busy), "others use the budget");
        assert!(matches!(decoders.share_of_people(|_| 1), Err(PersonError::Busy)));
        drop(share);
        let large = Picture::of_rgb(4_000, 4_000, vec![90; 48_000_000]).to_jpeg(90).unwrap();
        let error = refused(&decoders, 100_000_000, &large);
        let expected = "MB of memory to be decoded, and people may use 32 MB: a part of `memory`";
        assert!(error.to_string().ends_with(expected), "{error}");
        assert!(decoder(&decoders).decode(&jpeg(), "b.jpg").is_ok());
        assert_eq!((decoders.memory().usage().used, decoders.memory().usage().waited), (0, 0));
    }

    #[test]
    fn few_pictures_of_people_are_decoded_at_the_same_time() {
        let decoders = Decoders::unrecorded(100_000_000);
        let places = [(); OF_PEOPLE].map(|()| of_person(&decoders, 1_000_000).unwrap());
        assert!(matches!(of_person(&decoders, 1_000_000), Err(PersonError::Busy)));
        drop(places);
        assert!(of_person(&decoders, 1_000_000).is_ok());
    }

    #[test]
    fn a_source_that_waits_for_memory_is_not_stuck_and_can_be_stopped() {
        let decoders = Decoders::unrecorded(100_000_000);
        let memory = decoders.memory();
        let all = memory.share(Use::Picture, memory.total(), || true).unwrap();
        let decoder = decoder(&decoders);
        let (counts, stop) = (Arc::clone(&decoder.counts), decoder.stop.clone());
        let working = counts.pulse().work();
        let waiting = thread::spawn(move || decoder.decode(&jpeg(), "a.jpg").map(drop));
        while memory.usage().waiting == 0 {
            thread::yield_now();
        }
        let hour = Duration::from_secs(3600);
        counts.pulse().age(hour);
        while counts.pulse().is_stuck(hour / 2) {
            thread::yield_now();
        }
        stop.cancel();
        assert!(matches!(waiting.join().unwrap(), Err(NotDecoded::Stopped)));
        assert_eq!(memory.usage().waiting, 0);
        drop((all, working));
    }

    #[test]
    fn a_picture_that_ended_the_service_twice_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let started = |folder: &Path| {
            Decoders::new(Memory::new(100_000_000), CrashRecord::open(folder), Arc::new(Sandbox::off()))
        };
        let bytes = jpeg();
        let killed = |decoders: &Decoders| {
            std::mem::forget(decoders.record.begin(Fingerprint::of(&bytes), "a.jpg"));
        };
        killed(&started(folder.path()));
        let once = started(folder.path());
        assert!(!once.record.is_suspected(Fingerprint::of(&bytes)), "it is decoded once more");
        killed(&once);
        let after = started(folder.path());
        let decode = |bytes: &[u8]| decoder(&after).decode(bytes, "a.jpg").map(drop);
        assert!(matches!(decode(&bytes), Err(NotDecoded::Crashed)));
        let other = Picture::of_rgb(8, 8, vec![1; 192]).to_jpeg(90).unwrap();
        assert!(decode(&other).is_ok(), "other pictures are decoded");
        assert!(matches!(decode(&bytes), Err(NotDecoded::Crashed)), "also when it is sent again");
        after.stopped();
        let again = decoder(&started(folder.path())).decode(&bytes, "a.jpg");
        assert!(again.is_ok(), "after an orderly stop");
    }
}
