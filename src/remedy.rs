//! What to do about an error, from its text. Pure.

/// What is wrong, and what to do. The text of an error may end with its own remedy, as most errors do. Otherwise the remedy is for the
/// cause that the text names, or else `otherwise`.
#[must_use]
pub fn of_error<'t>(text: &'t str, otherwise: &'t str) -> (&'t str, &'t str) {
    split(text).unwrap_or_else(|| (text, of_cause(text).unwrap_or(otherwise)))
}

/// The words with which a remedy begins.
const IMPERATIVES: [&str; 21] = [
    "add", "change", "check", "choose", "correct", "export", "give", "install", "make", "name", "pull",
    "put", "remove", "run", "save", "see", "set", "start", "update", "use", "write",
];

/// What is wrong and what to do, of an error in the form "what is wrong: what to do".
fn split(text: &str) -> Option<(&str, &str)> {
    let ends = text
        .match_indices(": ")
        .chain(text.match_indices(". "))
        .map(|(at, end)| (&text[..at], &text[at + end.len()..]));
    let is_remedy = |rest: &str| {
        let word = rest.split([' ', ',']).next().unwrap_or_default().to_lowercase();
        IMPERATIVES.contains(&&*word)
    };
    // The first such place: a remedy may have several sentences.
    ends.filter(|(_, rest)| is_remedy(rest) && !rest.contains('\n')).min_by_key(|(message, _)| message.len())
}

/// What to do about a cause in the words of the system.
fn of_cause(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let causes: [(&[&str], &str); 7] = [
        (&["refused"], "start the program that should answer there, or correct the port of the address"),
        (
            &["lookup address", "name or service not known", "not resolve", "resolution", "no such host"],
            "correct the host of the address, or check that this machine resolves names: `getent hosts NAME`",
        ),
        (
            &["timed out", "time-out", "no answer", "not answer"],
            "check that the device is on, and the network and the firewalls between",
        ),
        (&["unreachable", "no route"], "check the network of this machine: it has no way to this address"),
        (
            &["certificate", "tls", "handshake"],
            "check the scheme and the port of the address, and the certificate",
        ),
        (
            &["denies access", "unauthorized", "answers 401", "answers 403"],
            "correct `username` and `password`",
        ),
        (&["permission denied"], "give the user who runs stakeout the right to do this"),
    ];
    causes
        .into_iter()
        .find(|(words, _)| words.iter().any(|word| text.contains(word)))
        .map(|(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_fit_the_causes() {
        let cases = [
            (
                "the broker does not accept the user `me` with this password: check mqtt.username and mqtt.password",
                "the broker does not accept the user `me` with this password",
                "check mqtt.username and mqtt.password",
            ),
            (
                "x cannot be used: no such file. Name another one, or none",
                "x cannot be used: no such file",
                "Name another one, or none",
            ),
            (
                "Connection refused (os error 111)",
                "Connection refused (os error 111)",
                "start the program that should answer there, or correct the port of the address",
            ),
            (
                "there is no answer",
                "there is no answer",
                "check that the device is on, and the network and the firewalls between",
            ),
            ("http://h/a answers 401", "http://h/a answers 401", "correct `username` and `password`"),
            ("the port 14013 of /cam/401/403 is odd", "the port 14013 of /cam/401/403 is odd", "otherwise"),
            ("something else", "something else", "otherwise"),
        ];
        for (text, message, remedy) in cases {
            assert_eq!(of_error(text, "otherwise"), (message, remedy));
        }
    }
}
