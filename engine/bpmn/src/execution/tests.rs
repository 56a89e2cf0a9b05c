//! Tests of the engine. Every command of every test goes through [`support::Run`], which checks after each that replaying
//! the history gives the identical instance, and goes on with an instance that was written and read again.

mod elements;
mod errors;
mod listeners;
mod multi_instance;
mod ping_pong;
mod random_models;
mod support;
mod variables;
