use std::fs;

use super::Registry;

/// Two files in one directory; the edits of these devices, or why there are none.
#[track_caller]
fn check(names: &[&str], expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let json = r#"{
        "cdiVersion": "0.6.0", "kind": "vendor.com/net",
        "devices": [{"name": "a", "containerEdits": {
            "deviceNodes": [{"path": "/dev/vendor0", "hostPath": "/dev/null", "permissions": "r"}],
            "env": ["A=1"]}}],
        "containerEdits": {"env": ["ALL=1"], "additionalGIDs": [44],
            "mounts": [{"hostPath": "/lib", "containerPath": "/vendor", "options": ["ro", "bind"]}]}}"#;
    let yaml = "
kind: other.com/gpu
devices:
  - name: '0'
    containerEdits:
      hooks: [{hookName: createContainer, path: /bin/hook, args: [hook, links]}]
  - name: 'late'
    containerEdits:
      hooks: [{hookName: poststop, path: /bin/hook, args: [hook]}]
  - {name: '1', containerEdits: {env: [B=1]}}
";
    fs::write(directory.path().join("vendor.json"), json).unwrap();
    fs::write(directory.path().join("other.yaml"), yaml).unwrap();
    fs::write(directory.path().join("broken.json"), "{").unwrap();
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let found = match Registry::read(&[directory.path()]).edits(&names) {
        Err(error) => error.to_string(),
        Ok(it) => {
            let nodes = it.device_nodes.iter();
            let nodes = nodes.map(|it| format!("{}<{} {}", it.path, it.host_path, it.permissions));
            let mounts = it.mounts.iter();
            let mounts = mounts.map(|it| format!("{}<{}", it.container_path, it.host_path));
            let gids = it.additional_gids.iter().map(u32::to_string);
            let all = it
                .env
                .iter()
                .cloned()
                .chain(nodes)
                .chain(mounts)
                .chain(gids);
            let hooks = it.hooks.iter().map(|it| it.args.join(" "));
            all.chain(hooks).collect::<Vec<_>>().join(", ")
        }
    };
    assert_eq!(found, expected);
}

#[test]
fn a_device_brings_what_its_file_says_of_all_and_of_itself() {
    check(
        &["vendor.com/net=a"],
        "ALL=1, A=1, /dev/vendor0</dev/null r, /vendor</lib, 44",
    );
    check(&["other.com/gpu=1", "other.com/gpu=1"], "B=1");
    check(&["other.com/gpu=0"], "hook links");
}

#[test]
fn what_cannot_be_given_is_refused_by_name() {
    check(
        &["vendor.com/net=b"],
        "there is no device `vendor.com/net=b` on this host",
    );
    check(
        &["other.com/gpu=late"],
        "device `other.com/gpu=late` needs the hook /bin/hook (poststop), and hooks of this kind are not run",
    );
    check(
        &["null"],
        "`null` is not the name of a device, `vendor.com/class=name`",
    );
}
