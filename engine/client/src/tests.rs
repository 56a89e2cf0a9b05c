//! Calls against real TLS servers and proxies on loopback.

mod calls;
mod failures;
mod harness;
mod proxying;
