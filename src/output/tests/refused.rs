//! What is refused, and that nothing is visible then.

use super::table::{rich, simple};
use super::*;
use crate::base::ErrorKind;
use crate::output::{Existing, check_writable, examine, publish};

/// A folder with an output of an older run, and the bytes of that.
async fn published(root: &Path) -> Vec<u8> {
    let file = source(root, "in.parquet", &simple(0, 6));
    let target = file_target(&root.join("out.parquet"));
    publish(publication(vec![file], target)).await.unwrap();
    std::fs::read(root.join("out.parquet")).unwrap()
}

async fn refused(root: &Path, publication: Publication) -> Error {
    let before = published(root).await;
    let error = error_of(publish(publication).await);
    assert_eq!(std::fs::read(root.join("out.parquet")).unwrap(), before);
    assert_eq!(listing(root), ["in.parquet", "out.parquet"]);
    error
}

#[tokio::test]
async fn too_few_and_too_many_answers_are_refused_and_nothing_changes() {
    let root = tempfile::tempdir().unwrap();
    for (rows, expect) in [(5, "fewer"), (7, "more"), (0, "fewer"), (11, "more")] {
        let file = source(root.path(), "in.parquet", &simple(0, 6));
        let target = file_target(&root.path().join("out.parquet"));
        let error = refused(root.path(), publication_of(vec![file], target, rows)).await;
        assert!(error.message().contains(expect), "{rows}: {error}");
    }
}

#[tokio::test]
async fn an_error_in_the_stream_of_answers_is_the_error() {
    let root = tempfile::tempdir().unwrap();
    let file = source(root.path(), "in.parquet", &simple(0, 6));
    let mut broken = publication(vec![file], file_target(&root.path().join("out.parquet")));
    let (_, batches) = answers(0, 3);
    let fails = Err(Error::data("a part is damaged"));
    broken.batches = stream::iter(batches.into_iter().map(Ok).chain([fails])).boxed();
    let error = refused(root.path(), broken).await;
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Data, "a part is damaged")
    );
}

#[tokio::test]
async fn answers_of_another_type_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = source(root.path(), "in.parquet", &simple(0, 6));
    let mut odd = publication(vec![file], file_target(&root.path().join("out.parquet")));
    let mut other = AnswerColumns::of_text("label", MetaColumns::Off, &[]);
    other
        .push(RowStatus::Succeeded, Some(AnswerRef::Text("x")), None)
        .unwrap();
    odd.batches = stream::iter([other.finish()]).boxed();
    let error = refused(root.path(), odd).await;
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_source_that_changed_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for change in [
        |s: &mut SourceFile| s.rows += 1,
        |s: &mut SourceFile| s.size -= 1,
    ] {
        let mut file = source(root.path(), "in.parquet", &simple(0, 6));
        change(&mut file);
        let target = file_target(&root.path().join("out.parquet"));
        let error = refused(root.path(), publication(vec![file], target)).await;
        assert!(error.message().contains("not what it was"), "{error}");
    }
}

/// What `damage` makes of a file; the rows and the size are those of the damaged one.
async fn damaged(damage: impl Fn(&mut Vec<u8>)) -> Error {
    let root = tempfile::tempdir().unwrap();
    let mut bytes = rich(8);
    damage(&mut bytes);
    let path = root.path().join("in.parquet");
    std::fs::write(&path, &bytes).unwrap();
    let file = SourceFile {
        location: locate(&path),
        relative: "in.parquet".to_owned(),
        size: bytes.len() as u64,
        rows: 8,
        partitions: Vec::new(),
    };
    let target = file_target(&root.path().join("out.parquet"));
    let error = error_of(publish(publication(vec![file], target)).await);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!(listing(root.path()), ["in.parquet"]);
    error
}

#[tokio::test]
async fn damaged_and_encrypted_files_are_named() {
    damaged(Vec::clear).await;
    damaged(|bytes| bytes.truncate(5)).await;
    damaged(|bytes| bytes.truncate(bytes.len() / 2)).await;
    damaged(|bytes| {
        let end = bytes.len() - 8;
        bytes[end..end + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    })
    .await;
    damaged(|bytes| {
        let end = bytes.len() - 8;
        bytes[end - 40..end].fill(0xff);
    })
    .await;
    let error = damaged(|bytes| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(b"PARE");
    })
    .await;
    assert!(error.message().contains("encrypted"), "{error}");
}

