//! Images come from a registry: Debian's, on the host's loopback.

use std::fs;
use std::process::{Child, Stdio};

use crate::support::{Host, eventually};

struct Registry(Child);

impl Registry {
    fn on(host: &Host, auth: &str) -> Self {
        let config = host.path("registry.yml");
        let storage = host.path("registry");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:5000'}}\n{auth}",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = host.command("docker-registry");
        let registry = Self(
            command
                .arg("serve")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        eventually("the registry answers", || {
            match host.run(
                "curl",
                &["-s", "-o", "/dev/null", "http://127.0.0.1:5000/v2/"],
            ) {
                ran if ran.code == 0 => Ok(()),
                ran => Err(ran.to_string()),
            }
        });
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // timeout(1) stands in front of it and passes the signal on.
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Puts an image with one layer there, as `docker push` would.
fn push(host: &Host, name: &str, tag: &str, marker: &str, login: &str) {
    let root = host.path("push");
    let script = format!(
        r#"set -eu
mkdir -p {root} && cd {root} && rm -rf fs && mkdir fs && tar -C fs -xf {busybox} && echo {marker} > fs/marker && tar -C fs -cf layer.tar .
diff=$(sha256sum layer.tar | cut -d' ' -f1); gzip -fn layer.tar; layer=$(sha256sum layer.tar.gz | cut -d' ' -f1)
printf '{{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:%s"]}}}}' $diff > config
config=$(sha256sum config | cut -d' ' -f1)
put() {{ url=$(curl -sf {login} -X POST -i http://127.0.0.1:5000/v2/{name}/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p'); curl -sf {login} -X PUT --data-binary @$1 -H 'Content-Type: application/octet-stream' "$url&digest=sha256:$2"; }}
put layer.tar.gz $layer; put config $config
printf '{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:%s","size":%s}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:%s","size":%s}}]}}' $config $(wc -c < config) $layer $(wc -c < layer.tar.gz) > manifest
curl -sf {login} -X PUT --data-binary @manifest -H 'Content-Type: application/vnd.docker.distribution.manifest.v2+json' http://127.0.0.1:5000/v2/{name}/manifests/{tag}"#,
        root = root.display(),
        busybox = crate::support::image("busybox").display(),
    );
    host.shell(&script).succeeds();
}

fn file(tag: &str) -> String {
    format!(
        "services:\n  web:\n    image: 127.0.0.1:5000/tools/box:{tag}\n    init: true\n    command: sleep 1000000\n"
    )
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
    let _registry = Registry::on(&host, "");
    push(&host, "tools/box", "1", "one", "");
    host.compose("app", &file("1"), "up -d").succeeds();
    assert_eq!(marker(&host), "one");
    push(&host, "tools/box", "1", "two", "");
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
    // bcrypt of "secret".
    fs::write(
        host.path("htpasswd"),
        "anna:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n",
    )
    .unwrap();
    let auth = format!(
        "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
        host.path("htpasswd").display()
    );
    let _registry = Registry::on(&host, &auth);
    push(&host, "tools/box", "1", "closed", "-u anna:secret");
    let ran = host.compose("app", &file("1"), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("127.0.0.1:5000").says("login");
    fs::create_dir_all(host.path(".docker")).unwrap();
    // base64 of `anna:secret`.
    fs::write(
        host.path(".docker/config.json"),
        r#"{"auths":{"127.0.0.1:5000":{"auth":"YW5uYTpzZWNyZXQ="}}}"#,
    )
    .unwrap();
    host.compose("app", &file("1"), "up -d").succeeds();
    assert_eq!(marker(&host), "closed");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
