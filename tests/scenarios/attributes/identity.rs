//! Who a program is and what it finds around it.

use std::fs;

use super::Look::{Host as OnHost, Inside, Inspect};
use super::{Case, PROJECT, check};
use crate::support::Host;

pub(super) const CASES: &[Case] = &[
    Case {
        proves: &["command"],
        yaml: "command: sleep '777777'",
        look: Inside("tr '\\0' ' ' </proc/1/cmdline"),
        expected: "sleep 777777",
    },
    Case {
        proves: &["entrypoint"],
        yaml: "entrypoint: [sleep, '888888']",
        look: Inside("tr '\\0' ' ' </proc/1/cmdline"),
        expected: "sleep 888888",
    },
    Case {
        proves: &["init"],
        yaml: "init: true\ncommand: sleep 1000000",
        look: Inside("[ $(cat /proc/1/comm) != sleep ] && pidof sleep >/dev/null && echo init"),
        expected: "init",
    },
    Case {
        proves: &["user", "group_add"],
        yaml: "user: '33:34'\ngroup_add: ['50']",
        look: Inside("id -u; id -G"),
        expected: "33\n34 50",
    },
    Case {
        proves: &["working_dir"],
        yaml: "working_dir: /var/tmp",
        look: Inside("pwd"),
        expected: "/var/tmp",
    },
    Case {
        proves: &["hostname", "domainname"],
        yaml: "hostname: box\ndomainname: example.org",
        look: Inside("hostname; grep -c box.example.org /etc/hosts"),
        expected: "box\n1",
    },
    Case {
        proves: &["extra_hosts"],
        yaml: "extra_hosts: ['friend:192.0.2.9']",
        look: Inside("grep -c '192.0.2.9.*friend' /etc/hosts"),
        expected: "1",
    },
    Case {
        proves: &[
            "environment",
            "env_file",
            "env_file.path",
            "env_file.format",
            "env_file.required",
        ],
        yaml: "environment: {TWO: own}\nenv_file: [a.env, {path: raw.env, format: raw}, {path: none.env, required: false}]",
        look: Inside("echo $ONE $TWO $RAW"),
        expected: "1 own '${X}'",
    },
    Case {
        proves: &["labels", "label_file"],
        yaml: "labels: {a: own}\nlabel_file: labels.env",
        look: Inspect("/Config/Labels/a"),
        expected: "own",
    },
    Case {
        proves: &["label_file"],
        yaml: "label_file: labels.env",
        look: Inspect("/Config/Labels/b"),
        expected: "from the file",
    },
    Case {
        proves: &["annotations"],
        yaml: "annotations: {org.example: yes}",
        look: Inspect("/HostConfig/Annotations/org.example"),
        expected: "yes",
    },
    Case {
        proves: &["tty"],
        yaml: "tty: true",
        look: Inside("readlink /proc/$(pidof sleep)/fd/1 | grep -cE '/dev/(console|pts)'"),
        expected: "1",
    },
    Case {
        proves: &["stdin_open"],
        yaml: "stdin_open: true",
        look: Inside("readlink /proc/$(pidof sleep)/fd/0 | grep -c -e pipe -e socket"),
        expected: "1",
    },
    Case {
        proves: &["ipc"],
        yaml: "ipc: host",
        look: OnHost(
            "[ $(readlink /proc/$PID/ns/ipc) = $(readlink /proc/self/ns/ipc) ] && echo same",
        ),
        expected: "same",
    },
    Case {
        proves: &["pid"],
        yaml: "pid: host",
        look: OnHost(
            "[ $(readlink /proc/$PID/ns/pid) = $(readlink /proc/self/ns/pid) ] && echo same",
        ),
        expected: "same",
    },
    Case {
        proves: &["uts"],
        yaml: "uts: host",
        look: OnHost(
            "[ $(readlink /proc/$PID/ns/uts) = $(readlink /proc/self/ns/uts) ] && echo same",
        ),
        expected: "same",
    },
    Case {
        proves: &["userns_mode"],
        yaml: "userns_mode: host",
        look: OnHost(
            "[ $(readlink /proc/$PID/ns/user) = $(readlink /proc/self/ns/user) ] && echo same",
        ),
        expected: "same",
    },
    Case {
        proves: &["container_name"],
        yaml: "container_name: only-one",
        look: Inspect("/Name"),
        expected: "/only-one",
    },
    Case {
        proves: &["image", "platform", "runtime"],
        yaml: "image: busybox:1.35\nplatform: linux\nruntime: runc",
        look: Inspect("/Config/Image"),
        expected: "busybox:1.35",
    },
    Case {
        proves: &["extends", "extends.file", "extends.service"],
        yaml: "extends: {file: common.yaml, service: base}\nenvironment: {B: '2'}",
        look: Inside("echo $A $B"),
        expected: "1 2",
    },
    Case {
        proves: &["read_only", "tmpfs"],
        yaml: "read_only: true\ntmpfs: ['/t:size=1m,mode=700']",
        look: Inside(
            "touch /x 2>/dev/null || echo refused; stat -c %a /t; df -k /t | tail -n1 | awk '{print $2}'",
        ),
        expected: "refused\n700\n1024",
    },
];

pub(super) const TOP: &[&str] = &[
    "include.path",
    "include.env_file",
    "include.project_directory",
    "/include",
    "/name",
    "/services",
];

#[test]
fn who_a_program_is() {
    let host = Host::new();
    let beside = host.project(PROJECT, "");
    for (name, text) in [
        ("a.env", "ONE=1\nTWO=2\n"),
        ("raw.env", "RAW='${X}'\n"),
        ("labels.env", "a=other\nb=from the file\n"),
        (
            "common.yaml",
            "services: {base: {environment: {A: '1', B: '0'}}}\n",
        ),
    ] {
        fs::write(beside.with_file_name(name), text).unwrap();
    }
    check(&host, "", CASES);
    host.leaves_nothing();
}

#[test]
fn an_included_project_has_its_own_directory_and_variables() {
    let host = Host::new();
    let text = "
name: chosen
include:
  - {path: part/compose.yaml, project_directory: elsewhere, env_file: part/own.env}
services:
  web: {image: 'busybox:1.35', init: true, command: sleep 1000000, stop_grace_period: 1s}
";
    let file = host.project("project", text);
    let part = file.with_file_name("part");
    fs::create_dir(&part).unwrap();
    fs::write(part.join("own.env"), "TEXT=from its file\n").unwrap();
    fs::write(
        part.join("compose.yaml"),
        "services: {db: {image: 'busybox:1.35', init: true, command: sleep 1000000, stop_grace_period: 1s, \
         environment: {TEXT: '${TEXT}'}, volumes: ['./data:/data']}}\n",
    )
    .unwrap();
    host.compose("project", text, "up -d").succeeds();
    let seen = host.exec("chosen", "db", "echo $TEXT; touch /data/here");
    assert_eq!(seen.stdout, "from its file\n", "{seen}");
    assert!(file.with_file_name("elsewhere/data/here").exists());
    host.compose("project", text, "down").succeeds();
    host.leaves_nothing();
}
