//! Every value prints its own digits: every type, alone and within a list, a struct and a map, in
//! every way in which a template can come by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Date64Array,
    Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, DictionaryArray,
    DurationMillisecondArray, FixedSizeBinaryArray, Float16Array, Float32Array, Float64Array,
    Int8Array, Int64Array, IntervalYearMonthArray, LargeBinaryArray, ListArray, MapArray,
    RecordBatch, RunArray, StringArray, StructArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float16Type, Int32Type, i256};

use super::*;

const UUID: [u8; 16] = [
    0x01, 0x8f, 0x3c, 0x2b, 0x7d, 0x4e, 0x7a, 0x10, 0x80, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
];

fn field(name: &str, of: &dyn Array, extension: &str) -> Field {
    let field = Field::new(name, of.data_type().clone(), true);
    if extension.is_empty() {
        return field;
    }
    let pair = ("ARROW:extension:name".to_owned(), extension.to_owned());
    field.with_metadata(HashMap::from([pair]))
}

/// One value of each type, with how it is printed.
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn values() -> Vec<(&'static str, ArrayRef, &'static str)> {
    let half = |number| <Float16Type as ArrowPrimitiveType>::Native::from_f32(number);
    let small = Decimal128Array::from(vec![10_000_000_000_000_000_000_000_000_000_000_000_001]);
    let other = Decimal128Array::from(vec![10_000_000_000_000_000_000_000_000_000_000_000_002]);
    let tens = Decimal128Array::from(vec![123]);
    let wide = Decimal256Array::from(vec![
        i256::from_string("123456789012345678901234567890123456789012345678901234567890").unwrap(),
    ]);
    let whole = wide.clone().with_precision_and_scale(76, 0).unwrap();
    let paris = TimestampMicrosecondArray::from(vec![1_700_000_000_123_000]);
    let zoned = |zone: &str| -> ArrayRef { Arc::new(paris.clone().with_timezone(zone)) };
    let bytes = |bytes: &[u8]| -> ArrayRef { Arc::new(BinaryArray::from(vec![bytes])) };
    let fixed = |bytes: &[u8]| -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes)).unwrap())
    };
    let label: DictionaryArray<Int32Type> = ["red"].into_iter().collect();
    let runs: RunArray<Int32Type> = ["run"].into_iter().collect();
    vec![
        ("", Arc::new(BooleanArray::from(vec![true])), "True"),
        ("", Arc::new(Int8Array::from(vec![-128])), "-128"),
        ("arrow.bool8", Arc::new(Int8Array::from(vec![1])), "True"),
        (
            "",
            Arc::new(Int64Array::from(vec![i64::MIN])),
            "-9223372036854775808",
        ),
        (
            "",
            Arc::new(Int64Array::from(vec![9_007_199_254_740_993])),
            "9007199254740993",
        ),
        (
            "",
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            "18446744073709551615",
        ),
        ("", Arc::new(Float16Array::from(vec![half(0.1)])), "0.1"),
        ("", Arc::new(Float32Array::from(vec![0.1])), "0.1"),
        (
            "",
            Arc::new(Float32Array::from(vec![16_777_216.0])),
            "16777216.0",
        ),
        (
            "",
            Arc::new(Float64Array::from(vec![0.1 + 0.2])),
            "0.30000000000000004",
        ),
        ("", Arc::new(Float64Array::from(vec![-0.0])), "-0.0"),
        (
            "",
            Arc::new(Float64Array::from(vec![1e15])),
            "1000000000000000.0",
        ),
        (
            "",
            Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])),
            "-inf",
        ),
        (
            "",
            Arc::new(small.with_precision_and_scale(38, 18).unwrap()),
            "10000000000000000000.000000000000000001",
        ),
        (
            "",
            Arc::new(other.with_precision_and_scale(38, 18).unwrap()),
            "10000000000000000000.000000000000000002",
        ),
        (
            "",
            Arc::new(
                Decimal32Array::from(vec![1250])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
            "12.50",
        ),
        (
            "",
            Arc::new(
                Decimal64Array::from(vec![12500])
                    .with_precision_and_scale(18, 3)
                    .unwrap(),
            ),
            "12.500",
        ),
        (
            "",
            Arc::new(
                Decimal128Array::from(vec![0])
                    .with_precision_and_scale(9, 9)
                    .unwrap(),
            ),
            "0.000000000",
        ),
        (
            "",
            Arc::new(tens.with_precision_and_scale(5, -2).unwrap()),
            "12300",
        ),
        (
            "",
            Arc::new(wide.with_precision_and_scale(76, 30).unwrap()),
            "123456789012345678901234567890.123456789012345678901234567890",
        ),
        (
            "",
            Arc::new(whole),
            "123456789012345678901234567890123456789012345678901234567890",
        ),
        (
            "",
            Arc::new(StringArray::from(vec!["12.50 & <b>"])),
            "12.50 & <b>",
        ),
        (
            "arrow.json",
            Arc::new(StringArray::from(vec!["{\"a\": 1}"])),
            "{\"a\": 1}",
        ),
        ("", Arc::new(label), "red"),
        ("", Arc::new(runs), "run"),
        ("", bytes("text é".as_bytes()), "text é"),
        (
            "",
            Arc::new(LargeBinaryArray::from(vec![&b"large"[..]])),
            "large",
        ),
        ("", fixed(b"text"), "74657874"),
        (
            "arrow.uuid",
            fixed(&UUID),
            "018f3c2b-7d4e-7a10-8041-424344454647",
        ),
        ("geoarrow.wkb", bytes(b"\x01\x01"), "0101"),
        ("arrow.opaque", fixed(&[0xff, 0]), "ff00"),
        ("", Arc::new(Date32Array::from(vec![19_723])), "2024-01-01"),
        (
            "",
            Arc::new(Date64Array::from(vec![19_723 * 86_400_000])),
            "2024-01-01",
        ),
        (
            "",
            Arc::new(Time64NanosecondArray::from(vec![43_200_000_000_001])),
            "12:00:00.000000001",
        ),
        (
            "",
            Arc::new(TimestampSecondArray::from(vec![1_700_000_000])),
            "2023-11-14T22:13:20",
        ),
        ("", zoned("UTC"), "2023-11-14T22:13:20.123Z"),
        ("", zoned("+02:00"), "2023-11-15T00:13:20.123+02:00"),
        (
            "",
            zoned("America/New_York"),
            "2023-11-14T17:13:20.123-05:00",
        ),
        ("", zoned("tzlocal()"), "2023-11-14T22:13:20.123Z"),
        (
            "",
            Arc::new(DurationMillisecondArray::from(vec![90_500])),
            "PT90.5S",
        ),
        (
            "",
            Arc::new(IntervalYearMonthArray::from(vec![14])),
            "1 years 2 mons",
        ),
    ]
}

