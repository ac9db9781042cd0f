use super::*;

/// Reads a create body, and tells what inspect would let be created from the result.
fn read(json: &str) -> Result<ServiceSpec, EngineError> {
    let body: CreateBody = serde_json::from_str(json).unwrap();
    let network = |name: &str| matches!(name, "net1" | "net2").then(|| name.to_owned());
    let ports = ["80/tcp".to_owned(), "53/udp".to_owned()];
    service(
        None,
        &body,
        &Surroundings {
            network: &network,
            image_ports: &ports,
        },
    )
}

fn container(json: &str) -> ContainerSpec {
    ContainerSpec::clone(&read(json).unwrap().container)
}

#[track_caller]
fn refuses(json: &str, expected: &str) {
    assert_eq!(read(json).unwrap_err().to_string(), expected, "{json}");
}

#[test]
fn what_the_docker_cli_sends_for_nothing_is_nothing() {
    let spec = container(
        r#"{"Image":"bb","Cmd":null,"Entrypoint":[],"Env":[],"Volumes":{},"HostConfig":{
            "Binds":null,"NetworkMode":"default","MemorySwappiness":-1,"PidsLimit":0,
            "RestartPolicy":{"Name":"no","MaximumRetryCount":0},"Memory":0,"NanoCpus":0,
            "LogConfig":{"Type":"","Config":{}},"ConsoleSize":[0,0],"ShmSize":0},
            "NetworkingConfig":{"EndpointsConfig":{"default":{}}}}"#
            .replace("\"Cmd\":null,", "")
            .replace("\"Entrypoint\":[],", "")
            .replace("\"Binds\":null,", "")
            .as_str(),
    );
    let expected = ContainerSpec {
        image: "bb".into(),
        network: NetworkMode::Attached(vec![NetworkAttachment {
            network: DEFAULT_NETWORK.into(),
            ..NetworkAttachment::default()
        }]),
        ..ContainerSpec::default()
    };
    assert_eq!(spec, expected);
}

#[test]
fn a_command_may_be_a_text_or_a_list() {
    assert_eq!(
        container(r#"{"Image":"bb","Entrypoint":"/x","Cmd":["a","b"]}"#).entrypoint,
        Some(vec!["/x".to_owned()])
    );
    assert_eq!(
        container(r#"{"Image":"bb","Entrypoint":[]}"#).entrypoint,
        Some(vec![])
    );
}

#[test]
fn networks_are_found_by_name_and_joined_in_one_go() {
    let spec = container(
        r#"{"Image":"bb","HostConfig":{"NetworkMode":"net1"},"NetworkingConfig":{
            "EndpointsConfig":{"net1":{"Aliases":["a"]},"net2":{}}}}"#,
    );
    let NetworkMode::Attached(attachments) = spec.network else {
        unreachable!()
    };
    assert_eq!(
        attachments.len(),
        2,
        "net1 with its alias, and net2: {attachments:?}"
    );
    assert_eq!(attachments[0].aliases, ["a"]);
    refuses(
        r#"{"Image":"bb","HostConfig":{"NetworkMode":"nope"}}"#,
        "network nope not found",
    );
}

#[test]
fn all_ports_of_the_image_are_published_on_request() {
    let spec = container(
        r#"{"Image":"bb","HostConfig":{"PublishAllPorts":true,
            "PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080-8090"}]}}}"#,
    );
    let ports: Vec<_> = spec
        .ports
        .iter()
        .map(|port| (port.target, port.published))
        .collect();
    assert_eq!(ports, [(80, Some((8080, 8090))), (53, None)]);
}

#[test]
fn what_makes_no_sense_is_refused_in_docker_s_words() {
    refuses(r#"{}"#, "no image was given: `Image` is empty");
    let host = |fields: &str| format!(r#"{{"Image":"bb","HostConfig":{{{fields}}}}}"#);
    refuses(
        &host(r#""Memory":1"#),
        "Minimum memory limit allowed is 6MB",
    );
    refuses(
        &host(r#""PortBindings":{"80/tcp":[{"HostPort":"99999"}]}"#),
        "invalid hostPort: 99999",
    );
    refuses(
        &host(r#""Binds":["/a:/x","/b:/x"]"#),
        "Duplicate mount point: /x",
    );
    refuses(
        &host(r#""RestartPolicy":{"Name":"always"},"AutoRemove":true"#),
        "can't create 'AutoRemove' container with restart policy",
    );
    refuses(
        &host(r#""VolumesFrom":["x"]"#),
        "`HostConfig.VolumesFrom` is not supported by wharfie",
    );
    refuses(
        &host(r#""SecurityOpt":["nonsense"]"#),
        "invalid --security-opt 1: \"nonsense\"",
    );
}

#[test]
fn what_inspect_says_can_be_created_again() {
    let spec = container(
        r#"{"Image":"bb","HostConfig":{
            "Binds":["/a:/x:ro","vol:/y"],"Tmpfs":{"/t":"size=1m"},
            "Mounts":[{"Type":"bind","Source":"/m","Target":"/m","BindOptions":{"Propagation":"rslave"}}],
            "PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]},
            "Memory":67108864,"NanoCpus":1500000000,"PidsLimit":50,"CpuShares":512,
            "CapAdd":["NET_ADMIN"],"CapDrop":["ALL"],"SecurityOpt":["no-new-privileges:true","seccomp=unconfined"],
            "ExtraHosts":["a:1.2.3.4","gw:host-gateway"],"Dns":["1.1.1.1"],"Init":true,
            "Devices":[{"PathOnHost":"/dev/null"}],"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}],
            "IpcMode":"shareable","PidMode":"host","ReadonlyRootfs":true,"ShmSize":1048576,
            "LogConfig":{"Type":"json-file","Config":{"max-size":"1m","max-file":"3"}}}}"#,
    );
    let again = CreateBody {
        config: Config {
            image: "bb".into(),
            ..Config::default()
        },
        host_config: super::super::inspect::host_config_of(&spec),
        ..CreateBody::default()
    };
    let body = serde_json::to_value(&again.host_config).unwrap();
    let host_config = serde_json::from_value(drop_nulls(body)).unwrap();
    let again = CreateBody {
        host_config,
        ..again
    };
    let around = Surroundings {
        network: &|_| None,
        image_ports: &[],
    };
    let mut made = ContainerSpec::clone(&service(None, &again, &around).unwrap().container);
    made.security.unconfined_system_paths = false;
    assert_eq!(made, spec);
}

fn drop_nulls(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    value
}
