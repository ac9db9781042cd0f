//! Messages between members as bytes, in the `raft` crate's own protobuf.

use ::raft::eraftpb::{ConfChangeV2, Message, MessageType};
use protobuf::Message as _;
use thiserror::Error;

use super::{Entry, EntryKind};

/// Bytes that are no message of a member.
#[derive(Debug, Error)]
#[error("not a message of the consensus group")]
pub struct WireError {
    source: protobuf::ProtobufError,
}

/// # Errors
///
/// Returns [`WireError`] for a message of more than 2 GiB.
pub fn encode(message: &Message) -> Result<Vec<u8>, WireError> {
    let wrong = |source| WireError { source };
    message.write_to_bytes().map_err(wrong)
}

/// # Errors
///
/// Returns [`WireError`] when the bytes are something else.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let wrong = |source| WireError { source };
    Message::parse_from_bytes(bytes).map_err(wrong)
}

/// Whether the message carries the whole state: its sender wants to know what became of it.
pub fn carries_state(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgSnapshot
}

/// The change of members in an entry, if it is one. The older form is never proposed.
pub(super) fn change(entry: &Entry) -> Option<ConfChangeV2> {
    match entry.kind {
        EntryKind::Batch | EntryKind::Members => None,
        EntryKind::MembersV2 => ConfChangeV2::parse_from_bytes(&entry.data).ok(),
    }
}
