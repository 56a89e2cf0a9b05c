use super::*;
use proptest::prelude::*;

/// Everything that can be read of a body when the bytes arrive in steps.
fn read(bytes: &[u8], step: usize, to_head: bool) -> Result<(AnswerHead, Vec<u8>, usize), &'static str> {
    let mut received = BytesMut::new();
    let mut rest = bytes.chunks(step);
    let mut answer = loop {
        match read_head(&mut received, to_head)? {
            Some(answer) => break answer,
            None => received.extend_from_slice(rest.next().ok_or("incomplete head")?),
        }
    };
    let mut content = Vec::new();
    while !answer.body.is_complete() {
        match answer.body.next(&mut received)? {
            Some(piece) => content.extend_from_slice(&piece),
            None if answer.body.is_complete() => {}
            None => received.extend_from_slice(rest.next().ok_or("incomplete body")?),
        }
    }
    let left = received.len() + rest.map(<[u8]>::len).sum::<usize>();
    Ok((answer, content, left))
}

/// Bytes, whether they answer a HEAD, content, announced length.
type Case = (&'static [u8], bool, &'static [u8], Option<u64>);

#[test]
fn bodies_of_both_framings_are_read_to_their_end_and_not_further() {
    let cases: [Case; 6] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", false, b"abc", Some(3)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", false, b"abc", None),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n", false, b"", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", true, b"", Some(3)),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", false, b"", None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", false, b"", Some(0)),
    ];
    for (bytes, to_head, content, announced) in cases {
        for step in 1..=bytes.len() {
            let more = [bytes, b"HTTP/1.1 200 OK\r\n"].concat();
            let (answer, read, left) = read(&more, step, to_head).unwrap();
            assert_eq!((read.as_slice(), answer.body.announced()), (content, announced), "{}", bytes.escape_ascii());
            assert_eq!(left, 17, "{}", bytes.escape_ascii());
            assert!(answer.keep);
        }
    }
}

#[test]
fn fields_of_the_link_stay_on_the_link() {
    let bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nServer: x\r\nDate: y\r\nX-Schleuse-Permit: z\r\nVia: v\r\nETag: W/\"1\"\r\n\
        Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n";
    let (answer, ..) = read(bytes, bytes.len(), false).unwrap();
    let mut names: Vec<_> = answer.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [("content-length", &b"0"[..]), ("etag", b"W/\"1\""), ("set-cookie", b"a"), ("set-cookie", b"b")]
    );
    assert!(!answer.keep);
}

#[test]
fn what_the_engine_never_writes_is_a_broken_link() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: f\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0000000000000000000000000000000000000001\r\na\r\n0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ] {
        assert!(read(bytes, bytes.len(), false).is_err(), "{}", bytes.escape_ascii());
    }
}

proptest! {
    #[test]
    fn bytes_of_any_kind_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1_usize..50) {
        let _ = read(&bytes, step, false);
        let body = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", bytes.as_slice()].concat();
        let _ = read(&body, step, false);
    }
}
