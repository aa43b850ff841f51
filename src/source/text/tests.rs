//! What stands in a text file arrives, or is refused with its place.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tempfile::TempDir;

use crate::base::{Error, Result};
use crate::source::{Input, Scan, Source, TextOptions};
use crate::work::sql_type;

use crate::source::files::list;
use crate::source::query::{provide, rows_at_once, session_context};

/// A table as it arrives: each column with its type, and the rows as text.
#[derive(Debug, PartialEq)]
struct Arrived {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

async fn arrived(source: &Source) -> Result<Arrived> {
    let fields = source.schema().fields();
    let columns = fields
        .iter()
        .map(|field| format!("{} {}", field.name(), sql_type::name_of(field.data_type())))
        .collect();
    let names = fields.iter().map(|field| field.name().clone());
    let slices: Vec<_> = source.scan(Scan::of(names)).await?.try_collect().await?;
    let mut rows = Vec::new();
    for slice in slices {
        let options = FormatOptions::default();
        let formats: Vec<_> = slice
            .batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("printable"))
            .collect();
        for row in 0..slice.batch.num_rows() {
            let cell = |(column, format): (&Arc<dyn Array>, &ArrayFormatter<'_>)| {
                column.is_valid(row).then(|| format.value(row).to_string())
            };
            rows.push(
                slice
                    .batch
                    .columns()
                    .iter()
                    .zip(&formats)
                    .map(cell)
                    .collect(),
            );
        }
    }
    Ok(Arrived { columns, rows })
}

/// A folder of files, and the part of it that is read.
struct Folder(TempDir);

impl Folder {
    fn of(files: &[(&str, &[u8])]) -> Folder {
        let folder = Folder(TempDir::new().expect("a folder"));
        for (name, bytes) in files {
            let path = folder.0.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, bytes).expect("written");
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    async fn open(&self, name: &str, text: TextOptions) -> Result<Source> {
        let address = self.path().join(name).display().to_string();
        let input = Input::Table { address, text };
        Source::open(&input, &Arc::default(), &std::env::temp_dir()).await
    }
}

async fn read_with(name: &str, bytes: &[u8], text: TextOptions) -> Result<Arrived> {
    let folder = Folder::of(&[(name, bytes)]);
    arrived(&folder.open(name, text).await?).await
}

async fn read(name: &str, bytes: impl AsRef<[u8]>) -> Result<Arrived> {
    read_with(name, bytes.as_ref(), TextOptions::default()).await
}

async fn read_folder(files: &[(&str, &str)]) -> Result<Arrived> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_bytes()))
        .collect();
    let folder = Folder::of(&files);
    arrived(&folder.open("", TextOptions::default()).await?).await
}

fn types(types: &[(&str, &str)]) -> TextOptions {
    let types = types.iter().map(|(column, name)| {
        let data_type = sql_type::parse(name).expect("a type");
        ((*column).to_owned(), data_type)
    });
    TextOptions {
        types: types.collect(),
        delimiter: None,
    }
}

/// The lines that `line` makes of some numbers.
fn repeated(numbers: std::ops::Range<u32>, line: impl Fn(u32) -> String) -> String {
    numbers.map(line).collect::<Vec<_>>().concat()
}

#[track_caller]
fn is(arrived: Result<Arrived>, columns: &[&str], rows: &[&[Option<&str>]]) {
    let arrived = arrived.expect("readable");
    assert_eq!(arrived.columns, columns);
    let rows: Vec<Vec<Option<String>>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect())
        .collect();
    assert_eq!(arrived.rows, rows);
}

fn told(error: &Error) -> String {
    let hint = error.hint_text().expect("a hint");
    format!("{error} | {hint}")
}

