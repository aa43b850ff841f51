//! Keys: unique, never null, and equal by value.

use super::*;

async fn keyed(
    columns: Vec<(&str, ArrayRef)>,
    key: &[&str],
) -> crate::base::Result<(Source, RowIds)> {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let table = columns.into_iter().map(|(name, array)| (name, array, true));
    write_parquet(
        &path,
        &RecordBatch::try_from_iter_with_nullable(table).unwrap(),
        3,
    );
    let source = open(&path).await?;
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let ids = RowIds::new(source.schema(), &key)?;
    // The file goes away, but its rows are read now.
    let outcome = unique(&source, &ids).await;
    outcome.map(|()| (source, ids))
}

async fn unique(source: &Source, ids: &RowIds) -> crate::base::Result<()> {
    let mut seen = std::collections::HashMap::new();
    check_unique(source, ids, |hash, row| {
        let there = seen.get(&hash).copied();
        seen.entry(hash).or_insert(row);
        Ok(there)
    })
    .await
}

#[tokio::test]
async fn a_key_is_unique_and_never_null_or_says_where_not() {
    let numbers = |ids: Vec<Option<i64>>| Arc::new(Int64Array::from(ids)) as ArrayRef;
    let words = |words: Vec<&str>| Arc::new(StringArray::from(words)) as ArrayRef;
    assert!(
        keyed(vec![("id", numbers((0..20).map(Some).collect()))], &["id"])
            .await
            .is_ok()
    );
    assert!(
        keyed(
            vec![("id", numbers((0..20).rev().map(Some).collect()))],
            &["id"]
        )
        .await
        .is_ok()
    );
    let pair = vec![
        ("a", words(vec!["a", "ab", "a"])),
        ("b", words(vec!["bc", "c", "c"])),
    ];
    assert!(keyed(pair, &["a", "b"]).await.is_ok());

    let twice = keyed(
        vec![(
            "id",
            numbers(vec![Some(1), Some(7), Some(2), Some(7), None]),
        )],
        &["id"],
    )
    .await;
    let text = message(&twice.err().unwrap());
    assert!(text.contains("id=7 in rows 1 and 3"), "{text}");
    assert!(text.contains("row 4 has no key: id=null"), "{text}");
    let many = keyed(vec![("id", numbers(vec![Some(1); 20]))], &["id"]).await;
    let text = message(&many.err().unwrap());
    assert!(
        text.contains("rows 0 and 5") && !text.contains("rows 0 and 6"),
        "{text}"
    );
}

#[tokio::test]
async fn a_key_of_an_unfit_type_or_name_is_refused() {
    let column = |array: ArrayRef| vec![("ident", array)];
    for (array, key, words) in [
        (
            Arc::new(Float64Array::from(vec![1.0])) as ArrayRef,
            "ident",
            "floats are not exact",
        ),
        (
            every_type().column(0).slice(0, 1),
            "ident",
            "made of scalars",
        ),
        (
            Arc::new(Int64Array::from(vec![1])),
            "identt",
            "did you mean `ident`",
        ),
    ] {
        let error = keyed(column(array), &[key]).await.err().unwrap();
        assert!(message(&error).contains(words), "{}", message(&error));
    }
}

#[tokio::test]
async fn keys_are_equal_by_value_whatever_their_width_or_layout() {
    let folder = scratch();
    let hash = async |name: &str, array: ArrayRef| {
        let path = folder.path().join(format!("{name}.parquet"));
        let table = RecordBatch::try_from_iter([("k", array)]).unwrap();
        write_parquet(&path, &table, 10);
        let source = open(&path).await.unwrap();
        let ids = RowIds::new(source.schema(), &["k".to_owned()]).unwrap();
        let mut hashes = Vec::new();
        for slice in slices(&source, Scan::of(["k"])).await {
            ids.hash(&slice.batch, &mut hashes).unwrap();
        }
        hashes
    };
    let narrow = hash("i32", Arc::new(Int32Array::from(vec![5, -1]))).await;
    assert_eq!(
        narrow,
        hash("i64", Arc::new(Int64Array::from(vec![5, -1]))).await
    );
    assert_ne!(narrow[0], narrow[1]);
    let words: DictionaryArray<Int32Type> = ["x", "y"].into_iter().collect();
    let plain = hash("utf8", Arc::new(StringArray::from(vec!["x", "y"]))).await;
    assert_eq!(plain, hash("dictionary", Arc::new(words)).await);
}

#[test]
fn a_key_of_bytes_is_named_as_it_is_printed() {
    let uuids = FixedSizeBinaryArray::try_from_iter([[0xab_u8; 16], [1; 16]].iter()).unwrap();
    let table = RecordBatch::try_from_iter([("k", Arc::new(uuids) as ArrayRef)]).unwrap();
    let ids = RowIds::new(table.schema_ref(), &["k".to_owned()]).unwrap();
    let rows = ids.encode(&table).unwrap();
    for text in [
        "abababab-abab-abab-abab-abababababab",
        "ABABABABABABABABABABABABABABABAB",
    ] {
        let found = ids.read(&[text.to_owned()]).unwrap();
        assert_eq!(found.as_deref(), Some(rows.row(0).as_ref()), "{text}");
    }
}
