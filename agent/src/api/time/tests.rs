use super::*;

#[test]
fn times_are_written_as_docker_does() {
    assert_eq!(
        rfc3339(Timestamp::from_nanos(1_795_317_623_812_735_507)),
        "2026-11-22T03:20:23.812735507Z"
    );
    assert_eq!(rfc3339_or_never(None), NEVER);
    assert_eq!(rfc3339(Timestamp::EPOCH), NEVER);
}

#[track_caller]
fn check(text: &str, expected: Option<u64>) {
    let now = Timestamp::from_nanos(100_000_000_000);
    assert_eq!(
        parse(text, now).map(Timestamp::as_nanos),
        expected,
        "{text}"
    );
}

#[test]
fn times_are_read_in_all_of_docker_s_forms() {
    check("0", Some(0));
    check("12", Some(12_000_000_000));
    check("12.5", Some(12_500_000_000));
    check("12.000000001", Some(12_000_000_001));
    check("10s", Some(90_000_000_000));
    check("1m30s", Some(10_000_000_000));
    check("1970-01-01T00:00:01Z", Some(1_000_000_000));
    check("yesterday", None);
    check("", None);
    check("99999999999999999999", None);
}

#[test]
fn durations_are_told_in_the_words_of_ps() {
    let words = |seconds| human(Duration::from_secs(seconds));
    assert_eq!(words(0), "Less than a second");
    assert_eq!(words(59), "59 seconds");
    assert_eq!(words(61), "About a minute");
    assert_eq!(words(3 * 60), "3 minutes");
    assert_eq!(words(3600), "About an hour");
    assert_eq!(words(47 * 3600), "47 hours");
    assert_eq!(words(49 * 3600), "2 days");
    assert_eq!(words(21 * 86400), "3 weeks");
}
