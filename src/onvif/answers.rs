//! What cameras answer, read from XML. Pure.
//!
//! Elements are found by their local names: cameras differ in the versions of their namespaces. A document type is refused by the parser,
//! and the number of nodes is limited.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use roxmltree::{Document, Node, ParsingOptions};

/// More nodes than a camera with many profiles needs.
const MOST_NODES: u32 = 50_000;
/// The longest text that is taken from an answer, in bytes.
const LONGEST: usize = 2000;

/// A camera that answered a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Camera {
    /// The addresses of its device service, as it reports them.
    pub addresses: Vec<String>,
    /// Its name, often the maker and the model.
    pub name: Option<String>,
    /// Its hardware.
    pub hardware: Option<String>,
    /// Where it is, if someone has set that.
    pub location: Option<String>,
}

/// A profile of a camera: a picture size, a codec, and the addresses for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its identifier in requests.
    pub token: String,
    /// The width and the height of its pictures.
    pub size: Option<(u32, u32)>,
    /// The codec, such as `H264`.
    pub codec: Option<String>,
    /// The address of its stream.
    pub stream: Option<String>,
    /// The address of single pictures.
    pub snapshot: Option<String>,
}

/// An answer that has not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// It is no XML, or has too much of it.
    #[error("the answer is not XML: {0}")]
    NotXml(String),
    /// The camera wants a login, or another one.
    #[error("the camera wants a login")]
    Login,
    /// The camera reports an error.
    #[error("the camera reports: {0}")]
    Fault(String),
    /// The element that was asked for is missing.
    #[error("the answer has no `{0}`")]
    Lacks(&'static str),
}

/// The cameras in an answer to a probe; none if it is something else.
pub(super) fn cameras(xml: &str) -> Vec<Camera> {
    let Ok(document) = parsed(xml) else { return vec![] };
    let found = all(document.root(), "ProbeMatch").map(|found| {
        let words = |name| text_of(found, name).map(str::to_owned).unwrap_or_default();
        let scopes = words("Scopes");
        Camera {
            addresses: words("XAddrs").split_whitespace().map(str::to_owned).collect(),
            name: scope(&scopes, "name"),
            hardware: scope(&scopes, "hardware"),
            location: scope(&scopes, "location"),
        }
    });
    found.filter(|camera| !camera.addresses.is_empty()).collect()
}

/// The time of the camera's clock.
pub(super) fn time(xml: &str) -> Result<Timestamp, Wrong> {
    let document = document(xml)?;
    let time = all(document.root(), "UTCDateTime").next().ok_or(Wrong::Lacks("UTCDateTime"))?;
    let number = |name| text_of(time, name)?.parse::<i16>().ok();
    let small = |name| i8::try_from(number(name)?).ok();
    let read = || {
        let (year, month, day) = (number("Year")?, small("Month")?, small("Day")?);
        // Some clocks have leap seconds.
        let (hour, minute, second) = (small("Hour")?, small("Minute")?, small("Second")?.min(59));
        TimeZone::UTC.to_timestamp(DateTime::new(year, month, day, hour, minute, second, 0).ok()?).ok()
    };
    read().ok_or(Wrong::Lacks("UTCDateTime"))
}

/// The address of the media service.
pub(super) fn media(xml: &str) -> Result<String, Wrong> {
    let document = document(xml)?;
    let media = all(document.root(), "Media").find_map(|media| text_of(media, "XAddr"));
    media.map(str::to_owned).ok_or(Wrong::Lacks("Media"))
}

/// The profiles, without their addresses.
pub(super) fn profiles(xml: &str) -> Result<Vec<Profile>, Wrong> {
    let document = document(xml)?;
    let profile = |profile: Node<'_, '_>| {
        let token = limited(profile.attribute("token")?)?.to_owned();
        let encoder = all(profile, "VideoEncoderConfiguration").next();
        let resolution = encoder.and_then(|encoder| all(encoder, "Resolution").next());
        let number = |name| text_of(resolution?, name)?.parse::<u32>().ok();
        let own_name = profile.children().find(|child| child.tag_name().name() == "Name");
        let name = own_name.and_then(|name| limited(name.text()?.trim()));
        Some(Profile {
            name: name.unwrap_or(&token).to_owned(),
            size: number("Width").zip(number("Height")),
            codec: encoder.and_then(|encoder| text_of(encoder, "Encoding")).map(str::to_owned),
            token,
            stream: None,
            snapshot: None,
        })
    };
    if all(document.root(), "GetProfilesResponse").next().is_none() {
        return Err(Wrong::Lacks("GetProfilesResponse"));
    }
    Ok(all(document.root(), "Profiles").filter_map(profile).collect())
}

