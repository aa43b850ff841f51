//! Templates over rows, as one table of cases, and the fast path against the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    DurationSecondArray, Float32Array, Float64Array, Int64Array, LargeStringArray, ListArray,
    MapBuilder, NullArray, RecordBatch, RunArray, StringArray, StringBuilder, StringViewArray,
    StructArray, Time32SecondArray, TimestampMicrosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};
use proptest::prelude::*;

use super::*;

fn vars() -> BTreeMap<String, String> {
    BTreeMap::from([("ds".to_owned(), "2026-11-23".to_owned())])
}

/// One row of every kind of column, and one in which all but `id` is null.
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn table() -> RecordBatch {
    let list = |field: Field, lengths: [usize; 2], items: ArrayRef| -> ArrayRef {
        let valid = Some(vec![true, false].into());
        Arc::new(ListArray::new(
            Arc::new(field),
            OffsetBuffer::from_lengths(lengths),
            items,
            valid,
        ))
    };
    let tags = StringArray::from(vec![Some("a"), None, Some("\"q\"")]);
    let address = StructArray::try_new(
        vec![
            Field::new("zip", DataType::Utf8, true),
            Field::new("city", DataType::Utf8, true),
        ]
        .into(),
        vec![
            Arc::new(StringArray::from(vec![None, Some("x")])) as ArrayRef,
            Arc::new(StringArray::from(vec![Some("Łódź"), Some("x")])),
        ],
        Some(vec![true, false].into()),
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("z");
    map.values().append_value("1");
    map.keys().append_value("a");
    map.values().append_value("2");
    map.append(true).unwrap();
    map.append(false).unwrap();
    let label: DictionaryArray<Int32Type> = [Some("red"), None].into_iter().collect();
    let runs: RunArray<Int32Type> = [Some("run"), None].into_iter().collect();
    let money = Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(38, 2);
    let huge = Decimal128Array::from(vec![
        Some(12_345_678_901_234_567_890_123_456_789_012_345),
        None,
    ])
    .with_precision_and_scale(38, 3);
    let paris = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_000), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![7, 8]))),
        (
            "subject",
            Arc::new(StringArray::from(vec![
                Some(" <b>\"Hi\" & 'bye'</b>\n"),
                None,
            ])),
        ),
        (
            "body",
            Arc::new(LargeStringArray::from(vec![Some("{{ id }}"), None])),
        ),
        (
            "view",
            Arc::new(StringViewArray::from(vec![
                Some("a view of more than twelve"),
                None,
            ])),
        ),
        ("empty", Arc::new(StringArray::from(vec![Some(""), None]))),
        (
            "my.column",
            Arc::new(StringArray::from(vec![Some("dotted"), None])),
        ),
        (
            "big",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
        ),
        ("ratio", Arc::new(Float64Array::from(vec![Some(1.0), None]))),
        ("tenth", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
        ("money", Arc::new(money.unwrap())),
        ("huge", Arc::new(huge.unwrap())),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_723), None]))),
        (
            "noon",
            Arc::new(Time32SecondArray::from(vec![Some(43_200), None])),
        ),
        (
            "at",
            Arc::new(TimestampSecondArray::from(vec![Some(1_700_000_000), None])),
        ),
        ("paris", Arc::new(paris.with_timezone("Europe/Paris"))),
        (
            "took",
            Arc::new(DurationSecondArray::from(vec![Some(90), None])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![Some("text é".as_bytes()), None])),
        ),
        (
            "noise",
            Arc::new(BinaryArray::from(vec![Some(&b"\xff\xfe"[..]), None])),
        ),
        (
            "tags",
            list(
                Field::new("item", DataType::Utf8, true),
                [3, 0],
                Arc::new(tags),
            ),
        ),
        ("address", Arc::new(address.unwrap())),
        ("attributes", Arc::new(map.finish())),
        ("label", Arc::new(label)),
        ("runs", Arc::new(runs)),
        ("nothing", Arc::new(NullArray::new(2))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .unwrap()
}

