//! Processes on a real store: nodes of one process that exchange Tasks through a messenger that can fail.
//!
//! Names `bpmn_NNN` are the cases of `process-engine.md` section 9.

mod acceptance;
mod autostart;
mod crash;
mod crash_matrix;
mod elements;
mod external;
mod failures;
mod feasibility;
mod incidents;
mod interleaving;
mod killed;
mod loading;
mod models;
mod ping_measured;
mod ping_pong;
mod plug_ins;
mod sender;
mod support;
mod takeover;
mod user_tasks;
mod wire;
mod work;
