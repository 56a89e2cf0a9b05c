//! A new program takes the place of the old one: whoever holds the sockets (systemd) passes them on, and partners notice
//! nothing but a pause.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use tests::binaries::{binary, is_slow};
use tests::guard::Guard;
use tests::network::{folder, free_ports};
use tests::{Client, Pair, Schleuse, until, wire};

/// Starts the gateway with sockets that were opened before, as a service manager does.
const INHERIT: &str = r#"exec 3<&"$1" 4<&"$2"
LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=partners:management exec "$3" --directory "$4""#;

const TIME: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_new_gateway_takes_the_sockets_over_and_every_request_is_answered() {
    let place = folder();
    let directory = place.path().join("node");
    let (port, management) = free_ports();
    let base_url = format!("https://localhost:{port}/fhir");
    init(&directory, &base_url, port, management);
    let sockets = [port, management].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    for socket in &sockets {
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
    }
    let notes = |name: &str| {
        let folder = place.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let engine = binary("schleuse-engine");
    let _engine =
        Guard::start(&notes("engine"), None, &[engine.as_os_str(), OsStr::new("--directory"), directory.as_os_str()]);
    let gateway = |name: &str| inheriting(&notes(name), &sockets, &directory);
    let mut running = gateway("gateway-0");
    ready(management, &mut running).await;

    let pair = Pair {
        certificate: directory.join("certificates/client.pem"),
        private_key: directory.join("certificates/client.key"),
    };
    let client = Client::new(&base_url, &directory.join("authority/ca.pem"), Some(&pair));
    let stop = Arc::new(AtomicBool::new(false));
    let requests = requests(&client, &stop);
    for turn in 1..=if is_slow() { 20 } else { 3 } {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let old = running.pid();
        // The one holds the audit log until its end; meanwhile connections wait in the socket.
        let status = tokio::task::spawn_blocking(move || {
            running.signal(Signal::TERM);
            running.stop()
        });
        assert!(status.await.unwrap().success(), "the old gateway did not end well");
        running = gateway(&format!("gateway-{turn}"));
        ready(management, &mut running).await;
        assert_ne!(running.pid(), old);
    }
    stop.store(true, Ordering::Relaxed);
    let served: usize = requests.join_all().await.into_iter().sum();
    println!("{served} requests while the gateway was replaced");
    assert!(served > 10, "{served}");
}

/// Nobody is asked at the management listener who he is: one that others could reach must not be served.
#[tokio::test]
async fn a_management_socket_that_is_reachable_from_outside_is_refused() {
    let place = folder();
    let directory = place.path().join("node");
    let (port, management) = free_ports();
    init(&directory, &format!("https://localhost:{port}/fhir"), port, management);
    let sockets = [("127.0.0.1", port), ("0.0.0.0", management)].map(|address| TcpListener::bind(address).unwrap());
    for socket in &sockets {
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
    }
    let notes = place.path().join("gateway");
    std::fs::create_dir(&notes).unwrap();
    let mut running = inheriting(&notes, &sockets, &directory);
    until("the end of the gateway", TIME, async || running.ended()).await;
    let said = running.err();
    assert!(said.contains("the management socket is reachable from outside (0.0.0.0:"), "{said}");
}

/// A gateway that finds the sockets of partners and of management open.
fn inheriting(notes: &Path, sockets: &[TcpListener; 2], directory: &Path) -> Guard {
    let program = binary("schleuse-gateway");
    let numbers = sockets.each_ref().map(|socket| socket.as_raw_fd().to_string());
    let [partners, management] = numbers.each_ref().map(OsStr::new);
    let script = [OsStr::new("bash"), OsStr::new("-c"), OsStr::new(INHERIT), OsStr::new("inherit")];
    let arguments = [partners, management, program.as_os_str(), directory.as_os_str()];
    Guard::start(notes, None, &[script.as_slice(), &arguments].concat())
}

fn init(directory: &Path, base_url: &str, port: u16, management: u16) {
    let (listen, manage) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{management}"));
    let path = directory.to_str().unwrap();
    let arguments = ["init", path, "--organization-identifier", "new.example", "--base-url", base_url];
    let more = ["--listen", listen.as_str(), "--management", manage.as_str(), "--development-certificates"];
    Schleuse::run(&[arguments.as_slice(), more.as_slice()].concat()).expect(0);
}

async fn ready(management: u16, gateway: &mut Guard) {
    until("the gateway", TIME, async || {
        assert!(gateway.ended().is_none(), "the gateway ended: {}", gateway.err());
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", management)).await.ok()?;
        let request = format!("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:{management}\r\nConnection: close\r\n\r\n");
        let answer =
            tokio::time::timeout(Duration::from_secs(5), wire::exchange(&mut stream, request)).await.ok()??;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Requests on connections of their own, each of which must be answered.
fn requests(client: &Client, stop: &Arc<AtomicBool>) -> tokio::task::JoinSet<usize> {
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (client, stop) = (client.clone(), Arc::clone(stop));
        running.spawn(async move {
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = client.try_send("GET", "/Organization?_count=1", &[("connection", "close")], "").await;
                let answer = answer.unwrap_or_else(|error| panic!("after {served}: {error}"));
                assert_eq!(answer.status, 200, "after {served}: {}", answer.text());
                served += 1;
            }
            served
        });
    }
    running
}
