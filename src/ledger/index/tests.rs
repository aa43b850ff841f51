//! The index against a list of all its entries, on disk and in a store, whole and damaged.

use std::sync::Arc;

use proptest::prelude::*;

use super::runs::RunWriter;
use super::*;
use crate::base::{ErrorKind, MemoryStore, Stores};
use crate::ledger::row_map::Place;
use crate::work::RowStatus;

fn key(n: u64) -> RequestKey {
    let mut key = [0; RequestKey::LEN];
    key.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..24]);
    RequestKey(key)
}

fn entry(n: u64, ordinal: u64) -> Entry {
    Entry {
        key: key(n),
        place: Place {
            plan: u32::try_from(ordinal / 1000).unwrap(),
            ordinal: ordinal % 1000,
        },
        limit: 64,
        status: RowStatus::Succeeded,
    }
}

/// A folder on disk and one in a store that counts what is read.
struct Places {
    folder: tempfile::TempDir,
    store: Arc<MemoryStore>,
    local: Location,
    stored: Location,
}

impl Places {
    fn new() -> Places {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new(None));
        let stores = Stores::default().with_memory(Arc::clone(&store));
        let local = folder.path().join("index").display().to_string();
        Places {
            local: stores.locate(&local).unwrap(),
            stored: stores.locate("memory://lake/index").unwrap(),
            folder,
            store,
        }
    }

    fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the run `drafts` into both places.
    async fn keep(&self, drafts: &[Draft], manifest: &mut Manifest) {
        for draft in drafts {
            for place in [&self.local, &self.stored] {
                let place = place.join(&draft.info.name);
                place.upload_file(&draft.path).await.unwrap();
            }
        }
        let infos = drafts.iter().map(|draft| draft.info.clone());
        manifest.runs.push(infos.collect());
    }

    async fn open(&self, place: &Location, manifest: &Manifest, filters: usize) -> AnswerIndex {
        let opened = AnswerIndex::open(manifest, place, self.scratch(), filters);
        opened.await.unwrap()
    }
}

fn run(places: &Places, id: u64, entries: &[Entry], file_max: u64) -> Vec<Draft> {
    let mut records: Vec<_> = entries.iter().map(Entry::encode).collect();
    records.sort_unstable();
    let id = format!("{id:032x}");
    let writer = RunWriter::new(places.scratch(), &id, records.len() as u64);
    let mut writer = writer.file_entries_max(file_max);
    for record in &records {
        writer.push(record).unwrap();
    }
    writer.finish().unwrap()
}

/// What is found for each of `keys`, in an order of its own.
async fn find(index: &mut AnswerIndex, keys: &[u64]) -> Result<Vec<(u32, Entry)>> {
    let mut wanted: Vec<_> = keys.iter().map(|n| key(*n)).zip(0..).collect();
    let mut found = Vec::new();
    index.find(&mut wanted, &mut found).await?;
    found.sort_by_key(|(at, entry)| (*at, entry.encode()));
    Ok(found)
}

