//! `/etc/resolv.conf`: the host's, read again whenever it changes, and what containers get.
//!
//! Source: resolv.conf(5).

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

// glibc takes no more (MAXNS in resolv.h).
const MAX_SERVERS: usize = 3;

/// The host's name servers, as of now.
pub(super) struct HostResolvers {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<[IpAddr]>)>>,
}

/// Tells one version of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl HostResolvers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: Mutex::new(None),
        }
    }

    /// The servers; none when the file is missing. Costs one stat(2) when nothing has changed.
    pub(super) fn servers(&self) -> Arc<[IpAddr]> {
        let Ok(metadata) = fs::metadata(&self.path) else {
            return Arc::from([]);
        };
        let stamp = Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, servers)) = &*read
            && *seen == stamp
        {
            return Arc::clone(servers);
        }
        let servers: Arc<[IpAddr]> =
            nameservers(&fs::read_to_string(&self.path).unwrap_or_default()).into();
        *read = Some((stamp, Arc::clone(&servers)));
        servers
    }
}

/// What the container's `/etc/resolv.conf` says.
///
/// Without `search`, the host's search list is taken; `["."]` is none at all, as in Docker.
pub fn resolv_conf(search: &[String], options: &[String]) -> String {
    let host = fs::read_to_string(Path::new("/etc/resolv.conf")).unwrap_or_default();
    container_file(&host, search, options)
}

fn container_file(host: &str, search: &[String], options: &[String]) -> String {
    let mut text = String::from("nameserver 127.0.0.11\n");
    let search: Vec<&str> = match search {
        [] => last_list(host, "search"),
        [dot] if dot == "." => Vec::new(),
        given => given.iter().map(String::as_str).collect(),
    };
    let search: Vec<&str> = search.into_iter().filter(|word| is_word(word)).collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    let mut options: Vec<&str> = match options {
        [] => last_list(host, "options"),
        given => given.iter().map(String::as_str).collect(),
    };
    options.retain(|word| is_word(word));
    // A service's name has no dot and must be asked for as it is first.
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        options.push("ndots:0");
    }
    text.push_str(&format!("options {}\n", options.join(" ")));
    text
}

/// Nothing that would start another line.
fn is_word(word: &str) -> bool {
    !word.is_empty() && !word.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn nameservers(text: &str) -> Vec<IpAddr> {
    let servers = lines(text, "nameserver").filter_map(|mut words| {
        // A scope (`fe80::1%eth0`) cannot be reached from another namespace's view anyway.
        words.next()?.parse().ok()
    });
    servers.take(MAX_SERVERS).collect()
}

/// The words after the last line with that keyword.
fn last_list<'a>(text: &'a str, keyword: &'a str) -> Vec<&'a str> {
    lines(text, keyword)
        .last()
        .map(Iterator::collect)
        .unwrap_or_default()
}

fn lines<'a>(
    text: &'a str,
    keyword: &'a str,
) -> impl Iterator<Item = std::str::SplitAsciiWhitespace<'a>> {
    text.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(keyword)).then_some(words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_hosts_servers_are_read() {
        let text = "# nameserver 1.1.1.1\nnameserver 127.0.0.53\nsearch a b\n nameserver ::1 x\nnameserver bad\noptions edns0\n";
        let expected: [IpAddr; 2] = ["127.0.0.53".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(nameservers(text), expected);
    }

    #[test]
    fn containers_take_over_search_and_options_unless_told_otherwise() {
        let host = "nameserver 192.0.2.1\nsearch old\nsearch example.com\noptions timeout:1\n";
        let check = |search: &[&str], options: &[&str], expected: &str| {
            assert_eq!(
                container_file(host, &words(search), &words(options)),
                format!("nameserver 127.0.0.11\n{expected}")
            );
        };
        check(&[], &[], "search example.com\noptions timeout:1 ndots:0\n");
        check(&["."], &["ndots:2"], "options ndots:2\n");
        check(
            &["a", "b"],
            &["rotate"],
            "search a b\noptions rotate ndots:0\n",
        );
        check(&["a\nnameserver 6.6.6.6"], &["x\ny"], "options ndots:0\n");
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let host = HostResolvers::new(path.clone());
        assert!(host.servers().is_empty());
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(host.servers()[..], ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        fs::write(&path, "nameserver 192.0.2.22\n").unwrap();
        assert_eq!(
            host.servers()[..],
            ["192.0.2.22".parse::<IpAddr>().unwrap()]
        );
    }
}
