//! Requests over MQTT (`mqtt: { commands: true }`): receives all of them over one connection, and answers questions (`<prefix>/ask`).
//! `mqtt_control` carries out the others.
//!
//! Questions are request and response. With MQTT 5 the response topic and the correlation data are properties of the request. With MQTT
//! 3.1.1 the same are fields of its JSON. Requests are limited in size, in number and in rate; a question that is invalid is answered
//! with a problem document.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::sleep};

use super::{
    ask,
    error::{Error, Kind},
    mqtt_control::{self, Request},
    rate::{Decision, Rate},
    service::Service,
    verb,
};
use crate::{
    alert::{Topics, control_topics, subscriber},
    config::Config,
    mqtt::connection::{Client, Received, ReplyTo},
};

/// The requests that wait at most; more are dropped.
const WAITING: usize = 8;
/// The other requests that wait at most: a scene in Home Assistant switches all cameras at once.
const WAITING_CONTROLS: usize = 256;
/// This number of questions is answered in [`WINDOW`] ...
const MOST_ANSWERED: usize = 10;
/// ... this number is answered with an error, and more are dropped.
const MOST_REFUSED: usize = 10;
const WINDOW: Duration = Duration::from_secs(10);
/// Seconds after which the broker discards an answer.
const EXPIRY: u32 = 60;
/// The pause after the broker has refused the subscription.
const PAUSE: Duration = Duration::from_secs(600);
/// The longest response topic, in bytes.
const LONGEST_TOPIC: usize = 512;

/// A request, and where its answer is to be published.
struct Question {
    client: Client,
    message: Received,
}

/// Answers questions and carries out the other requests as long as the service runs.
pub async fn serve(config: Arc<Config>, service: Arc<Service>) {
    let (questions, to_answer) = mpsc::channel(WAITING);
    let (controls, to_carry_out) = mpsc::channel(WAITING_CONTROLS);
    let rules = Rules::of(&config);
    tokio::join!(
        receive(&config, &rules, questions, controls),
        work(to_answer, &rules, &service),
        mqtt_control::work(to_carry_out, &service)
    );
}

async fn receive(
    config: &Config,
    rules: &Rules,
    questions: mpsc::Sender<Question>,
    controls: mpsc::Sender<Request>,
) {
    let (prefix, topics) = (&config.mqtt.prefix, Topics::new(&config.mqtt.prefix));
    let mut filters = vec![rules.topic.clone(), topics.mark()];
    filters.extend(control_topics::filters(prefix));
    loop {
        let received = subscriber::serve(&config.mqtt, &filters, WAITING, |client, message| {
            let client = client.clone();
            let is_sent = if message.topic == rules.topic.as_bytes() {
                questions.try_send(Question { client, message }).is_ok()
            } else {
                controls.try_send(Request { client, message }).is_ok()
            };
            if !is_sent {
                tracing::warn!("a request over MQTT was dropped: too many wait");
            }
        });
        if let Err(error) = received.await {
            tracing::error!(%error, "requests over MQTT are not answered");
        }
        sleep(PAUSE).await;
    }
}

async fn work(mut questions: mpsc::Receiver<Question>, rules: &Rules, service: &Service) {
    let mut rate = Rate::new(MOST_ANSWERED, MOST_REFUSED, WINDOW);
    while let Some(Question { client, message }) = questions.recv().await {
        let decision = rate.decide(Instant::now());
        if decision == Decision::Drop {
            continue;
        }
        let Some(reply) = Reply::of(&message, rules) else {
            tracing::warn!(
                "a question over MQTT was dropped: its response topic is invalid or belongs to the service"
            );
            continue;
        };
        let answered = match decision {
            Decision::Answer => answer(&message.payload, service).await,
            _ => Err(Error::new(Kind::TooMany, "there are too many questions")
                .remedy(format!("Ask at most {MOST_ANSWERED} in {} s.", WINDOW.as_secs()))),
        };
        // It fails if the connection has ended: then the caller has no answer, and asks again.
        let _ = client.reply(&reply.to, reply.payload(answered), EXPIRY);
    }
}

async fn answer(payload: &[u8], service: &Service) -> Result<Value, Error> {
    let mut fields: Value = serde_json::from_slice(payload)
        .map_err(|error| Error::new(Kind::BadRequest, format!("the request is not JSON: {error}")))?;
    if let Some(fields) = fields.as_object_mut() {
        for field in ["response_topic", "correlation"] {
            fields.shift_remove(field);
        }
    }
    let response = ask::answer(service, &verb::parse(fields)?).await?;
    serde_json::to_value(response).map_err(|error| Error::new(Kind::Failed, error.to_string()))
}

/// Which topics may be used.
#[derive(Debug, Clone)]
struct Rules {
    /// The topic of requests.
    topic: String,
    /// Beginnings of topics that belong to the service: an answer there could be taken for an alert.
    own: Vec<String>,
}

impl Rules {
    fn of(config: &Config) -> Self {
        let discovery = config.home_assistant.as_ref().map(|it| format!("{}/", it.discovery_prefix));
        let own = [Some(format!("{}/", config.mqtt.prefix)), discovery];
        Self { topic: format!("{}/ask", config.mqtt.prefix), own: own.into_iter().flatten().collect() }
    }

