//! The word to the service manager that the service is ready (`sd_notify(3)`, protocol: one datagram with `READY=1`).

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;

/// Says `READY=1` if `NOTIFY_SOCKET` is set. A path or, with a leading `@`, an abstract address.
pub fn notify_ready() -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match address.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1\n", &address).map(drop)
}
