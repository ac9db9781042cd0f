//! Standard streams: logs, attaching, terminals.

use agent::container::log::Stream;
use agent::container::{ExecRequest, Stdin};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Host, PATIENCE, read_all};

#[tokio::test]
async fn who_attaches_before_the_start_hears_everything() {
    let host = Host::new().await;
    // Two pipes have no order between them: the second word waits until the first was heard.
    let config = host.config("echo one; read word; echo $word >&2");
    let running = host.create(config.stdin(Stdin::OpenOnce)).await;
    let (mut output, mut input) = host.containers.attach(&running.id).await.unwrap();
    host.containers.start(&running.id).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, output.next()).await.unwrap();
    assert_eq!(first, Some((Stream::Stdout, b"one\n".to_vec())));
    input.write(b"two\n").await.unwrap();
    assert_eq!(read_all(&mut output).await, "err:two\n");
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn input_that_is_open_once_ends_with_its_client() {
    let host = Host::new().await;
    let running = host
        .create(host.config("cat; echo end").stdin(Stdin::OpenOnce))
        .await;
    let (mut output, mut input) = host.containers.attach(&running.id).await.unwrap();
    host.containers.start(&running.id).await.unwrap();
    input.write(b"typed\n").await.unwrap();
    input.close().await.unwrap();
    assert_eq!(read_all(&mut output).await, "typed\nend\n");
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_slow_client_loses_nothing() {
    let host = Host::new().await;
    let running = host.create(host.config("seq 1 200000")).await;
    let (mut output, _input) = host.containers.attach(&running.id).await.unwrap();
    host.containers.start(&running.id).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let text = read_all(&mut output).await;
    assert_eq!(text.lines().count(), 200_000);
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_container_with_a_terminal_has_its_size_and_a_console() {
    let mut host = Host::new().await;
    let config = host
        .config("tty; stty size; stat -c %t:%T /dev/console /dev/pts/0; [ -t 0 ] && echo terminal")
        .set("/process/terminal", json!(true))
        .set(
            "/process/consoleSize",
            json!({ "height": 33, "width": 101 }),
        );
    let (exit, text) = host.run(config).await;
    assert_eq!(exit.code, 0, "{text}");
    let text = text.replace('\r', "");
    assert_eq!(text, "/dev/pts/0\n33 101\n88:0\n88:0\nterminal\n");
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_terminal_can_be_typed_into_and_resized() {
    let host = Host::new().await;
    let config = host
        .config("read line; echo got $line; stty size")
        .set("/process/terminal", json!(true))
        .stdin(Stdin::Open);
    let running = host.start(config).await;
    let (mut output, mut input) = host.containers.attach(&running.id).await.unwrap();
    host.containers.resize(&running.id, 50, 60).await.unwrap();
    input.write(b"abc\n").await.unwrap();
    let text = read_all(&mut output).await;
    assert!(text.contains("got abc\r\n50 60\r\n"), "{text:?}");
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn an_exec_with_a_terminal_talks_both_ways() {
    let host = Host::new().await;
    let running = host.start(host.config("sleep 1000000")).await;
    let request = ExecRequest {
        args: vec![
            "sh".into(),
            "-c".into(),
            "tty; stty size; read x; echo got $x; exit 3".into(),
        ],
        tty: true,
        size: Some((20, 30)),
        ..ExecRequest::default()
    };
    let mut session = host.containers.exec(&running.id, request).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"me\n").await.unwrap();
    let mut text = String::new();
    let mut stdout = session.stdout.take().unwrap();
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert!(
        text.contains("/dev/pts/0\r\n")
            && text.contains("20 30\r\n")
            && text.contains("got me\r\n"),
        "{text:?}"
    );
    assert_eq!(session.control.wait().await.unwrap(), 3);
    drop(running);
    host.leave_nothing().await;
}

#[tokio::test]
async fn an_exec_that_takes_too_long_is_killed() {
    let host = Host::new().await;
    let running = host.start(host.config("sleep 1000000")).await;
    let request = ExecRequest {
        args: vec!["sleep".into(), "1000000".into()],
        ..ExecRequest::default()
    };
    let session = host.containers.exec(&running.id, request).await.unwrap();
    let patience = std::time::Duration::from_millis(100);
    assert_eq!(session.control.wait_or_kill(patience).await.unwrap(), None);
    assert_eq!(session.control.wait().await.unwrap(), 137);
    drop(running);
    host.leave_nothing().await;
}
