//! Volumes, binds, secrets and configs, as containers see them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::Host;

const SLEEP: &str = "    image: busybox:1.35\n    init: true\n    command: sleep 1000000\n";

fn web(more: &str) -> String {
    format!("services:\n  web:\n{SLEEP}{more}")
}

#[test]
fn a_new_volume_is_filled_from_the_image_and_keeps_what_is_written() {
    let host = Host::new();
    let file = web("    volumes: [\"data:/var/www\"]\nvolumes: {data: }\n");
    host.import_with(
        "filled",
        &[("var/www/page", "33:33 750", "from the image\n")],
    );
    let file = file.replace("busybox:1.35", "filled");
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(
        host.exec("app", "web", "cat /var/www/page; stat -c %a:%u /var/www")
            .stdout,
        "from the image\n750:33\n"
    );
    host.exec("app", "web", "echo written > /var/www/page")
        .succeeds();
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(
        host.exec("app", "web", "cat /var/www/page").stdout,
        "written\n"
    );
    host.wharfie("-p app down -v").succeeds();
    assert_eq!(host.wharfie("volume ls -q").stdout, "");
}

#[test]
fn an_anonymous_volume_follows_a_recreated_container_and_goes_with_it() {
    let host = Host::new();
    let file = |value: &str| {
        web(&format!(
            "    volumes: [/data]\n    environment: {{VALUE: {value}}}\n"
        ))
    };
    host.compose("app", &file("a"), "up -d").succeeds();
    host.exec("app", "web", "echo kept > /data/file").succeeds();
    host.compose("app", &file("b"), "up -d").succeeds();
    assert_eq!(host.exec("app", "web", "cat /data/file").stdout, "kept\n");
    host.compose("app", &file("b"), "up -d --force-recreate -V")
        .succeeds();
    host.exec("app", "web", "cat /data/file").fails_with(1);
    host.wharfie("-p app down -v").succeeds();
    assert_eq!(host.wharfie("volume ls -q").stdout, "");
    host.leaves_nothing();
}

#[test]
fn binds_are_made_where_compose_makes_them_and_refused_where_not() {
    let host = Host::new();
    let file = web("    volumes: [\"./new:/new\", \"./given:/given:ro\"]\n");
    let folder = host.project("app", &file).parent().unwrap().join("given");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), "given\n").unwrap();
    host.compose("app", &file, "up -d").succeeds();
    assert_eq!(
        host.exec("app", "web", "echo made > /new/file; cat /given/file")
            .stdout,
        "given\n"
    );
    assert_eq!(
        fs::read_to_string(host.path("app/new/file")).unwrap(),
        "made\n"
    );
    host.exec("app", "web", "echo no > /given/file")
        .fails_with(1)
        .says("Read-only");
    let strict = web(
        "    volumes: [{type: bind, source: ./missing, target: /x, bind: {create_host_path: false}}]\n",
    );
    let ran = host.compose("app", &strict, "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("missing");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn secrets_and_configs_are_files_in_memory_with_the_owner_and_mode_asked_for() {
    let host = Host::new();
    let file = web(
        "    secrets: [plain, {source: own, target: mine, uid: \"33\", gid: \"34\", mode: 0440}]
    configs: [{source: text, target: /etc/app.conf}]
secrets: {plain: {file: ./secret.txt}, own: {environment: OWN}}
configs: {text: {content: \"port = 80\"}}
",
    );
    let folder = host.project("app", &file).parent().unwrap().to_owned();
    fs::write(folder.join("secret.txt"), "hush").unwrap();
    fs::set_permissions(folder.join("secret.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    let ran = host
        .command(crate::support::binary())
        .args([
            "-f",
            folder.join("compose.yaml").to_str().unwrap(),
            "up",
            "-d",
        ])
        .env("OWN", "mine")
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let look = "cat /run/secrets/plain /run/secrets/mine /etc/app.conf; echo; stat -c %a:%u:%g /run/secrets/plain /run/secrets/mine; grep -c 'run/secrets.*tmpfs' /proc/mounts";
    assert_eq!(
        host.exec("app", "web", look).stdout,
        "hushmineport = 80\n444:0:0\n440:33:34\n2\n"
    );
    host.exec("app", "web", "echo x > /run/secrets/plain")
        .fails_with(1);
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_tmpfs_has_the_size_and_mode_asked_for() {
    let host = Host::new();
    let file = web(
        "    tmpfs: [\"/scratch:size=1m,mode=700\"]\n    shm_size: 3m\n    volumes: [{type: tmpfs, target: /other, tmpfs: {size: 2m}}]\n",
    );
    host.compose("app", &file, "up -d").succeeds();
    let look = "df -k /scratch /other /dev/shm | awk 'NR>1{print $2}'; stat -c %a /scratch";
    assert_eq!(
        host.exec("app", "web", look).stdout,
        "1024\n2048\n3072\n700\n"
    );
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
