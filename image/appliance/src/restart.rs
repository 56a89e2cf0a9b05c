//! An orderly restart of the machine: what Ctrl-Alt-Del asks of the service manager, which is the one program here that
//! can stop the others.

use rustix::process::{Pid, Signal, kill_process};

pub(crate) fn restart() {
    if let Err(error) = kill_process(Pid::INIT, Signal::INT) {
        eprintln!("the machine cannot be started again: {error}");
    }
}
