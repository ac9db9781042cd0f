//! How a command fails: a chain of causes, what to do about it, and an exit code.
//!
//! | code | when |
//! |---|---|
//! | 1 | anything else went wrong |
//! | 2 | the command line could not be understood (clap) |
//! | 125 | a container could not be made or started for `run` |
//! | 126, 127 | its program could not be executed, was not found |
//! | 130 | ended by Ctrl-C |

use std::fmt::Write;
use std::process::ExitCode;

use crate::connect::ApiError;
use crate::output::{self, Colour};

/// The exit code of a command, or why there is none to be proud of.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    /// `None` when everything has been said already.
    cause: Option<anyhow::Error>,
    hint: Option<String>,
    code: u8,
}

/// The exit code of a program that was interrupted from the keyboard: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::from(anyhow::Error::msg(message.into()))
    }

    /// Ends with a code and says nothing more.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            cause: None,
            hint: None,
            code,
        }
    }

    /// A sentence that says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Prints what there is to say, and returns the exit code.
    pub(crate) fn report(&self, colour: Colour) -> u8 {
        if let Some(text) = self.render(colour) {
            output::note(text);
        }
        self.code
    }

    fn render(&self, colour: Colour) -> Option<String> {
        let cause = self.cause.as_ref()?;
        let mut text = format!("{} {cause}", colour.paint("1;31", "error:"));
        for deeper in cause.chain().skip(1) {
            let _ = write!(text, ": {deeper}");
        }
        if let Some(hint) = self.hint.clone().or_else(|| api_hint(cause)) {
            let _ = write!(text, "\n{} {hint}", colour.paint("1;36", "hint:"));
        }
        Some(text)
    }
}

/// The hint that the node gave with its refusal.
fn api_hint(cause: &anyhow::Error) -> Option<String> {
    cause
        .chain()
        .find_map(|cause| match cause.downcast_ref::<ApiError>() {
            Some(ApiError::Refused { hint, .. }) => hint.clone(),
            Some(error) => error.hint(),
            None => None,
        })
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(cause: E) -> Self {
        Self {
            cause: Some(cause.into()),
            hint: None,
            code: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn prints_the_chain_and_then_the_hint() {
        let cause = Err::<(), _>(std::io::Error::other("disk full")).context("cannot write x");
        let failure = Failure::from(cause.unwrap_err()).hint("Make room.");
        assert_eq!(
            failure.render(Colour::Off).unwrap(),
            "error: cannot write x: disk full\nhint: Make room."
        );
    }

    #[test]
    fn the_hint_of_the_node_is_passed_on() {
        let refused = ApiError::Refused {
            status: 409,
            message: "port 80 is taken".to_owned(),
            hint: Some("Stop `shop`.".to_owned()),
        };
        assert_eq!(
            Failure::from(refused).render(Colour::Off).unwrap(),
            "error: port 80 is taken\nhint: Stop `shop`."
        );
    }
}
