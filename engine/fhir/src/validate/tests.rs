mod mini;
mod published;
mod shipped;
mod structure;
pub(crate) mod support;
