//! Finds the public key and the last day of a certificate. Pure.
//!
//! The library's parser rejects certificates of X.509 version 1 and others that devices make for themselves. A pinned
//! certificate needs no checks but this: the server must prove that it has the certificate's key.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const SHORT_TIME: u8 = 0x17;
const LONG_TIME: u8 = 0x18;
const VERSION: u8 = 0xA0;

/// A public key as it is in a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// The content of its `AlgorithmIdentifier`.
    pub(super) algorithm: &'a [u8],
    /// The bits of the key.
    pub(super) bits: &'a [u8],
}

/// The public key of a certificate in DER (RFC 5280, 4.1); `None` if the bytes are no certificate.
pub(super) fn public_key(certificate: &[u8]) -> Option<PublicKey<'_>> {
    // Serial number, algorithm of the signature, issuer, validity and subject.
    let rest = after(certificate, &[INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE])?;
    let (key, _) = element(rest, SEQUENCE)?;
    let (algorithm, rest) = element(key, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    let (unused, bits) = bits.split_first()?;
    (*unused == 0).then_some(PublicKey { algorithm, bits })
}

/// When a certificate in DER ends; `None` if the bytes are no certificate, or its end is no time.
pub(super) fn ends(certificate: &[u8]) -> Option<Timestamp> {
    // Serial number, algorithm of the signature and issuer.
    let (validity, _) = element(after(certificate, &[INTEGER, SEQUENCE, SEQUENCE])?, SEQUENCE)?;
    let end = |rest| element(rest, SHORT_TIME).or_else(|| element(rest, LONG_TIME));
    let (_, rest) = end(validity)?;
    time(end(rest)?.0)
}

/// `YYMMDDhhmmssZ`, or the same with four digits for the year.
fn time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match text.len() {
        // RFC 5280, 4.1.2.5.1.
        12 => match text[..2].parse::<i16>().ok()? {
            year @ 50.. => (1900 + year, &text[2..]),
            year => (2000 + year, &text[2..]),
        },
        14 => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let time = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// What follows these elements of the signed part of a certificate.
fn after<'a>(certificate: &'a [u8], tags: &[u8]) -> Option<&'a [u8]> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    // Version 1 has no field for the version.
    let start = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    tags.iter().try_fold(start, |rest, tag| Some(element(rest, *tag)?.1))
}

/// The content of the first element of `der`, which has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first().filter(|_| *first == tag)?;
    let (length, rest) = match length {
        0..=0x7F => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequence(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut der = vec![tag];
        match u8::try_from(content.len()) {
            Ok(length @ 0..=0x7F) => der.push(length),
            Ok(length) => der.extend([0x81, length]),
            Err(_) => {
                der.push(0x82);
                der.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            }
        }
        der.extend(content);
        der
    }

    /// A certificate of this `version` field with a key of this many bytes.
    fn certificate(version: &[u8], bytes: usize) -> Vec<u8> {
        with_validity(version, bytes, &[])
    }

    fn with_validity(version: &[u8], bytes: usize, validity: &[u8]) -> Vec<u8> {
        let (serial, empty) = (sequence(INTEGER, &[&[1]]), sequence(SEQUENCE, &[]));
        let bits = sequence(BIT_STRING, &[&[0], &vec![7; bytes]]);
        let key = sequence(SEQUENCE, &[&sequence(SEQUENCE, &[b"algorithm"]), &bits]);
        let validity = sequence(SEQUENCE, &[validity]);
        let signed = sequence(SEQUENCE, &[version, &serial, &empty, &empty, &validity, &empty, &key]);
        sequence(SEQUENCE, &[&signed, &empty, &sequence(BIT_STRING, &[&[0]])])
    }

    #[test]
    fn the_key_is_found_with_and_without_a_version() {
        let version = sequence(VERSION, &[&sequence(INTEGER, &[&[2]])]);
        for version in [&version[..], &[]] {
            for bytes in [1, 65, 200, 1000] {
                let certificate = certificate(version, bytes);
                let expected = PublicKey { algorithm: b"algorithm", bits: &vec![7; bytes] };
                assert_eq!(public_key(&certificate), Some(expected));
                assert_eq!(public_key(&certificate[..certificate.len() / 2]), None, "cut");
            }
        }
    }

    #[test]
    fn the_end_of_a_certificate() {
        let start = sequence(SHORT_TIME, &[b"200101000000Z"]);
        for (tag, text, expected) in [
            (SHORT_TIME, "261128081530Z", Some("2026-11-28T08:15:30Z")),
            (SHORT_TIME, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (SHORT_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (LONG_TIME, "20501128081530Z", Some("2050-11-28T08:15:30Z")),
            (SHORT_TIME, "261328081530Z", None),
            (SHORT_TIME, "261128081530", None),
            (SHORT_TIME, "2611280815Z", None),
            (LONG_TIME, "2050112808153\u{e9}Z", None),
            (INTEGER, "261128081530Z", None),
        ] {
            let end = sequence(tag, &[text.as_bytes()]);
            let made = with_validity(
                &sequence(VERSION, &[&sequence(INTEGER, &[&[2]])]),
                65,
                &[start.clone(), end].concat(),
            );
            let expected = expected.map(|time| time.parse::<Timestamp>().unwrap());
            assert_eq!(ends(&made), expected, "{text}");
            assert_eq!(ends(&made[..made.len() / 4]), None, "cut");
        }
        assert_eq!(ends(&certificate(&[], 65)), None, "without dates");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (public_key(&bytes), ends(&bytes));
            let inside = sequence(SEQUENCE, &[&sequence(SEQUENCE, &[&bytes])]);
            let _ = (public_key(&inside), ends(&inside));
            let _ = (time(&bytes), ends(&with_validity(&[], 65, &bytes)));
        }
    }
}
