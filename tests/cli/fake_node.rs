//! A node that plays a part: it answers requests from a list and keeps what it was asked.
//!
//! One request a connection, which is how the client asks. Enough of HTTP for that, and no more.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Answers by `METHOD /path` (without the query); anything else is 404. With ` after METHOD /path`
/// the answer is for the time after such a request; it must stand before the one without.
pub(crate) struct FakeNode {
    asked: Arc<Mutex<Vec<String>>>,
    /// Taken by the test while no answer is to be given.
    turn: Arc<Mutex<()>>,
}

type Script = Vec<(&'static str, Vec<String>)>;

impl FakeNode {
    /// Listens on the socket. An answer that begins with `!` is a refusal. A path that is listed with several answers gives them in turn, and
    /// the last one ever after.
    pub(crate) fn start(socket: &Path, script: Script) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let turn = Arc::new(Mutex::new(()));
        let (script, seen) = (Arc::new(Mutex::new(script)), asked.clone());
        let for_answers = turn.clone();
        // The thread ends with the test's process: it blocks in accept.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (script, seen, turn) = (script.clone(), seen.clone(), for_answers.clone());
                thread::spawn(move || serve(connection.unwrap(), &script, &seen, &turn));
            }
        });
        Self { asked, turn }
    }

    /// Lets every request that changes something wait for its answer until the guard is dropped.
    pub(crate) fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.turn.lock().unwrap()
    }

    /// Waits until it has been asked for this.
    pub(crate) fn waits_for(&self, request: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.asked().iter().any(|it| it.starts_with(request)) {
            assert!(Instant::now() < deadline, "{request} is not asked");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The requests so far, with their bodies.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    connection: UnixStream,
    script: &Mutex<Script>,
    seen: &Mutex<Vec<String>>,
    turn: &Mutex<()>,
) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut head = String::new();
    // A probe connects and leaves.
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head.lines().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("content-length: ")
            .map(|it| it.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let request = head
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let key = request.split('?').next().unwrap().to_owned();
    seen.lock()
        .unwrap()
        .push(format!("{request} {}", String::from_utf8(body).unwrap()));
    let _turn = (!request.starts_with("GET ")).then(|| turn.lock().unwrap());
    let answer = answer(&mut script.lock().unwrap(), &key, &seen.lock().unwrap());
    let (status, text) = match answer.as_deref().map(|it| (it.strip_prefix('!'), it)) {
        Some((Some(refusal), _)) => ("409 Conflict", refusal.to_owned()),
        Some((None, text)) => ("200 OK", text.to_owned()),
        None => (
            "404 Not Found",
            r#"{"message":"page not found"}"#.to_owned(),
        ),
    };
    let mut connection = connection;
    // The end of the connection is the end of the answer.
    let _ = write!(
        connection,
        "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{text}"
    );
}

fn answer(script: &mut Script, key: &str, asked: &[String]) -> Option<String> {
    let applies = |path: &str| match path.split_once(" after ") {
        Some((path, earlier)) => path == key && asked.iter().any(|it| it.starts_with(earlier)),
        None => path == key,
    };
    let (_, answers) = script.iter_mut().find(|(path, _)| applies(path))?;
    match answers.len() {
        0 => None,
        1 => answers.first().cloned(),
        _ => Some(answers.remove(0)),
    }
}
