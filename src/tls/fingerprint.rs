//! The fingerprint of a certificate: the SHA-256 of its bytes, as openssl and browsers show it. Pure.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// The number of hexadecimal digits.
const DIGITS: usize = 64;

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; DIGITS / 2]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if number == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// Reads 64 hexadecimal digits in any case, with or without colons, blanks and a word in front such as
    /// `sha256 Fingerprint=`. The error is a remedy.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.to_ascii_lowercase().starts_with("sha256//") {
            return Err(
                "this is the hash of a public key: use the SHA-256 fingerprint of the certificate, which \
                        `stakeout doctor` prints"
                    .to_owned(),
            );
        }
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits);
        let lower = digits.to_ascii_lowercase();
        let digits = ["sha-256", "sha256"].iter().find_map(|name| lower.strip_prefix(name)).unwrap_or(&lower);
        let digits: String = digits.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
        let mut bytes = [0; DIGITS / 2];
        let is_hex = digits.chars().all(|digit| digit.is_ascii_hexdigit());
        match digits.len() {
            DIGITS if is_hex => {}
            40 if is_hex => return Err(too_short("SHA-1")),
            32 if is_hex => return Err(too_short("MD5")),
            _ => {
                return Err(
                    "write the 64 hexadecimal digits of the certificate's SHA-256 fingerprint, which \
                            `stakeout doctor` prints"
                        .to_owned(),
                );
            }
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let digit =
                |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(0).zip(digit(1)).map_or(0, |(high, low)| high * 16 + low);
        }
        Ok(Self(bytes))
    }
}

fn too_short(name: &str) -> String {
    format!("this is a {name} fingerprint: use the SHA-256 fingerprint, which `stakeout doctor` prints")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_other_programs_print_them() {
        // `printf x | sha256sum`
        let plain = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        let expected = Fingerprint::of(b"x");
        let shown = expected.to_string();
        assert!(shown.starts_with("2D:71:16:42:") && shown.len() == 95, "{shown}");
        let forms = [
            plain.to_owned(),
            plain.to_uppercase(),
            shown.clone(),
            format!("sha256 Fingerprint={shown}"),
            format!("SHA256 Fingerprint={shown}\n"),
            format!("SHA-256: {plain}"),
            shown.replace(':', " "),
        ];
        for form in forms {
            assert_eq!(form.parse(), Ok(expected), "{form}");
        }
        for (wrong, hint) in [
            (&plain[..40], "SHA-1"),
            (&plain[..32], "MD5"),
            (&plain[..62], "64 hexadecimal digits"),
            ("", "64 hexadecimal digits"),
            ("sha256//LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=", "public key"),
            (&plain.replace('2', "ü"), "64 hexadecimal digits"),
        ] {
            let error = wrong.parse::<Fingerprint>().unwrap_err();
            assert!(error.contains(hint), "{wrong}: {error}");
        }
    }
}
