//! `blocks.toml`: certificates that are blocked at once, whatever policy and allow-list say.
//!
//! `schleuse block` writes the file and the gateway watches it, so that a block needs neither the engine nor a signature
//! and survives every restart. A block can only take rights away. A damaged file is never read as "nobody is blocked":
//! at start the gateway refuses it, later it keeps what was in force.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use policies::Thumbprint;
use settings::{Finding, Reader};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::init::quoted;

/// Name of the file in findings.
pub const BLOCKS_TOML: &str = "blocks.toml";
/// Most blocks; who blocks more changes the trust store or the allow-list.
const BLOCKS: usize = 10_000;
/// Largest file.
const FILE_BYTES: u64 = 8 << 20;

/// One blocked certificate.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Block {
    /// Its thumbprint.
    #[serde(serialize_with = "as_text")]
    pub thumbprint: Thumbprint,
    /// Why.
    pub reason: String,
    /// Who blocked it.
    pub by: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Until when; none: until it is lifted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
}

fn as_text<S: serde::Serializer>(thumbprint: &Thumbprint, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(thumbprint)
}

// === impl Block ===

impl Block {
    /// Whether it blocks at `now`.
    #[must_use]
    pub fn is_in_force(&self, now: OffsetDateTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Reads the file; none means that nobody is blocked.
pub fn read(path: &Path) -> Result<Vec<Block>, Vec<Finding>> {
    use std::io::Read as _;
    let unreadable = |error: &dyn std::fmt::Display| {
        vec![Finding::in_file(
            BLOCKS_TOML,
            format!("cannot be read: {error}"),
            "make it readable for the gateway's user",
        )]
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Block>, Vec<Finding>> {
    let mut reader = Reader::new(BLOCKS_TOML, text);
    let document = reader.parse();
    let mut root = document.root();
    let mut blocks = Vec::new();
    for mut table in root.sections(&mut reader, "block") {
        let thumbprint = table.required_string(&mut reader, "thumbprint", "write the thumbprint of the certificate");
        let thumbprint = thumbprint.and_then(|item| {
            let parsed = item.value.parse::<Thumbprint>().ok();
            if parsed.is_none() {
                reader.refuse(&item, "is no thumbprint", "write 128 lower-case hexadecimal digits");
            }
            parsed
        });
        let text = |item: Option<settings::Item<String>>| item.map(|item| item.value).unwrap_or_default();
        let reason = text(table.string(&mut reader, "reason"));
        let by = text(table.string(&mut reader, "by"));
        let mut moment = |name| {
            let item = table.string(&mut reader, name)?;
            let parsed = OffsetDateTime::parse(&item.value, &Rfc3339).ok();
            if parsed.is_none() {
                reader.refuse(&item, "is no time", "write it as 2026-01-31T18:00:00Z");
            }
            parsed
        };
        let (since, until) = (moment("since"), moment("until"));
        table.finish(&mut reader);
        let since = since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        blocks.extend(thumbprint.map(|thumbprint| Block { thumbprint, reason, by, since, until }));
    }
    root.finish(&mut reader);
    if blocks.len() > BLOCKS {
        reader.error(
            &(0..0),
            "block",
            format!("has more than {BLOCKS} entries"),
            "change the trust store or the allow-list",
        );
    }
    if reader.has_errors() { Err(reader.into_findings()) } else { Ok(blocks) }
}

/// Replaces the file, durably and at once.
pub fn write(path: &Path, blocks: &[Block]) -> std::io::Result<()> {
    let mut text = String::from(
        "# Certificates that are blocked at once, whatever policy and allow-list say. Written by `schleuse block`.\n",
    );
    let time = |moment: OffsetDateTime| moment.format(&Rfc3339).map_err(std::io::Error::other);
    for block in blocks {
        text.push_str(&format!("\n[[block]]\nthumbprint = {}\n", quoted(block.thumbprint.as_str())));
        text.push_str(&format!("reason = {}\nby = {}\n", quoted(&block.reason), quoted(&block.by)));
        text.push_str(&format!("since = {}\n", quoted(&time(block.since)?)));
        if let Some(until) = block.until {
            text.push_str(&format!("until = {}\n", quoted(&time(until)?)));
        }
    }
    let temporary = path.with_extension("toml.new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    // The name must survive a power failure too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(digit: char, until: Option<OffsetDateTime>) -> Block {
        let since = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let thumbprint = digit.to_string().repeat(128).parse().unwrap();
        Block { thumbprint, reason: "key \"lost\"\n".to_owned(), by: "root".to_owned(), since, until }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(BLOCKS_TOML);
        assert_eq!(read(&path).unwrap(), []);
        let until = OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
        let blocks = [block('a', None), block('b', Some(until))];
        write(&path, &blocks).unwrap();
        assert_eq!(read(&path).unwrap(), blocks);
        assert!(blocks[1].is_in_force(until - time::Duration::SECOND) && !blocks[1].is_in_force(until));
        assert!(blocks[0].is_in_force(until));
    }

    #[test]
    fn a_damaged_file_is_an_error_with_its_line() {
        for (text, line) in [
            ("[[block]]\nthumbprint = \"abc\"\n", 2),
            ("[[block]]\nreason = \"x\"\n", 1),
            ("[[block]\n", 1),
            ("[[block]]\nthumbprints = \"x\"\n", 1),
            ("block = 1\n", 1),
        ] {
            let findings = parse(text).unwrap_err();
            assert!(findings.iter().any(|finding| finding.line == line), "{text}: {findings:?}");
        }
    }
}