/// The same by looking at all entries.
fn scan(entries: &[Entry], keys: &[u64]) -> Vec<(u32, Entry)> {
    let mut found = Vec::new();
    for (n, at) in keys.iter().zip(0..) {
        found.extend(
            entries
                .iter()
                .filter(|e| e.key == key(*n))
                .map(|e| (at, *e)),
        );
    }
    found.sort_by_key(|(at, entry)| (*at, entry.encode()));
    found.dedup();
    found
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Runs of any sizes, merged or not, with filters or without: what is found is what is there.
    #[test]
    fn a_look_up_finds_what_a_scan_does(
        runs in prop::collection::vec(prop::collection::vec((0u64..400, 0u64..5000), 0..600), 1..5),
        keys in prop::collection::vec(0u64..500, 0..200),
        file_max in 1u64..300, filters in prop::sample::select(vec![0, 2000, 1 << 20]),
    ) {
        now(async {
            let places = Places::new();
            let (mut manifest, mut all) = (Manifest::default(), Vec::new());
            for (id, some) in (0..).zip(&runs) {
                let entries: Vec<_> = some.iter().map(|(n, at)| entry(*n, *at)).collect();
                let drafts = run(&places, id, &entries, file_max);
                if !drafts.is_empty() {
                    places.keep(&drafts, &mut manifest).await;
                }
                all.extend(entries);
            }
            let expect = scan(&all, &keys);
            for place in [&places.local, &places.stored] {
                let mut index = places.open(place, &manifest, filters).await;
                // An entry that two runs have is found twice.
                let mut found = find(&mut index, &keys).await.unwrap();
                found.dedup();
                assert_eq!(found, expect);
                let before = index.runs();
                if let Some(merged) = index.merged(&format!("{:032x}", 99)).await.unwrap() {
                    index.replace(&merged).await.unwrap();
                    assert_eq!(index.runs(), before + 1 - merged.replaced);
                }
                let mut found = find(&mut index, &keys).await.unwrap();
                found.dedup();
                assert_eq!(found, expect);
            }
        });
    }

    /// Whatever byte of a file is another one, or missing: it is told, or it was of no matter.
    #[test]
    fn damage_is_told_and_never_hides_an_entry(at in any::<prop::sample::Index>(), cut: bool, flip in 1u8..) {
        now(async {
            let places = Places::new();
            let mut manifest = Manifest::default();
            let entries: Vec<_> = (0..350).map(|n| entry(n, n)).collect();
            let drafts = run(&places, 0, &entries, 1000);
            places.keep(&drafts, &mut manifest).await;
            let place = places.local.join(&drafts[0].info.name);
            let mut bytes = place.get().await.unwrap().unwrap().to_vec();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= flip;
            }
            place.put(bytes).await.unwrap();
            let keys: Vec<u64> = (0..350).collect();
            let opened = AnswerIndex::open(&manifest, &places.local, places.scratch(), 1 << 20).await;
            let found = match opened {
                Ok(mut index) => find(&mut index, &keys).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => panic!("{at} went unseen: {} found", found.len()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Data, "{error:?}"),
            }
        });
    }

    #[test]
    fn entries_are_sorted_within_any_memory(
        entries in prop::collection::vec((0u64..200, 0u64..5000), 0..500), memory in 1usize..5000,
    ) {
        now(async {
            let places = Places::new();
            let mut sorter = EntrySorter::new(places.scratch(), memory);
            let entries: Vec<_> = entries.iter().map(|(n, at)| entry(*n, *at)).collect();
            for entry in &entries {
                sorter.push(entry).unwrap();
            }
            let drafts = sorter.finish(places.scratch(), &format!("{:032x}", 7)).unwrap();
            let mut index = AnswerIndex::empty(places.scratch(), 1 << 20);
            index.add(&drafts).await.unwrap();
            let keys: Vec<_> = (0..220).collect();
            assert_eq!(find(&mut index, &keys).await.unwrap(), scan(&entries, &keys));
        });
    }
}

/// Entries that share the part of their keys by which blocks are told apart.
#[test]
fn keys_that_look_alike_are_told_apart() {
    now(async {
        let places = Places::new();
        let alike = |n: u64| {
            let mut key = [7; RequestKey::LEN];
            key[16..].copy_from_slice(&n.to_be_bytes());
            Entry {
                key: RequestKey(key),
                ..entry(n, n)
            }
        };
        let entries: Vec<_> = (0..1000).map(alike).collect();
        let drafts = run(&places, 0, &entries, 10_000);
        let mut index = AnswerIndex::empty(places.scratch(), 0);
        index.add(&drafts).await.unwrap();
        let mut wanted: Vec<_> = entries.iter().map(|entry| entry.key).zip(0..).collect();
        let mut found = Vec::new();
        index.find(&mut wanted, &mut found).await.unwrap();
        found.sort_by_key(|(at, _)| *at);
        let entries: Vec<_> = (0..).zip(entries).collect();
        assert_eq!(found, entries);
    });
}

/// Of a large file a few look-ups read little, and many no more than about twice the file.
#[test]
fn a_store_is_asked_for_little_and_never_for_much_more_than_there_is() {
    const COUNT: u64 = 120_000;
    now(async {
        let places = Places::new();
        let mut manifest = Manifest::default();
        let entries: Vec<_> = (0..COUNT).map(|n| entry(n, n % 5000)).collect();
        let drafts = run(&places, 0, &entries, COUNT / 2);
        places.keep(&drafts, &mut manifest).await;
        let size: u64 = drafts.iter().map(|draft| draft.info.bytes).sum();
        let read = |store: &MemoryStore| {
            let reads = store.take_reads();
            let bytes: u64 = reads.iter().map(|(_, range)| range.end - range.start).sum();
            (reads.len(), bytes)
        };
        read(&places.store);
        let mut index = places.open(&places.stored, &manifest, 1 << 20).await;
        let (requests, opened) = read(&places.store);
        assert_eq!(requests, 2, "a tail each");
        assert!(opened * 20 < size, "{opened} of {size} bytes");
        // What is not there is known without asking, but for one in a hundred.
        let strangers: Vec<_> = (COUNT..COUNT + 100).collect();
        assert_eq!(find(&mut index, &strangers).await.unwrap(), []);
        let (requests, _) = read(&places.store);
        assert!(requests < 8, "{requests} requests for what is not there");
        let some: Vec<_> = (0..8).map(|n| n * 1000).collect();
        assert_eq!(find(&mut index, &some).await.unwrap().len(), 8);
        let (requests, bytes) = read(&places.store);
        assert!(
            requests <= 8 && bytes <= 8 * 128 * 1024,
            "{requests} requests, {bytes} bytes"
        );
        // All of it, in pieces.
        let all: Vec<_> = (0..COUNT).collect();
        for some in all.chunks(1000) {
            assert_eq!(find(&mut index, some).await.unwrap().len(), some.len());
        }
        let (requests, bytes) = read(&places.store);
        assert!(
            requests < 100 && bytes <= 2 * size,
            "{requests} requests, {bytes} of {size} bytes"
        );
    });
}

