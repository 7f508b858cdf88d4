//! Assembles the coded frames (access units) of H.264 and H.265 from the payloads of RTP packets. Pure.
//!
//! FFmpeg's parser returns a frame when the next one begins. That is one frame interval late, which is ten seconds for a camera
//! that sends a frame every ten seconds. Here a frame is complete, too, when nothing follows for a short time and no part of
//! it is missing as far as its structure shows: see [`Assembler::quiet`].
//!
//! A gap in the numbers of the packets damages the frame before it, which may lack its end, and the frame after it.

use std::time::Duration;

use jiff::Timestamp;

/// A frame that looks complete is complete if nothing follows for this time.
const QUIET: Duration = Duration::from_millis(50);
/// The same for the first frame, while the usual number of its slices is not known.
const QUIET_AT_FIRST: Duration = Duration::from_millis(500);
/// A payload of at least this size may be the first part of a larger one, until such parts were seen. Parts fill their packets,
/// which hold more than this.
const FULL: usize = 1_000;
/// A frame with more bytes is damaged, whatever it is.
const MOST: usize = 32 << 20;

/// The encodings that are assembled here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    H264,
    H265,
}

/// The properties of the payload of an RTP packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Its time stamp in the time base of the stream.
    pub(crate) stamp: Option<i64>,
    /// Packets before this one were lost.
    pub(crate) is_after_gap: bool,
    /// When it was read.
    pub(crate) at: Timestamp,
}

/// A coded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// With start codes.
    pub(crate) bytes: Vec<u8>,
    pub(crate) stamp: Option<i64>,
    /// When its last part was read.
    pub(crate) arrived: Timestamp,
    /// A decoder can start here: it is a key frame or a recovery point.
    pub(crate) is_key: bool,
    /// A part of it, or a frame before it, may be lost.
    pub(crate) is_damaged: bool,
    slices: usize,
}

/// Assembles the frames of one stream.
pub(crate) struct Assembler {
    encoding: Encoding,
    pending: Option<Unit>,
    /// The size of the newest payload.
    newest: usize,
    /// The least size of a payload that was continued by the next one.
    full: Option<usize>,
    /// The largest number of slices of a frame so far.
    usual_slices: Option<usize>,
    /// The slices of the frame that was completed last because nothing followed.
    completed_early: Option<usize>,
}

impl Assembler {
    pub(crate) fn new(encoding: Encoding) -> Self {
        let (pending, usual_slices, completed_early) = (None, None, None);
        Self { encoding, pending, newest: 0, full: None, usual_slices, completed_early }
    }

    /// Adds a payload. The frame before it, if the payload begins another one.
    pub(crate) fn payload(&mut self, bytes: &[u8], arrival: Arrival) -> Option<Unit> {
        let parts = Parts::of(self.encoding, bytes);
        let ends = self.pending.as_ref().is_some_and(|pending| {
            let other_time =
                arrival.stamp.is_some() && pending.stamp.is_some() && arrival.stamp != pending.stamp;
            pending.slices > 0 && (parts.begins_frame || other_time)
        });
        if let Some(pending) = self.pending.as_mut().filter(|_| arrival.is_after_gap) {
            pending.is_damaged = true;
        }
        let done = if ends { self.complete() } else { None };
        if !ends && parts.is_continuation && self.pending.is_some() {
            self.full = Some(self.full.map_or(self.newest, |full| full.min(self.newest)));
        }
        let has_begun = self.pending.is_some();
        let pending = self.pending.get_or_insert_with(|| Unit {
            bytes: Vec::new(),
            stamp: arrival.stamp,
            arrived: arrival.at,
            is_key: false,
            is_damaged: arrival.is_after_gap,
            slices: 0,
        });
        // The rest of a frame whose beginning is missing, or was taken for the whole.
        pending.is_damaged |= !has_begun && parts.lacks_beginning;
        pending.is_key |= parts.is_key;
        pending.slices += parts.slices;
        pending.arrived = arrival.at;
        pending.stamp = pending.stamp.or(arrival.stamp);
        if pending.bytes.len() + bytes.len() > MOST {
            pending.is_damaged = true;
            pending.bytes.clear();
        }
        pending.bytes.extend_from_slice(bytes);
        self.newest = bytes.len();
        if !has_begun
            && parts.lacks_beginning
            && let Some(before) = self.completed_early.take()
        {
            self.usual_slices = Some(before + 1).max(self.usual_slices);
        }
        done
    }

