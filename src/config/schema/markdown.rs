//! The schema as a page for people: `docs/configuration.md`.
//!
//! It is made of nothing but the schema and `config/reference.yaml`: a section for each mapping, a row for each key. It
//! refuses to know a key by its name, so that a new one is on the page without anybody's help.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{ELSEWHERE, Kind, Reference, form, schema};

const INTRODUCTION: &str = "\
# Configuration

Every key of the configuration, section by section. `NAME` is a name of your own. This page is made from the program by
`stakeout schema --format markdown`; the same texts stand in [config/reference.yaml](../config/reference.yaml), one file that shows every
key, and in the hover texts of an editor (`stakeout schema`). [config/stakeout.yaml](../config/stakeout.yaml) is an example to start from.
`stakeout check` tells every mistake at once, `stakeout check --explain` what is in force.

- **Required** keys have no default; *none* means that the key may be left out and has no value then.
- A **duration** is `500ms`, `30s`, `5m`, `1h30m` or `1d`.
- A **path** that is relative begins at the file's folder; `~/` is the home folder.
- A value can be taken from elsewhere: `${env:NAME}` is an environment variable, `${file:/path}` the content of a file,
  `${credential:NAME}` what systemd hands over by `LoadCredential=`. `$${` is a plain `${`.
- Files `rules.d/*.yaml` beside the configuration hold more `label_sets`.
";

/// A mapping with keys, and where it stands.
struct Section<'s> {
    /// `label_sets.*.labels.*`
    path: String,
    /// The kind, where mappings of several kinds may stand at one place.
    kind: Option<&'s str>,
    schema: &'s Value,
}

impl Section<'_> {
    fn title(&self) -> String {
        let path = if self.path.is_empty() { "The file".to_owned() } else { self.path.replace('*', "NAME") };
        self.kind.map_or(path.clone(), |kind| format!("{path} with {kind}"))
    }

    fn keys(&self) -> &Map<String, Value> {
        // Only mappings with keys become sections.
        self.schema["properties"].as_object().expect("a section has properties")
    }

    /// Whether each key of `other` means here what it means there.
    fn holds(&self, other: &Map<String, Value>) -> bool {
        other.iter().all(|(key, value)| self.keys().get(key) == Some(value))
    }
}

/// The page.
#[must_use]
pub fn markdown() -> String {
    let (schema, reference) = (schema(), Reference::read());
    let mut sections = vec![];
    find(&schema, "", &mut sections);
    let mut page = INTRODUCTION.to_owned();
    let mut done = 0;
    while let Some(first) = sections.get(done) {
        // The kinds of what may stand at one place follow each other.
        let together = sections[done..].iter().take_while(|other| other.path == first.path).count();
        let kinds = &sections[done..done + together];
        let common = common(kinds);
        if together > 1 {
            let all = Section { path: first.path.clone(), kind: None, schema: first.schema };
            // Writing to a string cannot fail, here and below.
            let _ = write!(page, "\n## {}\n\n", all.title());
            table(&mut page, &all, &sections, &reference, |key| common.contains(&key));
        }
        for section in kinds {
            let _ = write!(page, "\n## {}\n\n", section.title());
            let shown = |key: &str| together == 1 || !common.contains(&key);
            table(&mut page, section, &sections, &reference, shown);
        }
        done += together;
    }
    page
}

/// The sections in `value`, which stands at `path`, in the order in which they are shown. What is explained already is not
/// explained again.
fn find<'s>(value: &'s Value, path: &str, found: &mut Vec<Section<'s>>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(keys) = value["properties"].as_object() {
        let known = found.iter().any(|section| section.path != path && section.holds(keys));
        if known || is_short(keys) {
            return;
        }
        found.push(Section {
            path: path.to_owned(),
            kind: value["title"].as_str().filter(|_| !path.is_empty()),
            schema: value,
        });
        if value["title"].is_null() || path.is_empty() {
            keys.iter().for_each(|(key, value)| find(value, &below(key), found));
        }
    }
    let kinds = value["anyOf"].as_array().into_iter().flatten();
    kinds.for_each(|kind| find(kind, path, found));
    if value["additionalProperties"].is_object() {
        find(&value["additionalProperties"], &below("*"), found);
    }
}

/// Such a mapping is shown where it stands.
fn is_short(keys: &Map<String, Value>) -> bool {
    keys.len() == 1
}

