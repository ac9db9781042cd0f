//! Identifiers. Each kind has its own type, so that a task is never looked up by a container's id.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps text that is already known to be an identifier of this kind.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The whole identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve characters, as Docker shows identifiers.
            pub fn short(&self) -> &str {
                self.0.get(..12).unwrap_or(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.short())
            }
        }
    };
}

id!(
    /// One run of a container: a restart is a new task on the same container.
    TaskId
);
id!(
    /// A container: a root filesystem, a name and a place in a service. 64 lower-case hex digits, as in Docker.
    ContainerId
);
id!(
    /// A service, or a container that was made on its own (a service of one).
    ServiceId
);
id!(
    /// A machine that runs containers.
    NodeId
);
id!(
    /// A network. 64 lower-case hex digits, as in Docker.
    NetworkId
);
