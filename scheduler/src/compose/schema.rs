//! What belongs where in a Compose file, as tables.
//!
//! One table serves everything that must know the attributes: checking, bringing short forms into
//! long ones, merging, and the order in which `config` prints. The order of the entries is that of
//! Docker Compose's output.
//!
//! Source: `compose-spec.json` of the Compose specification.

mod attach;
mod build;
pub(super) mod deploy;
mod develop;
mod device;
mod mount;
pub(super) mod resource;
pub(super) mod service;

use super::check::Checker;
use super::document::{Node, Text, Value};
use super::lint::Rule;
use super::short;

/// What a value looks like, and how it is merged.
pub(super) enum Shape {
    /// Left as it was written.
    Any,
    Text,
    Bool,
    Int {
        min: Option<i64>,
    },
    /// Not negative.
    Float,
    /// In canonical form a string of bytes.
    Size,
    /// In canonical form as Go writes it.
    Duration,
    /// Permission bits; in canonical form four octal digits.
    Mode,
    /// A path on the host; in canonical form absolute.
    Path,
    OneOf {
        good: &'static [&'static str],
        /// Words of the specification that cannot be run yet.
        later: &'static [&'static str],
    },
    List {
        item: &'static Shape,
        union: Union,
    },
    Map(&'static Shape),
    /// A mapping of strings that may be written as a list of `KEY=VALUE`.
    KeyValues(Keyless),
    Object(&'static [Attribute]),
    Form(Form),
    /// A scalar or a mapping; replaced as a whole.
    Either(&'static Shape, &'static Shape),
    /// With a merge rule of its own.
    Merged(fn(Node, Node) -> Node, &'static Shape),
}

/// Something with a short form.
pub(super) struct Form {
    pub(super) short: fn(&mut Checker<'_>, Node) -> Node,
    pub(super) long: &'static Shape,
}

/// How lists of several files become one.
#[derive(Clone, Copy)]
pub(super) enum Union {
    Append,
    Replace,
    /// Equal items once.
    Values,
    /// Items with equal keys once, the last one winning.
    By(fn(&Node) -> Option<String>),
}

/// What `KEY` without a value means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyless {
    /// Something else, such as "from the environment".
    Kept,
    /// The empty string.
    Empty,
}

impl Keyless {
    pub(super) fn fill(self, node: &mut Node) {
        if self == Self::Empty && node.is_null() && node.tag == super::document::Tag::None {
            node.value = Value::Text(Text::new());
        }
    }
}

pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) shape: &'static Shape,
    pub(super) support: Support,
}

pub(super) enum Support {
    Done,
    /// Understood and printed by `config`, but nothing makes it true yet, so it cannot be run; the
    /// text is a hint and may be empty.
    Later(&'static str),
    /// Accepted without effect, with a warning that says why.
    Ignored(Rule, &'static str),
}

pub(super) const fn done(name: &'static str, shape: &'static Shape) -> Attribute {
    Attribute {
        name,
        shape,
        support: Support::Done,
    }
}

pub(super) const fn later(
    name: &'static str,
    shape: &'static Shape,
    hint: &'static str,
) -> Attribute {
    Attribute {
        name,
        shape,
        support: Support::Later(hint),
    }
}

pub(super) const fn ignored(
    name: &'static str,
    shape: &'static Shape,
    why: &'static str,
) -> Attribute {
    Attribute {
        name,
        shape,
        support: Support::Ignored(Rule::NoEffect, why),
    }
}

pub(super) const fn windows_only(name: &'static str, shape: &'static Shape) -> Attribute {
    Attribute {
        name,
        shape,
        support: Support::Ignored(Rule::WindowsOnly, "only Windows honours it"),
    }
}

const fn obsolete(name: &'static str) -> Attribute {
    Attribute {
        name,
        shape: &Shape::Text,
        support: Support::Ignored(Rule::ObsoleteVersion, "the attribute is obsolete"),
    }
}

pub(super) static ANY_INT: Shape = Shape::Int { min: None };
pub(super) static COUNT: Shape = Shape::Int { min: Some(0) };
pub(super) static TEXTS: Shape = Shape::List {
    item: &Shape::Text,
    union: Union::Append,
};
pub(super) static TEXT_SET: Shape = Shape::List {
    item: &Shape::Text,
    union: Union::Values,
};
/// A string stands for a list of one.
pub(super) static ONE_OR_MORE: Shape = Shape::Form(Form {
    short: short::one_or_more,
    long: &TEXT_SET,
});
pub(super) static TEXT_MAP: Shape = Shape::Map(&Shape::Text);
pub(super) static LABELS: Shape = Shape::KeyValues(Keyless::Empty);
pub(super) static VARIABLES: Shape = Shape::KeyValues(Keyless::Kept);

/// Lines `HOST=ADDRESS`.
pub(super) static HOSTS: Shape = Shape::Form(Form {
    short: short::extra_hosts,
    long: &TEXT_SET,
});

/// A whole file.
pub(super) static FILE: Shape = Shape::Object(&[
    obsolete("version"),
    done("name", &Shape::Text),
    done("include", &INCLUDES),
    done("services", &Shape::Map(&service::SERVICE)),
    done("networks", &Shape::Map(&resource::NETWORK)),
    done("volumes", &Shape::Map(&resource::VOLUME)),
    done("secrets", &Shape::Map(&resource::SECRET)),
    done("configs", &Shape::Map(&resource::CONFIG)),
    later(
        "models",
        &Shape::Map(&resource::MODEL),
        "run the model as a service of its own",
    ),
]);

static INCLUDES: Shape = Shape::List {
    item: &Shape::Form(Form {
        short: short::include,
        long: &Shape::Object(&[
            done(
                "path",
                &Shape::Form(Form {
                    short: short::one_or_more,
                    long: &PATHS,
                }),
            ),
            done("project_directory", &Shape::Path),
            done(
                "env_file",
                &Shape::Form(Form {
                    short: short::one_or_more,
                    long: &PATHS,
                }),
            ),
        ]),
    }),
    union: Union::Append,
};

static PATHS: Shape = Shape::List {
    item: &Shape::Path,
    union: Union::Append,
};
