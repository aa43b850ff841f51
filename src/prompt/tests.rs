use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray, StringViewArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use proptest::prelude::*;

use super::{Prompts, Rendered, Template, compile_system};
use crate::base::ErrorKind;

fn vars() -> BTreeMap<String, String> {
    BTreeMap::from([("day".to_owned(), "2026-11-23".to_owned())])
}

/// Two rows: one of everything, one of nulls (but for `id`).
fn batch() -> RecordBatch {
    let city: ArrayRef = Arc::new(StringArray::from(vec![Some("Łódź"), None]));
    let fields = vec![Field::new("city", DataType::Utf8, true)];
    let address = StructArray::new(fields.into(), vec![city], Some(vec![true, false].into()));
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), Some(2)]), None]);
    let words: DictionaryArray<Int32Type> = [Some("red"), None].into_iter().collect();
    let money = Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(10, 2);
    let time = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_500_000), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![7, 8]))),
        (
            "body",
            Arc::new(StringArray::from(vec![Some("a {{ id }} <b>\n"), None])),
        ),
        (
            "view",
            Arc::new(StringViewArray::from(vec![Some("seen"), None])),
        ),
        ("share", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
        ("open", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_000), None]))),
        ("at", Arc::new(time.with_timezone("UTC"))),
        ("money", Arc::new(money.expect("a decimal"))),
        (
            "raw",
            Arc::new(BinaryArray::from(vec![Some(&b"ok"[..]), None])),
        ),
        (
            "bad",
            Arc::new(BinaryArray::from(vec![Some(&b"\xff\xfe"[..]), None])),
        ),
        ("word", Arc::new(words)),
        ("tags", Arc::new(tags)),
        ("address", Arc::new(address)),
        (
            "my.column",
            Arc::new(StringArray::from(vec![Some("dotted"), None])),
        ),
        ("empty", Arc::new(StringArray::from(vec![Some(""), None]))),
        ("nothing", Arc::new(NullArray::new(2))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn render(template: &str, row: usize) -> Result<String, String> {
    let batch = batch();
    let template = Template::compile(template, &batch.schema(), &vars()).expect("a template");
    let said = |prompts: &Prompts| match prompts.get(row) {
        Rendered::Text(text) => Ok(text.to_owned()),
        Rendered::Skipped(why) => Err(format!("skipped: {why}")),
        Rendered::Failed(why) => Err(format!("failed: {why}")),
    };
    let mut prompts = Prompts::default();
    template.render(&batch, &mut prompts).expect("rendered");
    assert_eq!(prompts.len(), 2);
    let fast = said(&prompts);
    template
        .render_slowly(&batch, &mut prompts)
        .expect("rendered");
    let slow = said(&prompts);
    match (&fast, &slow) {
        (Ok(_), _) | (_, Ok(_)) => assert_eq!(fast, slow, "the fast path and the engine differ"),
        _ => {}
    }
    fast
}

#[test]
fn values_are_printed_as_the_module_says() {
    for (template, expect) in [
        ("{{ id }}: {{ body }}", "7: a {{ id }} <b>\n"),
        ("{{ body }}\n", "a {{ id }} <b>\n\n"),
        ("{{view}}", "seen"),
        ("{{ share }} {{ open }}", "0.5 True"),
        ("{{ day }} {{ at }}", "2022-01-08 2023-11-14T22:13:20.500Z"),
        ("{{ money }}", "12.50"),
        ("{{ raw }} {{ word }}", "ok red"),
        ("{{ tags }} {{ tags | join('+') }}", "[1, 2] 1+2"),
        (
            "{{ address.city }} {{ address | tojson }}",
            "Łódź {\"city\": \"Łódź\"}",
        ),
        ("{{ row['my.column'] }} {{ row.id }}", "dotted 7"),
        ("{{ vars.day }}: {{ id }}", "2026-11-23: 7"),
        ("-{{ empty }}-", "--"),
        ("{% if open %}{{ id + 1 }}{% endif %}", "8"),
        ("{# a comment #}{{ id }}", "7"),
        ("  {{ id }}  ", "  7  "),
        ("{{ '{{ body }}' }}", "{{ body }}"),
    ] {
        assert_eq!(render(template, 0).as_deref(), Ok(expect), "{template}");
    }
}

#[test]
fn a_null_is_never_printed_and_can_be_tested() {
    for template in [
        "{{ body }}",
        "x {{ body | upper }}",
        "{% for tag in tags %}{{ tag }}{% endfor %}",
        "{{ address.city }}",
        "{{ row['my.column'] }}",
        "{{ nothing }}",
        "{{ word }}",
        "{{ id }} {{ money }}",
    ] {
        let said = render(template, 1);
        assert!(
            matches!(&said, Err(why) if why.starts_with("skipped: a column")),
            "{template}: {said:?}"
        );
    }
    for (template, expect) in [
        ("{{ body | default('-') }}", "-"),
        (
            "{% if body %}{{ body }}{% else %}no body{% endif %}",
            "no body",
        ),
        ("{% if body is none %}none{% endif %}", "none"),
        (
            "{% if body is defined %}here{% else %}gone{% endif %}",
            "gone",
        ),
        (
            "{{ id }}{% if body is not none %}{{ body }}{% endif %}",
            "8",
        ),
    ] {
        assert_eq!(render(template, 1).as_deref(), Ok(expect), "{template}");
    }
}

#[test]
fn a_prompt_without_a_word_is_skipped() {
    for template in [
        "{{ empty }}",
        " \n{{ empty }}\t",
        "{% if false %}x{% endif %}",
    ] {
        assert_eq!(
            render(template, 0),
            Err("skipped: the prompt is blank".into()),
            "{template}"
        );
    }
}

#[test]
fn what_cannot_be_rendered_is_the_rows_failure() {
    for template in [
        "{{ bad }}",
        "{{ id }} {{ bad }}",
        "{{ 1 // 0 }}",
        "{{ id | tojson(1, 2, 3, 4) }}",
    ] {
        let said = render(template, 0);
        assert!(
            matches!(&said, Err(why) if why.starts_with("failed: ")),
            "{template}: {said:?}"
        );
    }
    let said = render(
        "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
        0,
    );
    assert!(
        matches!(&said, Err(why) if why.contains("fuel")),
        "{said:?}"
    );
}

#[test]
fn a_template_names_the_columns_that_it_needs() {
    let schema = batch().schema();
    for (template, expect) in [
        ("nothing at all", vec![]),
        ("{{ body }} {{ id }}", vec!["id", "body"]),
        (
            "{{ row['my.column'] }}{{ row.view }}",
            vec!["view", "my.column"],
        ),
        (
            "{{ address.city }}{% if open %}{% endif %}",
            vec!["open", "address"],
        ),
        (
            "{% for tag in tags %}{{ tag }}{{ loop.index }}{% endfor %}",
            vec!["tags"],
        ),
        ("{% set x = id %}{{ x }}", vec!["id"]),
        ("{{ vars.day }} row['id']", vec![]),
    ] {
        let compiled = Template::compile(template, &schema, &vars()).expect("a template");
        assert_eq!(compiled.columns(), expect, "{template}");
    }
    let all = Template::compile("{{ row | tojson }}", &schema, &vars()).expect("a template");
    assert_eq!(all.columns().len(), schema.fields().len());
}

#[test]
fn a_wrong_name_is_an_error_with_the_nearest_one() {
    let schema = batch().schema();
    let hint = |template: &str| {
        let error = Template::compile(template, &schema, &vars()).expect_err("a wrong name");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.hint_text().unwrap_or_default().to_owned()
    };
    assert_eq!(hint("{{ boddy }}"), "did you mean `body`?");
    assert_eq!(hint("{{ row['my.colum'] }}"), "did you mean `my.column`?");
    assert!(hint("{{ zzz }}").starts_with("the columns are: id, body"));
    assert_eq!(hint("{{ vars.night }}"), "give it one: --var night=VALUE");
    let error = Template::compile("a\n{{ body", &schema, &vars()).expect_err("a syntax error");
    assert!(error.to_string().contains("line=`2`"), "{error}");
}

#[test]
fn a_system_prompt_names_vars_alone() {
    assert_eq!(
        compile_system("On {{ vars.day }}\n", &vars())
            .as_deref()
            .ok(),
        Some("On 2026-11-23\n")
    );
    let error = compile_system("{{ body }}", &vars()).expect_err("a column");
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("prompt.user"))
    );
}

