//! A node of `schleuse init` joins a running network with the steps of `docs/operations.md` and nothing else: its table of
//! members is turned into the allow-list by the script that the page names, and sent to every node by that node's own
//! organisation.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise is a failed test")]

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::guard::Guard;
use tests::network::{Node, Pair, folder};
use tests::{Client, Network, Schleuse, tasks, until};

const GUEST: &str = "guest.example";

/// Two ports that nobody listens on.
fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (gateway, management) = (listen(), listen());
    (gateway.local_addr().unwrap().port(), management.local_addr().unwrap().port())
}

fn thumbprint(certificate: &Path) -> String {
    let output = Schleuse::run(&[OsStr::new("cert"), OsStr::new("thumbprint"), certificate.as_os_str()]).expect(0);
    output.out.split_whitespace().next().unwrap().to_owned()
}

/// The allow-list of `docs/examples/allow-list-bundle` for these members.
fn allow_list(members: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/allow-list-bundle");
    let mut child = Command::new(script)
        .arg("consortium.example")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(members.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn member(node: &Node) -> String {
    let Node { organization_identifier, base_url, role, organization, .. } = node;
    let thumbprint = thumbprint(&organization.certificate);
    format!("{organization_identifier} dsf.{organization_identifier} {base_url} {role} {thumbprint}\n")
}

struct Guest {
    directory: PathBuf,
    base_url: String,
    _guard: Guard,
}

/// Creates, checks and runs the node with certificates of the network's authority.
async fn guest(network: &Network, place: &Path) -> Guest {
    let directory = place.join("guest");
    let (port, management) = free_ports();
    let base_url = format!("https://localhost:{port}/fhir");
    let authority = network.root().join("authority");
    let arguments: Vec<String> = [
        "init", directory.to_str().unwrap(),
        "--organization-identifier", GUEST,
        "--base-url", &base_url,
        "--listen", &format!("127.0.0.1:{port}"),
        "--management", &format!("127.0.0.1:{management}"),
        "--development-certificates", authority.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec();
    Schleuse::run(&arguments).expect(0);
    Schleuse::run(&[OsStr::new("check"), directory.as_os_str()]).expect(0);
    let notes = place.join("notes");
    std::fs::create_dir(&notes).unwrap();
    let binary = tests::binaries::binary("schleuse");
    let guard = Guard::start(&notes, None, &[binary.as_os_str(), OsStr::new("run"), directory.as_os_str()]);
    until("the guest is running", Duration::from_secs(60), async || {
        let status = Schleuse::run(&[OsStr::new("status"), directory.as_os_str(), OsStr::new("--format"), OsStr::new("json")]);
        (status.code == Some(0) && status.json()["gateways-connected"] == 1).then_some(())
    })
    .await;
    Guest { directory, base_url, _guard: guard }
}

fn client_of(guest: &Guest, network: &Network) -> Client {
    let certificates = guest.directory.join("certificates");
    let pair = Pair { certificate: certificates.join("client.pem"), private_key: certificates.join("client.key") };
    Client::new(&guest.base_url, &network.authority().join("ca.pem"), Some(&pair))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_of_init_joins_a_running_network_by_the_documented_steps() {
    let network = Network::start(1);
    let place = folder();
    let guest = guest(&network, place.path()).await;
    let own = client_of(&guest, &network);

    // Before the allow-list names it, nobody knows the guest.
    let portal = network.node("portal");
    let pair = Pair {
        certificate: guest.directory.join("certificates/client.pem"),
        private_key: guest.directory.join("certificates/client.key"),
    };
    let at_portal = network.client(&portal, Some(&pair));
    let refused = at_portal.get("/metadata").await.expect(403);
    assert!(refused.body.is_empty(), "{}", refused.text());

    let mut members: String = network.nodes().iter().map(member).collect();
    let thumbprint = thumbprint(&pair.certificate);
    members.push_str(&format!("{GUEST} dsf.{GUEST} {} DIC {thumbprint}\n", guest.base_url));
    let bundle = allow_list(&members);
    for node in network.nodes() {
        network.client(&node, Some(&node.organization)).post("", &bundle).await.expect(200);
    }
    own.post("", &bundle).await.expect(200);

    // In force with the answer, in both directions.
    at_portal.get("/metadata").await.expect(200);
    let everybody = network.nodes().len();
    let replies = tasks::run_ping(&own, GUEST).await;
    assert_eq!(replies.len(), everybody, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.status == "pong-received"), "{replies:?}");
    let organization = network.client(&portal, Some(&portal.organization));
    let replies = tasks::run_ping(&organization, &portal.organization_identifier).await;
    let of_guest = replies.iter().find(|reply| reply.organization == GUEST);
    assert_eq!(of_guest.map(|reply| reply.status.as_str()), Some("pong-received"), "{replies:?}");
}
