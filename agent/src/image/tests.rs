use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;

use super::*;

fn unused(_: &ImageId) -> Use {
    Use::Unused
}

/// A tar with one file.
fn tree(name: &str, content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, name, content.as_bytes())
        .unwrap();
    builder.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}

struct Fixture {
    scratch: tempfile::TempDir,
    images: Arc<Images>,
}

impl Fixture {
    async fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let images = Self::open(scratch.path()).await;
        Self { scratch, images }
    }

    async fn open(root: &Path) -> Arc<Images> {
        Images::open_with(
            &root.join("images"),
            Trust::of_system([]),
            Limits::default(),
            Duration::from_millis(1),
        )
        .await
        .unwrap()
    }

    async fn reopen(&mut self) {
        self.images = Self::open(self.scratch.path()).await;
    }

    async fn import(&self, name: &str, content: &str) -> Arc<Image> {
        let options = ImportOptions {
            reference: Some(name.parse().unwrap()),
            changes: vec!["CMD [\"/a\"]".to_owned()],
            ..ImportOptions::default()
        };
        let tar = std::io::Cursor::new(gzip(&tree("a", content)));
        self.images
            .import(tar, options, &Progress::new())
            .await
            .unwrap()
    }

    fn content(&self, image: &Image) -> String {
        std::fs::read_to_string(self.images.layers(image)[0].join("a")).unwrap()
    }

    /// Names in the store's directories.
    fn kept(&self, directory: &str) -> usize {
        std::fs::read_dir(self.scratch.path().join("images").join(directory))
            .unwrap()
            .count()
    }
}

#[tokio::test]
async fn what_was_imported_is_there_after_a_restart_and_gone_after_its_removal() {
    let mut fixture = Fixture::new().await;
    let image = fixture.import("app:1", "hello").await;
    assert_eq!(image.config.defaults.cmd, Some(vec!["/a".to_owned()]));
    assert_eq!(image.size, 5);
    fixture
        .images
        .tag("app:1", &"other:2".parse().unwrap())
        .await
        .unwrap();
    fixture.reopen().await;
    let found = fixture.images.resolve("other:2").unwrap();
    assert_eq!((found.id, found.tags.len()), (image.id, 2));
    assert_eq!(fixture.content(&found), "hello");
    fixture
        .images
        .remove("app:1", Removal::Careful, unused)
        .await
        .unwrap();
    assert_eq!(fixture.kept("layers"), 1);
    let removed = fixture
        .images
        .remove("other:2", Removal::Careful, unused)
        .await
        .unwrap();
    assert_eq!(removed.len(), 3);
    assert_eq!(
        (
            fixture.kept("layers"),
            fixture.kept("blobs/sha256"),
            fixture.kept("tmp")
        ),
        (0, 0, 0)
    );
    assert_eq!(
        fixture.images.resolve("app:1").unwrap_err().to_string(),
        "No such image: app:1"
    );
}

#[tokio::test]
async fn a_change_of_the_catalogue_does_not_forget_the_layers_of_a_pull_that_goes_on() {
    let fixture = Fixture::new().await;
    let (diff_id, digest) = (Digest::of(b"layer"), Digest::of(b"blob"));
    std::fs::create_dir(fixture.images.store.layer_path(&diff_id)).unwrap();
    let blob = manifest::Descriptor {
        media_type: String::new(),
        digest,
        size: 1,
    };
    fixture
        .images
        .note_layer(diff_id, LayerRecord { blob, size: 7 });
    fixture.import("app:1", "hello").await;
    assert!(fixture.images.has_layer(&diff_id));
}