    /// The frame that waits for its end, if nothing followed for `waited` and it looks complete: it has the usual number of
    /// slices, and its last payload is too small to be continued.
    ///
    /// A decoder of H.264 notices a missing slice, so after a while frames with fewer slices than usual are complete, too.
    pub(crate) fn quiet(&mut self, waited: Duration) -> Option<Unit> {
        let pending = self.pending.as_ref()?;
        let enough = match self.usual_slices {
            None => waited >= QUIET_AT_FIRST,
            Some(usual) if pending.slices >= usual => waited >= QUIET,
            Some(_) => self.encoding == Encoding::H264 && waited >= QUIET_AT_FIRST,
        };
        if pending.slices == 0 || self.newest >= self.full.unwrap_or(FULL) || !enough {
            return None;
        }
        let done = self.complete();
        self.completed_early = done.as_ref().map(|unit| unit.slices);
        done
    }

    fn complete(&mut self) -> Option<Unit> {
        let done = self.pending.take()?;
        if !done.is_damaged {
            self.usual_slices = Some(done.slices).max(self.usual_slices);
        }
        self.completed_early = None;
        Some(done)
    }
}

/// What a payload contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Parts {
    /// It continues the unit of the payload before.
    is_continuation: bool,
    /// Its first unit cannot follow a slice of the same frame.
    begins_frame: bool,
    /// It begins in the middle of a frame.
    lacks_beginning: bool,
    is_key: bool,
    slices: usize,
}

impl Parts {
    fn of(encoding: Encoding, bytes: &[u8]) -> Self {
        if !bytes.starts_with(&[0, 0, 0, 1]) && !bytes.starts_with(&[0, 0, 1]) {
            return Self { is_continuation: true, lacks_beginning: true, ..Self::default() };
        }
        let mut parts = Self::default();
        for (number, unit) in units(bytes).enumerate() {
            let kind = match encoding {
                Encoding::H264 => UnitKind::of_h264(unit),
                Encoding::H265 => UnitKind::of_h265(unit),
            };
            let begins = match kind {
                UnitKind::Slice { is_first, is_key } => {
                    parts.slices += 1;
                    parts.is_key |= is_key;
                    is_first
                }
                UnitKind::Leading { is_recovery_point } => {
                    parts.is_key |= is_recovery_point;
                    true
                }
                UnitKind::Other => false,
            };
            parts.begins_frame |= number == 0 && begins;
            parts.lacks_beginning |= parts.slices == 1 && !begins && !parts.begins_frame;
        }
        parts
    }
}

/// The units (NAL) of a text with start codes.
fn units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = bytes.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| at + 3);
    let starts: Vec<_> = starts.collect();
    let ends: Vec<_> = starts.iter().skip(1).map(|start| start - 3).chain([bytes.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &bytes[start..end])
}

/// The kind of a unit (NAL), as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitKind {
    /// A part of the picture.
    Slice {
        is_first: bool,
        is_key: bool,
    },
    /// Comes before the slices of its frame: parameters, delimiters, messages.
    Leading {
        is_recovery_point: bool,
    },
    Other,
}

impl UnitKind {
    /// Source: ITU-T H.264, 7.3.1 and 7.4.1.2.3.
    fn of_h264(unit: &[u8]) -> Self {
        let Some(header) = unit.first() else { return Self::Other };
        match header & 31 {
            // `first_mb_in_slice` is 0 if its first bit is set.
            kind @ (1 | 2 | 5) => {
                Self::Slice { is_first: unit.get(1).is_some_and(|byte| byte & 0x80 != 0), is_key: kind == 5 }
            }
            6 => Self::Leading { is_recovery_point: has_recovery_point(&unit[1..]) },
            7..=9 | 15..=18 => Self::Leading { is_recovery_point: false },
            _ => Self::Other,
        }
    }

    /// Source: ITU-T H.265, 7.3.1 and 7.4.2.4.4.
    fn of_h265(unit: &[u8]) -> Self {
        let Some(header) = unit.first() else { return Self::Other };
        match header >> 1 & 63 {
            kind @ 0..=31 => Self::Slice {
                // `first_slice_segment_in_pic_flag`
                is_first: unit.get(2).is_some_and(|byte| byte & 0x80 != 0),
                is_key: (16..=23).contains(&kind),
            },
            32..=35 | 39 | 41..=44 | 48..=55 => Self::Leading { is_recovery_point: false },
            _ => Self::Other,
        }
    }
}

