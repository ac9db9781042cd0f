//! Brings changes into one container: an archive of what was written, `rm` for what has gone.

use std::path::{Path, PathBuf};

use hyper::Method;
use scheduler::model::container::Hook;
use tokio::io::AsyncReadExt;
use tokio_util::io::SyncIoBridge;

use super::super::cp::pack::{Links, Owners, PackError, pack_all};
use super::super::exec;
use super::tree::Changes;
use crate::connect::{Client, body_of, url};
use crate::docker::{Container, Created, ExecCreate, ExecStart, ExecState};
use crate::error::Failure;

/// Bytes between the archive's writer and the connection.
const PIPE_LEN: usize = 64 * 1024;

/// What a program says is shown only when it fails, and then no more than this.
const SHOWN_BYTES: u64 = 4096;

/// Makes the container's files below `target` what has become of those below `source`.
pub(super) async fn changed(
    client: &Client,
    container: &Container,
    source: &Path,
    changes: &Changes,
    target: &str,
) -> Result<(), Failure> {
    let place = |name: &String| match name.as_str() {
        "" => target.to_owned(),
        name => format!("{}/{name}", target.trim_end_matches('/')),
    };
    if !changes.removed.is_empty() {
        let mut command = vec!["rm".to_owned(), "-rf".to_owned(), "--".to_owned()];
        command.extend(changes.removed.iter().map(place));
        let hook = Hook {
            command,
            user: Some("0".to_owned()),
            ..Hook::default()
        };
        run(client, container, &hook).await?;
    }
    if changes.written.is_empty() {
        return Ok(());
    }
    let file = |name: &String| {
        let from = match name.as_str() {
            "" => source.to_owned(),
            name => source.join(name),
        };
        (from, PathBuf::from(place(name).trim_start_matches('/')))
    };
    upload(
        client,
        container,
        changes.written.iter().map(file).collect(),
    )
    .await
}

/// Sends files under their paths in the container.
async fn upload(
    client: &Client,
    container: &Container,
    files: Vec<(PathBuf, PathBuf)>,
) -> Result<(), Failure> {
    let (reader, writer) = tokio::io::duplex(PIPE_LEN);
    let writer = SyncIoBridge::new(writer);
    let packing = tokio::task::spawn_blocking(move || -> Result<(), PackError> {
        pack_all(&files, Owners::Ours, Links::Kept, writer)
    });
    let path = format!("/containers/{}/archive", container.id);
    let sent = client
        .upload(&url(&path, &[("path", "/")]), body_of(reader))
        .await;
    let packed = packing.await?;
    sent?;
    Ok(packed?)
}

/// Runs a program in the container, and waits for its end.
///
/// # Errors
///
/// Fails when it cannot be run, or ends with an error: with what it wrote.
pub(super) async fn run(
    client: &Client,
    container: &Container,
    hook: &Hook,
) -> Result<(), Failure> {
    let variable = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    let variables: Vec<String> = hook.environment.iter().map(variable).collect();
    let create = ExecCreate {
        attach_stdin: false,
        attach_stdout: true,
        attach_stderr: true,
        tty: false,
        privileged: hook.privileged,
        user: hook.user.clone().unwrap_or_default(),
        working_dir: hook.working_dir.clone().unwrap_or_default(),
        env: exec::with_values(&variables),
        cmd: hook.command.clone(),
        console_size: None,
    };
    let path = format!("/containers/{}/exec", container.id);
    let created: Created = client
        .send_json(Method::POST, &path, &create)
        .await
        .map_err(exec::refused)?;
    let path = format!("/exec/{}", created.id);
    let start = ExecStart {
        detach: false,
        tty: false,
    };
    let connection = client
        .hijack(&format!("{path}/start"), &start)
        .await
        .map_err(exec::refused)?;
    let mut said = Vec::new();
    let mut connection = hyper_util::rt::TokioIo::new(connection.into_inner());
    (&mut connection)
        .take(SHOWN_BYTES)
        .read_to_end(&mut said)
        .await?;
    tokio::io::copy(&mut connection, &mut tokio::io::sink()).await?;
    let state: ExecState = client.get(&format!("{path}/json")).await?;
    match state.exit_code {
        Some(0) => Ok(()),
        code => {
            let said = printable(&said);
            let (program, code) = (hook.command.join(" "), code.unwrap_or(1));
            Err(Failure::new(format!(
                "`{program}` exited with code {code} in {}: {said}",
                container.name()
            )))
        }
    }
}

/// Without the frames' headers, whose bytes are no text.
fn printable(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let text: String = text
        .chars()
        .filter(|it| *it == '\n' || !it.is_control())
        .collect();
    text.trim().to_owned()
}
