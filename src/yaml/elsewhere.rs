//! What other software calls the keys and words of the configuration: Frigate, Home Assistant, Zigbee2MQTT, Mosquitto's tools and
//! Hugging Face. A foreign key is refused with the right one.

use super::fields::Spec;

/// Our key, the words between a foreign key and ours in the remedy, and the foreign keys.
type Row = (&'static str, &'static str, &'static [&'static str]);

const SAME: &str = "here it is";
const PART: &str = "it is a part of";

/// Foreign keys by our key. A row is used only where our key is allowed; the first such row is used.
const KEYS: &[Row] = &[
    // The file.
    ("mqtt", SAME, &["broker", "mosquitto", "mqtt_broker", "mqtt_server"]),
    ("sources", SAME, &["camera", "cameras", "feeds", "inputs", "streams"]),
    ("label_sets", SAME, &["classes", "detect", "detection", "labels", "objects", "track", "watch"]),
    ("home_assistant", SAME, &["discovery", "ha", "hass", "mqtt_discovery"]),
    ("device", SAME, &["accelerator", "detector", "detectors", "execution_provider", "gpu"]),
    ("listen", SAME, &["frontend", "http", "metrics", "port", "prometheus", "telemetry"]),
    ("state_dir", SAME, &["data", "data_dir", "data_path", "database", "db", "storage"]),
    ("webhook", SAME, &["http_post", "notifications", "notify", "rest_command"]),
    ("command", SAME, &["exec", "script", "shell_command"]),
    // The history.
    ("keep", SAME, &["days", "max_age", "purge_keep_days", "retain", "retention"]),
    ("max_size", SAME, &["limit", "max_bytes", "quota", "size"]),
    ("pictures", SAME, &["images", "snapshots", "thumbnails"]),
    ("search", SAME, &["embeddings", "semantic_search"]),
    // A broker, an address, a login.
    ("url", PART, &["port"]),
    (
        "url",
        SAME,
        &["address", "broker", "broker_url", "endpoint", "host", "hostname", "ip", "server", "uri"],
    ),
    ("address", PART, &["port"]),
    ("address", SAME, &["bind", "host", "interface", "url"]),
    ("prefix", SAME, &["base_topic", "root_topic", "topic", "topic_prefix"]),
    ("username", SAME, &["login", "mqtt_user", "mqtt_username", "user"]),
    ("password", SAME, &["mqtt_password", "pass", "passwd"]),
    ("client_id", SAME, &["client", "id", "mqtt_client_id"]),
    ("version", SAME, &["mqtt_version", "protocol", "protocol_version"]),
    ("ca", SAME, &["ca_cert", "ca_certificate", "ca_file", "ca_path", "tls_ca_certs"]),
    ("certificate", SAME, &["cert", "cert_file", "client_cert", "tls_client_cert"]),
    ("key", SAME, &["client_key", "key_file", "tls_client_key"]),
    (
        "tls",
        SAME,
        &["ca", "ca_cert", "insecure", "ssl", "ssl_verify", "tls_ca_certs", "tls_insecure", "verify_ssl"],
    ),
    // A source.
    ("watch", SAME, &["classes", "detect", "label_set", "label_sets", "labels", "objects", "sets", "track"]),
    (
        "every",
        SAME,
        &[
            "fps",
            "frame_interval",
            "frame_rate",
            "framerate",
            "interval",
            "period",
            "rate",
            "refresh",
            "scan_interval",
        ],
    ),
    ("poll", SAME, &["interval", "polling", "scan_interval"]),
    ("regions", SAME, &["areas", "crop", "region", "roi", "rois", "zone", "zones"]),
    (
        "mask",
        SAME,
        &["blackout", "exclusion", "masks", "motion_mask", "object_mask", "privacy", "privacy_mask"],
    ),
    ("unchanged", SAME, &["motion", "motion_detection"]),
    ("transport", SAME, &["protocol", "rtsp_transport"]),
    ("hwaccel", SAME, &["hardware_acceleration", "hwaccel_args"]),
    ("stall_after", SAME, &["timeout"]),
    ("rtsp", SAME, &["camera", "input", "path", "stream", "stream_source", "url"]),
    ("video", SAME, &["file", "input", "path", "stream", "stream_source", "url"]),
    ("http", SAME, &["path", "snapshot", "snapshot_url", "still_image_url", "url"]),
    ("folder", SAME, &["dir", "directory", "path", "watch_folder"]),
    // A label set and its labels.
    ("template", SAME, &["hypothesis", "hypothesis_template", "prompt_template"]),
    ("background", SAME, &["distractors", "negative", "negative_prompts", "negatives", "other", "others"]),
    ("labels", SAME, &["candidate_labels", "classes", "detect", "names", "objects", "track"]),
    ("threshold", SAME, &["conf", "confidence", "min_confidence", "min_score", "probability", "score"]),
    (
        "prompts",
        SAME,
        &["aliases", "caption", "captions", "description", "descriptions", "synonyms", "text", "texts"],
    ),
    ("hold", SAME, &["consecutive", "debounce", "frames", "min_frames", "min_initialized"]),
    ("for", SAME, &["delay", "delay_on", "duration", "min_duration"]),
    (
        "cooldown",
        SAME,
        &["delay_off", "interval", "min_interval", "off_delay", "rate_limit", "throttle", "timeout"],
    ),
    ("severity", SAME, &["importance", "level", "priority"]),
    ("message", SAME, &["body", "payload", "title"]),
    ("active", SAME, &["between", "hours", "schedule", "times", "when"]),
    ("when", SAME, &["condition", "if"]),
];