    /// Where answers go if a request does not say.
    fn default_response(&self) -> String {
        format!("{}/response", self.topic)
    }

    /// Whether an answer may be published there.
    fn allow(&self, topic: &str) -> bool {
        let below = format!("{}/", self.topic);
        !topic.is_empty()
            && topic.len() <= LONGEST_TOPIC
            && !topic.starts_with('$')
            && !topic.contains(['+', '#', '\0'])
            && topic != self.topic
            && (topic.starts_with(&below) || !self.own.iter().any(|own| topic.starts_with(&**own)))
    }
}

/// What a request says about its answer, in its JSON.
#[derive(Debug, Default, Deserialize)]
struct ReplyFields {
    response_topic: Option<String>,
    correlation: Option<Value>,
}

/// Where an answer goes, and what it repeats.
#[derive(Debug, PartialEq)]
struct Reply {
    to: ReplyTo,
    /// The correlation of a request that has it in its JSON.
    correlation: Option<Value>,
}

impl Reply {
    /// `None` if an answer may not be published there.
    fn of(message: &Received, rules: &Rules) -> Option<Self> {
        // A request that is not JSON has an answer, too.
        let fields: ReplyFields = serde_json::from_slice(&message.payload).unwrap_or_default();
        let to = message.reply_to.clone().unwrap_or_else(|| ReplyTo {
            topic: fields.response_topic.unwrap_or_else(|| rules.default_response()),
            correlation: None,
        });
        rules.allow(&to.topic).then_some(Self { to, correlation: fields.correlation })
    }

    fn payload(&self, answered: Result<Value, Error>) -> Vec<u8> {
        let mut payload = answered.unwrap_or_else(|error| json!(error.problem()));
        if let Some(correlation) = &self.correlation {
            payload["correlation"] = correlation.clone();
        }
        payload.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::service::tests::starting, samples};

    fn rules() -> Rules {
        Rules { topic: "home/ask".to_owned(), own: vec!["home/".to_owned(), "homeassistant/".to_owned()] }
    }

    fn message(payload: &str, reply_to: Option<ReplyTo>) -> Received {
        let (topic, payload) = (b"home/ask".to_vec(), payload.as_bytes().to_vec());
        Received { topic, payload, retain: false, id: None, reply_to }
    }

    #[test]
    fn the_rules_follow_the_configuration() {
        let rules = Rules::of(&samples::config());
        assert_eq!((&*rules.topic, &*rules.own), ("home/ask", &["home/".to_owned()][..]));
    }

    #[test]
    fn answers_go_where_the_request_says_but_never_to_topics_of_the_service() {
        let reply = |topic: &str| Some(ReplyTo { topic: topic.to_owned(), correlation: Some(b"7".to_vec()) });
        for (payload, reply_to, topic) in [
            ("{}", reply("me/answers"), Some("me/answers")),
            ("{}", None, Some("home/ask/response")),
            ("no JSON", None, Some("home/ask/response")),
            (r#"{"response_topic":"me/2"}"#, None, Some("me/2")),
            (r#"{"response_topic":"home/ask/mine"}"#, None, Some("home/ask/mine")),
            (r#"{"response_topic":"me/2"}"#, reply("me/answers"), Some("me/answers")),
            ("{}", reply("home/door/porch/package/alert"), None),
            ("{}", reply("homeassistant/device/x/config"), None),
            ("{}", reply("home/ask"), None),
            ("{}", reply("$SYS/x"), None),
            ("{}", reply("me/+"), None),
            ("{}", reply(""), None),
        ] {
            let found = Reply::of(&message(payload, reply_to), &rules());
            assert_eq!(found.as_ref().map(|reply| &*reply.to.topic), topic, "{payload}");
        }
    }

    #[test]
    fn an_answer_repeats_the_correlation() {
        let reply = Reply::of(&message(r#"{"correlation":{"n":7}}"#, None), &rules()).unwrap();
        let payload = reply.payload(Ok(json!({"source": "door"})));
        assert_eq!(payload, br#"{"source":"door","correlation":{"n":7}}"#);
        let payload = reply.payload(Err(Error::new(Kind::TooMany, "slowly")));
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&payload["status"], &payload["correlation"]["n"]), (&json!(429), &json!(7)));
    }

    #[tokio::test]
    async fn an_invalid_question_is_answered_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        for (payload, what) in [
            ("no JSON", "not JSON"),
            (r#"{"source":"door"}"#, "missing field `text`"),
            (r#"{"source":"door","text":[]}"#, "there is no text"),
            (r#"{"source":"door","text":["a"],"txt":1}"#, "unknown field `txt`"),
            (r#"{"source":"door","text":["a","b"],"correlation":1,"response_topic":"x"}"#, "starting"),
        ] {
            let error = answer(payload.as_bytes(), &service).await.unwrap_err();
            assert!(error.what.contains(what), "{payload}: {error}");
        }
    }
}
