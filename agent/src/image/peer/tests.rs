use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream;

use super::*;
use crate::image::{ImportOptions, Trust};

/// What is wrong with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Gone,
    /// It ends after so many bytes of each answer.
    BreaksAfter(usize),
    /// It dies after so many bytes.
    DiesAfter(usize),
    /// One byte is another one.
    Lies,
    SendsTooMuch,
    /// So many times, it serves others.
    Busy(usize),
}

/// Hosts with the same images.
struct Faulty {
    images: Arc<Images>,
    id: ImageId,
    faults: Vec<Fault>,
    asked: AtomicUsize,
    /// `host from`, for every question.
    questions: Mutex<Vec<String>>,
    dead: Mutex<Vec<usize>>,
}

impl Holders for Faulty {
    async fn read(&self, holder: usize, blob: Digest, from: u64) -> Result<Pieces, Missed> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        self.questions
            .lock()
            .unwrap()
            .push(format!("{holder} {from}"));
        if self.dead.lock().unwrap().contains(&holder) {
            return Err(Missed::Lost("it is gone".into()));
        }
        let path = self.images.blob(&self.id, &blob).unwrap();
        let whole = std::fs::read(path).unwrap();
        let mut rest = whole[usize::try_from(from).unwrap()..].to_vec();
        match self.faults[holder] {
            Fault::None => {}
            Fault::Gone => return Err(Missed::Lost("it is gone".into())),
            Fault::BreaksAfter(bytes) => rest.truncate(bytes),
            Fault::DiesAfter(bytes) => {
                rest.truncate(bytes);
                self.dead.lock().unwrap().push(holder);
            }
            Fault::Lies => rest[0] ^= 1,
            Fault::SendsTooMuch => rest.push(0),
            Fault::Busy(times) if asked < times => return Err(Missed::Busy),
            Fault::Busy(_) => {}
        }
        let pieces: Vec<_> = rest
            .chunks(100)
            .map(|it| Ok(Bytes::copy_from_slice(it)))
            .collect();
        Ok(Box::pin(stream::iter(pieces)))
    }
}

async fn store() -> (tempfile::TempDir, Arc<Images>) {
    let scratch = tempfile::tempdir().unwrap();
    let trust = Trust::of_system([]);
    let images = Images::open(&scratch.path().join("images"), trust)
        .await
        .unwrap();
    (scratch, images)
}

fn tar(content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "a", content.as_bytes())
        .unwrap();
    builder.into_inner().unwrap()
}

/// How an image comes from hosts with these faults: what is there afterwards, or why not.
async fn taken(faults: &[Fault]) -> (String, Vec<String>) {
    let ((_there, source), (_here, target)) = (store().await, store().await);
    let options = ImportOptions {
        reference: Some("app:1".parse().unwrap()),
        ..ImportOptions::default()
    };
    let layer = std::io::Cursor::new(tar(&"content".repeat(100)));
    let image = source
        .import(layer, options, &Progress::new())
        .await
        .unwrap();
    let offer = Offer::parse(&source.offer(&image.id).unwrap(), &image.id).unwrap();
    let holders = Faulty {
        images: source.clone(),
        id: image.id,
        faults: faults.to_vec(),
        asked: AtomicUsize::new(0),
        questions: Mutex::default(),
        dead: Mutex::default(),
    };
    let offers = vec![offer; faults.len()];
    let names = vec!["app:2".parse().unwrap()];
    let (progress, platform) = (Progress::new(), Platform::host());
    let from = (offers.as_slice(), &holders);
    let outcome = target
        .take(&image.id, names, &platform, from, &progress)
        .await;
    let said = match outcome {
        Ok(found) => {
            assert_eq!(found.id, image.id);
            assert_eq!(target.resolve("app:2").unwrap().id, image.id);
            let file = target.layers(&found)[0].join("a");
            assert_eq!(
                std::fs::read_to_string(file).unwrap(),
                "content".repeat(100)
            );
            // It can give it on.
            assert_eq!(target.offer(&image.id), source.offer(&image.id));
            "there".to_owned()
        }
        Err(error) => {
            assert!(target.list().is_empty());
            error.chain()
        }
    };
    (said, holders.questions.into_inner().unwrap())
}

#[track_caller]
fn check(faults: &[Fault], expected: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Whoever is asked first is chance.
    let mut questions = Vec::new();
    for _ in 0..4 {
        let (said, asked) = runtime.block_on(taken(faults));
        assert!(said.contains(expected), "{faults:?}: {said}");
        questions.extend(asked);
    }
    questions
}

#[test]
fn an_image_comes_from_any_host_that_is_good_for_it() {
    check(&[Fault::None], "there");
    check(&[Fault::None, Fault::None, Fault::None], "there");
    check(
        &[Fault::Gone, Fault::Lies, Fault::SendsTooMuch, Fault::None],
        "there",
    );
    check(&[Fault::Busy(3)], "there");
    check(&[Fault::Busy(4), Fault::Gone], "there");
}

#[test]
fn what_one_host_has_begun_to_send_another_one_goes_on_with() {
    // The good one must not be the first: chance brings that about sooner or later.
    let has_gone_on = (0..50).any(|_| {
        let faults = [Fault::DiesAfter(300), Fault::DiesAfter(600), Fault::None];
        let asked = check(&faults, "there");
        asked.iter().any(|it| it == "2 300" || it == "2 600")
    });
    assert!(has_gone_on);
}

#[test]
fn one_that_breaks_off_is_asked_for_the_rest() {
    let asked = check(&[Fault::BreaksAfter(1500)], "there");
    assert!(asked.contains(&"0 1500".to_owned()), "{asked:?}");
}

#[test]
fn when_nobody_is_left_it_says_what_the_last_one_did() {
    check(
        &[Fault::Gone],
        "no node that has it could give its configuration: it is gone",
    );
    check(
        &[Fault::Lies, Fault::Lies],
        "it sent other bytes than these",
    );
    check(&[Fault::SendsTooMuch], "it sent more than it said");
    check(&[Fault::BreaksAfter(10)], "it broke off");
    check(
        &[],
        "no node that has it could give its configuration: there is none",
    );
}

#[test]
fn an_offer_of_another_image_is_not_read() {
    let id = Digest::of(b"config");
    let manifest = manifest_of(b"another", Vec::new()).to_json();
    let refused = Offer::parse(&manifest, &id).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it offers another image than was asked for"
    );
    assert!(Offer::parse(b"{}", &id).is_err());
    assert!(Offer::parse(&manifest_of(b"config", Vec::new()).to_json(), &id).is_ok());
}