#[test]
fn plain_templates_go_past_the_engine_and_others_do_not() {
    let schema = batch().schema();
    let fast = |template: &str| {
        Template::compile(template, &schema, &vars())
            .expect("a template")
            .is_fast()
    };
    assert!(fast(
        "Subject: {{ body }}\n{{ row['my.column'] }} {{ vars.day }}"
    ));
    for template in [
        "{{ body | upper }}",
        "{% if open %}{% endif %}",
        "{{- body }}",
        "{{ address.city }}",
    ] {
        assert!(!fast(template), "{template}");
    }
}

proptest! {
    #[test]
    fn the_fast_path_says_what_the_engine_says(
        pieces in prop::collection::vec((any::<bool>(), "[a-z {}<>\n\"'%#]{0,6}", 0usize..4), 0..6),
        texts in prop::collection::vec(prop::option::of("(?s).{0,8}"), 4),
    ) {
        let names = ["a", "b", "c", "d"];
        let columns = names.iter().zip(&texts).map(|(name, text)| {
            (*name, Arc::new(StringArray::from(vec![text.as_deref()])) as ArrayRef)
        });
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).expect("columns");
        let template: String = pieces
            .iter()
            .map(|(is_text, text, column)| {
                if *is_text { text.clone() } else { format!("{{{{ {} }}}}", names[*column]) }
            })
            .collect();
        let schema: Arc<Schema> = batch.schema();
        if let Ok(template) = Template::compile(&template, &schema, &BTreeMap::new()) {
            let (mut fast, mut slow) = (Prompts::default(), Prompts::default());
            template.render(&batch, &mut fast).expect("rendered");
            template.render_slowly(&batch, &mut slow).expect("rendered");
            match (fast.get(0), slow.get(0)) {
                (Rendered::Skipped(_), Rendered::Skipped(_)) => {}
                (fast, slow) => prop_assert_eq!(fast, slow),
            }
        }
    }
}