/// The keys that each of the kinds has, with the same meaning.
fn common<'s>(kinds: &[Section<'s>]) -> Vec<&'s str> {
    let Some((first, others)) = kinds.split_first() else { return vec![] };
    let keys = first.schema["properties"].as_object().into_iter().flatten();
    let same =
        |(key, value): &(&String, &Value)| others.iter().all(|other| other.keys().get(*key) == Some(*value));
    keys.filter(same).map(|(key, _)| key.as_str()).collect()
}

fn table(
    page: &mut String,
    section: &Section<'_>,
    sections: &[Section<'_>],
    reference: &Reference,
    shown: impl Fn(&str) -> bool,
) {
    page.push_str("| key | value | default | meaning | example |\n|---|---|---|---|---|\n");
    let required = section.schema["required"].as_array();
    for (key, value) in section.keys().iter().filter(|(key, _)| shown(key)) {
        let path = if section.path.is_empty() { key.clone() } else { format!("{}.{key}", section.path) };
        let meaning = value["description"].as_str().unwrap_or_default();
        let told = ["no default. ", "no default; "].iter().find_map(|begin| meaning.strip_prefix(begin));
        let told = told.unwrap_or(if meaning == "no default" { "" } else { meaning });
        let default = match value["default"].as_str() {
            Some(default) => code(default),
            None if required.is_some_and(|keys| keys.iter().any(|name| name == key)) => {
                "**required**".to_owned()
            }
            None if meaning.contains("efault is")
                || meaning.contains("efault:") && !meaning.contains("no default") =>
            {
                "in words".to_owned()
            }
            None => "*none*".to_owned(),
        };
        let example = reference.example(&path).filter(|example| value["default"] != **example);
        let cells = [
            code(key),
            words(value, sections),
            default,
            // What looks like HTML would not be shown.
            told.replace('<', "\\<"),
            example.map_or(String::new(), code),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The form of a value, in words.
fn words(value: &Value, sections: &[Section<'_>]) -> String {
    let reference = Reference::nothing();
    if *value == without_texts(value, &form(&reference, Kind::Duration)) {
        return "duration".to_owned();
    }
    if *value == without_texts(value, &form(&reference, Kind::Hold)) {
        return "`K of N`".to_owned();
    }
    if let Some(alternatives) = value["anyOf"].as_array() {
        let mut told: Vec<String> = vec![];
        for alternative in alternatives.iter().filter(|alternative| !is_elsewhere(alternative)) {
            let words = words(alternative, sections);
            if !told.contains(&words) {
                told.push(words);
            }
        }
        return told.join("; or ");
    }
    if let Some(words) = value["enum"].as_array() {
        // Numbers and switches may stand in quotes, which nobody has to know.
        let mut words = words
            .iter()
            .map(|word| word.as_str().map_or(word.to_string(), str::to_owned))
            .collect::<Vec<_>>();
        words.dedup();
        let half = words.len() / 2;
        if words.len().is_multiple_of(2) && words[..half] == words[half..] {
            words.truncate(half);
        }
        let words = words.iter().map(|word| code(word)).collect::<Vec<_>>();
        return match words.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
    }
    match value["type"].as_str() {
        Some("object") => mapping(value, sections),
        Some("array") => list(value, sections),
        Some("null") => "nothing".to_owned(),
        Some("integer") => format!("whole number, {} to {}", value["minimum"], value["maximum"]),
        Some("number") if value["exclusiveMinimum"].is_null() => {
            format!("number, {} to {}", value["minimum"], value["maximum"])
        }
        Some("number") => {
            format!("number, more than {}, at most {}", value["exclusiveMinimum"], value["maximum"])
        }
        _ => "text".to_owned(),
    }
}

fn mapping(value: &Value, sections: &[Section<'_>]) -> String {
    if let Some(keys) = value["properties"].as_object() {
        if let Some((key, value)) = keys.iter().next().filter(|_| is_short(keys)) {
            return format!("`{{ {key}: {} }}`", words(value, sections).to_uppercase());
        }
        let mut known = sections.iter().filter(|section| section.holds(keys));
        return match known.next() {
            Some(section) if section.keys().len() == keys.len() => {
                format!("[mapping](#{})", anchor(&section.title()))
            }
            Some(section) => {
                let names = keys.keys().map(|key| code(key)).collect::<Vec<_>>();
                format!("mapping with {} of [these](#{})", names.join(", "), anchor(&section.title()))
            }
            None => "mapping".to_owned(),
        };
    }
    match &value["additionalProperties"] {
        named @ Value::Object(_) => match words(named, sections) {
            // Kinds: all of them are told under the first heading.
            kinds if kinds.contains("; or [mapping]") && kinds.starts_with("[mapping]") => {
                let path = kinds.split("-with-").next().unwrap_or_default();
                format!("for each name a {path})")
            }
            one => format!("for each name: {one}"),
        },
        _ => "mapping".to_owned(),
    }
}

fn list(value: &Value, sections: &[Section<'_>]) -> String {
    let item = words(&value["items"], sections);
    match (&value["minItems"], &value["maxItems"]) {
        (least, most) if least == most && !least.is_null() => format!("list of {least}: {item}"),
        _ if item == "text" => "list of texts".to_owned(),
        _ => format!("list, each: {item}"),
    }
}

/// Numbers and words may also be taken from elsewhere, which is said once for all.
fn is_elsewhere(value: &Value) -> bool {
    value["type"] == "string"
        && value["pattern"]
            .as_str()
            .is_some_and(|pattern| pattern.contains(ELSEWHERE) || pattern.starts_with("^[0-9"))
}

/// `form` with what is said of `value`, so that they can be compared.
fn without_texts(value: &Value, form: &Value) -> Value {
    let mut form = form.clone();
    for key in ["description", "default"] {
        if !value[key].is_null() {
            form[key] = value[key].clone();
        }
    }
    form
}

/// What a heading is called in a link, as GitHub does it.
fn anchor(title: &str) -> String {
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'p>(page: &'p str, section: &str, key: &str) -> &'p str {
        let (_, section) =
            page.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no {section}\n{page}"));
        let section = section.split("\n## ").next().unwrap();
        section
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
            .unwrap_or_else(|| panic!("no {key}:{section}"))
    }

    #[test]
    fn rows_say_form_default_and_meaning() {
        let page = markdown();
        for (section, key, begin) in [
            ("The file", "threads", "| `threads` | whole number, 1 to 1024 | in words |"),
            ("The file", "mqtt", "| `mqtt` | [mapping](#mqtt) | *none* |"),
            ("mqtt", "url", "| `url` | text | **required** |"),
            ("mqtt", "prefix", "| `prefix` | text | `stakeout` | the first levels of every topic |  |"),
            ("mqtt", "keep_alive", "| `keep_alive` | duration | `15s` |"),
            ("label_sets.NAME", "background", "| `background` | list of texts | *none* |"),
            ("label_sets.NAME.labels.NAME", "hold", "| `hold` | `K of N` | `1 of 1` |"),
            (
                "label_sets.NAME.labels.NAME",
                "clear_below",
                "| `clear_below` | number, more than 0, at most 1 | in words |",
            ),
            ("sources.NAME", "scores", "| `scores` | `true` or `false` | `false` |"),
            (
                "sources.NAME with folder",
                "after",
                "| `after` | `keep` or `delete`; or `{ move: TEXT }` | `keep` |",
            ),
            ("sources.NAME with rtsp", "transport", "| `transport` | `tcp` or `udp` | `tcp` |"),
            ("sources.NAME with mqtt", "broker", "| `broker` | [mapping](#mqtt) | in words |"),
        ] {
            let row = row(&page, section, key);
            assert!(row.starts_with(begin), "{row}\ninstead of\n{begin}");
        }
        assert!(!page.contains("## sources.NAME.broker") && !page.contains("watch.NAME"), "told once");
    }

    #[test]
    fn every_key_of_the_schema_has_a_row() {
        let (page, schema) = (markdown(), schema());
        let mut sections = vec![];
        find(&schema, "", &mut sections);
        assert!(sections.len() > 12, "{}", sections.len());
        for section in &sections {
            for key in section.keys().keys() {
                assert!(page.contains(&format!("\n| `{key}` |")), "{} {key}", section.title());
            }
        }
    }

    #[test]
    fn links_lead_to_headings() {
        let page = markdown();
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let links = page.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links {
            assert!(headings.iter().any(|heading| heading == link), "{link} is none of {headings:?}");
        }
    }
}
