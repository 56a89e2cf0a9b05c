//! Dates of HTTP headers (RFC 9110 section 5.6.7, the fixed-length form).

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(crate) fn format(at: OffsetDateTime) -> String {
    // The format has no component that can fail for a valid date.
    at.to_offset(time::UtcOffset::UTC).format(FORMAT).unwrap_or_default()
}

/// Reads the fixed-length form; the obsolete forms count as absent, as every other text.
pub(crate) fn parse(text: &str) -> Option<OffsetDateTime> {
    time::PrimitiveDateTime::parse(text.trim(), FORMAT).ok().map(time::PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests;
