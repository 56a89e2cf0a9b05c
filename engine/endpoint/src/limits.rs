//! Bounds of what the endpoint holds for one request, one connection and one WebSocket.
//!
//! The gateway has its own, narrower bounds from the policy; these hold for whoever speaks on the socket, so that a
//! fault of the gateway cannot exhaust the process that holds the data.

use std::time::Duration;

/// Largest request body that is read into memory. The reference accepts base64 of more than 20 million characters in a
/// Binary (`fhir-api` 1.9); twice that, with markup, fits.
pub const BODY_BYTES: usize = 64 * 1024 * 1024;

/// Largest Binary in its FHIR form without its content, which is not held in memory: tags, a reference, a narrative.
pub const BINARY_BYTES: usize = 256 * 1024;

/// Content up to this size is read with its resource and sent like any other answer.
pub const SMALL_CONTENT_BYTES: u64 = 64 * 1024;

/// Transfers of content at one time, in each direction. Each holds at most two chunks of 1 MiB.
pub const TRANSFERS: usize = 64;

/// Transfers of one caller at one time, in each direction, so that nobody can take all of them.
pub const TRANSFERS_PER_IDENTITY: usize = 32;

/// Time that a transfer waits for a slot.
pub const TRANSFER_WAIT: Duration = Duration::from_secs(5);

/// Silence within the transfer of content.
pub const CONTENT_IDLE: Duration = Duration::from_secs(30);

/// Slowest transfer of content, in bytes per second, over each [`PACE_TIME`]: a sixteenth of the slowest line that a
/// site could have, so that only who does it on purpose is cut.
pub const SLOWEST_TRANSFER: u64 = 4 * 1024;

/// Time over which [`SLOWEST_TRANSFER`] must be kept.
pub const PACE_TIME: Duration = Duration::from_secs(30);

/// Bytes of content that are handed to a connection at one time.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Pause between two looks for content that nobody has.
pub const KEEPER_PAUSE: Duration = Duration::from_secs(60);

/// Age of an upload, since its last chunk, at which nobody can be at work on it any more.
pub const UPLOAD_AGE: Duration = Duration::from_secs(3600);

/// Time for the whole body of one request to arrive from the gateway, which streams what its client sends.
pub const BODY_TIME: Duration = Duration::from_secs(300);

/// Time for a request head to arrive; the gateway sends heads in one piece.
pub const HEAD_TIME: Duration = Duration::from_secs(10);

/// Largest request head: permit (16 KiB), target (8 KiB), headers.
pub const HEAD_BYTES: usize = 64 * 1024;

/// Connections of gateways at one time.
pub const CONNECTIONS: usize = 1024;

/// Entries of one batch or transaction. The allow-list of a national network has a few thousand.
pub const BUNDLE_ENTRIES: usize = 10_000;

/// Bytes of all resources that the entries of one Bundle read, as much as one page of a search may have.
pub const BUNDLE_ANSWER_BYTES: usize = store::limits::PAGE_BYTES;

/// References of one request to other servers of the network, each of which is asked. The published processes send one
/// or two.
pub const REMOTE_REFERENCES: usize = 20;

/// Time for all of them together.
pub const REMOTE_TIME: Duration = Duration::from_secs(30);

/// Bytes of all request bodies that are held at one time. A parsed body takes several times as much, so that this is
/// what bounds the memory of requests; who finds it used up is told to come again.
pub const BODIES_BYTES: usize = 192 * 1024 * 1024;

/// Entries of one page. The reference has no upper bound (`fhir-api` 2.1); more are cut to this and the paging links
/// name the count that was applied.
pub const PAGE_ENTRIES: u32 = 1000;

/// Characters of one diagnostics text; what a client sent is echoed no further.
pub const DIAGNOSTICS_CHARS: usize = 2000;

/// Issues of one OperationOutcome.
pub const OUTCOME_ISSUES: usize = 100;

/// Time for which the previous policy is still accepted in permits after a new one was activated
/// (`architecture` section 2): requests that the gateway judged before its own swap.
pub const PREVIOUS_POLICY: Duration = Duration::from_secs(10);

/// Time that a request waits for a policy by which the gateway has judged it already. Both processes reload at the same
/// signal, and reading the files takes milliseconds.
pub const NEXT_POLICY: Duration = Duration::from_secs(1);

/// Time that a change of the allow-list waits for the gateways' acknowledgement before it is answered.
pub const ALLOW_LIST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(1);

/// Writes that are carried through at one time: one of each connection, and those whose connection has ended.
pub const WRITES: usize = 64 * CONNECTIONS;

/// WebSockets at one time.
pub const SOCKETS: usize = 256;

/// Subscriptions bound by one WebSocket.
pub const BINDS_PER_SOCKET: usize = 64;

/// Largest text frame that a client may send; `bind` and an id need 42 bytes.
pub const SOCKET_MESSAGE_BYTES: usize = 64 * 1024;

/// Largest text frame that is sent: a resource of [`BODY_BYTES`] in the more verbose format.
pub const SOCKET_FRAME_BYTES: usize = 2 * BODY_BYTES;

/// Pause before the 101 of a WebSocket. The gateway's proxy (pingora 0.9) closes the socket at once if the answer overtakes
/// the end of the request inside it; the end is on its way for long when it has had this time.
pub const SOCKET_OPENING: Duration = Duration::from_millis(50);

/// Pause between ping frames (`fhir-api` 5.1).
pub const SOCKET_PING: Duration = Duration::from_secs(28);

/// Time without any frame (pongs included) after which a client counts as gone.
pub const SOCKET_SILENCE: Duration = Duration::from_secs(90);

/// Time for one frame to be taken by the client's side of the connection.
pub const SOCKET_WRITE: Duration = Duration::from_secs(20);

/// Time that open requests have to finish once the service is told to stop.
pub const DRAIN: Duration = Duration::from_secs(20);

/// Bytes of a stored resource that is read where the request is answered. A larger one takes longer to parse and print
/// than it costs to hand it to a thread for blocking work.
pub const SMALL_BYTES: usize = 64 * 1024;

/// Largest answer to a read that is kept to be given again: Tasks and resources of the allow-list are far smaller.
pub const KEPT_ANSWER_BYTES: usize = 16 * 1024;

/// Bytes of all of them.
pub const KEPT_ANSWERS_BYTES: u64 = 8 * 1024 * 1024;

/// Clients of the gateway that are remembered; a network has hundreds.
pub const CLIENTS: usize = 1024;

/// Changes of the allow-list that wait for approval at one time; people look at each of them.
pub const PENDING_CHANGES: usize = 20;

/// Bytes of all of them. The allow-list of a national network has a few megabytes.
pub const PENDING_BYTES: usize = 32 << 20;
