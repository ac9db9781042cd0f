use super::*;

#[track_caller]
fn check(event: &Event, expected: &str) {
    assert_eq!(
        event.docker_json(),
        serde_json::from_str::<Value>(expected).unwrap()
    );
}

#[test]
fn events_are_written_in_dockers_words() {
    let layer = |state| Event::Layer {
        id: "abcdef123456".into(),
        state,
    };
    check(
        &layer(LayerState::Downloading {
            current: 500,
            total: 1_234_567,
        }),
        r#"{"status":"Downloading","progressDetail":{"current":500,"total":1234567},
            "progress":"[>                                                 ] 500B/1.235MB","id":"abcdef123456"}"#,
    );
    check(
        &layer(LayerState::Complete),
        r#"{"status":"Pull complete","progressDetail":{},"id":"abcdef123456"}"#,
    );
    check(
        &Event::Stream("Loaded image: a:1\n".into()),
        r#"{"stream":"Loaded image: a:1\n"}"#,
    );
    check(
        &Event::Error("no".into()),
        r#"{"errorDetail":{"message":"no"},"error":"no"}"#,
    );
    check(
        &Event::Status {
            id: Some("latest".into()),
            text: "Pulling from library/busybox".into(),
        },
        r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
    );
}

#[test]
fn sizes_have_four_digits_as_docker_writes_them() {
    for (count, expected) in [
        (0, "0B"),
        (999, "999B"),
        (1_000, "1kB"),
        (1_234_000, "1.234MB"),
        (213_000_000, "213MB"),
    ] {
        assert_eq!(bytes(count), expected);
    }
    assert_eq!(bar(5, 0), "5B");
    assert_eq!(bar(10, 10).len(), "[] 10B/10B".len() + 50);
    let _ = bar(u64::MAX, u64::MAX);
}

#[tokio::test]
async fn a_late_reader_hears_the_present_state_and_every_note_once() {
    let progress = Progress::new();
    progress.status(Some("1"), "Pulling from a");
    progress.layer("l1", LayerState::Waiting);
    progress.layer(
        "l1",
        LayerState::Downloading {
            current: 1,
            total: 2,
        },
    );
    let mut reader = progress.reader();
    progress.layer("l2", LayerState::AlreadyExists);
    let first = reader.next().await.unwrap();
    assert_eq!(first.len(), 3);
    assert_eq!(
        first[1],
        Event::Layer {
            id: "l1".into(),
            state: LayerState::Downloading {
                current: 1,
                total: 2
            }
        }
    );
    progress.layer("l1", LayerState::Complete);
    progress.status(None, "Status: done");
    drop(progress);
    let second = reader.next().await.unwrap();
    assert_eq!(
        second[0],
        Event::Layer {
            id: "l1".into(),
            state: LayerState::Complete
        }
    );
    assert_eq!(
        second[1],
        Event::Status {
            id: None,
            text: "Status: done".into()
        }
    );
    assert_eq!(reader.next().await, None);
}
