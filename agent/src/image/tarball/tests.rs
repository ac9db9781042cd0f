use tar::{Builder, EntryType, Header};

use super::*;

fn read(bytes: &[u8]) -> Result<Vec<String>, TarError> {
    let mut archive = Tarball::new(bytes);
    let mut lines = Vec::new();
    while let Some(entry) = archive.next()? {
        let mut content = String::new();
        archive
            .read_to_string(&mut content)
            .map_err(TarError::Read)?;
        lines.push(format!(
            "{} {:?} {content}",
            String::from_utf8_lossy(&entry.name),
            entry.kind
        ));
    }
    Ok(lines)
}

fn file(name: &str, content: &str) -> Header {
    let mut header = Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}

/// An archive with PAX records before its one file.
fn with_pax(records: &[(&str, &str)], header: &Header, content: &str) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder
        .append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_bytes())))
        .unwrap();
    builder.append(header, content.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = "a/".repeat(150) + "x";
    let mut builder = Builder::new(Vec::new());
    let mut header = file("short", "1");
    builder.append_data(&mut header, &long, &b"1"[..]).unwrap();
    let expected = format!("{long} File {{ size: 1 }} 1");
    assert_eq!(
        read(&builder.into_inner().unwrap()).unwrap(),
        std::slice::from_ref(&expected)
    );
    assert_eq!(
        read(&with_pax(&[("path", &long)], &file("short", "1"), "1")).unwrap(),
        [expected]
    );
}

#[test]
fn the_size_of_the_extension_counts_for_the_step_as_well() {
    // A reader that steps by the size in the header would find the hidden archive in the content.
    let hidden = with_pax(&[], &file("hidden", "1"), "1");
    let content = String::from_utf8(
        hidden
            .into_iter()
            .map(|b| if b > 127 { b'?' } else { b })
            .collect(),
    )
    .unwrap();
    let mut header = file("outer", "");
    header.set_cksum();
    let mut bytes = with_pax(&[("size", &content.len().to_string())], &header, "");
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(content.as_bytes());
    let names: Vec<_> = read(&bytes)
        .unwrap()
        .iter()
        .map(|l| l.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["outer"]);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let error = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    let sparse = with_pax(&[("GNU.sparse.major", "1")], &file("f", ""), "");
    assert!(error(&sparse).ends_with("has sparse content, which is not supported"));
    let nul = with_pax(&[("path", "a\0b")], &file("f", ""), "");
    assert!(error(&nul).ends_with("a name has a NUL"));
    let mut link = file("f", "1");
    link.set_entry_type(EntryType::Symlink);
    link.set_cksum();
    assert!(
        error(&with_pax(&[], &link, "1")).ends_with("its type has no content, yet a size is given")
    );
    let long = with_pax(&[("path", &"x".repeat(5_000))], &file("f", ""), "");
    assert!(error(&long).ends_with("longer than allowed"));
    let signed = with_pax(&[("size", "+5")], &file("f", ""), "");
    assert!(error(&signed).starts_with("the archive has a damaged header"));
}

#[test]
fn damage_is_noticed() {
    let good = with_pax(&[], &file("f", "content"), "content");
    let mut flipped = good.clone();
    flipped[3] ^= 1;
    assert!(matches!(read(&flipped), Err(TarError::Header { .. })));
    for end in [1, 511, 513, 518] {
        assert!(read(&good[..end]).is_err(), "{end}");
    }
    let mut bomb = Header::new_gnu();
    bomb.set_entry_type(EntryType::GNULongName);
    bomb.set_size(1 << 40);
    bomb.set_cksum();
    assert!(matches!(
        read(bomb.as_bytes()),
        Err(TarError::TooLong { .. })
    ));
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_the_reader(at in 0_usize..2048, byte: u8) {
        let mut bytes = with_pax(&[("path", "a/b"), ("mtime", "1.5")], &file("f", "content"), "content");
        if let Some(slot) = bytes.get_mut(at) {
            *slot = byte;
        }
        let _ = read(&bytes);
    }
}
