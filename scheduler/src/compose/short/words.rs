//! A command line into words, as Docker Compose does it: quotes and backslashes of a shell, but no
//! shell. Nothing is expanded, `#` begins no comment, and an operator such as `&&` ends the line.

/// A command line that has been split.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words<'a> {
    pub(super) words: Vec<String>,
    /// The rest of the line from an unquoted operator on, which no shell is there to understand.
    pub(super) ignored: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
    /// `` `…` `` and `$(…)` stay one word, and stay as they are.
    Backtick,
    Substitution,
}

/// Splits a line; `None` when a quote is never closed or a backslash stands at the end.
pub(super) fn split(line: &str) -> Option<Words<'_>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = Quote::None;
    let mut chars = line.char_indices();
    let mut ignored = "";
    while let Some((at, char)) = chars.next() {
        let text = word.get_or_insert_default();
        match (quote, char) {
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::Single, other) => text.push(other),
            (_, '\\') => text.push(chars.next()?.1),
            (Quote::Double, other) => text.push(other),
            (Quote::None, '\'') => quote = Quote::Single,
            (Quote::None, '"') => quote = Quote::Double,
            (Quote::None, '`') | (Quote::Backtick, '`') | (Quote::Substitution, ')') => {
                text.push(char);
                quote = if quote == Quote::None {
                    Quote::Backtick
                } else {
                    Quote::None
                };
            }
            (Quote::None, '(') if text.ends_with('$') => {
                text.push(char);
                quote = Quote::Substitution;
            }
            (Quote::Backtick | Quote::Substitution, other) => text.push(other),
            (Quote::None, ';' | '&' | '|' | '<' | '>') => {
                ignored = &line[at..];
                break;
            }
            (Quote::None, other) if other.is_whitespace() => {
                let started = line[..at].ends_with(|it: char| !it.is_whitespace());
                let done = word.take().filter(|_| started);
                words.extend(done);
            }
            (Quote::None, other) => text.push(other),
        }
    }
    if quote != Quote::None {
        return None;
    }
    // An operator that begins a word leaves an empty one behind.
    words.extend(word.filter(|it| ignored.is_empty() || !it.is_empty()));
    Some(Words { words, ignored })
}

#[cfg(test)]
mod tests {
    use super::split;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let shown = match split(line) {
            None => "refused".to_owned(),
            Some(words) => {
                let rest = if words.ignored.is_empty() {
                    String::new()
                } else {
                    format!(" without {}", words.ignored)
                };
                format!("{}{rest}", words.words.join("|"))
            }
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn splits_as_docker_compose_does() {
        check("  a  b\tc\n", "a|b|c");
        check("a # b", "a|#|b");
        check(r#"sh -c 'echo "x"' "a b"c"#, r#"sh|-c|echo "x"|a bc"#);
        check("a '' \"\" b", "a|||b");
        check(r"a\ b \'c", "a b|'c");
        check(r#""a\"b" 'a\b'"#, r#"a"b|a\b"#);
        check("a$(id -u)b `x y`", "a$(id -u)b|`x y`");
        check("", "");
    }

    #[test]
    fn stops_where_a_shell_would_be_needed() {
        check("echo a && b", "echo|a without && b");
        check("a; b", "a without ; b");
        check("a 'x && y'", "a|x && y");
        check("it's", "refused");
        check("a\\", "refused");
    }
}