/// The address of a stream or of pictures.
pub(super) fn uri(xml: &str) -> Result<String, Wrong> {
    let document = document(xml)?;
    let uri = all(document.root(), "MediaUri").find_map(|media| text_of(media, "Uri"));
    uri.map(str::to_owned).ok_or(Wrong::Lacks("Uri"))
}

/// The document of an answer that is no fault.
fn document(xml: &str) -> Result<Document<'_>, Wrong> {
    let document = parsed(xml).map_err(|error| Wrong::NotXml(error.to_string()))?;
    match fault(&document) {
        Some(wrong) => Err(wrong),
        None => Ok(document),
    }
}

/// The error that a document reports, if it reports one.
fn fault(document: &Document<'_>) -> Option<Wrong> {
    let fault = all(document.root(), "Fault").next()?;
    let is_login = |code: &str| {
        let code = code.rsplit(':').next().unwrap_or_default().trim();
        ["NotAuthorized", "FailedAuthentication", "InvalidSecurity"].contains(&code)
    };
    if all(fault, "Value").filter_map(|code| code.text()).any(is_login) {
        return Some(Wrong::Login);
    }
    // SOAP 1.2, or 1.1.
    let reason = text_of(fault, "Text").or_else(|| text_of(fault, "faultstring"));
    Some(Wrong::Fault(reason.unwrap_or("an error without a reason").to_owned()))
}

fn parsed(xml: &str) -> Result<Document<'_>, roxmltree::Error> {
    let xml = xml.trim_start_matches('\u{feff}').trim();
    Document::parse_with_options(xml, ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() })
}

/// The elements below `node` with this local name.
fn all<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.descendants().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

/// The text of the first element below `node` with this local name, if it has one.
fn text_of<'a>(node: Node<'a, '_>, name: &'static str) -> Option<&'a str> {
    limited(all(node, name).next()?.text()?.trim())
}

fn limited(text: &str) -> Option<&str> {
    (!text.is_empty() && text.len() <= LONGEST).then_some(text)
}

/// A value in scopes such as `onvif://www.onvif.org/name/Front%20Door`.
fn scope(scopes: &str, kind: &str) -> Option<String> {
    let prefix = format!("onvif://www.onvif.org/{kind}/");
    let value = scopes.split_whitespace().find_map(|scope| scope.strip_prefix(&*prefix))?;
    let value = decoded(value.trim_end_matches('/'));
    (!value.trim().is_empty()).then(|| value.trim().to_owned())
}

