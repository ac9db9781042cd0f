//! Every example runs, and does what its README says.

use crate::support::{Host, binary, eventually, root};

fn example(name: &str) -> String {
    root()
        .join("examples")
        .join(name)
        .join("compose.yaml")
        .display()
        .to_string()
}

#[test]
fn hello_answers_on_its_published_port() {
    let host = Host::new();
    let file = example("hello");
    host.wharfie_with(&["-f", &file, "up", "-d"]).succeeds();
    eventually("it answers", || host.get("http://127.0.0.1:8081/"));
    assert_eq!(
        host.get("http://127.0.0.1:8081/").unwrap(),
        "Hello from wharfie.\n"
    );
    host.wharfie_with(&["-f", &file, "down"]).succeeds();
    host.leaves_nothing();
}

#[test]
fn the_app_starts_only_after_the_migration_has_completed() {
    let host = Host::new();
    let file = example("job");
    host.wharfie_with(&["-f", &file, "up", "-d"]).succeeds();
    eventually("the app has started", || {
        let logs = host.wharfie_with(&["-f", &file, "logs", "--no-color", "app"]);
        if logs.stdout.contains("started with schema 3") {
            Ok(())
        } else {
            Err(logs.to_string())
        }
    });
    host.wharfie_with(&["-f", &file, "down", "-v"]).succeeds();
    host.leaves_nothing();
}

#[test]
fn containers_reach_their_neighbours_and_nobody_else() {
    let host = Host::new();
    let file = example("networks");
    host.wharfie_with(&["-f", &file, "up", "-d"]).succeeds();
    let fetch_within = |seconds: &str, from: &str, name: &str| {
        // Busybox's own time limit, `wget -T`, crashes in Debian's build of it.
        let url = format!("http://{name}/");
        host.wharfie_with(&[
            "-f", &file, "exec", "-T", from, "timeout", seconds, "wget", "-qO-", &url,
        ])
    };
    let fetch = |from: &str, name: &str| fetch_within("30", from, name);
    // httpd without a page answers 404: it was reached.
    for (from, name) in [
        ("proxy", "web"),
        ("proxy", "www"),
        ("proxy", "db"),
        ("web", "proxy"),
        ("db", "proxy"),
    ] {
        eventually(&format!("{from} reaches {name}"), || {
            let ran = fetch(from, name);
            if ran.stderr.contains("404") {
                Ok(())
            } else {
                Err(ran.to_string())
            }
        });
    }
    fetch("web", "db").says("bad address");
    // Nothing comes back: it would wait for ever.
    fetch_within("2", "web", "10.123.45.10").fails_with(143);
    fetch("db", "web").says("bad address");
    host.wharfie_with(&["-f", &file, "down"]).succeeds();
    host.leaves_nothing();
}

#[test]
fn the_shop_serves_and_finds_its_data_again() {
    let host = Host::new();
    for (name, tag, changes) in SHOP_IMAGES {
        host.import(name, tag, changes);
    }
    let file = example("shop");
    host.wharfie_with(&["-f", &file, "up", "-d", "--wait"])
        .succeeds();
    let page = host.get("http://127.0.0.1:8080/").unwrap();
    assert!(page.contains("\"orders\": 0"), "{page}");
    host.shell("curl -sf -X POST http://127.0.0.1:8080/orders")
        .succeeds();
    host.wharfie_with(&["-f", &file, "down"]).succeeds();
    host.leaves_nothing();
    host.wharfie_with(&["-f", &file, "up", "-d", "--wait"])
        .succeeds();
    let page = host.get("http://127.0.0.1:8080/").unwrap();
    assert!(page.contains("\"orders\": 1"), "{page}");
    host.wharfie_with(&["-f", &file, "down", "-v"]).succeeds();
    host.leaves_nothing();
    assert_eq!(host.wharfie("volume ls -q").succeeds().stdout, "");
}

#[test]
fn the_cluster_answers_on_each_of_its_hosts_and_leaves_nothing() {
    let host = Host::bare();
    let script = root().join("examples/cluster/run.sh");
    let mut command = host.command(script.to_str().unwrap());
    let ran = command.env("WHARFIE", binary()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let all = format!("{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{all}");
    let answers: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(": Hello from another host. This is container "))
        .collect();
    assert_eq!(answers.len(), 3, "{all}");
    for (index, answer) in answers.iter().enumerate() {
        assert!(answer.starts_with(&format!("host{}: ", index + 1)), "{all}");
    }
    host.leaves_nothing();
}

const SHOP_IMAGES: [(&str, &str, &[&str]); 4] = [
    (
        "nginx",
        "nginx:1.22",
        &[
            "--change",
            r#"CMD ["nginx","-g","daemon off;"]"#,
            "--change",
            "STOPSIGNAL SIGQUIT",
        ],
    ),
    (
        "redis",
        "redis:7",
        &[
            "--change",
            r#"CMD ["redis-server"]"#,
            "--change",
            "USER redis",
            "--change",
            "WORKDIR /data",
        ],
    ),
    (
        "postgres",
        "postgres:15",
        &[
            "--change",
            r#"ENTRYPOINT ["docker-entrypoint.sh"]"#,
            "--change",
            r#"CMD ["postgres"]"#,
            "--change",
            "USER postgres",
            "--change",
            "ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "--change",
            "ENV PGDATA=/var/lib/postgresql/data",
            "--change",
            "STOPSIGNAL SIGINT",
        ],
    ),
    (
        "shop-app",
        "shop-app:1",
        &[
            "--change",
            r#"CMD ["python3","/app/app.py"]"#,
            "--change",
            "USER nobody",
        ],
    ),
];
