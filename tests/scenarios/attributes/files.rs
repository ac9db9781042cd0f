//! What is mounted: volumes, directories of the host, memory, images, secrets, configs.

use std::fs;

use super::Look::{Host as OnHost, Inside, Inspect};
use super::{Case, PROJECT, check};
use crate::support::Host;

const SECTIONS: &str = "
volumes:
  plain: {labels: {a: b}}
  named: {name: chosen}
  memory: {driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: 'size=2m'}}
  kept: {external: true}
secrets:
  of_file: {file: ./secret.txt}
  of_variable: {environment: HOME, name: other}
  of_person: {external: true, name: kept}
  marked: {file: ./secret.txt, labels: {a: b}}
configs:
  of_person: {external: true, name: kept}
  of_text: {content: hello, name: text, labels: {a: b}}
  of_file: {file: ./secret.txt}
  of_variable: {environment: HOME}
";

pub(super) const CASES: &[Case] = &[
    Case {
        proves: &[
            "volumes",
            "volumes.type",
            "volumes.source",
            "volumes.target",
            "volumes.read_only",
            "volumes.volume",
            "/volumes",
        ],
        yaml: "volumes: [{type: volume, source: plain, target: /v, read_only: true, volume: {nocopy: true}}]",
        look: Inside("touch /v/x 2>/dev/null || echo refused; grep -c ' /v ' /proc/self/mountinfo"),
        expected: "refused\n1",
    },
    Case {
        proves: &["volumes.*.name"],
        yaml: "volumes: ['named:/v']",
        look: Inspect("/Mounts/0/Name"),
        expected: "chosen",
    },
    Case {
        proves: &["volumes.*.driver", "volumes.*.driver_opts"],
        yaml: "volumes: ['memory:/v']",
        look: Inside(
            "df -k /v | tail -n1 | awk '{print $2}'; grep ' /v ' /proc/self/mountinfo | grep -c ' - tmpfs '",
        ),
        expected: "2048\n1",
    },
    Case {
        proves: &["volumes.*.labels"],
        yaml: "volumes: ['plain:/v']",
        look: OnHost("docker -H $SOCKET volume inspect -f '{{.Labels.a}}' attr_plain"),
        expected: "b",
    },
    Case {
        proves: &["volumes.*.external"],
        yaml: "volumes: ['kept:/v']",
        look: Inspect("/Mounts/0/Name"),
        expected: "kept",
    },
    Case {
        proves: &["volumes.volume.subpath"],
        yaml: "depends_on: {s6: {condition: service_healthy}}\nvolumes: [{type: volume, source: plain, target: /v, volume: {subpath: part}}]",
        look: Inside("cat /v/inside"),
        expected: "here",
    },
    Case {
        proves: &["volumes.volume.nocopy"],
        yaml: "command: sh -c 'mkdir -p /w/part; echo here >/w/part/inside; exec sleep 1000000'\n\
               healthcheck: {test: 'test -e /w/part/inside', interval: 1s}\n\
               volumes: ['plain:/w', {type: volume, target: /etc/empty}]",
        look: Inside("ls /w"),
        expected: "part\ntext",
    },
    Case {
        proves: &[
            "volumes.bind",
            "volumes.bind.create_host_path",
            "volumes.bind.selinux",
        ],
        yaml: "volumes: [{type: bind, source: ./made, target: /b, bind: {create_host_path: true, selinux: z}}]",
        look: Inside("touch /b/x && echo written"),
        expected: "written",
    },
    Case {
        proves: &["volumes.bind.propagation"],
        yaml: "volumes: [{type: bind, source: ./made, target: /b, bind: {propagation: rslave}}]",
        look: Inside("grep ' /b ' /proc/self/mountinfo | grep -cE '(master|propagate_from):|^'"),
        expected: "1",
    },
    Case {
        proves: &["volumes.bind.recursive"],
        yaml: "volumes: [{type: bind, source: ./outer, target: /b, bind: {recursive: disabled}}, \
               {type: bind, source: ./outer, target: /c, read_only: true, bind: {recursive: readonly}}, \
               {type: bind, source: ./outer, target: /d, read_only: true, bind: {recursive: writable}}]",
        look: Inside(
            "ls /b/inner; ls /c/inner; touch /c/inner/x 2>/dev/null || echo refused; \
             touch /d/x 2>/dev/null || echo refused; touch /d/inner/below && echo written",
        ),
        expected: "below\nrefused\nrefused\nwritten",
    },
    Case {
        proves: &["volumes.tmpfs", "volumes.tmpfs.size", "volumes.tmpfs.mode"],
        yaml: "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o700}}]",
        look: Inside("stat -c %a /t; df -k /t | tail -n1 | awk '{print $2}'"),
        expected: "700\n1024",
    },
    Case {
        proves: &["volumes.image", "volumes.image.subpath"],
        yaml: "volumes: [{type: image, source: 'files:1', target: /whole}, \
               {type: image, source: 'files:1', target: /part, image: {subpath: etc/part}}]",
        look: Inside(
            "cat /whole/etc/part/text /part/text; touch /whole/x 2>/dev/null || echo refused",
        ),
        expected: "of the image\nof the image\nrefused",
    },
    Case {
        proves: &["volumes_from"],
        yaml: "volumes_from: ['s13:ro']\nvolumes: [/own]",
        look: Inside(
            "cat /shared/text /kept/text; touch /shared/x 2>/dev/null || echo refused; touch /own/x && echo own",
        ),
        expected: "one\ntwo\nrefused\nown",
    },
    Case {
        proves: &[],
        yaml: "command: sh -c 'echo one >/shared/text; echo two >/kept/text; exec sleep 1000000'\nvolumes: [/shared, 'plain:/kept', ./made:/own]",
        look: Inside("ls /own | grep -c nothing"),
        expected: "0",
    },
    Case {
        proves: &["secrets", "secrets.source", "secrets.*.file", "/secrets"],
        yaml: "secrets: [of_file]",
        look: Inside("cat /run/secrets/of_file; stat -c '%a %u' /run/secrets/of_file"),
        expected: "secret\n444 0",
    },
    Case {
        proves: &[
            "secrets.target",
            "secrets.uid",
            "secrets.gid",
            "secrets.mode",
            "secrets.*.environment",
            "secrets.*.name",
        ],
        yaml: "secrets: [{source: of_variable, target: /s, uid: '7', gid: '8', mode: 0400}]",
        look: Inside("[ -n \"$(cat /s)\" ] && stat -c '%a %u %g' /s"),
        expected: "400 7 8",
    },
    Case {
        proves: &["configs", "configs.source", "configs.*.content", "/configs"],
        yaml: "configs: [of_text]",
        look: Inside("cat /of_text; stat -c ' %a' /of_text"),
        expected: "hello 444",
    },
    Case {
        proves: &[
            "configs.target",
            "configs.uid",
            "configs.gid",
            "configs.mode",
            "configs.*.file",
        ],
        yaml: "configs: [{source: of_file, target: /c, uid: '7', gid: '8', mode: 0440}]",
        look: Inside("cat /c; stat -c '%a %u %g' /c"),
        expected: "secret\n440 7 8",
    },
    Case {
        proves: &["secrets.*.external", "configs.*.external"],
        yaml: "secrets: [of_person]\nconfigs: [of_person]",
        look: Inside("cat /run/secrets/of_person /of_person"),
        expected: "a person's\na person's too",
    },
    Case {
        proves: &["secrets.*.labels"],
        yaml: "secrets: [marked]",
        look: OnHost("docker -H $SOCKET secret inspect -f '{{.Spec.Labels.a}}' attr_marked"),
        expected: "b",
    },
    Case {
        proves: &["configs.*.name", "configs.*.labels"],
        yaml: "configs: [of_text]",
        look: OnHost(
            "docker -H $SOCKET config inspect -f '{{.Spec.Name}} {{.Spec.Labels.a}}' text",
        ),
        expected: "text b",
    },
    Case {
        proves: &["configs.*.environment"],
        yaml: "configs: [of_variable]",
        look: OnHost("[ \"$(cat /proc/$PID/root/of_variable)\" = \"$HOME\" ] && echo same"),
        expected: "same",
    },
];

