//! The small init: process 1 of a container that asked for one.
//!
//! It is a fork of the process that was about to become the program, with the same confinement. It
//! hands signals on, reaps whatever is left to it, and ends with the program's exit code.
#![allow(unsafe_code)]

use std::ffi::CString;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, isatty, setpgid, tcsetpgrp};

use super::failure::{During, Failure};
use super::kernel::{self, Close};
use super::program::Program;

/// Starts the program as a child and stays with it. Returns only if that failed, in either process.
pub(super) fn run(program: &Program, path: &CString) -> Failure {
    // Blocked before the fork: no signal is lost between the two processes.
    let all = SigSet::all();
    let mut before = SigSet::empty();
    if let Err(failure) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut before))
        .during("block signals", "")
    {
        return failure;
    }
    // SAFETY: this process has one thread.
    match unsafe { fork() } {
        Err(errno) => Failure::program("init", errno, None),
        Ok(ForkResult::Child) => {
            // The terminal's signals are for the program; init hears of them from nobody.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            if isatty(std::io::stdin()).unwrap_or(false) {
                // SIGTTOU is still blocked, or this would stop us.
                let _ = tcsetpgrp(std::io::stdin(), getpid());
            }
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
            program.execute(path)
        }
        Ok(ForkResult::Parent { child }) => {
            // Among them the connection whose end tells that the program runs.
            let _ = kernel::close_range(3, Close::Now);
            kernel::leave(serve(child, &all))
        }
    }
}

fn serve(child: Pid, signals: &SigSet) -> i32 {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(child) {
                    return code;
                }
            }
            // Fails only when the program has just ended: SIGCHLD comes next.
            Ok(signal) => drop(kill(child, signal)),
            Err(_) => {}
        }
    }
}

/// Reaps all that have ended; the exit code once the program itself is among them.
fn reap(program: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        match status {
            WaitStatus::Exited(pid, status) if pid == program => code = Some(status),
            WaitStatus::Signaled(pid, signal, _) if pid == program => {
                code = Some(128 + signal as i32)
            }
            WaitStatus::StillAlive => break,
            _ => {}
        }
    }
    code
}
