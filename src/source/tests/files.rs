//! Which files an address stands for, and what their folders say.

use super::*;

#[tokio::test]
async fn hive_folders_become_columns_and_hidden_names_are_never_read() {
    let folder = scratch();
    let data = rows(0..2);
    for path in [
        "dt=2024-01-01/team=a%2Fb c/x.parquet",
        "dt=2024-01-02/team=__HIVE_DEFAULT_PARTITION__/y.parquet",
        "dt=2024-01-02/team=100%/z.parquet",
    ] {
        write_parquet(&folder.path().join(path), &data, 10);
    }
    for hidden in [
        "_columnist/job/requests.parquet",
        "dt=2024-01-01/_temporary/t.parquet",
        "dt=2024-01-01/team=a%2Fb c/.x.parquet",
        "_metadata.parquet",
    ] {
        let path = folder.path().join(hidden);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "not Parquet").unwrap();
    }
    fs::write(folder.path().join("_SUCCESS"), "").unwrap();
    let source = open(folder.path()).await.unwrap();
    let names: Vec<_> = source
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    assert_eq!(names, ["id", "text", "lang", "dt", "team"]);
    let team = |team: Option<&str>| team.map(str::to_owned);
    let hundred = team(Some("100%"));
    let slash = team(Some("a/b c"));
    assert_eq!(
        strings(&source, "team").await,
        [slash.clone(), slash, hundred.clone(), hundred, None, None]
    );
    let filter = predicate("dt = '2024-01-02' and team is null", &source);
    assert_eq!(
        ids(&source, Scan::of(["id"]).filter(filter)).await,
        [(4, 0), (5, 1)]
    );
    assert_eq!(
        source.files()[0].relative,
        "dt=2024-01-01/team=a%2Fb c/x.parquet"
    );

    let through_sql = query(
        "select id, dt, team from t where team is null or team = '100%' order by dt, team, id",
        &[("t", folder.path())],
        &[],
    )
    .await
    .unwrap();
    assert_eq!(
        strings(&through_sql, "team").await,
        [team(Some("100%")), team(Some("100%")), None, None]
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_said_with_what_to_do() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("empty")).unwrap();
    fs::create_dir_all(path("others")).unwrap();
    fs::write(path("others/readme.md"), "hello").unwrap();
    fs::write(path("broken.parquet"), "PAR1 not really PAR1").unwrap();
    write_parquet(&path("mixed/a.parquet"), &rows(0..2), 10);
    let other = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("text", Arc::new(Int32Array::from(vec![1]))),
        ("lang", Arc::new(StringArray::from(vec!["en"]))),
    ]);
    write_parquet(&path("mixed/b.parquet"), &other.unwrap(), 10);
    write_parquet(&path("kinds/a.parquet"), &rows(0..2), 10);
    fs::write(path("kinds/b.csv"), "id\n1\n").unwrap();
    for (name, words) in [
        (
            "nothing.parquet",
            vec!["no such file", "relative to the job file"],
        ),
        ("empty", vec!["no data files"]),
        ("others", vec!["no data files", ".parquet"]),
        ("broken.parquet", vec!["damaged", "broken.parquet"]),
        (
            "mixed",
            vec!["different columns", "column=`text`", "b.parquet", "Int32"],
        ),
        ("kinds", vec!["more than one format", "b.csv"]),
    ] {
        let error = open(&path(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
        for word in words {
            assert!(
                message(&error).contains(word),
                "{name}: {}",
                message(&error)
            );
        }
    }
    let source = open(&path("mixed/a.parquet")).await.unwrap();
    let error = source.scan(Scan::of(["langg"])).await.err().unwrap();
    assert!(
        message(&error).contains("did you mean `lang`"),
        "{}",
        message(&error)
    );
}

#[tokio::test]
async fn a_glob_stays_within_a_folder_unless_it_says_otherwise() {
    let folder = scratch();
    for (at, path) in [
        "2024/a 1.parquet",
        "2024/b%20.parquet",
        "2025/a=1.parquet",
        "2025/deep/a.parquet",
    ]
    .iter()
    .enumerate()
    {
        let at = i64::try_from(at).unwrap();
        write_parquet(&folder.path().join(path), &rows(at * 10..at * 10 + 1), 10);
    }
    let read = async |pattern: &str| {
        let source = open(&folder.path().join(pattern)).await.unwrap();
        ids(&source, Scan::of(["id"]))
            .await
            .into_iter()
            .map(|(_, id)| id)
            .collect::<Vec<_>>()
    };
    assert_eq!(read("*/a*.parquet").await, [0, 20]);
    assert_eq!(read("**/a*.parquet").await, [0, 20, 30]);
    assert_eq!(read("2024/?%20.parquet").await, [10]);
    assert_eq!(read("202[45]").await, [0, 10, 20, 30]);
    assert_eq!(read("2024/b%20.parquet").await, [10]);
    assert_eq!(read("2025/a=1.parquet").await, [20]);
    let error = open(&folder.path().join("*/nothing*")).await.unwrap_err();
    assert!(
        message(&error).contains("no file matches"),
        "{}",
        message(&error)
    );
}

#[tokio::test]
async fn a_pin_tells_a_file_that_changed_from_one_that_is_gone() {
    let folder = scratch();
    let path = folder.path().join("a b.parquet");
    write_parquet(&path, &rows(0..5), 10);
    let source = open(&path).await.unwrap();
    let pin = source.files()[0].pin.clone();
    let stores = Stores::default();
    assert_eq!(drift(&pin, &stores).await.unwrap(), None);
    write_parquet(&path, &rows(0..6), 10);
    assert_eq!(drift(&pin, &stores).await.unwrap(), Some(Drift::Changed));
    fs::remove_file(&path).unwrap();
    assert_eq!(drift(&pin, &stores).await.unwrap(), Some(Drift::Gone));
}

/// In a bucket, an object of that very name is meant, though it looks like a pattern.
#[tokio::test]
async fn an_object_whose_name_looks_like_a_pattern_is_read_alone() {
    let (folder, stores) = (scratch(), Arc::new(Stores::default()));
    for (at, name) in ["a[1].parquet", "a1.parquet", "b*.parquet"]
        .iter()
        .enumerate()
    {
        let at = i64::try_from(at).unwrap();
        let path = folder.path().join("one.parquet");
        write_parquet(&path, &rows(at * 10..at * 10 + 1), 10);
        let place = stores.locate(&format!("memory:///lake/{name}")).unwrap();
        let bytes = fs::read(&path).unwrap();
        place.store.put(&place.path, bytes.into()).await.unwrap();
    }
    for (name, expect) in [
        ("a[1].parquet", vec![0]),
        ("b*.parquet", vec![20]),
        ("a[1]*", vec![10]),
        ("a*.parquet", vec![10, 0]),
    ] {
        let input = Input::table(format!("memory:///lake/{name}"));
        let source = Source::open(&input, &stores, folder.path()).await.unwrap();
        let read = ids(&source, Scan::of(["id"])).await;
        let read: Vec<_> = read.into_iter().map(|(_, id)| id).collect();
        assert_eq!(read, expect, "{name}");
    }
}
