//! The messages to cameras: the probe of WS-Discovery, and SOAP requests with a `UsernameToken` whose password is a digest
//! (WS-Security UsernameToken Profile 1.0). Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use sha1::{Digest as _, Sha1};

/// A request to a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// What time the camera has; it answers without a login.
    Time,
    /// Where its media service is.
    Capabilities,
    /// Which profiles it has.
    Profiles,
    /// The address of the stream of a profile.
    Stream(&'a str),
    /// The address of the pictures of a profile.
    Snapshot(&'a str),
}

/// The login of one request. The password itself is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    username: String,
    digest: String,
    nonce: String,
    created: String,
}

const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";
const MEDIA: &str = "http://www.onvif.org/ver10/media/wsdl";
const SCHEMA: &str = "http://www.onvif.org/ver10/schema";
const SECURITY: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity";
const DIGEST: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest";
const BASE64: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

impl Request<'_> {
    /// The action, which some cameras expect in the content type.
    pub(super) fn action(self) -> String {
        match self {
            Self::Time => format!("{DEVICE}/GetSystemDateAndTime"),
            Self::Capabilities => format!("{DEVICE}/GetCapabilities"),
            Self::Profiles => format!("{MEDIA}/GetProfiles"),
            Self::Stream(_) => format!("{MEDIA}/GetStreamUri"),
            Self::Snapshot(_) => format!("{MEDIA}/GetSnapshotUri"),
        }
    }

    /// The whole message.
    pub(super) fn envelope(self, token: Option<&Token>) -> String {
        let body = match self {
            Self::Time => format!(r#"<GetSystemDateAndTime xmlns="{DEVICE}"/>"#),
            Self::Capabilities => {
                format!(r#"<GetCapabilities xmlns="{DEVICE}"><Category>All</Category></GetCapabilities>"#)
            }
            Self::Profiles => format!(r#"<GetProfiles xmlns="{MEDIA}"/>"#),
            Self::Stream(profile) => format!(
                r#"<GetStreamUri xmlns="{MEDIA}"><StreamSetup><Stream xmlns="{SCHEMA}">RTP-Unicast</Stream><Transport xmlns="{SCHEMA}"><Protocol>RTSP</Protocol></Transport></StreamSetup><ProfileToken>{}</ProfileToken></GetStreamUri>"#,
                escaped(profile)
            ),
            Self::Snapshot(profile) => format!(
                r#"<GetSnapshotUri xmlns="{MEDIA}"><ProfileToken>{}</ProfileToken></GetSnapshotUri>"#,
                escaped(profile)
            ),
        };
        let header = token.map(Token::header).unwrap_or_default();
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{SOAP}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"#
        )
    }
}

impl Token {
    /// A token for one request. `created` is the time of the camera's clock, and `nonce` is random.
    pub(super) fn new(username: &str, password: &str, nonce: [u8; 16], created: Timestamp) -> Self {
        let created = format!("{created:.3}");
        let mut hash = Sha1::new();
        hash.update(nonce);
        hash.update(created.as_bytes());
        hash.update(password.as_bytes());
        Self {
            username: username.to_owned(),
            digest: STANDARD.encode(hash.finalize()),
            nonce: STANDARD.encode(nonce),
            created,
        }
    }

    fn header(&self) -> String {
        let Self { username, digest, nonce, created } = self;
        format!(
            r#"<w:Security s:mustUnderstand="1" xmlns:w="{SECURITY}-secext-1.0.xsd" xmlns:u="{SECURITY}-utility-1.0.xsd"><w:UsernameToken><w:Username>{}</w:Username><w:Password Type="{DIGEST}">{digest}</w:Password><w:Nonce EncodingType="{BASE64}">{nonce}</w:Nonce><u:Created>{created}</u:Created></w:UsernameToken></w:Security>"#,
            escaped(username)
        )
    }
}

/// The probe for cameras. `id` is a UUID, which the answers repeat.
pub(super) fn probe(id: &str) -> String {
    const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
    const DISCOVERY: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
    const NETWORK: &str = "http://www.onvif.org/ver10/network/wsdl";
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:d="{DISCOVERY}" xmlns:n="{NETWORK}"><s:Header><a:Action s:mustUnderstand="1">{DISCOVERY}/Probe</a:Action><a:MessageID>urn:uuid:{id}</a:MessageID><a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header><s:Body><d:Probe><d:Types>n:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>"#
    )
}

/// A text in XML. Characters that XML cannot have are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the ONVIF Application Programmer's Guide, chapter 6.1.1.3.
    #[test]
    fn the_digest_equals_that_of_the_guide() {
        let nonce = STANDARD.decode("LKqI6G/AikKCQrN0zqZFlg==").unwrap();
        let created = "2010-09-16T07:50:45Z";
        let mut hash = Sha1::new();
        hash.update(&nonce);
        hash.update(created);
        hash.update("userpassword");
        assert_eq!(STANDARD.encode(hash.finalize()), "tuOSpGlFlIXsozq4HFNeeGeFLEI=", "the formula");

        let token = Token::new("user", "userpassword", nonce.try_into().unwrap(), created.parse().unwrap());
        assert_eq!(
            (&*token.nonce, &*token.created),
            ("LKqI6G/AikKCQrN0zqZFlg==", "2010-09-16T07:50:45.000Z")
        );
    }

    #[test]
    fn messages_are_xml_and_have_no_password() {
        let token = Token::new("vi<ew>er", "hunter2", [7; 16], Timestamp::UNIX_EPOCH);
        for request in [
            Request::Time,
            Request::Capabilities,
            Request::Profiles,
            Request::Stream("a & b"),
            Request::Snapshot("\u{1}<x>"),
        ] {
            let text = request.envelope(Some(&token));
            let document = roxmltree::Document::parse(&text).unwrap();
            let name =
                document.descendants().find(|node| node.has_tag_name((SECURITY_NAMESPACE, "Username")));
            assert_eq!(name.and_then(|name| name.text()), Some("vi<ew>er"));
            let body = document.root_element().last_element_child().unwrap().first_element_child().unwrap();
            let action = request.action();
            let tag = body.tag_name();
            assert_eq!(format!("{}/{}", tag.namespace().unwrap(), tag.name()), action);
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(Request::Stream("a & b").envelope(None).contains("<ProfileToken>a &amp; b</ProfileToken>"));
        let probe = probe("1");
        let document = roxmltree::Document::parse(&probe).unwrap();
        let types = document.descendants().find(|node| node.tag_name().name() == "Types").unwrap();
        assert_eq!(types.lookup_namespace_uri(Some("n")), Some("http://www.onvif.org/ver10/network/wsdl"));
    }

    const SECURITY_NAMESPACE: &str =
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";

    proptest! {
        #[test]
        fn any_profile_gives_xml(token in "(?s).{0,20}", user in "(?s).{0,20}") {
            let security = Token::new(&user, "", [0; 16], Timestamp::UNIX_EPOCH);
            let text = Request::Stream(&token).envelope(Some(&security));
            prop_assert!(roxmltree::Document::parse(&text).is_ok());
        }
    }
}
