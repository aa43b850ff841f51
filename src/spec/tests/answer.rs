//! `[answer]` with types: from fields and schemas to what is asked for, and what is wrong with them.

use std::collections::BTreeMap;

use super::*;
use crate::work::answer::{Asked, ChoiceAnswer, JsonAnswer, Other, Several, TextBounds};
use crate::work::{AnswerType, Judge};

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
            r#"{"type":"object","properties":{"urgency":{"type":"integer","minimum":-32768,"maximum":32767},"#,
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
        "TINYINT UNSIGNED",
        "BIGINT UNSIGNED",
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
fn a_schema_of_openapi_means_what_it_meant() {
    let nullable = r#"{"properties":{"a":{"type":"string","nullable":true}},"required":["a"]}"#;
    let table = "[answer.schema]\nrequired = [\"a\"]\nproperties.a = { type = \"string\", nullable = true }\n";
    for answer in [json(&format!("schema = '{nullable}'\n")), json(table)] {
        let value = answer.types().expect("types").value;
        assert_eq!(value.to_string(), "STRUCT(a VARCHAR)");
        let judge = Judge::new(&AnswerType::Json(answer)).expect("a type");
        assert_eq!(judge.read(r#"{"a":null}"#).as_deref(), Ok(r#"{"a":null}"#));
    }
}

#[test]
fn a_field_that_is_written_as_another_is_refused() {
    for fields in [
        "a = \"STRUCT(b TINYINT)\"\n\"a.b\" = \"INT\"\n",
        "\"a.b\" = \"BIGINT\"\na = \"STRUCT(b TINYINT)\"\n",
        "\"a[]\" = \"VARCHAR\"\na = \"INT[]\"\n",
    ] {
        let answer = with(&format!("[answer.fields]\n{fields}"));
        let mistakes = resolve(&draft(&answer)).expect_err(fields);
        let said = mistakes
            .iter()
            .any(|said| said.contains("several places are written so"));
        assert!(said, "{mistakes:?}");
    }
    json("[answer.fields]\n\"a.b\" = \"INT\"\na = \"STRUCT(c TINYINT)\"\n");
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

fn choice(answer: &str) -> ChoiceAnswer {
    match job(&with(answer)).answer.answer {
        AnswerType::Choice(choice) => choice,
        other => panic!("{other:?}"),
    }
}

#[test]
fn choices_keep_the_order_of_the_file_and_what_is_said_of_them() {
    let list = choice("choices = [\"b\", \"a\"]\n");
    assert_eq!(
        AnswerType::Choice(list),
        AnswerType::choice(vec!["b".into(), "a".into()])
    );
    let told = |words: &[(&str, &str)]| {
        let told = words
            .iter()
            .map(|(word, told)| ((*word).to_owned(), (*told).to_owned()));
        told.collect::<BTreeMap<_, _>>()
    };
    for table in [
        "choices = { zebra = \"a horse\", ape = \"\", \"no such\" = \"else\" }\n",
        "[answer.choices]\nzebra = \"a horse\"\nape = \"\"\n\"no such\" = \"else\"\n",
    ] {
        let choice = choice(table);
        assert_eq!(choice.choices, ["zebra", "ape", "no such"]);
        let expect = told(&[("zebra", "a horse"), ("no such", "else")]);
        assert_eq!(choice.descriptions, expect);
    }
    let several =
        choice("choices = [\"a\", \"b\"]\nmultiple = true\nmin = 1\nmax = 2\nother = true\n");
    let counts = Several {
        min: Some(1),
        max: Some(2),
    };
    assert_eq!(
        (several.multiple, several.other),
        (Some(counts), Some(Other::OwnWords))
    );
    let value = AnswerType::Choice(choice("choices = [\"a\"]\nmultiple = true\n")).value();
    assert_eq!(
        value.expect("a type").expect("a list").to_string(),
        "VARCHAR[]"
    );
    // A label for what fits no other is one of them.
    for (written, words) in [
        ("choices = [\"a\"]\nother = \"rest\"\n", vec!["a", "rest"]),
        (
            "choices = [\"rest\", \"a\"]\nother = \"rest\"\n",
            vec!["rest", "a"],
        ),
    ] {
        let choice = choice(written);
        assert_eq!(choice.other, Some(Other::Label("rest".into())));
        assert_eq!(choice.choices, words);
    }
    assert_eq!(
        choice("choices = [\"a\"]\nother = false\nmultiple = false\n"),
        choice("choices = [\"a\"]\n")
    );
}

#[test]
fn a_field_may_have_choices_with_descriptions_and_several() {
    let answer = json(
        "[answer.fields]\n\
         label = { choices = { bug = \"it fails\", other = \"\" }, description = \"What it is\", nullable = true }\n\
         tags = { choices = [\"b\", \"a\"], multiple = true, min = 1, max = 2 }\n\
         more = { type = \"VARCHAR[]\", choices = [\"x\"], multiple = true }\n",
    );
    assert_eq!(
        answer.schema,
        concat!(
            r#"{"type":"object","properties":{"#,
            r#""label":{"type":["string","null"],"enum":["bug","other",null],"description":"What it is\n\nbug: it fails"},"#,
            r#""tags":{"type":"array","items":{"type":"string","enum":["b","a"]},"minItems":1,"maxItems":2,"uniqueItems":true},"#,
            r#""more":{"type":"array","items":{"type":"string","enum":["x"]},"uniqueItems":true}},"#,
            r#""required":["label","tags","more"],"additionalProperties":false}"#
        )
    );
    assert_eq!(
        answer.types().expect("types").value.to_string(),
        "STRUCT(label VARCHAR, tags VARCHAR[] NOT NULL, more VARCHAR[] NOT NULL)"
    );
}

#[test]
fn a_text_may_be_bounded_and_trimmed_and_only_its_length_is_asked() {
    let answer = |written: &str| job(&with(written)).answer;
    let trimmed = answer("trim = true\n");
    assert_eq!((trimmed.answer, trimmed.trim), (AnswerType::Text, true));
    for (written, trimmed) in [
        ("max_chars = 9\n", false),
        ("max_chars = 9\ntrim = true\n", true),
    ] {
        let bounds = TextBounds {
            max_chars: 9,
            trimmed,
        };
        assert_eq!(answer(written).answer, AnswerType::BoundedText(bounds));
    }
}

#[test]
fn a_server_without_structured_output_is_told_in_the_prompt() {
    let head = "name = \"small\"\nsource.table = \"in.parquet\"\nsource.key = [\"id\"]\nprompt.user = \"{{ a }}\"\n\
         model.use = \"openai/gpt\"\nmodel.structured_output = \"prompt\"\noutput.path = \"out.parquet\"\n[answer]\ncolumn = \"b\"\n";
    let read = |answer: &str| job(&format!("{head}{answer}"));
    let choice = read("choices = [\"a\"]\n");
    assert_eq!(choice.answer.answer.asked(), Asked::Prompt);
    // There is room for the words around it.
    assert_eq!(choice.model.max_output_tokens, 1024);
    let instructions = choice.answer.answer.instructions().expect("instructions");
    assert!(instructions.contains(r#""enum":["a"]"#), "{instructions}");
    assert_eq!(choice.answer.answer.schema(), None);
    assert_eq!(
        read("type = \"number\"\n").answer.answer.asked(),
        Asked::Prompt
    );
    assert_eq!(
        read("fields = { x = \"INT\" }\n").answer.answer.asked(),
        Asked::Prompt
    );
    assert_eq!(read("type = \"text\"\n").answer.answer, AnswerType::Text);
}

/// What `[answer]` says, and what is wrong with it.
const WRONG: &[(&str, &str)] = &[
    (
        "choices = { a = \"x\", A = \"y\" }",
        "the choices `a` and `A` are the same",
    ),
    ("choices = {}", "`answer.choices` is empty"),
    (
        "choices = { a = 1 }",
        "`answer.choices.a` must be what the model is told of it, found a whole number",
    ),
    (
        "choices = { \" \" = \"x\" }",
        "the choice ` ` is blank, or has blanks around it",
    ),
    (
        "choices = [\"a\"]\nmin = 1",
        "`answer.min` says how many choices an answer has, and it has one",
    ),
    (
        "choices = [\"a\", \"b\"]\nmultiple = true\nmin = 2\nmax = 1",
        "`answer.min` is 2, and `max` is 1",
    ),
    (
        "choices = [\"a\", \"b\"]\nmultiple = true\nmin = 3",
        "`answer.min` is 3, and there are 2 choices",
    ),
    (
        "choices = [\"a\"]\nmultiple = true\nmax = 0",
        "`answer.max` must be at least 1",
    ),
    (
        "choices = [\"a\"]\nmultiple = true\nmin = -1",
        "`answer.min` must be at least 0",
    ),
    (
        "choices = [\"a\"]\nmultiple = \"yes\"",
        "`answer.multiple` must be true or false, found a text",
    ),
    (
        "choices = [\"a\"]\nother = 1",
        "`answer.other` must be a label or `true`, found a whole number",
    ),
    (
        "choices = [\"a\"]\nother = \"A\"",
        "the choices `a` and `A` are the same",
    ),
    (
        "multiple = true",
        "`answer.multiple` is given for an answer of type `text`",
    ),
    (
        "choices = [\"a\"]\ntrim = true",
        "`answer.trim` is given for an answer of type `choice`",
    ),
    (
        "type = \"number\"\nmax_chars = 3",
        "`answer.max_chars` is given for an answer of type `number`",
    ),
    ("max_chars = 0", "`answer.max_chars` must be at least 1"),
    (
        "trim = 1",
        "`answer.trim` must be true or false, found a whole number",
    ),
    (
        "fields = { a = { choices = [] } }",
        "`answer.fields.a.choices` is empty",
    ),
    (
        "fields = { a = { choices = [\"x\"], min = 1 } }",
        "`answer.fields.a.min` says how many choices an answer has, and it has one",
    ),
    (
        "fields = { a = { choices = [\"x\"], multiple = true, min = 2 } }",
        "`answer.fields.a.min` is 2, and there are 1 choices",
    ),
    (
        "fields = { a = { type = \"VARCHAR[]\", multiple = true } }",
        "`answer.fields.a.multiple` is given, and there are no `choices`",
    ),
    (
        "fields = { a = { type = \"VARCHAR\", choices = [\"x\"], multiple = true } }",
        "`answer.fields.a` cannot be used: several choices are words, and its type is not VARCHAR[]",
    ),
    (
        "fields = { a = { choices = [\"x\"], other = true } }",
        "unknown key `answer.fields.a.other`",
    ),
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

#[test]
fn the_schema_that_is_advised_is_one() {
    let broken = resolve(&draft(&small("answer.schema = '{'"))).expect_err("is no JSON");
    let (_, advised) = broken[0].split_once("such as `").expect("advice");
    let schema = advised.trim_end_matches('`');
    job(&small(&format!("answer.schema = '{schema}'")));
}

#[test]
fn bounds_of_a_number_are_not_those_of_a_list_of_choices() {
    let fields = "[answer.fields]\nu = { type = \"INT\", min = 0, max = 10 }\n";
    let refused = resolve(&draft(&small(fields))).expect_err("is refused");
    assert!(
        refused[0].contains("`answer.fields.u.min` counts choices"),
        "{refused:?}"
    );
    assert!(refused[0].contains("`minimum`"), "{refused:?}");
}

#[test]
fn a_title_is_no_part_of_the_question() {
    let of = |title: &str| {
        let schema = format!(
            r#"{{"title":"{title}","type":"object","properties":{{"title":{{"title":"{title}","type":"string"}}}},"required":["title"]}}"#
        );
        job(&small(&format!("answer.schema = '{schema}'")))
    };
    assert_eq!(of("A"), of("B"));
    let AnswerType::Json(answer) = of("A").answer.answer else {
        panic!("another type");
    };
    assert!(
        answer
            .schema
            .contains(r#""properties":{"title":{"type":"string"}}"#)
    );
}

#[test]
fn fields_whose_names_differ_in_case_alone_are_said_to_be_the_same() {
    let fields = "[answer.fields]\nx = \"INT\"\nX = \"INT\"\n";
    let refused = resolve(&draft(&small(fields))).expect_err("is refused");
    assert!(refused[0].contains("compared without case"), "{refused:?}");
    assert!(!refused[0].contains("Pydantic"), "{refused:?}");
}
