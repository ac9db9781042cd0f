//! Constraints on nodes, as Swarm writes them: `node.labels.zone == a`, `node.hostname != web1`.
//!
//! | attribute | compared with |
//! |---|---|
//! | `node.id`, `node.hostname`, `node.role` | a text |
//! | `node.ip` | an address, or a network (`10.0.0.0/8`) |
//! | `node.platform.os`, `node.platform.arch` | a text; `x86_64` is `amd64`, `aarch64` is `arm64` |
//! | `node.labels.NAME`, `engine.labels.NAME` | a text; a label that a node lacks is an empty one |

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use crate::model::node::Node;

/// One comparison of a node's attribute with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    attribute: Attribute,
    equal: Comparison,
    value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Attribute {
    Id,
    Hostname,
    Role,
    Ip,
    Os,
    Architecture,
    Label(String),
    EngineLabel(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Is,
    IsNot,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConstraintError {
    #[error("constraint `{text}` has neither `==` nor `!=`")]
    NoComparison { text: String },
    #[error("constraint `{text}` compares `{attribute}`, which nodes do not have")]
    UnknownAttribute { text: String, attribute: String },
    #[error(
        "constraint `{text}` compares an address with `{value}`, which is neither address nor network"
    )]
    NoAddress { text: String, value: String },
}

impl Constraint {
    /// # Errors
    ///
    /// Returns [`ConstraintError`] for text without a comparison or with an unknown attribute.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let split = text.split_once("==").map(|parts| (parts, Comparison::Is));
        let split = split.or_else(|| {
            text.split_once("!=")
                .map(|parts| (parts, Comparison::IsNot))
        });
        let Some(((attribute, value), equal)) = split else {
            let text = text.to_owned();
            return Err(ConstraintError::NoComparison { text });
        };
        let attribute = attribute.trim();
        let parsed = Attribute::parse(attribute);
        let attribute = parsed.ok_or_else(|| ConstraintError::UnknownAttribute {
            text: text.to_owned(),
            attribute: attribute.to_owned(),
        })?;
        let value = value.trim().to_owned();
        if attribute == Attribute::Ip && network(&value).is_none() {
            let text = text.to_owned();
            return Err(ConstraintError::NoAddress { text, value });
        }
        Ok(Self {
            attribute,
            equal,
            value,
        })
    }

    /// A label that the node does not have is an empty one; case does not matter (as in Swarm).
    pub fn holds(&self, node: &Node) -> bool {
        let description = &node.description;
        let label = |found: Option<&String>| self.is_value(found.map_or("", String::as_str));
        let same = match &self.attribute {
            Attribute::Id => self.is_value(node.id.as_str()),
            Attribute::Hostname => self.is_value(&description.hostname),
            Attribute::Role => self.is_value(node.role.word()),
            Attribute::Ip => {
                let address = node.address.map(|it| it.ip());
                let network = network(&self.value);
                network
                    .zip(address)
                    .is_some_and(|(net, it)| net.contains(&it))
            }
            Attribute::Os => self.is_value(&description.os),
            Attribute::Architecture => {
                usual(&self.value).eq_ignore_ascii_case(usual(&description.architecture))
            }
            Attribute::Label(name) => label(node.labels.get(name)),
            Attribute::EngineLabel(name) => label(description.engine_labels.get(name)),
        };
        match self.equal {
            Comparison::Is => same,
            Comparison::IsNot => !same,
        }
    }
}

impl Constraint {
    fn is_value(&self, found: &str) -> bool {
        found.eq_ignore_ascii_case(&self.value)
    }
}

/// An address is the network of itself.
fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}

/// Two names for the same architecture.
pub(super) fn usual(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Attribute {
    fn parse(text: &str) -> Option<Self> {
        let label = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
        Some(match text {
            "node.id" => Self::Id,
            "node.hostname" => Self::Hostname,
            "node.role" => Self::Role,
            "node.ip" => Self::Ip,
            "node.platform.os" => Self::Os,
            "node.platform.arch" => Self::Architecture,
            _ => match (label("node.labels."), label("engine.labels.")) {
                (Some(name), _) => Self::Label(name),
                (None, Some(name)) => Self::EngineLabel(name),
                (None, None) => return None,
            },
        })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.equal {
            Comparison::Is => "==",
            Comparison::IsNot => "!=",
        };
        let attribute = match &self.attribute {
            Attribute::Id => "node.id".to_owned(),
            Attribute::Hostname => "node.hostname".to_owned(),
            Attribute::Role => "node.role".to_owned(),
            Attribute::Ip => "node.ip".to_owned(),
            Attribute::Os => "node.platform.os".to_owned(),
            Attribute::Architecture => "node.platform.arch".to_owned(),
            Attribute::Label(name) => format!("node.labels.{name}"),
            Attribute::EngineLabel(name) => format!("engine.labels.{name}"),
        };
        write!(f, "{attribute}{sign}{}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::NodeId;
    use crate::model::node::{NodeDescription, Role};

    fn node() -> Node {
        Node {
            id: NodeId::new("n1"),
            description: NodeDescription {
                hostname: "Web1".into(),
                architecture: "amd64".into(),
                os: "linux".into(),
                engine_labels: [("disk".to_owned(), "ssd".to_owned())].into(),
                ..NodeDescription::default()
            },
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            role: Role::Worker,
            address: "10.1.2.3:2377".parse().ok(),
            ..Node::test("n1")
        }
    }

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let constraint = Constraint::parse(text).unwrap();
        assert_eq!(constraint.holds(&node()), expected, "{text}");
    }

    #[test]
    fn attributes_are_compared_as_swarm_compares_them() {
        check("node.id==n1", true);
        check("node.hostname == web1", true);
        check("node.hostname == web", false);
        check("node.role==worker", true);
        check("node.role!=manager", true);
        check("node.platform.os==Linux", true);
        check("node.platform.arch==x86_64", true);
        check("node.platform.arch!=amd64", false);
        check("engine.labels.disk==ssd", true);
        check("node.labels.zone!=b", true);
        check("node.labels.Zone==a", false);
    }

    #[test]
    fn a_label_that_is_missing_is_empty() {
        check("node.labels.rack==1", false);
        check("node.labels.rack!=1", true);
        check("node.labels.rack==", true);
    }

    #[test]
    fn addresses_are_compared_with_networks() {
        check("node.ip==10.1.2.3", true);
        check("node.ip==10.1.0.0/16", true);
        check("node.ip!=10.1.0.0/16", false);
        check("node.ip==192.168.0.0/16", false);
        let error = Constraint::parse("node.ip==here").unwrap_err();
        assert_eq!(
            error.to_string(),
            "constraint `node.ip==here` compares an address with `here`, \
             which is neither address nor network"
        );
    }
}
