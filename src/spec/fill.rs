//! `${NAME}` and `{{ vars.x }}` in addresses.
//!
//! Both are found in the text as written, in one pass, so that what an environment variable or a
//! `--var` brings in is never itself read as either.

use std::collections::BTreeMap;

/// A piece of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Literal(&'t str),
    Env(&'t str),
    Var(&'t str),
}

/// An address with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// All of it.
    pub(super) text: String,
    /// How many bytes stand before the first `{{ vars.x }}`, if there is one.
    pub(super) fixed: Option<usize>,
    /// The same for every value of the variables: each stands there by its name.
    pub(super) pattern: String,
    /// Whether a variable has no value, and stands there by its name in `text` as well.
    pub(super) unfilled: bool,
}

/// What can be filled in, and with what.
pub(super) struct Filler<'a> {
    /// The environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// The values of `--var`, where the address may hold them.
    pub(super) vars: Option<&'a BTreeMap<String, String>>,
    /// Whether a variable may be without a value.
    pub(super) lenient: bool,
}

/// What is wrong, and what to do.
pub(super) type Complaint = (String, String);

impl Filler<'_> {
    /// Fills in `text`, or says everything that is wrong with it.
    pub(super) fn fill(&self, text: &str) -> Result<Filled, Vec<Complaint>> {
        let pieces = split(text, self.vars.is_some()).map_err(|complaint| vec![complaint])?;
        let (mut out, mut complaints) = (String::new(), Vec::new());
        let (mut fixed, mut pattern, mut unfilled) = (None, String::new(), false);
        for piece in pieces {
            let name = match piece {
                Piece::Var(name) => {
                    fixed.get_or_insert(out.len());
                    Some(format!("{{{{ vars.{name} }}}}"))
                }
                _ => None,
            };
            let value = match self.value(&piece) {
                Ok(Some(value)) => value,
                Ok(None) => {
                    unfilled = true;
                    name.clone().unwrap_or_default()
                }
                Err(complaint) => {
                    complaints.push(complaint);
                    continue;
                }
            };
            pattern.push_str(name.as_ref().unwrap_or(&value));
            out.push_str(&value);
        }
        if complaints.is_empty() {
            Ok(Filled {
                text: out,
                fixed,
                pattern,
                unfilled,
            })
        } else {
            Err(complaints)
        }
    }

    /// What stands for a piece; nothing for a variable that may be without a value, and is.
    fn value(&self, piece: &Piece<'_>) -> Result<Option<String>, Complaint> {
        match piece {
            Piece::Literal(text) => Ok(Some((*text).to_owned())),
            Piece::Env(name) => (self.env)(name).map(Some).ok_or_else(|| {
                (
                    format!("the environment variable `{name}` is not set"),
                    format!("set it, as in `export {name}=...`, or write the value itself"),
                )
            }),
            Piece::Var(name) => {
                let Some(value) = self.vars.and_then(|vars| vars.get(*name)) else {
                    return if self.lenient {
                        Ok(None)
                    } else {
                        Err((
                            format!("there is no value for `vars.{name}`"),
                            format!("give one: `--var {name}=...`"),
                        ))
                    };
                };
                check_var(name, value)?;
                Ok(Some(value.clone()))
            }
        }
    }
}

/// A value must not lead out of the folder that it names a part of.
fn check_var(name: &str, value: &str) -> Result<(), Complaint> {
    let escapes = value.split('/').any(|part| matches!(part, "" | "." | ".."));
    if escapes {
        return Err((
            format!("the value of `vars.{name}` cannot be a part of a path: `{value}`"),
            "give one without empty parts, `.` and `..`".into(),
        ));
    }
    Ok(())
}

fn split(text: &str, with_vars: bool) -> Result<Vec<Piece<'_>>, Complaint> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((at, open)) = first_opening(rest, with_vars) {
        if at > 0 {
            pieces.push(Piece::Literal(&rest[..at]));
        }
        let close = if open == "${" { "}" } else { "}}" };
        let inner = &rest[at + open.len()..];
        let end = inner.find(close).ok_or_else(|| {
            (
                format!("`{open}` without its `{close}`"),
                "write `${NAME}` for an environment variable".to_owned(),
            )
        })?;
        pieces.push(piece(open, &inner[..end])?);
        rest = &inner[end + close.len()..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    Ok(pieces)
}

