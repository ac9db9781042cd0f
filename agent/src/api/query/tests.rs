use super::*;

fn params(query: &str) -> Params {
    Params::of(&format!("http://d/x?{query}").parse().unwrap())
}

#[test]
fn truth_is_what_docker_takes_for_it() {
    let found = |query: &str| params(query).flag("all");
    assert!(found("all=1") && found("all=true") && found("all=True") && found("all=yes"));
    assert!(!found("") && !found("all=") && !found("all=0") && !found("all=False"));
    assert!(params("").flag_unless_denied("stream"));
    assert!(!params("stream=false").flag_unless_denied("stream"));
}

#[test]
fn values_are_decoded_and_numbers_checked() {
    assert_eq!(
        params("names=a&names=b%2Fc")
            .all("names")
            .collect::<Vec<_>>(),
        ["a", "b/c"]
    );
    assert_eq!(params("t=-1").number("t").unwrap(), Some(-1));
    assert!(params("t=soon").number("t").is_err());
}
