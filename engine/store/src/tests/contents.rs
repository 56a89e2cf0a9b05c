//! Content of Binaries: versions, readers, space.

use std::fs;
use std::path::Path;

use fhir::ResourceType::{Binary, Patient};
use time::Duration;

use super::support::{Backend, TestClock, each_backend, file, patient, resource};
use crate::limits::{CHUNK_BYTES, KEPT_FREE_BYTES};
use crate::{ReadFilter, Store, StoreError, Transaction};

const BINARY: &str = "{'resourceType':'Binary','contentType':'text/plain'}";

async fn write<R: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, StoreError> + Send + 'static,
) -> R {
    store.write(work).await.unwrap()
}

async fn read<R: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R, StoreError> + Send + 'static,
) -> R {
    store.read(work).await.unwrap()
}

/// An upload of whole chunks and an end.
async fn upload(store: &Store, id: &'static str, chunks: u8, end: &'static [u8]) -> u64 {
    write(store, |tx| tx.start_upload(id)).await;
    for number in 0..chunks {
        write(store, move |tx| tx.append_chunk(id, &vec![number; CHUNK_BYTES])).await;
    }
    write(store, |tx| tx.append_chunk(id, end)).await
}

/// Removes what is given up; returns how many transactions it took.
async fn sweep(store: &Store) -> u32 {
    let mut steps = 0;
    while write(store, |tx| tx.sweep_uploads()).await {
        steps += 1;
    }
    steps
}

#[tokio::test]
async fn every_version_has_content_of_its_own_until_it_is_permanently_deleted() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let size = 2 * 1_048_576 + 3;
        assert_eq!(upload(&store, "u1", 2, b"end").await, size);
        assert!(store.write(|tx| tx.append_chunk("u1", b"more")).await.is_err(), "a short chunk is the last");
        upload(&store, "u2", 0, b"second").await;
        write(&store, |tx| {
            let stored = tx.create(resource(BINARY), "b1")?;
            tx.adopt_upload("u1", "b1", stored.version)
        })
        .await;
        write(&store, |tx| {
            let stored = tx.update(resource(BINARY), "b1", None)?;
            tx.adopt_upload("u2", "b1", stored.version)
        })
        .await;
        assert!(store.write(|tx| tx.adopt_upload("u2", "b1", 2)).await.is_err(), "content is adopted once");
        let content = read(&store, |tx| tx.content("b1", 1)).await.unwrap();
        assert_eq!(content.size, size);
        let last = read(&store, move |tx| tx.read_chunk(&content.upload, 2)).await;
        assert_eq!(last.as_deref(), Some(&b"end"[..]));
        assert_eq!(read(&store, |tx| tx.content("b1", 2)).await.unwrap().size, 6);

        write(&store, |tx| tx.delete(Binary, "b1")).await;
        assert_eq!(sweep(&store).await, 0, "a deleted resource keeps its content");
        write(&store, |tx| tx.delete_permanently(Binary, "b1")).await;
        sweep(&store).await;
        for upload in ["u1", "u2"] {
            assert_eq!(read(&store, move |tx| tx.read_chunk(upload, 0)).await, None);
        }
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_nobody_touches_is_given_up_and_a_slow_one_stays() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        write(&store, |tx| tx.start_upload("left")).await;
        write(&store, |tx| tx.start_upload("slow")).await;
        for _ in 0..3 {
            clock.advance(Duration::minutes(40));
            write(&store, |tx| tx.append_chunk("slow", &vec![1; CHUNK_BYTES])).await;
        }
        let hour_ago = clock.now() - Duration::hours(1);
        assert_eq!(write(&store, move |tx| tx.abandon_uploads_before(hour_ago)).await, 1);
        assert!(store.write(|tx| tx.append_chunk("left", b"late")).await.is_err());
        write(&store, |tx| tx.create(resource(BINARY), "b1")).await;
        assert!(store.write(|tx| tx.adopt_upload("left", "b1", 1)).await.is_err());
        write(&store, |tx| tx.adopt_upload("slow", "b1", 1)).await;
        assert!(!write(&store, |tx| tx.abandon_upload("slow")).await, "what is adopted is not given up");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_start_after_a_crash_gives_up_what_was_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::Sqlite(file(directory.path()));
    let store = backend.open().await;
    upload(&store, "half", 3, b"").await;
    store.close().await;
    let store = backend.open().await;
    let hour_ago = time::OffsetDateTime::now_utc() - Duration::hours(1);
    assert_eq!(write(&store, move |tx| tx.abandon_uploads_at_start(hour_ago)).await, 1);
    assert!(sweep(&store).await > 0);
    assert_eq!(read(&store, |tx| tx.read_chunk("half", 0)).await, None);
    store.close().await;
}

