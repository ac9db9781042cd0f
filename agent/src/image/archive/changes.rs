//! Applies lines of a Dockerfile to the settings of an image, for `docker import --change`.
//!
//! Source: docs.docker.com, "docker image import": CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL,
//! USER, VOLUME and WORKDIR are allowed.

use serde_json::{Map, Value, json};

use super::ArchiveError;

type Settings = Map<String, Value>;

/// Changes `settings`, the `config` object of an image's config, line by line.
pub(super) fn apply(settings: &mut Settings, changes: &[String]) -> Result<(), ArchiveError> {
    changes.iter().try_for_each(|change| {
        one(settings, change).map_err(|why| ArchiveError::Change {
            change: change.clone(),
            why,
        })
    })
}

fn one(settings: &mut Settings, change: &str) -> Result<(), &'static str> {
    let (word, rest) = change
        .trim()
        .split_once(char::is_whitespace)
        .ok_or("it has no value")?;
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        "CMD" => drop(settings.insert("Cmd".into(), command(rest).into())),
        "ENTRYPOINT" => drop(settings.insert("Entrypoint".into(), command(rest).into())),
        "USER" => drop(settings.insert("User".into(), rest.into())),
        "WORKDIR" => drop(settings.insert("WorkingDir".into(), rest.into())),
        "STOPSIGNAL" => drop(settings.insert("StopSignal".into(), rest.into())),
        "ENV" => pairs(rest)?
            .into_iter()
            .for_each(|(key, value)| env(settings, &key, &value)),
        "LABEL" => {
            let labels = object(settings, "Labels");
            labels.extend(
                pairs(rest)?
                    .into_iter()
                    .map(|(key, value)| (key, value.into())),
            );
        }
        "EXPOSE" => {
            let port = |port: &str| {
                if port.contains('/') {
                    port.to_owned()
                } else {
                    format!("{port}/tcp")
                }
            };
            object(settings, "ExposedPorts")
                .extend(rest.split_whitespace().map(|text| (port(text), json!({}))));
        }
        "VOLUME" => {
            let paths =
                array(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            object(settings, "Volumes").extend(paths.into_iter().map(|path| (path, json!({}))));
        }
        _ => {
            return Err(
                "only CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR are possible",
            );
        }
    }
    Ok(())
}

/// `["a", "b"]` as it is, and anything else for a shell.
fn command(text: &str) -> Vec<String> {
    array(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn array(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// `A=1 B="x y"`, or the old form `A all the rest`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or("it has no value")?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words(text)?
        .into_iter()
        .map(|word| {
            word.split_once('=')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .ok_or("it has a word without `=`")
        })
        .collect()
}

/// Splits at spaces outside quotes.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)))
            }
            (c, None) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    match quote {
        Some(_) => Err("a quote is not closed"),
        None => Ok(words),
    }
}

fn object<'a>(settings: &'a mut Settings, key: &str) -> &'a mut Settings {
    let value = settings.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was made an object above"),
    }
}

/// A later value of a variable takes the place of the earlier.
fn env(settings: &mut Settings, key: &str, value: &str) {
    let list = settings.entry("Env").or_insert_with(|| json!([]));
    let mut values: Vec<Value> = list.as_array().cloned().unwrap_or_default();
    values.retain(|one| {
        one.as_str()
            .is_none_or(|one| one.split('=').next() != Some(key))
    });
    values.push(format!("{key}={value}").into());
    *list = values.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(changes: &[&str], expected: Value) {
        let mut settings = Map::new();
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        let outcome = apply(&mut settings, &changes).map_err(|error| error.to_string());
        assert_eq!(
            outcome.map_or_else(Value::from, |()| settings.into()),
            expected
        );
    }

    #[test]
    fn changes_are_written_as_a_dockerfile_has_them() {
        check(
            &[
                "CMD [\"sh\", \"-c\", \"x\"]",
                "entrypoint run me",
                "EXPOSE 80 53/udp",
                "USER 1:1",
            ],
            json!({ "Cmd": ["sh", "-c", "x"], "Entrypoint": ["/bin/sh", "-c", "run me"],
                "ExposedPorts": { "80/tcp": {}, "53/udp": {} }, "User": "1:1" }),
        );
        check(
            &["ENV A=1 B=\"x y\"", "ENV A all the rest"],
            json!({ "Env": ["B=x y", "A=all the rest"] }),
        );
        check(
            &["LABEL a='b c'", "VOLUME [\"/a b\"]"],
            json!({ "Labels": { "a": "b c" }, "Volumes": { "/a b": {} } }),
        );
        check(
            &["ENV A=\"x"],
            json!("`ENV A=\"x` cannot be applied to an image: a quote is not closed"),
        );
        check(
            &["RUN x"],
            json!(
                "`RUN x` cannot be applied to an image: only CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR are possible"
            ),
        );
    }
}
