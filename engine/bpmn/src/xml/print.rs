//! Writes a document as UTF-8 with the information set of the file that it was read from.

use std::fmt::Write as _;

use super::{Document, Element, Remark, RemarkKind};

impl Document {
    /// The whole file again. Reading it gives an equal document, apart from the lines of its elements.
    pub fn print(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        for remark in &self.prolog {
            print_remark(remark, &mut out);
            out.push('\n');
        }
        print_element(&self.root, &mut out);
        for remark in &self.epilog {
            out.push('\n');
            print_remark(remark, &mut out);
        }
        out.push('\n');
        out
    }
}

// Recursion is bounded by the depth of elements that the reader accepts.
fn print_element(element: &Element, out: &mut String) {
    out.push('<');
    print_name(element.prefix.as_deref(), &element.name, out);
    for (prefix, namespace) in &element.declarations {
        out.push_str(" xmlns");
        if let Some(prefix) = prefix {
            let _ = write!(out, ":{prefix}");
        }
        print_value(namespace, out);
    }
    for attribute in &element.attributes {
        out.push(' ');
        print_name(attribute.prefix.as_deref(), &attribute.name, out);
        print_value(&attribute.value, out);
    }
    if element.children.is_empty() && element.text.is_empty() && element.remarks.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    print_content(element, out);
    out.push_str("</");
    print_name(element.prefix.as_deref(), &element.name, out);
    out.push('>');
}

/// Text, children and remarks in their order.
fn print_content(element: &Element, out: &mut String) {
    let mut printed = 0;
    let mut remarks = element.remarks.iter().peekable();
    for (index, child) in element.children.iter().enumerate() {
        while let Some(remark) = remarks.next_if(|remark| remark.children_before <= index) {
            print_text(element.text.get(printed..remark.text_before), out);
            printed = remark.text_before;
            print_remark(remark, out);
        }
        print_text(element.text.get(printed..child.text_before), out);
        printed = child.text_before;
        print_element(child, out);
    }
    for remark in remarks {
        print_text(element.text.get(printed..remark.text_before), out);
        printed = remark.text_before;
        print_remark(remark, out);
    }
    print_text(element.text.get(printed..), out);
}

fn print_remark(remark: &Remark, out: &mut String) {
    let _ = match &remark.kind {
        RemarkKind::Comment(text) => write!(out, "<!--{text}-->"),
        RemarkKind::Instruction(text) => write!(out, "<?{text}?>"),
    };
}

fn print_name(prefix: Option<&str>, name: &str, out: &mut String) {
    if let Some(prefix) = prefix {
        out.push_str(prefix);
        out.push(':');
    }
    out.push_str(name);
}

/// An attribute value; white space other than a blank would be read as a blank.
fn print_value(value: &str, out: &mut String) {
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            other => print_character(other, out),
        }
    }
    out.push('"');
}

fn print_text(text: Option<&str>, out: &mut String) {
    for character in text.unwrap_or_default().chars() {
        print_character(character, out);
    }
}

fn print_character(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '\r' => out.push_str("&#13;"),
        other => out.push(other),
    }
}
