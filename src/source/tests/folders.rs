//! Folders as other programs leave them: marks of table formats, files by other names, empty ones.

use super::*;

/// Writes a small table at each of `paths`, in order: `0..2`, `10..12` and so on.
fn tables(folder: &Path, paths: &[&str]) {
    for (at, path) in paths.iter().enumerate() {
        let from = i64::try_from(at).unwrap() * 10;
        write_parquet(&folder.join(path), &rows(from..from + 2), 10);
    }
}

fn touch(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

async fn read(path: &Path) -> Vec<i64> {
    let source = open(path).await.unwrap();
    let found = ids(&source, Scan::of(["id"])).await;
    found.into_iter().map(|(_, id)| id).collect()
}

/// The files that make a folder a table of another format, and the format.
const MARKS: [(&str, &str); 7] = [
    ("_delta_log/00000000000000000000.json", "Delta Lake"),
    (".hoodie/hoodie.properties", "Hudi"),
    ("metadata/v1.metadata.json", "Iceberg"),
    ("_versions/1.manifest", "Lance"),
    ("schema/schema-0", "Paimon"),
    (
        "delete_delta_0000003_0000003_0000/bucket_00000",
        "Hive ACID",
    ),
    (
        "ducklake-019aa5b5-1b63-7000-8000-000000000000.parquet",
        "DuckLake",
    ),
];

#[tokio::test]
async fn a_table_of_another_format_is_refused_by_name_wherever_it_is_entered() {
    for (mark, format) in MARKS {
        let folder = scratch();
        let within = |path: &str| folder.path().join("lake/t").join(path);
        // Hive's and DuckLake's marks are the files themselves.
        let (data, above) = match format {
            "Hive ACID" => ("delta_0000001_0000001_0000/a.parquet", false),
            "DuckLake" => (mark, false),
            _ => ("data/dt=1/a.parquet", true),
        };
        if format != "DuckLake" {
            touch(&within(mark), "{}");
        }
        write_parquet(&within(data), &rows(0..2), 10);
        let lake = folder.path().join("lake");
        let mut ways = vec![
            lake.clone(),
            within(""),
            lake.join("*"),
            lake.join("**/*.parquet"),
            within(data),
        ];
        if above {
            ways.extend([
                within("data"),
                within("data/dt=1"),
                within("data/*/*.parquet"),
            ]);
        }
        for way in ways {
            let by_table = open(&way).await.map(drop).unwrap_err();
            let by_query = query("select * from t", &[("t", &way)], &[]).await;
            for error in [by_table, by_query.map(drop).unwrap_err()] {
                let text = message(&error);
                assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
                assert!(
                    text.contains(&format!("format=`{format}`")),
                    "{}: {text}",
                    way.display()
                );
                assert!(text.contains("to Parquet, and name that here"), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_table_of_another_format_in_a_store_is_refused_as_well() {
    for (mark, format) in MARKS.iter().take(5) {
        let folder = scratch();
        let stores: Arc<Stores> = Arc::default();
        let path = folder.path().join("a.parquet");
        write_parquet(&path, &rows(0..2), 10);
        let bytes = ::bytes::Bytes::from(fs::read(&path).unwrap());
        for (name, bytes) in [("data/dt=1/a.parquet", bytes), (*mark, "{}".into())] {
            let place = stores.locate(&format!("memory:///lake/t/{name}")).unwrap();
            place.store.put(&place.path, bytes.into()).await.unwrap();
        }
        for address in [
            "t/",
            "t/data/",
            "t/data/dt=1/a.parquet",
            "*/data/**/*.parquet",
        ] {
            let address = format!("memory:///lake/{address}");
            let input = Input::table(address);
            let error = Source::open(&input, &stores, folder.path())
                .await
                .unwrap_err();
            assert!(error.to_string().contains(format), "{error}");
        }
    }
}

#[tokio::test]
async fn a_plain_folder_beside_a_table_of_another_format_is_read() {
    let folder = scratch();
    tables(folder.path(), &["plain/a.parquet", "delta/a.parquet"]);
    touch(&folder.path().join("delta/_delta_log/0.json"), "{}");
    assert_eq!(read(&folder.path().join("plain")).await, [0, 1]);
    assert_eq!(read(&folder.path().join("pl*/*.parquet")).await, [0, 1]);
    // Folders of one's own whose names are only like those of a format.
    let dates = "base_20240101/delta_20240101_20240131/schema/metadata/a.parquet";
    tables(&folder.path().join("dates"), &[dates]);
    assert_eq!(read(&folder.path().join("dates")).await, [0, 1]);
}

#[tokio::test]
async fn files_of_parquet_are_taken_whatever_they_are_called() {
    let folder = scratch();
    let names = ["a.parquet", "b.parq", "c.parquet.0001", "d", "e.v2", "f.PQ"];
    tables(folder.path(), &names);
    let expected = [0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51];
    assert_eq!(read(folder.path()).await, expected);
    assert_eq!(read(&folder.path().join("*")).await, expected);
    assert_eq!(open(folder.path()).await.unwrap().notes(), [""; 0]);
    let asked = query("select id from t", &[("t", folder.path())], &[])
        .await
        .unwrap();
    assert_eq!(ids(&asked, Scan::of(["id"])).await.len(), 12);
}

#[tokio::test]
async fn what_is_passed_by_is_counted_and_said() {
    let folder = scratch();
    let names = ["a.parquet", "_old/b.parquet", "c.parquet.bak"];
    tables(folder.path(), &names);
    for (name, text) in [
        ("readme.md", "hello"),
        ("notes", "no table"),
        ("pictures/1.png", "no picture"),
        ("_SUCCESS", ""),
        ("_metadata", "x"),
        ("._a.parquet.crc", "x"),
        (".a.parquet.crc", "x"),
        ("_columnist/job/requests.parquet", "x"),
    ] {
        touch(&folder.path().join(name), text);
    }
    let note = "files passed by: \
        3 that no name and no first bytes say to be a table (such as pictures/1.png), \
        1 whose name starts with `_` or `.` (such as _old/b.parquet), \
        1 set aside or not written to the end, by the name (such as c.parquet.bak)";
    let source = open(folder.path()).await.unwrap();
    assert_eq!(source.notes(), [note]);
    assert_eq!(read(folder.path()).await, [0, 1]);
    let asked = query("select id from t", &[("t", folder.path())], &[])
        .await
        .unwrap();
    assert_eq!(asked.notes(), [format!("t: {note}")]);
    // What the pattern does not name is nobody's business.
    let some = open(&folder.path().join("*.parquet")).await.unwrap();
    assert_eq!(some.notes(), [""; 0]);
    let error = open(&folder.path().join("pictures")).await.unwrap_err();
    assert!(
        error.to_string().contains("pictures/1.png") || error.to_string().contains("1.png"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_empty_or_cut_is_refused_by_name() {
    let folder = scratch();
    tables(folder.path(), &["a.parquet"]);
    touch(&folder.path().join("b.parquet"), "");
    let error = open(folder.path()).await.unwrap_err();
    let text = message(&error);
    assert!(
        text.contains("b.parquet") && text.contains("is empty"),
        "{text}"
    );
    touch(
        &folder.path().join("b.parquet"),
        "PAR1 and no more than that",
    );
    let error = open(folder.path()).await.unwrap_err();
    assert!(message(&error).contains("b.parquet"), "{error}");
    fs::rename(folder.path().join("b.parquet"), folder.path().join("b")).unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(message(&error).contains("damaged"), "{error}");
}

#[tokio::test]
async fn a_folder_as_spark_leaves_it_is_read_with_its_partitions() {
    let folder = scratch();
    let within = |path: &str| folder.path().join(path);
    tables(
        folder.path(),
        &[
            "dt=2024-01-01/team=R%26D/part-00000-8a1f.c000.snappy.parquet",
            "dt=2024-01-01/team=__HIVE_DEFAULT_PARTITION__/part-00000-8a1f.c000.snappy.parquet",
        ],
    );
    // Files without rows, as empty tasks write them.
    let none = rows(0..0);
    write_parquet(
        &within("dt=2024-01-02/team=x/part-00001-8a1f.c000.snappy.parquet"),
        &none,
        1,
    );
    for name in ["_SUCCESS", "._SUCCESS.crc", "_metadata", "_common_metadata"] {
        touch(&within(name), "");
    }
    touch(
        &within("dt=2024-01-01/team=R%26D/.part-00000-8a1f.c000.snappy.parquet.crc"),
        "crc",
    );
    let source = open(folder.path()).await.unwrap();
    assert_eq!(source.notes(), [""; 0]);
    assert_eq!(source.rows(), Some(4));
    let team = Some("R&D".to_owned());
    assert_eq!(
        strings(&source, "team").await,
        [team.clone(), team, None, None]
    );
    assert_eq!(source.files().len(), 3);
}
