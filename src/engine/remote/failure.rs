//! Why a server did not answer a request, and what follows from that. Pure.

use tonic::{Code, Status};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server cannot answer now. Another one may.
    Away(String),
    /// The server does not have the expected model, or does not accept this client. A person must change something; another server
    /// may answer.
    Unsuitable(String),
    /// The server rejects these pictures. Another server would, too.
    Rejected(String),
}

impl Failure {
    /// Why, for people.
    pub(super) fn why(&self) -> &str {
        let (Self::Away(why) | Self::Unsuitable(why) | Self::Rejected(why)) = self;
        why
    }
}

/// What was asked, as far as the meaning of a status depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The name of the model.
    pub(super) model: &'a str,
    /// The number of pictures; 0 in a question about the server or the model.
    pub(super) pictures: usize,
    /// Whether a token was sent.
    pub(super) with_token: bool,
}

/// The most characters of a server's own text: some send the whole trace of an error.
const LONGEST: usize = 300;

/// The failure that a status of gRPC means.
///
/// All pictures are tensors of the same size, so what fails inside of a server does not depend on the picture. But it may depend on
/// their number. So several pictures are rejected, and the caller tries them one by one; a single one waits until the server works.
pub(super) fn of_status(status: &Status, asked: Asked<'_>) -> Failure {
    let Asked { model, pictures, with_token } = asked;
    let said = said(status.message());
    // Made on this side: the connection was not made, or broke.
    if std::error::Error::source(status).is_some() {
        return Failure::Away(said);
    }
    match status.code() {
        Code::Ok | Code::Unavailable | Code::Cancelled | Code::Aborted | Code::DeadlineExceeded => {
            Failure::Away(said)
        }
        Code::ResourceExhausted if !is_about_size(status.message()) => {
            Failure::Away(format!("it is overloaded: {said}"))
        }
        Code::ResourceExhausted if pictures > 1 => Failure::Rejected(said),
        Code::ResourceExhausted => Failure::Unsuitable(format!(
            "it accepts no request of this size: raise its limit for the size of a message ({said})"
        )),
        Code::Unauthenticated if with_token => {
            Failure::Unsuitable(format!("it does not accept the token: correct `token` of `model` ({said})"))
        }
        Code::Unauthenticated => {
            Failure::Unsuitable(format!("it requires a token: add `token` to `model` ({said})"))
        }
        Code::PermissionDenied => Failure::Unsuitable(format!(
            "it does not allow this: give the owner of the token access to the model {model} ({said})"
        )),
        Code::NotFound => Failure::Unsuitable(format!(
            "it has no model of the name {model}: load the model there, or correct `name` of `model` ({said})"
        )),
        Code::Unimplemented => Failure::Unsuitable(format!(
            "it does not speak the Open Inference Protocol there: write the address of its gRPC port ({said})"
        )),
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists
            if pictures > 0 =>
        {
            Failure::Rejected(said)
        }
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists => {
            Failure::Unsuitable(format!("it rejects the question about the model {model}: {said}"))
        }
        Code::Internal | Code::Unknown | Code::DataLoss if pictures > 1 => Failure::Rejected(said),
        Code::Internal | Code::Unknown | Code::DataLoss => Failure::Away(format!("it failed: {said}")),
    }
}

/// Whether a text is about the size of a message, and not about work that is too much.
fn is_about_size(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("message")
        && (text.contains("larger") || text.contains("too large") || text.contains("exceed"))
}

/// The text of a server, in one line and not too long.
fn said(message: &str) -> String {
    let mut letters = message.split_whitespace().flat_map(|word| [" ", word]).skip(1).flat_map(str::chars);
    let mut text: String = letters.by_ref().take(LONGEST).collect();
    if letters.next().is_some() {
        text.push('…');
    }
    if text.is_empty() { "it gives no reason".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, message: &str, pictures: usize) -> Failure {
        of_status(&Status::new(code, message), Asked { model: "clip", pictures, with_token: true })
    }

    #[test]
    fn what_each_status_means() {
        // The failure for a question, for one picture, and for several: `a`way, `u`nsuitable, `r`ejected.
        for (code, expected) in [
            (Code::Ok, "aaa"),
            (Code::Cancelled, "aaa"),
            (Code::Unknown, "aar"),
            (Code::InvalidArgument, "urr"),
            (Code::DeadlineExceeded, "aaa"),
            (Code::NotFound, "uuu"),
            (Code::AlreadyExists, "urr"),
            (Code::PermissionDenied, "uuu"),
            (Code::ResourceExhausted, "aaa"),
            (Code::FailedPrecondition, "urr"),
            (Code::Aborted, "aaa"),
            (Code::OutOfRange, "urr"),
            (Code::Unimplemented, "uuu"),
            (Code::Internal, "aar"),
            (Code::Unavailable, "aaa"),
            (Code::DataLoss, "aar"),
            (Code::Unauthenticated, "uuu"),
        ] {
            let found: String = [0, 1, 8]
                .map(|pictures| match failure(code, "x", pictures) {
                    Failure::Away(_) => 'a',
                    Failure::Unsuitable(_) => 'u',
                    Failure::Rejected(_) => 'r',
                })
                .iter()
                .collect();
            assert_eq!(found, expected, "{code:?}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_divided_and_work_that_is_too_much_waits() {
        let too_large = "Received message larger than max (19267600 vs. 4194304)";
        assert_eq!(failure(Code::ResourceExhausted, too_large, 8), Failure::Rejected(too_large.to_owned()));
        let alone = failure(Code::ResourceExhausted, too_large, 1);
        assert!(matches!(&alone, Failure::Unsuitable(why) if why.contains("raise its limit")), "{alone:?}");
        let busy = failure(Code::ResourceExhausted, "Exceeds maximum queue size", 8);
        assert_eq!(busy, Failure::Away("it is overloaded: Exceeds maximum queue size".to_owned()));
    }

    #[test]
    fn what_a_person_must_change_is_said() {
        let asked = |with_token| Asked { model: "clip", pictures: 0, with_token };
        let why = |code, with_token| of_status(&Status::new(code, "no"), asked(with_token)).why().to_owned();
        for (found, expected) in [
            (why(Code::Unauthenticated, true), "correct `token` of `model` (no)"),
            (why(Code::Unauthenticated, false), "add `token` to `model` (no)"),
            (why(Code::NotFound, false), "it has no model of the name clip: load the model there"),
            (why(Code::Unimplemented, false), "write the address of its gRPC port"),
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_broken_connection_is_no_answer_whatever_its_status_is() {
        let broken = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert_eq!(broken.code(), Code::Unknown);
        let asked = Asked { model: "clip", pictures: 8, with_token: false };
        assert!(matches!(of_status(&broken, asked), Failure::Away(why) if why.contains("connection reset")));
    }

    #[test]
    fn the_text_of_a_server_is_one_line_and_not_too_long() {
        assert_eq!(said("one\n  two\tthree "), "one two three");
        assert_eq!(said(" \n"), "it gives no reason");
        assert_eq!(said(&"ä".repeat(1000)).chars().count(), LONGEST + 1);
    }
}
