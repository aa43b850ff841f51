//! What all prompts of a template begin with.

/// What opens an expression, a statement or a comment.
const OPENINGS: [&str; 3] = ["{{", "{%", "{#"];

/// The text of `template` that every prompt made of it begins with.
#[must_use]
pub fn constant_head(template: &str) -> &str {
    let ends = OPENINGS.iter().filter_map(|opening| template.find(opening));
    &template[..ends.min().unwrap_or(template.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_where_the_first_thing_is_filled_in() {
        for (template, head) in [
            ("Label this: {{ body }}", "Label this: "),
            ("a { b } {% if c %}{{ d }}{% endif %}", "a { b } "),
            ("\u{fc}{# note #} b", "\u{fc}"),
            ("{{ body }}", ""),
            ("all", "all"),
        ] {
            assert_eq!(constant_head(template), head);
        }
    }
}
