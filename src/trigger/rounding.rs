//! Scores as 16 bits: the form in which the history stores them, and from which baselines are learnt. Pure.
//!
//! The form is a small floating-point number without a sign: 3 bits of exponent and 13 bits of fraction. The distance between two
//! neighbours is a sixteen-thousandth above a half, half as much above a quarter, and so on down to a millionth below 0.008, so that
//! the low scores of SigLIP models keep their digits. Exactly 1 has a value of its own. Every rounded score is an `f32`, and rounding it
//! again changes nothing.

/// Exactly 1.
const ONE: u16 = LARGEST + 1;
/// The largest value below 1. Greater ones are free for other purposes: see [`FREE`].
const LARGEST: u16 = 0xFFFC;
/// The first value that no score has.
pub const FREE: u16 = ONE + 1;

/// The bits of the fraction.
const FRACTION: u32 = 13;
/// How much shorter that is than the fraction of an `f32`.
const SHORTER: u32 = 23 - FRACTION;
/// The exponent of an `f32` is greater by this.
const BIAS: u32 = 119;
/// Below this score, values are evenly apart.
const EVEN_BELOW: f32 = 1.0 / 128.0;
/// The values in a score of 1, below [`EVEN_BELOW`].
const EVEN: f32 = 1_048_576.0;

/// The value nearest to a score; `None` for NaN and for what is not between 0 and 1.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "less than 2^16 and not negative"
)]
pub fn code(score: f32) -> Option<u16> {
    if !(0.0..=1.0).contains(&score) {
        return None;
    }
    if score < EVEN_BELOW {
        return Some((score * EVEN).round() as u16);
    }
    let rounded = (score.to_bits() - (BIAS << 23) + (1 << (SHORTER - 1))) >> SHORTER;
    if score > nearly_one() { Some(ONE) } else { Some((rounded as u16).min(LARGEST)) }
}

/// The score of a value; `None` from [`FREE`] upwards.
#[must_use]
pub fn score(code: u16) -> Option<f32> {
    match code {
        FREE.. => None,
        ONE => Some(1.0),
        _ => Some(plain(code)),
    }
}

/// The score as it is stored; unchanged if it has no stored form.
#[must_use]
pub fn rounded(unrounded: f32) -> f32 {
    code(unrounded).and_then(score).unwrap_or(unrounded)
}

fn plain(code: u16) -> f32 {
    let (exponent, fraction) = (u32::from(code) >> FRACTION, code & ((1 << FRACTION) - 1));
    match exponent {
        0 => f32::from(fraction) / EVEN,
        _ => f32::from_bits(((exponent + BIAS) << 23) | (u32::from(fraction) << SHORTER)),
    }
}

/// Halfway between the largest value below 1, and 1.
fn nearly_one() -> f32 {
    f32::midpoint(plain(LARGEST), 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_is_the_score_that_it_is_the_value_of() {
        let mut before = -1.0;
        for value in 0..FREE {
            let score = score(value).unwrap();
            assert!(score > before, "{value}: {score} after {before}");
            assert_eq!(code(score), Some(value), "{score}");
            before = score;
        }
        assert_eq!(before, 1.0);
        for value in FREE..=u16::MAX {
            assert_eq!(score(value), None);
        }
    }

    #[test]
    fn scores_are_rounded_to_the_nearest_value() {
        for (unrounded, expected) in [
            (0.0, 0.0),
            (-0.0, 0.0),
            (1.0, 1.0),
            (1.0 - 1e-7, 1.0),
            (0.999_9, 1.0),
            (0.999_8, 0.999_756),
            (0.5, 0.5),
            (0.000_5, 0.000_5),
            (0.7, 0.7),
        ] {
            let rounded = rounded(unrounded);
            assert!((rounded - expected).abs() < 4e-5 || expected == rounded, "{unrounded}: {rounded}");
        }
        for other in [f32::NAN, f32::INFINITY, -0.1, 1.1] {
            assert_eq!(code(other), None);
            assert_eq!(rounded(other).to_bits(), other.to_bits());
        }
    }

    proptest! {
        #[test]
        fn rounding_keeps_the_order_and_changes_little(a in 0.0f32..=1.0, b in 0.0f32..=1.0) {
            let (first, second) = (rounded(a), rounded(b));
            prop_assert!((a <= b && first <= second) || (a >= b && first >= second));
            prop_assert!((first - a).abs() <= (a / 8000.0).max(5e-7), "{a} {first}");
            prop_assert_eq!(rounded(first), first);
        }
    }
}