/// A text without percent-encoding. What is no valid UTF-8 then is replaced.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                decoded.push(code);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(body: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:ter="http://www.onvif.org/ver10/error" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"#
        )
    }

    #[test]
    fn a_probe_match_has_addresses_and_names() {
        let xml = envelope(
            "<d:ProbeMatches><d:ProbeMatch><d:Types>dn:NetworkVideoTransmitter</d:Types>\
             <d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/Front%20Door%C3%A9 \
             onvif://www.onvif.org/hardware/DS-2CD onvif://www.onvif.org/location/</d:Scopes>\
             <d:XAddrs>http://10.0.0.21/onvif/device_service http://[fe80::1]/onvif/device_service</d:XAddrs>\
             </d:ProbeMatch><d:ProbeMatch><d:XAddrs> </d:XAddrs></d:ProbeMatch></d:ProbeMatches>",
        );
        let expected = Camera {
            addresses: vec![
                "http://10.0.0.21/onvif/device_service".to_owned(),
                "http://[fe80::1]/onvif/device_service".to_owned(),
            ],
            name: Some("Front Dooré".to_owned()),
            hardware: Some("DS-2CD".to_owned()),
            location: None,
        };
        assert_eq!(cameras(&xml), [expected]);
        assert_eq!(cameras("<a>"), []);
        assert_eq!(cameras(&envelope("")), []);
    }

    #[test]
    fn the_time_is_that_of_the_clock_in_utc() {
        let of = |second: &str| {
            let date = "<tt:Date><tt:Year>2026</tt:Year><tt:Month>11</tt:Month><tt:Day>23</tt:Day></tt:Date>";
            let clock = format!(
                "<tt:Time><tt:Hour>8</tt:Hour><tt:Minute>15</tt:Minute><tt:Second>{second}</tt:Second></tt:Time>"
            );
            time(&envelope(&format!(
                "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:LocalDateTime/>\
                 <tt:UTCDateTime>{clock}{date}</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
            )))
        };
        assert_eq!(of("30"), Ok("2026-11-23T08:15:30Z".parse().unwrap()));
        assert_eq!(of("60"), Ok("2026-11-23T08:15:59Z".parse().unwrap()));
        assert_eq!(of("x"), Err(Wrong::Lacks("UTCDateTime")));
        assert_eq!(time(&envelope("")), Err(Wrong::Lacks("UTCDateTime")));
    }

    #[test]
    fn the_address_of_the_media_service_is_found() {
        let xml = envelope(
            "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Device><tt:XAddr>http://h/d</tt:XAddr></tt:Device>\
             <tt:Media><tt:XAddr> http://h/onvif/media </tt:XAddr></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>",
        );
        assert_eq!(media(&xml), Ok("http://h/onvif/media".to_owned()));
        assert_eq!(media(&envelope("<tds:GetCapabilitiesResponse/>")), Err(Wrong::Lacks("Media")));
    }

    #[test]
    fn profiles_have_size_and_codec() {
        let encoder = "<tt:VideoEncoderConfiguration token=\"e\"><tt:Name>encoder</tt:Name><tt:Encoding>H264</tt:Encoding>\
                       <tt:Resolution><tt:Width>640</tt:Width><tt:Height>360</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration>";
        let xml = envelope(&format!(
            "<trt:GetProfilesResponse><trt:Profiles token=\"p1\" fixed=\"true\"><tt:Name>Sub</tt:Name>{encoder}</trt:Profiles>\
             <trt:Profiles token=\"p2\"><tt:VideoSourceConfiguration token=\"s\"><tt:Name>source</tt:Name></tt:VideoSourceConfiguration></trt:Profiles>\
             <trt:Profiles><tt:Name>no token</tt:Name></trt:Profiles></trt:GetProfilesResponse>"
        ));
        let sub = Profile {
            name: "Sub".to_owned(),
            token: "p1".to_owned(),
            size: Some((640, 360)),
            codec: Some("H264".to_owned()),
            ..Profile::default()
        };
        let bare = Profile { name: "p2".to_owned(), token: "p2".to_owned(), ..Profile::default() };
        assert_eq!(profiles(&xml), Ok(vec![sub, bare]));
        assert_eq!(profiles(&envelope("<trt:GetProfilesResponse/>")), Ok(vec![]));
        assert_eq!(profiles(&envelope("")), Err(Wrong::Lacks("GetProfilesResponse")));
    }

    #[test]
    fn an_address_of_a_stream_is_found() {
        let xml = envelope(
            "<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://10.0.0.21:554/s?a=1&amp;b=2</tt:Uri>\
             <tt:InvalidAfterConnect>false</tt:InvalidAfterConnect></trt:MediaUri></trt:GetStreamUriResponse>",
        );
        assert_eq!(uri(&xml), Ok("rtsp://10.0.0.21:554/s?a=1&b=2".to_owned()));
        assert_eq!(uri(&envelope("<trt:MediaUri><tt:Uri/></trt:MediaUri>")), Err(Wrong::Lacks("Uri")));
    }

    #[test]
    fn a_fault_says_why() {
        let fault = |code: &str, reason: &str| {
            let xml = envelope(&format!(
                "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode>\
                 <SOAP-ENV:Value>{code}</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code>{reason}</SOAP-ENV:Fault>"
            ));
            media(&xml).unwrap_err()
        };
        assert_eq!(fault("ter:NotAuthorized", ""), Wrong::Login);
        assert_eq!(fault("wsse:FailedAuthentication", ""), Wrong::Login);
        let text = "<SOAP-ENV:Reason><SOAP-ENV:Text>Not now</SOAP-ENV:Text></SOAP-ENV:Reason>";
        assert_eq!(fault("ter:Action", text), Wrong::Fault("Not now".to_owned()));
        assert_eq!(fault("ter:Action", "<faultstring>old</faultstring>"), Wrong::Fault("old".to_owned()));
        assert!(matches!(media("<html>"), Err(Wrong::NotXml(_))));
    }

    #[test]
    fn a_document_type_is_refused() {
        let bomb = format!(
            "<!DOCTYPE a [<!ENTITY b \"{}\">]>{}",
            "x".repeat(1000),
            envelope("&b;").trim_start_matches("<?xml version=\"1.0\"?>")
        );
        assert!(matches!(uri(&bomb), Err(Wrong::NotXml(_))));
        let many = envelope(&"<tt:a/>".repeat(MOST_NODES as usize));
        assert!(matches!(uri(&many), Err(Wrong::NotXml(_))));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "(?s).{0,200}", body in "[<>/a-z&;:% ]{0,80}") {
            for xml in [text, envelope(&body)] {
                let _ = (cameras(&xml), time(&xml), media(&xml), profiles(&xml), uri(&xml));
            }
        }

        #[test]
        fn every_scope_is_decoded(text in "[%0-9a-zé]{0,20}") {
            prop_assert!(decoded(&text).len() <= 3 * text.len());
        }
    }
}
