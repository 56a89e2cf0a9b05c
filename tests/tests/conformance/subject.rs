//! The node under test and its five clients.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use certs::development::{Authority, KeyType, Subject as Name, Validity};
use serde_json::Value;
use tests::guard::Guard;
use tests::network::{folder, free_ports, run_node_and_remove};
use tests::{Client, Pair, Schleuse};
use tokio::sync::OnceCell;

use crate::{partner, seed};

/// The clients of the reference's integration tests, and what is asked for beside FHIR.
pub(crate) struct Subject {
    /// Base URL.
    pub(crate) base: String,
    /// URL of the status listener.
    pub(crate) status: Option<String>,
    /// The own organisation.
    pub(crate) loc: Client,
    /// The other organisation.
    pub(crate) ext: Client,
    /// A practitioner, `DIC_USER`.
    pub(crate) pra: Client,
    /// An administrator, `DSF_ADMIN`.
    pub(crate) adm: Client,
    /// A practitioner who may only use Tasks and questionnaires.
    pub(crate) min: Client,
    /// Nobody.
    pub(crate) nobody: Client,
    pub(crate) folder: PathBuf,
    /// Only of an own node: its directory and its processes.
    pub(crate) own: Option<Own>,
}

/// A node that the suite runs.
pub(crate) struct Own {
    pub(crate) directory: PathBuf,
    pub(crate) guard: Guard,
}

/// A node that is not running.
pub(crate) struct Prepared {
    pub(crate) directory: PathBuf,
    base: String,
    management: u16,
}

/// The files of everybody, made once per run.
struct Certificates {
    folder: PathBuf,
    /// Removes them when the test program has ended.
    _guard: Option<Guard>,
}

/// URL of a PostgreSQL server without TLS.
pub(crate) const POSTGRESQL: &str = "SCHLEUSE_TEST_POSTGRES";
/// `postgresql` in the run that judges nodes on PostgreSQL.
pub(crate) const STORE: &str = "SCHLEUSE_CONFORMANCE_STORE";

const CLIENTS: [&str; 5] = ["loc", "ext", "pra", "adm", "min"];

/// The node that the tests share.
pub(crate) async fn shared() -> &'static Subject {
    static SHARED: OnceCell<Subject> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            match std::env::var("SCHLEUSE_CONFORMANCE_TARGET") {
                Ok(base) => foreign(&base),
                Err(_) => own().await,
            }
        })
        .await
}

/// A node that the tests share and to which none writes: cases that count everything.
pub(crate) async fn untouched() -> &'static Subject {
    static UNTOUCHED: OnceCell<Subject> = OnceCell::const_new();
    if is_foreign() {
        return shared().await;
    }
    UNTOUCHED.get_or_init(own).await
}

/// Whether a node of somebody else is judged.
pub(crate) fn is_foreign() -> bool {
    std::env::var_os("SCHLEUSE_CONFORMANCE_TARGET").is_some()
}

/// A node of the suite's own.
pub(crate) async fn own() -> Subject {
    let place = folder().keep();
    prepare(&place).start(Some(&place)).await
}

/// A node's directory in `place`, ready to be started.
pub(crate) fn prepare(place: &Path) -> Prepared {
    let certificates = certificates();
    let directory = place.join("node");
    let (port, management) = free_ports();
    let base = format!("https://localhost:{port}/fhir");
    let (listen, manage) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{management}"));
    let arguments = [
        "init".as_ref(),
        directory.as_os_str(),
        "--organization-identifier".as_ref(),
        seed::LOCAL.as_ref(),
        "--base-url".as_ref(),
        OsStr::new(&base),
        "--listen".as_ref(),
        OsStr::new(&listen),
        "--management".as_ref(),
        OsStr::new(&manage),
        "--development-certificates".as_ref(),
        certificates.folder.as_os_str(),
    ];
    Schleuse::run(&arguments).expect(0);
    for name in ["pem", "key"] {
        let file = directory.join(format!("certificates/client.{name}"));
        std::fs::copy(certificates.folder.join(format!("loc.{name}")), file).unwrap();
    }
    edit(
        &directory.join("node.toml"),
        &[
            ("processes = \"installed\"", "processes = \"none\""),
            ("# initial-bundle = \"initial-bundle.xml\"", "initial-bundle = \"initial-bundle.json\""),
            (&format!("dsf.{}", seed::LOCAL), seed::LOCAL_ENDPOINT),
        ],
    );
    if let Some(store) = database() {
        edit(&directory.join("node.toml"), &[("\"sqlite:data/engine.db\"", &store)]);
    }
    let prepared = Prepared { directory, base, management };
    prepared.write_bundle(&prepared.bundle());
    let identity = prepared.directory.join("policies/identity.toml");
    let persons = std::fs::read_to_string(&identity).unwrap() + &certificates.persons();
    std::fs::write(identity, persons).unwrap();
    prepared
}

