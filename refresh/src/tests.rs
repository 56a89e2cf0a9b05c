use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use certs::development::{Authority, KeyType, Subject, Validity};
use node::Directory;

use super::*;

/// A web server that gives one answer to everybody, and the node that asks it.
struct Lab {
    folder: tempfile::TempDir,
    authority: Authority,
    address: String,
    answers: std::sync::mpsc::Sender<Vec<u8>>,
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn authority(name: &str) -> Authority {
    Authority::root(&Subject::german("Test", name), KeyType::EcdsaP256, Validity::days(now(), 100)).unwrap()
}

fn list(authority: &Authority, age: i64) -> Vec<u8> {
    let issued = now() - time::Duration::hours(age);
    authority.revocation_list(&[], 1, issued, issued + time::Duration::days(2)).unwrap().into_bytes()
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/lists/test.crl", listener.local_addr().unwrap());
        let (answers, next) = std::sync::mpsc::channel::<Vec<u8>>();
        std::thread::spawn(move || {
            while let (Ok(answer), Ok((mut stream, _))) = (next.recv(), listener.accept()) {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len())
                        .as_bytes(),
                );
                let _ = stream.write_all(&answer);
            }
        });
        let authority = authority("Test CA");
        std::fs::create_dir_all(folder.path().join("trust")).unwrap();
        for name in ["client-authorities.pem", "server-authorities.pem"] {
            std::fs::write(folder.path().join("trust").join(name), authority.certificate_pem()).unwrap();
        }
        Self { folder, authority, address, answers }
    }

    fn refresher(&self, private_hosts: &str) -> Refresher {
        let directory = Directory::new(self.folder.path());
        directory.create().unwrap();
        let text = node::node_toml(&node::Template {
            organization_identifier: "a.example".to_owned(),
            base_url: "https://a.example/fhir".to_owned(),
            endpoint_identifier: "a.example".to_owned(),
            listen: "127.0.0.1:1".to_owned(),
            management: "127.0.0.1:2".to_owned(),
        });
        let wanted = format!("sources = [\"{}\"]\nprivate-hosts = [{private_hosts}]", self.address);
        std::fs::write(directory.node_toml(), text.replacen("sources = []", &wanted, 1)).unwrap();
        let (settings, _) = node::load(&directory).unwrap();
        Refresher::new(&settings).unwrap()
    }

    async fn fetch(&self, refresher: &Refresher, answer: Vec<u8>) -> Result<RevocationList, FetchError> {
        self.answers.send(answer).unwrap();
        refresher.fetch(&self.address).await
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("crl").join(file_name(&self.address))
    }
}

#[tokio::test]
async fn a_list_is_put_in_place_only_if_its_authority_signed_it_and_it_is_not_older() {
    certs::install_provider();
    let lab = Lab::new();
    let refresher = lab.refresher("\"127.0.0.1\"");
    let first = list(&lab.authority, 2);
    lab.fetch(&refresher, first.clone()).await.unwrap();
    assert_eq!(std::fs::read(lab.file()).unwrap(), first);

    let kept = |result: Result<RevocationList, FetchError>| {
        assert_eq!(std::fs::read(lab.file()).unwrap(), first, "the list in place must stay");
        result.unwrap_err()
    };
    let older = kept(lab.fetch(&refresher, list(&lab.authority, 20)).await);
    assert!(matches!(older, FetchError::Older { .. }), "{older}");
    let stranger = kept(lab.fetch(&refresher, list(&authority("Other CA"), 1)).await);
    assert!(matches!(stranger, FetchError::Stranger(_)), "{stranger}");
    let forged = kept(lab.fetch(&refresher, list(&authority("Test CA"), 1)).await);
    assert!(matches!(forged, FetchError::List(_)), "{forged}");
    let expired = kept(lab.fetch(&refresher, list(&lab.authority, 100)).await);
    assert!(matches!(expired, FetchError::Expired(_)), "{expired}");
    for rubbish in [Vec::new(), b"<html>".to_vec(), first.split_at(first.len() / 2).0.to_vec()] {
        assert!(matches!(kept(lab.fetch(&refresher, rubbish).await), FetchError::List(_)));
    }

    let newer = list(&lab.authority, 1);
    lab.fetch(&refresher, newer.clone()).await.unwrap();
    assert_eq!(std::fs::read(lab.file()).unwrap(), newer);
}

#[tokio::test]
async fn attack_a28_private_addresses_and_other_addresses_are_not_connected_to() {
    certs::install_provider();
    let lab = Lab::new();
    let refused = lab.refresher("").fetch(&lab.address).await.unwrap_err();
    assert!(matches!(refused, FetchError::Client(client::ClientError::NotAllowed { .. })), "{refused}");
    let elsewhere = lab.refresher("\"127.0.0.1\"").fetch("http://127.0.0.1:1/other.crl").await.unwrap_err();
    assert!(matches!(elsewhere, FetchError::Client(client::ClientError::NotAllowed { .. })), "{elsewhere}");
}

#[tokio::test]
async fn a_round_reports_each_source_and_fails_alone() {
    certs::install_provider();
    let lab = Lab::new();
    let mut refresher = lab.refresher("\"127.0.0.1\"");
    lab.answers.send(list(&lab.authority, 1)).unwrap();
    refresher.round().await;
    let report = std::fs::read_to_string(lab.folder.path().join("refresh/state.json")).unwrap();
    assert!(report.contains("last-success") && report.contains("test.crl"), "{report}");
    assert_eq!(refresher.pause, Some(refresher.interval));
}

#[test]
fn file_names_are_safe_and_differ() {
    let names =
        ["http://a.example/x.crl", "http://b.example/x.crl", "http://a.example/../../etc/passwd", "http://a.example/"];
    let found: Vec<String> = names.iter().map(|name| file_name(name)).collect();
    assert!(found.iter().all(|name| !name.contains(['/', '.', '\\']) || name.matches('.').count() == 1), "{found:?}");
    assert_eq!(found.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
}
