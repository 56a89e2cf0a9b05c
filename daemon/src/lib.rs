//! What `schleuse-gateway` and `schleuse-engine` have in common as operating-system processes: arguments, the working
//! directory, the log, reasons to stop, the word to the service manager, and exit codes.

mod arguments;
mod notify;
mod stop;

pub use arguments::{Arguments, EnterError, enter};
pub use notify::{notify, notify_ready};
pub use stop::{Reloads, stopped};

/// Exit code for anything that is not a configuration error.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code of a refused configuration (`EX_CONFIG` of sysexits): starting again changes nothing.
pub const EXIT_CONFIGURATION: u8 = 78;
