//! Words to the service manager (`sd_notify(3)`: one datagram with an assignment such as `READY=1`).

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;

/// Says `READY=1`.
pub fn notify_ready() -> std::io::Result<()> {
    notify("READY=1")
}

/// Says a word if `NOTIFY_SOCKET` is set, which is a path or, with a leading `@`, an abstract address.
pub fn notify(word: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match address.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address).map(drop)
}
