//! `[answer]` with types: from fields and schemas to what is asked for, and what is wrong with them.

use std::collections::BTreeMap;

use super::*;
use crate::work::AnswerType;
use crate::work::answer::JsonAnswer;

/// A job whose answer is `answer`.
fn with(answer: &str) -> String {
    format!(
        "name = \"small\"\nsource.table = \"in.parquet\"\nsource.key = [\"id\"]\nprompt.user = \"{{{{ a }}}}\"\n\
         model.use = \"openai/gpt\"\noutput.path = \"out.parquet\"\n[answer]\ncolumn = \"b\"\n{answer}"
    )
}

fn json(answer: &str) -> JsonAnswer {
    match job(&with(answer)).answer.answer {
        AnswerType::Json(json) => json,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_become_a_schema_in_their_order_and_types() {
    let answer = json(
        "type = \"json\"\n[answer.fields]\n\
         urgency = \"SMALLINT\"\n\
         label = { choices = [\"billing\", \"other\"], description = \"What it is about\" }\n\
         due = { type = \"DATE\", nullable = true }\n\
         lines = \"STRUCT(sku VARCHAR, qty INT)[]\"\n",
    );
    assert_eq!(
        answer.schema,
        concat!(
            r#"{"type":"object","properties":{"urgency":{"type":"integer"},"#,
            r#""label":{"type":"string","enum":["billing","other"],"description":"What it is about"},"#,
            r#""due":{"type":["string","null"],"format":"date"},"#,
            r#""lines":{"type":"array","items":{"type":["object","null"],"properties":"#,
            r#"{"sku":{"type":["string","null"]},"qty":{"type":["integer","null"]}},"#,
            r#""required":["sku","qty"],"additionalProperties":false}}},"#,
            r#""required":["urgency","label","due","lines"],"additionalProperties":false}"#
        )
    );
    let types = [("lines[].qty", "INTEGER"), ("urgency", "SMALLINT")];
    let types = types.map(|(place, name)| (place.to_owned(), name.to_owned()));
    assert_eq!(answer.types, BTreeMap::from(types));
    let value = answer.types().expect("types").value;
    assert_eq!(
        value.to_string(),
        "STRUCT(urgency SMALLINT NOT NULL, label VARCHAR NOT NULL, due DATE, \
         lines STRUCT(sku VARCHAR, qty INTEGER)[] NOT NULL)"
    );
}

#[test]
fn every_type_of_a_field_comes_back_from_its_schema() {
    for name in [
        "VARCHAR",
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "REAL",
        "DOUBLE",
        "DECIMAL(12, 2)",
        "DATE",
        "TIME",
        "TIMESTAMP",
        "TIMESTAMP WITH TIME ZONE",
        "VARCHAR[]",
        "SMALLINT[][]",
        "STRUCT(a DECIMAL(4, 2), \"b c\" TIME[])",
        "MAP(VARCHAR, SMALLINT)",
    ] {
        let answer = json(&format!("fields = {{ f = '{name}' }}\n"));
        let value = answer.types().expect("types").value;
        assert_eq!(value.to_string(), format!("STRUCT(f {name} NOT NULL)"));
    }
}

#[test]
fn a_schema_is_taken_as_text_as_a_table_and_narrowed() {
    let text = r#"{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"number"}},"required":["z","a"]}"#;
    let as_text = json(&format!(
        "schema = '{text}'\ntypes = {{ z = \"INT\", a = \"DECIMAL(6,2)\" }}\n"
    ));
    assert_eq!(as_text.schema, text);
    let value = as_text.types().expect("types").value;
    assert_eq!(
        value.to_string(),
        "STRUCT(z INTEGER NOT NULL, a DECIMAL(6, 2) NOT NULL)"
    );
    let as_table = json(
        "[answer.schema]\ntype = \"object\"\nproperties = { z = { type = \"integer\" }, a = { type = \"number\" } }\nrequired = [\"z\", \"a\"]\n",
    );
    assert_eq!(as_table.schema, text);
}

#[test]
fn one_value_has_a_type_of_its_own() {
    for (name, sql) in [
        ("number", "DOUBLE"),
        ("boolean", "BOOLEAN"),
        ("date", "DATE"),
    ] {
        let answer = json(&format!("type = \"{name}\"\n"));
        assert_eq!(answer.types().expect("types").value.to_string(), sql);
    }
}

#[test]
fn flattened_fields_are_columns_of_their_own() {
    let fields = "fields = { x = \"INT\", y = \"INT\" }\n";
    for (more, names) in [
        ("", vec!["b", "b_status", "b_error"]),
        (
            "flatten = true\n",
            vec!["b_x", "b_y", "b_status", "b_error"],
        ),
        (
            "flatten = true\nprefix = \"\"\n",
            vec!["x", "y", "b_status", "b_error"],
        ),
    ] {
        let job = job(&with(&format!("{more}{fields}")));
        assert_eq!(job.answer.columns().expect("names"), names);
    }
}

/// What `[answer]` says, and what is wrong with it.
const WRONG: &[(&str, &str)] = &[
    ("type = \"json\"", "`answer.fields` is missing"),
    (
        "type = \"json\"\nchoices = [\"a\"]\nfields = { a = \"INT\" }",
        "`answer.choices` is given for an answer of type `json`",
    ),
    (
        "type = \"text\"\nfields = { a = \"INT\" }",
        "`answer.fields` is given for an answer of type `text`",
    ),
    (
        "type = \"text\"\nflatten = true",
        "`answer.flatten` is given for an answer of type `text`",
    ),
    ("fields = {}", "`answer.fields` is empty"),
    (
        "fields = { a = \"STRNG\" }",
        "`answer.fields.a` cannot be used: there is no type `STRNG`",
    ),
    (
        "fields = { a = 3 }",
        "`answer.fields.a` must be a type or a table, found a whole number",
    ),
    (
        "fields = { a = { tpye = \"INT\" } }",
        "unknown key `answer.fields.a.tpye`",
    ),
    (
        "fields = { a = { nullable = true } }",
        "`answer.fields.a` cannot be used: it has neither a type nor choices",
    ),
    (
        "fields = { a = { type = \"INT\", choices = [\"x\"] } }",
        "`answer.fields.a` cannot be used: choices are words, and its type is not VARCHAR",
    ),
    (
        "fields = { a = { choices = [\"x\", \"X\"] } }",
        "the choices `x` and `X` are the same",
    ),
    (
        "fields = { a = { type = \"INT\", nullable = \"yes\" } }",
        "`answer.fields.a.nullable` must be true or false, found a text",
    ),
    (
        "fields = { a = \"INT\" }\nschema = '{}'",
        "`answer.fields` and `answer.schema` are both given",
    ),
    (
        "schema = 'nonsense'",
        "`answer.schema` is not JSON: expected ident at line 1 column 2",
    ),
    (
        "schema = '{\"type\":\"strng\"}'",
        "the answer's schema cannot be used, reason=`the schema has a type that does not exist: `strng``",
    ),
    (
        "schema = '{\"type\":\"string\",\"pattern\":\"(\"}'",
        "the answer's schema cannot be used",
    ),
    (
        "schema_file = \"none.json\"",
        "cannot read `answer.schema_file`",
    ),
    (
        "fields = { a = \"INT\" }\ntypes = { b = \"INT\" }",
        "a type of the answer cannot be used, place=`b`, type=`INT`, reason=`the schema has no such place`",
    ),
    (
        "schema = '{\"type\":\"string\"}'\nflatten = true",
        "`answer.flatten` needs an answer that has fields",
    ),
    (
        "fields = { a = \"INT\" }\nprefix = \"x_\"",
        "`answer.prefix` names the columns of `answer.flatten`",
    ),
    (
        "fields = { id = \"INT\" }\nflatten = true\nprefix = \"\"",
        "the new column `id` is a column of the key already",
    ),
    (
        "fields = { b_status = \"INT\" }\nflatten = true\nprefix = \"\"",
        "two new columns have the name `b_status`",
    ),
];

#[test]
fn what_is_wrong_with_an_answer_is_said() {
    for (answer, problem) in WRONG {
        let mistakes = resolve(&draft(&with(&format!("{answer}\n")))).expect_err(answer);
        assert_eq!(mistakes.len(), 1, "{answer}: {mistakes:#?}");
        assert!(mistakes[0].contains(problem), "{answer}: {}", mistakes[0]);
    }
}
