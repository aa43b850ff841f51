//! Queries, and files of other formats than Parquet.

use super::*;

#[tokio::test]
async fn text_formats_are_read_in_order_with_their_types() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("csv")).unwrap();
    fs::write(path("csv/b.csv"), "id,text\n3,three\n").unwrap();
    fs::write(path("csv/a.csv"), "id,text\n1,\"one,\nand a half\"\n2,\n").unwrap();
    fs::write(
        path("a.ndjson"),
        "{\"id\":1,\"tags\":[\"x\"]}\n{\"id\":2}\n",
    )
    .unwrap();
    let batch = rows(0..9);
    let mut writer = arrow::ipc::writer::FileWriter::try_new(
        File::create(path("a.arrow")).unwrap(),
        &batch.schema(),
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();

    let csv = open(&path("csv")).await.unwrap();
    assert!(!csv.is_table());
    assert_eq!(ids(&csv, Scan::of(["id"])).await, [(0, 1), (1, 2), (2, 3)]);
    let texts = strings(&csv, "text").await;
    assert_eq!(
        texts,
        [
            Some("one,\nand a half".to_owned()),
            None,
            Some("three".to_owned())
        ]
    );
    let filter = predicate("id >= 2", &csv);
    assert_eq!(
        ids(&csv, Scan::of(["id"]).filter(filter.clone())).await,
        [(1, 2), (2, 3)]
    );
    assert_eq!(
        ids(&csv, Scan::of(["id"]).filter(filter).from(2).limit(5)).await,
        [(2, 3)]
    );

    let json = open(&path("a.ndjson")).await.unwrap();
    assert_eq!(ids(&json, Scan::of(["id"])).await, [(0, 1), (1, 2)]);
    assert!(matches!(
        json.schema().field_with_name("tags").unwrap().data_type(),
        DataType::List(_)
    ));

    let ipc = open(&path("a.arrow")).await.unwrap();
    assert_eq!(ids(&ipc, Scan::of(["id"])).await.len(), 9);
}

#[tokio::test]
async fn a_query_keeps_its_order_binds_its_variables_and_only_reads() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..50), 8);
    let tables = [("t", path.as_path())];
    let sorted = query(
        "select id from t where id >= $low and id < $high order by id desc",
        &tables,
        &[("low", "9"), ("high", "12")],
    );
    assert_eq!(
        ids(&sorted.await.unwrap(), Scan::of(["id"])).await,
        [(0, 11), (1, 10), (2, 9)]
    );
    // As text, '9' would stand above '12'; and a quote is a quote.
    let quote = query(
        "select id from t where text = $x",
        &tables,
        &[("x", "' or true --")],
    );
    assert_eq!(ids(&quote.await.unwrap(), Scan::of(["id"])).await, []);
    let joined = query(
        "select a.id, b.text as other from t a join t b on a.id = b.id where a.id < 3",
        &tables,
        &[],
    );
    assert_eq!(ids(&joined.await.unwrap(), Scan::of(["id"])).await.len(), 3);
    for (sql, words) in [
        ("select id from tt", "did you mean `t`"),
        ("select idd from t", "idd"),
        ("select id from t where id > $low", "--var low"),
        ("select", "cannot understand"),
        ("drop table t", "more than read"),
        ("copy t to '/tmp/x.parquet'", "more than read"),
        ("select id, text as id from t", "ambiguous"),
        ("select a.id, b.id from t a cross join t b", "same name"),
    ] {
        let error = query(sql, &tables, &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}");
        assert!(
            message(&error).contains(words),
            "{sql}: {}",
            message(&error)
        );
    }
}
