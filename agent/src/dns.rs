//! The name server that each container finds at 127.0.0.11.
