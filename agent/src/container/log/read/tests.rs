use std::fs;

use super::super::{LogWriter, Part, Stream};
use super::*;
use crate::container::LogFiles;

fn second(n: u64) -> Timestamp {
    Timestamp::from_nanos(n * 1_000_000_000)
}

fn writer(path: &Path, max_size: u64) -> LogWriter {
    LogWriter::open(
        path,
        &LogFiles {
            max_size,
            max_files: 200,
        },
    )
    .unwrap()
}

async fn read_all(reader: &mut LogReader) -> Vec<LogEntry> {
    let mut all = Vec::new();
    while let Some(entries) = reader.next().await.unwrap() {
        assert!(!entries.is_empty());
        all.extend(entries);
    }
    all
}

/// Writes `lines`, one a second (`err:` in front goes to standard error, `…` at the end leaves the
/// line unfinished), and shows what the query finds.
#[track_caller]
fn check(lines: &str, query: LogQuery, expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    // One file, and as many as there can be: nobody should see a difference.
    for max_size in [1 << 20, 1024] {
        let _ = fs::remove_dir_all(directory.path());
        fs::create_dir(directory.path()).unwrap();
        let mut writer = writer(&path, max_size);
        for (n, line) in lines.split_whitespace().enumerate() {
            let (stream, text) = match line.strip_prefix("err:") {
                Some(text) => (Stream::Stderr, text),
                None => (Stream::Stdout, line),
            };
            let padded = format!("{text}{}", " ".repeat(300));
            let text = match text.strip_suffix('…') {
                Some(text) => text.to_owned(),
                None => padded + "\n",
            };
            writer
                .write(stream, text.as_bytes(), second(n as u64))
                .unwrap();
        }
        writer.finish(second(99)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let found = runtime.block_on(async {
            let end = LogEnd::new();
            end.ended();
            let mut reader = LogReader::open(&path, query.clone(), end).await.unwrap();
            read_all(&mut reader).await
        });
        let found: Vec<String> = found
            .iter()
            .map(|entry| {
                let text = String::from_utf8_lossy(&entry.bytes).trim().to_owned();
                if entry.stream == Stream::Stderr {
                    format!("err:{text}")
                } else {
                    text
                }
            })
            .collect();
        assert_eq!(found.join(" "), expected, "files of {max_size} bytes");
    }
}

const SEVEN: &str = "a b err:c d e f g";

#[test]
fn reads_all_by_default() {
    check("", LogQuery::default(), "");
    check(SEVEN, LogQuery::default(), SEVEN);
    check(
        SEVEN,
        LogQuery {
            follow: Follow::Yes,
            ..LogQuery::default()
        },
        SEVEN,
    );
}

#[test]
fn tail_counts_lines_from_the_end() {
    let tail = |lines| LogQuery {
        tail: Some(lines),
        ..LogQuery::default()
    };
    check(SEVEN, tail(0), "");
    check(SEVEN, tail(1), "g");
    check(SEVEN, tail(5), "err:c d e f g");
    check(SEVEN, tail(7), SEVEN);
    check(SEVEN, tail(100), SEVEN);
    check("", tail(3), "");
    check("a b c…", tail(2), "b c");
}

#[test]
fn since_and_until_include_their_own_time() {
    let since = Some(second(2));
    check(
        SEVEN,
        LogQuery {
            since,
            ..LogQuery::default()
        },
        "err:c d e f g",
    );
    check(
        SEVEN,
        LogQuery {
            since,
            until: Some(second(4)),
            ..LogQuery::default()
        },
        "err:c d e",
    );
    check(
        SEVEN,
        LogQuery {
            until: Some(second(0)),
            ..LogQuery::default()
        },
        "a",
    );
    check(
        SEVEN,
        LogQuery {
            since,
            tail: Some(2),
            ..LogQuery::default()
        },
        "f g",
    );
}

#[tokio::test]
async fn tail_keeps_the_parts_of_a_long_line_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let long = format!("first\n{}\n", "x".repeat(40_000));
    writer(&path, 1 << 20)
        .write(Stream::Stdout, long.as_bytes(), second(1))
        .unwrap();
    let query = LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    let mut reader = LogReader::open(&path, query, LogEnd::new()).await.unwrap();
    let lengths: Vec<usize> = read_all(&mut reader)
        .await
        .iter()
        .map(|e| e.bytes.len())
        .collect();
    assert_eq!(lengths, [16384, 16384, 7232]);
}

