//! Mount options as an OCI configuration writes them, taken apart.

use nix::mount::MsFlags;

/// What a list of options says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) bind: bool,
    /// Brings the mounts below the source along.
    pub(super) recursive: bool,
    /// For a new file system.
    pub(super) flags: MsFlags,
    /// The same for a bind, as `MOUNT_ATTR_*`.
    pub(super) attributes: u64,
    /// `rro` and the like: the attributes also hold for the mounts below.
    pub(super) recursive_attributes: bool,
    pub(super) propagation: Option<MsFlags>,
    /// What the file system itself reads, e.g. `size=64m`.
    pub(super) data: Vec<String>,
}

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const NODIRATIME: u64 = 0x80;

impl Options {
    pub(super) fn parse(words: &[String]) -> Self {
        let mut options = Self {
            bind: false,
            recursive: false,
            flags: MsFlags::empty(),
            attributes: 0,
            recursive_attributes: false,
            propagation: None,
            data: Vec::new(),
        };
        for word in words {
            options.take(word);
        }
        options
    }

    fn take(&mut self, word: &str) {
        match word {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "ro" => self.set(MsFlags::MS_RDONLY, RDONLY),
            "rw" => self.clear(MsFlags::MS_RDONLY, RDONLY),
            "rro" => {
                self.set(MsFlags::MS_RDONLY, RDONLY);
                self.recursive_attributes = true;
            }
            "nosuid" => self.set(MsFlags::MS_NOSUID, NOSUID),
            "suid" => self.clear(MsFlags::MS_NOSUID, NOSUID),
            "nodev" => self.set(MsFlags::MS_NODEV, NODEV),
            "dev" => self.clear(MsFlags::MS_NODEV, NODEV),
            "noexec" => self.set(MsFlags::MS_NOEXEC, NOEXEC),
            "exec" => self.clear(MsFlags::MS_NOEXEC, NOEXEC),
            "nodiratime" => self.set(MsFlags::MS_NODIRATIME, NODIRATIME),
            "noatime" => self.flags |= MsFlags::MS_NOATIME,
            "relatime" => self.flags |= MsFlags::MS_RELATIME,
            "strictatime" => self.flags |= MsFlags::MS_STRICTATIME,
            "sync" => self.flags |= MsFlags::MS_SYNCHRONOUS,
            "private" => self.propagation = Some(MsFlags::MS_PRIVATE),
            "rprivate" => self.propagation = Some(MsFlags::MS_PRIVATE | MsFlags::MS_REC),
            "shared" => self.propagation = Some(MsFlags::MS_SHARED),
            "rshared" => self.propagation = Some(MsFlags::MS_SHARED | MsFlags::MS_REC),
            "slave" => self.propagation = Some(MsFlags::MS_SLAVE),
            "rslave" => self.propagation = Some(MsFlags::MS_SLAVE | MsFlags::MS_REC),
            // Notes for other tools, without a meaning to the kernel.
            "defaults" | "async" | "z" | "Z" | "tmpcopyup" | "" => {}
            data => self.data.push(data.to_owned()),
        }
    }

    fn set(&mut self, flag: MsFlags, attribute: u64) {
        self.flags |= flag;
        self.attributes |= attribute;
    }

    fn clear(&mut self, flag: MsFlags, attribute: u64) {
        self.flags &= !flag;
        self.attributes &= !attribute;
    }
}

/// The flag for the whole tree that `linux.rootfsPropagation` names; `rslave` by default, so that
/// what is unmounted on the host does not stay busy in here, and nothing goes the other way.
pub(in crate::container) fn root_propagation(name: Option<&str>) -> MsFlags {
    MsFlags::MS_REC
        | match name {
            Some("shared" | "rshared") => MsFlags::MS_SHARED,
            Some("private" | "rprivate") => MsFlags::MS_PRIVATE,
            _ => MsFlags::MS_SLAVE,
        }
}
