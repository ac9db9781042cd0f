//! The JSON of `config` is valid by the specification's own schema, which Docker Compose carries in itself.

use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{cases, docker_compose, each, wharfie};

#[test]
fn what_is_printed_is_valid_by_the_schema_of_the_specification() {
    let schema = schema(&docker_compose());
    let found = each(&cases(), |case| {
        let output = case.config(wharfie(), &["--format", "json"]);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let wrong = problems(&schema, &printed);
        wrong
            .iter()
            .map(|it| format!("{}: {it}", case.name))
            .collect()
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The text in the program, which has it as it was written.
fn schema(program: &Path) -> Value {
    let program = fs::read(program).unwrap();
    let id = br#""$id": "compose_spec.json""#;
    let at = program.windows(id.len()).position(|it| it == id).unwrap();
    let start = program[..at].iter().rposition(|it| *it == b'{').unwrap();
    let mut values = serde_json::Deserializer::from_slice(&program[start..]).into_iter();
    values.next().unwrap().unwrap()
}

fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let validator = Validator { root: schema };
    validator.check(schema, value, "", &mut found);
    found
}

/// Knows what the schema uses of JSON Schema (draft 7), and ends the test when there is more.
struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        for (keyword, wanted) in schema.as_object().unwrap() {
            let good = match keyword.as_str() {
                "$schema" | "$id" | "title" | "description" | "default" | "deprecated"
                | "definitions" => true,
                "$ref" => {
                    let pointer = wanted.as_str().unwrap().trim_start_matches('#');
                    self.check(self.root.pointer(pointer).unwrap(), value, path, found);
                    true
                }
                "type" => match wanted {
                    Value::Array(types) => types.iter().any(|it| is_a(value, it)),
                    one => is_a(value, one),
                },
                "enum" => wanted.as_array().unwrap().contains(value),
                "pattern" => value
                    .as_str()
                    .is_none_or(|text| is_match(wanted.as_str().unwrap(), text)),
                "minimum" => value
                    .as_f64()
                    .is_none_or(|it| it >= wanted.as_f64().unwrap()),
                "maximum" => value
                    .as_f64()
                    .is_none_or(|it| it <= wanted.as_f64().unwrap()),
                "uniqueItems" => {
                    let items = value.as_array().map_or(&[][..], Vec::as_slice);
                    (1..items.len()).all(|at| !items[..at].contains(&items[at]))
                }
                "required" => value.as_object().is_none_or(|it| {
                    let mut keys = wanted.as_array().unwrap().iter();
                    keys.all(|key| it.contains_key(key.as_str().unwrap()))
                }),
                "oneOf" => {
                    let fits = |it: &&Value| {
                        let mut found = Vec::new();
                        self.check(it, value, path, &mut found);
                        found.is_empty()
                    };
                    wanted.as_array().unwrap().iter().filter(fits).count() == 1
                }
                "items" => {
                    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{path}/{at}"), found);
                    }
                    true
                }
                "properties" | "patternProperties" | "additionalProperties" => {
                    if let Some(entries) = value.as_object() {
                        self.entries(schema, keyword, entries, path, found);
                    }
                    true
                }
                other => panic!("the schema has `{other}`, which this test does not know"),
            };
            if !good {
                found.push(format!("{path}: {keyword} {wanted}: {value}"));
            }
        }
    }

    fn entries(
        &self,
        schema: &Value,
        keyword: &str,
        entries: &Map<String, Value>,
        path: &str,
        found: &mut Vec<String>,
    ) {
        for (key, value) in entries {
            let named = schema["properties"].get(key);
            let patterns = schema["patternProperties"].as_object();
            let mut matching = patterns
                .into_iter()
                .flatten()
                .filter(|(it, _)| is_match(it, key));
            let path = format!("{path}/{key}");
            match keyword {
                "properties" => {
                    if let Some(named) = named {
                        self.check(named, value, &path, found);
                    }
                }
                "patternProperties" => {
                    matching.for_each(|(_, it)| self.check(it, value, &path, found));
                }
                _ if named.is_some() || matching.next().is_some() => {}
                _ => match &schema["additionalProperties"] {
                    Value::Bool(true) => {}
                    Value::Bool(false) => found.push(format!("{path}: is not expected")),
                    inner => self.check(inner, value, &path, found),
                },
            }
        }
    }
}

fn is_match(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text)
}

fn is_a(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|it| it.fract() == 0.0),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    }
}

#[test]
fn what_is_not_valid_is_found() {
    let schema = schema(&docker_compose());
    let check = |service: Value, expected: &str| {
        let file = json!({"services": {"a": service}});
        let found = problems(&schema, &file).join("\n");
        assert!(found.contains(expected), "{found}");
    };
    assert_eq!(
        problems(&schema, &json!({"services": {"a": {"image": "x"}}})),
        [""; 0]
    );
    check(
        json!({"nothing": 1}),
        "/services/a/nothing: is not expected",
    );
    check(json!({"image": 1}), "/services/a/image: type");
    check(
        json!({"cap_add": ["A", "A"]}),
        "/services/a/cap_add: uniqueItems",
    );
    check(
        json!({"credential_spec": {"x": 1}}),
        "/services/a/credential_spec/x: is not expected",
    );
    check(
        json!({"oom_score_adj": 1001}),
        "/services/a/oom_score_adj: ",
    );
}
