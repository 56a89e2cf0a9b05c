//! Room on the disk of a database file.
//!
//! Binary content is the one thing of which a client can send more than a disk holds. A database that has filled its disk
//! can neither write nor remove, so content is refused while there is still room for everything else.

use std::path::Path;

use crate::{StoreError, limits};

/// Refuses if the disk has no room beyond what content must leave to others.
pub(crate) fn check_room(directory: &Path) -> Result<(), StoreError> {
    let disk = rustix::fs::statvfs(directory).map_err(|error| StoreError::Io(error.to_string()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let reserved =
        limits::RESERVED_DISK_BYTES.min(disk.f_blocks.saturating_mul(disk.f_frsize) / limits::RESERVED_DISK_PART);
    if free >= reserved {
        return Ok(());
    }
    Err(StoreError::DiskFull(format!("{free} bytes are free, content leaves {reserved} to everything else")))
}