#[test]
fn what_is_mounted() {
    let host = Host::new();
    host.import_with("files:1", &[("etc/part/text", "0:0 644", "of the image\n")]);
    host.wharfie("volume create kept").succeeds();
    for (kind, content) in [("secret", "a person's"), ("config", "a person's too")] {
        let file = host.path(kind);
        fs::write(&file, format!("{content}\n")).unwrap();
        let config = if kind == "config" { "--config" } else { "" };
        let create = format!("secret create {config} kept {}", file.display());
        host.wharfie(&create).succeeds();
    }
    let beside = host.project(PROJECT, "");
    fs::write(beside.with_file_name("secret.txt"), "secret\n").unwrap();
    let outer = beside.with_file_name("outer");
    let inner = outer.join("inner");
    fs::create_dir_all(&inner).unwrap();
    host.shell(&format!(
        "mount -t tmpfs none {0} && touch {0}/below",
        inner.display()
    ))
    .succeeds();
    check(&host, SECTIONS, CASES);
    host.wharfie("volume rm kept").succeeds();
    for kind in ["secret", "config"] {
        let docker = format!("docker -H {} {kind}", host.socket());
        let left = host.shell(&format!(
            "{docker} ls -q --filter name=kept | wc -l; {docker} rm kept"
        ));
        assert_eq!(left.succeeds().stdout, "1\nkept\n");
        let left = host.shell(&format!("{docker} ls -q")).succeeds();
        assert_eq!(left.stdout, "", "what the stack brought has gone with it");
    }
    host.leaves_nothing();
}
