//! `schleuse-appliance`: what the sealed image does around the node. Its units run in this order at every boot: `disk` opens
//! the data disk (and makes it, at the first boot), `provision` brings configuration and updates in and writes the network,
//! `console` tells the screen how the node is doing, `trial` keeps an updated system or goes back; `ended` tells why a
//! program of the node is gone. None of them fails in a way that stops the boot: what is wrong becomes a [`problem`] that
//! the console shows with its remedy, and the node does not start.

mod bundle;
mod configuration;
mod console;
mod disk;
mod ended;
mod firmware;
mod limits;
mod network;
mod problem;
mod program;
mod provision;
mod readiness;
mod report;
mod restart;
mod source;
mod system_disk;
mod trial;
mod update;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (command, rest) = (arguments.next(), arguments.next());
    match (command.as_deref(), rest) {
        (Some("disk"), None) => disk::run(),
        (Some("provision"), None) => provision::run(),
        (Some("console"), None) => console::run(),
        (Some("trial"), None) => trial::run(),
        (Some("ended"), Some(unit)) => {
            let said = |name| std::env::var(name).ok();
            ended::run(&unit, said("MONITOR_SERVICE_RESULT").as_deref(), said("MONITOR_EXIT_STATUS").as_deref());
        }
        _ => {
            eprintln!("usage: schleuse-appliance disk|provision|console|trial|ended UNIT");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
