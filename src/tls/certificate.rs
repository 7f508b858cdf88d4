//! Finds the public key in a certificate. Pure.
//!
//! The library's parser rejects certificates of X.509 version 1 and others that devices make for themselves. A pinned
//! certificate needs no checks but this: the server must prove that it has the certificate's key.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
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
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    // Version 1 has no field for the version.
    let mut rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    // Serial number, algorithm of the signature, issuer, validity and subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        rest = element(rest, tag)?.1;
    }
    let (key, _) = element(rest, SEQUENCE)?;
    let (algorithm, rest) = element(key, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    let (unused, bits) = bits.split_first()?;
    (*unused == 0).then_some(PublicKey { algorithm, bits })
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
        let (serial, empty) = (sequence(INTEGER, &[&[1]]), sequence(SEQUENCE, &[]));
        let bits = sequence(BIT_STRING, &[&[0], &vec![7; bytes]]);
        let key = sequence(SEQUENCE, &[&sequence(SEQUENCE, &[b"algorithm"]), &bits]);
        let signed = sequence(SEQUENCE, &[version, &serial, &empty, &empty, &empty, &empty, &key]);
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

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = public_key(&bytes);
            let _ = public_key(&sequence(SEQUENCE, &[&sequence(SEQUENCE, &[&bytes])]));
        }
    }
}
