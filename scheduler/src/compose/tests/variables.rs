//! Interpolation and files of variables, row by row of their grammars.

use super::Case;
use crate::compose::dotenv::{Format, parse};
use crate::compose::template::Template;

#[track_caller]
fn check(text: &str, expected: &str) {
    let lookup = |name: &str| match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let mut unset = Vec::new();
    let result = Template::parse(text).and_then(|it| it.fill(&lookup, &mut unset));
    let shown = match result {
        Ok(text) if unset.is_empty() => text,
        Ok(text) => format!("{text} (unset: {})", unset.join(" ")),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn fills_in_variables() {
    check("a $SET b", "a value b");
    check("${SET}x", "valuex");
    check("$SETx", " (unset: SETx)");
    check("$$SET $$$SET", "$SET $value");
    check("a $ b $1 ^x$", "a $ b $1 ^x$");
    check("${NONE}", " (unset: NONE)");
}

#[test]
fn applies_operators() {
    check("${NONE:-d}${EMPTY:-d}${SET:-d}", "ddvalue");
    check("${NONE-d}${EMPTY-d}${SET-d}", "dvalue");
    check("${NONE:+r}${EMPTY:+r}${SET:+r}", "r");
    check("${NONE+r}${EMPTY+r}${SET+r}", "rr");
    check(
        "${NONE:?say}",
        "error: required variable `NONE` is missing a value: say",
    );
    check(
        "${EMPTY:?}",
        "error: required variable `EMPTY` is missing a value",
    );
    check("${EMPTY?say}${SET?say}", "value");
}

#[test]
fn nests_defaults_and_looks_at_them_only_when_used() {
    check("${NONE:-${ALSO:-c}}", "c");
    check("${NONE:-$SET x}", "value x");
    check("${SET:-${NONE?no}$OTHER}", "value");
    check("${NONE:-{\"a\": 1}}", "{\"a\": 1}");
    check("${NONE:-a:b/c}", "a:b/c");
}

#[test]
fn refuses_what_is_no_expression() {
    for text in [
        "${}",
        "${ SET}",
        "${SET }",
        "${SET!}",
        "${SET/a/b}",
        "${SET",
        "${1}",
    ] {
        check(
            text,
            &format!("error: invalid variable expression `{text}`"),
        );
    }
    let deep = "${A:-".repeat(200) + &"}".repeat(200);
    assert!(Template::parse(&deep).is_err());
}

#[test]
fn warns_once_about_an_unset_variable() {
    let project =
        Case::new("services:\n  a:\n    image: a$NONE\n    hostname: b${NONE}$SET\n").project();
    assert_eq!(
        super::titles(&project.warnings),
        "compose.yaml:3:14 the variable `NONE` is not set and becomes an empty string\n"
    );
    assert_eq!(
        project.stack.services["a"].container.hostname.as_deref(),
        Some("bvalue")
    );
}

#[track_caller]
fn check_file(text: &str, expected: &str) {
    let lookup = |name: &str| (name == "HOST").then(|| "h".to_owned());
    let shown = match parse(text, Format::Compose, &lookup) {
        Ok(values) => {
            let pairs = values.into_iter().map(|(name, value)| match value {
                Some(value) => format!("{name}={value:?}"),
                None => name,
            });
            pairs.collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn reads_files_of_variables() {
    check_file(
        "A=1\nB: 2\nexport C = 3 \n# c\n\n  D.x=4",
        r#"A="1" B="2" C="3" D.x="4""#,
    );
    check_file("A=x # c\nB=x#c\nC=# c\nD=", r#"A="x" B="x#c" C="" D="""#);
    check_file(
        "A='a $HOST \\n' # c\nB='it\\'s'",
        r#"A="a $HOST \\n" B="it's""#,
    );
    check_file("A=\"a\\tb\\n\\\"$HOST\\$X\\0101\"", r#"A="a\tb\n\"h$XA""#);
    check_file("A=1\nB=$A-${HOST}-${N:-d}", r#"A="1" B="1-h-d""#);
    check_file(
        "A=\"one\ntwo\"\nB='x\ny'\nC=3",
        r#"A="one\ntwo" B="x\ny" C="3""#,
    );
    check_file("A\nexport B", "A B");
    check_file("\u{feff}A=1\r\nB=2\r\n", r#"A="1" B="2""#);
    check_file("URL=http://x/y?a=b", r#"URL="http://x/y?a=b""#);
}

#[test]
fn says_which_line_of_a_file_is_wrong() {
    check_file("A=1\nB C=2", "error: line 2: `B C` is not a variable name");
    check_file("A='1\n2", "error: line 1: the quote is never closed");
    check_file(
        "A=\"1\n\"\nB='x'y",
        "error: line 3: unexpected `y` after the closing quote",
    );
    check_file("A=${", "error: line 1: invalid variable expression `${`");
}

#[test]
fn a_raw_file_is_taken_literally() {
    let values = parse("A=\"$X\" # c\nB='", Format::Raw, &|_| None).unwrap();
    assert_eq!(values["A"].as_deref(), Some("\"$X\" # c"));
    assert_eq!(values["B"].as_deref(), Some("'"));
}
