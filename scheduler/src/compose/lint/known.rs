//! What is known about well-known images.
//!
//! Source: the images' own documentation on Docker Hub, as of 2026.

/// An image reference in its parts, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    pub(super) repository: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon before a slash is that of a registry's port.
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (name, None),
        };
        Self {
            repository,
            tag,
            digest,
        }
    }

    fn last_part(self) -> &'a str {
        self.repository
            .rsplit_once('/')
            .map_or(self.repository, |(_, last)| last)
    }

    /// Whether it is one of Docker's official images: `postgres`, `docker.io/library/postgres`.
    fn is_official(self) -> bool {
        let name = self.last_part();
        let prefix = self.repository.strip_suffix(name).unwrap_or_default();
        matches!(
            prefix,
            "" | "library/" | "docker.io/" | "docker.io/library/"
        )
    }
}

/// A server that keeps data.
#[derive(Debug)]
pub(super) struct Database {
    /// Last parts of the repository's name.
    names: &'static [&'static str],
    pub(super) port: u16,
    /// Where it keeps its data; empty for one that is often a mere cache.
    pub(super) data: &'static [&'static str],
}

static DATABASES: &[Database] = &[
    Database {
        names: &[
            "postgres",
            "postgresql",
            "postgis",
            "timescaledb",
            "pgvector",
        ],
        port: 5432,
        data: &["/var/lib/postgresql", "/bitnami/postgresql"],
    },
    Database {
        names: &["mysql", "mariadb", "percona", "mysql-server"],
        port: 3306,
        data: &["/var/lib/mysql", "/bitnami/mysql", "/bitnami/mariadb"],
    },
    Database {
        names: &["mongo", "mongodb", "mongodb-community-server"],
        port: 27017,
        data: &["/data/db", "/bitnami/mongodb"],
    },
    Database {
        names: &["redis", "valkey", "keydb", "dragonfly"],
        port: 6379,
        data: &[],
    },
    Database {
        names: &["memcached"],
        port: 11211,
        data: &[],
    },
    Database {
        names: &["elasticsearch"],
        port: 9200,
        data: &["/usr/share/elasticsearch/data"],
    },
    Database {
        names: &["opensearch"],
        port: 9200,
        data: &["/usr/share/opensearch/data"],
    },
    Database {
        names: &["cassandra"],
        port: 9042,
        data: &["/var/lib/cassandra"],
    },
    Database {
        names: &["couchdb"],
        port: 5984,
        data: &["/opt/couchdb/data"],
    },
    Database {
        names: &["influxdb"],
        port: 8086,
        data: &["/var/lib/influxdb", "/var/lib/influxdb2"],
    },
    Database {
        names: &["clickhouse", "clickhouse-server"],
        port: 8123,
        data: &["/var/lib/clickhouse"],
    },
    Database {
        names: &["neo4j"],
        port: 7687,
        data: &["/data"],
    },
];

/// Official images without a health check of their own.
static UNCHECKED: &[&str] = &[
    "alpine",
    "busybox",
    "caddy",
    "cassandra",
    "couchdb",
    "debian",
    "eclipse-temurin",
    "golang",
    "haproxy",
    "httpd",
    "influxdb",
    "mariadb",
    "memcached",
    "mongo",
    "mysql",
    "nginx",
    "node",
    "php",
    "postgres",
    "python",
    "rabbitmq",
    "redis",
    "ruby",
    "traefik",
    "ubuntu",
    "valkey",
];

pub(super) fn database(image: &str) -> Option<&'static Database> {
    let name = Reference::parse(image).last_part();
    DATABASES.iter().find(|it| it.names.contains(&name))
}

/// Whether the image is known to bring no health check.
pub(super) fn has_no_healthcheck(image: &str) -> bool {
    let reference = Reference::parse(image);
    reference.is_official() && UNCHECKED.contains(&reference.last_part())
}