#[tokio::test]
async fn a_source_that_is_gone_is_named() {
    let root = tempfile::tempdir().unwrap();
    let file = source(root.path(), "in.parquet", &simple(0, 6));
    std::fs::remove_file(root.path().join("in.parquet")).unwrap();
    let target = file_target(&root.path().join("out.parquet"));
    let error = error_of(publish(publication(vec![file], target)).await);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("in.parquet"), "{error}");
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_without_regard_to_case() {
    let root = tempfile::tempdir().unwrap();
    let file = source(root.path(), "in.parquet", &simple(0, 1));
    let mut taken = publication(vec![file], file_target(&root.path().join("out.parquet")));
    let mut columns = AnswerColumns::of_text("NAME", MetaColumns::Off, &[]);
    columns.push(RowStatus::Skipped, None, None).unwrap();
    taken.columns = columns.schema();
    taken.batches = stream::iter([columns.finish()]).boxed();
    let error = error_of(publish(taken).await);
    assert!(error.to_string().contains("existing=`name`"), "{error}");
}

#[tokio::test]
async fn a_name_that_a_partition_has_is_taken_too() {
    let root = tempfile::tempdir().unwrap();
    for layout in [Layout::Mirror, Layout::Single] {
        let file = source(root.path(), "Label=x/in.parquet", &simple(0, 1));
        let mut taken = publication(vec![file], folder_target(&root.path().join("out")));
        taken.layout = layout;
        let error = error_of(publish(taken).await);
        assert!(error.to_string().contains("existing=`Label`"), "{error}");
    }
}

#[tokio::test]
async fn files_that_differ_cannot_be_one() {
    let root = tempfile::tempdir().unwrap();
    let files = vec![
        source(root.path(), "a.parquet", &simple(0, 2)),
        source(root.path(), "b.parquet", &rich(2)),
    ];
    let mut single = publication(files, file_target(&root.path().join("out.parquet")));
    single.layout = Layout::Single;
    let error = error_of(publish(single).await);
    assert!(error.message().contains("differ"), "{error}");
    assert!(!root.path().join("out.parquet").exists());
}

#[tokio::test]
async fn a_key_that_a_file_lacks_is_named() {
    let root = tempfile::tempdir().unwrap();
    let file = source(root.path(), "in.parquet", &simple(0, 2));
    let mut keyed = publication(vec![file], file_target(&root.path().join("out.parquet")));
    keyed.layout = Layout::Keyed {
        key: vec!["ID".to_owned()],
    };
    let error = error_of(publish(keyed).await);
    assert!(error.to_string().contains("column=`ID`"), "{error}");
}

#[tokio::test]
async fn what_is_not_ours_is_replaced_only_when_told_so() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("out.parquet");
    for foreign in [b"a letter".to_vec(), simple(0, 1)] {
        std::fs::write(&path, &foreign).unwrap();
        let attempt = |overwrite| {
            let file = source(root.path(), "in.parquet", &simple(0, 6));
            Publication {
                overwrite,
                ..publication(vec![file], file_target(&path))
            }
        };
        assert_eq!(
            examine(&file_target(&path)).await.unwrap(),
            Existing::Foreign
        );
        let error = error_of(publish(attempt(false)).await);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("overwrite"))
        );
        assert_eq!(std::fs::read(&path).unwrap(), foreign);
        publish(attempt(true)).await.unwrap();
        check_answers(&read_table(&std::fs::read(&path).unwrap()), 0);
    }
}

#[tokio::test]
async fn a_folder_of_ours_with_a_strangers_file_is_not_ours() {
    let root = tempfile::tempdir().unwrap();
    let target = folder_target(&root.path().join("out"));
    let attempt = || {
        publication(
            vec![source(root.path(), "in.parquet", &simple(0, 6))],
            target.clone(),
        )
    };
    assert_eq!(examine(&target).await.unwrap(), Existing::Nothing);
    publish(attempt()).await.unwrap();
    let Existing::Ours { identity, complete } = examine(&target).await.unwrap() else {
        panic!("this is ours");
    };
    assert!(complete && identity.contains(&("columnist.job".to_owned(), "triage".to_owned())));
    std::fs::write(root.path().join("out/.part.crc"), "").unwrap();
    assert!(matches!(
        examine(&target).await.unwrap(),
        Existing::Ours { .. }
    ));
    // A folder of an older version, with its marker, is ours as well.
    let success = br#"{"identity":{"columnist.run":"r0"},"files":[{"path":"in.parquet"}]}"#;
    std::fs::write(root.path().join("out/_SUCCESS"), success).unwrap();
    let Existing::Ours { identity, .. } = examine(&target).await.unwrap() else {
        panic!("this is ours");
    };
    assert_eq!(identity, [("columnist.run".to_owned(), "r0".to_owned())]);
    std::fs::remove_file(root.path().join("out/_SUCCESS")).unwrap();
    // Another run's file among them was not put there by us.
    let mut other = publication(
        vec![source(root.path(), "in.parquet", &simple(0, 6))],
        file_target(&root.path().join("other.parquet")),
    );
    other.identity[0].1 = "run-7".to_owned();
    publish(other).await.unwrap();
    let stranger = root.path().join("out/other.parquet");
    std::fs::rename(root.path().join("other.parquet"), &stranger).unwrap();
    assert_eq!(examine(&target).await.unwrap(), Existing::Foreign);
    std::fs::remove_file(stranger).unwrap();
    std::fs::write(root.path().join("out/notes.txt"), "mine").unwrap();
    assert_eq!(examine(&target).await.unwrap(), Existing::Foreign);
    assert!(publish(attempt()).await.is_err());
    assert!(root.path().join("out/notes.txt").exists());
}

