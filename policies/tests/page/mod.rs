//! Generated parts of `docs/errors.md`, used by the tests of every crate that has codes. A part stands between two
//! markers; a test renders it and fails if the page says something else. `SCHLEUSE_UPDATE=1` writes the page instead.

use std::fmt::Write as _;
use std::path::Path;

/// One line of a table.
pub(crate) struct Row {
    pub(crate) code: String,
    pub(crate) status: String,
    pub(crate) cause: String,
    pub(crate) remedy: String,
}

impl Row {
    pub(crate) fn new(code: &str, status: &impl ToString, cause: &str, remedy: &str) -> Self {
        Self { code: code.to_owned(), status: status.to_string(), cause: cause.to_owned(), remedy: remedy.to_owned() }
    }
}

/// Compares the part `name` of the page with the rows, or writes it.
pub(crate) fn check(name: &str, rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("docs/errors.md"))
        .find(|path| path.is_file())
        .expect("docs/errors.md");
    let page = std::fs::read_to_string(&path).expect("the page is readable");
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
    let (before, rest) = page.split_once(&begin).expect("marker of the part");
    let (found, after) = rest.split_once(&end).expect("end marker of the part");
    let wanted = table(rows);
    if found == wanted {
        return;
    }
    if std::env::var_os("SCHLEUSE_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).expect("the page can be written");
        return;
    }
    panic!("the part {name} of docs/errors.md is not current; run the test with SCHLEUSE_UPDATE=1 and commit the page");
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("| code | status | cause | remedy |\n|---|---|---|---|\n");
    for Row { code, status, cause, remedy } in rows {
        let (cause, remedy) = (cell(cause), cell(remedy));
        writeln!(text, "| `{code}` | {status} | {cause} | {remedy} |").expect("a string takes text");
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
