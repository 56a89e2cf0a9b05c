mod mini;
mod published;
mod shipped;
mod structure;
mod support;
