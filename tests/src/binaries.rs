//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// The program `name`, from `SCHLEUSE_BIN_DIR` or from the folder that the test program was built into.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let folder = folder();
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{name} was not found in {}; build the programs first with `cargo build --bins`, or name their folder in SCHLEUSE_BIN_DIR",
        folder.display()
    );
    path
}

/// A test program lies in `target/PROFILE/deps`, the programs one folder above.
fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("SCHLEUSE_BIN_DIR") {
        return folder.into();
    }
    let own = std::env::current_exe().expect("the test program knows its own path");
    let folder = own.parent().expect("a file is in a folder");
    if folder.ends_with("deps") {
        folder.parent().map_or_else(|| folder.to_owned(), Path::to_owned)
    } else {
        folder.to_owned()
    }
}

/// Long forms of tests run when `SCHLEUSE_SLOW=1`.
#[must_use]
pub fn is_slow() -> bool {
    std::env::var_os("SCHLEUSE_SLOW").is_some_and(|value| value == "1")
}

/// Whether folders of networks stay for a look at their logs: `SCHLEUSE_KEEP=1`.
#[must_use]
pub fn is_kept() -> bool {
    std::env::var_os("SCHLEUSE_KEEP").is_some_and(|value| value == "1")
}
