use super::{Document, Reader};
use crate::Finding;

fn findings(text: &str, read: impl FnOnce(&mut Reader<'_>, &Document<'_>)) -> Vec<Finding> {
    let mut reader = Reader::new("file.toml", text);
    let document = reader.parse();
    read(&mut reader, &document);
    reader.into_findings()
}

#[test]
fn every_finding_is_reported_with_its_line_and_a_remedy() {
    let found = findings("[limits]\nhead = 5\ntime = \"30\"\n\n[limit]\n", |reader, document| {
        let mut root = document.root();
        let mut limits = root.section(reader, "limits");
        limits.size(reader, "head");
        limits.duration(reader, "time");
        limits.finish(reader);
        root.finish(reader);
    });
    let lines: Vec<_> = found.iter().map(|finding| (finding.line, finding.key.as_str())).collect();
    assert_eq!(lines, [(2, "limits.head"), (3, "limits.time"), (5, "limit")]);
    assert!(found[2].remedy.contains("limits"), "{}", found[2]);
    assert!(found.iter().all(|finding| finding.is_error() && !finding.remedy.is_empty()));
}

#[test]
fn syntax_errors_are_findings_and_the_document_is_empty() {
    let found = findings("a = 1\nb = = 2\n", |_, document| assert!(!document.root().is_present()));
    assert_eq!(found[0].line, 2);
}

#[test]
fn a_duplicate_key_is_refused() {
    assert!(!findings("a = 1\na = 2\n", |_, _| {}).is_empty());
}

#[test]
fn a_missing_string_and_a_wrong_type_are_told_apart() {
    let found = findings("[node]\nurl = 5\n", |reader, document| {
        let mut node = document.root().section(reader, "node");
        assert!(node.required_string(reader, "url", "name it").is_none());
        assert!(node.required_string(reader, "name", "name it").is_none());
    });
    assert_eq!(
        found.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>(),
        ["is missing", "is not a string in quotes"]
    );
}

#[test]
fn values_are_taken_with_their_types() {
    let text =
        "list = [\"a\", \"b\"]\none = \"c\"\nflag = true\nnumber = 0x10\n[[rule]]\nid = \"x\"\n[[rule]]\nid = \"y\"\n";
    let found = findings(text, |reader, document| {
        let mut root = document.root();
        assert_eq!(root.strings(reader, "list").unwrap().len(), 2);
        assert_eq!(root.strings(reader, "one").unwrap()[0].value, "c");
        assert!(root.boolean(reader, "flag").unwrap().value);
        assert_eq!(root.integer(reader, "number", 0..17).unwrap().value, 16);
        let mut rules = root.sections(reader, "rule");
        assert_eq!(rules[1].string(reader, "id").unwrap().value, "y");
        root.finish(reader);
    });
    assert!(found.is_empty(), "{found:?}");
}
