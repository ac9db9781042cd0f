use super::*;

type Words = Pipe<String, String>;

fn connected() -> (Words, Words) {
    let (one, other) = tokio::io::duplex(4096);
    (over(one), over(other))
}

#[tokio::test]
async fn a_short_word_overtakes_a_long_one() {
    let (one, mut other) = connected();
    let long = "x".repeat(1_000_000);
    one.bulk.send(long.clone()).await.unwrap();
    // The long one is on its way.
    let mut heard = other.heard.clone().unwrap();
    heard.changed().await.unwrap();
    one.urgent.send("beat".into()).await.unwrap();
    assert_eq!(other.receive.recv().await.unwrap(), "beat");
    assert_eq!(other.receive.recv().await.unwrap(), long);
}

#[tokio::test]
async fn a_pipe_ends_with_its_other_end() {
    let (one, mut other) = connected();
    drop(one);
    assert_eq!(other.receive.recv().await, None);
}

#[tokio::test]
async fn what_is_no_frame_ends_a_pipe() {
    let (mut one, other) = tokio::io::duplex(4096);
    let mut other: Words = over(other);
    one.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(other.receive.recv().await, None);
}

#[tokio::test]
async fn within_a_process_both_ends_speak() {
    let (one, mut other) = within_process::<String, u32>();
    let mut one = one;
    one.urgent.send("hello".into()).await.unwrap();
    assert_eq!(other.receive.recv().await.unwrap(), "hello");
    other.bulk.send(7).await.unwrap();
    assert_eq!(one.receive.recv().await, Some(7));
}
