//! `exec`: runs a program in a container that is running.

use std::io;
use std::process::ExitCode;

use hyper::Method;

use super::Outcome;
use crate::docker::{self, Created, ExecCreate, ExecStart, ExecState};
use crate::error::Failure;
use crate::project::Context;
use crate::session::{self, DetachKeys, Ended, Input, Terminal};
use crate::terminal;

/// Execute a command in a running container
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Environment variable; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Number of the container, when the service has several
    #[arg(long, value_name = "NUM")]
    index: Option<u32>,
    /// Do not use a terminal
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// User to run as
    #[arg(short, long)]
    user: Option<String>,
    /// Directory to run in
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// Keys that end the conversation and leave the process running [default: none]
    #[arg(
        long,
        value_name = "KEYS",
        default_value = "",
        hide_default_value = true
    )]
    detach_keys: DetachKeys,
    /// Give the process all privileges
    #[arg(long)]
    privileged: bool,
    /// Accepted for fingers that are used to it: input is forwarded anyway
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Accepted for fingers that are used to it: a terminal is used anyway
    #[arg(short, long, hide = true)]
    tty: bool,
    service: String,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let client = context.client();
        let container = docker::running(&client, &project, &self.service, self.index).await?;
        let terminal = match self.detach {
            true => Terminal::No,
            false => session::wants_terminal(self.no_tty),
        };
        let path = format!("/containers/{}/exec", container.id);
        let created: Created = client
            .send_json(Method::POST, &path, &self.create(terminal))
            .await
            .map_err(refused)?;
        let path = format!("/exec/{}", created.id);
        let start = ExecStart {
            detach: self.detach,
            tty: terminal == Terminal::Yes,
        };
        if self.detach {
            client
                .send_empty(Method::POST, &format!("{path}/start"), &start)
                .await
                .map_err(refused)?;
            return Ok(ExitCode::SUCCESS);
        }
        let connection = client
            .hijack(&format!("{path}/start"), &start)
            .await
            .map_err(refused)?;
        let resize = format!("{path}/resize");
        let input = Input::Forwarded(self.detach_keys);
        let talked = tokio::select! {
            talked = session::talk(&client, connection, terminal, input, &resize) => talked?,
            // The terminal is put back on the way out, which the signal's own way out would not do.
            code = session::terminated() => return Err(Failure::silent(code)),
        };
        if talked == Ended::Detached {
            return Ok(ExitCode::SUCCESS);
        }
        let state: ExecState = client.get(&format!("{path}/json")).await?;
        Ok(exit_code(state.exit_code.unwrap_or(1)))
    }

    fn create(&self, terminal: Terminal) -> ExecCreate {
        let size = terminal::size(io::stdout()).filter(|_| terminal == Terminal::Yes);
        ExecCreate {
            attach_stdin: !self.detach,
            attach_stdout: !self.detach,
            attach_stderr: !self.detach,
            tty: terminal == Terminal::Yes,
            privileged: self.privileged,
            user: self.user.clone().unwrap_or_default(),
            working_dir: self.workdir.clone().unwrap_or_default(),
            env: with_values(&self.env),
            cmd: self.command.clone(),
            console_size: size.map(|it| [it.rows, it.columns]),
        }
    }
}

/// `KEY` alone takes its value from our own environment; one that is not set there is left out.
pub(super) fn with_values(variables: &[String]) -> Vec<String> {
    let value = |it: &String| match it.contains('=') {
        true => Some(it.clone()),
        false => std::env::var(it).ok().map(|value| format!("{it}={value}")),
    };
    variables.iter().filter_map(value).collect()
}

/// A process's exit code as ours.
pub(super) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Docker's client tells 126 and 127 from the text of the refusal; so do scripts from ours.
pub(super) fn refused(error: crate::connect::ApiError) -> Failure {
    let text = error.to_string();
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let code = match () {
        () if says(&["executable file not found", "no such file or directory"]) => 127,
        () if says(&["permission denied", "is a directory"]) => 126,
        () if error.status().is_some() => 125,
        () => 1,
    };
    Failure::from(error).code(code)
}
