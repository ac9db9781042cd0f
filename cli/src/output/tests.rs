use std::time::Duration;

use super::*;

#[track_caller]
fn check_duration(seconds: u64, expected: &str) {
    assert_eq!(duration(Duration::from_secs(seconds)), expected);
}

#[test]
fn durations_are_dockers() {
    check_duration(0, "Less than a second");
    check_duration(1, "1 second");
    check_duration(59, "59 seconds");
    check_duration(61, "About a minute");
    check_duration(150, "2 minutes");
    check_duration(3600, "About an hour");
    check_duration(5400, "2 hours");
    check_duration(47 * 3600, "47 hours");
    check_duration(72 * 3600, "3 days");
    check_duration(20 * 86400, "2 weeks");
    check_duration(70 * 86400, "2 months");
    check_duration(800 * 86400, "2 years");
}

#[test]
fn sizes_show_three_digits() {
    assert_eq!(decimal_size(0), "0B");
    assert_eq!(decimal_size(999), "999B");
    assert_eq!(decimal_size(7_830_000), "7.83MB");
    assert_eq!(decimal_size(133_400_000), "133MB");
    assert_eq!(decimal_size(1_200_000_000), "1.2GB");
}

#[test]
fn the_last_column_is_not_padded() {
    let mut table = Table::new(10, &["NAME", "STATUS"]);
    table.row(vec!["shop-web-1".to_owned(), "Up 2 minutes".to_owned()]);
    assert_eq!(
        table.render(),
        "NAME         STATUS\nshop-web-1   Up 2 minutes\n"
    );
}

#[test]
fn a_long_text_ends_in_an_ellipsis() {
    assert_eq!(ellipsis("docker-entrypoint.sh", 20), "docker-entrypoint.sh");
    assert_eq!(
        ellipsis("docker-entrypoint.sh x", 20),
        "docker-entrypoint.s…"
    );
}
