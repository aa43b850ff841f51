//! What Jinja2's documentation lists, on columns of every type: one table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Int64Array, ListArray, MapBuilder,
    RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};

use super::*;

/// Jinja2's filters, as its documentation lists them.
const FILTERS: [&str; 54] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];

/// Those that no prompt can use.
const REFUSED: [&str; 3] = ["random", "urlize", "xmlattr"];

/// Jinja2's tests, as its documentation lists them.
const TESTS: [&str; 29] = [
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "true",
    "undefined",
    "upper",
];

#[expect(clippy::too_many_lines, reason = "one table of columns")]
fn table() -> RecordBatch {
    let text = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let tags = text(vec![Some("b"), Some("a"), Some("c")]);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![3, 1, 2, 3]));
    let whole = Arc::new(Field::new("item", DataType::Int64, true));
    let address = StructArray::from(vec![
        (
            Arc::new(Field::new("zip", DataType::Utf8, true)),
            text(vec![Some("07307")]),
        ),
        (
            Arc::new(Field::new("city", DataType::Utf8, true)),
            text(vec![Some("Łódź")]),
        ),
    ]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in [("z", "1"), ("a", "2")] {
        map.keys().append_value(key);
        map.values().append_value(value);
    }
    map.append(true).unwrap();
    let items = StructArray::from(vec![
        (
            Arc::new(Field::new("sku", DataType::Utf8, true)),
            text(vec![Some("x"), Some("y")]),
        ),
        (
            Arc::new(Field::new("qty", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![2, 5])) as ArrayRef,
        ),
    ]);
    let of_items = Arc::new(Field::new("item", items.data_type().clone(), true));
    let at = TimestampMicrosecondArray::from(vec![1_700_000_000_123_000]).with_timezone("UTC");
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![7])) as ArrayRef, true),
        (
            "body",
            text(vec![Some("Żółw, the quick brown\nfox <b>jumps</b> over")]),
            true,
        ),
        ("gone", text(vec![None]), true),
        (
            "tags",
            Arc::new(ListArray::new(
                item,
                OffsetBuffer::from_lengths([3]),
                tags,
                None,
            )),
            true,
        ),
        (
            "nums",
            Arc::new(ListArray::new(
                whole,
                OffsetBuffer::from_lengths([4]),
                numbers,
                None,
            )),
            true,
        ),
        (
            "items",
            Arc::new(ListArray::new(
                of_items,
                OffsetBuffer::from_lengths([2]),
                Arc::new(items),
                None,
            )),
            true,
        ),
        ("address", Arc::new(address), true),
        ("attributes", Arc::new(map.finish()), true),
        ("ok", Arc::new(BooleanArray::from(vec![true])), true),
        ("day", Arc::new(Date32Array::from(vec![19_723])), true),
        ("at", Arc::new(at), true),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec!["bytes é".as_bytes()])),
            true,
        ),
    ])
    .unwrap()
}

fn compile(template: &str) -> crate::base::Result<Template> {
    let schema = table().schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let vars = BTreeMap::from([("ds".to_owned(), "2026-11-23".to_owned())]);
    Template::compile(template, "[prompt] user", &names, &vars)
}

