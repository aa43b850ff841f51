//! Predicates: which rows are selected, and which row groups are read for them.

use super::*;

#[tokio::test]
async fn a_predicate_selects_rows_by_value_and_nulls_never() {
    let folder = scratch();
    for (name, from) in [("a", 0), ("b", 100)] {
        write_parquet(
            &folder.path().join(format!("{name}.parquet")),
            &rows(from..from + 100),
            17,
        );
    }
    let source = open(folder.path()).await.unwrap();
    let check = async |sql: &str, wanted: &dyn Fn(i64) -> bool| {
        let expected: Vec<_> = (0..200)
            .filter(|id| wanted(*id))
            .map(|id| (id.cast_unsigned(), id))
            .collect();
        for batch_rows in [3, 64] {
            let scan = Scan::of(["id"])
                .filter(predicate(sql, &source))
                .batch_rows(batch_rows);
            assert_eq!(ids(&source, scan).await, expected, "{sql}");
        }
        let scan = Scan::of(["id"])
            .filter(predicate(sql, &source))
            .from(50)
            .limit(7);
        let some: Vec<_> = expected
            .into_iter()
            .filter(|(at, _)| *at >= 50)
            .take(7)
            .collect();
        assert_eq!(ids(&source, scan).await, some, "{sql} from 50");
    };
    check("lang = 'en'", &|id| id % 3 == 0).await;
    check("lang <> 'en'", &|id| id % 3 == 1).await;
    check("not (lang = 'en')", &|id| id % 3 == 1).await;
    check("lang is null and id > 150", &|id| id % 3 == 2 && id > 150).await;
    check("text like '%7' or id between 20 and 30", &|id| {
        id % 10 == 7 || (20..=30).contains(&id)
    })
    .await;
    check("id < 0", &|_| false).await;
    check("true", &|_| true).await;
    check("null", &|_| false).await;
}

#[tokio::test]
async fn a_predicate_takes_variables_as_values_and_says_what_is_wrong() {
    let folder = scratch();
    write_parquet(&folder.path().join("a.parquet"), &rows(0..30), 10);
    let source = open(folder.path()).await.unwrap();
    let vars = BTreeMap::from([("low".to_owned(), "27".to_owned())]);
    let bound = Predicate::compile("id > $low", source.schema(), &vars).unwrap();
    assert_eq!(
        ids(&source, Scan::of(["id"]).filter(bound)).await,
        [(28, 28), (29, 29)]
    );
    for (sql, words) in [
        ("langg = 'en'", "lang"),
        ("id > $high", "--var high"),
        ("id + 1", "not true or false"),
        ("id >", "cannot understand"),
    ] {
        let error = Predicate::compile(sql, source.schema(), &vars).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}");
        assert!(
            message(&error).contains(words),
            "{sql}: {}",
            message(&error)
        );
    }
}

#[tokio::test]
async fn row_groups_that_cannot_match_are_not_read() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..500), 100);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40..1500].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let source = open(&path).await.unwrap();
    let late = Scan::of(["id"]).filter(predicate("id >= 480 and text is not null", &source));
    assert_eq!(ids(&source, late).await.len(), 20);
    let through_sql = query("select id from t where id > 497", &[("t", &path)], &[])
        .await
        .unwrap();
    let last = ids(&through_sql, Scan::of(["id"])).await;
    assert_eq!(last, [(0, 498), (1, 499)]);
    let early = source
        .scan(Scan::of(["id"]).filter(predicate("id < 10", &source)))
        .await
        .unwrap();
    assert!(early.try_collect::<Vec<_>>().await.is_err());
    let failed = query("select id from t", &[("t", &path)], &[])
        .await
        .unwrap();
    let failed = failed
        .scan(Scan::of(["id"]))
        .await
        .unwrap()
        .try_collect::<Vec<_>>()
        .await;
    let text = message(&failed.unwrap_err());
    assert!(text.contains("a.parquet"), "{text}");
}

#[tokio::test]
async fn statistics_never_hide_a_row_that_matches() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let ratio = Float64Array::from(vec![
        Some(1.0),
        Some(f64::NAN),
        None,
        Some(2.0),
        Some(3.0),
        None,
    ]);
    let ids_of = Int64Array::from_iter_values(0..6);
    let table = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids_of) as ArrayRef, false),
        ("ratio", Arc::new(ratio), true),
    ]);
    write_parquet(&path, &table.unwrap(), 3);
    let source = open(&path).await.unwrap();
    for (sql, expected) in [
        ("ratio > 100", vec![1]),
        ("ratio is null", vec![2, 5]),
        ("ratio is not null and id < 3", vec![0, 1]),
        ("not (ratio <= 2)", vec![1, 4]),
    ] {
        let scan = Scan::of(["id"]).filter(predicate(sql, &source));
        let found: Vec<i64> = ids(&source, scan)
            .await
            .into_iter()
            .map(|(_, id)| id)
            .collect();
        assert_eq!(found, expected, "{sql}");
    }
}
