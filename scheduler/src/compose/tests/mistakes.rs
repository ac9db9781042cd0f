//! What people write by mistake, and the whole of what they read then.

mod reference;
mod service;
mod top;
mod yaml;

use super::Case;
use crate::compose::Color;

/// Everything that a run prints about the files.
#[track_caller]
fn shown(text: &str) -> String {
    match Case::new(text).load() {
        Ok(_) => panic!("it loads"),
        Err(failure) => failure.render(Color::Plain).replace("/shop/", ""),
    }
}

/// The same, for a line of a service `web`.
#[track_caller]
fn web(line: &str) -> String {
    shown(&format!(
        "services:\n  web:\n    image: nginx\n    {line}\n"
    ))
}
