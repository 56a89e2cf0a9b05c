//! The commented `node.toml` that `schleuse init` writes. A test reads the text back with [`crate::load`], so that the
//! template cannot drift from what the programs accept.

/// What a new node is called and where it listens.
#[derive(Clone, Debug)]
pub struct Template {
    /// DSF organisation identifier: by convention the shortest domain name of the home page.
    pub organization_identifier: String,
    /// The address that partners use, as in `Endpoint.address`: https, ends in `/fhir`.
    pub base_url: String,
    /// Identifier of the node's endpoint: by convention its domain name.
    pub endpoint_identifier: String,
    /// Local address of the gateway.
    pub listen: String,
    /// Local address of health, readiness and metrics.
    pub management: String,
}

/// The text of `node.toml`.
#[must_use]
pub fn node_toml(template: &Template) -> String {
    let Template { organization_identifier, base_url, endpoint_identifier, listen, management } = template;
    format!(
        r##"# Settings of this Schleuse node, for its administrator. What partners may do is not decided here but in policies/.
# Paths are relative to the directory of this file. Check changes with `schleuse check`, apply them by a restart;
# certificates, trust stores and policies are also read again on SIGHUP.

[node]
# Identifier of your organisation in the Data Sharing Framework, by convention the domain of your home page.
organization-identifier = {organization}
# The address at which partners reach this node. It is stored in resources and in the allow-list: choose it for good.
base-url = {base_url}
# Identifier of this node's Endpoint resource, by convention its domain name.
endpoint-identifier = {endpoint}
# Whether the processes must be able to confine themselves with the help of the kernel (Landlock, seccomp). "required",
# which is also meant when the key is missing, refuses a start without; "best-effort" starts and reports what is missing.
sandbox = "required"
# The gateway's user, where it is another than the engine's (the package and the appliance set it).
# gateway-user = "schleuse-gateway"

[listen]
# Where the gateway accepts partners. The only port that a firewall may let through.
address = {listen}

[certificates]
# The server certificate names the host of base-url; the client certificate is your organisation's identity at partners.
# PEM files, leaf first, then its issuing authorities; keys without a password.
server = {{ certificate = "certificates/server.pem", private-key = "certificates/server.key" }}
client = {{ certificate = "certificates/client.pem", private-key = "certificates/client.key" }}

[trust-stores]
# Authorities whose client certificates may connect, and authorities that partners' servers are checked against.
client = ["trust/client-authorities.pem"]
server = ["trust/server-authorities.pem"]

[revocation]
# Certificate revocation lists of those authorities. Whether they are checked says policies/trust.toml. schleuse-refresh
# fetches the lists of these addresses (http or https) into the folder crl/ and connects nowhere else; other lists can be
# put there by hand.
sources = []
interval = "6h"

[store]
# SQLite in this directory; nothing to install, one engine.
url = "sqlite:data/engine.db"
# PostgreSQL (13 or newer, UTF8), for several engines on one database, each with a directory of its own and the same
# [node]. The schema is made if the user may; the password stands alone in a file of mode 600, never in the URL.
# url = "postgres://schleuse@db.hospital.example:5432/schleuse"
# schema = "schleuse"
# password-file = "store.password"
# TLS is required unless tls = "disable", which is for this machine: url = "postgres://USER@/DATABASE?host=/run/postgresql"
# tls-authorities = ["trust/store-authorities.pem"]

[outgoing]
connect-timeout = "5s"
read-timeout = "60s"
# A forward proxy, if your network needs one:
# proxy = {{ url = "http://proxy.example:3128", username = "schleuse", password-file = "proxy.password", exceptions = ["partner.example"] }}

[management]
# /health, /ready and /metrics. Loopback only: this listener has no authentication.
address = {management}

[workers]
gateway = 2
engine = 2
# Workers of this hospital that do steps of processes (Operaton's external tasks, base path /engine-rest). Never the
# partner port; each credential is good for the topics that it names.
# listen = "10.0.0.5:8443"
# certificate = "certificates/workers.pem"
# private-key = "certificates/workers.key"
# client-authorities = ["trust/workers.pem"]
# [[workers.credential]]
# name = "imaging"
# topics = ["pseudonymise-images"]
# token-file = "imaging.token"          # mode 600; or thumbprint = "<128 hexadecimal digits>"

[engine]
# "installed" runs the processes of this node; "none" leaves Tasks to an attached foreign engine.
processes = "installed"
# A batch or transaction Bundle (XML or JSON) that is carried out at the first start, and again whenever the file has
# changed: partners of an allow-list, resources of attached processes.
# initial-bundle = "initial-bundle.xml"
# A step that fails after its retries: "fail" ends its instance and Tasks, as DSF does; "incident" leaves it to an operator
# (`schleuse incident list`, `schleuse instance retry|resolve|cancel`).
# on-failure = "fail"
# [engine.process.dsfdev_ping]          # a built-in process that is to do the other; plug-ins say it in plugin.toml
# on-failure = "incident"
# Folder with process plug-ins: folders and DSF jars.
# plugins = "plugins"

# Security officers who sign the policy. Without this section the files in policies/ are obeyed as they are; with it only
# what so many of these officers have signed, see `schleuse policy sign --help`. Their certificates stand here and not in
# the policy, so that no policy can name its own officers.
# [officers]
# required = 2
# certificates = ["officers/first.pem", "officers/second.pem", "officers/third.pem"]

# The records of a data integration centre: a folder with .ndjson files (one resource a line) and .json Bundles. They are
# read, never written; `schleuse source index` makes the index, which holds data of patients and is for this user alone.
# [source]
# folder = "/srv/records"
# index = "data/source"
# Code trees in the form of the public mapping archive, for classifications whose codes do not show what is below them:
# code-tree = "code-tree.json"
# Counts that leave the site are noisy, rounded to tens, and 0 below five; false gives exact ones.
# obfuscate = true
# How many questions of one partner are answered in an hour.
# requests-per-hour = 999
# Servers of the hospital that count, beside the folder or instead of it; a count is the sum over all. kind: "fhir" (any
# FHIR R4 server, by search), "cql" (Measure/$evaluate-measure) or "flare". Who asks is proved by user and password-file,
# by token-file, by issuer, client and secret-file (OAuth 2.0 client credentials), or by certificate and private-key.
# [[source.server]]
# name = "records"
# kind = "fhir"
# url = "https://fhir.hospital.example/fhir"
# trust = ["trust/hospital.pem"]
# user = "schleuse"
# password-file = "records.password"    # mode 600
# timeout = "5m"

# What a data integration centre decides for every data set that is asked for, see docs/data-sharing.md.
# [data-sharing]
# A second person must confirm an approved extraction.
# four-eyes = true
# With fewer persons than this the site does not take part.
# minimum-cohort = 5

# Ended Tasks and answered user tasks go after this time, with all their versions. Not written: they stay.
# [retention]
# tasks = "730d"
# Versions of resources go so long after the next version has replaced them. The current one always stays.
# history = "730d"
# Ended process instances with their events, where the model does not say for how long; else thirty days.
# instances = "90d"
# Records of the audit log, when every sink of the policy has taken them; at least 90d. Not written: they stay.
# audit = "730d"

# Asking and answering how many patients belong to a cohort.
# [feasibility]
# Wire versions of the processes that partners use.
# versions = ["1.0"]
# How long a portal waits for a site, and how many sites there must be before any is asked.
# answer-time = "5m"
# minimum-sites = 1
# How many different questions of one portal a site answers in thirty days; repeated ones are free. Not written: 200.
# questions-per-month = 500
"##,
        organization = quoted(organization_identifier),
        base_url = quoted(base_url),
        endpoint = quoted(endpoint_identifier),
        listen = quoted(listen),
        management = quoted(management),
    )
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
