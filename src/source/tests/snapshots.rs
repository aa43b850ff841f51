//! Snapshots: what is written of a source is what was read.

use super::*;

#[tokio::test]
async fn a_snapshot_keeps_values_types_order_and_metadata() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let table = every_type();
    write_parquet(&path, &table, 2);
    assert_eq!(everything(&open(&path).await.unwrap()).await, table);

    let stores: Arc<Stores> = Arc::default();
    for address in [
        "memory:///snapshot",
        folder.path().join("snap shot").to_str().unwrap(),
    ] {
        let query = query("select * from t", &[("t", &path)], &[])
            .await
            .unwrap();
        assert!(!query.is_table());
        let target = stores.locate(address).unwrap();
        let snapshot = query
            .snapshot(&target, &stores, folder.path())
            .await
            .unwrap();
        assert!(snapshot.is_table());
        assert_eq!(snapshot.rows(), Some(3));
        let read = everything(&snapshot).await;
        assert_eq!(read, table, "{address}");
        assert_eq!(
            read.schema().metadata(),
            table.schema().metadata(),
            "{address}"
        );
    }
}

#[tokio::test]
async fn a_snapshot_in_a_private_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..3), 2);
    let source = query("select * from t", &[("t", &path)], &[])
        .await
        .unwrap();
    let stores: Arc<Stores> = Arc::default();
    let target = folder.path().join("snapshot");
    let target = stores.locate(target.to_str().unwrap()).unwrap().private();
    source
        .snapshot(&target, &stores, folder.path())
        .await
        .unwrap();
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("snapshot/part-00000.parquet"), 0o600);
    assert_eq!(mode("snapshot"), 0o700);
}

#[tokio::test]
async fn a_snapshot_of_no_rows_is_a_table_of_no_rows() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..5), 2);
    let query = query("select * from t where id > 10", &[("t", &path)], &[])
        .await
        .unwrap();
    let stores: Arc<Stores> = Arc::default();
    let target = stores
        .locate(folder.path().join("s").to_str().unwrap())
        .unwrap();
    let snapshot = query
        .snapshot(&target, &stores, folder.path())
        .await
        .unwrap();
    assert_eq!(snapshot.rows(), Some(0));
    assert_eq!(snapshot.schema().fields().len(), 3);
}
