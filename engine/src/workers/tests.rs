use std::path::Path;
use std::time::Instant;

use certs::development::{Authority, KeyType, Subject, Validity};
use fhir::{Object, Resource};
use hyper::client::conn::http1;
use node::{KeyPair, WorkerCredential};
use processes::{LocalNode, package, task, terms};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use store::StoreOptions;
use tokio_rustls::TlsConnector;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

const MODEL: &str = r##"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">
  <process id="testorg_images" isExecutable="true" camunda:versionTag="#{version}"><startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
  <sequenceFlow id="f1" sourceRef="start" targetRef="do"/><serviceTask id="do" camunda:type="external" camunda:topic="images"/>
  <sequenceFlow id="f2" sourceRef="do" targetRef="check"/><exclusiveGateway id="check" default="f4"/>
  <sequenceFlow id="f3" sourceRef="check" targetRef="end"><conditionExpression>${found &gt; 2}</conditionExpression></sequenceFlow>
  <sequenceFlow id="f4" sourceRef="check" targetRef="bad"/><endEvent id="end"/>
  <endEvent id="bad"><errorEventDefinition errorRef="e"/></endEvent></process><message id="m" name="m"/><error id="e" errorCode="few"/></definitions>"##;

struct World {
    directory: tempfile::TempDir,
    authority: Authority,
    store: Store,
    runtime: Arc<Runtime>,
    address: std::net::SocketAddr,
    _stop: watch::Sender<bool>,
}

