//! Why there is no node for a container, in words.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::container::Protocol;

/// Why a container has no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplaceable {
    NoNodes,
    /// A volume that it uses is being deleted.
    VolumeLeaves {
        volume: String,
    },
    Constraint {
        error: String,
    },
    /// Two containers whose namespaces or volumes it shares are on different nodes.
    Apart {
        one: String,
        other: String,
    },
    /// Each node's first objection, counted.
    Refused(BTreeMap<Objection, usize>),
}

/// What speaks against a node, in the order in which it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    Down,
    /// Not down yet, but it may be about to be.
    Silent,
    Paused,
    Drained,
    /// The container belongs to one node, and this is another.
    NotItsNode,
    LacksConstraint {
        constraint: String,
    },
    OtherPlatform {
        platform: String,
    },
    HasNotTheVolume {
        volume: String,
    },
    /// It shares a namespace or volumes with this container, which is on another node.
    NotBeside {
        container: String,
    },
    EnoughReplicas {
        most: u32,
    },
    TooFewCpus,
    TooLittleMemory,
    TooFew {
        resource: String,
    },
    PortTaken {
        port: u16,
        protocol: Protocol,
    },
}

impl Unplaceable {
    /// The same objection from every one of `count` nodes.
    pub fn refused(objection: Objection, count: usize) -> Self {
        Self::Refused(BTreeMap::from([(objection, count)]))
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Silent => f.write_str("not heard of for a moment"),
            Self::Paused => f.write_str("paused"),
            Self::Drained => f.write_str("drained"),
            Self::NotItsNode => f.write_str("not the one it belongs to"),
            Self::LacksConstraint { constraint } => write!(f, "without `{constraint}`"),
            Self::OtherPlatform { platform } => write!(f, "not of platform {platform}"),
            Self::HasNotTheVolume { volume } => write!(f, "without the data of volume `{volume}`"),
            Self::NotBeside { container } => {
                write!(
                    f,
                    "without container {container}, whose namespace or volumes it shares"
                )
            }
            Self::EnoughReplicas { most } => write!(f, "with {most} of its containers already"),
            Self::TooFewCpus => f.write_str("with too few CPUs"),
            Self::TooLittleMemory => f.write_str("with too little memory"),
            Self::TooFew { resource } => write!(f, "with too few of `{resource}`"),
            Self::PortTaken { port, protocol } => {
                write!(f, "with port {port}/{} taken", protocol.as_str())
            }
        }
    }
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodes => f.write_str("no node has joined yet"),
            Self::VolumeLeaves { volume } => {
                write!(f, "waiting until volume {volume} has been deleted")
            }
            Self::Constraint { error } => write!(f, "no node can run it: {error}"),
            Self::Apart { one, other } => write!(
                f,
                "no node can run it: it shares namespaces or volumes with {one} and {other}, which are on different nodes"
            ),
            Self::Refused(objections) => {
                f.write_str("no node can run it: ")?;
                for (number, (objection, count)) in by_count(objections).into_iter().enumerate() {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}{count} {objection}")?;
                }
                Ok(())
            }
        }
    }
}

/// The most frequent first.
fn by_count(objections: &BTreeMap<Objection, usize>) -> Vec<(&Objection, usize)> {
    let mut all: Vec<_> = objections.iter().map(|(it, count)| (it, *count)).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}
