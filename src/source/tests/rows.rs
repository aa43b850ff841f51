//! The rows of a table of Parquet files, wherever it lies.

use super::*;

#[tokio::test]
async fn rows_come_in_the_order_of_paths_and_row_groups_with_their_positions() {
    let folder = scratch();
    // Written in another order than their names'.
    for (name, from) in [("c", 40), ("a", 0), ("b", 20)] {
        write_parquet(
            &folder.path().join(format!("{name}.parquet")),
            &rows(from..from + 20),
            6,
        );
    }
    let source = open(folder.path()).await.unwrap();
    assert_eq!(source.rows(), Some(60));
    let expected: Vec<(u64, i64)> = (0..60u64).map(|at| (at, at.cast_signed())).collect();
    for batch_rows in [1, 5, 6, 7, 100] {
        assert_eq!(
            ids(&source, Scan::of(["id"]).batch_rows(batch_rows)).await,
            expected
        );
    }
    assert_eq!(
        ids(&source, Scan::of(["id"]).from(33).limit(10)).await,
        expected[33..43]
    );
    assert_eq!(ids(&source, Scan::of(["id"]).limit(0)).await, []);
    let only = slices(&source, Scan::of(["lang", "id"])).await;
    assert_eq!(only[0].batch.schema().field(0).name(), "lang");
    assert_eq!(only[0].batch.num_columns(), 2);
    let none: usize = slices(&source, Scan::of::<String>([]))
        .await
        .iter()
        .map(|s| s.rows.len())
        .sum();
    assert_eq!(none, 60);
}

#[tokio::test]
async fn a_damaged_page_fails_the_scan_and_names_the_file() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..500), 100);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40..1500].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let source = open(&path).await.unwrap();
    let scan = source.scan(Scan::of(["id", "text"])).await.unwrap();
    let error = scan.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(message(&error).contains("a.parquet"), "{}", message(&error));
}

#[tokio::test]
async fn a_file_in_a_store_reads_as_the_same_file_on_disk() {
    let folder = scratch();
    let stores: Arc<Stores> = Arc::default();
    let path = folder.path().join("a.parquet");
    // Larger than a window, so that several are fetched.
    let long: StringArray = (0..3000)
        .map(|row| Some(format!("{row}-").repeat(600 + row % 7)))
        .collect();
    let number = Int64Array::from_iter_values(0..3000);
    let table = RecordBatch::try_from_iter([
        ("id", Arc::new(number) as ArrayRef),
        ("long", Arc::new(long)),
    ])
    .unwrap();
    write_parquet(&path, &table, 900);
    let place = stores.locate("memory:///lake/x/a.parquet").unwrap();
    let bytes = fs::read(&path).unwrap();
    place.store.put(&place.path, bytes.into()).await.unwrap();
    for address in [
        "memory:///lake/x/a.parquet",
        "memory:///lake/",
        "memory:///lake/*/a*",
    ] {
        let input = Input::table(address.to_owned());
        let source = Source::open(&input, &stores, folder.path()).await.unwrap();
        let read = everything(&source).await;
        assert_eq!(read.columns(), table.columns(), "{address}");
        let filter = predicate("id % 1000 = 999", &source);
        assert_eq!(ids(&source, Scan::of(["id"]).filter(filter)).await.len(), 3);
    }
}

#[tokio::test]
async fn views_are_read_as_plain_strings() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let views: StringViewArray = [Some("a text that is longer than a view's prefix"), None]
        .into_iter()
        .collect();
    let table =
        RecordBatch::try_from_iter_with_nullable([("text", Arc::new(views) as ArrayRef, true)])
            .unwrap();
    write_parquet(&path, &table, 10);
    let source = open(&path).await.unwrap();
    assert_eq!(source.schema().field(0).data_type(), &DataType::Utf8);
    assert_eq!(strings(&source, "text").await[1], None);
}

#[tokio::test]
async fn strings_come_as_views_where_that_is_asked_for() {
    let folder = scratch();
    let long = "a text that is longer than a view's prefix";
    let texts = || [Some(long), None, Some("short"), Some("")];
    let large: LargeStringArray = texts().into_iter().collect();
    let plain: StringArray = texts().into_iter().collect();
    let table = RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from(vec![0, 1, 2, 3])) as ArrayRef,
            true,
        ),
        ("large", Arc::new(large), true),
        ("plain", Arc::new(plain), true),
    ])
    .unwrap();
    write_parquet(&folder.path().join("dt=1/a.parquet"), &table, 3);
    let source = open(folder.path()).await.unwrap();
    let filter = predicate("id <> 2 and large is distinct from 'x'", &source);
    let scan = Scan::of(["dt", "plain", "id", "large"])
        .filter(filter)
        .views();
    let mut seen = Vec::new();
    for slice in slices(&source, scan).await {
        let [dt, plain, id, large] = slice.batch.columns() else {
            panic!("four columns were asked for");
        };
        assert!(dt.as_string::<i32>().iter().all(|dt| dt == Some("1")));
        assert_eq!(plain.as_string_view(), large.as_string_view());
        let texts = plain.as_string_view().iter();
        let texts = texts.map(|text| text.map(str::to_owned));
        seen.extend(
            id.as_primitive::<Int64Type>()
                .values()
                .iter()
                .copied()
                .zip(texts),
        );
    }
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(seen, [(0, text(long)), (1, None), (3, text(""))]);
}