fn write(directory: &Path, name: &str, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

impl World {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let validity = Validity::days(time::OffsetDateTime::now_utc(), 30);
        let authority = Authority::root(&Subject::german("Test", "Test Root"), KeyType::EcdsaP256, validity).unwrap();
        let server =
            authority.issue_server(&Subject::german("Test", "localhost"), &[], KeyType::EcdsaP256, validity).unwrap();
        let client = authority
            .issue_person(
                &Subject::german("Test", "Worker").with_email("worker@test.org"),
                KeyType::EcdsaP256,
                validity,
            )
            .unwrap();
        write(at, "client.pem", &client.chain_pem());
        write(at, "client.key", client.private_key_pem());
        write(at, "plugins/images/plugin.toml", "version = \"1.0\"");
        write(at, "plugins/images/bpe/images.bpmn", MODEL);
        let thumbprint = certs::Credentials::load(&at.join("client.pem"), &at.join("client.key")).unwrap();
        let thumbprint = thumbprint.certificate().thumbprint().parse().unwrap();
        let settings = ExternalWorkers {
            listen: "127.0.0.1:0".parse().unwrap(),
            certificate: KeyPair {
                certificate: write(at, "server.pem", &server.chain_pem()),
                private_key: write(at, "server.key", server.private_key_pem()),
            },
            client_authorities: vec![write(at, "root.pem", &authority.certificate_pem())],
            credentials: vec![
                WorkerCredential {
                    name: "imaging".to_owned(),
                    topics: vec!["images".to_owned()],
                    proof: WorkerProof::TokenFile(write(at, "token", TOKEN)),
                },
                WorkerCredential {
                    name: "other".to_owned(),
                    topics: vec!["other".to_owned()],
                    proof: WorkerProof::Thumbprint(thumbprint),
                },
            ],
        };
        let store = store_testing::open(&at.join("engine.db"), StoreOptions::default()).await.unwrap();
        let node = LocalNode {
            organization_identifier: "a".to_owned(),
            endpoint_identifier: "a-endpoint".to_owned(),
            base_url: "https://a.example/fhir".to_owned(),
        };
        let found = package::load_all(&at.join("plugins")).unwrap();
        let runtime = Runtime::start_with(store.clone(), node, &[], &found, store.owner()).await.unwrap();
        let catalogue = runtime.catalogue();
        assert!(catalogue.refused().is_empty(), "{:?}", catalogue.refused());
        let runtime = Arc::new(runtime);
        let log = audit::Log::open(&at.join("engine.log"), audit::Options { file_bytes: 1 << 20 }).unwrap();
        let records = Records::new(Arc::new(log));
        let (stop, stopping) = watch::channel(false);
        let workers =
            Workers::new(bind(&settings).unwrap(), &settings, &runtime, &store, &records, stopping.clone()).unwrap();
        let address = workers.listener.local_addr().unwrap();
        tokio::spawn(workers.serve(stopping));
        Self { directory, authority, store, runtime, address, _stop: stop }
    }

    /// Starts an instance; gives its Task.
    async fn start(&self, key: &str) -> String {
        let mut built = Resource::new("Task");
        built.set("instantiatesCanonical", "http://test.org/bpe/Process/images|1.0");
        built.set("status", "requested");
        built.set("intent", "order");
        let party: Object = task::organization_reference("a");
        built.set("requester", party.clone());
        built.set("restriction", Object::new().with("recipient", vec![party.into()]));
        for (code, value) in [(terms::MESSAGE_NAME, "m"), (terms::BUSINESS_KEY, key)] {
            built.push("input", task::string_parameter(terms::BPMN_MESSAGE, code, value));
        }
        let runtime = Arc::clone(&self.runtime);
        let created = self.store.write(move |tx| {
            let created = tx.create(built, &uuid::Uuid::new_v4().to_string())?;
            runtime.accept(tx, &created.resource)?;
            Ok::<_, processes::ProcessError>(created.id)
        });
        created.await.unwrap()
    }

    async fn status(&self, task: &str) -> String {
        let id = task.to_owned();
        let task = self.store.read(move |tx| task::read(tx, &id)).await.unwrap().unwrap();
        task.str("status").unwrap().to_owned()
    }

    /// One request, with a token or with the client certificate.
    async fn ask(&self, token: Option<&str>, certificate: bool, path: &str, body: &Value) -> (u16, Value) {
        let mut roots = rustls::RootCertStore::empty();
        let root = certs::read_certificates(self.authority.certificate_pem().as_bytes(), "root").unwrap();
        roots.add(root[0].der().to_vec().into()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(certs::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let at = self.directory.path();
        let config = if certificate {
            let own = certs::Credentials::load(&at.join("client.pem"), &at.join("client.key")).unwrap();
            builder.with_client_auth_cert(own.chain_der(), own.key_der()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request =
            Request::builder().method("POST").uri(format!("/engine-rest{path}")).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn fetch(&self, wait: u64) -> (u16, Value) {
        let topics = json!([{ "topicName": "images", "lockDuration": 10_000 }]);
        let body = json!({ "workerId": "w1", "maxTasks": 10, "usePriority": true, "asyncResponseTimeout": wait, "topics": topics });
        self.ask(Some(TOKEN), false, "/external-task/fetchAndLock", &body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_fetches_completes_and_fails_as_operaton_answers_it() {
    let world = World::open().await;
    let task = world.start("A").await;
    let (status, fetched) = world.fetch(0).await;
    assert_eq!(status, 200);
    let found = &fetched[0];
    assert_eq!(
        (&found["topicName"], &found["businessKey"], &found["workerId"]),
        (&json!("images"), &json!("A"), &json!("w1"))
    );
    assert_eq!((&found["activityId"], &found["processDefinitionKey"]), (&json!("do"), &json!("testorg_images")));
    let id = found["id"].as_str().unwrap();
    let late = json!({ "workerId": "w2", "variables": {} });
    let (status, refused) = world.ask(Some(TOKEN), false, &format!("/external-task/{id}/complete"), &late).await;
    assert_eq!((status, refused["type"].as_str()), (400, Some("InvalidRequestException")), "{refused}");
    let extend = json!({ "workerId": "w1", "newDuration": 20_000 });
    assert_eq!(world.ask(Some(TOKEN), false, &format!("/external-task/{id}/extendLock"), &extend).await.0, 204);
    let failure = json!({ "workerId": "w1", "errorMessage": "no disk", "errorDetails": "trace", "retries": 1, "retryTimeout": 0 });
    assert_eq!(world.ask(Some(TOKEN), false, &format!("/external-task/{id}/failure"), &failure).await.0, 204);
    let (_, again) = world.fetch(1_000).await;
    assert_eq!((&again[0]["retries"], &again[0]["errorMessage"]), (&json!(1), &json!("no disk")));
    let done = json!({ "workerId": "w1", "variables": { "found": { "value": 3, "type": "Integer" } } });
    assert_eq!(world.ask(Some(TOKEN), false, &format!("/external-task/{id}/complete"), &done).await.0, 204);
    assert_eq!(world.status(&task).await, "completed");
    let (status, gone) = world.ask(Some(TOKEN), false, &format!("/external-task/{id}/complete"), &done).await;
    assert_eq!((status, gone["type"].as_str()), (404, Some("RestException")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_a_task_and_not_longer_than_it_asks() {
    let world = World::open().await;
    let begun = Instant::now();
    assert_eq!(world.fetch(300).await, (200, json!([])));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let (fetched, task) = tokio::join!(world.fetch(30_000), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.start("A").await
    });
    assert_eq!(fetched.1.as_array().map(Vec::len), Some(1), "it came while the request waited");
    assert_eq!(world.status(&task).await, "in-progress");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_open_their_topics_alone() {
    let world = World::open().await;
    world.start("A").await;
    let topics =
        json!([{ "topicName": "images", "lockDuration": 10_000 }, { "topicName": "other", "lockDuration": 10_000 }]);
    let body = json!({ "workerId": "w1", "maxTasks": 10, "topics": topics });
    for token in [None, Some("wrong"), Some("0123456789abcdef0123456789abcdeF")] {
        assert_eq!(world.ask(token, false, "/external-task/fetchAndLock", &body).await, (401, Value::Null));
    }
    let (status, none) = world.ask(None, true, "/external-task/fetchAndLock", &body).await;
    assert_eq!((status, none), (200, json!([])), "the certificate is good for another topic");
    let (_, fetched) = world.ask(Some(TOKEN), false, "/external-task/fetchAndLock", &body).await;
    let id = fetched[0]["id"].as_str().unwrap();
    let unlock = format!("/external-task/{id}/unlock");
    assert_eq!(world.ask(None, true, &unlock, &json!({})).await.0, 404, "for others it does not exist");
    assert_eq!(world.ask(Some(TOKEN), false, &unlock, &json!({})).await.0, 204);
    for (path, body) in [
        ("/external-task/fetchAndLock", json!({ "workerId": "", "maxTasks": 1 })),
        ("/external-task/fetchAndLock", json!({ "maxTasks": 1 })),
        (
            "/external-task/fetchAndLock",
            json!({ "workerId": "w", "maxTasks": 1, "topics": [{ "topicName": "images", "lockDuration": 0 }] }),
        ),
        (
            "/external-task/fetchAndLock",
            json!({ "workerId": "w", "maxTasks": 1, "topics": [{ "topicName": "images", "lockDuration": 1, "processVariables": { "a": 1 } }] }),
        ),
        (
            unlock.replace("unlock", "complete").as_str(),
            json!({ "workerId": "w1", "variables": { "a": { "type": "file" } , "b": { "type": "bytes", "value": "x" } } }),
        ),
    ] {
        assert_eq!(world.ask(Some(TOKEN), false, path, &body).await.0, 400, "{path} {body}");
    }
    for path in ["/task", "/external-task/x/complete/y", "/../fhir/Task", "/external-task/a%2Fb/complete"] {
        assert_eq!(world.ask(Some(TOKEN), false, path, &json!({})).await.0, 404, "{path}");
    }
}
