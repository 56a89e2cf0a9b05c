//! Stand-ins.

use store::binary::Content as Stored;

use super::*;

fn content(name: &str, size: u64) -> Stored {
    Stored { upload: name.to_owned(), size }
}

#[test]
fn a_printed_answer_is_cut_where_contents_stand() {
    let contents = Contents::new();
    let (first, second) = (contents.stand_in(content("a", 4)), contents.stand_in(content("b", 3)));
    let pieces = contents.pieces(format!("{{\"x\":\"{second}\",\"y\":\"{first}\"}}"));
    let texts = |text: &str| Piece::Text(Bytes::from(text.to_owned()));
    assert_eq!(
        pieces,
        [
            texts("{\"x\":\""),
            Piece::Base64(content("b", 3)),
            texts("\",\"y\":\""),
            Piece::Base64(content("a", 4)),
            texts("\"}")
        ]
    );
    assert_eq!(pieces.iter().map(Piece::length).sum::<u64>(), 6 + 4 + 7 + 8 + 2);
}

#[test]
fn the_stand_in_of_another_request_is_a_text_like_any_other() {
    let foreign = Contents::new().stand_in(content("secret", 4));
    let contents = Contents::new();
    contents.stand_in(content("own", 1));
    let pieces = contents.pieces(foreign.clone());
    assert_eq!(pieces, [Piece::Text(Bytes::from(foreign))]);
    let beyond = format!("{}7x", contents.marker);
    assert_eq!(contents.pieces(beyond.clone()), [Piece::Text(Bytes::from(beyond))]);
}

#[test]
fn inline_content_is_taken_out_and_what_is_no_base64_stays() {
    let mut binary = Resource::new("Binary");
    binary.set("data", "QU JD\n");
    assert!(matches!(take_inline(&mut binary), Brought::Whole(content) if content == "ABC"));
    assert_eq!(binary.get("data"), None);
    binary.set("data", "Q");
    assert!(take_inline(&mut binary).is_nothing());
    assert_eq!(binary.str("data"), Some("Q"));
}