/// A table of one row: the value as `x`, and within a list, a struct and a map.
fn table(extension: &str, value: &ArrayRef) -> RecordBatch {
    let inner = Arc::new(field("f", value, extension));
    let one = OffsetBuffer::from_lengths([1]);
    let list = ListArray::new(Arc::clone(&inner), one.clone(), Arc::clone(value), None);
    let record = StructArray::new(
        vec![Arc::clone(&inner)].into(),
        vec![Arc::clone(value)],
        None,
    );
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["k"]));
    let entries = StructArray::new(
        vec![
            Arc::new(Field::new("keys", DataType::Utf8, false)),
            Arc::clone(&inner),
        ]
        .into(),
        vec![keys, Arc::clone(value)],
        None,
    );
    let of_entries = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(of_entries, one, entries, None, false);
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        field("x", value, extension),
        field("l", &list, ""),
        field("s", &record, ""),
        field("m", &map, ""),
    ];
    let id: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let columns = vec![
        id,
        Arc::clone(value),
        Arc::new(list) as ArrayRef,
        Arc::new(record),
        Arc::new(map),
    ];
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap()
}

fn render(template: &str, table: &RecordBatch) -> String {
    let schema = table.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let mut template =
        Template::compile(template, "[prompt] user", &names, &BTreeMap::new()).unwrap();
    let mut prompts = Prompts::default();
    template.render(table, &mut prompts).unwrap();
    match prompts.get(0) {
        Some(Prompt::Text(text)) => text.to_owned(),
        other => format!("({other:?})"),
    }
}

