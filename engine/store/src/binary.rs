//! Content of Binaries, in chunks.
//!
//! Content arrives before the resource that describes it: [`Transaction::start_upload`], then a chunk per short
//! transaction, so that no transaction stays open while a client sends. The transaction that stores the resource adopts
//! the upload; uploads that nobody adopts are removed after a while. Several versions may share one content.

use fhir::ResourceType;
use time::OffsetDateTime;

use crate::{StoreError, Transaction, limits};

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
            "INSERT INTO upload (id, started, size, adopted) VALUES (?1, ?2, 0, 0) ON CONFLICT (id) DO NOTHING",
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
        let before =
            self.row("SELECT size FROM upload WHERE id = ?1 AND adopted = 0", &[upload.into()], |row| row.unsigned(0))?;
        let chunk = limits::CHUNK_BYTES as u64;
        let Some(before) = before.filter(|size| size % chunk == 0) else {
            return Err(StoreError::NoRecord { what: "unfinished upload", id: upload.to_owned() });
        };
        let size = before + data.len() as u64;
        self.execute(
            "INSERT INTO upload_chunk (upload, position, data) VALUES (?1, ?2, ?3)",
            &[upload.into(), (before / chunk).into(), data.into()],
        )?;
        self.execute("UPDATE upload SET size = ?2 WHERE id = ?1", &[upload.into(), size.into()])?;
        Ok(size)
    }

    /// Makes the upload the content of a version that this transaction stores.
    pub fn adopt_upload(&mut self, upload: &str, id: &str, version: u64) -> Result<(), StoreError> {
        let adopted = self.execute("UPDATE upload SET adopted = 1 WHERE id = ?1", &[upload.into()])?;
        if adopted == 0 {
            return Err(StoreError::NoRecord { what: "upload", id: upload.to_owned() });
        }
        let missing = || StoreError::Missing { resource_type: ResourceType::Binary, id: id.to_owned() };
        let rid = self.rid(ResourceType::Binary, id)?.ok_or_else(missing)?;
        self.execute(
            "INSERT INTO binary_content (rid, version, upload) VALUES (?1, ?2, ?3)
             ON CONFLICT (rid, version) DO UPDATE SET upload = excluded.upload",
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

    /// Removes an upload that was not adopted, for example because the client went away.
    pub fn abandon_upload(&mut self, upload: &str) -> Result<bool, StoreError> {
        let open =
            self.row("SELECT 1 FROM upload WHERE id = ?1 AND adopted = 0", &[upload.into()], |row| row.integer(0))?;
        if open.is_none() {
            return Ok(false);
        }
        self.remove_upload(upload)?;
        Ok(true)
    }

    /// Removes uploads that began before the time and were not adopted; returns how many. At start every one of them is
    /// left over.
    pub fn abandon_uploads_before(&mut self, time: OffsetDateTime) -> Result<usize, StoreError> {
        let uploads = self.rows(
            "SELECT id FROM upload WHERE adopted = 0 AND started < ?1 ORDER BY started LIMIT ?2",
            &[time.into(), limits::ROWS.into()],
            |row| row.string(0),
        )?;
        for upload in &uploads {
            self.remove_upload(upload)?;
        }
        Ok(uploads.len())
    }

    /// Removes the content of a resource that is permanently deleted.
    pub(crate) fn remove_contents(&mut self, rid: i64) -> Result<(), StoreError> {
        let uploads =
            self.rows("SELECT DISTINCT upload FROM binary_content WHERE rid = ?1", &[rid.into()], |row| row.string(0))?;
        self.execute("DELETE FROM binary_content WHERE rid = ?1", &[rid.into()])?;
        for upload in uploads {
            let shared =
                self.row("SELECT 1 FROM binary_content WHERE upload = ?1 LIMIT 1", &[upload.as_str().into()], |row| {
                    row.integer(0)
                })?;
            if shared.is_none() {
                self.remove_upload(&upload)?;
            }
        }
        Ok(())
    }

    fn remove_upload(&mut self, upload: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM upload_chunk WHERE upload = ?1", &[upload.into()])?;
        self.execute("DELETE FROM upload WHERE id = ?1", &[upload.into()])?;
        Ok(())
    }
}
