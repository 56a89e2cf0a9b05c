//! Writing of files that must never be seen half-written or by others.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Replaces a file atomically, on disk before it is visible.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}
