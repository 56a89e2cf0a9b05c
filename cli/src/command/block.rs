//! `schleuse block`: takes all rights from a certificate at once.
//!
//! Writes `blocks.toml` in the node's directory, which the gateway watches; then waits until the gateway says that the
//! block is in force, and says so. Neither the engine nor a signed policy is needed.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use node::Directory;
use node::blocks::{self, Block};
use policies::Thumbprint;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fail;
use crate::arguments::{self, Format};
use crate::output::{Table, answer, printable};

/// How long the gateway may take; it looks five times a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest reason.
const REASON_CHARACTERS: usize = 500;

#[derive(Debug, thiserror::Error)]
enum BlockError {
    #[error("{0} is no thumbprint: 128 lower-case hexadecimal digits; `schleuse cert thumbprint FILE` prints it")]
    Thumbprint(String),
    #[error("{0} is no time; write it as 2026-01-31T18:00:00Z")]
    Until(String),
    #[error("the end of the block lies in the past")]
    Past,
    #[error("say why with --reason; the text stands in blocks.toml")]
    Reason,
    #[error("that certificate is not blocked")]
    NotBlocked,
    #[error("blocks.toml cannot be used as it is:\n{0}")]
    File(String),
    #[error("blocks.toml cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

impl BlockError {
    const fn code(&self) -> u8 {
        match self {
            Self::Thumbprint(_) | Self::Until(_) | Self::Past | Self::Reason => 2,
            Self::NotBlocked | Self::File(_) | Self::Write(_) => 1,
        }
    }
}

pub(super) async fn run(arguments: &arguments::Block, format: Format) -> u8 {
    let directory = Directory::new(&arguments.directory);
    if let Err(error) = std::fs::metadata(directory.node_toml()) {
        eprintln!("schleuse: {}: {error}; name the node with --directory", directory.node_toml().display());
        return 78;
    }
    let Some(wanted) = &arguments.thumbprint else { return list(&directory, format) };
    match change(arguments, wanted, &directory) {
        Ok(thumbprint) => {
            let in_force = wait(&directory, &thumbprint, !arguments.lift).await;
            report(arguments, &thumbprint, in_force, format)
        }
        Err(error) => fail(&error, error.code()),
    }
}

fn read(directory: &Directory) -> Result<Vec<Block>, BlockError> {
    blocks::read(&directory.blocks())
        .map_err(|findings| BlockError::File(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

fn change(arguments: &arguments::Block, wanted: &str, directory: &Directory) -> Result<Thumbprint, BlockError> {
    let thumbprint: Thumbprint = wanted.parse().map_err(|_| BlockError::Thumbprint(printable(wanted)))?;
    let now = OffsetDateTime::now_utc();
    let mut all = read(directory)?;
    let before = all.len();
    all.retain(|block| block.thumbprint != thumbprint && block.is_in_force(now));
    if arguments.lift {
        if before == all.len() {
            return Err(BlockError::NotBlocked);
        }
    } else {
        let until = match &arguments.until {
            None => None,
            Some(text) => {
                let until = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| BlockError::Until(printable(text)))?;
                if until <= now {
                    return Err(BlockError::Past);
                }
                Some(until)
            }
        };
        let reason = arguments.reason.as_deref().unwrap_or_default().trim();
        if reason.is_empty() {
            return Err(BlockError::Reason);
        }
        let reason = reason.chars().take(REASON_CHARACTERS).collect();
        let by = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".to_owned());
        let since = now.replace_nanosecond(0).unwrap_or(now);
        all.push(Block { thumbprint: thumbprint.clone(), reason, by, since, until });
    }
    blocks::write(&directory.blocks(), &all)?;
    Ok(thumbprint)
}

/// Whether the gateway says that the block is, or is no longer, in force; none if no gateway answers.
async fn wait(directory: &Directory, thumbprint: &Thumbprint, blocked: bool) -> Option<bool> {
    let (settings, _) = node::load(directory).ok()?;
    let end = Instant::now() + PATIENCE;
    let mut answered = false;
    loop {
        if let Some(ready) = ready(settings.management.address).await {
            answered = true;
            let known = ready
                .get("blocked")
                .and_then(Value::as_array)
                .is_some_and(|list| list.iter().any(|known| known.as_str() == Some(thumbprint.as_str())));
            if known == blocked {
                return Some(true);
            }
        } else if !answered {
            return None;
        }
        if Instant::now() >= end {
            return Some(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the gateway tells on its management listener.
pub(super) async fn ready(address: std::net::SocketAddr) -> Option<Value> {
    let stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let request = Request::get("/ready").header("host", "node").body(Full::new(Bytes::new())).ok()?;
    let answer =
        tokio::time::timeout(Duration::from_secs(2), crate::http::exchange(stream, request)).await.ok()?.ok()?;
    serde_json::from_slice(&answer.into_body()).ok()
}

fn report(arguments: &arguments::Block, thumbprint: &Thumbprint, in_force: Option<bool>, format: Format) -> u8 {
    let what = if arguments.lift { "lifted" } else { "blocked" };
    let text = || match in_force {
        Some(true) => format!("{}: {what}, in force\n", thumbprint.short()),
        Some(false) => format!("{}: {what}, but the gateway does not say so; see its log\n", thumbprint.short()),
        None => format!("{}: {what}; no gateway runs, it will be in force when one starts\n", thumbprint.short()),
    };
    answer(
        format,
        text,
        || json!({ "thumbprint": thumbprint.as_str(), "blocked": !arguments.lift, "in-force": in_force }),
    );
    u8::from(in_force == Some(false))
}

fn list(directory: &Directory, format: Format) -> u8 {
    let all = match read(directory) {
        Ok(all) => all,
        Err(error) => return fail(&error, error.code()),
    };
    let now = OffsetDateTime::now_utc();
    let time = |moment: OffsetDateTime| moment.format(&Rfc3339).unwrap_or_default();
    let text = || {
        let mut table = Table::new(&["thumbprint", "since", "until", "by", "reason"]);
        for block in all.iter().filter(|block| block.is_in_force(now)) {
            let until = block.until.map_or_else(|| "lifted by hand".to_owned(), time);
            let row = [block.thumbprint.to_string(), time(block.since), until, block.by.clone(), block.reason.clone()];
            table.row(row.map(|cell| printable(&cell)));
        }
        table.to_string()
    };
    answer(format, text, || json!({ "blocks": all }));
    0
}