#[test]
fn every_value_prints_its_own_digits_however_it_is_come_by() {
    for (extension, value, text) in values() {
        let table = table(extension, &value);
        let what = value.data_type();
        for template in [
            "{{ x }}",
            "{{ row.x }}",
            "{% if id %}{{ x }}{% endif %}",
            "{% for v in [x, x] %}{% if loop.first %}{{ v }}{% endif %}{% endfor %}",
            "{% set y = x %}{{ y }}",
            "{% macro m(y) %}{{ y }}{% endmacro %}{{ m(x) }}",
            "{{ x if id else '-' }}",
            "{{ x|default('-') }}",
            "{{ x ~ '' }}",
            "{{ x|string }}",
            "{{ [x]|join }}",
            "{{ '%s'|format(x) }}",
            "{{ [x]|first }}{# #}",
            "{{ {'k': x}.k }}",
            "{{ l[0] }}",
            "{{ l|last }}",
            "{{ l[:1]|first }}",
            "{{ l|join }}",
            "{% for v in l %}{{ v }}{% endfor %}",
            "{{ s.f }}",
            "{{ s['f'] }}",
            "{% for k, v in s|items %}{{ v }}{% endfor %}",
            "{{ m.k }}",
            "{{ m.values()|first }}",
            "{% for k in m %}{{ m[k] }}{% endfor %}",
        ] {
            assert_eq!(
                render(template, &table),
                text,
                "{template} of {what} {extension}"
            );
        }
        let json = render("{{ x|tojson }}", &table);
        assert!(
            json.trim_matches('"')
                .eq_ignore_ascii_case(&text.replace('"', "\\\""))
                || json == "null",
            "{json} of {what} {extension}"
        );
        for (template, expected) in [
            ("{{ l }}", format!("[{json}]")),
            ("{{ l ~ '' }}", format!("[{json}]")),
            ("{{ s }}", format!("{{\"f\": {json}}}")),
            ("{{ 'a' ~ m }}", format!("a{{\"k\": {json}}}")),
        ] {
            assert_eq!(
                render(template, &table),
                expected,
                "{template} of {what} {extension}"
            );
        }
    }
}

