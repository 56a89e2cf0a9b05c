//! Tests of the whole store. Each runs on every backend through [`support::each_backend`].

mod contents;
mod durability;
mod group_commit;
mod model;
mod opening;
mod resources;
mod scale;
pub(crate) mod support;
mod verification;
