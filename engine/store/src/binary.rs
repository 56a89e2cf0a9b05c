//! Content of Binaries, in chunks.
//!
//! Content arrives before the resource that describes it: [`Transaction::start_upload`], then a chunk per short
//! transaction, so that no transaction stays open while a client sends. The transaction that stores the resource adopts
//! the upload. Each version has content of its own and nothing is shared between resources.
//!
//! ```text
//! start_upload ─▶ append_chunk … ─▶ adopt_upload ─▶ (resource permanently deleted) ┐
//!                       └▶ abandon_upload, or nobody touches it for a while ───────┴▶ given up ─▶ sweep_uploads
//! ```
//!
//! What is given up is gone at once for everybody; its chunks are removed in pieces, since gigabytes in one transaction
//! would keep all other writers waiting.

use fhir::ResourceType;
use time::OffsetDateTime;

use crate::{Dialect, StoreError, Transaction, limits};

/// Where the content of a version is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The upload that holds it.
    pub upload: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Transaction<'_> {
    /// Begins an upload under a new id.
    pub fn start_upload(&mut self, upload: &str) -> Result<(), StoreError> {
        let now = self.now();
        let inserted = self.execute(
            "INSERT INTO upload (id, touched, size, adopted) VALUES (?1, ?2, 0, 0) ON CONFLICT (id) DO NOTHING",
            &[upload.into(), now.into()],
        )?;
        if inserted == 0 { Err(StoreError::Exists { what: "upload", id: upload.to_owned() }) } else { Ok(()) }
    }

    /// Appends a chunk: all of [`limits::CHUNK_BYTES`] but the last, so that a range is found by division. Returns the
    /// size so far.
    pub fn append_chunk(&mut self, upload: &str, data: &[u8]) -> Result<u64, StoreError> {
        if data.len() > limits::CHUNK_BYTES {
            return Err(StoreError::TooLarge { what: "chunk", size: data.len(), limit: limits::CHUNK_BYTES });
        }
        let lock = self.dialect().for_update();
        let before = self.row(
            &format!("SELECT size FROM upload WHERE id = ?1 AND adopted = 0 AND touched > 0{lock}"),
            &[upload.into()],
            |row| row.unsigned(0),
        )?;
        let chunk = limits::CHUNK_BYTES as u64;
        let Some(before) = before.filter(|size| size % chunk == 0) else {
            return Err(StoreError::NoRecord { what: "unfinished upload", id: upload.to_owned() });
        };
        let size = before + data.len() as u64;
        self.execute(
            "INSERT INTO upload_chunk (upload, position, data) VALUES (?1, ?2, ?3)",
            &[upload.into(), (before / chunk).into(), data.into()],
        )?;
        let now = self.now();
        self.execute(
            "UPDATE upload SET size = ?2, touched = ?3 WHERE id = ?1",
            &[upload.into(), size.into(), now.into()],
        )?;
        Ok(size)
    }

    /// Makes the upload the content of a version that this transaction stores.
    pub fn adopt_upload(&mut self, upload: &str, id: &str, version: u64) -> Result<(), StoreError> {
        let adopted = self
            .execute("UPDATE upload SET adopted = 1 WHERE id = ?1 AND adopted = 0 AND touched > 0", &[upload.into()])?;
        if adopted == 0 {
            return Err(StoreError::NoRecord { what: "unfinished upload", id: upload.to_owned() });
        }
        let missing = || StoreError::Missing { resource_type: ResourceType::Binary, id: id.to_owned() };
        let rid = self.rid(ResourceType::Binary, id)?.ok_or_else(missing)?;
        self.execute(
            "INSERT INTO binary_content (rid, version, upload) VALUES (?1, ?2, ?3)",
            &[rid.into(), version.into(), upload.into()],
        )?;
        Ok(())
    }

    /// The content of a version, if it is kept apart from the resource.
    pub fn content(&mut self, id: &str, version: u64) -> Result<Option<Content>, StoreError> {
        self.row(
            "SELECT u.id, u.size FROM resource AS r JOIN binary_content AS c ON c.rid = r.rid
             JOIN upload AS u ON u.id = c.upload WHERE r.type = 'Binary' AND r.id = ?1 AND c.version = ?2",
            &[id.into(), version.into()],
            |row| Ok(Content { upload: row.string(0)?, size: row.unsigned(1)? }),
        )
    }

    /// The chunk at a position, counted from 0.
    pub fn read_chunk(&mut self, upload: &str, position: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.row(
            "SELECT data FROM upload_chunk WHERE upload = ?1 AND position = ?2",
            &[upload.into(), position.into()],
            |row| Ok(row.bytes(0)?.to_vec()),
        )
    }

    /// Gives up an upload that was not adopted, for example because the client went away.
    pub fn abandon_upload(&mut self, upload: &str) -> Result<bool, StoreError> {
        let abandoned = self
            .execute("UPDATE upload SET touched = 0 WHERE id = ?1 AND adopted = 0 AND touched > 0", &[upload.into()])?;
        Ok(abandoned > 0)
    }

    /// Gives up uploads that nobody has adopted or touched since the time; returns how many. One that goes on slowly is
    /// touched with every chunk and stays.
    pub fn abandon_uploads_before(&mut self, time: OffsetDateTime) -> Result<usize, StoreError> {
        self.execute("UPDATE upload SET touched = 0 WHERE adopted = 0 AND touched > 0 AND touched < ?1", &[time.into()])
    }

    /// Gives up what an engine before this one left behind. With a database of its own that is every upload; in a shared
    /// one other engines are at work, and only those untouched since `time` belong to nobody.
    pub fn abandon_uploads_at_start(&mut self, time: OffsetDateTime) -> Result<usize, StoreError> {
        match self.dialect() {
            Dialect::Sqlite => self.execute("UPDATE upload SET touched = 0 WHERE adopted = 0 AND touched > 0", &[]),
            Dialect::PostgreSql => self.abandon_uploads_before(time),
        }
    }

    /// Removes some chunks of what was given up, the oldest first. False when nothing is left to remove.
    pub fn sweep_uploads(&mut self) -> Result<bool, StoreError> {
        let lock = self.dialect().skip_locked();
        let upload = self.row(
            &format!("SELECT id FROM upload WHERE adopted = 0 AND touched = 0 ORDER BY id LIMIT 1{lock}"),
            &[],
            |row| row.string(0),
        )?;
        let Some(upload) = upload else { return Ok(false) };
        let first =
            self.row("SELECT MIN(position) FROM upload_chunk WHERE upload = ?1", &[upload.as_str().into()], |row| {
                row.optional_integer(0)
            })?;
        // In ascending order: the last pages of the file are then the first that SQLite finds among its free ones, which
        // it looks through for each page that it gives back.
        match first.flatten() {
            Some(first) => self.execute(
                "DELETE FROM upload_chunk WHERE upload = ?1 AND position < ?2",
                &[upload.as_str().into(), (first.cast_unsigned() + limits::SWEPT_CHUNKS).into()],
            )?,
            None => self.execute("DELETE FROM upload WHERE id = ?1", &[upload.as_str().into()])?,
        };
        Ok(true)
    }

    /// How many uploads there are, given-up ones included: for tests and for checks of what is left over.
    pub fn upload_count(&mut self) -> Result<usize, StoreError> {
        let count = self.row("SELECT COUNT(*) FROM upload", &[], |row| row.unsigned(0))?;
        Ok(usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX))
    }

    /// Gives some free pages of the file back to the file system, unless they are few enough to be kept for what comes
    /// next. False when nothing more is to be given back.
    pub fn shrink(&mut self) -> Result<bool, StoreError> {
        match self.dialect() {
            Dialect::Sqlite => {
                let page = self.pragma("PRAGMA page_size")?;
                let free = self.pragma("PRAGMA freelist_count")?;
                // Without auto_vacuum (a file of an earlier version) pages cannot be given back.
                if self.pragma("PRAGMA auto_vacuum")? == 0 || free.saturating_mul(page) <= limits::KEPT_FREE_BYTES {
                    return Ok(false);
                }
                // A row for each page.
                self.returning(&format!("PRAGMA incremental_vacuum({})", limits::SHRUNK_PAGES), &[], |_| Ok(()))?;
                Ok(true)
            }
            // The server's own vacuum makes the space usable again.
            Dialect::PostgreSql => Ok(false),
        }
    }

    /// Gives up the content of a resource that is permanently deleted.
    pub(crate) fn release_contents(&mut self, rid: i64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE upload SET adopted = 0, touched = 0 WHERE id IN (SELECT upload FROM binary_content WHERE rid = ?1)",
            &[rid.into()],
        )?;
        self.execute("DELETE FROM binary_content WHERE rid = ?1", &[rid.into()])?;
        Ok(())
    }

    /// The same for the content of one version.
    pub(crate) fn release_content(&mut self, rid: i64, version: u64) -> Result<(), StoreError> {
        let key = [rid.into(), version.into()];
        self.execute(
            "UPDATE upload SET adopted = 0, touched = 0
             WHERE id IN (SELECT upload FROM binary_content WHERE rid = ?1 AND version = ?2)",
            &key,
        )?;
        self.execute("DELETE FROM binary_content WHERE rid = ?1 AND version = ?2", &key)?;
        Ok(())
    }

    fn pragma(&mut self, sql: &str) -> Result<u64, StoreError> {
        Ok(self.row(sql, &[], |row| row.unsigned(0))?.unwrap_or(0))
    }
}
