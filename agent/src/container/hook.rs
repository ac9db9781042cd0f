//! Programs of the host that finish a container's file system before its own program starts, as
//! vendors' devices ask for: links to a driver's libraries, a cache of them.
//!
//! They run in the new process's namespaces while the host's files can still be seen: the container's
//! are below `rootfs`, beside the `config.json` that says so.
//!
//! Source: OCI runtime specification, `config.md`, "CreateContainer Hooks"; `runtime.md`, "State".

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use oci_spec::runtime::{Hook, Spec};

use super::failure::{During, Failure};

/// For those that do not say how long they may take.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
/// Of what a hook complains about, so much is told.
const MOST_SAID: u64 = 4096;

/// Runs the hooks that come before the root is switched, one after the other.
///
/// # Errors
///
/// Tells which one failed and the last line it wrote; those after it are not run.
pub(super) fn create_container(spec: &Spec, id: &str, bundle: &Path) -> Result<(), Failure> {
    let hooks = spec.hooks().as_ref();
    let hooks = hooks.and_then(|hooks| hooks.create_container().as_ref());
    for hook in hooks.into_iter().flatten() {
        run(hook, &state(spec, id, bundle)).map_err(|mut failure| {
            failure.path = hook.path().display().to_string();
            failure
        })?;
    }
    Ok(())
}

/// What a hook reads at its standard input. The process is numbered as the host does: `/proc` is
/// still the host's.
fn state(spec: &Spec, id: &str, bundle: &Path) -> String {
    let own = std::fs::read_link("/proc/self").unwrap_or_default();
    let pid: i64 = own.to_string_lossy().parse().unwrap_or_default();
    serde_json::json!({
        "ociVersion": spec.version(),
        "id": id,
        "status": "creating",
        "pid": pid,
        "bundle": bundle,
        "annotations": spec.annotations(),
    })
    .to_string()
}

fn run(hook: &Hook, state: &str) -> Result<(), Failure> {
    let action = "run the hook";
    let said = memfd_create("hook", MFdFlags::MFD_CLOEXEC).during(action, "")?;
    let mut said = File::from(said);
    let stderr = said.try_clone().during(action, "")?;
    let mut command = Command::new(hook.path());
    let args = hook.args().as_deref().unwrap_or_default();
    if let Some((name, rest)) = args.split_first() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
        command.args(rest);
    }
    let environment = hook.env().as_deref().unwrap_or_default();
    let pairs = environment.iter().filter_map(|it| it.split_once('='));
    let mut child = command
        .env_clear()
        .envs(pairs)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .during(action, "")?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not want to know has closed it.
        let _ = stdin.write_all(state.as_bytes());
    }
    let limit = hook.timeout().and_then(|it| u64::try_from(it).ok());
    let limit = limit.map_or(PATIENCE, Duration::from_secs);
    let why = match wait(&mut child, limit).during(action, "")? {
        Some(status) if status.success() => return Ok(()),
        Some(status) => status.to_string(),
        None => format!("it took longer than {} s", limit.as_secs()),
    };
    Err(Failure::refused(action, "", why + &last_line(&mut said)))
}

/// `None`: it was killed, because its time was up.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

fn last_line(said: &mut File) -> String {
    let mut bytes = Vec::new();
    if said.rewind().is_err() || said.take(MOST_SAID).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map(|line| format!(": {}", line.trim()))
        .unwrap_or_default()
}