impl Prepared {
    /// The seed of this node.
    pub(crate) fn bundle(&self) -> Value {
        seed::bundle(&self.base, &|name| certificates().thumbprint(name), partner::port())
    }

    /// Makes another Bundle the initial one.
    pub(crate) fn write_bundle(&self, bundle: &Value) {
        std::fs::write(self.directory.join("initial-bundle.json"), bundle.to_string()).unwrap();
    }

    /// Runs the node; `remove` goes away with it.
    pub(crate) async fn start(&self, remove: Option<&Path>) -> Subject {
        // What a run before this one said.
        let _ = std::fs::remove_dir_all(self.directory.with_extension("notes"));
        let guard = run_node_and_remove(&self.directory, self.management, remove).await;
        Subject {
            status: Some(format!("http://127.0.0.1:{}", self.management)),
            own: Some(Own { directory: self.directory.clone(), guard }),
            ..with_clients(self.base.clone(), certificates().folder.clone())
        }
    }
}

/// `[store]` of one node in PostgreSQL, with a schema of its own; none if it stores in a file.
fn database() -> Option<String> {
    if !is_on_postgresql() {
        return None;
    }
    let url = std::env::var(POSTGRESQL).unwrap_or_else(|_| panic!("{POSTGRESQL} is not set"));
    let schema = uuid::Uuid::new_v4().simple();
    Some(format!("\"{url}\"\nschema = \"conformance_{schema}\"\ntls = \"disable\""))
}

/// Whether own nodes store in PostgreSQL.
pub(crate) fn is_on_postgresql() -> bool {
    std::env::var_os(STORE).is_some_and(|store| store == "postgresql")
}

fn edit(path: &Path, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{} has no {from}", path.display());
        text = text.replace(from, to);
    }
    std::fs::write(path, text).unwrap();
}

fn foreign(base: &str) -> Subject {
    let folder = std::env::var_os("SCHLEUSE_CONFORMANCE_FOLDER").map(PathBuf::from);
    let folder = folder.expect("SCHLEUSE_CONFORMANCE_FOLDER names the folder of the clients' certificates");
    if !folder.join("loc.pem").is_file() {
        let certificates = Certificates::make(folder.clone());
        let bundle = seed::bundle(base, &|name| certificates.thumbprint(name), partner::port());
        std::fs::write(folder.join("bundle.json"), format!("{bundle:#}")).unwrap();
        std::fs::write(folder.join("persons.toml"), certificates.persons()).unwrap();
        panic!(
            "wrote an authority, certificates and the seed to {}; set the node up with them and run again",
            folder.display()
        );
    }
    partner::start(&folder);
    let status = std::env::var("SCHLEUSE_CONFORMANCE_STATUS").ok();
    Subject { status, ..with_clients(base.to_owned(), folder) }
}

fn with_clients(base: String, folder: PathBuf) -> Subject {
    let authority = folder.join("ca.pem");
    let client = |name: &str| Client::new(&base, &authority, Some(&pair(&folder, name)));
    let [loc, ext, pra, adm, min] = CLIENTS.map(client);
    let nobody = Client::new(&base, &authority, None);
    Subject { status: None, loc, ext, pra, adm, min, nobody, own: None, base, folder }
}

fn pair(folder: &Path, name: &str) -> Pair {
    Pair { certificate: folder.join(format!("{name}.pem")), private_key: folder.join(format!("{name}.key")) }
}

fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let place = folder().keep();
        let guard = Guard::start(&place, Some(&place), &["sleep", "infinity"].map(OsStr::new));
        let certificates = Certificates { _guard: Some(guard), ..Certificates::make(place.join("certificates")) };
        partner::start(&certificates.folder);
        certificates
    })
}