fn compile(template: &str) -> crate::base::Result<Template> {
    let table = table();
    let schema = table.schema();
    let columns: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    Template::compile(template, "[prompt] user", &columns, &vars())
}

/// What became of both rows, in words.
fn render(template: &mut Template) -> Vec<String> {
    let mut prompts = Prompts::default();
    template.render(&table(), &mut prompts).unwrap();
    prompts
        .iter()
        .map(|prompt| match prompt {
            Prompt::Text(text) => text.to_owned(),
            Prompt::Skipped(SkipReason::Blank) => "(blank)".to_owned(),
            Prompt::Skipped(SkipReason::Null(column)) => format!("(null {column})"),
            Prompt::Failed(reason) => format!("(failed) {reason}"),
        })
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn each_template_renders_each_row_as_it_should() {
    let null = |column: &str| format!("(null {column})");
    for (template, full, nulls) in [
        // Text is sent byte for byte, and row text is data.
        (
            "\n{{ subject }}|{{ body }}\r\n\n",
            "\n <b>\"Hi\" & 'bye'</b>\n|{{ id }}\r\n\n",
            null("subject"),
        ),
        (
            "{{ id }}{# a {{ comment }} #}{% raw %}{{ raw }}{% endraw %}",
            "7{{ raw }}",
            "8{{ raw }}".into(),
        ),
        (
            "{{ row['my.column'] }} {{ row.view }}",
            "dotted a view of more than twelve",
            null("my.column"),
        ),
        (
            "{{ vars.ds }} {{ id }}",
            "2026-11-23 7",
            "2026-11-23 8".into(),
        ),
        // Blank or empty.
        ("{{ empty }}", "(blank)", null("empty")),
        (" \n", "(blank)", "(blank)".into()),
        ("a{{ empty }}b", "ab", null("empty")),
        // A null that is tested or has a default is no reason to skip.
        (
            "{% if subject %}yes{% else %}no{% endif %}",
            "yes",
            "no".into(),
        ),
        (
            "{% if subject is none %}no{% else %}{{ id }}{% endif %}",
            "7",
            "no".into(),
        ),
        ("{{ body|default('-') }}", "{{ id }}", "-".into()),
        ("{{ row.body|d('-') }}", "{{ id }}", "-".into()),
        ("{{ body or '-' }}", "{{ id }}", "-".into()),
        ("{{ body if body else '-' }}", "{{ id }}", "-".into()),
        ("{{ id }}{% if body == 'x' %}x{% endif %}", "7", "8".into()),
        ("{{ address.city|default('?') }}", "Łódź", "?".into()),
        (
            "{% if address.zip %}z{% else %}-{% endif %}",
            "-",
            "-".into(),
        ),
        // A null whose text is asked for, however, is.
        ("{{ body|trim }}", "{{ id }}", null("body")),
        ("{{ 'a' ~ body }}", "a{{ id }}", null("body")),
        ("{{ body|upper|default('x') }}", "{{ ID }}", null("body")),
        ("{{ body|length }}", "8", null("body")),
        ("{{ ratio * 2 }}", "2.0", null("ratio")),
        ("{{ address.city }}", "Łódź", null("address")),
        ("{{ address.zip }}", "(null address)", null("address")),
        ("{{ body|tojson }}", "\"{{ id }}\"", null("body")),
        (
            "{% for tag in tags %}{{ tag|default('-') }},{% endfor %}",
            "a,-,\"q\",",
            null("tags"),
        ),
        ("{{ tags|join(',') }}", "(null tags)", null("tags")),
        ("{{ nothing }}", "(null nothing)", null("nothing")),
        ("{{ nothing|default('n') }}", "n", "n".into()),
        // The engine orders everything; a null is in no order unless the template says so.
        (
            "{% if ratio > 0.5 %}high{% else %}low{% endif %}",
            "high",
            null("ratio"),
        ),
        (
            "{% if ratio is none or ratio > 5 %}x{% else %}low{% endif %}",
            "low",
            "x".into(),
        ),
        (
            "{% if (ratio|default(0)) < 1 %}low{% else %}high{% endif %}",
            "high",
            "low".into(),
        ),
        // Every type, alone and within a template that needs the engine.
        (
            "{{ big }} {{ ratio }} {{ tenth }}",
            "18446744073709551615 1.0 0.1",
            null("big"),
        ),
        (
            "{{ money }} {{ huge }}",
            "12.50 12345678901234567890123456789012.345",
            null("money"),
        ),
        (
            "{% if money > 12 %}{{ money }}{% endif %}",
            "12.50",
            null("money"),
        ),
        ("{{ money + 1 }}", "13.50", null("money")),
        ("{{ ok }}{{ id }}", "True7", null("ok")),
        ("{% if ok %}t{% else %}f{% endif %}", "t", "f".into()),
        (
            "{{ day }} {{ noon }} {{ at }}",
            "2024-01-01 12:00:00 2023-11-14T22:13:20",
            null("day"),
        ),
        (
            "{{ paris }}",
            "2023-11-14T23:13:20.123+01:00",
            null("paris"),
        ),
        ("{{ took }}", "PT90S", null("took")),
        (
            "{% if day > '2023-12-31' %}new{% endif %}",
            "new",
            null("day"),
        ),
        ("{{ bytes }}", "text é", null("bytes")),
        ("{{ tags }}", "[\"a\", null, \"\\\"q\\\"\"]", null("tags")),
        ("{{ tags[0] }}{{ tags|length }}", "a3", null("tags")),
        (
            "{{ address }}",
            "{\"zip\": null, \"city\": \"Łódź\"}",
            null("address"),
        ),
        (
            "{{ attributes }}{{ attributes.z }}",
            "{\"z\": \"1\", \"a\": \"2\"}1",
            null("attributes"),
        ),
        (
            "{{ address|tojson(indent=1) }}",
            "{\n \"zip\": null,\n \"city\": \"Łódź\"\n}",
            null("address"),
        ),
        ("{{ label }} {{ runs }}", "red run", null("label")),
        (
            "{{ [body, money]|tojson }}",
            "[\"{{ id }}\", 12.50]",
            "[null, null]".into(),
        ),
    ] {
        let mut compiled = compile(template).unwrap();
        assert_eq!(
            render(&mut compiled),
            [full.to_owned(), nulls],
            "{template}"
        );
        compiled.plain = None;
        let again = render(&mut compile(template).unwrap());
        assert_eq!(render(&mut compiled), again, "{template}, by the engine");
    }
}

#[test]
fn a_row_that_cannot_be_rendered_is_its_own_failure() {
    for (template, words) in [
        ("{{ noise }}", "decode it in a query"),
        ("{% if id %}{{ noise }}{% endif %}", "decode it in a query"),
        // A null that was tested before is not to blame.
        (
            "{% if nothing is none %}{{ noise }}{% endif %}",
            "decode it in a query",
        ),
        ("{{ id.name }}", "undefined"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            "too many steps",
        ),
    ] {
        let rows = render(&mut compile(template).unwrap());
        assert!(
            rows[0].starts_with("(failed)") && rows[0].contains(words),
            "{template}: {rows:?}"
        );
    }
}

#[test]
fn only_the_named_columns_are_needed() {
    for (template, columns) in [
        (
            "{{ subject }}{{ row['my.column'] }}{{ row.id }}",
            vec!["id", "subject", "my.column"],
        ),
        ("{% for tag in tags %}{{ tag }}{% endfor %}", vec!["tags"]),
        ("{% set body = 'x' %}{{ body }}", vec![]),
        ("{{ range(3) }}{{ vars.ds }}", vec![]),
        (
            "{% macro m(subject) %}{{ subject }}{% endmacro %}{{ m(body) }}",
            vec!["body"],
        ),
        ("{{ address.city }}", vec!["address"]),
    ] {
        assert_eq!(compile(template).unwrap().columns(), columns, "{template}");
    }
    assert_eq!(
        compile("{{ row|tojson }}").unwrap().columns().len(),
        table().num_columns()
    );
    assert_eq!(
        compile("{{ row['i' ~ 'd'] }}").unwrap().columns().len(),
        table().num_columns()
    );
}

#[test]
fn mistakes_are_found_before_a_row_is_read_and_name_the_line() {
    for (template, words) in [
        (
            "a\n{{ subjct }}",
            vec!["line=`2`", "did you mean `subject`"],
        ),
        (
            "{{ row.subjct }}",
            vec!["line=`1`", "did you mean `subject`"],
        ),
        (
            "\n\n{{ row['my.colum'] }}",
            vec!["line=`3`", "did you mean `row['my.column']`"],
        ),
        ("{{ vars.dss }}", vec!["vars.dss", "--var dss"]),
        ("{{ vars['dss'] }}", vec!["vars.dss"]),
        ("{{ subject ", vec!["not a template", "line=`1`"]),
        ("{{ subject|uper }}", vec!["uper"]),
        ("{% if body == none %}{% endif %}", vec!["is none"]),
        ("{% include 'x' %}", vec!["cannot load another"]),
    ] {
        let error = compile(template).unwrap_err();
        let text = format!("{error} {}", error.hint_text().unwrap_or_default());
        for word in words {
            assert!(text.contains(word), "{template}: {text}");
        }
    }
}

#[test]
fn the_system_prompt_names_variables_alone() {
    let render = |text: &str| render_shared(text, "[prompt] system", &["subject"], &vars());
    assert_eq!(
        render("On {{ vars.ds }}: {% if vars.ds %}go{% endif %}\n").unwrap(),
        "On 2026-11-23: go\n"
    );
    for (text, words) in [
        ("{{ subject }}", "same for every row"),
        ("{{ row.subject }}", "same for every row"),
        ("{{ nobody }}", "does not exist"),
        ("{{ vars.dss }}", "no value"),
    ] {
        let error = render(text).unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z %}#é]{0,6}[\r\n]{0,2}",
        "[{][a-z %}#]{1,3}".prop_filter("opens no tag", |text| !text.starts_with("{%")
            && !text.starts_with("{#")),
        prop::sample::select(vec![
            "{{ id }}",
            "{{subject}}",
            "{{ row.money }}",
            "{{ row['my.column'] }}",
            "{{ empty}}",
            "{{ ratio }}",
            "{{ tags }}",
            "{{ ok }}",
            "{{ paris }}",
            "{# c #}",
            "{{ noise }}",
            "{{- id -}}",
            "{{ id|string }}",
        ])
        .prop_map(str::to_owned),
    ]
}

