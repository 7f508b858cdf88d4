//! `support_bundle`: one file with everything that helps to find a fault, to give to someone who helps.
//!
//! It has no pictures, scores, embeddings and alerts, and no secrets: the configuration is written again without them
//! (`config::publishable`), everything else masks its secrets itself, and last every secret that is known is searched for in all files.
//! The command makes the same file without a service, with less in it.

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    bundle::{Bundle, Content},
    checks::{Check, CheckState},
    doctor, effective,
    error::{Error, Kind},
    service::Service,
    system::{self, Facts},
    verb::{Answer, Method, Verb},
};
use crate::{
    blocking,
    config::{self, Config},
    recent_lines::Recent,
    yaml::{Publishable, Secret},
};

/// The verb. It runs the checks, which connect to the broker and to cameras, so its client needs the right to change.
pub const VERB: Verb<Request, Response> = Verb {
    name: "support_bundle",
    method: Method::Post,
    summary: "Makes a file for someone who helps: configuration without secrets, checks, metrics and log; no pictures and scores.",
    answer: Answer::Live(|service, _| Box::pin(async move { answer(&service).await })),
};

/// How long the checks are waited for. They may be running for someone else.
const PATIENCE_WITH_CHECKS: Duration = Duration::from_secs(45);

/// There is nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {}

/// A support bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The name of the file, such as `stakeout-support-20261123-081530.tar.gz`.
    pub name: String,
    /// The files in it.
    pub files: Vec<PackedFile>,
    /// The content of the file (tar, compressed with gzip) as base64. It has less than 5 MB.
    pub content: String,
}

/// A file in a support bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackedFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub what: String,
    /// Its size in bytes.
    pub bytes: usize,
}

impl Response {
    /// The bytes of the file.
    ///
    /// # Errors
    /// The answer of the service is no base64.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        let decoded = BASE64_STANDARD.decode(&self.content);
        decoded.map_err(|error| Error::new(Kind::Failed, format!("the bundle cannot be read: {error}")))
    }
}

/// What a bundle is made of.
pub struct Parts {
    /// The configuration in force; `None` if there is none that is valid.
    pub config: Option<Arc<Config>>,
    /// The checks, or why they did not run.
    pub checks: Result<Vec<Check>, String>,
    /// What only a running service has.
    pub service: Option<ServiceParts>,
}

/// What only a running service has for a bundle.
pub struct ServiceParts {
    /// The facts.
    pub facts: Facts,
    /// The metrics page.
    pub metrics: String,
    /// The newest lines of the log.
    pub log: Recent,
}

async fn answer(service: &Arc<Service>) -> Result<Response, Error> {
    let tools = service.tools().cloned();
    let tools =
        tools.ok_or_else(|| Error::new(Kind::Unavailable, "this service makes no support bundles"))?;
    let path = service.configuration()?.path().to_owned();
    let checks = async {
        match timeout(PATIENCE_WITH_CHECKS, doctor::newest(service)).await {
            Ok(checked) => checked.map(|checked| checked.checks).map_err(|error| error.to_string()),
            Err(_) => Err("the checks did not end in time".to_owned()),
        }
    };
    let (checks, facts) = tokio::join!(checks, system::answer(service));
    let config = service.live().ok().map(|live| live.newest.config());
    let (metrics, log) = (service.metrics.page(), tools.lines.all());
    let parts = Parts { config, checks, service: Some(ServiceParts { facts, metrics, log }) };
    let packing = blocking::run(move || pack(&path, &parts, Timestamp::now()));
    packing.await.unwrap_or_else(|_| Err(Error::new(Kind::Failed, "making the bundle failed")))
}