#[tokio::test]
async fn archives_go_round() {
    let from = Fixture::new().await;
    let (one, two) = (
        from.import("app:1", "one").await,
        from.import("ghcr.io/me/app:2", "two").await,
    );
    let file = from.scratch.path().join("saved.tar");
    let writer = tokio::fs::File::create(&file).await.unwrap();
    let names = [
        "app:1".to_owned(),
        "ghcr.io/me/app:2".to_owned(),
        one.id.to_string(),
    ];
    from.images.save(&names, writer).await.unwrap();
    let saved = std::fs::read(&file).unwrap();

    for archive in [
        saved.clone(),
        gzip(&saved),
        without(&saved, "manifest.json"),
    ] {
        let to = Fixture::new().await;
        let loaded = to
            .images
            .load(std::io::Cursor::new(archive), &Progress::new())
            .await
            .unwrap();
        assert_eq!(
            loaded.iter().map(|l| l.image.id).collect::<Vec<_>>(),
            [one.id, two.id]
        );
        assert_eq!(to.images.resolve("ghcr.io/me/app:2").unwrap().id, two.id);
        assert_eq!(to.content(&to.images.resolve("app:1").unwrap()), "one");
        assert_eq!(to.kept("tmp"), 0);
    }
}

/// The same archive, less one file.
fn without(archive: &[u8], name: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_str() != Some(name) {
            let mut header = entry.header().clone();
            let path = entry.path().unwrap().into_owned();
            builder.append_data(&mut header, path, &mut entry).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn archives_that_are_no_images_leave_nothing() {
    let fixture = Fixture::new().await;
    let load = async |bytes: Vec<u8>| {
        fixture
            .images
            .load(std::io::Cursor::new(bytes), &Progress::new())
            .await
            .unwrap_err()
            .chain()
    };
    assert!(
        load(tree("a", "x"))
            .await
            .contains("neither manifest.json nor index.json")
    );
    assert!(
        load(b"nonsense".repeat(200))
            .await
            .contains("damaged header")
    );
    let entry = r#"[{"Config":"../../etc/passwd","RepoTags":null,"Layers":[]}]"#;
    assert!(
        load(tree("manifest.json", entry))
            .await
            .contains("does not have its file `../../etc/passwd`")
    );
    assert_eq!((fixture.kept("tmp"), fixture.kept("blobs/sha256")), (0, 0));
}

#[tokio::test]
async fn a_store_without_a_readable_catalogue_is_not_emptied() {
    let fixture = Fixture::new().await;
    fixture.import("app:1", "hello").await;
    let path = fixture.scratch.path().join("images/images.json");
    std::fs::write(&path, "{\"images\":").unwrap();
    let error = Images::open(&fixture.scratch.path().join("images"), Trust::of_system([]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(fixture.kept("layers"), 1);
}

#[tokio::test]
async fn what_an_interrupted_process_left_is_cleared_away() {
    let mut fixture = Fixture::new().await;
    let image = fixture.import("app:1", "hello").await;
    let root = fixture.scratch.path().join("images");
    for left in ["tmp/half/a", "layers/unfinishedunfinishedunfini/a"] {
        std::fs::create_dir_all(root.join(left)).unwrap();
    }
    std::fs::write(root.join("blobs/sha256/half"), "x").unwrap();
    fixture.reopen().await;
    assert_eq!(
        (
            fixture.kept("tmp"),
            fixture.kept("layers"),
            fixture.kept("blobs/sha256")
        ),
        (0, 1, 3)
    );
    // An image without its layers is no image.
    std::fs::remove_dir_all(&fixture.images.layers(&image)[0]).unwrap();
    fixture.reopen().await;
    assert!(fixture.images.resolve("app:1").is_err());
}

/// How a registry misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    WrongContent,
    Shorter,
    Longer,
    /// Cuts the first answer, and gives the rest when it is asked for it.
    CutOnce,
    BusyOnce,
    AlwaysBusy,
    Unauthorized,
    TokenLoop,
    NotFound,
    RedirectLoop,
    RealmElsewhere,
    BadToken,
}

struct Served {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
    fault: Fault,
    layer_requests: AtomicUsize,
    requests: AtomicUsize,
}

/// A registry on loopback with one image, `app:1`.
async fn serve(fault: Fault) -> (String, Arc<Served>) {
    let uncompressed = tree("a", "from the registry");
    let layer = gzip(&uncompressed);
    let config = serde_json::json!({ "os": "linux", "architecture": "amd64",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&uncompressed)] } });
    let config = config.to_string().into_bytes();
    let describe = |kind: &str, content: &[u8]| manifest::Descriptor {
        media_type: kind.to_owned(),
        digest: Digest::of(content),
        size: content.len() as u64,
    };
    let manifest = manifest::Manifest {
        config: describe(manifest::OCI_CONFIG, &config),
        layers: vec![describe(manifest::OCI_LAYER, &layer)],
    };
    let served = Arc::new(Served {
        manifest: manifest.to_json(),
        config,
        layer,
        fault,
        layer_requests: AtomicUsize::new(0),
        requests: AtomicUsize::new(0),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = served.clone();
    let app = Router::new().fallback(move |request: Request| {
        let state = state.clone();
        async move { state.answer(&request, address.port()) }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("{address}/app:1"), served)
}

impl Served {
    fn answer(&self, request: &Request, port: u16) -> Response {
        let path = request.uri().path().to_owned();
        let count = self.requests.fetch_add(1, Ordering::SeqCst);
        let plain = |status: StatusCode| {
            Response::builder()
                .status(status)
                .body(Body::empty())
                .unwrap()
        };
        let challenge = |realm: &str| {
            let value = format!("Bearer realm=\"{realm}\",service=\"x\"");
            let response = Response::builder()
                .status(401)
                .header(header::WWW_AUTHENTICATE, value);
            response.body(Body::empty()).unwrap()
        };
        match (path.as_str(), self.fault) {
            ("/token", Fault::BadToken) => {
                return Response::new(Body::from("{\"token\":\"a\\nb\"}"));
            }
            ("/token", _) => return Response::new(Body::from("{\"token\":\"t\"}")),
            (_, Fault::TokenLoop | Fault::BadToken) => {
                return challenge(&format!("http://127.0.0.1:{port}/token"));
            }
            (_, Fault::RealmElsewhere) => return challenge("http://evil.example.org/token"),
            (_, Fault::Unauthorized) => return plain(StatusCode::FORBIDDEN),
            (_, Fault::NotFound) => return plain(StatusCode::NOT_FOUND),
            (_, Fault::AlwaysBusy) => return plain(StatusCode::SERVICE_UNAVAILABLE),
            (_, Fault::BusyOnce) if count == 0 => return plain(StatusCode::TOO_MANY_REQUESTS),
            (_, Fault::RedirectLoop) => {
                return Response::builder()
                    .status(307)
                    .header(header::LOCATION, path)
                    .body(Body::empty())
                    .unwrap();
            }
            _ => {}
        }
        let layer = Digest::of(&self.layer);
        match path.as_str() {
            "/v2/app/manifests/1" => {
                let response =
                    Response::builder().header(header::CONTENT_TYPE, manifest::OCI_MANIFEST);
                response.body(Body::from(self.manifest.clone())).unwrap()
            }
            path if path == format!("/v2/app/blobs/{}", Digest::of(&self.config)) => {
                Response::new(Body::from(self.config.clone()))
            }
            path if path == format!("/v2/app/blobs/{layer}") => self.layer(request),
            _ => plain(StatusCode::NOT_FOUND),
        }
    }

    fn layer(&self, request: &Request) -> Response {
        let count = self.layer_requests.fetch_add(1, Ordering::SeqCst);
        let mut content = self.layer.clone();
        match self.fault {
            Fault::WrongContent => content[20] ^= 1,
            Fault::Shorter => content.truncate(content.len() - 1),
            Fault::Longer => content.push(0),
            Fault::CutOnce if count == 0 => {
                let half = content[..40].to_vec();
                // The pause lets the first half go out before the connection breaks.
                let cut = futures::stream::once(async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Err(std::io::Error::other("cut"))
                });
                let first = futures::stream::iter([Ok(half)]);
                return Response::new(Body::from_stream(futures::StreamExt::chain(first, cut)));
            }
            Fault::CutOnce => {
                let range = request.headers()[header::RANGE].to_str().unwrap();
                assert_eq!(range, "bytes=40-");
                let response = Response::builder().status(206).header(
                    header::CONTENT_RANGE,
                    format!("bytes 40-{}/{}", content.len() - 1, content.len()),
                );
                return response.body(Body::from(content[40..].to_vec())).unwrap();
            }
            _ => {}
        }
        Response::new(Body::from(content))
    }
}

async fn pull(
    fixture: &Fixture,
    name: &str,
    credentials: Credentials,
) -> Result<Arc<Image>, ImageError> {
    let options = PullOptions {
        platform: None,
        expected: None,
        credentials,
    };
    fixture
        .images
        .pull(&name.parse().unwrap(), options, &Progress::new())
        .await
}

#[track_caller]
fn check(fault: Fault, expected: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new().await;
        let (name, served) = serve(fault).await;
        let outcome = pull(&fixture, &name, Credentials::Anonymous).await;
        let text = match outcome {
            Ok(image) => fixture.content(&image),
            Err(error) => {
                assert_eq!((fixture.kept("tmp"), fixture.kept("layers")), (0, 0));
                error.chain()
            }
        };
        let registry = name.strip_suffix("/app:1").unwrap();
        let text = text
            .replace(registry, "REG")
            .replace(&Digest::of(&served.layer).to_string(), "LAYER");
        assert!(text.starts_with(expected), "{text}");
        assert!(served.requests.load(Ordering::SeqCst) <= 12);
    });
}

