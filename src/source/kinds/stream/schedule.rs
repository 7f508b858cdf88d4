//! Decides what happens to each packet and each frame of a stream. Pure: the caller brings the times.

use std::time::Duration;

use super::settings::Stream;
use crate::source::{
    kinds::camera::Decode,
    sampler::{Choice, Decoded, KeyFrames, Sampler},
};

/// What the decisions depend on, and what they record.
pub(crate) struct Schedule {
    decode: Decode,
    /// A live stream without an intact frame for this time beyond the interval of its key frames is closed.
    stall_after: Option<Duration>,
    sampler: Sampler,
    key_frames: KeyFrames,
    choice: Choice,
    /// The keys of the stream contain no whole picture.
    has_partial_keys: bool,
    /// The keys in a row that gave no intact frame when only they were decoded.
    fruitless_keys: u32,
    /// When the last intact frame was decoded or known to be unnecessary, since the stream was opened.
    last_intact: Duration,
}

/// The properties of a packet that is not decoded yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketState {
    pub(crate) is_key: bool,
    /// A part of it may be lost.
    pub(crate) is_damaged: bool,
    /// There is room to keep it undecoded.
    pub(crate) can_be_deferred: bool,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The stream delivers no intact frame: close it.
    Close,
    /// Drop the packet and what depends on it.
    Discard,
    /// Skip the packet: its frame is not needed.
    Skip,
    /// Keep the packet undecoded: it is not needed if the next key frame arrives when it is expected.
    Defer,
    /// Decode the packet.
    Decode(Need),
}

/// Why a packet is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// For its own frame; no packet that depends on it follows.
    Alone,
    /// For its own frame.
    Frame,
    /// For the frames that depend on it.
    Others,
}

impl Schedule {
    /// The decisions for a stream that was just opened.
    pub(crate) fn new(settings: &Stream, is_recording: bool) -> Self {
        Self {
            decode: settings.decode,
            // No one waits for the frames of a recording, so none is late.
            stall_after: (!is_recording).then_some(settings.stall_after),
            sampler: Sampler::new(settings.every),
            key_frames: KeyFrames::default(),
            choice: Choice::new(settings.decode, settings.every),
            has_partial_keys: false,
            fruitless_keys: 0,
            last_intact: Duration::ZERO,
        }
    }

    /// Which frames are decoded at the moment.
    pub(crate) fn decoded(&self) -> Decoded {
        if self.has_partial_keys { Decoded::All } else { self.choice.decoded() }
    }

    /// Whether every frame is decoded because the keys of the stream contain no whole picture.
    pub(crate) fn has_partial_keys(&self) -> bool {
        self.has_partial_keys
    }

    /// The interval between key frames at `now`, if it is known.
    pub(crate) fn key_frame_interval(&self, now: Duration) -> Option<Duration> {
        self.key_frames.interval(now)
    }

    /// What happens to the next packet, which is of the stream's time `now` and is read `elapsed` after the stream was
    /// opened.
    pub(crate) fn packet(&mut self, packet: PacketState, now: Duration, elapsed: Duration) -> Step {
        if packet.is_key {
            self.key_frames.record(now);
        }
        self.choice.update(self.key_frames.interval(now), now);
        let without = elapsed.saturating_sub(self.last_intact);
        if self.stall_after.is_some_and(|stall_after| without > self.key_frames.limit(stall_after)) {
            return Step::Close;
        }
        if packet.is_damaged {
            return Step::Discard;
        }
        let is_due = self.sampler.is_due(now);
        match self.decoded() {
            Decoded::KeyFrames if packet.is_key && is_due => Step::Decode(Need::Alone),
            Decoded::KeyFrames => {
                if packet.is_key {
                    self.last_intact = elapsed;
                }
                Step::Skip
            }
            Decoded::All if packet.can_be_deferred && self.is_unnecessary(packet, now) => {
                self.last_intact = elapsed;
                Step::Defer
            }
            Decoded::All => Step::Decode(if is_due { Need::Frame } else { Need::Others }),
        }
    }

