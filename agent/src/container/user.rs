//! Who a container's process is: Docker's `user` grammar against the image's account files.
//!
//!     "web:www-data" + group_add ["999"]  ──►  uid 1000, gid 33, groups [999], home /home/web
//!
//! Numbers are taken as they are and need no entry; names need one. What is neither a plain decimal
//! number below 2³¹ nor a name in the files is refused, so that nothing odd ends up as uid 0.

pub mod layers;

use std::path::{Path, PathBuf};

/// The image's account files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFiles {
    /// Contents of `/etc/passwd`; empty when the image has none.
    pub passwd: Vec<u8>,
    /// Contents of `/etc/group`; empty when the image has none.
    pub group: Vec<u8>,
}

/// Who a process is, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, ascending, each once, without `gid`.
    pub groups: Vec<u32>,
    /// Home directory; `/` when the account files don't say.
    pub home: String,
}

impl ResolvedUser {
    /// What setgroups(2) is given: the primary group too, so that a program that changes its group
    /// stays a member of it and of what that is denied (CVE-2022-36109).
    pub fn memberships(&self) -> Vec<u32> {
        let mut all = self.groups.clone();
        let at = all.partition_point(|group| *group < self.gid);
        all.insert(at, self.gid);
        all
    }
}

/// Why a user could not be found out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("user `{user}` is not in the image's /etc/passwd")]
    UnknownUser { user: String },
    #[error("group `{group}` is not in the image's /etc/group")]
    UnknownGroup { group: String },
    #[error("id `{id}` is not between 0 and 2147483647")]
    OutOfRange { id: String },
    #[error("`{text}` is not of the form `user` or `user:group`")]
    Syntax { text: String },
}

impl UserFiles {
    /// Reads both files as the container would see them beneath overlay `layers`, uppermost first.
    pub fn from_layers(layers: &[PathBuf]) -> Self {
        let read = |path| layers::read(layers, Path::new(path)).unwrap_or_default();
        Self {
            passwd: read("/etc/passwd"),
            group: read("/etc/group"),
        }
    }
}

/// Looks `user` and `group_add` up in the image's files.
///
/// `user` is `name`, `uid`, `name:group` or `uid:gid`; empty is root. Without a group, the
/// process gets the primary group of its account and every group whose members name it; with a
/// group it gets just that one. `group_add` comes on top in both cases.
///
/// # Errors
///
/// Returns [`UserError`] for a name without an entry, a number of 2³¹ or more, and further colons.
///
/// Source: `GetExecUser` of github.com/moby/sys/user; its 32-bit overflow was CVE-2024-40635.
pub fn resolve(
    user: &str,
    group_add: &[String],
    files: &UserFiles,
) -> Result<ResolvedUser, UserError> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((_, group)) if group.contains(':') => {
            return Err(UserError::Syntax {
                text: user.to_owned(),
            });
        }
        Some((name, group)) => (name, (!group.is_empty()).then_some(group)),
        None => (user, None),
    };
    let account = find_account(
        if user_part.is_empty() { "0" } else { user_part },
        &files.passwd,
    )?;
    let mut groups = group_add
        .iter()
        .map(|group| find_group(group, &files.group))
        .collect::<Result<Vec<_>, _>>()?;
    let gid = match group_part {
        Some(group) => find_group(group, &files.group)?,
        None => {
            groups.extend(memberships(account.name.as_deref(), &files.group));
            account.gid
        }
    };
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| *group != gid);
    Ok(ResolvedUser {
        uid: account.uid,
        gid,
        groups,
        home: account.home,
    })
}

struct Account {
    /// `None` for a number without an entry.
    name: Option<String>,
    uid: u32,
    gid: u32,
    home: String,
}

fn find_account(wanted: &str, passwd: &[u8]) -> Result<Account, UserError> {
    let number = parse_id(wanted)?;
    let entry = lines(passwd).filter_map(parse_passwd_line).find(|account| {
        account.name.as_deref() == Some(wanted) || number.is_some_and(|uid| account.uid == uid)
    });
    match (entry, number) {
        (Some(account), _) => Ok(account),
        (None, Some(uid)) => Ok(Account {
            name: None,
            uid,
            gid: 0,
            home: "/".to_owned(),
        }),
        (None, None) => Err(UserError::UnknownUser {
            user: wanted.to_owned(),
        }),
    }
}

fn find_group(wanted: &str, group_file: &[u8]) -> Result<u32, UserError> {
    let number = parse_id(wanted)?;
    let entry = lines(group_file)
        .filter_map(parse_group_line)
        .find(|group| group.name == wanted);
    match (number, entry) {
        (_, Some(group)) => Ok(group.gid),
        (Some(gid), None) => Ok(gid),
        (None, None) => Err(UserError::UnknownGroup {
            group: wanted.to_owned(),
        }),
    }
}

fn memberships<'a>(name: Option<&'a str>, group_file: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    lines(group_file)
        .filter_map(parse_group_line)
        .filter(move |group| name.is_some_and(|name| group.members.split(',').any(|m| m == name)))
        .map(|group| group.gid)
}

/// Parses plain decimal digits; `None` is a name.
fn parse_id(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        // The kernel takes 2³² - 1 for "no change", and programs keep ids in an `int`.
        Ok(id) if id <= i32::MAX as u32 => Ok(Some(id)),
        Ok(_) | Err(_) => Err(UserError::OutOfRange {
            id: text.to_owned(),
        }),
    }
}

fn lines(file: &[u8]) -> impl Iterator<Item = &str> {
    // A line that is not UTF-8 names nobody whom a spec could name.
    file.split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
}

/// Parses `name:password:uid:gid:comment:home:shell`; a line with a bad number is skipped, never root.
fn parse_passwd_line(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.trim().split(':').collect();
    let [name, _, uid, gid, rest @ ..] = fields.as_slice() else {
        return None;
    };
    let home = rest
        .get(1)
        .copied()
        .filter(|home| home.starts_with('/'))
        .unwrap_or("/");
    Some(Account {
        name: Some((*name).to_owned()),
        uid: parse_id(uid).ok()??,
        gid: parse_id(gid).ok()??,
        home: home.to_owned(),
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Parses `name:password:gid:member,member`.
fn parse_group_line(line: &str) -> Option<Group<'_>> {
    let mut fields = line.trim().split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Group {
        name,
        gid: parse_id(gid).ok()??,
        members: fields.next().unwrap_or(""),
    })
}

#[cfg(test)]
mod tests;