/// A row of decimals: `paid` and `owed` are one number as a float, `half` is one.
fn decimals() -> RecordBatch {
    let wide = |number: i128| -> ArrayRef {
        let array = Decimal128Array::from(vec![number]);
        Arc::new(array.with_precision_and_scale(38, 18).unwrap())
    };
    let small = |number: i128, scale| -> ArrayRef {
        let array = Decimal128Array::from(vec![number]);
        Arc::new(array.with_precision_and_scale(10, scale).unwrap())
    };
    let prices = Decimal128Array::from(vec![1000, 250, 1001]).with_precision_and_scale(10, 2);
    let prices: ArrayRef = Arc::new(prices.unwrap());
    let item = Arc::new(Field::new("item", prices.data_type().clone(), true));
    let prices = ListArray::new(item, OffsetBuffer::from_lengths([3]), prices, None);
    RecordBatch::try_from_iter_with_nullable([
        (
            "paid",
            wide(10_000_000_000_000_000_000_000_000_000_000_000_001),
            true,
        ),
        (
            "owed",
            wide(10_000_000_000_000_000_000_000_000_000_000_000_002),
            true,
        ),
        ("half", small(50, 2), true),
        ("also_half", small(5, 1), true),
        ("zero", small(0, 2), true),
        ("minus", small(-1234, 2), true),
        ("whole", small(600, 2), true),
        ("n", Arc::new(Int64Array::from(vec![2])) as ArrayRef, true),
        (
            "gone",
            Arc::new(Int64Array::from(vec![None])) as ArrayRef,
            true,
        ),
        ("prices", Arc::new(prices) as ArrayRef, true),
        (
            "name",
            Arc::new(StringArray::from(vec!["bob"])) as ArrayRef,
            true,
        ),
    ])
    .unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn decimals_are_compared_and_calculated_exactly() {
    let mut wrong = Vec::new();
    let table = decimals();
    for (template, expected) in [
        ("{{ paid == owed }} {{ paid != owed }}", "False True"),
        (
            "{{ paid < owed }} {{ paid > owed }} {{ owed <= paid }}",
            "True False False",
        ),
        ("{{ owed - paid }}", "0.000000000000000001"),
        (
            "{{ paid + owed }}",
            "20000000000000000000.000000000000000003",
        ),
        (
            "{{ half == also_half }} {{ half == 0.5 }} {{ 0.5 == half }}",
            "True True True",
        ),
        (
            "{{ half + also_half }} {{ half * 3 }} {{ 1 - half }}",
            "1.00 1.50 0.50",
        ),
        (
            "{{ half / 2 }} {{ minus // 5 }} {{ n ** half }}",
            "0.25 -3.0 1.4142135623730951",
        ),
        ("{{ -minus }} {{ -half }} {{ - n }}", "12.34 -0.50 -2"),
        (
            "{{ half < 1 }} {{ half > 0.25 }} {{ 1 >= half }} {{ half < n }}",
            "True True True True",
        ),
        (
            "{{ n + 1 }} {{ n < 3 }} {{ 'a' + name }} {{ n in [1, 2] }}",
            "3 True abob True",
        ),
        ("{% if zero %}some{% else %}nothing{% endif %}", "nothing"),
        ("{% if half and not zero %}yes{% endif %}", "yes"),
        (
            "{{ half in [0.5] }} {{ half in [1, also_half] }} {{ half not in [1] }}",
            "True True True",
        ),
        (
            "{{ 'o' in name }} {{ half == 'x' }} {{ half == '-' }}",
            "True False False",
        ),
        (
            "{{ minus|abs }} {{ minus|int }} {{ minus|float }}",
            "12.34 -12 -12.34",
        ),
        (
            "{{ minus|round(1) }} {{ minus|round(1, 'ceil') }} {{ minus|round }}",
            "-12.3 -12.3 -12",
        ),
        ("{{ half|round(method='floor') }} {{ n|round }}", "0 2"),
        (
            "{{ prices|sum }} {{ [1, 2]|sum }} {{ prices|sum(start=1) }}",
            "22.51 3 23.51",
        ),
        (
            "{{ prices|min }} {{ prices|max }} {{ prices|sort|join(' ') }}",
            "2.50 10.01 2.50 10.00 10.01",
        ),
        (
            "{{ [half, 3, 0.25]|max }} {{ [half, 3, 0.25]|min }}",
            "3 0.25",
        ),
        ("{{ [half, also_half]|unique|list|length }}", "1"),
        ("{{ prices|select('>', 5)|join(' ') }}", "10.00 10.01"),
        ("{{ prices|select('le', 10)|join(' ') }}", "10.00 2.50"),
        (
            "{{ half is number }} {{ half is integer }} {{ half is float }} {{ half is gt(0.4) }}",
            "True False True True",
        ),
        (
            "{{ whole is even }} {{ whole is divisibleby(3) }} {{ half is odd }}",
            "True True False",
        ),
        (
            "{{ '%.1f %s %d%%'|format(minus, paid, whole) }}",
            "-12.3 10000000000000000000.000000000000000001 6%",
        ),
        (
            "{{ [paid, half]|tojson }}",
            "[10000000000000000000.000000000000000001, 0.50]",
        ),
        (
            "{{ half|string|length }} {{ half|replace('.', ',') }}",
            "4 0,50",
        ),
    ] {
        let text = render(template, &table);
        if text != expected {
            wrong.push(format!(
                "{template}\n  gives   {text}\n  not     {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_decimals_cannot_do_fails_the_row_or_skips_it_as_anywhere_else() {
    let table = decimals();
    for (template, words) in [
        ("{{ 0 < half < 1 }}", "a < b and b < c"),
        ("{{ half + name }}", "unsupported types"),
        ("{{ half / 0 }}", "unable to calculate"),
        ("{{ half + gone }}", "Null(\"gone\")"),
        ("{{ half[:1] }}", "cannot be sliced"),
        ("{{ half < gone }}", "Null(\"gone\")"),
    ] {
        let text = render(template, &table);
        assert!(
            text.starts_with('(') && text.contains(words),
            "{template}: {text}"
        );
    }
}