/// Whether supplemental information of H.264 contains a recovery point: the decoder shows whole pictures some frames later.
fn has_recovery_point(message: &[u8]) -> bool {
    const RECOVERY_POINT: usize = 6;
    let message = without_emulation_prevention(message);
    let mut bytes = message.iter().copied();
    // Both numbers are sums of bytes. Only the last byte of a number is not 255.
    let number = |bytes: &mut dyn Iterator<Item = u8>| {
        let mut sum = 0;
        loop {
            let byte = usize::from(bytes.next()?);
            sum += byte;
            if byte != 255 {
                return Some(sum);
            }
        }
    };
    while let (Some(kind), Some(size)) = (number(&mut bytes), number(&mut bytes)) {
        if kind == RECOVERY_POINT {
            return true;
        }
        if size > 0 && bytes.nth(size - 1).is_none() {
            break;
        }
    }
    false
}

/// Removes the byte 3 that follows two zeros, which keeps start codes out of the content.
fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut kept = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        kept.push(*byte);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A unit with a start code: these bytes, filled up to `size`.
    fn unit(head: &[u8], size: usize) -> Vec<u8> {
        let mut unit = [&[0, 0, 0, 1], head].concat();
        unit.resize(size.max(unit.len()), 0xAA);
        unit
    }

    /// A slice of H.264.
    fn slice(is_first: bool, is_key: bool, size: usize) -> Vec<u8> {
        unit(&[if is_key { 0x65 } else { 0x41 }, if is_first { 0x88 } else { 0x08 }], size)
    }

    fn part(size: usize) -> Vec<u8> {
        vec![0xAB; size]
    }

    fn arrival(stamp: i64, is_after_gap: bool) -> Arrival {
        Arrival { stamp: Some(stamp), is_after_gap, at: Timestamp::UNIX_EPOCH }
    }

    /// Bytes, key, damaged.
    fn shown(unit: Option<Unit>) -> Option<(usize, bool, bool)> {
        unit.map(|unit| (unit.bytes.len(), unit.is_key, unit.is_damaged))
    }

    #[test]
    fn a_frame_ends_where_the_next_begins_or_when_nothing_follows() {
        let mut stream = Assembler::new(Encoding::H264);
        let mut add = |bytes: &[u8], stamp| shown(stream.payload(bytes, arrival(stamp, false)));
        assert_eq!(add(&unit(&[0x67], 20), 0), None, "parameters");
        assert_eq!(add(&slice(true, true, 1300), 0), None);
        assert_eq!(add(&part(1300), 0), None);
        assert_eq!(add(&part(200), 0), None);
        assert_eq!(add(&slice(true, false, 300), 1), Some((2820, true, false)));
        assert_eq!(shown(stream.quiet(QUIET / 2)), None, "it may go on");
        assert_eq!(shown(stream.quiet(QUIET)), Some((300, false, false)));
        assert_eq!(shown(stream.quiet(LONG)), None);
    }

    #[test]
    fn a_frame_that_lacks_a_part_waits_for_the_next_one() {
        // The payloads of the second frame; the first has one slice, of three payloads.
        let cases: [(&str, Vec<Vec<u8>>, bool); 4] = [
            ("one payload", vec![slice(true, false, 400)], true),
            ("two parts", vec![slice(true, false, 1300), part(400)], true),
            ("only the first part", vec![slice(true, false, 1300)], false),
            ("no last part", vec![slice(true, false, 1300), part(1300)], false),
        ];
        for (name, payloads, is_complete) in cases {
            let mut stream = Assembler::new(Encoding::H264);
            for bytes in [slice(true, true, 1300), part(1290), part(30)] {
                stream.payload(&bytes, arrival(0, false));
            }
            for bytes in &payloads {
                stream.payload(bytes, arrival(1, false));
            }
            assert_eq!(stream.quiet(LONG).is_some(), is_complete, "{name}");
        }
    }

    #[test]
    fn a_frame_of_h265_with_fewer_slices_than_usual_waits_for_the_next_one() {
        let slice = |is_first: bool| unit(&[0x02, 0x01, if is_first { 0x80 } else { 0 }], 100);
        for (encoding, slices, is_complete) in
            [(Encoding::H265, 2, false), (Encoding::H265, 3, true), (Encoding::H264, 2, true)]
        {
            let slice = |is_first: bool| {
                if encoding == Encoding::H264 { self::slice(is_first, false, 100) } else { slice(is_first) }
            };
            let mut stream = Assembler::new(encoding);
            for number in 0..3 {
                stream.payload(&slice(number == 0), arrival(0, false));
            }
            for number in 0..slices {
                stream.payload(&slice(number == 0), arrival(1, false));
            }
            assert_eq!(stream.quiet(QUIET_AT_FIRST).is_some(), is_complete, "{encoding:?} {slices}");
        }
    }

    #[test]
    fn a_gap_damages_the_frames_around_it() {
        let mut stream = Assembler::new(Encoding::H264);
        let mut add = |bytes: &[u8], stamp, gap| shown(stream.payload(bytes, arrival(stamp, gap)));
        assert_eq!(add(&slice(true, true, 300), 0, false), None);
        assert_eq!(add(&slice(true, false, 300), 1, true), Some((300, true, true)));
        assert_eq!(add(&slice(true, false, 300), 2, false), Some((300, false, true)));
        assert_eq!(add(&slice(true, false, 300), 3, false), Some((300, false, false)));
        assert_eq!(add(&part(300), 4, false), Some((300, false, false)));
        assert_eq!(add(&slice(true, false, 300), 5, false), None, "the rest of another frame goes before it");
    }

    #[test]
    fn a_frame_that_was_completed_too_early_damages_its_rest_and_teaches_the_number_of_slices() {
        let mut stream = Assembler::new(Encoding::H265);
        let slice = |is_first: bool| unit(&[0x02, 0x01, if is_first { 0x80 } else { 0 }], 100);
        stream.payload(&slice(true), arrival(0, false));
        assert_eq!(shown(stream.quiet(QUIET_AT_FIRST)), Some((100, false, false)));
        stream.payload(&slice(false), arrival(0, false));
        assert_eq!(shown(stream.payload(&slice(true), arrival(1, false))), Some((100, false, true)));
        assert_eq!(stream.quiet(LONG), None, "a second slice is missing");
        stream.payload(&slice(false), arrival(1, false));
        assert_eq!(shown(stream.quiet(QUIET)), Some((200, false, false)));
    }

    #[test]
    fn where_decoding_can_start() {
        let recovery = [0x06, 6, 1, 0x84, 0x80];
        let behind_another = [&[0x06, 5, 4, 0, 0, 3, 1, 2][..], &[6, 1, 0x84, 0x80]].concat();
        let other = [0x06, 5, 4, 6, 6, 6, 6, 0x80];
        let cases = [
            (Encoding::H264, slice(true, true, 10), true),
            (Encoding::H264, slice(true, false, 10), false),
            (Encoding::H264, unit(&recovery, 0), true),
            (Encoding::H264, unit(&behind_another, 0), true),
            (Encoding::H264, unit(&other, 0), false),
            (Encoding::H265, unit(&[19 << 1, 1, 0x80], 10), true),
            (Encoding::H265, unit(&[21 << 1, 1, 0x80], 10), true),
            (Encoding::H265, unit(&[1 << 1, 1, 0x80], 10), false),
        ];
        for (encoding, bytes, is_key) in cases {
            assert_eq!(Parts::of(encoding, &bytes).is_key, is_key, "{encoding:?} {bytes:?}");
        }
    }

    #[test]
    fn hostile_payloads_are_survived() {
        for encoding in [Encoding::H264, Encoding::H265] {
            let mut stream = Assembler::new(encoding);
            for bytes in [
                &[][..],
                &[0, 0, 1],
                &[0, 0, 0, 1],
                &[0, 0, 0, 1, 6],
                &[0, 0, 1, 6, 255, 255],
                &[0, 0, 1, 5, 0, 0, 1],
            ] {
                stream.payload(bytes, arrival(0, false));
                stream.quiet(LONG);
            }
        }
        let mut stream = Assembler::new(Encoding::H264);
        stream.payload(&slice(true, true, MOST - 10), arrival(0, false));
        stream.payload(&part(100), arrival(0, false));
        assert!(stream.payload(&slice(true, true, 10), arrival(1, false)).unwrap().is_damaged);
    }
}
