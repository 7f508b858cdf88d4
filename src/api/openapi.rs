//! The OpenAPI document of the API, from the types that it serialises. Pure.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    alerts,
    error::Problem,
    events, filter,
    me::Me,
    newest, query,
    role::Role,
    search, search_picture, sources, states, truth,
    verb::{Method, PREFIX, Route},
};

/// Why an answer has no picture.
const KNOWN: &str = "The client has it: its `If-None-Match` is the ETag.";

/// The document for these verbs, and for the addresses that are no verbs.
#[must_use]
pub fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in routes {
        let [request, response] = (route.schemas)(&mut generator);
        let mut operation = operation(route.name, route.summary, &problem);
        operation["responses"]["200"] = content("The answer.", "application/json", &json!(response));
        operation["x-needs"] = json!(if route.is_for_owner { "socket" } else { route.method.needs().word() });
        match route.method {
            Method::Get => operation["parameters"] = parameters(&route.request),
            Method::Post | Method::Query => {
                operation["requestBody"] =
                    json!({ "required": true, "content": { "application/json": { "schema": request } } });
            }
        }
        paths.insert(
            format!("{PREFIX}{}", route.name),
            json!({ route.method.name().to_lowercase(): operation }),
        );
    }
    let others = others(&mut generator, &problem);
    paths.extend(others);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "stakeout",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a stakeout service remembers and sees now. `x-needs` says what a client needs for an address: the \
                right to `view` or to `change`, or the unix `socket`, which needs no token.",
        },
        "security": [{ "token": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The addresses that are no verbs.
fn others(generator: &mut SchemaGenerator, problem: &Schema) -> Map<String, Value> {
    let mut document = operation("openapi", "This document.", problem);
    document["responses"]["200"] = content("The document.", "application/json", &json!({ "type": "object" }));

    let mut me = operation("me", "What the client may do.", problem);
    me["responses"]["200"] =
        content("The role of the client.", "application/json", &json!(generator.subschema_for::<Me>()));

    let mut events = operation("events", "Alerts and scores as they happen, as server-sent events.", problem);
    events["parameters"] = parameters(&query::schema::<events::Request>());
    events["responses"]["200"] = content(
        "Events until the client closes the connection. `event: alert` has an alert as data, `event: scores` the scores of a \
         label set on a source, `event: source` the status and the problem of a source, `event: service` the state of the whole \
         service, and `event: lost` the number of events that this client has lost because it reads too slowly.",
        "text/event-stream",
        &json!({ "type": "string" }),
    );
    // The data of `event: alert`, `event: source` and `event: service`.
    let _ = generator.subschema_for::<alerts::Alert>();
    let _ = generator.subschema_for::<states::SourceStateEvent>();
    let _ = generator.subschema_for::<sources::ServiceState>();

    let mut newest = operation(newest::NAME, "The newest picture of a source, small.", problem);
    newest["parameters"] = parameters(&query::schema::<newest::Request>());
    newest["responses"]["200"] = content(
        "The picture. The header `Stakeout-Captured-At` says when its frame was captured, and `Stakeout-Changed`, if it is there, the \
         part that is different from the picture before: left edge, upper edge, width and height, as fractions of the frame.",
        "image/jpeg",
        &json!({ "type": "string", "contentMediaType": "image/jpeg" }),
    );
    newest["responses"]["304"] = json!({ "description": KNOWN });

    let mut picture =
        operation("picture", "The small picture of an alert, by the alert's `picture`.", problem);
    picture["parameters"] = json!([{
        "name": "id", "in": "path", "required": true, "description": "The name of the picture.",
        "schema": { "type": "string" },
    }]);
    picture["responses"]["200"] =
        content("The picture.", "image/jpeg", &json!({ "type": "string", "contentMediaType": "image/jpeg" }));
    picture["responses"]["304"] = json!({ "description": KNOWN });

    let mut truth_file = operation("truth", truth::SUMMARY, problem);
    truth_file["parameters"] = parameters(&query::schema::<filter::Request>());
    truth_file["responses"]["200"] = content("The file.", "text/csv", &json!({ "type": "string" }));

    let mut search_picture = operation(search_picture::NAME, search_picture::SUMMARY, problem);
    search_picture["parameters"] = parameters(&query::schema::<search::Request>());
    let bytes = json!({ "schema": { "type": "string", "contentMediaType": "image/*" } });
    search_picture["requestBody"] = json!({ "required": true, "content": { "image/*": bytes } });
    let found = generator.subschema_for::<search::Response>();
    search_picture["responses"]["200"] = content("What was found.", "application/json", &json!(found));

    [
        ("openapi.json", "get", document),
        ("me", "get", me),
        ("events", "get", events),
        (newest::NAME, "get", newest),
        ("pictures/{id}", "get", picture),
        (search_picture::NAME, "post", search_picture),
        (truth::NAME, "get", truth_file),
    ]
    .into_iter()
    .map(|(name, method, operation)| (format!("{PREFIX}{name}"), json!({ method: operation })))
    .collect()
}

fn operation(id: &str, summary: &str, problem: &Schema) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "x-needs": Role::View.word(),
        "responses": { "default": content("What is wrong, where, and what to do.", "application/problem+json", &json!(problem)) },
    })
}

fn content(description: &str, kind: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { kind: { "schema": schema } } })
}

/// The parameters of an address, from the properties of a request.
fn parameters(request: &Value) -> Value {
    let required = request["required"].as_array().cloned().unwrap_or_default();
    let parameter = |(name, property): (&String, &Value)| {
        let mut schema = property.clone();
        let description = schema.as_object_mut().and_then(|schema| schema.shift_remove("description"));
        json!({
            "name": name,
            "in": "query",
            "required": required.contains(&json!(name)),
            "description": description.unwrap_or_default(),
            "schema": schema,
        })
    };
    request["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes;

    #[test]
    fn every_address_and_every_parameter_is_described() {
        let routes = routes::all();
        let document = document(&routes);
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), routes.len() + 7);
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                let described = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
                assert!(described(&operation["summary"]), "{path}");
                assert!(
                    operation["responses"]["200"].is_object()
                        && operation["responses"]["default"].is_object()
                );
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(described(&parameter["description"]), "{method} {path}: {parameter}");
                }
            }
        }
        for route in &routes {
            let described = &paths[&format!("{PREFIX}{}", route.name)];
            let parameters = &described["get"]["parameters"];
            let fields = route.request["properties"].as_object().map_or(0, Map::len);
            match route.method {
                Method::Get => assert_eq!(parameters.as_array().unwrap().len(), fields, "{}", route.name),
                Method::Post | Method::Query => {
                    assert!(described["post"]["requestBody"].is_object(), "{}", route.name)
                }
            }
        }
    }

    #[test]
    fn every_field_is_described_and_every_reference_resolves() {
        fn check(at: &str, value: &Value, document: &Value) {
            if let Some(reference) = value["$ref"].as_str() {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{at}: {reference}");
            }
            for (name, property) in value["properties"].as_object().into_iter().flatten() {
                // The word that says which variant it is needs none.
                let is_described = property["description"].is_string() || property["const"].is_string();
                assert!(is_described, "{at}.{name} has no description");
            }
            let inner: Vec<(String, &Value)> = match value {
                Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
                Value::Array(list) => list.iter().map(|value| ("[]".to_owned(), value)).collect(),
                _ => vec![],
            };
            for (key, value) in inner {
                check(&format!("{at}/{key}"), value, document);
            }
        }
        let document = document(&routes::all());
        assert!(document["components"]["schemas"]["Problem"].is_object());
        check("", &document, &document);
    }
}
