use super::*;

fn filters(json: &str) -> Filters {
    Filters::parse(json).unwrap()
}

fn labels(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn both_forms_mean_the_same() {
    assert_eq!(
        filters(r#"{"label":{"a=b":true}}"#),
        filters(r#"{"label":["a=b"]}"#)
    );
    assert_eq!(
        filters(r#"{"label":{"a":false}}"#).values("label"),
        &[] as &[String]
    );
    assert_eq!(
        filters(r#"{"label":null}"#).values("label"),
        &[] as &[String]
    );
}

#[test]
fn labels_must_all_hold() {
    let both = filters(r#"{"label":["a=1","b"]}"#);
    assert!(both.labels(&labels("a=1 b=2")));
    assert!(!both.labels(&labels("a=1")));
    assert!(!both.labels(&labels("a=2 b=2")));
    assert!(!filters(r#"{"label!":["a"]}"#).labels(&labels("a=1")));
}

#[test]
fn of_several_values_one_must_pass() {
    let either = filters(r#"{"status":["running","paused"]}"#);
    assert!(either.any("status", |status| status == "paused"));
    assert!(!either.any("status", |status| status == "exited"));
    assert!(either.any("id", |_| false), "nothing asked for");
}

#[test]
fn names_are_regular_expressions() {
    let names =
        |pattern: &str| Filters(BTreeMap::from([("name".into(), vec![pattern.into()])])).names();
    assert!(names("^/?web$").unwrap().pass("web"));
    assert!(names("^/?web$").unwrap().pass("/web"));
    assert!(!names("^web$").unwrap().pass("web2"));
    assert!(names("eb").unwrap().pass("web2"));
    assert!(names("(").is_err());
}

#[test]
fn what_is_no_filter_is_refused() {
    for text in ["x", "[]", r#"{"label":1}"#, r#"{"label":[1]}"#] {
        assert!(Filters::parse(text).is_err(), "{text}");
    }
    let params = Params::of(&"/x?filters=%7B%22x%22%3A%5B%22y%22%5D%7D".parse().unwrap());
    let error = Filters::read(&params, &["label"]).unwrap_err();
    assert_eq!(error.to_string(), "invalid filter 'x'");
}
