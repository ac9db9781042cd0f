use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
web:x:1000:1001:Web,,,:/srv/web:/bin/sh
broken:x:4294967296:0::/:
negative:x:-1:0::/:
nohome:x:1002:1002::
7:x:70:71::/seven:
";
const GROUP: &str = "root:x:0:
www-data:x:33:web,other
adm:x:4:web
web:x:1001:
huge:x:4294967296:web
";

/// `expected` is `uid:gid groups home`, or the error.
#[track_caller]
fn check(user: &str, group_add: &str, expected: &str) {
    let files = UserFiles {
        passwd: PASSWD.into(),
        group: GROUP.into(),
    };
    let group_add: Vec<String> = group_add.split_whitespace().map(str::to_owned).collect();
    let text = match resolve(user, &group_add, &files) {
        Ok(user) => format!("{}:{} {:?} {}", user.uid, user.gid, user.groups, user.home),
        Err(error) => error.to_string(),
    };
    assert_eq!(text, expected, "{user}");
}

#[test]
fn nobody_named_is_root() {
    check("", "", "0:0 [] /root");
    check(":www-data", "", "0:33 [] /root");
}

#[test]
fn a_name_brings_its_groups_and_home() {
    check("web", "", "1000:1001 [4, 33] /srv/web");
    check("1000", "", "1000:1001 [4, 33] /srv/web");
    check("nohome", "", "1002:1002 [] /");
}

#[test]
fn a_given_group_is_the_only_one() {
    check("web:www-data", "", "1000:33 [] /srv/web");
    check("1000:1000", "", "1000:1000 [] /srv/web");
    check("5000:web", "", "5000:1001 [] /");
    check("web:", "", "1000:1001 [4, 33] /srv/web");
}

#[test]
fn added_groups_come_on_top_each_once() {
    check("web:www-data", "adm 33 4 999", "1000:33 [4, 999] /srv/web");
}

#[test]
fn a_number_needs_no_entry() {
    check("5000", "", "5000:0 [] /");
    check("2147483647:2147483647", "", "2147483647:2147483647 [] /");
}

#[test]
fn a_name_of_digits_is_found_as_name_or_number() {
    check("7", "", "70:71 [] /seven");
    check("70", "", "70:71 [] /seven");
}

#[test]
fn nothing_odd_becomes_root() {
    check(
        "4294967296",
        "",
        "id `4294967296` is not between 0 and 2147483647",
    );
    check(
        "2147483648:0",
        "",
        "id `2147483648` is not between 0 and 2147483647",
    );
    check(
        "0:99999999999999999999",
        "",
        "id `99999999999999999999` is not between 0 and 2147483647",
    );
    check("-1", "", "user `-1` is not in the image's /etc/passwd");
    check("+0", "", "user `+0` is not in the image's /etc/passwd");
    check("0x0", "", "user `0x0` is not in the image's /etc/passwd");
    check(" 0", "", "user ` 0` is not in the image's /etc/passwd");
    check("٠", "", "user `٠` is not in the image's /etc/passwd");
    check(
        "broken",
        "",
        "user `broken` is not in the image's /etc/passwd",
    );
    check(
        "negative",
        "",
        "user `negative` is not in the image's /etc/passwd",
    );
    check(
        "web:huge",
        "",
        "group `huge` is not in the image's /etc/group",
    );
    check(
        "nobody",
        "",
        "user `nobody` is not in the image's /etc/passwd",
    );
    check(
        "web:a:b",
        "",
        "`web:a:b` is not of the form `user` or `user:group`",
    );
}

#[test]
fn an_image_without_files_knows_only_numbers() {
    let user = resolve("12:34", &[], &UserFiles::default()).unwrap();
    assert_eq!((user.uid, user.gid, user.home.as_str()), (12, 34, "/"));
    assert!(resolve("root", &[], &UserFiles::default()).is_err());
}

#[test]
fn the_primary_group_is_among_those_that_are_set() {
    let user = |groups: &[u32]| ResolvedUser {
        gid: 50,
        groups: groups.to_vec(),
        ..ResolvedUser::default()
    };
    assert_eq!(user(&[]).memberships(), [50]);
    assert_eq!(user(&[7, 1000]).memberships(), [7, 50, 1000]);
}