#[track_caller]
fn refused(arrived: Result<Arrived>, words: &[&str]) {
    let told = told(&arrived.expect_err("refused"));
    for word in words {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    assert!(told.len() < 700, "{} characters: {told}", told.len());
}

#[tokio::test]
async fn files_of_a_folder_are_matched_by_name_whatever_their_order() {
    let files = [
        ("a.csv", "name,city\nAda,Paris\n"),
        ("b.csv", "city,name\nRome,Bob\n"),
    ];
    let rows: &[&[Option<&str>]] = &[&[Some("Ada"), Some("Paris")], &[Some("Bob"), Some("Rome")]];
    is(
        read_folder(&files).await,
        &["name VARCHAR", "city VARCHAR"],
        rows,
    );

    let folder = Folder::of(&files.map(|(name, text)| (name, text.as_bytes())));
    let input = Input::Query {
        sql: "SELECT name, city FROM people".into(),
        tables: BTreeMap::from([("people".into(), folder.path().display().to_string())]),
        vars: BTreeMap::new(),
        text: TextOptions::default(),
    };
    let source = Source::open(&input, &Arc::default(), &std::env::temp_dir()).await;
    is(
        arrived(&source.expect("opened")).await,
        &["name VARCHAR", "city VARCHAR"],
        rows,
    );
}

#[tokio::test]
async fn a_column_that_a_file_lacks_is_null_there_and_types_hold_for_all_files() {
    let files = [
        ("a.csv", "id,n\n1,7\n"),
        ("b.csv", "id,note,n\n2,late,x\n"),
        ("c.csv", ""),
        ("d.csv", "id\n"),
    ];
    is(
        read_folder(&files).await,
        &["id BIGINT", "n VARCHAR", "note VARCHAR"],
        &[
            &[Some("1"), Some("7"), None],
            &[Some("2"), Some("x"), Some("late")],
        ],
    );
    let files = [
        ("a.ndjson", "{\"id\":1,\"n\":7}\n"),
        ("b.ndjson", "{\"n\":2.5,\"more\":\"x\"}\n"),
    ];
    is(
        read_folder(&files).await,
        &["id BIGINT", "n DOUBLE", "more VARCHAR"],
        &[
            &[Some("1"), Some("7.0"), None],
            &[None, Some("2.5"), Some("x")],
        ],
    );
}

#[tokio::test]
async fn files_that_are_not_of_one_table_are_refused() {
    let files = [
        ("a.csv", "id,body\n1,x\n"),
        ("b.csv", "2,no header\n3,here\n"),
    ];
    refused(
        read_folder(&files).await,
        &["no column in common", "b.csv", "2,no header", "id,body"],
    );
    let files = [("a.csv", "id,Body\n1,x\n"), ("b.csv", "id,body \n2,y\n")];
    refused(
        read_folder(&files).await,
        &["in two ways", "b.csv", "`body `", "a.csv", "`Body`"],
    );
}

#[tokio::test]
async fn quotes_hold_what_they_hold() {
    let text = "id,body\n1,\"a \"\"b\"\", c\r\nd\\\"\n2,\"\"\n3,\n4,5\" pipe\n";
    is(
        read("t.csv", text).await,
        &["id BIGINT", "body VARCHAR"],
        &[
            &[Some("1"), Some("a \"b\", c\r\nd\\")],
            &[Some("2"), Some("")],
            &[Some("3"), None],
            &[Some("4"), Some("5\" pipe")],
        ],
    );
}

#[tokio::test]
async fn a_quote_that_is_never_closed_is_refused_with_its_line() {
    let rows = repeated(0..1000, |n| format!("{n},text {n}\n"));
    let broken = rows.replace("11,text 11\n", "11,\"text 11\n");
    let refusal = read("t.csv", format!("id,body\n{broken}")).await;
    refused(refusal, &["never closed", "t.csv", "line=`13`"]);
    // The next quote closes it, and what stands there gives it away.
    let text = "id,body\n1,\"a\n2,b\n3,\"c\"\n";
    refused(
        read("t.csv", text).await,
        &["behind a closing quote", "line=`4`", "opened_on_line=`2`"],
    );
}

#[tokio::test]
async fn a_row_of_another_length_is_refused_with_its_line() {
    for row in ["2,b,c", "2", "2,b,"] {
        let text = format!("id,body\n1,\"a\nb\"\n{row}\n3,c\n");
        refused(
            read("t.csv", text).await,
            &["as many values", "t.csv", "line=`4`"],
        );
    }
}

#[tokio::test]
async fn a_trailing_delimiter_makes_no_column() {
    let rows: &[&[Option<&str>]] = &[&[Some("1"), Some("x")], &[Some("2"), Some("y")]];
    let columns = &["id BIGINT", "body VARCHAR"];
    is(read("t.csv", "id,body,\n1,x,\n2,y,\n").await, columns, rows);
    is(
        read("t.csv", "id,body,,,\n1,x\n2,y,,,\n").await,
        columns,
        rows,
    );
    let refusal = read("t.csv", "id,body,\n1,x,lost\n").await;
    refused(refusal, &["no name", "line=`2`"]);
    // The index that pandas writes.
    is(
        read("t.csv", ",body\n1,x\n").await,
        &[" BIGINT", "body VARCHAR"],
        &[&[Some("1"), Some("x")]],
    );
}

#[tokio::test]
async fn lines_end_in_every_usual_way_and_blank_ones_are_no_rows() {
    let rows: &[&[Option<&str>]] = &[&[Some("1"), Some("x")], &[Some("2"), Some("y")]];
    let columns = &["id BIGINT", "body VARCHAR"];
    for text in [
        "id,body\n1,x\n2,y",
        "id,body\r\n1,x\r\n2,y\r\n",
        "id,body\r1,x\r2,y\r",
        "\u{feff}id,body\n1,x\n2,y\n",
        "\n\nid,body\n\n1,x\n  \n2,y\n\n\n",
        "\u{feff}id;body\r\n1;x\r\n2;y\r\n",
        "sep=;\r\nid;body\r\n1;x\r\n2;y\r\n",
        "id\tbody\n1\tx\n2\ty\n",
        "id|body\n1|x\n2|y\n",
        "\"id\",\"body\"\n\"1\",\"x\"\n\"2\",\"y\"\n",
    ] {
        is(read("t.csv", text).await, columns, rows);
    }
    let refusal = read("t.csv", "id,body\n1,a\rb\n").await;
    refused(refusal, &["carriage return", "line=`2`"]);
}

#[tokio::test]
async fn a_column_of_its_own_keeps_its_nulls() {
    let columns = &["body VARCHAR"];
    is(
        read("t.csv", "body\na\n\n\"\"\nb").await,
        columns,
        &[&[Some("a")], &[None], &[Some("")], &[Some("b")]],
    );
    is(read("t.csv", "body\n").await, columns, &[]);
}

#[tokio::test]
async fn what_is_no_table_is_refused() {
    refused(read("t.csv", "").await, &["no columns", "header line"]);
    refused(read("t.csv", "\n\n").await, &["no columns"]);
    refused(
        read("t.csv", ",,\n1,2,3\n").await,
        &["names no column", "line=`1`"],
    );
    refused(
        read("t.csv", "id,body,id\n1,x,2\n").await,
        &["alike", "line=`1`", "column=`id`"],
    );
    refused(
        read("t.csv", "a,b;c\n1,2;3\n").await,
        &["delimiter", "`, ;`", "[source]"],
    );
    let utf16: Vec<u8> = "\u{feff}id,body\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    refused(read("t.csv", utf16).await, &["UTF-16", "iconv"]);
    let latin = b"id,body\n1,\"a\nb\"\n2,caf\xe9\n";
    refused(
        read("t.csv", latin).await,
        &["not UTF-8", "line=`4`", "column=`body`", "iconv"],
    );
    refused(
        read("t.ndjson", b"{\"a\":1}\n{\"a\":\"\xe9\"}\n").await,
        &["not UTF-8", "line=`2`"],
    );
    refused(read("t.ndjson", "").await, &["no columns"]);
}

#[tokio::test]
async fn half_characters_at_the_ends_of_two_values_make_none() {
    refused(
        read("t.csv", b"a,b\n\xc3,\xa9\n").await,
        &["not UTF-8", "column=`a`"],
    );
}

#[tokio::test]
async fn codes_stay_as_they_are_written() {
    let rows = repeated(0..3000, |n| format!("{n},{n},{n}.5,2024-01-02 03:04:05\n"));
    let text =
        format!("id,zip,share,log\n{rows}3000,07307,+1,2024-01-02 03:04:05 connection lost\n");
    let arrived = read("t.csv", text).await.expect("readable");
    assert_eq!(
        arrived.columns,
        ["id BIGINT", "zip VARCHAR", "share VARCHAR", "log VARCHAR"]
    );
    let last = ["3000", "07307", "+1", "2024-01-02 03:04:05 connection lost"];
    assert_eq!(arrived.rows[3000], last.map(|cell| Some(cell.to_owned())));
    assert_eq!(arrived.rows[7][1].as_deref(), Some("7"));
}

#[tokio::test]
async fn the_types_of_csv_keep_every_value() {
    let text = "flag,day,at,utc,price,share,big\n\
                true,2024-02-29,2024-01-02 03:04:05,2024-01-02T03:04:05.250Z,19.90,0.5,12345678901234567890\n\
                ,,,,,,\n\
                false,1999-12-31,1600-01-02 03:04:05.001,2024-01-02T03:04:06Z,-5.00,-1.25,1\n";
    is(
        read("t.csv", text).await,
        &[
            "flag BOOLEAN",
            "day DATE",
            "at TIMESTAMP",
            "utc TIMESTAMP WITH TIME ZONE",
            "price DECIMAL(4, 2)",
            "share DOUBLE",
            "big VARCHAR",
        ],
        &[
            &[
                Some("true"),
                Some("2024-02-29"),
                Some("2024-01-02T03:04:05"),
                Some("2024-01-02T03:04:05.250Z"),
                Some("19.90"),
                Some("0.5"),
                Some("12345678901234567890"),
            ],
            &[None; 7],
            &[
                Some("false"),
                Some("1999-12-31"),
                Some("1600-01-02T03:04:05.001"),
                Some("2024-01-02T03:04:06Z"),
                Some("-5.00"),
                Some("-1.25"),
                Some("1"),
            ],
        ],
    );
}

#[tokio::test]
async fn a_type_that_the_job_says_holds() {
    let text = b"zip,price\n07307,1\n10115,2.5\n";
    let options = || types(&[("zip", "VARCHAR"), ("price", "DOUBLE")]);
    is(
        read_with("t.csv", text, options()).await,
        &["zip VARCHAR", "price DOUBLE"],
        &[&[Some("07307"), Some("1.0")], &[Some("10115"), Some("2.5")]],
    );
    let json = b"{\"zip\":10115,\"price\":\"3\"}\n{\"zip\":1.50,\"price\":null}\n";
    is(
        read_with("t.ndjson", json, options()).await,
        &["zip VARCHAR", "price DOUBLE"],
        &[&[Some("10115"), Some("3.0")], &[Some("1.50"), None]],
    );
    let rows = repeated(0..5000, |n| format!("{n}\n"));
    let text = format!("n\n{rows}twelve\n");
    refused(
        read_with("t.csv", text.as_bytes(), types(&[("n", "BIGINT")])).await,
        &[
            "not of its column's type",
            "line=`5002`",
            "column=`n`",
            "BIGINT",
            "`twelve`",
            "VARCHAR",
        ],
    );
    refused(
        read_with("t.csv", b"zip,body\n1,x\n", types(&[("zap", "VARCHAR")])).await,
        &["not there", "zap", "did you mean `zip`?"],
    );
}

#[tokio::test]
async fn folders_named_for_values_are_columns_of_text_and_have_no_other_type() {
    let folder = Folder::of(&[
        ("day=2024-01-02/a.csv", b"id\n1\n".as_slice()),
        ("day=__HIVE_DEFAULT_PARTITION__/b.csv", b"id\n2\n"),
    ]);
    let source = folder
        .open("", TextOptions::default())
        .await
        .expect("opened");
    is(
        arrived(&source).await,
        &["id BIGINT", "day VARCHAR"],
        &[&[Some("1"), Some("2024-01-02")], &[Some("2"), None]],
    );
    let error = folder
        .open("", types(&[("day", "DATE")]))
        .await
        .expect_err("refused");
    assert!(told(&error).contains("not there"), "{error}");
}

#[tokio::test]
async fn a_query_holds_few_rows_of_megabytes_at_once() {
    let body = "x".repeat(3_000_000);
    let text = format!("id,body\n1,short\n2,{body}\n");
    let folder = Folder::of(&[("t.csv", text.as_bytes())]);
    let address = folder.path().join("t.csv").display().to_string();
    let stores = crate::base::Stores::default();
    let context = session_context(folder.path()).expect("a context");
    let listing = list(&stores, &address).await.expect("listed");
    let provided = provide(listing, &TextOptions::default()).await;
    let table = provided.expect("a table").table;
    context.register_table("t", table).expect("named");
    let state = context.state();
    let plan = state.create_logical_plan("SELECT body FROM t WHERE id > 1");
    let plan = state
        .optimize(&plan.await.expect("a plan"))
        .expect("a plan");
    // 16 MiB, for rows of 3 MB of which some may be four times as wide.
    assert_eq!(rows_at_once(&plan, 512), 1);
}

#[tokio::test]
async fn what_is_called_tsv_is_separated_by_tabs() {
    for name in ["t.tsv", "t.TAB"] {
        is(
            read(name, b"a,b\tc|d\n1,5\t\"x\ty\"\n").await,
            &["a,b VARCHAR", "c|d VARCHAR"],
            &[&[Some("1,5"), Some("x\ty")]],
        );
        // One column, and no tab that could be found.
        is(
            read(name, b"a;b,c\n1;2\n").await,
            &["a;b,c VARCHAR"],
            &[&[Some("1;2")]],
        );
    }
    let options = TextOptions {
        delimiter: Some(b';'),
        ..TextOptions::default()
    };
    is(
        read_with("t.tsv", b"a;b\n1;2\n", options).await,
        &["a BIGINT", "b BIGINT"],
        &[&[Some("1"), Some("2")]],
    );
}

#[tokio::test]
async fn a_delimiter_that_the_job_says_holds() {
    let options = TextOptions {
        delimiter: Some(b';'),
        ..TextOptions::default()
    };
    is(
        read_with("t.csv", b"Betrag, EUR;Name\n1,5;x\n", options).await,
        &["Betrag, EUR VARCHAR", "Name VARCHAR"],
        &[&[Some("1,5"), Some("x")]],
    );
}

#[tokio::test]
async fn a_key_is_found_however_late_it_comes() {
    let rows = repeated(0..100_500, |n| format!("{{\"id\":{n}}}\n"));
    let text = format!("{rows}{{\"id\":100500,\"note\":\"late\"}}\n");
    let arrived = read("t.ndjson", text).await.expect("readable");
    assert_eq!(arrived.columns, ["id BIGINT", "note VARCHAR"]);
    assert_eq!(arrived.rows[100_500][1].as_deref(), Some("late"));
}

#[tokio::test]
async fn values_of_more_than_one_type_are_text_as_they_are_written() {
    let text = "{\"a\":1,\"b\":1,\"c\":{\"x\":1},\"d\":[1],\"e\":12345678901234567890,\"f\":true}\n\
                {\"a\":\"x\",\"b\":2.50,\"c\":\"plain\",\"d\":[ \"y\", 1.50 ],\"e\":1,\"f\":0}\n\
                {\"a\":null,\"b\":-3e2,\"c\":[],\"d\":[],\"e\":0.1234567890123456789}\n";
    is(
        read("t.ndjson", text).await,
        &[
            "a VARCHAR",
            "b DOUBLE",
            "c VARCHAR",
            "d VARCHAR",
            "e VARCHAR",
            "f VARCHAR",
        ],
        &[
            &[
                Some("1"),
                Some("1.0"),
                Some("{\"x\":1}"),
                Some("[1]"),
                Some("12345678901234567890"),
                Some("true"),
            ],
            &[
                Some("x"),
                Some("2.5"),
                Some("plain"),
                Some("[ \"y\", 1.50 ]"),
                Some("1"),
                Some("0"),
            ],
            &[
                None,
                Some("-300.0"),
                Some("[]"),
                Some("[]"),
                Some("0.1234567890123456789"),
                None,
            ],
        ],
    );
}

#[tokio::test]
async fn objects_and_lists_have_types_from_all_records() {
    let text = "{\"o\":{\"n\":1},\"l\":[{\"k\":\"a\"}],\"none\":[],\"m\":[[1],[2.5]]}\n\
                {\"o\":{\"t\":\"\\u00e9\\n\"},\"l\":[],\"none\":null}\n";
    let arrived = read("t.ndjson", text).await.expect("readable");
    assert_eq!(
        arrived.columns,
        [
            "o STRUCT(n BIGINT, t VARCHAR)",
            "l STRUCT(k VARCHAR)[]",
            "none VARCHAR[]",
            "m DOUBLE[][]"
        ]
    );
    assert_eq!(arrived.rows[0][0].as_deref(), Some("{n: 1, t: }"));
    assert_eq!(arrived.rows[1][0].as_deref(), Some("{n: , t: é\n}"));
    assert_eq!(arrived.rows[0][3].as_deref(), Some("[[1.0], [2.5]]"));
    assert_eq!(arrived.rows[1][2], None);
}

#[tokio::test]
async fn records_lie_in_lines_in_a_list_or_one_behind_the_other() {
    let rows: &[&[Option<&str>]] = &[&[Some("1"), Some("a]}\"")], &[Some("2"), None]];
    for text in [
        "{\"id\":1,\"b\":\"a]}\\\"\"}\n{\"id\":2}\n",
        "\u{feff}\r\n{\"id\":1,\"b\":\"a]}\\\"\"}\r\n\r\n{\"id\":2}",
        "[{\"id\":1,\"b\":\"a]}\\\"\"},{\"id\":2}]",
        " [\n  {\n    \"id\": 1,\n    \"b\": \"a]}\\\"\"\n  },\n  {\"id\": 2, \"b\": null}\n]\n",
        "{\"id\":1,\"b\":\"a]}\\\"\"}{\"id\":2}",
        "{\n  \"id\": 1,\n  \"b\": \"a]}\\\"\"\n}\n{\n  \"id\": 2\n}\n",
    ] {
        is(
            read("t.json", text).await,
            &["id BIGINT", "b VARCHAR"],
            rows,
        );
    }
    refused(read("t.json", "[]").await, &["no columns"]);
}

#[tokio::test]
async fn a_broken_record_names_its_line() {
    let good = "{\"id\":1}\n";
    for (text, line, words) in [
        (format!("{good}\n{{\"id\":2,\"b\n{good}"), 3, "whole JSON"),
        (format!("{good}{{\"id\":2}}}}\n{good}"), 2, "whole JSON"),
        (format!("{good}{{\"id\":NaN}}\n"), 2, "whole JSON"),
        (format!("{good}{{\"id\":2,\"id\":3}}\n"), 2, "stands twice"),
        (
            format!("{good}{{\"o\":{{\"a\":1,\"a\":2}}}}\n"),
            2,
            "stands twice",
        ),
        (format!("{good}[1,2]\n"), 2, "not an object"),
        (format!("{good}7\n"), 2, "not an object"),
        (format!("[{good},{good},{{\"id\":}}]"), 3, "whole JSON"),
        (format!("[{good},{good}"), 3, "does not end"),
        (format!("[{good}{good}]"), 2, "no comma"),
        (format!("[{good}]{good}"), 2, "behind the list"),
        ("[\n[1]]".to_owned(), 2, "not an object"),
        (
            "{\n\"id\": 1\n}\n{\n\"id\": x\n}\n".to_owned(),
            5,
            "whole JSON",
        ),
        (format!("{good}{{\"id\":\"\\ud800\"}}\n"), 2, "whole JSON"),
    ] {
        refused(
            read("t.ndjson", &text).await,
            &[words, &format!("line=`{line}`"), "t.ndjson"],
        );
    }
}

#[tokio::test]
async fn an_error_holds_little_of_a_row() {
    let long = "x".repeat(1_400_000);
    for text in [
        format!("[{{\"body\":\"{long}\"}}, 7]"),
        format!("{{\"body\":\"a\"}}\n{{\"body\":\"{long}\" \"{long}\"}}\n"),
        format!("{{\"body\":\"a\"}}\n{{\"{long}\":1,\"{long}\":2}}\n"),
        format!("\"{long}\"\n"),
    ] {
        refused(read("t.json", text).await, &["t.json", "line="]);
    }
    for text in [
        format!("a,b\n1,\"{long}\n"),
        format!("a,b\n1,{long},\n"),
        format!("{long},{long}\n1,2\n"),
    ] {
        refused(read("t.csv", text).await, &["t.csv", "line="]);
    }
    let text = format!("n\n{long}\n");
    let refusal = read_with("t.csv", text.as_bytes(), types(&[("n", "BIGINT")])).await;
    refused(refusal, &["not of its column's type", "xxx…"]);
}

#[tokio::test]
async fn parquet_has_its_own_types() {
    let notes = TextOptions {
        delimiter: Some(b';'),
        ..TextOptions::default()
    };
    let folder = Folder::of(&[]);
    let batch =
        arrow::array::RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::new(vec![
            arrow::datatypes::Field::new("zip", DataType::Int64, true),
        ])));
    let file = fs::File::create(folder.path().join("t.parquet")).expect("a file");
    let writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None);
    writer.expect("a writer").close().expect("closed");
    let error = folder
        .open("t.parquet", types(&[("zip", "VARCHAR")]))
        .await
        .expect_err("refused");
    assert!(told(&error).contains("for CSV and NDJSON"), "{error}");
    let error = folder.open("t.parquet", notes).await.expect_err("refused");
    assert!(told(&error).contains("for CSV"), "{error}");
}

#[tokio::test]
async fn the_types_that_were_found_are_told_with_their_reason() {
    let folder = Folder::of(&[
        ("a.csv", b"id,zip,body\n1,10115,x\n2,07307,y\n".as_slice()),
        ("b.csv", b"id,zip,more\n3,1,z\n"),
    ]);
    let source = folder
        .open("", TextOptions::default())
        .await
        .expect("opened");
    assert_eq!(
        source.text_notes()[0].columns,
        [
            "id BIGINT",
            "zip VARCHAR for line 3 has `07307`",
            "body VARCHAR, null in 1 of 2 files",
            "more VARCHAR, null in 1 of 2 files",
        ]
    );
}
