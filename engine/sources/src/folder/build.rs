//! Indexing: what changed since the last time becomes new segments, then all segments are joined.
//!
//! Segments whose files are as they were are kept. A problem in the content ends the attempt after all of them have been
//! found, up to a bound; nothing of the attempt stays then.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::manifest::{FORMAT, Manifest, SegmentFile};
use super::scan::{Scan, SourceFile, scan};
use super::segment::{Builder, Place, Segment};
use super::{bundle, extract, join};
use crate::error::IndexError;
use crate::{json, limits};

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Files of the source.
    pub files: usize,
    /// Files that were read because they are new or changed.
    pub read: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Resources in these.
    pub resources: u64,
    /// Files that are not indexed, with the reason.
    pub ignored: Vec<(PathBuf, &'static str)>,
}

/// How far indexing is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes that are read.
    pub bytes: u64,
    /// Bytes to read.
    pub total: u64,
}

/// What is there, and what indexing would do.
#[derive(Clone, Debug)]
pub struct State {
    /// Files of the source.
    pub files: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Files that are not indexed, with the reason.
    pub ignored: Vec<(PathBuf, &'static str)>,
    /// Whether there is an index of this folder.
    pub is_indexed: bool,
    /// Files that are new or changed since it was made, and files of it that are gone.
    pub changed: usize,
}

/// Compares a folder with its index; nothing is read of the content.
pub fn state(folder: &Path, index: &Path) -> Result<State, IndexError> {
    let manifest = Manifest::read(index).map_err(|error| join::JoinError::Read(error).at(index))?;
    let manifest = manifest.filter(|manifest| manifest.folder == folder);
    let found = scan(folder)?;
    let known: BTreeSet<&SourceFile> = manifest.iter().flat_map(Manifest::files).collect();
    let now: BTreeSet<&SourceFile> = found.files.iter().collect();
    let changed: BTreeSet<&Path> = known.symmetric_difference(&now).map(|file| file.path.as_path()).collect();
    Ok(State {
        files: found.files.len(),
        bytes: found.files.iter().map(|file| file.bytes).sum(),
        is_indexed: manifest.is_some(),
        changed: changed.len(),
        ignored: found.ignored,
    })
}

/// Brings the index up to date with the folder.
pub fn build(folder: &Path, index: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Built, IndexError> {
    create_folder(index)?;
    let _lock = lock(index)?;
    let before = Manifest::read(index).ok().flatten().filter(|manifest| manifest.folder == folder);
    let found = scan(folder)?;
    if found.files.is_empty() {
        return Err(IndexError::Empty(folder.to_owned()));
    }
    let (kept, to_read) = divide(before.as_ref(), &found);
    let mut built = Built {
        files: found.files.len(),
        read: to_read.len(),
        bytes: to_read.iter().map(|file| file.bytes).sum(),
        resources: 0,
        ignored: found.ignored.clone(),
    };
    if let Some(before) = &before
        && to_read.is_empty()
        && kept.len() == before.segments.len()
        && before.empty.iter().all(|file| found.files.contains(file))
        && before.names().all(|name| index.join(name).is_file())
    {
        return Ok(built);
    }
    let first = 1 + kept.iter().filter_map(|segment| number_of(&segment.name)).max().unwrap_or(0);
    let number = first.max(1 + before.as_ref().and_then(|before| number_of(&before.generation)).unwrap_or(0));
    let mut attempt = Attempt::new(folder, index, number, built.bytes, progress);
    let segments = match attempt.read(&to_read) {
        Ok(new) => [kept, new].concat(),
        Err(error) => {
            attempt.undo();
            return Err(error);
        }
    };
    built.resources = attempt.resources;
    let read_now: BTreeSet<&Path> = to_read.iter().map(|file| file.path.as_path()).collect();
    let before_empty = before.iter().flat_map(|before| &before.empty);
    let still_empty = before_empty.filter(|file| found.files.contains(file) && !read_now.contains(file.path.as_path()));
    let empty: Vec<SourceFile> = attempt.empty.iter().chain(still_empty).cloned().collect();
    let number = attempt.number;
    let written = finish(folder, index, number, segments, empty);
    if written.is_err() {
        attempt.undo();
    }
    written.map(|()| built)
}

/// Segments that stay, and files that must be read. A file is kept whole or read whole.
fn divide(before: Option<&Manifest>, found: &Scan) -> (Vec<SegmentFile>, Vec<SourceFile>) {
    let Some(before) = before else { return (Vec::new(), found.files.clone()) };
    let now: BTreeSet<&Path> = found.files.iter().map(|file| file.path.as_path()).collect();
    let same = |file: &SourceFile| {
        now.contains(file.path.as_path())
            && found
                .files
                .binary_search_by(|other| other.path.cmp(&file.path))
                .is_ok_and(|at| found.files.get(at).is_some_and(|other| other == file))
    };
    let mut kept: Vec<&SegmentFile> = before.segments.iter().collect();
    let mut dropped: BTreeSet<&Path> = BTreeSet::new();
    loop {
        let (stay, go): (Vec<&SegmentFile>, Vec<&SegmentFile>) = kept
            .into_iter()
            .partition(|segment| segment.files.iter().all(|file| same(file) && !dropped.contains(file.path.as_path())));
        kept = stay;
        if go.is_empty() {
            break;
        }
        dropped.extend(go.iter().flat_map(|segment| segment.files.iter().map(|file| file.path.as_path())));
    }
    let still_empty = before.empty.iter().filter(|file| same(file)).map(|file| file.path.as_path());
    let kept_files = kept.iter().flat_map(|segment| segment.files.iter().map(|file| file.path.as_path()));
    let covered: BTreeSet<&Path> = kept_files.chain(still_empty).collect();
    let to_read = found.files.iter().filter(|file| !covered.contains(file.path.as_path())).cloned().collect();
    (kept.into_iter().cloned().collect(), to_read)
}

fn number_of(name: &str) -> Option<u64> {
    name.split(['-', '.']).nth(1)?.parse().ok()
}

/// Joins the segments, puts the result in force, removes what nobody needs any more.
fn finish(
    folder: &Path,
    index: &Path,
    number: u64,
    segments: Vec<SegmentFile>,
    empty: Vec<SourceFile>,
) -> Result<(), IndexError> {
    if segments.is_empty() {
        return Err(IndexError::Empty(folder.to_owned()));
    }
    let generation = format!("generation-{number:06}.columns");
    let path = index.join(&generation);
    let open = |segment: &SegmentFile| Segment::open(&index.join(&segment.name));
    let opened: Result<Vec<Segment>, _> = segments.iter().map(open).collect();
    let joined = opened.map_err(join::JoinError::Read).and_then(|opened| join::write(&path, &opened, &segments));
    joined.map_err(|error| error.at(&path))?;
    let manifest = Manifest { format: FORMAT, folder: folder.to_owned(), generation, segments, empty };
    manifest.write(index)?;
    remove_unnamed(index, &manifest);
    Ok(())
}

/// Old files; readers that have them open go on reading. One that cannot be removed is tried again next time.
fn remove_unnamed(index: &Path, manifest: &Manifest) {
    let named: BTreeSet<&str> = manifest.names().collect();
    let Ok(entries) = std::fs::read_dir(index) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = name
            .to_str()
            .is_some_and(|name| (name.ends_with(".columns") || name.ends_with(".ndjson")) && !named.contains(name));
        if is_ours && let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "an old file of the index was not removed");
        }
    }
}

