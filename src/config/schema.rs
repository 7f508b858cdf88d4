//! The configuration as JSON Schema, for editors: completion, hover texts, and marks below mistakes.
//!
//! It is derived from the field descriptors of each section. A schema cannot express everything (names that must be defined
//! elsewhere, two labels with one topic): `stakeout check` does.

use serde_json::{Map, Value, json};

use super::assemble::FIELDS;
use crate::yaml::fields::{Alternative, Default, Form, Spec, specs};

/// The meta-schema: editors support draft 7 best.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";
/// Keys that are ignored: a place for anchors.
const IGNORED: &str = "^x-";
/// A value that is a reference.
const REFERENCE: &str = r"\$\{(env|file|credential):";

/// The schema of the main file, and of a file in `rules.d` or `sources.d`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = mapping(&specs(FIELDS));
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("A configuration of stakeout");
    // A service that is new watches nothing yet.
    for key in ["label_sets", "sources"] {
        if let Some(section) = schema["properties"][key].as_object_mut() {
            section.shift_remove("minProperties");
        }
    }
    // Only the main file has them.
    schema["dependencies"] = json!({"defaults": ["mqtt"]});
    // A source may have it from the defaults, which a file of `sources.d` does not show.
    let watch =
        json!({"additionalProperties": {"required": ["watch"]}, "patternProperties": {IGNORED: true}});
    schema["allOf"] = json!([{"anyOf": [
        {"required": ["defaults"]},
        {"not": {"required": ["mqtt"]}},
        {"properties": {"sources": watch}},
    ]}]);
    schema
}

/// A mapping with these keys and no others.
fn mapping(fields: &[&Spec]) -> Value {
    let properties: Map<_, _> = fields.iter().map(|spec| (spec.key.to_owned(), value(spec))).collect();
    let required = fields.iter().filter(|spec| spec.default == Default::Required);
    let required: Vec<_> = required.map(|spec| spec.key).collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "patternProperties": {IGNORED: true},
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn value(spec: &Spec) -> Value {
    let mut schema = form(&spec.form);
    schema["description"] = json!(spec.doc);
    match spec.default {
        Default::Value(default) => schema["default"] = json!(default),
        Default::Described(words) => schema["description"] = json!(format!("{} Default: {words}.", spec.doc)),
        Default::None | Default::Required => {}
    }
    schema
}

fn form(of: &Form) -> Value {
    match of {
        Form::Text | Form::Path | Form::Size(..) => text(),
        Form::Shaped(shape) if shape.pattern.is_empty() => text(),
        Form::Shaped(shape) => json!({"type": "string", "pattern": format!("{}|{REFERENCE}", shape.pattern)}),
        Form::Whole(least, most) => number("integer", json!(least), json!(most), "[0-9][0-9_]*"),
        Form::Level => {
            let mut level = number("number", json!(0), json!(1), r"(0?\.[0-9]+|1(\.0*)?)");
            level["anyOf"][0]["exclusiveMinimum"] = json!(0);
            level
        }
        Form::Duration(..) => json!({"anyOf": [
            {"const": 0},
            {
                "type": "string",
                "minLength": 1,
                "pattern": format!("^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$|{REFERENCE}"),
            },
        ]}),
        Form::Words(words) => {
            json!({"anyOf": [{"enum": typed(words)}, {"type": "string", "pattern": REFERENCE}]})
        }
        Form::Switch => json!({"enum": [true, false, "true", "false"]}),
        Form::Nothing => json!({"type": "null"}),
        Form::Fractions(count) => {
            let fraction = json!({"anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^[0-9.]+$"},
            ]});
            json!({"type": "array", "minItems": count, "maxItems": count, "items": fraction})
        }
        Form::Polygon => json!({"type": "array", "minItems": 3, "items": form(&Form::Fractions(2))}),
        Form::List(item) => json!({"type": "array", "minItems": 1, "items": form(item)}),
        Form::OneOrMore(item) => json!({"anyOf": [form(item), form(&Form::List(item))]}),
        Form::Mapping(table) => mapping(&(table.fields)()),
        Form::Named(value) => {
            // A name may begin so, too: such a value is only checked by the program.
            json!({
                "type": "object",
                "minProperties": 1,
                "additionalProperties": form(value),
                "patternProperties": {IGNORED: true},
            })
        }
        Form::Kinds(kinds) => {
            let kind = |Alternative { key, fields }: Alternative| {
                let mut schema = mapping(&fields);
                schema["required"] = json!([key]);
                schema["title"] = json!(key);
                schema
            };
            json!({"anyOf": kinds().into_iter().map(kind).collect::<Vec<_>>()})
        }
        Form::Defaults(kinds) => defaults(&kinds()),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(form).collect::<Vec<_>>()}),
    }
}

/// A mapping with the keys of all kinds, and one with the keys of each kind.
fn defaults(kinds: &[Alternative]) -> Value {
    let is_kind = |key: &str| kinds.iter().any(|kind| kind.key == key);
    let mut forms = Vec::<(&Spec, Vec<Value>)>::new();
    for spec in kinds.iter().flat_map(|kind| kind.fields.iter().copied()).filter(|spec| !is_kind(spec.key)) {
        let form = form(&spec.form);
        match forms.iter_mut().find(|(known, _)| known.key == spec.key) {
            Some((_, others)) if others.contains(&form) => {}
            Some((_, others)) => others.push(form),
            None => forms.push((spec, vec![form])),
        }
    }
    let mut schema = mapping(&[]);
    for (spec, forms) in forms {
        let mut form = match &forms[..] {
            [only] => only.clone(),
            several => json!({"anyOf": several}),
        };
        form["description"] = json!(spec.doc);
        schema["properties"][spec.key] = form;
    }
    for kind in kinds {
        let own: Vec<_> = kind.fields.iter().copied().filter(|spec| !is_kind(spec.key)).collect();
        let mut own = mapping(&own);
        if let Some(own) = own.as_object_mut() {
            own.shift_remove("required");
        }
        own["description"] = json!(format!("For sources with `{}`.", kind.key));
        schema["properties"][kind.key] = own;
    }
    schema
}

/// A text without quotes may look like a number.
fn text() -> Value {
    json!({"type": ["string", "number", "boolean"], "minLength": 1})
}

/// A number may have quotes and `_` between its digits, or be a reference.
fn number(kind: &str, least: Value, most: Value, typed: &str) -> Value {
    json!({"anyOf": [
        {"type": kind, "minimum": least, "maximum": most},
        {"type": "string", "pattern": format!("^{typed}$|{REFERENCE}")},
    ]})
}

/// Words, and also numbers for words that look like one.
fn typed(words: &[&str]) -> Vec<Value> {
    let numbers = words.iter().filter_map(|word| word.parse::<u64>().ok().map(Value::from));
    numbers.chain(words.iter().map(|word| json!(word))).collect()
}

#[cfg(test)]
mod tests;
