//! The FHIR endpoint from outside: the cases of `fhir-api` section 10 and the hardening cases after them, over HTTPS
//! through the gateway. Test names carry the number of the case.
//!
//! Without further settings the suite starts nodes of its own, with section 9's seed as initial Bundle and
//! `processes = "none"`; the tests share one ([`subject::shared`]), except those that count everything or stop it. The
//! cases know the base URL, certificates and nothing of the inside, so that they can judge another DSF node too:
//!
//! | environment | effect |
//! |---|---|
//! | `SCHLEUSE_CONFORMANCE_TARGET` | base URL of the node to be judged (`https://host:port/fhir`) instead of own ones |
//! | `SCHLEUSE_CONFORMANCE_FOLDER` | its clients: `ca.pem`, and `NAME.pem` with `NAME.key` for `loc`, `ext`, `pra`, `adm`, `min`; if `loc.pem` is not there, authority, certificates and `bundle.json` (the seed) are written there and the run ends, so that the node can be set up with them |
//! | `SCHLEUSE_CONFORMANCE_STATUS` | URL of its status listener (`http://host:port`) |
//! | `SCHLEUSE_CONFORMANCE_PARTNER_PORT` | port of the partner that the suite plays (the seed's external Endpoint, `https://localhost:PORT/fhir`); fixed for a foreign node because the seed names it |
//! | `SCHLEUSE_TEST_POSTGRES` | the suite runs once more, with own nodes that store in PostgreSQL, each in a schema of its own (`scripts/with-postgres` sets it; `SCHLEUSE_CONFORMANCE_STORE=postgresql` runs that alone) |
//!
//! A foreign node is to be reset before each run, and run with `--test-threads=1`. Cases that a node cannot pass carry
//! `#[ignore = "reason"]`; [`again`] fails when one of them passes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::type_complexity,
    clippy::needless_pass_by_value,
    reason = "test code: a surprise is a failed test"
)]

mod again;
mod answers;
mod binary;
mod bundles;
mod formats;
mod partner;
mod read;
mod read_access;
mod references;
mod resources;
mod search;
mod seed;
mod start;
mod storm;
mod subject;
mod subscriptions;
mod tasks;
mod types;
mod unique;