fn create_folder(index: &Path) -> Result<(), IndexError> {
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(index);
    created.map_err(|source| IndexError::File { path: index.to_owned(), source })
}

fn lock(index: &Path) -> Result<File, IndexError> {
    let path = index.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|source| IndexError::File { path, source })?;
    file.try_lock().map_err(|_| IndexError::InUse(index.to_owned()))?;
    Ok(file)
}

/// Reading of files into new segments.
struct Attempt<'a> {
    folder: &'a Path,
    index: &'a Path,
    number: u64,
    total: u64,
    done: u64,
    progress: &'a mut dyn FnMut(Progress),
    segments: Vec<SegmentFile>,
    empty: Vec<SourceFile>,
    problems: Vec<String>,
    more_problems: usize,
    resources: u64,
    open: Open,
}

/// The segment that is being filled.
#[derive(Default)]
struct Open {
    builder: Builder,
    files: Vec<SourceFile>,
    bytes: u64,
    copies: Option<(String, BufWriter<File>, u64)>,
}

impl<'a> Attempt<'a> {
    fn new(folder: &'a Path, index: &'a Path, number: u64, total: u64, progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            folder,
            index,
            number,
            total,
            done: 0,
            progress,
            segments: Vec::new(),
            empty: Vec::new(),
            problems: Vec::new(),
            more_problems: 0,
            resources: 0,
            open: Open::default(),
        }
    }

    fn read(&mut self, files: &[SourceFile]) -> Result<Vec<SegmentFile>, IndexError> {
        for file in files {
            // Large files have segments of their own, so that a change of one leaves the others.
            let is_large = file.bytes >= limits::SEGMENT_BYTES / 4;
            if is_large || self.open.bytes >= limits::SEGMENT_BYTES {
                self.close_segment()?;
            }
            let before = self.resources;
            if file.is_lines() {
                self.read_lines(file)?
            } else {
                self.read_json(file)?
            }
            if self.resources == before && self.problems.is_empty() {
                self.empty.push(file.clone());
            }
            if is_large {
                self.close_segment()?;
            }
        }
        self.close_segment()?;
        if self.problems.is_empty() {
            return Ok(std::mem::take(&mut self.segments));
        }
        let mut problems = std::mem::take(&mut self.problems);
        if self.more_problems > 0 {
            problems.push(format!("and {} more", self.more_problems));
        }
        Err(IndexError::Content { problems })
    }

    fn read_lines(&mut self, source: &SourceFile) -> Result<(), IndexError> {
        let path = self.folder.join(&source.path);
        let fail = |source| IndexError::File { path: path.clone(), source };
        let file = File::open(&path).map_err(fail)?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let (mut offset, mut number) = (0_u64, 0_u64);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = limits::LINE_BYTES as u64 + 1;
            let length = reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(fail)? as u64;
            if length == 0 {
                break;
            }
            number += 1;
            if length == limit {
                self.problem(source, number, &format!("the line is longer than {} bytes", limits::LINE_BYTES));
                break;
            }
            let text = line.trim_ascii();
            if !text.is_empty() {
                let blanks = line.len() - line.trim_ascii_start().len();
                self.add(source, text, number, Some(offset + blanks as u64))?;
            }
            offset += length;
            self.advance(length);
        }
        self.check_unchanged(source, reader.get_ref())
    }

    fn read_json(&mut self, source: &SourceFile) -> Result<(), IndexError> {
        let path = self.folder.join(&source.path);
        let fail = |source| IndexError::File { path: path.clone(), source };
        if source.bytes > limits::JSON_FILE_BYTES {
            let limit = limits::JSON_FILE_BYTES;
            self.problem(
                source,
                1,
                &format!("a .json file is read as a whole and may have {limit} bytes; write .ndjson"),
            );
            return Ok(());
        }
        let mut file = File::open(&path).map_err(fail)?;
        let mut bytes = Vec::new();
        (&mut file).take(limits::JSON_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
        match bundle::resources(&bytes) {
            Err(reason) => self.problem(source, 1, &reason),
            Ok(resources) => {
                for resource in resources {
                    match resource {
                        Ok(resource) => {
                            let text = fhir::json::print(&resource, false);
                            self.add(source, text.as_bytes(), 1, None)?;
                        }
                        Err(reason) => self.problem(source, 1, &reason),
                    }
                }
            }
        }
        self.advance(source.bytes);
        self.check_unchanged(source, &file)
    }

    /// Adds a resource, which is in the file at the offset or else is copied.
    fn add(&mut self, source: &SourceFile, text: &[u8], line: u64, offset: Option<u64>) -> Result<(), IndexError> {
        let extracted = match json::parse(text) {
            Ok(node) => extract::extract(&node),
            Err(error) => Err(format!("column {}: no JSON ({:?} error)", error.column(), error.classify())),
        };
        let extracted = match extracted {
            Ok(extracted) => extracted,
            Err(reason) => {
                self.problem(source, line, &reason);
                return Ok(());
            }
        };
        if self.open.bytes >= limits::SEGMENT_BYTES || self.open.builder.rows() >= limits::SEGMENT_ROWS {
            self.close_segment()?;
        }
        if self.open.files.last() != Some(source) {
            self.open.files.push(source.clone());
        }
        let file = u32::try_from(self.open.files.len() - 1).unwrap_or(u32::MAX);
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let (is_copied, offset) = match offset {
            Some(offset) => (false, offset),
            None => (true, self.copy(text)?),
        };
        self.open.builder.add(extracted, Place { file, is_copied, offset, length });
        self.open.bytes += u64::from(length);
        self.resources += 1;
        Ok(())
    }

    fn copy(&mut self, text: &[u8]) -> Result<u64, IndexError> {
        if self.open.copies.is_none() {
            let name = format!("copies-{:06}.ndjson", self.number);
            let path = self.index.join(&name);
            let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
            let file = file.map_err(|source| IndexError::File { path, source })?;
            self.open.copies = Some((name, BufWriter::new(file), 0));
        }
        let Some((name, out, offset)) = &mut self.open.copies else { return Ok(0) };
        let fail = |source| IndexError::File { path: self.index.join(&*name), source };
        let begin = *offset;
        out.write_all(text).and_then(|()| out.write_all(b"\n")).map_err(fail)?;
        *offset += text.len() as u64 + 1;
        Ok(begin)
    }

    fn close_segment(&mut self) -> Result<(), IndexError> {
        let open = std::mem::take(&mut self.open);
        if open.builder.rows() == 0 {
            return Ok(());
        }
        let name = format!("segment-{:06}.columns", self.number);
        self.number += 1;
        let path = self.index.join(&name);
        let mut copies = None;
        if let Some((copied, mut out, _)) = open.copies {
            let path = self.index.join(&copied);
            let written = out.flush().and_then(|()| out.get_ref().sync_all());
            written.map_err(|source| IndexError::File { path, source })?;
            copies = Some(copied);
        }
        self.segments.push(SegmentFile { name, files: open.files, copies });
        open.builder.finish(&path).map_err(|source| IndexError::File { path, source })
    }

    fn problem(&mut self, source: &SourceFile, line: u64, reason: &str) {
        if self.problems.len() < limits::PROBLEMS {
            self.problems.push(format!("{}:{line}: {reason}", source.path.display()));
        } else {
            self.more_problems += 1;
        }
    }

    fn check_unchanged(&mut self, source: &SourceFile, file: &File) -> Result<(), IndexError> {
        let path = self.folder.join(&source.path);
        let metadata = file.metadata().map_err(|source| IndexError::File { path, source })?;
        if !source.is_unchanged(&metadata) {
            self.problem(source, 1, "the file changed while it was read; index again when it is complete");
        }
        Ok(())
    }

    fn advance(&mut self, bytes: u64) {
        const STEP: u64 = 4 * 1024 * 1024;
        let before = self.done / STEP;
        self.done += bytes;
        if self.done / STEP != before || self.done >= self.total {
            (self.progress)(Progress { bytes: self.done, total: self.total });
        }
    }

    /// Removes the files of an attempt that failed.
    fn undo(&self) {
        let segments = self.segments.iter().flat_map(|segment| std::iter::once(&segment.name).chain(&segment.copies));
        let open = self.open.copies.iter().map(|(name, ..)| name);
        for name in segments.chain(open) {
            match std::fs::remove_file(self.index.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(name, %error, "a file of a failed attempt was not removed");
                }
                _ => {}
            }
        }
    }
}
