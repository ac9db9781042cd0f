//! The program that a process becomes: found as a shell would, then executed.

use std::ffi::CString;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, access, chdir, getcwd};

use super::failure::{Failure, Step};
use super::kernel::{self, Close};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program's arguments and surroundings.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) cwd: String,
}

impl Program {
    /// Enters the working directory, and makes sure that it lies in the container.
    pub(super) fn enter_directory(&self) -> Result<(), Failure> {
        let refused = |errno, reason| Failure {
            step: Step::WorkingDirectory,
            path: self.cwd.clone(),
            errno,
            reason,
        };
        chdir(Path::new(&self.cwd)).map_err(|errno| refused(errno as i32, None))?;
        // A descriptor left open would be a way to the host (CVE-2024-21626): the kernel then says
        // that the directory cannot be reached from this root.
        let reached = getcwd().is_ok_and(|directory| directory.starts_with("/"));
        if reached {
            return Ok(());
        }
        Err(refused(
            0,
            Some("it is outside of the container".to_owned()),
        ))
    }

    /// Finds the program in the container, as the user that will run it.
    ///
    /// # Errors
    ///
    /// With the words and codes of Go's `exec.LookPath`, which users of Docker know.
    pub(super) fn find(&self) -> Result<CString, Failure> {
        let Some(name) = self.args.first().filter(|name| !name.is_empty()) else {
            return Err(Failure::program(
                "",
                Errno::ENOENT,
                Some("no command".to_owned()),
            ));
        };
        if name.contains('/') {
            return match executable(name) {
                Ok(()) => text(name),
                Err(Errno::ENOENT) => {
                    let reason = format!("stat {name}: no such file or directory");
                    Err(Failure::program(name, Errno::ENOENT, Some(reason)))
                }
                Err(errno) => Err(Failure::program(name, errno, None)),
            };
        }
        let path = self
            .env
            .iter()
            .rev()
            .find_map(|entry| entry.strip_prefix("PATH="))
            .unwrap_or(DEFAULT_PATH);
        let mut denied = None;
        for directory in path.split(':') {
            let directory = if directory.is_empty() { "." } else { directory };
            let candidate = format!("{}/{name}", directory.trim_end_matches('/'));
            match executable(&candidate) {
                Ok(()) => return text(&candidate),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => denied = Some(errno),
            }
        }
        match denied {
            Some(errno @ Errno::EACCES) => Err(Failure::program(name, errno, None)),
            _ => {
                let reason = "executable file not found in $PATH".to_owned();
                Err(Failure::program(name, Errno::ENOENT, Some(reason)))
            }
        }
    }

    /// Becomes the program. Returns only if that failed.
    pub(super) fn execute(&self, path: &CString) -> Failure {
        let name = self.args.first().cloned().unwrap_or_default();
        let strings = |list: &[String]| -> Result<Vec<CString>, Failure> {
            list.iter().map(|item| text(item)).collect()
        };
        let (args, env) = match (strings(&self.args), strings(&self.env)) {
            (Ok(args), Ok(env)) => (args, env),
            (Err(failure), _) | (_, Err(failure)) => return failure,
        };
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter()
                .map(|item| item.as_ptr())
                .chain([std::ptr::null()])
                .collect()
        };
        let (args, env) = (pointers(&args), pointers(&env));
        if let Err(errno) = kernel::close_range(3, Close::OnExec) {
            return Failure::program(
                &name,
                errno,
                Some("its descriptors cannot be closed".to_owned()),
            );
        }
        let errno = kernel::replace_program(path, &args, &env);
        Failure::program(&name, errno, None)
    }
}

fn executable(path: &str) -> nix::Result<()> {
    let found = stat(path)?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    access(path, AccessFlags::X_OK)
}

fn text(value: &str) -> Result<CString, Failure> {
    CString::new(value).map_err(|_| {
        Failure::program(
            value,
            Errno::EINVAL,
            Some("it holds a zero byte".to_owned()),
        )
    })
}
