use std::collections::HashSet;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI-K7MDENG";

fn stores(variables: &[(&str, &str)]) -> Stores {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Stores::default().with_environment(variables.iter().map(own).collect())
}

/// A folder on local disk and one in memory, both empty.
fn both(folder: &tempfile::TempDir) -> [Location; 2] {
    let stores = Stores::default();
    let local = stores.locate(folder.path().to_str().unwrap()).unwrap();
    [local.join("base"), stores.locate("memory:///base").unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_64_racing_writers_one_wins_and_its_bytes_stay() {
    let folder = tempfile::tempdir().unwrap();
    for place in both(&folder) {
        for round in 0..30 {
            let file = place.join(&format!("log/{round:020}.json"));
            let writers = (0..64u32).map(|writer| {
                let file = file.clone();
                // Long enough that a torn write would show.
                tokio::spawn(async move { file.put_new(writer.to_string().repeat(5_000)).await })
            });
            let mut winners = Vec::new();
            for (writer, done) in writers.collect::<Vec<_>>().into_iter().enumerate() {
                if done.await.unwrap().unwrap() == Put::Created {
                    winners.push(writer);
                }
            }
            assert_eq!(winners.len(), 1, "{file}, round {round}");
            let stored = file.get().await.unwrap().unwrap();
            assert_eq!(stored, Bytes::from(winners[0].to_string().repeat(5_000)));
        }
        // Nothing but the thirty files is left, not even under a staging name.
        assert_eq!(place.list().await.unwrap().len(), 30);
        if let Some(local) = &place.local {
            assert_eq!(std::fs::read_dir(local.join("log")).unwrap().count(), 30);
        }
    }
}

#[tokio::test]
async fn files_are_written_read_listed_and_deleted_alike_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    for place in both(&folder) {
        assert!(
            place.list().await.unwrap().is_empty(),
            "a missing folder is empty"
        );
        assert_eq!(place.join("a").get().await.unwrap(), None);
        assert!(place.join("a").head().await.unwrap().is_none());
        for name in ["b/2", "a", "b/10", "c"] {
            place.join(name).put(name.to_owned()).await.unwrap();
        }
        let names = |listed: Vec<ObjectMeta>| -> Vec<String> {
            listed.iter().map(|meta| place.name_of(meta)).collect()
        };
        assert_eq!(
            names(place.list().await.unwrap()),
            ["a", "b/10", "b/2", "c"]
        );
        assert_eq!(names(place.list_after("b/10").await.unwrap()), ["b/2", "c"]);
        assert_eq!(names(place.list_after("b/11").await.unwrap()), ["b/2", "c"]);
        place.join("a").put("again").await.unwrap();
        assert_eq!(place.join("a").get().await.unwrap().unwrap(), "again");
        assert_eq!(place.join("a").get_range(1..3).await.unwrap(), "ga");
        assert_eq!(place.join("a").head().await.unwrap().unwrap().size, 5);
        place.join("a").delete().await.unwrap();
        place.join("a").delete().await.unwrap();
        assert_eq!(place.join("a").get().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_big_file_is_absent_until_it_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    for place in both(&folder) {
        let file = place.join("big");
        let mut writer = file.writer().await.unwrap();
        writer.write(vec![7; 20 << 20].into()).await.unwrap();
        writer.write_all(b"end").await.unwrap();
        writer.shutdown().await.unwrap();
        assert!(
            file.head().await.unwrap().is_none(),
            "shutdown is not the end: {file}"
        );
        assert_eq!(writer.finish().await.unwrap(), (20 << 20) + 3);
        let stored = file.get().await.unwrap().unwrap();
        assert_eq!(stored.len(), (20 << 20) + 3);
        assert!(stored.ends_with(b"\x07end"));

        let mut given_up = place.join("given-up").writer().await.unwrap();
        given_up.write(vec![7; 9 << 20].into()).await.unwrap();
        drop(given_up);
        assert_eq!(place.list().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_uploaded_file_stays_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    std::fs::write(&spool, "x".repeat(100_000)).unwrap();
    for place in both(&folder) {
        for file in [place.join("shared"), place.clone().private().join("owned")] {
            file.upload_file(&spool).await.unwrap();
            file.upload_file(&spool).await.unwrap();
            assert_eq!(file.head().await.unwrap().unwrap().size, 100_000);
        }
        assert!(spool.exists());
        let error = place
            .join("x")
            .upload_file(&folder.path().join("gone"))
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with("cannot "), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_private_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &FilePath| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let place = both(&folder)[0].clone().private();
    let spool = folder.path().join("spool");
    std::fs::write(&spool, "x").unwrap();
    place.join("log/0").put_new("x").await.unwrap();
    place.join("log/1").put("x").await.unwrap();
    place.join("log/2").upload_file(&spool).await.unwrap();
    place
        .join("log/3")
        .writer()
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    for meta in place.list().await.unwrap() {
        let file = place.local.as_ref().unwrap().join(place.name_of(&meta));
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(place.local.as_ref().unwrap()), 0o700);
    assert_eq!(mode(&place.local.as_ref().unwrap().join("log")), 0o700);
}

#[cfg(unix)]
#[tokio::test]
async fn folders_above_a_private_one_are_everybodys() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let by_umask = folder.path().join("by-umask");
    std::fs::create_dir(&by_umask).unwrap();
    let mode = |path: &FilePath| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let top = Stores::default()
        .locate(folder.path().join("new").to_str().unwrap())
        .unwrap();
    let ledger = top.join("sub/_columnist/job").private();
    ledger.join("log/0").put_new("x").await.unwrap();
    for open in ["new", "new/sub", "new/sub/_columnist"] {
        assert_eq!(mode(&folder.path().join(open)), mode(&by_umask), "{open}");
    }
    for owned in ["", "/log"] {
        let path = format!("new/sub/_columnist/job{owned}");
        assert_eq!(mode(&folder.path().join(&path)), 0o700, "{path}");
    }
    let spool = folder.path().join("spool");
    std::fs::write(&spool, "x").unwrap();
    let linked = top.join("other/_columnist/job").private().join("a");
    linked.upload_file(&spool).await.unwrap();
    assert_eq!(mode(&folder.path().join("new/other")), mode(&by_umask));
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_says_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let place = Stores::default()
        .locate(folder.path().to_str().unwrap())
        .unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let error = if rustix::process::geteuid().is_root() {
        // No folder is read-only to root: take the system's own error instead.
        let refused = rustix::io::Errno::ROFS.into();
        fault::of_disk(refused, "create the file", &place)
    } else {
        place.join("x").put_new("x").await.unwrap_err()
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.message(), "cannot create the file: permission denied");
    assert!(error.hint_text().unwrap().contains("writable"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_says_what_to_do() {
    use std::io::Write;
    let full = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        file.write_all(b"x").unwrap_err()
    };
    let direct = fault::of_disk(full(), "create the file", "/x");
    let wrapped = object_store::Error::Generic {
        store: "any",
        source: full().into(),
    };
    for error in [
        direct,
        fault::of_store(wrapped, "create the file", "s3://x"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.message(), "cannot create the file: the disk is full");
        assert!(error.hint_text().unwrap().contains("free some space"));
    }
}

#[test]
fn who_has_no_credentials_is_told_where_they_are_from() {
    for (place, variable) in [
        ("s3://lake/x", "AWS_ACCESS_KEY_ID"),
        ("gs://lake/x", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://lake/x", "AZURE_STORAGE_ACCOUNT_KEY"),
        (
            "abfss://box@lake.dfs.core.windows.net/x",
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
    ] {
        let asked = object_store::Error::Generic {
            store: "any",
            source: "Error performing GET http://169.254.169.254/latest/api/token".into(),
        };
        let refused = object_store::Error::PermissionDenied {
            path: "x".into(),
            source: "403".into(),
        };
        for error in [asked, refused] {
            let error = fault::of_store(error, "read the file", place);
            assert_eq!(error.kind(), ErrorKind::Refused, "{place}");
            assert!(
                error.hint_text().unwrap().contains(variable),
                "{place}: {error:?}"
            );
        }
    }
    // Not even opened: an Azure store without its account, a Google one with a key that is not there.
    let nothing = stores(&[]).locate("az://lake/x").unwrap_err();
    assert!(
        nothing
            .hint_text()
            .unwrap()
            .contains("AZURE_STORAGE_ACCOUNT_NAME")
    );
    let missing = [("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")];
    let missing = stores(&missing).locate("gs://lake/x").unwrap_err();
    assert!(
        missing
            .hint_text()
            .unwrap()
            .contains("GOOGLE_APPLICATION_CREDENTIALS")
    );
}

#[test]
fn local_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let check = |address: &str, wanted: &FilePath| {
        let place = Stores::default().locate(address).unwrap();
        assert_eq!(place.local.as_deref(), Some(wanted), "{address}");
        assert_eq!(place.url.scheme(), "file");
    };
    let text = root.to_str().unwrap();
    check(
        &format!("{text}/a b/ü.parquet"),
        &root.join("a b/ü.parquet"),
    );
    check(&format!("{text}/x/../y"), &root.join("y"));
    check(&format!("{text}/./x/"), &root.join("x"));
    check(
        Url::from_file_path(root.join("a b")).unwrap().as_str(),
        &root.join("a b"),
    );
    check("x", &std::env::current_dir().unwrap().join("x"));
}

#[cfg(unix)]
#[test]
fn the_parent_of_a_symlink_is_its_targets() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("deep/er")).unwrap();
    std::os::unix::fs::symlink(root.join("deep/er"), root.join("link")).unwrap();
    let address = format!("{}/link/../x", root.display());
    let place = Stores::default().locate(&address).unwrap();
    assert_eq!(place.local, Some(root.join("deep/x")));
}

#[test]
fn urls_of_every_kind_open_by_the_environment() {
    let stores = stores(&[
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", ""),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "lake"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5"),
    ]);
    let check = |url: &str, path: &str| {
        let place = stores
            .locate(url)
            .unwrap_or_else(|error| panic!("{url}: {error:?}"));
        assert_eq!(place.path.as_ref(), path, "{url}");
        assert_eq!(place.local, None);
    };
    check("s3://lake/tickets/", "tickets");
    check("s3://lake/a%20b/c", "a b/c");
    check("gs://lake/x", "x");
    check("az://lake/x", "x");
    check("abfss://box@lake.dfs.core.windows.net/x", "x");
    check("https://example.com/x/y.parquet", "x/y.parquet");
    check("memory:///x", "x");
}

#[test]
fn one_bucket_is_one_store() {
    let stores = stores(&[]);
    let store = |url: &str| stores.locate(url).unwrap().store;
    assert!(Arc::ptr_eq(&store("s3://a/x"), &store("s3://a/y/z")));
    assert!(!Arc::ptr_eq(&store("s3://a/x"), &store("s3://b/x")));
    assert!(Arc::ptr_eq(&store("memory:///x"), &store("memory:///y")));
    let url = Url::parse("s3://a").unwrap();
    assert!(Arc::ptr_eq(
        &store("s3://a/x"),
        &stores.store_of(&url).unwrap()
    ));
    let url = Url::parse("file:///").unwrap();
    assert!(Arc::ptr_eq(&store("/x"), &stores.store_of(&url).unwrap()));
}

#[test]
fn what_cannot_be_opened_says_why_and_keeps_secrets() {
    let variables = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AZURE_STORAGE_ACCOUNT_NAME", "lake"),
        ("AZURE_STORAGE_ACCOUNT_KEY", SECRET),
        ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:9/lake"),
        ("GOOGLE_BASE_URL", "http://127.0.0.1:9"),
    ];
    let check = |url: &str, message: &str| {
        let error = stores(&variables).locate(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert_eq!(error.message(), message, "{url}");
        let told = format!("{error:?} {error} {:?}", error.hint_text());
        assert!(!told.contains(SECRET), "{told}");
    };
    check("s3://lake/x", "the S3 endpoint is plain http");
    check("az://lake/x", "the Azure endpoint is plain http");
    check("gs://lake/x", "Google's endpoint is plain http");
    check("http://example.com/x", "the address is plain http");
    check("ftp://example.com/x", "no store has this scheme");
    check(
        &format!("s3://key:{SECRET}@lake/x"),
        "credentials do not belong in a URL",
    );
    check(
        &format!("https://{SECRET}@example.com/x"),
        "credentials do not belong in a URL",
    );
    check(
        &format!("https://lake.blob.core.windows.net/x?sig={SECRET}"),
        "a URL of storage has no query and no fragment, and a signed URL cannot be used",
    );
    check(
        &format!("s3://key:{SECRET}@[/x"),
        "not a URL that can be read",
    );
    check("s3:///x", "the URL names no bucket or host");
}

#[test]
fn options_win_over_the_environment_and_are_checked() {
    let option = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let allowed = Stores::new(option("allow_http", "true"))
        .unwrap()
        .with_environment(vec![(
            "AWS_ENDPOINT_URL".into(),
            "http://127.0.0.1:9".into(),
        )]);
    allowed.locate("s3://lake/x").unwrap();
    allowed.locate("http://127.0.0.1:9/x").unwrap();

    let error = Stores::new(option("aws_endpiont", SECRET)).unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `aws_endpoint`?"));
    assert!(!format!("{error:?}").contains(SECRET));
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let options = vec![("aws_secret_access_key".to_owned(), SECRET.to_owned())];
    let stores = Stores::new(options)
        .unwrap()
        .with_environment(vec![("AWS_ACCESS_KEY_ID".into(), SECRET.into())]);
    let place = stores.locate("s3://lake/x").unwrap();
    let shown = format!("{stores:?} {place:?} {place} {}", place.url);
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn a_place_beneath_a_place() {
    let stores = stores(&[]);
    let names: HashSet<_> = ["s3://lake/out", "s3://lake/out/"]
        .iter()
        .map(|url| {
            stores
                .locate(url)
                .unwrap()
                .join("/dt=2026-01-01//a b.parquet")
        })
        .map(|place| (place.url.to_string(), place.path.to_string()))
        .collect();
    let wanted = (
        "s3://lake/out/dt=2026-01-01/a%20b.parquet".to_owned(),
        "out/dt=2026-01-01/a b.parquet".to_owned(),
    );
    assert_eq!(names, HashSet::from([wanted]));
}

#[test]
fn a_missing_bucket_is_told_from_a_missing_file() {
    let missing = |said: &str| object_store::Error::NotFound {
        path: "x".into(),
        source: said.into(),
    };
    let bucket = "404 Not Found: <Error><Code>NoSuchBucket</Code></Error>";
    let file = "404 Not Found: <Error><Code>NoSuchKey</Code></Error>";
    assert!(fault::is_no_bucket(&missing(bucket)));
    assert!(!fault::is_no_bucket(&missing(file)));
    assert!(fault::is_no_bucket(&object_store::Error::Generic {
        store: "S3",
        source: bucket.into(),
    }));
    let error = fault::of_store(missing(bucket), "create the file", "s3://x/y");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.message(),
        "cannot create the file: there is no such bucket"
    );
}
