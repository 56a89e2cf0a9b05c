use super::Element;

use crate::limits;

fn read(bytes: &[u8]) -> Result<Element, super::XmlError> {
    super::read(bytes).map(|document| document.root)
}

fn refused(text: &str) -> (u32, String) {
    let error = read(text.as_bytes()).unwrap_err();
    (error.line, error.text)
}

#[test]
fn elements_have_name_spaces_lines_attributes_and_text() {
    let root = read(b"<?xml version='1.0'?>\n<a xmlns='u:1' xmlns:p='u:2'>\n <p:b p:x='1' y='&lt;&#65;'/>\n t<![CDATA[<&]]>&amp;</a>").unwrap();
    assert_eq!(root.namespace.as_deref(), Some("u:1"));
    assert_eq!(root.line, 2);
    assert_eq!(root.text.trim(), "t<&&");
    let child = &root.children[0];
    assert_eq!((child.namespace.as_deref(), &*child.name, child.line), (Some("u:2"), "b", 3));
    assert_eq!(child.attribute("y"), Some("<A"));
    assert_eq!(child.attribute("x"), None);
}

#[test]
fn hostile_and_broken_documents_are_refused_with_their_line() {
    assert!(refused("<!DOCTYPE a [<!ENTITY x 'y'>]>\n<a>&x;</a>").1.contains("document type"));
    assert_eq!(refused("<a>\n&x;</a>"), (2, "unknown entity &x;".to_owned()));
    assert!(refused("<a b='&x;'/>").1.contains('x'));
    assert_eq!(refused("<a>\n<b>\n</a>").0, 3);
    assert!(refused("<a>").1.contains("not closed"));
    assert!(refused("<a/><b/>").1.contains("more than one root"));
    assert!(refused("<a/>text").1.contains("outside"));
    assert!(refused("<p:a/>").1.contains("prefix p"));
    assert!(refused("").1.contains("no element"));
    assert!(refused("<?xml version='1.0' encoding='UTF-16'?><a/>").1.contains("UTF-16"));
    assert_eq!(read(b"<a>\n\xff</a>").unwrap_err().line, 2);
}

#[test]
fn size_depth_and_attributes_are_bounded() {
    let deep = format!("{}{}", "<a>".repeat(limits::XML_DEPTH + 1), "</a>".repeat(limits::XML_DEPTH + 1));
    assert!(refused(&deep).1.contains("deeper"));
    let wide: String = (0..=limits::XML_ATTRIBUTES).map(|index| format!(" a{index}=''")).collect();
    assert!(refused(&format!("<a{wide}/>")).1.contains("attributes"));
    assert!(refused(&format!("<a>{}</a>", "<b/>".repeat(limits::XML_ELEMENTS))).1.contains("elements"));
    assert!(refused(&" ".repeat(limits::MODEL_BYTES + 1)).1.contains("larger"));
}

#[test]
fn latin_1_is_read() {
    let root = read(b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a b=\"\xe4\"/>").unwrap();
    assert_eq!(root.attribute("b"), Some("\u{e4}"));
}

#[test]
fn a_document_is_written_without_loss() {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- before -->\n<p:a xmlns:p=\"u:1\" xmlns=\"u:2\" p:x=\"&lt;&#10;&#9;&quot;\">one<?go now?><b/>two &amp; three<!-- in --><p:b>&#13;</p:b> </p:a>\n<!-- behind -->\n";
    let document = super::read(text.as_bytes()).unwrap();
    assert_eq!(document.print(), text);
    assert_eq!(super::read(document.print().as_bytes()).unwrap(), document);
}
