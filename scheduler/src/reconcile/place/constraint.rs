//! Constraints on nodes, as Swarm writes them: `node.labels.zone == a`, `node.hostname != web1`.

use std::fmt;

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
        Ok(Self {
            attribute: Attribute::parse(attribute).ok_or_else(|| {
                ConstraintError::UnknownAttribute {
                    text: text.to_owned(),
                    attribute: attribute.to_owned(),
                }
            })?,
            equal,
            value: value.trim().to_owned(),
        })
    }

    /// A label that the node does not have is an empty one; case does not matter (as in Swarm).
    pub fn holds(&self, node: &Node) -> bool {
        let empty = String::new();
        let description = &node.description;
        let found = match &self.attribute {
            Attribute::Id => node.id.as_str(),
            Attribute::Hostname => &description.hostname,
            Attribute::Os => &description.os,
            Attribute::Architecture => &description.architecture,
            Attribute::Label(name) => node.labels.get(name).unwrap_or(&empty),
            Attribute::EngineLabel(name) => description.engine_labels.get(name).unwrap_or(&empty),
        };
        let same = found.eq_ignore_ascii_case(&self.value);
        match self.equal {
            Comparison::Is => same,
            Comparison::IsNot => !same,
        }
    }
}

impl Attribute {
    fn parse(text: &str) -> Option<Self> {
        let label = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
        Some(match text {
            "node.id" => Self::Id,
            "node.hostname" => Self::Hostname,
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
            Attribute::Os => "node.platform.os".to_owned(),
            Attribute::Architecture => "node.platform.arch".to_owned(),
            Attribute::Label(name) => format!("node.labels.{name}"),
            Attribute::EngineLabel(name) => format!("engine.labels.{name}"),
        };
        write!(f, "{attribute}{sign}{}", self.value)
    }
}
