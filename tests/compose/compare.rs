//! Two JSON values, field by field.

use serde_json::Value;

/// A field in which they differ: where it stands, and what each has there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Keys and indices with `/` between them.
    pub(crate) path: String,
    pub(crate) theirs: String,
    pub(crate) ours: String,
}

pub(crate) fn compare(theirs: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(Some(theirs), Some(ours), String::new(), &mut found);
    found
}

fn walk(theirs: Option<&Value>, ours: Option<&Value>, path: String, found: &mut Vec<Difference>) {
    let below = |key: &str| match path.is_empty() {
        true => key.to_owned(),
        false => format!("{path}/{key}"),
    };
    match (theirs, ours) {
        (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
            let mut keys: Vec<_> = theirs.keys().chain(ours.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                walk(theirs.get(key), ours.get(key), below(key), found);
            }
        }
        (Some(Value::Array(theirs)), Some(Value::Array(ours))) if theirs.len() == ours.len() => {
            for (at, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                walk(Some(theirs), Some(ours), below(&at.to_string()), found);
            }
        }
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => {
            let shown = |it: Option<&Value>| it.map_or("nothing".to_owned(), Value::to_string);
            found.push(Difference {
                path,
                theirs: shown(theirs),
                ours: shown(ours),
            });
        }
    }
}

#[test]
fn a_difference_is_found_where_it_is() {
    let theirs = serde_json::json!({"a": [1, {"b": 1}], "c": null, "d": [1]});
    let ours = serde_json::json!({"a": [1, {"b": "1"}], "d": [1, 2]});
    let shown: Vec<_> = compare(&theirs, &ours)
        .into_iter()
        .map(|it| format!("{} {} {}", it.path, it.theirs, it.ours))
        .collect();
    assert_eq!(shown, ["a/1/b 1 \"1\"", "c null nothing", "d [1] [1,2]"]);
}