/// Makes the bundle for the configuration files at `path`. It reads these files.
///
/// # Errors
/// The bundle cannot be written.
pub fn pack(path: &Path, parts: &Parts, at: Timestamp) -> Result<Response, Error> {
    let Publishable { text: configuration, hidden } = config::publishable(path);
    let known = parts.config.iter().flat_map(|config| secrets(config));
    let mut bundle = Bundle::without(hidden.into_iter().chain(known).collect());
    let name = format!("stakeout-support-{}", at.to_zoned_datetime(TimeZone::UTC).strftime("%Y%m%d-%H%M%S"));
    bundle.add(Content::ReadMe, &read_me(parts, at));
    bundle.add(Content::Configuration, &configuration);
    bundle.add(Content::Problems, &problems(path));
    if let Some(config) = &parts.config {
        bundle.add(Content::Settings, &effective::in_lines(&effective::describe(config)));
    }
    bundle.add(Content::Checks, &checks(&parts.checks));
    if let Some(ServiceParts { facts, metrics, log }) = &parts.service {
        let facts = serde_json::to_string_pretty(facts);
        bundle.add(Content::System, &facts.unwrap_or_else(|error| error.to_string()));
        bundle.add(Content::Metrics, metrics);
        bundle.add(Content::Log, &log_text(log));
    }
    let packed = bundle.pack(&name, at);
    let packed =
        packed.map_err(|error| Error::new(Kind::Failed, format!("the bundle cannot be written: {error}")))?;
    let file = |(content, bytes): (Content, usize)| PackedFile {
        name: content.name().to_owned(),
        what: content.what().to_owned(),
        bytes,
    };
    Ok(Response {
        name: format!("{name}.tar.gz"),
        files: bundle.sizes().into_iter().map(file).collect(),
        content: BASE64_STANDARD.encode(packed),
    })
}

/// The secrets of a configuration that are not typed in its files but come from the environment, files or credentials.
fn secrets(config: &Config) -> Vec<String> {
    let webhook = config.webhook.as_ref();
    let listen = config.listen.as_ref();
    let texts = [
        webhook.and_then(|webhook| webhook.secret.as_ref()),
        webhook.and_then(|webhook| webhook.token.as_ref()),
        listen.and_then(|listen| listen.token.as_ref()),
        listen.and_then(|listen| listen.view_token.as_ref()),
    ];
    let texts = texts.into_iter().flatten().map(Secret::reveal);
    let login = webhook.and_then(|webhook| webhook.address.login()).map(|(_, password)| password);
    let command = config.command.iter().flat_map(|command| {
        let pairs = command.arguments.iter().map(Secret::reveal).zip(&command.shown_arguments);
        pairs.filter(|(typed, shown)| typed != shown).map(|(typed, _)| typed)
    });
    let sources = config.sources.iter().flat_map(|source| source.kind.settings().secrets());
    let all = texts.chain(config.mqtt.secrets()).chain(sources);
    // A shorter one is a part of many words.
    all.chain(login).chain(command).filter(|secret| secret.len() >= 4).map(str::to_owned).collect()
}

fn read_me(parts: &Parts, at: Timestamp) -> String {
    let mut text =
        format!("A support bundle of stakeout {}, made at {at:.0}.\n\n", env!("CARGO_PKG_VERSION"));
    for content in Content::ALL {
        let is_in_it = match content {
            Content::Settings => parts.config.is_some(),
            Content::System | Content::Metrics | Content::Log => parts.service.is_some(),
            _ => true,
        };
        // Writing to a string cannot fail.
        let _ = match is_in_it {
            true => writeln!(text, "{:20}{}", content.name(), content.what()),
            false => writeln!(
                text,
                "{:20}missing: no service was running, or the files are invalid",
                content.name()
            ),
        };
    }
    text.push_str(
        "\nIt has no pictures, scores, embeddings and alerts, and no passwords and tokens. It has the names of sources, labels, hosts, \
         folders and topics. Read it before you give it to someone else.\n",
    );
    text
}

/// What is wrong with the files at `path`.
fn problems(path: &Path) -> String {
    match config::look(path) {
        Ok(_) => "none\n".to_owned(),
        Err(problems) => format!("{problems}\n"),
    }
}

fn checks(checks: &Result<Vec<Check>, String>) -> String {
    let checks = match checks {
        Ok(checks) => checks,
        Err(why) => return format!("not checked: {why}\n"),
    };
    let mut text = String::new();
    for Check { check, state, what, remedy } in checks {
        let state = match state {
            CheckState::Ok => "ok",
            CheckState::Warning => "warning",
            CheckState::Problem => "problem",
        };
        let _ = writeln!(text, "{state:8}{check}: {what}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "        -> {remedy}");
        }
    }
    text
}