fn without_line(text: &str) -> String {
    match text.strip_prefix("(failed) cannot render the prompt, line ") {
        Some(rest) => {
            let reason = rest.split_once(": ").map_or(rest, |(_, reason)| reason);
            format!("(failed) cannot render the prompt: {reason}")
        }
        None => text.to_owned(),
    }
}

proptest! {
    #[test]
    fn the_fast_path_prints_what_the_engine_prints(pieces in prop::collection::vec(piece(), 0..8)) {
        let template = pieces.concat();
        // Two pieces may meet to open a tag that is none.
        if let Ok(mut compiled) = compile(&template)
            && compiled.plain.is_some()
        {
            let fast = render(&mut compiled);
            compiled.plain = None;
            let slow = render(&mut compiled);
            // The engine knows the line of a failure.
            let slow: Vec<_> = slow.iter().map(|text| without_line(text)).collect();
            prop_assert_eq!(fast, slow, "{}", template);
        }
    }
}

/// What `columns` say of a template, in one line.
fn compiled_over(text: &str, columns: &[&str]) -> String {
    match Template::compile(text, "prompt.user", columns, &BTreeMap::new()) {
        Ok(template) => template.columns().join(","),
        Err(error) => {
            let hint = error.hint_text().unwrap_or_default();
            format!("{error} ({hint})")
        }
    }
}

