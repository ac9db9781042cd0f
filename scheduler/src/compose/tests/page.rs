//! `cli/compose.md` says of every attribute what wharfie does with it, and of nothing else.

use std::collections::BTreeMap;

use crate::compose::schema::{Attribute, FILE, Form, Shape, Support};

const PAGE: &str = include_str!("../../../../cli/compose.md");

/// Every attribute with its path and what the tables say of it.
fn attributes() -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    walk(&FILE, "", &mut found);
    found
}

fn walk(shape: &'static Shape, path: &str, found: &mut BTreeMap<String, &'static str>) {
    match shape {
        Shape::Object(attributes) => {
            for it in *attributes {
                let path = match path {
                    "" => it.name.to_owned(),
                    path => format!("{path}.{}", it.name),
                };
                let status = status(&path, it);
                found.insert(path.clone(), status);
                // What is below a refused attribute is refused with it.
                if status == "yes" {
                    walk(it.shape, &path, found);
                }
            }
        }
        Shape::Map(item) => walk(item, &format!("{path}.*"), found),
        Shape::List { item, .. } => walk(item, path, found),
        Shape::Form(Form { long, .. }) | Shape::Merged(_, long) => walk(long, path, found),
        Shape::Either(one, other) => {
            walk(one, path, found);
            walk(other, path, found);
        }
        _ => {}
    }
}

fn status(path: &str, attribute: &Attribute) -> &'static str {
    match attribute.support {
        // The tables accept it; the consistency check knows better.
        Support::Done if path == "services.*.build" => "refused",
        Support::Done => "yes",
        Support::Later(_) => "refused",
        Support::Ignored(..) => "no effect",
    }
}

/// The rows of the page: a heading with a path in it stands before the paths below it.
fn rows() -> BTreeMap<String, &'static str> {
    let mut prefix = String::new();
    let mut rows = BTreeMap::new();
    for line in PAGE.lines() {
        if line.starts_with("## ") {
            let path = line.split('`').nth(1);
            prefix = path.map_or_else(String::new, |it| format!("{it}."));
        }
        let row = line
            .strip_prefix("| `")
            .and_then(|it| it.split_once("` | "));
        if let Some((path, rest)) = row {
            let status = rest.split(" |").next().unwrap_or_default();
            rows.insert(format!("{prefix}{path}"), status);
        }
    }
    rows
}

#[test]
fn every_attribute_has_a_row_and_every_row_an_attribute() {
    let rows = rows();
    let mut wrong = String::new();
    for (path, status) in attributes() {
        match rows.get(&path) {
            Some(it) if *it == status => {}
            Some(it) => wrong.push_str(&format!("`{path}` is `{status}`, not `{it}`\n")),
            None => wrong.push_str(&format!("missing: | `{path}` | {status} | |\n")),
        }
    }
    let known = attributes();
    for path in rows.keys().filter(|it| !known.contains_key(*it)) {
        wrong.push_str(&format!("no such attribute: `{path}`\n"));
    }
    assert!(wrong.is_empty(), "cli/compose.md:\n{wrong}");
}
