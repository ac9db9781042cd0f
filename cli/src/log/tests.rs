use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn said(time: &str, text: &str) -> Line {
    Line {
        at: at(time),
        channel: Channel::Stdout,
        text: text.as_bytes().to_vec(),
    }
}

#[track_caller]
fn check_time(text: &str, expected: &str) {
    let shown = match parse_time(text, at("2026-01-02T00:00:00Z")) {
        Ok(at) => at.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected);
}

#[test]
fn a_time_is_a_date_a_number_or_how_long_ago() {
    check_time("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z");
    check_time("1767225600", "2026-01-01T00:00:00Z");
    check_time("1767225600.5", "2026-01-01T00:00:00.5Z");
    check_time("1h30m", "2026-01-01T22:30:00Z");
    check_time(
        "yesterday",
        "`yesterday` is neither a time (2026-01-02T13:23:37Z, 1767360217) nor a duration (42m, 1h30m)",
    );
}

#[test]
fn the_lines_of_several_containers_are_merged_by_time() {
    let web = vec![
        said("2026-01-01T00:00:01Z", "a"),
        said("2026-01-01T00:00:03Z", "c"),
    ];
    let db = vec![said("2026-01-01T00:00:02Z", "b")];
    let merged = merge(vec![("web-1".to_owned(), web), ("db-1".to_owned(), db)]);
    let texts: Vec<_> = merged
        .iter()
        .map(|(_, it)| String::from_utf8_lossy(&it.text))
        .collect();
    assert_eq!(texts.join(""), "abc");
}

#[track_caller]
fn check_print(style: Style, expected: &str) {
    let mut printer = Printer::new(style);
    printer.expect("web-1");
    printer.expect("worker-1");
    let bytes = printer.render("web-1", &said("2026-01-01T00:00:01.5Z", "hello"));
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn prefixes_are_aligned_and_coloured() {
    let plain = Style {
        colour: Colour::Off,
        prefix: Prefix::Shown,
        timestamps: Timestamps::Hidden,
    };
    check_print(plain, "web-1     | hello\n");
    check_print(
        Style {
            colour: Colour::On,
            ..plain
        },
        "\x1b[36mweb-1     | \x1b[0mhello\n",
    );
    check_print(
        Style {
            prefix: Prefix::Hidden,
            ..plain
        },
        "hello\n",
    );
    check_print(
        Style {
            timestamps: Timestamps::Shown,
            prefix: Prefix::Hidden,
            ..plain
        },
        "2026-01-01T00:00:01.500000000Z hello\n",
    );
}

#[test]
fn a_line_without_a_timestamp_belongs_to_the_one_before() {
    let newest = at("2026-01-01T00:00:01Z");
    let stamped = line(
        Channel::Stdout,
        b"2026-01-01T00:00:02.25Z a b".to_vec(),
        newest,
    );
    assert_eq!(stamped, said("2026-01-01T00:00:02.25Z", "a b"));
    assert_eq!(
        line(Channel::Stdout, b"a b".to_vec(), newest),
        said("2026-01-01T00:00:01Z", "a b")
    );
}
