mod answers;
mod mini;
mod must_hold;
mod published;
mod shipped;
mod structure;
pub(crate) mod support;
mod terminology;
