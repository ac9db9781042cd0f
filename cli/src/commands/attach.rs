//! `attach`: talks with the first process of a container that runs.

use std::process::ExitCode;

use super::Outcome;
use super::exec::exit_code;
use crate::connect::url;
use crate::docker::{self, Inspected, Waited};
use crate::error::Failure;
use crate::output;
use crate::project::Context;
use crate::session::{self, DetachKeys, Ended, Input, Terminal};

/// Attach to the standard streams of a running container
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keys that end it and leave the container running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Number of the container, when the service has several
    #[arg(long, value_name = "NUM")]
    index: Option<u32>,
    /// Only listen
    #[arg(long)]
    no_stdin: bool,
    /// Send the signals that arrive here to the process
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sig_proxy: bool,
    service: String,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let client = context.client();
        let container = docker::running(&client, &project, &self.service, self.index).await?;
        let path = |below: &str| format!("/containers/{}{below}", container.id);
        let found: Inspected = client.get(&path("/json")).await?;
        let input = match found.config.open_stdin && !self.no_stdin {
            true => Input::Forwarded(self.detach_keys),
            false => Input::None,
        };
        let terminal = match found.config.tty && session::wants_terminal(false) == Terminal::Yes {
            true => Terminal::Yes,
            // Its output has no frames, whatever we have here.
            false if found.config.tty => Terminal::Remote,
            false => Terminal::No,
        };
        let stdin = match input {
            Input::Forwarded(_) => "1",
            Input::None => "0",
        };
        let query = [
            ("stream", "1"),
            ("stdin", stdin),
            ("stdout", "1"),
            ("stderr", "1"),
        ];
        // The wait must be under way before the end, or it waits for the next one.
        let mut ended = client
            .post_lines::<Waited>(&path("/wait"), &[], None)
            .await?;
        let connection = client
            .hijack(&url(&path("/attach"), &query), &serde_json::Value::Null)
            .await?;
        let resize = path("/resize");
        let talk = session::talk(&client, connection, terminal, input, &resize);
        let talked = match self.sig_proxy {
            true => tokio::select! {
                talked = talk => talked?,
                failed = session::forward_signals(&client, &container.id) => return Err(failed),
            },
            false => tokio::select! {
                talked = talk => talked?,
                code = session::terminated() => return Err(Failure::silent(code)),
            },
        };
        if talked == Ended::Detached {
            output::note("read escape sequence");
            return Ok(ExitCode::SUCCESS);
        }
        let code = ended.next().await?.map_or(1, |it| it.status_code);
        Ok(exit_code(i32::try_from(code).unwrap_or(1)))
    }
}
