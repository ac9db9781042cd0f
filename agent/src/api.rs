//! The HTTP server on the node's socket: the Docker Engine API, and `/x/` for what Docker lacks.
//!
//! | path | what |
//! |---|---|
//! | `/…`, `/v1.N/…` | [`docker`](self): the Docker Engine API's shapes, one version for all |
//! | `/x/…` | [`x`]: stacks, their status and a watch |

pub mod x;