/// Foreign keys without a counterpart here, and what to do.
const WITHOUT: &[(&[&str], &str)] = &[
    (&["birdseye", "record", "recording", "recordings", "timelapse"], "remove it: stakeout records no video"),
    (&["ffmpeg", "go2rtc"], "remove it, and name the stream of each camera: `rtsp: rtsp://HOST/PATH`"),
    (&["snapshots"], "remove it: each alert has a snapshot"),
    (&["semantic_search"], "here it is a part of `history`: write `history: { search: true }`"),
    (&["recorder"], "here it is `history`: write `history: { keep: 30d }`"),
    (
        &["log", "log_level", "logger", "logging"],
        "remove it: the environment variable RUST_LOG selects what is logged",
    ),
    (&["qos", "retain"], "remove it: alerts are published with QoS 1, and states are retained"),
    (
        &["enable", "enabled"],
        "remove it: what is in the file is enabled. A source and a label can have `enabled: false`",
    ),
];

/// Our words, the best first, and the words of other software that mean the same.
const WORDS: &[(&[&str], &[&str])] = &[
    (&["critical"], &["4", "5", "alarm", "alert", "emergency", "error", "high", "severe", "urgent"]),
    (&["warning"], &["2", "3", "medium", "moderate", "normal", "warn"]),
    (&["info"], &["0", "1", "debug", "information", "low", "minor", "notice"]),
    (&["true"], &["1", "enable", "enabled", "on", "yes"]),
    (&["false"], &["0", "disable", "disabled", "no", "off"]),
    (&["cpu", "none"], &["no", "off"]),
    (&["cuda"], &["gpu", "nvidia"]),
    (&["openvino"], &["intel"]),
    (&["3.1.1"], &["3", "3.1", "4", "mqttv311", "v3", "v311"]),
    (&["5"], &["5.0", "mqttv5", "v5"]),
];

/// What to write instead of a foreign key, and the key that is meant, if there is one.
pub(super) fn key(typed: &str, fields: &[&'static Spec]) -> Option<(Option<&'static str>, String)> {
    let typed = typed.to_lowercase().replace(['-', ' '], "_");
    let is_typed = |names: &&[&str]| names.contains(&&*typed);
    let meant = KEYS
        .iter()
        .filter(|(.., names)| is_typed(names))
        .find_map(|(key, relation, _)| Some((fields.iter().find(|spec| spec.key == *key)?, relation)));
    if let Some((spec, relation)) = meant {
        let example = match &*spec.line() {
            // The value is a section, which is more than one line.
            line if line.ends_with(": ") => String::new(),
            _ if typed == "fps" => ": write `every: 200ms` for 5 a second".to_owned(),
            line => format!(": write `{line}`"),
        };
        return Some((Some(spec.key), format!("{relation} `{}`{example}", spec.key)));
    }
    let (_, remedy) = WITHOUT.iter().find(|(names, _)| is_typed(names))?;
    Some((None, (*remedy).to_owned()))
}

/// The known word that means the same as `typed` does in other software.
pub(super) fn word<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let meant = WORDS.iter().filter(|(_, others)| others.contains(&&*typed));
    meant.flat_map(|(words, _)| *words).find_map(|word| known.iter().copied().find(|known| known == word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::broker;
    use crate::yaml::fields::specs;

    #[test]
    fn a_foreign_key_has_the_right_one() {
        let fields = specs(broker::FIELDS);
        for (typed, key_meant, remedy) in [
            ("host", Some("url"), "here it is `url`: write `url: mqtt://localhost:1883`"),
            ("port", Some("url"), "it is a part of `url`: write `url: mqtt://localhost:1883`"),
            ("topic-prefix", Some("prefix"), "here it is `prefix`: write `prefix: stakeout`"),
            ("User", Some("username"), "here it is `username`: write `username: stakeout`"),
            ("retain", None, "remove it: alerts are published with QoS 1, and states are retained"),
        ] {
            assert_eq!(key(typed, &fields), Some((key_meant, remedy.to_owned())), "{typed}");
        }
        assert_eq!(key("fps", &fields), None, "no such key is allowed here");
    }

    #[test]
    fn a_foreign_word_has_the_right_one() {
        let severities = ["info", "warning", "critical"];
        assert_eq!(
            ["High", "medium", "low", "purple"].map(|typed| word(typed, &severities)),
            [Some("critical"), Some("warning"), Some("info"), None]
        );
        assert_eq!(
            ["yes", "off"].map(|typed| word(typed, &["true", "false"])),
            [Some("true"), Some("false")]
        );
    }
}
