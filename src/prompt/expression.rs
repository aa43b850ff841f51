//! How a template reads a column: what a hint may tell people to write.

/// Words that mean something else in a template, so that a column of that name needs `row[...]`.
const TAKEN: [&str; 22] = [
    "and", "block", "elif", "else", "endfor", "endif", "false", "False", "for", "if", "in", "is",
    "loop", "none", "None", "not", "or", "row", "self", "true", "True", "vars",
];

/// Whether a template reads the word as a value that is always the same.
pub(super) fn is_constant(word: &str) -> bool {
    matches!(word, "true" | "True" | "false" | "False" | "none" | "None")
}

/// What reads the column `name`: the name, where it is a word of its own, else `row['name']`.
#[must_use]
pub fn column_expression(name: &str) -> String {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_word = name.starts_with(begins) && name.chars().all(|c| begins(c) || c.is_ascii_digit());
    if is_word && !TAKEN.contains(&name) {
        return name.to_owned();
    }
    let quote = if name.contains('\'') && !name.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut text = format!("row[{quote}");
    for c in name.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c if c == quote => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text.extend([quote, ']']);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Template;
    use super::*;

    #[test]
    fn what_is_told_reads_the_column() {
        let names = [
            "subject", "_a1", "a b", "Größe", "a.b", "a-b", "a\"b", "a'b", "a'\"b", "a\\b", "a\nb",
            "%s", "$x", "row", "vars", "self", "1", "true", "none", "not", "if", "loop", "", "🎉",
        ];
        for name in names {
            let text = format!("{{{{ {} }}}}", column_expression(name));
            let template =
                Template::compile(&text, "prompt.user", &[name, "other"], &BTreeMap::new());
            let columns = template.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(columns.columns().contains(&name.to_owned()), "{text}");
        }
        assert_eq!(column_expression("subject"), "subject");
        assert_eq!(column_expression("a b"), "row['a b']");
    }
}
