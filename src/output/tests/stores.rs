//! Object storage: from a store, to a store, and to disk.

use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::table::{rich, simple};
use super::*;
use crate::base::MemoryStore;
use crate::output::{Existing, check_writable, examine, publish};

pub(super) struct Bucket(pub(super) Arc<MemoryStore>);

impl Bucket {
    pub(super) fn new() -> Self {
        Bucket(Arc::new(MemoryStore::new(None)))
    }

    pub(super) fn at(&self, path: &str) -> Location {
        Location {
            store: Arc::clone(&self.0) as Arc<dyn ObjectStore>,
            path: path.into(),
            url: Url::parse(&format!("memory://bucket/{path}")).unwrap(),
            local: None,
            private: None,
        }
    }

    pub(super) async fn put(&self, folder: &str, relative: &str, bytes: Vec<u8>) -> SourceFile {
        let location = self.at(&format!("{folder}/{relative}"));
        let payload = bytes.clone().into();
        self.0.put(&location.path, payload).await.unwrap();
        described(location, relative, &bytes)
    }

    pub(super) async fn get(&self, path: &str) -> Vec<u8> {
        let found = self.0.get(&path.into()).await.unwrap();
        found.bytes().await.unwrap().to_vec()
    }

    async fn listing(&self, folder: &str) -> Vec<String> {
        let path = folder.into();
        let found: Vec<_> = self.0.list(Some(&path)).collect().await;
        let found = found
            .into_iter()
            .map(|object| object.unwrap().location.to_string());
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    }
}

fn target(location: Location, form: Form) -> Target {
    Target { location, form }
}

#[tokio::test]
async fn a_file_goes_from_store_to_store_as_it_goes_from_disk_to_disk() {
    let (bucket, root) = (Bucket::new(), tempfile::tempdir().unwrap());
    let remote = bucket.put("in", "t.parquet", rich(40)).await;
    let local = source(root.path(), "in.parquet", &rich(40));
    let place = root.path().join("out.parquet");
    publish(publication(vec![local.clone()], file_target(&place)))
        .await
        .unwrap();
    let expected = std::fs::read(&place).unwrap();
    check_answers(&read_table(&expected), 0);
    for (name, from) in [("remote", &remote), ("local", &local)] {
        let to = target(bucket.at(name), Form::File);
        publish(publication(vec![from.clone()], to.clone()))
            .await
            .unwrap();
        assert!(bucket.get(name).await == expected, "{name}");
        assert!(matches!(
            examine(&to).await.unwrap(),
            Existing::Ours { complete: true, .. }
        ));
    }
    let down = root.path().join("down.parquet");
    publish(publication(vec![remote], file_target(&down)))
        .await
        .unwrap();
    assert!(std::fs::read(&down).unwrap() == expected);
}

/// A file whose one text column does not compress and takes several parts and pieces.
fn large() -> Vec<u8> {
    let mut state = 7_u64;
    let mut word = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{state:016x}")
    };
    let texts = (0..900).map(|_| (0..1300).map(|_| word()).collect::<String>());
    let column: arrow::array::StringArray = texts.map(Some).collect();
    let table = RecordBatch::try_from_iter([("text", Arc::new(column) as _)]).unwrap();
    let properties =
        parquet::file::properties::WriterProperties::builder().set_dictionary_enabled(false);
    super::table::write(&table, properties.build())
}

#[tokio::test]
async fn a_chunk_larger_than_a_part_arrives_in_order() {
    let bucket = Bucket::new();
    let bytes = large();
    assert!(bytes.len() > 2 * (8 << 20), "{}", bytes.len());
    let file = bucket.put("in", "t.parquet", bytes.clone()).await;
    publish(publication(
        vec![file],
        target(bucket.at("out"), Form::File),
    ))
    .await
    .unwrap();
    let table = read_table(&bucket.get("out").await);
    assert_eq!(table.column(0), read_table(&bytes).column(0));
    check_answers(&table, 0);
}

async fn two_files(bucket: &Bucket) -> Vec<SourceFile> {
    vec![
        bucket.put("in", "k=a%2Fb/x.parquet", simple(0, 5)).await,
        bucket.put("in", "k=c/x.parquet", simple(5, 0)).await,
    ]
}

#[tokio::test]
async fn a_folder_is_complete_with_its_success_and_holds_no_stale_file() {
    let bucket = Bucket::new();
    let folder = target(bucket.at("out"), Form::Folder);
    assert_eq!(examine(&folder).await.unwrap(), Existing::Nothing);
    let files = two_files(&bucket).await;
    publish(publication(files.clone(), folder.clone()))
        .await
        .unwrap();
    let all = ["out/_SUCCESS", "out/k=a%2Fb/x.parquet", "out/k=c/x.parquet"];
    assert_eq!(bucket.listing("out").await, all);
    assert!(matches!(
        examine(&folder).await.unwrap(),
        Existing::Ours { complete: true, .. }
    ));
    let ledger = bucket.at("out/_columnist/job/1.json");
    ledger.store.put(&ledger.path, "paid".into()).await.unwrap();
    publish(publication(files[..1].to_vec(), folder))
        .await
        .unwrap();
    let fewer = [
        "out/_SUCCESS",
        "out/_columnist/job/1.json",
        "out/k=a%2Fb/x.parquet",
    ];
    assert_eq!(bucket.listing("out").await, fewer);
}

#[tokio::test]
async fn a_folder_without_its_success_is_known_as_ours_and_finished() {
    let bucket = Bucket::new();
    let folder = target(bucket.at("out"), Form::Folder);
    let files = two_files(&bucket).await;
    publish(publication(files.clone(), folder.clone()))
        .await
        .unwrap();
    let short = publication_of(files.clone(), folder.clone(), 4);
    assert!(publish(short).await.is_err());
    assert!(
        !bucket
            .listing("out")
            .await
            .contains(&"out/_SUCCESS".to_owned())
    );
    assert!(matches!(
        examine(&folder).await.unwrap(),
        Existing::Ours {
            complete: false,
            ..
        }
    ));
    publish(publication(files, folder.clone())).await.unwrap();
    assert!(matches!(
        examine(&folder).await.unwrap(),
        Existing::Ours { complete: true, .. }
    ));
    assert!(
        !bucket
            .listing("out")
            .await
            .contains(&"out/_PUBLISHING".to_owned())
    );
}

#[tokio::test]
async fn a_strangers_folder_is_refused_and_an_object_never_appears_half() {
    let bucket = Bucket::new();
    let files = two_files(&bucket).await;
    bucket.put("theirs", "a.parquet", simple(0, 1)).await;
    let folder = target(bucket.at("theirs"), Form::Folder);
    assert!(publish(publication(files.clone(), folder)).await.is_err());
    assert_eq!(bucket.listing("theirs").await, ["theirs/a.parquet"]);
    let one = target(bucket.at("one.parquet"), Form::File);
    for rows in [4, 6] {
        let wrong = publication_of(files[..1].to_vec(), one.clone(), rows);
        assert!(publish(wrong).await.is_err());
        assert_eq!(examine(&one).await.unwrap(), Existing::Nothing);
    }
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let bucket = Bucket::new();
    for form in [Form::File, Form::Folder] {
        check_writable(&target(bucket.at("a/out"), form), "p")
            .await
            .unwrap();
    }
    assert_eq!(bucket.listing("").await, Vec::<String>::new());
}
