//! What `schleuse-gateway` and `schleuse-engine` have in common as operating-system processes: arguments, the working
//! directory, the log, the confinement by the kernel, supervised parts, the threads that serve connections, reasons to stop,
//! the word to the service manager, and exit codes.

mod arguments;
mod confinement;
mod notify;
mod parts;
mod stop;
mod watchdog;
mod workers;

pub use arguments::{Arguments, EnterError, enter};
pub use confinement::{confine, confinement_findings, prove};
pub use notify::{notify, notify_ready};
pub use parts::Parts;
pub use stop::{Reloads, stopped};
pub use watchdog::{keep_watchdog, watchdog_interval};
pub use workers::{Workers, worker_number};

/// Exit code for anything that is not a configuration error.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code of a refused configuration (`EX_CONFIG` of sysexits): starting again changes nothing.
pub const EXIT_CONFIGURATION: u8 = 78;