    /// Records an intact frame. Whether it is to be taken.
    pub(crate) fn intact_frame(&mut self, now: Duration, elapsed: Duration) -> bool {
        self.last_intact = elapsed;
        let is_due = self.sampler.is_due(now);
        if is_due {
            self.sampler.take(now);
        }
        is_due
    }

    /// Records what the decoder made of a packet: whether there is an `intact` frame, and whether it met a key without a whole
    /// picture.
    pub(crate) fn decoded_packet(&mut self, need: Need, intact: bool, has_partial_keys: bool, now: Duration) {
        const MOST_FRUITLESS: u32 = 2;
        self.has_partial_keys |= has_partial_keys;
        if need == Need::Alone {
            self.fruitless_keys = if intact { 0 } else { self.fruitless_keys + 1 };
        }
        if self.fruitless_keys >= MOST_FRUITLESS {
            self.fruitless_keys = 0;
            self.choice.give_up(now);
        }
    }

    /// Whether the packet is not needed if the next key frame arrives when it is expected.
    fn is_unnecessary(&self, packet: PacketState, now: Duration) -> bool {
        // The decoder starts again at the next key frame, so that must be a whole picture.
        let can_wait = self.decode == Decode::Auto && !self.has_partial_keys;
        let expected = self.key_frames.expected().filter(|_| can_wait);
        !packet.is_key && expected.is_some_and(|expected| self.sampler.can_wait_for(expected, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kinds::{
        camera::Unchanged,
        stream::settings::{Hwaccel, Input, Pace},
    };

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn schedule(every: f64, decode: Decode, is_recording: bool) -> Schedule {
        let settings = Stream {
            input: Input::File("x".into()),
            every: seconds(every),
            decode,
            hwaccel: Hwaccel::None,
            transport: None,
            redirects: crate::source::kinds::camera::Redirects::SameHost,
            tls: crate::tls::Trust::System,
            pace: Pace::Real,
            open_timeout: seconds(30.0),
            stall_after: seconds(20.0),
            unchanged: Unchanged::Score,
        };
        Schedule::new(&settings, is_recording)
    }

    const KEY: PacketState = PacketState { is_key: true, is_damaged: false, can_be_deferred: true };
    const OTHER: PacketState = PacketState { is_key: false, ..KEY };

    /// A letter for each packet of a stream with 4 packets a second. Every `gop`th packet is a key frame. Each decoded packet gives
    /// an intact frame; a capital letter means that the frame is taken.
    fn steps(schedule: &mut Schedule, gop: u32, packets: u32) -> String {
        let letter = |number: u32| {
            let now = seconds(f64::from(number) / 4.0);
            let packet = if number.is_multiple_of(gop) { KEY } else { OTHER };
            match schedule.packet(packet, now, now) {
                Step::Close => 'c',
                Step::Discard => 'x',
                Step::Skip => '-',
                Step::Defer => '.',
                Step::Decode(need) => {
                    let taken = schedule.intact_frame(now, now);
                    match (need, taken) {
                        (Need::Alone, true) => 'A',
                        (Need::Frame, true) => 'F',
                        (Need::Others, false) => 'o',
                        other => panic!("{other:?}"),
                    }
                }
            }
        };
        (0..packets).map(letter).collect()
    }

    #[test]
    fn which_packets_are_decoded() {
        let cases = [
            ("a key frame a second suffices", 1.0, Decode::Auto, 4, "FoooFoooA---A---A---"),
            (
                "key frames are too rare",
                1.0,
                Decode::Auto,
                12,
                "FoooFoooFoooFoooFoooFoooFoooFoooFoooFoooFoooF...",
            ),
            ("only key frames", 1.0, Decode::KeyFrames, 8, "A-------A-------A"),
            ("only key frames that are due", 4.0, Decode::KeyFrames, 4, "A---------------A---"),
            ("all", 1.0, Decode::All, 4, "FoooFoooFoooFoooF"),
            ("every packet", 0.02, Decode::Auto, 4, "FFFFFFFFFFFF"),
        ];
        for (name, every, decode, gop, expected) in cases {
            let mut schedule = schedule(every, decode, false);
            let packets = u32::try_from(expected.len()).unwrap();
            assert_eq!(steps(&mut schedule, gop, packets), expected, "{name}");
        }
    }

    #[test]
    fn a_packet_without_room_or_with_a_gap_is_not_deferred() {
        let mut schedule = schedule(1.0, Decode::Auto, false);
        // After 37 packets with a key frame every 3 s, the packets before the next key frame are not needed.
        steps(&mut schedule, 12, 45);
        let now = seconds(11.25);
        let cases = [
            (OTHER, Step::Defer),
            (PacketState { can_be_deferred: false, ..OTHER }, Step::Decode(Need::Others)),
            (PacketState { is_damaged: true, ..OTHER }, Step::Discard),
        ];
        for (packet, expected) in cases {
            assert_eq!(schedule.packet(packet, now, now), expected, "{packet:?}");
        }
    }

    /// A stream with a key packet every second. None of them gives a frame alone, or only the first one does.
    #[test]
    fn every_frame_is_decoded_where_keys_give_no_frames() {
        for (decode, are_partial, expected) in [
            (Decode::Auto, false, Decoded::All),
            (Decode::Auto, true, Decoded::All),
            (Decode::KeyFrames, true, Decoded::All),
            (Decode::KeyFrames, false, Decoded::KeyFrames),
        ] {
            let mut schedule = schedule(1.0, decode, false);
            let now = |second: u32| seconds(f64::from(second));
            for second in 0..3 {
                schedule.packet(KEY, now(second), now(second));
                schedule.intact_frame(now(second), now(second));
            }
            assert_eq!(schedule.decoded(), Decoded::KeyFrames);
            for second in 3..5 {
                assert_eq!(schedule.packet(KEY, now(second), now(second)), Step::Decode(Need::Alone));
                schedule.decoded_packet(Need::Alone, false, false, now(second));
            }
            schedule.decoded_packet(Need::Alone, false, are_partial, now(5));
            assert_eq!(schedule.decoded(), expected, "{decode:?} {are_partial}");
        }
    }

    #[test]
    fn no_packet_is_deferred_where_keys_are_partial() {
        let mut schedule = schedule(1.0, Decode::Auto, false);
        steps(&mut schedule, 12, 45);
        let now = seconds(11.25);
        assert_eq!(schedule.packet(OTHER, now, now), Step::Defer);
        schedule.decoded_packet(Need::Others, true, true, now);
        assert_eq!(schedule.packet(OTHER, now, now), Step::Decode(Need::Others));
    }

    #[test]
    fn a_live_stream_without_an_intact_frame_is_closed() {
        let step =
            |schedule: &mut Schedule, second: f64| schedule.packet(OTHER, seconds(second), seconds(second));
        let mut live = schedule(1.0, Decode::All, false);
        assert_eq!(step(&mut live, 60.0), Step::Decode(Need::Frame), "a minute for the first frame");
        assert_eq!(step(&mut live, 60.1), Step::Close);
        live.intact_frame(seconds(60.2), seconds(60.2));
        assert_eq!(step(&mut live, 120.0), Step::Decode(Need::Frame));

        let mut with_key_frames = schedule(1.0, Decode::All, false);
        for second in [0.0, 2.0] {
            with_key_frames.packet(KEY, seconds(second), seconds(second));
        }
        with_key_frames.intact_frame(seconds(2.0), seconds(2.0));
        assert_eq!(step(&mut with_key_frames, 24.0), Step::Decode(Need::Frame), "2 s and `stall_after`");
        assert_eq!(step(&mut with_key_frames, 24.1), Step::Close);

        let mut recording = schedule(1.0, Decode::All, true);
        assert_eq!(step(&mut recording, 3600.0), Step::Decode(Need::Frame));
    }
}
