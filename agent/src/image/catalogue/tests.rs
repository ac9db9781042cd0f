use super::*;

fn id(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// `busybox:1 app:2 = A(base top)`, one image a line.
fn catalogue(drawing: &str) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for line in drawing
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (names, image) = line.split_once('=').unwrap();
        let (image, layers) = image
            .trim()
            .strip_suffix(')')
            .unwrap()
            .split_once('(')
            .unwrap();
        let diff_ids: Vec<Digest> = layers.split_whitespace().map(id).collect();
        let record = ImageRecord {
            manifest: id(&format!("manifest of {image}")),
            diff_ids,
            updated: 0,
        };
        let names = names
            .split_whitespace()
            .map(|name| match name.strip_suffix("@") {
                Some(name) => name.parse::<Reference>().unwrap().with_digest(id(image)),
                None => name.parse().unwrap(),
            });
        catalogue.add(id(image), record, names);
    }
    catalogue
}

fn written(catalogue: &Catalogue, removed: Result<Vec<Removed>, ImageError>) -> String {
    let known = ["A", "B", "base", "top", "other"];
    let name = |digest: &Digest| {
        known
            .iter()
            .find(|n| id(n) == *digest)
            .map_or("?".to_owned(), |n| (*n).to_owned())
    };
    let removed = match removed {
        Err(error) => return error.to_string().replace(&id("A").short(), "A"),
        Ok(removed) => removed,
    };
    let lines = removed.iter().map(|one| match one {
        Removed::Untagged(name) => format!("-{}", name.split("sha256").next().unwrap()),
        Removed::Deleted(digest) => format!("x{}", name(digest)),
    });
    format!(
        "{} | {} images, {} names",
        lines.collect::<Vec<_>>().join(" "),
        catalogue.images.len(),
        catalogue.names.len()
    )
}

#[track_caller]
fn check(drawing: &str, text: &str, removal: Removal, usage: &Use, expected: &str) {
    let mut catalogue = catalogue(drawing);
    let text = if text == "A" {
        id("A").hex()[..12].to_owned()
    } else {
        text.to_owned()
    };
    let removed = catalogue.remove(&text, removal, &|_| usage.clone());
    assert_eq!(written(&catalogue, removed), expected);
}

#[test]
fn the_last_name_takes_the_image_along() {
    let (careful, unused) = (Removal::Careful, Use::Unused);
    check(
        "a:1 a:2 a@ = A(base)",
        "a:1",
        careful,
        &unused,
        "-a:1 | 1 images, 2 names",
    );
    check(
        "a:1 a@ = A(base top)",
        "a:1",
        careful,
        &unused,
        "-a:1 -a@ xA xtop xbase | 0 images, 0 names",
    );
    check(
        "a:1 = A(base top)\nb:1 = B(base other)",
        "a:1",
        careful,
        &unused,
        "-a:1 xA xtop | 1 images, 1 names",
    );
    check(
        "a:1 a:2 a@ = A(base)",
        "A",
        careful,
        &unused,
        "-a@ -a:1 -a:2 xA xbase | 0 images, 0 names",
    );
    check(
        "= A(base)",
        "A",
        careful,
        &unused,
        "xA xbase | 0 images, 0 names",
    );
    check(
        "a:1 = A(base)",
        "b",
        careful,
        &unused,
        "No such image: b:latest",
    );
}

#[test]
fn images_in_use_stay() {
    let (careful, forced) = (Removal::Careful, Removal::Forced);
    let stopped = Use::Stopped {
        container: "c1".into(),
    };
    let running = Use::Running {
        container: "c1".into(),
    };
    let image = "a:1 = A(base)";
    let conflict = "conflict: unable to remove repository reference \"a:1\" (must force) - container c1 is using its referenced image A";
    check(image, "a:1", careful, &stopped, conflict);
    check(image, "a:1", careful, &running, conflict);
    check(image, "a:1", forced, &running, "-a:1 | 1 images, 0 names");
    check(
        "a:1 a:2 = A(base)",
        "a:1",
        careful,
        &running,
        "-a:1 | 1 images, 1 names",
    );
    check(
        image,
        "A",
        careful,
        &stopped,
        "conflict: unable to delete A (must be forced) - image is being used by stopped container c1",
    );
    check(image, "A", forced, &stopped, "-a:1 | 1 images, 0 names");
    check(
        image,
        "A",
        forced,
        &running,
        "conflict: unable to delete A (cannot be forced) - image is being used by running container c1",
    );
    let two = "conflict: unable to delete A (must be forced) - image is referenced in multiple repositories";
    check("a:1 b:1 = A(base)", "A", careful, &Use::Unused, two);
    check(
        "a:1 b:1 = A(base)",
        "A",
        forced,
        &Use::Unused,
        "-a:1 -b:1 xA xbase | 0 images, 0 names",
    );
}

#[test]
fn names_come_before_ids_and_a_beginning_must_be_unique() {
    let hex = id("A").hex();
    let catalogue = catalogue(&format!("a:1 a@ = A(base)\n{}:latest = B(base)", &hex[..4]));
    let find = |text: &str| catalogue.find(text).map(|found| found.id);
    assert_eq!(find("a:1").unwrap(), id("A"));
    assert_eq!(find(&hex[..4]).unwrap(), id("B"));
    assert_eq!(find(&hex[..5]).unwrap(), id("A"));
    assert_eq!(find(&format!("sha256:{hex}")).unwrap(), id("A"));
    assert_eq!(find(&format!("a@sha256:{hex}")).unwrap(), id("A"));
    assert_eq!(find(&format!("a:9@sha256:{hex}")).unwrap(), id("A"));
    assert!(matches!(
        find("sha256:"),
        Err(ImageError::NoSuchImage { .. })
    ));
    assert!(matches!(find("A b"), Err(ImageError::Reference(_))));
    let json = serde_json::to_string(&catalogue).unwrap();
    assert_eq!(serde_json::from_str::<Catalogue>(&json).unwrap(), catalogue);
}