#[tokio::test]
async fn tail_finds_its_place_in_a_large_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let lines: String = (0..40_000).map(|n| format!("{n}\n")).collect();
    writer(&path, 100 << 20)
        .write(Stream::Stdout, lines.as_bytes(), second(1))
        .unwrap();
    for wanted in [1, 5000, 6000, 12_345, 39_999] {
        let query = LogQuery {
            tail: Some(wanted),
            ..LogQuery::default()
        };
        let mut reader = LogReader::open(&path, query, LogEnd::new()).await.unwrap();
        let entries = read_all(&mut reader).await;
        assert_eq!(entries.len() as u64, wanted);
        assert_eq!(entries[0].bytes, (40_000 - wanted).to_string().into_bytes());
    }
}

#[tokio::test]
async fn following_misses_nothing_when_files_are_rotated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let end = LogEnd::new();
    let query = LogQuery {
        follow: Follow::Yes,
        ..LogQuery::default()
    };
    // The log does not exist yet.
    let mut reader = LogReader::open(&path, query, end.clone()).await.unwrap();
    let writing = std::thread::spawn(move || {
        let mut writer = writer(&path, 4096);
        for n in 0..5000 {
            writer
                .write(Stream::Stdout, format!("{n}\n").as_bytes(), second(n))
                .unwrap();
        }
        end.ended();
    });
    let entries = tokio::time::timeout(Duration::from_secs(60), read_all(&mut reader))
        .await
        .unwrap();
    writing.join().unwrap();
    let numbers: Vec<String> = entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned())
        .collect();
    let expected: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn a_follower_waits_for_the_next_line_and_for_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let end = LogEnd::new();
    let mut writer = writer(&path, 4096);
    let query = LogQuery {
        follow: Follow::Yes,
        tail: Some(0),
        ..LogQuery::default()
    };
    writer.write(Stream::Stdout, b"old\n", second(1)).unwrap();
    let mut reader = LogReader::open(&path, query, end.clone()).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
    assert!(nothing.is_err());
    writer.write(Stream::Stderr, b"new\n", second(2)).unwrap();
    let entries = reader.next().await.unwrap().unwrap();
    assert_eq!(
        (entries[0].bytes.as_slice(), entries[0].stream),
        (&b"new"[..], Stream::Stderr)
    );
    end.ended();
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_entry_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(
        &path,
        "garbage\n\n1970-01-01T00:00:01.000000000Z stdout F ok\n1970-01-01T00:00",
    )
    .unwrap();
    let mut reader = LogReader::open(&path, LogQuery::default(), LogEnd::new())
        .await
        .unwrap();
    let entries = read_all(&mut reader).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].at, entries[0].bytes.as_slice()),
        (second(1), &b"ok"[..])
    );
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(24))]

    /// However the output is cut into reads and files, each stream comes back byte for byte.
    #[test]
    fn what_is_written_is_read_back(
        chunks in proptest::collection::vec(
            (proptest::bool::ANY, "[a\n\r\u{0}é]{0,30}", 1usize..600),
            0..8,
        ),
        max_size in 1024u64..40_000,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = writer(&path, max_size);
        let mut expected = [Vec::new(), Vec::new()];
        for (n, (is_error, text, times)) in chunks.iter().enumerate() {
            let stream = if *is_error { Stream::Stderr } else { Stream::Stdout };
            let bytes = text.repeat(*times).into_bytes();
            writer.write(stream, &bytes, second(n as u64)).unwrap();
            expected[stream as usize].extend(bytes);
        }
        writer.finish(second(99)).unwrap();
        let kept = fs::read_dir(directory.path()).unwrap().count();
        proptest::prop_assume!(kept < 200);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let entries = runtime.block_on(async {
            let query = LogQuery::default();
            read_all(&mut LogReader::open(&path, query, LogEnd::new()).await.unwrap()).await
        });
        let mut found = [Vec::new(), Vec::new()];
        for entry in entries {
            let bytes = &mut found[entry.stream as usize];
            bytes.extend(entry.bytes);
            if entry.part == Part::End {
                bytes.push(b'\n');
            }
        }
        proptest::prop_assert!(found == expected);
    }
}