impl Certificates {
    fn make(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let validity = Validity::days(time::OffsetDateTime::now_utc(), 30);
        let name = Name::german("Conformance", "Conformance Authority");
        let authority = Authority::root(&name, KeyType::EcdsaP256, validity).unwrap();
        std::fs::write(folder.join("ca.pem"), authority.certificate_pem()).unwrap();
        std::fs::write(folder.join("ca.key"), authority.private_key_pem()).unwrap();
        for name in ["loc", "ext", "new"] {
            let subject = Name::german(name, name);
            let issued = authority.issue_organization(&subject, &[], KeyType::EcdsaP256, validity).unwrap();
            let _ = Pair::write(&folder, name, &issued);
        }
        for name in ["pra", "adm", "min"] {
            let subject = Name::german("Test", name).with_email(&seed::person(name));
            let _ =
                Pair::write(&folder, name, &authority.issue_person(&subject, KeyType::EcdsaP256, validity).unwrap());
        }
        let subject = Name::german("Partner", "localhost");
        let issued = authority.issue_server(&subject, &["localhost"], KeyType::EcdsaP256, validity).unwrap();
        let _ = Pair::write(&folder, "partner", &issued);
        Self { folder, _guard: None }
    }

    fn thumbprint(&self, name: &str) -> String {
        thumbprint(&self.folder, name)
    }

    /// The persons as `policies/identity.toml` names them.
    fn persons(&self) -> String {
        let all = r#"["CREATE", "READ", "UPDATE", "DELETE", "SEARCH", "HISTORY"]"#;
        let few = r#"["CREATE[Task]", "READ[Task, Questionnaire, QuestionnaireResponse]", "SEARCH[Task, Questionnaire, QuestionnaireResponse]", "HISTORY[Task, Questionnaire, QuestionnaireResponse]", "UPDATE[QuestionnaireResponse]"]"#;
        let person = |name: &str, roles: &str, role: &str| {
            let thumbprint = self.thumbprint(name);
            format!(
                "\n[[identity.person]]\nid = \"{name}\"\nthumbprint = [\"{thumbprint}\"]\ndsf-role = {roles}\npractitioner-role = [\"http://dsf.dev/fhir/CodeSystem/practitioner-role|{role}\"]\n"
            )
        };
        person("pra", all, "DIC_USER") + &person("adm", all, "DSF_ADMIN") + &person("min", few, "DIC_USER")
    }
}

fn thumbprint(folder: &Path, name: &str) -> String {
    let bytes = std::fs::read(folder.join(format!("{name}.pem"))).unwrap();
    certs::read_certificates(&bytes, name).unwrap()[0].thumbprint().to_owned()
}

// === impl Subject ===

impl Subject {
    /// Thumbprint of a client's certificate; `new` is nobody's yet.
    pub(crate) fn thumbprint(&self, name: &str) -> String {
        thumbprint(&self.folder, name)
    }

    /// A client with the certificate that nobody has yet.
    pub(crate) fn newcomer(&self) -> Client {
        Client::new(&self.base, &self.folder.join("ca.pem"), Some(&pair(&self.folder, "new")))
    }

    /// Stores a resource as the own organisation and gives its id.
    #[track_caller]
    pub(crate) fn create<'a>(&'a self, resource: &'a Value) -> impl Future<Output = String> + 'a {
        create(&self.loc, resource)
    }

    /// Id of a resource of the seed.
    pub(crate) async fn id_of(&self, resource_type: &str, query: &str) -> String {
        let found = self.loc.get(&format!("/{resource_type}?{query}")).await.expect(200).json();
        assert_eq!(found["total"], 1, "{resource_type}?{query}: {found:#}");
        found["entry"][0]["resource"]["id"].as_str().unwrap().to_owned()
    }

    /// The own organisation's or another one's id.
    pub(crate) async fn organization(&self, identifier: &str) -> String {
        self.id_of("Organization", &format!("identifier=http://dsf.dev/sid/organization-identifier%7C{identifier}"))
            .await
    }

    pub(crate) async fn endpoint(&self, identifier: &str) -> String {
        self.id_of("Endpoint", &format!("identifier=http://dsf.dev/sid/endpoint-identifier%7C{identifier}")).await
    }

    /// Sends a Bundle of entries.
    pub(crate) async fn bundle(&self, client: &Client, kind: &str, entries: &[Value]) -> tests::Answer {
        client.post("", &serde_json::json!({ "resourceType": "Bundle", "type": kind, "entry": entries })).await
    }
}

/// Stores a resource and gives its id.
pub(crate) async fn create(client: &Client, resource: &Value) -> String {
    let path = format!("/{}", resource["resourceType"].as_str().unwrap());
    client.post(&path, resource).await.expect(201).created_id()
}

/// `total` of a search.
pub(crate) async fn total(client: &Client, target: &str) -> u64 {
    client.get(target).await.expect(200).json()["total"].as_u64().unwrap()
}