#[test]
fn registries_that_misbehave_are_survived_or_named() {
    check(Fault::None, "from the registry");
    check(Fault::CutOnce, "from the registry");
    check(Fault::BusyOnce, "from the registry");
    check(
        Fault::WrongContent,
        "blob LAYER should have digest LAYER but has sha256:",
    );
    check(Fault::Shorter, "blob LAYER should have ");
    check(Fault::Longer, "blob LAYER should have ");
    check(
        Fault::AlwaysBusy,
        "registry REG answered 503: no reason given",
    );
    check(
        Fault::Unauthorized,
        "pull access denied for REG/app, repository does not exist or may require 'docker login'",
    );
    check(
        Fault::TokenLoop,
        "pull access denied for REG/app, repository does not exist or may require 'docker login'",
    );
    check(
        Fault::NotFound,
        "manifest for REG/app:1 not found: image `REG/app:1` is not in registry REG",
    );
    check(
        Fault::RedirectLoop,
        "registry REG redirects more than 5 times",
    );
    check(
        Fault::BadToken,
        "the token server of registry REG answered nonsense",
    );
}

#[tokio::test]
async fn passwords_are_not_sent_to_another_domain() {
    let fixture = Fixture::new().await;
    let (name, _) = serve(Fault::RealmElsewhere).await;
    let secret = Credentials::Password {
        username: "me".into(),
        password: "hunter2".into(),
    };
    let error = pull(&fixture, &name, secret).await.unwrap_err().to_string();
    assert!(
        error.ends_with("which is not allowed: it belongs to another domain"),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named_at_once() {
    let fixture = Fixture::new().await;
    let error = pull(&fixture, "127.0.0.1:1/app", Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "registry 127.0.0.1:1 refused the connection"
    );
    assert_eq!(error.kind(), ErrorKind::Registry);
}

#[tokio::test]
async fn many_who_pull_the_same_download_it_once() {
    let fixture = Fixture::new().await;
    let (name, served) = serve(Fault::None).await;
    let pulls = (0..8).map(|_| pull(&fixture, &name, Credentials::Anonymous));
    for image in futures::future::join_all(pulls).await {
        assert_eq!(fixture.content(&image.unwrap()), "from the registry");
    }
    assert_eq!(served.layer_requests.load(Ordering::SeqCst), 1);
    assert_eq!(served.requests.load(Ordering::SeqCst), 3);
    // A second pull looks at the manifest and finds all there.
    let progress = Progress::new();
    let mut reader = progress.reader();
    fixture
        .images
        .pull(&name.parse().unwrap(), PullOptions::default(), &progress)
        .await
        .unwrap();
    drop(progress);
    let mut lines = Vec::new();
    while let Some(events) = reader.next().await {
        lines.extend(events.iter().map(|event| event.docker_json().to_string()));
    }
    assert!(
        lines
            .last()
            .unwrap()
            .contains("Status: Image is up to date for"),
        "{lines:?}"
    );
    assert_eq!(served.layer_requests.load(Ordering::SeqCst), 1);
}