/// What is added night after night makes few runs, and what is written again each night is little.
#[test]
fn runs_stay_few_and_are_seldom_written_again() {
    const NIGHTS: u64 = 64;
    const EACH: u64 = 200;
    now(async {
        let places = Places::new();
        let mut index = AnswerIndex::empty(places.scratch(), 1 << 20);
        let mut written = 0;
        for night in 0..NIGHTS {
            let entries: Vec<_> = (night * EACH..(night + 1) * EACH)
                .map(|n| entry(n, n % 5000))
                .collect();
            index
                .add(&run(&places, night, &entries, 10_000))
                .await
                .unwrap();
            written += EACH;
            if let Some(merged) = index
                .merged(&format!("{:032x}", 1000 + night))
                .await
                .unwrap()
            {
                written += merged
                    .drafts
                    .iter()
                    .map(|draft| draft.info.entries)
                    .sum::<u64>();
                index.replace(&merged).await.unwrap();
            }
            assert!(index.runs() <= 8, "{night}: {}", index.runs());
        }
        let all = NIGHTS * EACH;
        assert!(written <= all * 8, "{written} of {all}");
        let keys: Vec<_> = (0..all + 50).collect();
        assert_eq!(find(&mut index, &keys).await.unwrap().len() as u64, all);
    });
}

/// What an index holds in memory is what it was given for filters, and a fence a block.
#[test]
fn memory_is_bounded_by_what_is_given() {
    const COUNT: u64 = 50_000;
    now(async {
        let places = Places::new();
        let entries: Vec<_> = (0..COUNT).map(|n| entry(n, n % 5000)).collect();
        let drafts = run(&places, 0, &entries, 10_000);
        for filters in [0, 30_000, 1 << 20] {
            let mut index = AnswerIndex::empty(places.scratch(), filters);
            index.add(&drafts).await.unwrap();
            let files = || index.runs.iter().flat_map(|run| &run.0);
            let taken: usize = files().map(KeyFile::filter_bytes).sum();
            let fences: usize = files().map(KeyFile::fence_bytes).sum();
            assert!(
                taken <= filters && (filters == 0 || taken > 0),
                "{taken} of {filters}"
            );
            assert!(fences as u64 * 102 <= COUNT * 9, "{fences}");
            let keys: Vec<_> = (0..2000).collect();
            assert_eq!(find(&mut index, &keys).await.unwrap().len(), 2000);
        }
    });
}

#[tokio::test]
async fn a_manifest_is_read_as_it_was_written_and_only_with_its_files() {
    let places = Places::new();
    let folder = || async { IndexFolder::list(&places.local).await.unwrap() };
    assert_eq!(folder().await.manifest().await.unwrap(), None);
    let mut manifest = Manifest {
        plans: 3,
        landed: "abc".to_owned(),
        ..Manifest::default()
    };
    let drafts = run(&places, 0, &[entry(1, 1), entry(2, 2)], 100);
    places.keep(&drafts, &mut manifest).await;
    let next = folder().await.next();
    assert!(manifest.write(&next).await.unwrap());
    assert!(!manifest.write(&next).await.unwrap(), "it is created once");
    let read = folder().await.manifest().await.unwrap().expect("there");
    assert_eq!(
        (read.plans, &*read.landed, &read.runs),
        (3, "abc", &manifest.runs)
    );
    assert_eq!(folder().await.leftovers(Some(&read)).len(), 0);
    // One that is damaged, or lacks a file, is none.
    let bytes = next.get().await.unwrap().unwrap();
    next.put(bytes.slice(..bytes.len() - 9)).await.unwrap();
    assert_eq!(folder().await.manifest().await.unwrap(), None);
    next.put(bytes).await.unwrap();
    places
        .local
        .join(&drafts[0].info.name)
        .put(&b"short"[..])
        .await
        .unwrap();
    assert_eq!(folder().await.manifest().await.unwrap(), None);
    assert_eq!(
        folder().await.leftovers(None).len(),
        1,
        "its file is a leftover"
    );
    // The next one follows, and the older one goes when there is another.
    assert!(manifest.write(&folder().await.next()).await.unwrap());
    assert_eq!(folder().await.leftovers(Some(&manifest)).len(), 1);
}
