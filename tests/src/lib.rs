//! What the black-box suites in `tests/` share: real programs, real TLS, and nothing of the inside.
//!
//! [`Network`] runs `schleuse demo --no-run` in a folder of its own and knows it through `demo.json` alone; [`Client`]
//! speaks HTTPS with any certificate of it; [`wire`] sends bytes that no client library would send; [`Schleuse`] runs the
//! command line. A suite shares one network among its tests ([`shared`]) unless a test kills processes or changes files.
//!
//! | environment | effect |
//! |---|---|
//! | `SCHLEUSE_BIN_DIR` | folder of the programs under test; else the one that `cargo build --bins` fills |
//! | `SCHLEUSE_SLOW=1` | long forms: 200 pings among kills, 40 moments to kill a starting network |
//! | `SCHLEUSE_SEED` | repeats the choices of a run, which prints its seed |
//! | `SCHLEUSE_TEST_STORE=postgresql` | networks keep their data on the server of `SCHLEUSE_TEST_POSTGRES` |
//! | `SCHLEUSE_KEEP=1` | the folders of networks stay, with their logs |
//!
//! Invariants: every wait ends, with a text that says what was waited for; every process ends with the test program,
//! however that ends ([`guard`]); ports and folders are never those of another run.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test, and says where"
)]

pub mod binaries;
pub mod chance;
pub mod client;
pub mod command;
pub mod feasibility;
pub mod guard;
pub mod hospital;
pub mod members;
pub mod network;
pub mod plug_ins;
pub mod receiver;
pub mod search;
pub mod tasks;
pub mod transfer;
pub mod wait;
pub mod websocket;
pub mod wire;

pub use client::{Answer, Client};
pub use command::{Output, Running, Schleuse};
pub use network::{Network, Node, Pair, shared};
pub use wait::until;
