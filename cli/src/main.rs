use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a shim must not start threads, and reads no arguments of ours.
    if agent::container::shim::is_shim() {
        return agent::container::shim::run();
    }
    ExitCode::SUCCESS
}
