//! Projects from elsewhere: a repository behind `git daemon`, and a registry that `docker compose publish`
//! has put a project into. Both in a network namespace, with nothing but loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{bare, docker_compose, wharfie};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Docker Compose wants TLS, wharfie speaks to loopback in clear: two registries over one storage.
const TLS: &str = "127.0.0.1:5443";
const CLEAR: &str = "127.0.0.1:5000";

/// What the repository holds. `evil` names files of this host in every way there is.
const REPOSITORY: &[(&str, &str)] = &[
    (
        "compose.yaml",
        "services: {root: {image: 'x:${TAG:-none}', env_file: root.env, volumes: ['./data:/data']}}\n",
    ),
    ("root.env", "A=1\n"),
    (".env", "TAG=own\n"),
    (
        "sub/compose.yaml",
        "name: sub\nservices: {sub: {image: x, build: ., volumes: ['../up:/up'], env_file: ../root.env}}\n",
    ),
    (
        "sub/deep/other.yaml",
        "services: {other: {image: other, hostname: h}}\n",
    ),
    (
        "evil/link.yaml",
        "services: {a: {image: x, env_file: link}}\n",
    ),
    (
        "evil/path.yaml",
        "services: {a: {image: x, env_file: ../../../../../../../etc/hostname}}\n",
    ),
];

struct Elsewhere {
    place: tempfile::TempDir,
    processes: Vec<Child>,
}

