//! The configuration as a page for people: `docs/configuration.md`, derived from the field descriptors.
//!
//! Each table of keys is a section, and each key a row.

use std::fmt::Write;

use super::assemble::FIELDS;
use crate::yaml::{
    fields::{Alternative, Default, Form, Spec, specs},
    value::{duration_text, size_text},
};

const INTRODUCTION: &str = "\
# Configuration

Every key of the configuration, section by section. `NAME` is a name of your own. This page is made from the program by
`stakeout schema --format markdown`; editors show the same texts (`stakeout schema`). [config/reference.yaml](../config/reference.yaml) is one
file with every key, and [config/stakeout.yaml](../config/stakeout.yaml) an example to start from. `stakeout check` reports all mistakes at
once, and `stakeout check --explain` shows the settings in force.

- **Required** keys have no default; *none* means that the key may be absent and has no value then.
- A **duration** is `500ms`, `30s`, `5m`, `1h30m` or `1d`, a **size** `512KB`, `100MB`, `2GB` or `8MiB`.
- A relative **path** starts at the file's folder; `~/` is the home folder.
- A value can be a reference: `${env:NAME}` is an environment variable, `${file:/path}` the content of a file,
  `${credential:NAME}` a credential from systemd's `LoadCredential=`. `$${` is a plain `${`.
- A key that starts with `x-` is ignored: it is a place for [anchors](https://yaml.org/spec/1.2.2/#3222-anchors-and-aliases), such as
  `x-camera: &camera { every: 2s, watch: [porch] }` at the top of the file and `<<: *camera` in each source. Among names of your own
  (sources, label sets, labels) it is ignored if it has an anchor.
- Files `rules.d/*.yaml` next to the configuration contain more `label_sets`, and files `sources.d/*.yaml` more `sources`.
";

/// The beginning of the section `defaults`.
const DEFAULTS: &str = "
## defaults

A source that has no value for one of these keys takes it from here, as a whole. A key below the name of a kind is for sources of that kind, and
takes precedence: `defaults: { every: 1s, http: { every: 5s } }`. A source with a user in its address takes neither `username` nor `password`.
`stakeout check --explain` shows where each value comes from. The meaning of the keys is that of the sources below.

| key | sources with |
|---|---|
";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut page = Page { text: INTRODUCTION.to_owned(), titles: vec![] };
    page.section("The file", &specs(FIELDS), "");
    page.text
}

struct Page {
    text: String,
    /// The sections so far.
    titles: Vec<&'static str>,
}

