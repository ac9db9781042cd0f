//! What `config` prints.

use super::Case;

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(Case::new(text).project().canonical().to_yaml(), expected);
}

#[test]
fn fills_in_the_network_and_the_names() {
    check(
        "services: {web: {image: nginx}}",
        "\
name: shop
services:
  web:
    image: nginx
    networks:
      default: null
networks:
  default:
    name: shop_default
",
    );
}

#[test]
fn brings_short_forms_into_long_ones() {
    check(
        r#"
services:
  web:
    image: nginx
    network_mode: none
    command: echo "a b" $$HOME
    ports: ["8000-8001:80-81/udp", "127.0.0.1::53", 9]
    volumes: [data:/d/../e:ro, ./x:/x, ~/y:/y:z, /only]
    environment: [A=1, B, SET]
    extra_hosts: {b: host-gateway, a: "[::1]"}
    healthcheck: {test: "true", interval: 90s}
    mem_limit: 64m
    ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
    secrets: [token]
    depends_on: [db]
    dns: 1.1.1.1
  db: {image: pg, network_mode: none}
volumes: {data: {}}
secrets: {token: {environment: SET}}
"#,
        r#"name: shop
services:
  db:
    image: pg
    network_mode: none
  web:
    command:
      - echo
      - a b
      - $$HOME
    depends_on:
      db:
        condition: service_started
        required: true
    dns:
      - 1.1.1.1
    environment:
      A: "1"
      B: null
      SET: value
    extra_hosts:
      - a=::1
      - b=host-gateway
    healthcheck:
      test:
        - CMD-SHELL
        - "true"
      interval: 1m30s
    image: nginx
    mem_limit: "67108864"
    network_mode: none
    ports:
      - mode: ingress
        target: 80
        published: "8000"
        protocol: udp
      - mode: ingress
        target: 81
        published: "8001"
        protocol: udp
      - mode: ingress
        host_ip: 127.0.0.1
        target: 53
        protocol: tcp
      - mode: ingress
        target: 9
        protocol: tcp
    secrets:
      - source: token
        target: /run/secrets/token
    ulimits:
      nofile:
        soft: 1
        hard: 2
      nproc: 3
    volumes:
      - type: volume
        source: data
        target: /e
        read_only: true
        volume: {}
      - type: bind
        source: /shop/x
        target: /x
        bind:
          create_host_path: true
      - type: bind
        source: /home/me/y
        target: /y
        bind:
          selinux: z
          create_host_path: true
      - type: volume
        target: /only
        volume: {}
volumes:
  data:
    name: shop_data
secrets:
  token:
    name: shop_token
    environment: SET
"#,
    );
}

#[test]
fn quotes_only_where_something_else_would_be_read() {
    check(
        r##"
services:
  a:
    image: "y"
    network_mode: none
    labels:
      - "number=12"
      - "float=1."
      - "time=1:30"
      - "date=2020-01-01"
      - "comment=# c"
      - "pair=x: y"
      - "star=*x"
      - "dash=-"
      - "quote=a'b"
      - "empty="
"##,
        r##"name: shop
services:
  a:
    image: "y"
    labels:
      comment: '# c'
      dash: '-'
      date: "2020-01-01"
      empty: ""
      float: "1."
      number: "12"
      pair: 'x: y'
      quote: a'b
      star: '*x'
      time: "1:30"
    network_mode: none
"##,
    );
}

#[test]
fn keeps_keys_of_the_user_with_their_types() {
    check(
        "x-top: [1, 1.5, true, null, text, '1']\nservices:\n  a: {image: b, network_mode: none, x-own: {k: v}}\n",
        "\
name: shop
services:
  a:
    image: b
    network_mode: none
    x-own:
      k: v
x-top:
  - 1
  - 1.5
  - true
  - null
  - text
  - \"1\"
",
    );
}

#[test]
fn json_has_the_keys_that_tools_expect() {
    let project = Case::new("services: {a: {image: b, deploy: {replicas: 2}}}").project();
    let json = serde_json::to_string(&project.canonical().json()).unwrap();
    assert_eq!(
        json,
        r#"{"name":"shop","networks":{"default":{"name":"shop_default","ipam":{}}},"services":{"a":{"command":null,"deploy":{"replicas":2,"resources":{},"placement":{}},"entrypoint":null,"image":"b","networks":{"default":null}}}}"#
    );
}

#[test]
fn expressions_stay_when_they_are_not_filled_in() {
    let mut case = Case::new(
        "services:\n  a: {image: 'x:${V:-1}', deploy: {replicas: '${N}'}, ports: ['${P}:80'], command: run $X}",
    );
    case.options.steps.interpolate = false;
    let text = case.project().canonical().to_yaml();
    for part in ["x:${V:-1}", "replicas: ${N}", "${P}:80", "run $X"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn expressions_that_stay_are_read_again() {
    let text = "services:\n  a: {image: x, ports: ['${P}:80'], volumes: ['${V:-./a:b}:/c'], command: 'a $X', tty: $T}";
    let mut case = Case::new(text);
    case.options.steps.interpolate = false;
    let printed = case.project().canonical().to_yaml();
    let mut again = Case::new(&printed);
    again.options.steps.interpolate = false;
    assert_eq!(again.project().canonical().to_yaml(), printed);
}

/// What is left out would be a source, or a number, that is missing when the output is read again.
#[test]
fn nothing_that_says_something_is_left_out() {
    let text = "\
services: {a: {image: x, network_mode: none, configs: [c], gpus: [{driver: d, count: 0}]}}
configs: {c: {content: ''}}
";
    let mut case = Case::new(text);
    case.options.steps.purpose = crate::compose::Purpose::Show;
    let printed = case.project().canonical().to_yaml();
    assert!(printed.contains("        count: 0\n"), "{printed}");
    assert!(printed.contains("    content: \"\"\n"), "{printed}");
    let mut again = Case::new(&printed);
    again.options.steps.purpose = crate::compose::Purpose::Show;
    assert_eq!(again.project().canonical().to_yaml(), printed);
}