#[test]
fn an_expression_that_spells_a_column_is_refused_with_both_ways() {
    let odd = [
        ("a-b", "(a)-b"),
        ("a.b", "(a).b"),
        ("a/b", "(a)/b"),
        ("sum(a)", "(sum)(a)"),
        ("a[0]", "(a)[0]"),
        ("2024", "(2024)"),
        ("none", "(none)"),
        ("True", "(True)"),
        ("a-b-a", "(a)-b-a"),
    ];
    for (column, expression) in odd {
        for text in ["X {{ COL }} Y", "{{COL}}", "{{- COL -}}", "{{ COL|upper }}"] {
            let text = text.replace("COL", column);
            let said = compiled_over(&text, &["a", "b", "a-b", column]);
            let column_way = format!("`{}`", column_expression(column));
            let words = [
                "is the name of a column as well",
                "line=`1`",
                &column_way,
                expression,
            ];
            for word in words {
                assert!(said.contains(word), "{text}: {word}: {said}");
            }
        }
    }
    let said = compiled_over("{{ -a }}", &["a", "-a"]);
    assert!(
        said.contains("write `row['-a']`, for the expression `(-a)`"),
        "{said}"
    );
    for text in [
        "{% if a-b > 1 %}x{{ a }}{% endif %}",
        "\n{{ a ~ a-b ~ 'x' }}",
        "{{ (a-b)|round }}",
    ] {
        let said = compiled_over(text, &["a", "b", "a-b"]);
        assert!(said.contains("`row['a-b']`"), "{text}: {said}");
    }
}