impl Elsewhere {
    fn new() -> Self {
        let mut anchor = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo up && exec sleep infinity",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 3];
        std::io::Read::read_exact(anchor.stdout.as_mut().unwrap(), &mut said).unwrap();
        let elsewhere = Self {
            place: tempfile::tempdir().unwrap(),
            processes: vec![anchor],
        };
        fs::create_dir(elsewhere.path("home")).unwrap();
        fs::create_dir(elsewhere.path("work")).unwrap();
        elsewhere
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A program in the namespace, in the folder `work`, with a home of its own.
    fn command(&self, program: &str) -> Command {
        let mut command = bare(Path::new("/usr/bin/nsenter"), &self.path("work"));
        command
            .arg(format!("--net=/proc/{}/ns/net", self.processes[0].id()))
            .arg(program)
            .env("HOME", self.path("home"))
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("SSL_CERT_FILE", self.path("ca.crt"));
        command
    }

    #[track_caller]
    fn shell(&self, line: &str) {
        let output = self.command("sh").args(["-ec", line]).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {why}");
    }

    fn serve(&mut self, command: &str, probe: &str) {
        let mut server = self.command("sh");
        server
            .args(["-c", &format!("exec {command}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.processes.push(server.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        let answers = || {
            let output = self.command("sh").args(["-c", probe]).output().unwrap();
            output.status.success()
        };
        while !answers() {
            assert!(Instant::now() < deadline, "{command} does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `git://127.0.0.1/x.git`, with the branch `main` and the tag `v1`.
    fn serve_repository(&mut self) {
        for (name, text) in REPOSITORY {
            let path = self.path("repository").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.shell(
            "cd ../repository; ln -s /etc/hostname evil/link; git init -q -b main .; git add -A
            git -c user.name=a -c user.email=a@b commit -qm one; git tag v1
            git clone -q --bare . ../served/x.git",
        );
        let base = self.path("served").display().to_string();
        self.serve(
            &format!(
                "$(git --exec-path)/git-daemon --listen=127.0.0.1 --base-path={base} --export-all"
            ),
            "git ls-remote git://127.0.0.1/x.git",
        );
    }

    fn serve_registry(&mut self) {
        self.shell(
            "cd ..; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry \
            -addext subjectAltName=IP:127.0.0.1 -keyout ca.key -out ca.crt",
        );
        let storage = self.path("storage").display().to_string();
        let config = |http: &str| {
            format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {http}\n"
            )
        };
        let tls = format!("{{addr: '{TLS}', tls: {{certificate: ../ca.crt, key: ../ca.key}}}}");
        fs::write(self.path("tls.yaml"), config(&tls)).unwrap();
        let clear = format!("{{addr: '{CLEAR}'}}");
        fs::write(self.path("clear.yaml"), config(&clear)).unwrap();
        self.serve(
            "docker-registry serve ../tls.yaml",
            &format!("curl -sf --cacert ../ca.crt https://{TLS}/v2/"),
        );
        self.serve(
            "docker-registry serve ../clear.yaml",
            &format!("curl -sf http://{CLEAR}/v2/"),
        );
    }

    fn config(&self, program: &Path, options: &[&str]) -> Output {
        let mut command = self.command(program.to_str().unwrap());
        command.args(options).args(["config", "--format", "json"]);
        command.output().unwrap()
    }

    /// What `config` prints, with the same names for the caches of both.
    #[track_caller]
    fn json(&self, program: &Path, options: &[&str]) -> Value {
        let output = self.config(program, options);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options:?}: {why}");
        let mut text = String::from_utf8(output.stdout).unwrap();
        let cache = self.path("home/.cache").display().to_string();
        for own in ["docker-compose", "wharfie/git", "wharfie/oci"] {
            text = text.replace(&format!("{cache}/{own}/"), "CACHE/");
        }
        serde_json::from_str(&text).unwrap()
    }

    /// The errors with which wharfie ends.
    #[track_caller]
    fn refused(&self, options: &[&str]) -> String {
        let mut command = self.command(wharfie().to_str().unwrap());
        let output = command
            .args(options)
            .args(["config", "-q"])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{options:?} is not refused");
        let said = String::from_utf8_lossy(&output.stderr);
        let errors = said.lines().filter_map(|it| it.strip_prefix("error: "));
        errors.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

const URL: &str = "git://127.0.0.1/x.git";

#[test]
fn a_repository_is_fetched_as_docker_compose_does_it() {
    let theirs = docker_compose();
    let mut elsewhere = Elsewhere::new();
    elsewhere.serve_repository();
    let files = [
        ("include.yaml", format!("include: ['{URL}']\n")),
        ("tag.yaml", format!("include: [{{path: '{URL}#v1:sub'}}]\n")),
        (
            "extends.yaml",
            format!(
                "services: {{a: {{extends: {{file: '{URL}#main:sub/deep/other.yaml', service: other}}}}}}\n"
            ),
        ),
        (
            "over.yaml",
            format!("include: [{{path: ['{URL}', local.yaml]}}]\n"),
        ),
        ("local.yaml", "services: {root: {hostname: h}}\n".to_owned()),
    ];
    for (name, text) in files {
        fs::write(elsewhere.path("work").join(name), text).unwrap();
    }
    let at = |place: &str| format!("{URL}{place}");
    let (tag, file) = (at("#v1:sub"), at("#main:sub/deep/other.yaml"));
    for options in [
        &["-f", "include.yaml"][..],
        &["-f", "tag.yaml"],
        &["-f", "extends.yaml"],
        &["-f", "over.yaml"],
        &["-f", URL],
        &["-f", &tag],
        &["-f", &file],
        &["-f", URL, "-f", "local.yaml"],
        &["-f", "local.yaml", "-f", URL],
    ] {
        let expected = elsewhere.json(&theirs, options);
        assert_eq!(elsewhere.json(wharfie(), options), expected, "{options:?}");
    }
}

#[test]
fn what_cannot_be_fetched_is_refused_by_name() {
    let mut elsewhere = Elsewhere::new();
    elsewhere.serve_repository();
    let check = |place: &str, expected: &str| {
        let said = elsewhere.refused(&["-f", &format!("{URL}{place}")]);
        assert!(said.ends_with(expected), "{place}: {said}");
    };
    check(
        "#nope",
        "the repository has no branch, tag or commit `nope`",
    );
    check("#:sub/deep", "there is no Compose file in sub/deep");
    check("#:nothing", "there is no nothing in the repository");
    check("#:../..", "`../..` leads out of the repository");
    check(
        "#--upload-pack=x",
        "`--upload-pack=x` is not the name of a branch, a tag or a commit",
    );
    check(
        "#:evil/link.yaml",
        "cannot be read: it is a link that leads out of what was fetched",
    );
    check("#:evil/path.yaml", "is outside of what was fetched");
    let said = elsewhere.refused(&["-f", "git://127.0.0.1/absent.git"]);
    assert!(said.contains("cannot be fetched: git says: "), "{said}");

    let mut without_git = elsewhere.command(wharfie().to_str().unwrap());
    let output = without_git
        .args(["-f", URL, "config"])
        .env("PATH", "/nonexistent")
        .output();
    let said = match output {
        Ok(output) => String::from_utf8(output.stderr).unwrap(),
        Err(error) => panic!("{error}"),
    };
    assert!(said.contains("`git` is not installed"), "{said}");
}

#[test]
fn a_published_project_is_read_as_docker_compose_reads_it() {
    let theirs = docker_compose();
    let mut elsewhere = Elsewhere::new();
    elsewhere.serve_registry();
    for (name, text) in [
        (
            "a.yaml",
            "services:\n  s:\n    image: x\n    env_file:\n      - e.env\n    extends:\n      file: base.yaml\n      service: b\n",
        ),
        ("base.yaml", "services:\n  b:\n    hostname: b\n"),
        ("b.yaml", "services: {s: {labels: [a=b]}}\n"),
        ("e.env", "B=2\n"),
        (
            "include.yaml",
            "include: ['oci://127.0.0.1:5000/my/app:1']\n",
        ),
    ] {
        fs::write(elsewhere.path("work").join(name), text).unwrap();
    }
    let compose = theirs.display();
    elsewhere.shell(&format!(
        "{compose} -f a.yaml -f b.yaml publish {TLS}/my/app:1 --with-env -y"
    ));
    let expected = elsewhere.json(&theirs, &["-f", &format!("oci://{TLS}/my/app:1")]);
    let name = format!("oci://{CLEAR}/my/app:1");
    assert_eq!(elsewhere.json(wharfie(), &["-f", &name]), expected);
    assert_eq!(elsewhere.json(wharfie(), &["-f", "include.yaml"]), expected);

    // Whatever its config says, this is an image.
    let image = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
    elsewhere.shell(&format!(
        "curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' -d '{image}' http://{CLEAR}/v2/my/app/manifests/image"
    ));
    let said = elsewhere.refused(&["-f", &format!("oci://{CLEAR}/my/app:image")]);
    let expected = "it is no Compose project, but application/vnd.oci.image.config.v1+json";
    assert!(said.ends_with(expected), "{said}");
    let said = elsewhere.refused(&["-f", &format!("oci://{CLEAR}/my/app:2")]);
    assert!(said.contains("not found"), "{said}");
}