#[tokio::test]
async fn space_of_removed_content_is_given_back_and_what_is_kept_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::Sqlite(file(directory.path()));
    let store = backend.open().await;
    let length = || fs::metadata(file(directory.path())).unwrap().len();
    let chunks = u8::try_from(KEPT_FREE_BYTES / CHUNK_BYTES as u64 + 32).unwrap();
    upload(&store, "large", chunks, b"end").await;
    // Something live behind it, which has to move to the front.
    write(&store, |tx| tx.create(patient("A"), "p1")).await;
    write(&store, |tx| tx.abandon_upload("large")).await;
    let steps = sweep(&store).await;
    assert!(steps > 5, "removed in {steps} transactions, so that other writers get in between");
    while write(&store, |tx| tx.shrink()).await {}
    store.fold_log().await.unwrap();
    let kept = length();
    store.close().await;
    assert_eq!(length(), kept, "the file has shrunk while it was open");
    assert!(kept < KEPT_FREE_BYTES + (8 << 20), "{kept}");

    let store = backend.open().await;
    assert!(store.verify().await.unwrap().is_empty());
    assert!(read(&store, |tx| tx.read(Patient, "p1")).await.current().is_some());
    upload(&store, "next", 32, b"end").await;
    store.close().await;
    assert_eq!(length(), kept, "free pages are used before the file grows");
}

#[tokio::test]
async fn replaced_versions_go_after_their_time_with_their_content_and_current_ones_never() {
    each_backend(|backend: Backend| async move {
        let clock = TestClock::new();
        let store = backend.open_with(clock.options()).await.unwrap();
        for (upload_id, number) in [("u1", 1), ("u2", 2)] {
            upload(&store, upload_id, 0, b"content").await;
            write(&store, move |tx| {
                let binary = resource(BINARY);
                let stored = if number == 1 { tx.create(binary, "b1") } else { tx.update(binary, "b1", None) }?;
                tx.adopt_upload(upload_id, "b1", stored.version)
            })
            .await;
        }
        write(&store, |tx| tx.create(patient("First"), "p1")).await;
        write(&store, |tx| tx.create(patient("Alone"), "p2")).await;
        write(&store, |tx| tx.update(patient("Second"), "p1", None)).await;
        let replaced = clock.now();
        clock.advance(Duration::days(40));
        write(&store, |tx| tx.update(patient("Third"), "p1", None)).await;
        write(&store, |tx| tx.delete(Patient, "p2")).await;
        // The readers of a Binary may be those of a certain version of something.
        let context = resource(
            "{'resourceType':'Binary','contentType':'text/plain','securityContext':{'reference':'Patient/p1/_history/2'}}",
        );
        write(&store, move |tx| tx.create(context, "b2")).await;
        // A time of a replacement itself is not before it.
        assert_eq!(write(&store, move |tx| tx.remove_versions(None, replaced - Duration::days(1), 10)).await.0, 0);
        let month_ago = clock.now() - Duration::days(30);
        let mut from = None;
        let mut removed = 0;
        loop {
            let (count, next) = write(&store, move |tx| tx.remove_versions(from, month_ago, 1)).await;
            removed += count;
            if next.is_none() {
                break;
            }
            from = next;
        }
        assert_eq!(removed, 2, "b1 and p1 before they were replaced");
        sweep(&store).await;
        let there = |resource_type, id: &'static str, version| {
            let store = store.clone();
            async move { read(&store, move |tx| tx.read_version(resource_type, id, version)).await.current().is_some() }
        };
        assert!(!there(Binary, "b1", 1).await && there(Binary, "b1", 2).await);
        assert!(!there(Patient, "p1", 1).await && there(Patient, "p1", 2).await && there(Patient, "p1", 3).await);
        assert!(there(Patient, "p2", 1).await, "it was deleted today");
        assert_eq!(read(&store, |tx| tx.read_chunk("u1", 0)).await, None);
        assert!(read(&store, |tx| tx.read_chunk("u2", 0)).await.is_some());
        // Nearly two months later the deleted one goes too, and what is named stays.
        clock.advance(Duration::days(50));
        let month_ago = clock.now() - Duration::days(30);
        assert_eq!(write(&store, move |tx| tx.remove_versions(None, month_ago, 10)).await.0, 1);
        assert!(!there(Patient, "p2", 1).await && there(Patient, "p1", 2).await);
        assert_eq!(read(&store, |tx| tx.verify_counts()).await.problems, [""; 0], "the counts are those of what is left");
        assert_eq!(read(&store, |tx| tx.verify_resources(0, 100)).await.problems, [""; 0]);
        assert_eq!(read(&store, |tx| tx.verify_contents()).await.problems, [""; 0]);
        store.close().await;
    })
    .await;
}