#[test]
fn an_expression_that_only_looks_like_a_column_is_none() {
    for (text, columns, needed) in [
        ("{{ row['a-b'] }}", vec!["a", "b", "a-b"], "a-b"),
        ("{{ (a)-b }}", vec!["a", "b", "a-b"], "a,b"),
        ("{{ a - b }}", vec!["a", "b", "a-b"], "a,b"),
        ("{{ a-b }}", vec!["a", "b", "a - b"], "a,b"),
        ("{{ a-bc }}", vec!["a", "bc", "a-b"], "a,bc"),
        ("{{ a ~ 'a-b' }} a-b", vec!["a", "b", "a-b"], "a"),
        ("{{ a[:2000] }}{{ a == 1 }}", vec!["a", "2000", "1"], "a"),
        (
            "{{ a if a is not none }}",
            vec!["a", "none", "not none"],
            "a",
        ),
        ("{{ x.a-b }}", vec!["x", "b", "a-b"], "x,b"),
        ("{# a-b #}{{ a }}", vec!["a", "a-b"], "a"),
    ] {
        assert_eq!(compiled_over(text, &columns), needed, "{text}");
    }
}

#[test]
fn a_word_of_the_engine_is_no_column() {
    let compile = |text: &str, columns: &[&str]| {
        Template::compile(text, "prompt.user", columns, &BTreeMap::new()).map(drop)
    };
    let both = ["self", "loop", "body"];
    for text in [
        "{{ body }} {{ self }}",
        "{{ body }}\n{% if self %}x{% endif %}",
        "{{ self.x }}",
        "{{ self | upper }}",
        "{% for x in [1] %}{{ loop }}{% endfor %}",
    ] {
        let error = compile(text, &both).expect_err(text);
        let word = if text.contains("loop") {
            "loop"
        } else {
            "self"
        };
        let hint = format!("for the column write `row['{word}']`");
        assert_eq!(error.hint_text(), Some(&*hint), "{text}");
    }
    let error = compile("{{ body }} {{ self }}", &["body"]).expect_err("is no column");
    assert!(error.to_string().contains("does not exist"), "{error}");
    for text in [
        "{{ row['self'] }}",
        "{{ loop }}",
        "{% for x in [1] %}{{ loop.index }}{% endfor %}",
        "{% block a %}{{ body }}{% endblock %}{{ self.a() }}",
        "{{ body.self }}",
    ] {
        compile(text, &both).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}