fn first_opening(text: &str, with_vars: bool) -> Option<(usize, &'static str)> {
    let env = text.find("${").map(|at| (at, "${"));
    let var = text.find("{{").map(|at| (at, "{{")).filter(|_| with_vars);
    env.into_iter().chain(var).min()
}

fn piece<'t>(open: &str, inner: &'t str) -> Result<Piece<'t>, Complaint> {
    if open == "${" {
        if is_identifier(inner) {
            return Ok(Piece::Env(inner));
        }
        return Err((
            format!("`${{{inner}}}` does not name an environment variable"),
            "write `${NAME}`, of letters, digits and `_`".into(),
        ));
    }
    match inner.trim().strip_prefix("vars.") {
        Some(name) if is_identifier(name) => Ok(Piece::Var(name)),
        _ => Err((
            format!("`{{{{{inner}}}}}` cannot stand in a path"),
            "only `{{ vars.name }}` can, with its value from `--var name=...`".into(),
        )),
    }
}

/// Whether `name` is a name in every language that it may be used in: the shell, SQL, templates.
pub(super) fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<Filled, Vec<Complaint>> {
        let vars = [("ds", "2026-08-01"), ("x", "${HOME}"), ("up", "../..")];
        let vars = vars.map(|(k, v)| (k.into(), v.into())).into();
        let env = |name: &str| (name == "BUCKET").then(|| "lake/{{ vars.ds }}".to_owned());
        Filler {
            env: &env,
            vars: Some(&vars),
            lenient: false,
        }
        .fill(text)
    }

    fn filled(text: &str) -> (String, Option<usize>) {
        let filled = fill(text).expect("can be filled in");
        (filled.text, filled.fixed)
    }

    #[test]
    fn values_are_filled_in_and_never_read_again() {
        assert_eq!(filled("out/"), ("out/".into(), None));
        assert_eq!(
            filled("s3://b/dt={{ vars.ds }}/x{{vars.ds}}"),
            ("s3://b/dt=2026-08-01/x2026-08-01".into(), Some(10))
        );
        assert_eq!(
            filled("s3://${BUCKET}/a"),
            ("s3://lake/{{ vars.ds }}/a".into(), None)
        );
        assert_eq!(filled("a/{{ vars.x }}"), ("a/${HOME}".into(), Some(2)));
        assert_eq!(filled("100$ {x}"), ("100$ {x}".into(), None));
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let problems = |text| -> Vec<String> {
            let complaints = fill(text).expect_err("is wrong");
            complaints.into_iter().map(|(problem, _)| problem).collect()
        };
        assert_eq!(
            problems("${A}/{{ vars.nope }}/${B}"),
            [
                "the environment variable `A` is not set",
                "there is no value for `vars.nope`",
                "the environment variable `B` is not set"
            ]
        );
        assert_eq!(problems("${A"), ["`${` without its `}`"]);
        assert_eq!(problems("{{ vars.ds"), ["`{{` without its `}}`"]);
        assert_eq!(
            problems("${A-B}"),
            ["`${A-B}` does not name an environment variable"]
        );
        assert_eq!(problems("{{ ds }}"), ["`{{ ds }}` cannot stand in a path"]);
        assert_eq!(
            problems("{{ vars.ds | upper }}"),
            ["`{{ vars.ds | upper }}` cannot stand in a path"]
        );
        assert_eq!(
            problems("x/{{ vars.up }}/y"),
            ["the value of `vars.up` cannot be a part of a path: `../..`"]
        );
    }

    #[test]
    fn braces_are_plain_text_where_no_var_may_stand() {
        let filler = Filler {
            env: &|_| None,
            vars: None,
            lenient: false,
        };
        assert_eq!(
            filler.fill("a/{{ b }}").map(|filled| filled.text),
            Ok("a/{{ b }}".into())
        );
    }

    #[test]
    fn a_variable_without_a_value_stands_by_its_name_where_it_may() {
        let vars = [("ds".to_owned(), "2026-08-01".to_owned())].into();
        let filler = Filler {
            env: &|_| None,
            vars: Some(&vars),
            lenient: true,
        };
        let filled = filler
            .fill("a/{{vars.ds}}/{{ vars.hour }}")
            .expect("may be");
        assert_eq!(filled.text, "a/2026-08-01/{{ vars.hour }}");
        assert_eq!(filled.pattern, "a/{{ vars.ds }}/{{ vars.hour }}");
        assert!(filled.unfilled);
        let filled = filler.fill("a/{{ vars.ds }}").expect("has its value");
        assert!(!filled.unfilled);
    }
}
