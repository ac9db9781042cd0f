//! Images come from a registry: Debian's, on the host's loopback.

use std::fs;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::{Host, eventually, image};

mod content;
mod tls;
mod token;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) struct Registry {
    process: Child,
    url: String,
    /// What curl(1) needs to be let in: `-u`, `--cacert`.
    curl: String,
}

impl Registry {
    /// In clear, on loopback; `auth` is more of its configuration.
    fn on(host: &Host, auth: &str, curl: &str) -> Self {
        Self::serve(host, "http://127.0.0.1:5000", "", auth, curl)
    }

    /// At `url`; `http` and `rest` are more of its configuration.
    pub(crate) fn serve(host: &Host, url: &str, http: &str, rest: &str, curl: &str) -> Self {
        let config = host.path("registry.yml");
        let (_, address) = url.split_once("://").unwrap();
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'{http}}}\n{rest}",
            Self::storage(host).display()
        );
        fs::write(&config, text).unwrap();
        let mut command = host.command("docker-registry");
        let process = command
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            process,
            url: url.to_owned(),
            curl: curl.to_owned(),
        };
        eventually("the registry answers", || {
            match host.shell(&format!("curl -ks -o /dev/null {url}/v2/")) {
                ran if ran.code == 0 => Ok(()),
                ran => Err(ran.to_string()),
            }
        });
        registry
    }

    fn storage(host: &Host) -> std::path::PathBuf {
        host.path("registry")
    }

    /// Uploads a file and gives its descriptor.
    fn blob(&self, host: &Host, repository: &str, file: &str, media_type: &str) -> Value {
        let (curl, url) = (&self.curl, &self.url);
        let path = host.path(file);
        let digest = digest(host, file);
        let script = format!(
            r#"set -eu
url=$(curl -sf {curl} -X POST -i {url}/v2/{repository}/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
curl -sf {curl} -X PUT --data-binary @{} -H 'Content-Type: application/octet-stream' "$url&digest={digest}""#,
            path.display()
        );
        host.shell(&script).succeeds();
        json!({ "mediaType": media_type, "digest": digest, "size": fs::metadata(path).unwrap().len() })
    }

    /// Uploads a manifest or an index under a tag, or (`None`) its digest, and gives its descriptor.
    fn manifest(&self, host: &Host, repository: &str, tag: Option<&str>, content: &Value) -> Value {
        let text = content.to_string();
        fs::write(host.path("manifest"), &text).unwrap();
        let media_type = content["mediaType"].as_str().unwrap();
        let digest = digest(host, "manifest");
        let script = format!(
            "curl -sf {} -X PUT --data-binary @{} -H 'Content-Type: {media_type}' {}/v2/{repository}/manifests/{}",
            self.curl,
            host.path("manifest").display(),
            self.url,
            tag.unwrap_or(&digest),
        );
        host.shell(&script).succeeds();
        json!({ "mediaType": media_type, "digest": digest, "size": text.len() })
    }

    /// Puts an image with one layer there, as `docker push` would.
    pub(crate) fn push(&self, host: &Host, name: &str, tag: &str, marker: &str) {
        let diff_id = layer(host, marker, "gzip -nc");
        let image = json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": self.config(host, name, "amd64", &[&diff_id], DOCKER_CONFIG),
            "layers": [self.blob(host, name, "layer", DOCKER_LAYER)],
        });
        self.manifest(host, name, Some(tag), &image);
    }

    fn config(
        &self,
        host: &Host,
        repository: &str,
        architecture: &str,
        diff_ids: &[&str],
        media_type: &str,
    ) -> Value {
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Cmd": ["sh"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        fs::write(host.path("config"), config.to_string()).unwrap();
        self.blob(host, repository, "config", media_type)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // timeout(1) stands in front of it and passes the signal on.
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// Makes a layer of busybox and a marker, in the file `layer`; gives the digest of what is in it.
fn layer(host: &Host, marker: &str, compress: &str) -> String {
    let script = format!(
        r#"set -eu
rm -rf {root} && mkdir {root} && cd {root} && tar -xf {busybox} && echo {marker} > marker
tar -cf ../layer.tar . && cd .. && rm -r {root} && {compress} layer.tar > layer"#,
        root = host.path("layer.root").display(),
        busybox = image("busybox").display(),
    );
    host.shell(&script).succeeds();
    digest(host, "layer.tar")
}

fn digest(host: &Host, file: &str) -> String {
    let ran = host.run("sha256sum", &[&host.path(file).to_string_lossy()]);
    let sum = ran.succeeds().stdout;
    format!("sha256:{}", sum.split(' ').next().unwrap())
}

/// Lets the user's Docker be logged in to a registry.
pub(crate) fn log_in(host: &Host, registry: &str, login: &str) {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(login);
    let config = json!({ "auths": { registry: { "auth": auth } } });
    fs::create_dir_all(host.path(".docker")).unwrap();
    fs::write(host.path(".docker/config.json"), config.to_string()).unwrap();
}

/// The registry's configuration that lets only `anna` with the password `secret` in.
pub(crate) fn only_anna(host: &Host) -> String {
    // bcrypt of "secret".
    let line = "anna:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    let file = host.path("htpasswd");
    fs::write(&file, line).unwrap();
    format!(
        "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
        file.display()
    )
}

/// A service of an image, which keeps running.
fn file_of(image: &str) -> String {
    format!("services:\n  web:\n    image: {image}\n    init: true\n    command: sleep 1000000\n")
}

fn file(tag: &str) -> String {
    file_of(&format!("127.0.0.1:5000/tools/box:{tag}"))
}

fn marker(host: &Host) -> String {
    host.exec("app", "web", "cat /marker")
        .stdout
        .trim()
        .to_owned()
}

#[test]
fn up_pulls_what_is_missing_and_notices_a_new_image_after_a_pull() {
    let mut host = Host::bare();
    host.start_agent();
    let registry = Registry::on(&host, "", "");
    registry.push(&host, "tools/box", "1", "one");
    host.compose("app", &file("1"), "up -d").succeeds();
    assert_eq!(marker(&host), "one");
    registry.push(&host, "tools/box", "1", "two");
    host.compose("app", &file("1"), "up -d").succeeds();
    assert_eq!(marker(&host), "one", "what is here is not asked for again");
    host.compose("app", &file("1"), "pull").succeeds();
    host.compose("app", &file("1"), "up -d").succeeds();
    assert_eq!(marker(&host), "two");
    let ran = host.compose("app", &file("none"), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("tools/box:none");
    assert_eq!(marker(&host), "two", "the old container serves on");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_login_of_dockers_config_json_opens_a_closed_registry() {
    let mut host = Host::bare();
    host.start_agent();
    let auth = only_anna(&host);
    let registry = Registry::on(&host, &auth, "-u anna:secret");
    registry.push(&host, "tools/box", "1", "closed");
    let ran = host.compose("app", &file("1"), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("127.0.0.1:5000").says("login");
    log_in(&host, "127.0.0.1:5000", "anna:secret");
    host.compose("app", &file("1"), "up -d").succeeds();
    assert_eq!(marker(&host), "closed");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