/// Which files of the store hold the bytes.
fn files_with(directory: &Path, marker: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if fs::read(&path).unwrap().windows(marker.len()).any(|bytes| bytes == marker) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test]
async fn nothing_that_was_removed_can_be_read_in_the_files_of_an_open_store() {
    const MARKER: &str = "Zacharias-Quastenflosser";
    let directory = tempfile::tempdir().unwrap();
    let store = Backend::Sqlite(file(directory.path())).open().await;
    // Content of many pages, a resource with its index, a value; each with something that stays beside it.
    let content: &'static [u8] = MARKER.repeat(30_000).leak().as_bytes();
    write(&store, |tx| tx.start_upload("u1")).await;
    write(&store, |tx| tx.append_chunk("u1", content)).await;
    write(&store, |tx| {
        let stored = tx.create(resource(BINARY), "b1")?;
        tx.adopt_upload("u1", "b1", stored.version)
    })
    .await;
    write(&store, |tx| tx.create(patient(MARKER), "p1")).await;
    write(&store, |tx| tx.create(patient("Stays"), "p2")).await;
    write(&store, |tx| tx.set_setting("note", MARKER.as_bytes())).await;
    assert!(!files_with(directory.path(), MARKER.as_bytes()).is_empty());
    // Some of it is in the file, some in its log.
    store.fold_log().await.unwrap();
    write(&store, |tx| tx.update(patient(MARKER), "p1", None)).await;

    for (resource_type, id) in [(Binary, "b1"), (Patient, "p1")] {
        write(&store, move |tx| tx.delete(resource_type, id)).await;
        write(&store, move |tx| tx.delete_permanently(resource_type, id)).await;
    }
    write(&store, |tx| tx.delete_setting("note")).await;
    sweep(&store).await;
    assert!(store.erase_log().await.unwrap(), "nobody reads");
    assert_eq!(files_with(directory.path(), MARKER.as_bytes()), [""; 0]);
    assert!(read(&store, |tx| tx.read(Patient, "p2")).await.current().is_some());
    store.close().await;
}

#[tokio::test]
async fn a_context_that_is_named_with_its_version_stays_and_one_that_is_deleted_closes() {
    each_backend(|backend: Backend| async move {
        let store = backend.open().await;
        let tagged = |code: &str| {
            resource(&format!(
                "{{'resourceType':'CodeSystem','meta':{{'tag':[{{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'{code}'}}]}}}}"
            ))
        };
        let binary = |context: &str| {
            resource(&format!(
                "{{'resourceType':'Binary','contentType':'text/plain','securityContext':{{'reference':'CodeSystem/{context}'}}}}"
            ))
        };
        let (open, closed) = (tagged("ALL"), tagged("LOCAL"));
        write(&store, move |tx| tx.create(open, "c1")).await;
        write(&store, move |tx| tx.update(closed, "c1", None)).await;
        for (id, context) in [("first", "c1/_history/1"), ("second", "c1/_history/2"), ("current", "c1"), ("none", "c1/_history/x")] {
            let binary = binary(context);
            write(&store, move |tx| tx.create(binary, id)).await;
        }
        let seen = |filter: ReadFilter| {
            let store = store.clone();
            async move {
                let ids = ["first", "second", "current", "none"];
                read(&store, move |tx| {
                    let mut seen = Vec::new();
                    for id in ids {
                        if tx.is_readable(Binary, id, 1, &filter)? {
                            seen.push(id);
                        }
                    }
                    Ok(seen)
                })
                .await
            }
        };
        let partner = || ReadFilter::remote_organization("a.org", &[]);
        let own = || ReadFilter::local_organization("own.org", &[]);
        assert_eq!(seen(partner()).await, ["first"]);
        assert_eq!(seen(own()).await, ["first", "second", "current"]);
        let open = tagged("ALL");
        write(&store, move |tx| tx.update(open, "c1", None)).await;
        assert_eq!(seen(partner()).await, ["first", "current"]);
        write(&store, |tx| tx.delete(fhir::ResourceType::CodeSystem, "c1")).await;
        assert_eq!(seen(partner()).await, ["first"], "nobody reads what is deleted");
        assert_eq!(seen(own()).await, ["first", "second"], "a version can be read after the deletion");
        write(&store, |tx| tx.delete_permanently(fhir::ResourceType::CodeSystem, "c1")).await;
        assert!(seen(own()).await.is_empty());
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn there_is_room_on_the_disk_of_a_test() {
    let directory = tempfile::tempdir().unwrap();
    let store = Backend::Sqlite(file(directory.path())).open().await;
    store.check_room_for_content().unwrap();
    store.close().await;
}