impl Page {
    /// A section with these keys, and the sections below it. `required` is a key that is required here.
    fn section(&mut self, title: &str, fields: &[&Spec], required: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.text, "\n## {title}\n\n");
        self.text.push_str("| key | value | default | meaning | example |\n|---|---|---|---|---|\n");
        for spec in fields {
            let default = match spec.default {
                Default::Required => "**required**".to_owned(),
                _ if spec.key == required => "**required**".to_owned(),
                Default::None => "*none*".to_owned(),
                Default::Value(value) => code(value),
                Default::Described(words) => words.to_owned(),
            };
            let example = if spec.example.is_empty() { String::new() } else { code(spec.example) };
            let cells = [code(spec.key), in_words(&spec.form), default, spec.doc.to_owned(), example];
            // Only code may contain what looks like HTML.
            let cells = cells.map(|cell| cell.replace('|', "\\|").replace('<', "\\<"));
            let _ = writeln!(self.text, "| {} |", cells.join(" | "));
        }
        fields.iter().for_each(|spec| self.sections_of(&spec.form));
    }

    /// The sections of the mappings in a form, each once.
    fn sections_of(&mut self, form: &Form) {
        match form {
            Form::Mapping(table) => {
                let fields = (table.fields)();
                if fields.len() > 1 && !self.titles.contains(&table.title) {
                    self.titles.push(table.title);
                    self.section(table.title, &fields, "");
                }
            }
            Form::List(form) | Form::OneOrMore(form) | Form::Named(form) => self.sections_of(form),
            Form::Either(forms) => forms.iter().for_each(|form| self.sections_of(form)),
            Form::Kinds(kinds) => self.kinds(&kinds()),
            Form::Defaults(kinds) => self.defaults(&kinds()),
            _ => {}
        }
    }

    /// A section with the keys that `defaults` can have, and the kinds of source that have each of them.
    fn defaults(&mut self, kinds: &[Alternative]) {
        let is_kind = |key: &str| kinds.iter().any(|kind| kind.key == key);
        self.text.push_str(DEFAULTS);
        let mut shown = Vec::<&str>::new();
        for spec in
            kinds.iter().flat_map(|kind| kind.fields.iter().copied()).filter(|spec| !is_kind(spec.key))
        {
            if shown.contains(&spec.key) {
                continue;
            }
            shown.push(spec.key);
            let having = kinds.iter().filter(|kind| kind.fields.iter().any(|own| own.key == spec.key));
            let having: Vec<_> = having.map(|kind| code(kind.key)).collect();
            let having = if having.len() == kinds.len() { "all".to_owned() } else { having.join(", ") };
            let _ = writeln!(self.text, "| {} | {having} |", code(spec.key));
        }
    }

    /// A section with the keys that all kinds have, and one for each kind with its own keys.
    fn kinds(&mut self, kinds: &[Alternative]) {
        let Some((first, others)) = kinds.split_first() else { return };
        let is_common = |key: &str| others.iter().all(|kind| kind.fields.iter().any(|spec| spec.key == key));
        let (common, _): (Vec<_>, Vec<_>) = first.fields.iter().partition(|spec| is_common(spec.key));
        self.section("sources.NAME", &common, "");
        for kind in kinds {
            let own: Vec<_> = kind.fields.iter().copied().filter(|spec| !is_common(spec.key)).collect();
            self.section(&format!("sources.NAME with {}", kind.key), &own, kind.key);
        }
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The form of a value.
fn in_words(form: &Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Shaped(shape) if shape.name.is_empty() => "text".to_owned(),
        Form::Shaped(shape) => shape.name.to_owned(),
        Form::Path => "path".to_owned(),
        Form::Whole(least, most) => format!("whole number, {least} to {most}"),
        Form::Level => "number, more than 0, at most 1".to_owned(),
        Form::Size(0, most) => format!("size, at most {}", size_text(*most)),
        Form::Size(least, most) => format!("size, {} to {}", size_text(*least), size_text(*most)),
        Form::Duration(least, most) if least.is_zero() => {
            format!("duration, at most {}", duration_text(*most))
        }
        Form::Duration(least, most) => {
            format!("duration, {} to {}", duration_text(*least), duration_text(*most))
        }
        Form::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| code(word)).collect();
            match words.split_last() {
                Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
                _ => words.concat(),
            }
        }
        Form::Switch => "`true` or `false`".to_owned(),
        Form::Nothing => "nothing".to_owned(),
        Form::Fractions(count) => format!("list of {count} numbers, 0 to 1"),
        Form::Polygon => "polygon: list of corners `[x, y]`, 0 to 1".to_owned(),
        Form::List(item) => match in_words(item).as_str() {
            "text" => "list of texts".to_owned(),
            item => format!("list, each: {item}"),
        },
        Form::OneOrMore(item) => format!("{}; or {}", in_words(item), in_words(&Form::List(item))),
        Form::Mapping(table) => match (table.fields)()[..] {
            [only] => format!("`{{ {}: {} }}`", only.key, only.form.placeholder()),
            _ => format!("[mapping](#{})", anchor(table.title)),
        },
        Form::Named(value) => format!("for each name: {}", in_words(value)),
        Form::Kinds(_) => format!("[mapping](#{})", anchor("sources.NAME")),
        Form::Defaults(_) => "[mapping](#defaults)".to_owned(),
        Form::Either(forms) => forms.iter().map(in_words).collect::<Vec<_>>().join("; or "),
    }
}

/// The name of a heading in a link, as GitHub makes it.
fn anchor(title: &str) -> String {
    let is_kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    title.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
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
    fn rows_have_form_default_and_meaning() {
        let page = markdown();
        for (section, key, begin) in [
            ("The file", "threads", "| `threads` | whole number, 1 to 1024 | one for each processor |"),
            ("The file", "mqtt", "| `mqtt` | [mapping](#mqtt) | *none* |"),
            ("mqtt", "url", "| `url` | text | **required** |"),
            ("mqtt", "prefix", "| `prefix` | text | `stakeout` | The first levels of every topic. |  |"),
            ("mqtt", "keep_alive", "| `keep_alive` | duration, 5s to 1h | `15s` |"),
            ("label_sets.NAME", "background", "| `background` | list of texts | *none* |"),
            ("label_sets.NAME.labels.NAME", "hold", "| `hold` | `K of N` | `1 of 1` |"),
            (
                "label_sets.NAME.labels.NAME",
                "clear_below",
                "| `clear_below` | number, more than 0, at most 1 | the threshold |",
            ),
            ("sources.NAME", "mask", "| `mask` | polygon: list of corners `[x, y]`, 0 to 1; or list, each: "),
            ("sources.NAME", "scores", "| `scores` | `true` or `false` | `false` |"),
            ("sources.NAME with folder", "folder", "| `folder` | path | **required** |"),
            (
                "sources.NAME with folder",
                "after",
                "| `after` | `keep` or `delete`; or `{ move: FOLDER }` | `keep` |",
            ),
            ("sources.NAME with rtsp", "transport", "| `transport` | `auto`, `tcp` or `udp` | `auto` |"),
            (
                "sources.NAME with mqtt",
                "broker",
                "| `broker` | [mapping](#mqtt) | the broker of the alerts |",
            ),
        ] {
            let row = row(&page, section, key);
            assert!(row.starts_with(begin), "{row}\ninstead of\n{begin}");
        }
        assert!(
            !page.contains("## sources.NAME.broker") && !page.contains("watch.NAME"),
            "each key is there once"
        );
    }

    #[test]
    fn links_lead_to_headings() {
        let page = markdown();
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        assert!(headings.len() > 12, "{headings:?}");
        let links = page.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links {
            assert!(headings.iter().any(|heading| heading == link), "{link} is none of {headings:?}");
        }
    }
}
