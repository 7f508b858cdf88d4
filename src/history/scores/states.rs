//! The states of triggers as bytes: about ten for a label, and twenty more where a baseline is learnt. Pure.

use jiff::Timestamp;

use super::bytes::{Bytes, Damaged, put, put_signed};
use crate::{
    judge::{LabelState, Setup},
    trigger::{Baseline, PresenceState, TriggerState},
};

const RAISED: u8 = 1;
const AGREED: u8 = 2;
const RAISED_BEFORE: u8 = 4;
const RAISED_AT: u8 = 8;
const BASELINE: u8 = 16;
const PRESENT: u8 = 32;
const PRESENCE_AGREED: u8 = 64;
const PRESENCE_KNOWN: u8 = 128;

/// Appends the states of all labels and rules of `setup`. Times are written as distances from `base`, in milliseconds since 1970.
pub(super) fn encode(bytes: &mut Vec<u8>, setup: &Setup, states: &[LabelState], base: i64) {
    for ((_, label), LabelState { trigger, presence }) in setup.all().zip(states) {
        let raised_at = trigger.raised_at.to_bits() != label.trigger.threshold.to_bits();
        let flags = [
            (RAISED, trigger.raised),
            (AGREED, trigger.agreed_since.is_some()),
            (RAISED_BEFORE, trigger.last_raised.is_some()),
            (RAISED_AT, raised_at),
            (BASELINE, trigger.baseline.is_some()),
            (PRESENT, presence.present),
            (PRESENCE_AGREED, presence.agreed_since.is_some()),
            (PRESENCE_KNOWN, presence.known),
        ];
        bytes.push(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum());
        [trigger.high, trigger.low, presence.high, presence.low]
            .into_iter()
            .for_each(|bits| put(bytes, bits));
        bytes.push(presence.seen);
        for time in [trigger.agreed_since, trigger.last_raised, presence.agreed_since].into_iter().flatten() {
            put_time(bytes, time, base);
        }
        if raised_at {
            bytes.extend(trigger.raised_at.to_bits().to_le_bytes());
        }
        if let Some((level, weight, at)) = trigger.baseline.map(Baseline::parts) {
            bytes.extend(level.to_bits().to_le_bytes());
            bytes.extend(weight.to_bits().to_le_bytes());
            put_time(bytes, at, base);
        }
    }
}

/// Reads what [`encode`] has written, into `states`.
pub(super) fn decode(
    bytes: &mut Bytes<'_>,
    setup: &Setup,
    states: &mut Vec<LabelState>,
    base: i64,
) -> Result<(), Damaged> {
    states.clear();
    for (_, label) in setup.all() {
        let flags = bytes.byte()?;
        let is_set = |flag: u8| flags & flag != 0;
        let mut trigger = TriggerState { raised: is_set(RAISED), ..TriggerState::default() };
        let mut presence = PresenceState {
            present: is_set(PRESENT),
            known: is_set(PRESENCE_KNOWN),
            ..PresenceState::default()
        };
        for bits in [&mut trigger.high, &mut trigger.low, &mut presence.high, &mut presence.low] {
            *bits = bytes.number()?;
        }
        presence.seen = bytes.byte()?;
        let mut time = |flag: u8| is_set(flag).then(|| read_time(bytes, base)).transpose();
        trigger.agreed_since = time(AGREED)?;
        trigger.last_raised = time(RAISED_BEFORE)?;
        presence.agreed_since = time(PRESENCE_AGREED)?;
        trigger.raised_at = if is_set(RAISED_AT) {
            f32::from_bits(u32::from_le_bytes(bytes.array()?))
        } else {
            label.trigger.threshold
        };
        if is_set(BASELINE) {
            let mut number = || bytes.array().map(|number| f64::from_bits(u64::from_le_bytes(number)));
            let (level, weight) = (number()?, number()?);
            let at = read_time(bytes, base)?;
            trigger.baseline = Some(Baseline::of_parts(level, weight, at).ok_or(Damaged)?);
        }
        states.push(LabelState { trigger, presence });
    }
    Ok(())
}

fn put_time(bytes: &mut Vec<u8>, time: Timestamp, base: i64) {
    put_signed(bytes, time.as_millisecond().wrapping_sub(base));
}

fn read_time(bytes: &mut Bytes<'_>, base: i64) -> Result<Timestamp, Damaged> {
    Timestamp::from_millisecond(bytes.signed()?.wrapping_add(base)).map_err(|_| Damaged)
}