fn render(template: &str) -> String {
    let mut prompts = Prompts::default();
    let mut compiled = compile(template).unwrap_or_else(|error| panic!("{template}: {error}"));
    compiled.render(&table(), &mut prompts).unwrap();
    match prompts.get(0) {
        Some(Prompt::Text(text)) => text.to_owned(),
        other => format!("({other:?})"),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn jinja_works_on_columns_of_every_type() {
    let mut wrong = Vec::new();
    for (template, expected) in [
        // Slices and subscripts, by characters.
        (
            "{{ body[:4] }}|{{ body[6:9] }}|{{ body[-4:] }}|{{ body[::-1][:4] }}",
            "Żółw|the|over|revo",
        ),
        ("{{ body[0] }}{{ body[-1] }}", "Żr"),
        ("{{ row.body[:4] }}{{ row['body'][4:5] }}", "Żółw,"),
        ("{{ body[:2000]|length }}", "43"),
        ("{{ vars.ds[:4] }}", "2026"),
        (
            "{{ day[:7] }} {{ at[11:16] }} {{ bytes[:5] }}",
            "2024-01 22:13 bytes",
        ),
        (
            "{{ tags[0] }}{{ tags[-1] }} {{ tags[:2] }} {{ tags[1:]|join('+') }} {{ tags[::-1]|join }}",
            "bc [\"b\", \"a\"] a+c cab",
        ),
        (
            "{{ address.zip[:2] }} {{ address['city'][0] }} {{ attributes.z }}{{ attributes['a'] }}",
            "07 Ł 12",
        ),
        ("{{ items[0].sku }}{{ items[1]['qty'] }}", "x5"),
        ("{% set short = body[:4] %}{{ short }}", "Żółw"),
        ("{% set body = body[:4] %}{{ body }}", "Żółw"),
        ("{% for c in body[:3] %}{{ c }}.{% endfor %}", "Ż.ó.ł."),
        (
            "{% macro m() %}{{ body[:4] }}{% endmacro %}{{ m() }}",
            "Żółw",
        ),
        ("{% if body[:4] == 'Żółw' %}{{ id }}{% endif %}", "7"),
        ("{{ (body ~ tags[0])[:2] }}", "Żó"),
        ("{{ body[:vars.ds|length] }}", "Żółw, the "),
        // Loops.
        (
            "{% for t in tags %}{{ loop.index }}{{ t }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1b,2a,3c",
        ),
        ("{% for k in address %}{{ k }} {% endfor %}", "zip city "),
        (
            "{% for k, v in attributes|items %}{{ k }}={{ v }};{% endfor %}",
            "z=1;a=2;",
        ),
        (
            "{% for k, v in attributes.items() %}{{ k }}={{ v }};{% endfor %}",
            "z=1;a=2;",
        ),
        (
            "{% for i in items if i.qty > 2 %}{{ i.sku }}{% else %}none{% endfor %}",
            "y",
        ),
        ("{% for n in range(3) %}{{ n }}{% endfor %}", "012"),
        // Tests.
        (
            "{{ body is string }} {{ id is number }} {{ tags is sequence }} {{ address is mapping }} {{ ok is boolean }}",
            "True True True True True",
        ),
        (
            "{{ gone is none }} {{ gone is not none }} {{ body is defined }} {{ body is callable }}",
            "True False True False",
        ),
        (
            "{{ id is odd }} {{ id is divisibleby 7 }} {{ id is gt 3 }} {{ ok is true }}",
            "True True True True",
        ),
        (
            "{{ 'a' in tags }} {{ 'quick' in body }} {{ 'zip' in address }} {{ 9 not in nums }}",
            "True True True True",
        ),
        (
            "{{ day >= '2024-01-01' }} {{ at < '2024' }} {{ id == 7 }}",
            "True True True",
        ),
        // Filters of text.
        (
            "{{ body|truncate(12) }}|{{ body|truncate(12, True) }}|{{ body|truncate(12, end='…', leeway=0) }}",
            "Żółw,...|Żółw, the...|Żółw, the…",
        ),
        (
            "{{ body|truncate }}",
            "Żółw, the quick brown\nfox <b>jumps</b> over",
        ),
        (
            "{{ 'Joel is a slug'|truncate(7, true) }}|{{ 'foo bar baz qux'|truncate(9) }}|{{ 'foo bar baz qux'|truncate(11) }}",
            "Joel...|foo...|foo bar baz qux",
        ),
        (
            "{{ body|upper|first }}{{ body|lower|last }} {{ 'aB c'|capitalize }} {{ 'aB c'|title }}",
            "Żr Ab c Ab C",
        ),
        (
            "{{ body|wordcount }} {{ body|length }} {{ body|count }}",
            "9 43 43",
        ),
        (
            "{{ 'the quick brown fox'|wordwrap(9) }}",
            "the quick\nbrown fox",
        ),
        (
            "{{ body|striptags }}",
            "Żółw, the quick brown fox jumps over",
        ),
        (
            "{{ body|replace('\\n', ' ')|trim|indent(2) }}",
            "Żółw, the quick brown fox <b>jumps</b> over",
        ),
        (
            "[{{ 'ab'|center(5) }}] {{ 'a b&c'|urlencode }} {{ '<b>'|escape }} {{ '<b>'|e }}",
            "[  ab ] a%20b%26c &lt;b&gt; &lt;b&gt;",
        ),
        (
            "{{ body|reverse|first }} {{ '%s-%03d'|format('a', id) }} {{ body|list|length }}",
            "r a-007 43",
        ),
        (
            "{{ day|replace('-', '/') }} {{ id|string|length }} {{ ok|string }} {{ ok|int }}",
            "2024/01/01 1 True 1",
        ),
        (
            "{{ '42'|int + 1 }} {{ 'x'|int(3) }} {{ '1.5'|float }} {{ 2.567|round(1) }} {{ -3|abs }}",
            "43 3 1.5 2.6 3",
        ),
        (
            "{{ 1536|filesizeformat }} {{ 1536|filesizeformat(true) }}",
            "1.5 kB 1.5 KiB",
        ),
        // Filters of lists and mappings.
        (
            "{{ tags|sort|join(', ') }} {{ tags|first }}{{ tags|last }} {{ tags|length }} {{ tags|reverse|join }}",
            "a, b, c bc 3 cab",
        ),
        (
            "{{ nums|sum }} {{ nums|min }} {{ nums|max }} {{ nums|unique|join }} {{ nums|sort(reverse=true)|join }}",
            "9 1 3 312 3321",
        ),
        (
            "{{ tags|map('upper')|join }} {{ items|map(attribute='sku')|join('+') }} {{ items|sum('qty') }}",
            "BAC x+y 7",
        ),
        (
            "{{ items|selectattr('qty', 'gt', 2)|map(attribute='sku')|first }} {{ items|rejectattr('qty', '>', 2)|list|length }}",
            "y 1",
        ),
        (
            "{{ nums|select('odd')|join }} {{ nums|reject('odd')|join }}",
            "313 2",
        ),
        (
            "{{ nums|batch(3)|list|length }} {{ nums|slice(2)|list|length }} {{ items|groupby('sku')|length }}",
            "2 2 2",
        ),
        (
            "{{ attributes|dictsort|first|join }} {{ address|length }} {{ address|items|list|length }}",
            "a2 2 2",
        ),
        (
            "{{ items|sort(attribute='qty', reverse=true)|map(attribute='qty')|join }}",
            "52",
        ),
        (
            "{{ address|attr('zip') }} {{ tags|tojson }} {{ address|tojson }}",
            "07307 [\"b\", \"a\", \"c\"] {\"zip\": \"07307\", \"city\": \"Łódź\"}",
        ),
        // Methods, as Python has them.
        (
            "{{ body.upper()[:4] }} {{ body.split(',')[0] }} {{ ' a '.strip() }} {{ body.startswith('Ż') }}",
            "ŻÓŁW Żółw a True",
        ),
        (
            "{{ attributes.get('q', '-') }} {{ attributes.keys()|join }} {{ tags.count('a') }}",
            "- za 1",
        ),
        (
            "{{ ','.join(tags) }} {{ body.replace('Żółw', 'Turtle')[:6] }}",
            "b,a,c Turtle",
        ),
        // Nulls, with a default or without.
        (
            "{{ gone|default('-')|truncate(5) }} {{ (gone or 'x')[:1] }}",
            "- x",
        ),
        ("{{ gone[:3] }}", "(Some(Skipped(Null(\"gone\"))))"),
        ("{{ gone|truncate(3) }}", "(Some(Skipped(Null(\"gone\"))))"),
        ("{{ gone.upper() }}", "(Some(Skipped(Null(\"gone\"))))"),
    ] {
        let text = render(template);
        if text != expected {
            wrong.push(format!(
                "{template}\n  gives   {text}\n  not     {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_filter_and_test_of_jinja_is_there_or_refused_by_name() {
    for filter in FILTERS {
        let compiled = compile(&format!("{{{{ body|{filter} }}}}"));
        assert_eq!(compiled.is_err(), REFUSED.contains(&filter), "{filter}");
        if let Err(error) = compiled {
            assert!(
                error.to_string().contains(filter) && error.hint_text().is_some(),
                "{error}"
            );
        }
    }
    for test in TESTS {
        assert!(
            compile(&format!("{{{{ body is {test} }}}}")).is_ok(),
            "{test}"
        );
        assert!(
            compile(&format!("{{% if body is not {test} %}}{{% endif %}}")).is_ok(),
            "{test}"
        );
    }
    for wrong in [
        "{{ body is lowre }}",
        "{{ body is not lowre and id }}",
        "{{ bdy[:3] }}",
        "{{ vars.dss[:3] }}",
    ] {
        assert!(compile(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_makes_no_sense_is_a_failure_of_the_row_in_plain_words() {
    for (template, words) in [
        ("{{ id[:3] }}", "number cannot be sliced"),
        ("{{ ok[0] }}", "undefined"),
        ("{{ body|truncate(2) }}", "leaves no room"),
        ("{{ body|truncate(9, bogus=1) }}", "bogus"),
        ("{{ body.nothing() }}", "no method named nothing"),
    ] {
        let text = render(template);
        assert!(
            text.starts_with("(Some(Failed(") && text.contains(words),
            "{template}: {text}"
        );
    }
}