fn log_text(log: &Recent) -> String {
    let mut text = format!(
        "{} older lines were dropped; {} lines about labels are left out\n\n",
        log.dropped, log.about_labels
    );
    for line in &log.lines {
        let _ = writeln!(text, "{:.3} {:>5} {}", line.at, line.level, line.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _};

    use flate2::read::GzDecoder;
    use tokio::sync::watch;
    use tracing::Level;

    use super::*;
    use crate::{
        api::{Configuration, Tools, service::tests::starting},
        config::{Mqtt, MqttSettings, Source, SourceKind, state::ConfigState},
        recent_lines::RecentLines,
        samples,
    };

    const PLANTED: &str = "hunter2";

    /// The text of the archive.
    fn unpacked(response: &Response) -> String {
        let mut text = Vec::new();
        GzDecoder::new(&response.bytes().unwrap()[..]).read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn secrets_from_everywhere_are_in_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        let typed = format!(
            "mqtt: {{ url: \"mqtt://me:{PLANTED}@h\", prefix: home }}\n# {PLANTED}\n\
             command: {{ run: [/bin/x, --token, {PLANTED}] }}\nunknown: {{ apikey: {PLANTED}Kd83bQa71xZ }}\n"
        );
        fs::write(&path, typed).unwrap();
        let mut config = samples::config();
        config.mqtt.password = Some(Secret::new("from-the-environment".to_owned()));
        let broker = Mqtt { password: Some(Secret::new("of-a-camera".to_owned())), ..config.mqtt.clone() };
        let topics = MqttSettings { broker: Some(broker), ..samples::topics("a/b", None) };
        config.sources.push(Source { kind: SourceKind::Mqtt(topics), ..samples::source("topics", &[]) });
        let lines = RecentLines::default();
        lines.push(Timestamp::UNIX_EPOCH, Level::WARN, format!("a fault shows {PLANTED}"));
        let secrets = "from-the-environment, and of-a-camera";
        lines.push(Timestamp::UNIX_EPOCH, Level::INFO, secrets.to_owned());
        let service = starting(folder.path());
        let check = Check {
            check: "broker".to_owned(),
            state: CheckState::Problem,
            what: format!("refuses {PLANTED}"),
            remedy: Some(format!("correct {PLANTED}")),
        };
        let parts = Parts {
            config: Some(config.into()),
            checks: Ok(vec![check]),
            service: Some(ServiceParts {
                facts: system::answer(&service).await,
                metrics: format!("stakeout_build_info{{version=\"{PLANTED}\"}} 1\n"),
                log: lines.all(),
            }),
        };
        let at = "2026-11-23T08:15:30Z".parse().unwrap();
        let response = pack(&path, &parts, at).unwrap();
        assert_eq!(response.name, "stakeout-support-20261123-081530.tar.gz");
        assert_eq!(response.files.len(), Content::ALL.len());
        let text = unpacked(&response);
        for secret in [PLANTED, "from-the-environment", "of-a-camera"] {
            assert!(!text.contains(secret), "{text}");
        }
        for expected in [
            "stakeout-support-20261123-081530/README.txt",
            "prefix: home",
            "problem broker: refuses ***",
            "a fault shows ***",
            "stakeout_build_info",
            "\"version\":",
            "unknown key `unknown`",
            "label_sets:",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn without_a_service_it_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        let parts = Parts { config: None, checks: Err("the files are invalid".to_owned()), service: None };
        let response = pack(&path, &parts, Timestamp::UNIX_EPOCH).unwrap();
        let names: Vec<_> = response.files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["README.txt", "configuration.yaml", "problems.txt", "checks.txt"]);
        let text = unpacked(&response);
        assert!(text.contains("log.txt             missing"), "{text}");
        assert!(
            text.contains("not checked: the files are invalid") && text.contains("there is no such file")
        );
    }

    #[tokio::test]
    async fn a_service_that_starts_makes_one_without_the_checks() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        assert_eq!(answer(&service).await.unwrap_err().kind, Kind::Unavailable, "it has no tools");
        service.set_tools(Tools { lines: RecentLines::default(), checks: Box::new(|_| vec![]) });
        let config = samples::config();
        let (_, states) = watch::channel(ConfigState::started(&config, String::new()));
        let path = folder.path().join("stakeout.yaml");
        service.set_configuration(Configuration::new(&path, &config, states));
        let text = unpacked(&answer(&service).await.unwrap());
        assert!(text.contains("not checked: the service is starting"), "{text}");
        assert!(text.contains("stakeout_ready 0"), "{text}");
    }
}
