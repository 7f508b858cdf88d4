//! Requests as parameters of an address (`source=Door&limit=20`): reads and writes them. Pure.
//!
//! The schema of a request says which parameters there are, and whether each is a text, a number, a switch or a list.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::error::Error;
use crate::yaml::names;

/// The schema of a request without references: its properties are the parameters of an address.
#[must_use]
pub fn schema<Request: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<Request>().into()
}

/// The fields of a request, whose schema has no references, from the parameters of its address.
///
/// # Errors
/// A parameter is unknown, is given twice, or has a value of another type.
pub fn parse(schema: &Value, query: &str) -> Result<Value, Error> {
    let mut fields = Map::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let Some(property) = schema["properties"].get(&*name) else { return Err(unknown(schema, &name)) };
        if is(property, "array") {
            let list = fields.entry(&*name).or_insert_with(|| Value::Array(Vec::new()));
            let item = value(&property["items"], &name, &text)?;
            if let Value::Array(list) = list {
                list.push(item);
            }
        } else if fields.insert(name.to_string(), value(property, &name, &text)?).is_some() {
            return Err(Error::parameter(&name, "the parameter is given twice").remedy("Give it once."));
        }
    }
    Ok(Value::Object(fields))
}

/// The parameters of a request.
#[must_use]
pub fn write(request: &Value) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in request.as_object().into_iter().flatten() {
        match value {
            Value::Array(items) => items.iter().for_each(|item| {
                query.append_pair(name, &text(item));
            }),
            Value::Null => {}
            value => {
                query.append_pair(name, &text(value));
            }
        }
    }
    query.finish()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value of the type that the schema names.
fn value(schema: &Value, name: &str, text: &str) -> Result<Value, Error> {
    let wrong = |form: &str| Error::parameter(name, format!("`{text}` is not {form}"));
    if is(schema, "integer") {
        return text.parse::<i64>().map(Value::from).map_err(|_| wrong("a whole number"));
    }
    if is(schema, "number") {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        return number.map(Value::from).ok_or_else(|| wrong("a number"));
    }
    if is(schema, "boolean") {
        return text.parse::<bool>().map(Value::from).map_err(|_| wrong("`true` or `false`"));
    }
    Ok(text.into())
}

/// Whether values of a schema may have this type.
fn is(schema: &Value, kind: &str) -> bool {
    let named = match &schema["type"] {
        Value::String(name) => name == kind,
        Value::Array(names) => names.iter().any(|name| name == kind),
        _ => false,
    };
    let choices = ["anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array());
    named || choices.flatten().any(|choice| is(choice, kind))
}

fn unknown(schema: &Value, name: &str) -> Error {
    let known: Vec<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
    let what = format!("there is no parameter `{name}`");
    match names::nearest(name, known.iter().copied()) {
        Some(near) => Error::parameter(name, what).remedy(format!("Did you mean `{near}`?")),
        None if known.is_empty() => Error::parameter(name, what).remedy("There are no parameters."),
        None => {
            Error::parameter(name, what).remedy(format!("The parameters are {}.", names::list(&known, "and")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"properties": {
            "source": {"type": ["string", "null"]},
            "limit": {"type": ["integer", "null"]},
            "least": {"type": "number"},
            "all": {"type": "boolean"},
            "label": {"type": "array", "items": {"type": "string"}},
            "number": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        }})
    }

    #[test]
    fn parameters_have_the_types_of_the_schema() {
        let query = "source=Front+Door%26&limit=20&least=0.5&all=true&label=a&label=b+c&number=3";
        let fields = json!({
            "source": "Front Door&", "limit": 20, "least": 0.5, "all": true, "label": ["a", "b c"], "number": 3,
        });
        assert_eq!(parse(&schema(), query), Ok(fields.clone()));
        assert_eq!(parse(&schema(), &write(&fields)), Ok(fields));
        assert_eq!(parse(&schema(), ""), Ok(json!({})));
        assert_eq!(write(&json!({"source": null})), "");
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (query, place, text) in [
            ("limt=1", "limt", "Did you mean `limit`?"),
            ("wherever=1", "wherever", "The parameters are"),
            ("limit=many", "limit", "`many` is not a whole number"),
            ("limit=99999999999999999999", "limit", "not a whole number"),
            ("least=NaN", "least", "not a number"),
            ("all=yes", "all", "`true` or `false`"),
            ("source=a&source=b", "source", "twice"),
        ] {
            let error = parse(&schema(), query).unwrap_err();
            assert_eq!(error.place.as_deref(), Some(place), "{query}");
            assert!(error.to_string().contains(text), "{query}: {error}");
        }
    }
}
