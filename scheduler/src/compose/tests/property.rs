//! What holds for every input.

use proptest::prelude::*;

use super::Case;

/// Pieces that Compose files are made of, put together at random: far likelier than random text to
/// get deep into the loader.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "services:\n",
        "  web:\n",
        "    image: x\n",
        "    ports: [\"80:80\", 1-2:3-4/udp]\n",
        "    ports: !reset []\n",
        "    volumes: [a:/b, ./c:/d:ro, {type: bind}]\n",
        "    environment: {A: 1, B: , C: $X}\n",
        "    environment: [A, B=$$]\n",
        "    depends_on: [web]\n",
        "    depends_on: {db: {condition: service_healthy}}\n",
        "  db: &db\n",
        "    <<: *db\n",
        "    extends: db\n",
        "    extends: {file: compose.yaml, service: web}\n",
        "include: [compose.yaml]\n",
        "networks:\n",
        "  default: {ipam: {config: [{subnet: 10.0.0.0/8}]}}\n",
        "    networks: {default: {ipv4_address: 1.2.3.4}}\n",
        "secrets: {s: {content: x}}\n",
        "    secrets: [s]\n",
        "    deploy: {replicas: ${N:-2}, resources: {limits: {cpus: .5}}}\n",
        "    healthcheck: {test: [CMD], interval: 1h}\n",
        "    command: \"a 'b\"\n",
        "    tmpfs: /t:size=1,x\n",
        "x-a: &a [*a]\n",
        "---\n",
        "volumes: {a: {external: {name: b}}}\n",
        "    logging: {driver: x, options: {max-size: y}}\n",
        "\"",
        "{",
        "[",
        "ä\t",
        "- ",
        ": ",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_loader_panic(pieces in proptest::collection::vec(piece(), 0..12)) {
        match Case::new(&format!("=== compose.yaml\n{}", pieces.concat())).load() {
            Ok(project) => drop(project.canonical().to_yaml()),
            Err(failure) => prop_assert!(!failure.to_string().is_empty()),
        }
    }

    #[test]
    fn texts_survive_printing_and_reading(text in any::<String>()) {
        let json = serde_json::to_string(&text.replace('$', "$$")).unwrap();
        let case = Case::new(&format!("services: {{a: {{image: b, labels: {{k: {json}}}}}}}"));
        let Ok(first) = case.load() else { return Ok(()) };
        let printed = first.canonical().to_yaml();
        let second = Case::new(&printed).project();
        prop_assert_eq!(&second.stack.services["a"].container.labels, &first.stack.services["a"].container.labels);
    }
}

#[test]
fn a_canonical_file_is_its_own_canonical_form() {
    let text = include_str!("everything.yaml");
    let first = Case::new(text).project();
    let printed = first.canonical().to_yaml();
    let second = Case::new(&printed).project();
    assert_eq!(second.canonical().to_yaml(), printed);
    assert_eq!(second.stack, first.stack);
}
