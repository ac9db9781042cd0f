use std::fs;

use super::*;

const NOON: Timestamp = Timestamp::from_nanos(1_795_348_800_000_000_007);

fn limits(max_size: u64, max_files: u32) -> LogFiles {
    LogFiles {
        max_size,
        max_files,
    }
}

/// Writes `chunks` (`out:` or `err:` before the text) and returns the file, without the times.
#[track_caller]
fn check(chunks: &[&str], expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut writer = LogWriter::open(&path, &limits(1 << 20, 2)).unwrap();
    for chunk in chunks {
        let (stream, text) = match chunk.split_at(4) {
            ("out:", text) => (Stream::Stdout, text),
            (_, text) => (Stream::Stderr, text),
        };
        writer.write(stream, text.as_bytes(), NOON).unwrap();
    }
    writer.finish(NOON).unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(
        text.replace("2026-11-22T12:00:00.000000007Z ", ""),
        expected
    );
}

#[test]
fn each_line_has_its_time_and_stream() {
    check(
        &["out:a\nb\n", "err:c\n", "out:\n"],
        "stdout F a\nstdout F b\nstderr F c\nstdout F \n",
    );
}

#[test]
fn a_line_in_pieces_is_written_as_one() {
    check(
        &["out:a", "err:x\n", "out:b\nc", "out:d\n"],
        "stderr F x\nstdout F ab\nstdout F cd\n",
    );
}

#[test]
fn the_last_line_need_not_end() {
    check(
        &["out:a\nb", "err:c"],
        "stdout F a\nstdout P b\nstderr P c\n",
    );
}

#[test]
fn a_long_line_is_cut_at_16_kib() {
    let long = "x".repeat(2 * MAX_PART);
    let part = "x".repeat(MAX_PART);
    check(
        &[&format!("out:{long}\n")],
        &format!("stdout P {part}\nstdout F {part}\n"),
    );
    check(
        &[&format!("out:{long}"), "out:\n"],
        &format!("stdout P {part}\nstdout F {part}\n"),
    );
    check(
        &[&format!("out:{long}yz")],
        &format!("stdout P {part}\nstdout P {part}\nstdout P yz\n"),
    );
}

#[test]
fn the_files_never_grow_beyond_their_limits() {
    for (max_size, max_files) in [(1024, 1), (1024, 3), (5000, 2), (0, 0)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = LogWriter::open(&path, &limits(max_size, max_files)).unwrap();
        for n in 0..500usize {
            let line = format!("{n} {}\n", "x".repeat(n * 13 % 3000));
            writer.write(Stream::Stdout, line.as_bytes(), NOON).unwrap();
            let sizes: Vec<u64> = fs::read_dir(directory.path())
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .collect();
            assert!(sizes.len() <= max_files.max(1) as usize, "{sizes:?}");
            assert!(
                sizes.iter().all(|size| *size <= max_size.max(1024)),
                "{sizes:?}"
            );
        }
        let newest = fs::read_to_string(&path).unwrap();
        assert!(
            newest.contains("stdout F") && newest.ends_with("x\n"),
            "{newest}"
        );
    }
}

#[test]
fn the_youngest_of_the_old_files_is_number_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut writer = LogWriter::open(&path, &limits(1024, 3)).unwrap();
    for n in 0..5 {
        let line = format!("{n}{}\n", "x".repeat(900));
        writer.write(Stream::Stdout, line.as_bytes(), NOON).unwrap();
    }
    let begins =
        |age| fs::read_to_string(files::name(&path, age)).unwrap()[TEXT_AT..][..1].to_owned();
    assert_eq!([begins(0), begins(1), begins(2)], ["4", "3", "2"]);
}

#[test]
fn a_torn_entry_does_not_spoil_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, "2026-11-22T12:00").unwrap();
    let mut writer = LogWriter::open(&path, &limits(1 << 20, 2)).unwrap();
    writer.write(Stream::Stdout, b"a\n", NOON).unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(
        text,
        "2026-11-22T12:00\n2026-11-22T12:00:00.000000007Z stdout F a\n"
    );
}

/// What makes a busy container's log cheap.
#[test]
fn the_lines_that_come_together_are_written_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(&directory.path().join("log"), &limits(20 << 20, 2)).unwrap();
    let lines = format!("{}\n", "x".repeat(99)).repeat(655);
    let before = writes_of_this_thread();
    for _ in 0..10 {
        writer
            .write(Stream::Stdout, lines.as_bytes(), NOON)
            .unwrap();
    }
    let writes = writes_of_this_thread() - before;
    assert!(writes <= 10, "{writes} for ten times 655 lines");
}

/// How often this thread has called write(2) or one of its kin.
///
/// Source: proc_pid_io(5).
fn writes_of_this_thread() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("syscw: "));
    count.unwrap().parse().unwrap()
}
