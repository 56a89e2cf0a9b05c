//! Process definitions: the BPMN text by its digest. A definition is never changed; instances name the digest they run.

use time::OffsetDateTime;

use crate::sql::Row;
use crate::{StoreError, Transaction};

/// A deployed process definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Digest of the BPMN text, the identity of the definition.
    pub digest: String,
    /// Process id of the BPMN.
    pub process_key: String,
    /// `camunda:versionTag`.
    pub version_tag: String,
    /// The BPMN text.
    pub xml: Vec<u8>,
    /// Whether new instances may start.
    pub active: bool,
    /// When it was deployed.
    pub created: OffsetDateTime,
}

const COLUMNS: &str = "SELECT digest, process_key, version_tag, xml, active, created FROM definition";

impl Transaction<'_> {
    /// Stores a definition unless its digest is known. True if it is new.
    pub fn insert_definition(
        &mut self,
        digest: &str,
        process_key: &str,
        version_tag: &str,
        xml: &[u8],
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let inserted = self.execute(
            "INSERT INTO definition (digest, process_key, version_tag, xml, active, created)
             VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT (digest) DO NOTHING",
            &[digest.into(), process_key.into(), version_tag.into(), xml.into(), now.into()],
        )?;
        Ok(inserted == 1)
    }

    /// The definition with the digest.
    pub fn definition(&mut self, digest: &str) -> Result<Option<Definition>, StoreError> {
        self.row(&format!("{COLUMNS} WHERE digest = ?1"), &[digest.into()], read)
    }

    /// All definitions of a process and version tag, the newest first.
    pub fn definitions_of(&mut self, process_key: &str, version_tag: &str) -> Result<Vec<Definition>, StoreError> {
        self.rows(
            &format!("{COLUMNS} WHERE process_key = ?1 AND version_tag = ?2 ORDER BY created DESC, digest"),
            &[process_key.into(), version_tag.into()],
            read,
        )
    }

    /// Every definition, by key, tag and age.
    pub fn definitions(&mut self) -> Result<Vec<Definition>, StoreError> {
        self.rows(&format!("{COLUMNS} ORDER BY process_key, version_tag, created, digest"), &[], read)
    }

    /// Lets new instances of the definition start, or not.
    pub fn set_definition_active(&mut self, digest: &str, active: bool) -> Result<(), StoreError> {
        match self.execute("UPDATE definition SET active = ?2 WHERE digest = ?1", &[digest.into(), active.into()])? {
            0 => Err(StoreError::NoRecord { what: "definition", id: digest.to_owned() }),
            _ => Ok(()),
        }
    }
}

fn read(row: &dyn Row) -> Result<Definition, StoreError> {
    Ok(Definition {
        digest: row.string(0)?,
        process_key: row.string(1)?,
        version_tag: row.string(2)?,
        xml: row.bytes(3)?.to_vec(),
        active: row.boolean(4)?,
        created: row.time(5)?,
    })
}
