//! `schleuse run DIR`: both processes of a node under one command, until SIGTERM or Ctrl-C. SIGHUP reloads.

use std::path::Path;

use tokio::sync::watch;

use super::fail;
use crate::supervise::{Order, Pids, SuperviseError, run_node};

pub(super) async fn run(directory: &Path) -> u8 {
    let directory = match std::fs::canonicalize(directory) {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("schleuse: {}: {error}; create a node with `schleuse init DIR`", directory.display());
            return 78;
        }
    };
    let (orders, receiver) = watch::channel(Order::Run);
    let (pids, _) = watch::channel(Pids::default());
    let node = run_node(directory, None, receiver, pids);
    tokio::pin!(node);
    // A node ends by itself only when it cannot run; otherwise it is told to, and then waited for.
    let result = tokio::select! {
        result = &mut node => result,
        () = give_orders(&orders) => node.await,
    };
    match result {
        Ok(()) => 0,
        Err(error @ SuperviseError::Configuration { .. }) => fail(&error, 78),
        Err(error) => fail(&error, 1),
    }
}

/// Turns signals into orders; ends with the order to stop.
async fn give_orders(orders: &watch::Sender<Order>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut reloads = 0;
    loop {
        tokio::select! {
            () = crate::demo::interrupted() => {
                orders.send_replace(Order::Stop);
                return;
            }
            _ = hangup.recv() => {
                reloads += 1;
                orders.send_replace(Order::Reload(reloads));
            }
        }
    }
}