#[tokio::test]
async fn a_ledger_in_the_outputs_folder_is_never_replaced() {
    let root = tempfile::tempdir().unwrap();
    let ledger = root.path().join("out/_columnist/job/log");
    std::fs::create_dir_all(ledger.parent().unwrap()).unwrap();
    std::fs::write(&ledger, "paid").unwrap();
    let target = folder_target(&root.path().join("out"));
    let file = source(root.path(), "in.parquet", &simple(0, 6));
    let publication = Publication {
        overwrite: true,
        ..publication(vec![file], target)
    };
    let error = error_of(publish(publication).await);
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("[ledger]"))
    );
    assert_eq!(std::fs::read(&ledger).unwrap(), b"paid");
}

#[tokio::test]
async fn a_file_where_a_folder_should_be_and_the_other_way_round() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), "x").unwrap();
    std::fs::create_dir(root.path().join("folder")).unwrap();
    for target in [
        folder_target(&root.path().join("file")),
        file_target(&root.path().join("folder")),
    ] {
        assert_eq!(error_of(examine(&target).await).kind(), ErrorKind::Invalid);
    }
    let beneath = file_target(&root.path().join("file/out.parquet"));
    assert_eq!(
        error_of(check_writable(&beneath, "p").await).kind(),
        ErrorKind::Invalid
    );
}

#[tokio::test]
async fn a_name_that_the_file_system_does_not_take_is_found_before_any_spend() {
    let root = tempfile::tempdir().unwrap();
    let long = format!("{}.parquet", "y".repeat(250));
    let path = root.path().join(&long);
    for target in [file_target(&path), folder_target(&path)] {
        let error = error_of(examine(&target).await);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains("does not take this name"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_place_that_can_be_written_is_left_without_a_trace() {
    let root = tempfile::tempdir().unwrap();
    for path in ["out.parquet", "a/b/out.parquet"] {
        check_writable(&file_target(&root.path().join(path)), "p")
            .await
            .unwrap();
        check_writable(&folder_target(&root.path().join(path)), "p")
            .await
            .unwrap();
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_read_only_place_is_found_before_any_spend() {
    // The one place that nobody can write to, not even a superuser.
    let target = file_target(Path::new("/proc/columnist/out.parquet"));
    let error = error_of(check_writable(&target, "p").await);
    assert!(
        matches!(error.kind(), ErrorKind::Refused | ErrorKind::Invalid),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_fence_that_shuts_at_whatever_step_leaves_the_old_output() {
    for form in [Form::File, Form::Folder] {
        let mut passes = 0;
        loop {
            let root = tempfile::tempdir().unwrap();
            let new = || {
                let file = source(root.path(), "in.parquet", &simple(0, 6));
                let location = locate(&root.path().join("out"));
                publication(vec![file], Target { location, form })
            };
            publish(new()).await.unwrap();
            let look = || match form {
                Form::File => std::fs::read(root.path().join("out")).unwrap(),
                Form::Folder => std::fs::read(root.path().join("out/in.parquet")).unwrap(),
            };
            let old = look();
            let left = std::sync::atomic::AtomicI32::new(passes);
            let check = move || match left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) {
                ..=0 => Err(Error::new(ErrorKind::Held, "another has the job")),
                _ => Ok(()),
            };
            let mut late = new();
            late.identity[0].1 = "run-2".to_owned();
            late.fence = Fence::new(check);
            let published = publish(late).await;
            if published.is_ok() {
                assert_ne!(look(), old);
                break;
            }
            assert_eq!(error_of(published).kind(), ErrorKind::Held);
            assert_eq!(look(), old, "{form:?} {passes}");
            assert_eq!(listing(root.path()).len(), 2);
            passes += 1;
        }
        assert!(
            passes >= 3,
            "before staging, before a file, before the rename"
        );
    }
}
