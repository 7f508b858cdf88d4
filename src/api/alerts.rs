//! `alerts`: the newest alerts that the service remembers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    error::{Error, Kind},
    filter::Request,
    pictures,
    time::Time,
    verb::{Answer, Method, Verb},
};
use crate::history::{
    self, Reader,
    alerts::{self, StoredAlert},
};

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "alerts",
    method: Method::Get,
    summary: "Lists the newest alerts that the service remembers, the newest first.",
    answer: Answer::Read(answer),
};

/// The alerts that were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The alerts, the newest first.
    pub alerts: Vec<RememberedAlert>,
}

/// An alert that the service remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RememberedAlert {
    /// The alert, as it was published.
    pub alert: Alert,
    /// Why it was raised or cleared, for people.
    pub reason: String,
    /// The level below which the label was cleared, or would have been; `null` for a rule.
    pub clear_below: Option<f64>,
    /// The address of its small picture, if it has one.
    pub picture: Option<String>,
    /// A person's verdict: `right` or `wrong`.
    pub mark: Option<String>,
}

/// Lists alerts.
///
/// # Errors
/// The limit is out of range, or the store cannot be read.
pub fn answer(reader: &Reader, request: &Request) -> Result<Response, Error> {
    let found = alerts::newest(reader.connection(), &request.filter()?).map_err(history::Error::from)?;
    Ok(Response { alerts: found.into_iter().map(remembered).collect::<Result<_, _>>()? })
}

fn remembered(stored: StoredAlert) -> Result<RememberedAlert, Error> {
    Ok(RememberedAlert {
        alert: Alert::of(&stored.payload)?,
        reason: stored.reason,
        clear_below: stored.clear_below,
        picture: stored.picture.map(pictures::address),
        mark: stored.mark.map(|mark| mark.word().to_owned()),
    })
}

/// A label was raised or cleared on a source: the JSON that was published over MQTT, field for field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The version of these fields.
    pub version: u32,
    /// A UUIDv7.
    pub id: String,
    /// `raised` or `cleared`.
    pub state: String,
    /// When the trigger changed.
    pub time: Time,
    /// The name of the source.
    pub source: String,
    /// The region with this score; `null` is the whole frame.
    pub region: Option<String>,
    /// The name of the label set.
    pub label_set: String,
    /// The name of the label or of the rule over labels.
    pub label: String,
    /// The score of the label from 0 to 1; `null` for a rule.
    pub score: Option<f64>,
    /// The threshold of the label; `null` for a rule.
    pub threshold: Option<f64>,
    /// Each label of the set with its score, and the background prompts as `background`.
    pub scores: Map<String, Value>,
    /// The model that scored.
    pub model: String,
    /// The frame that changed the trigger.
    pub frame: Frame,
    /// The topic of the snapshot, if there is one.
    pub snapshot: Option<String>,
    /// The severity, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The message, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The condition of a rule over labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The score of the label on quiet frames, if it is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The name of the service: `instance` in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The area of the source, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<String>,
    /// Where the source is, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// The frame of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    /// Where the picture came from: a path, an address, a topic.
    pub origin: String,
    /// When the picture was captured.
    pub captured_at: Time,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Alert {
    /// The alert with this published JSON.
    ///
    /// # Errors
    /// It is not the JSON of an alert.
    pub fn of(published: &str) -> Result<Self, Error> {
        serde_json::from_str(published)
            .map_err(|error| Error::new(Kind::Failed, format!("a stored alert is not understood: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_at_first() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(answer(&reader, &Request::default()).unwrap().alerts, []);
    }

    #[test]
    fn an_alert_has_the_fields_that_are_published() {
        let published = concat!(
            r#"{"version":1,"id":"019ab1c2-0000-7000-8000-000000000001","state":"raised","time":"2026-11-23T08:15:30.125Z","#,
            r#""source":"Front Door","region":null,"label_set":"porch","label":"package","score":0.83,"threshold":0.7,"#,
            r#""scores":{"package":0.83,"background":0.15},"model":"bundled","frame":{"origin":"1.jpg","#,
            r#""captured_at":"2026-11-23T08:15:30.000Z","width":640,"height":480},"snapshot":"home/front_door/snapshot","#,
            r#""severity":"info","message":"A package","when":"a and b","baseline":0.1,"instance":"stakeout-pi","area":"Porch","location":"mast 3"}"#,
        );
        assert_eq!(serde_json::to_string(&Alert::of(published).unwrap()).unwrap(), published);
        let parsed = crate::alert::Alert::from_json(published).unwrap();
        let again: Value = serde_json::from_str(&parsed.to_json()).unwrap();
        let fields = again.as_object().unwrap();
        assert_eq!(fields.len(), 21, "a new field of an alert is missing here");
        assert!(Alert::of("{}").is_err());
    }
}
