//! Apache httpd, as DSF's proxy configures it (`access-and-edge.md` 1.2).

use super::{REQUESTS_PER_CONNECTION, Site, USER};
use crate::pki::ISSUER;

/// Where Debian keeps the modules.
const MODULES: &str = "/usr/lib/apache2/modules";

pub(super) fn configuration(site: &Site<'_>) -> String {
    let modules: String =
        ["mpm_event", "authz_core", "headers", "proxy", "proxy_http", "reqtimeout", "socache_shmcb", "ssl", "http2"]
            .iter()
            .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
            .collect();
    let user = if site.is_root { format!("User {USER}\nGroup {USER}\n") } else { String::new() };
    let threads = 64;
    format!(
        r#"{modules}
{user}ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile "{folder}/httpd.pid"
ServerName localhost
ServerTokens Prod
ErrorLog "{folder}/error.log"
LogLevel warn
Listen 127.0.0.1:{port}
ListenBacklog 1024

StartServers {workers}
ServerLimit {workers}
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {all_threads}
MinSpareThreads 1
MaxSpareThreads {all_threads}
AsyncRequestWorkerFactor 32

KeepAlive On
KeepAliveTimeout 75
MaxKeepAliveRequests {REQUESTS_PER_CONNECTION}
Protocols h2 http/1.1
H2MaxSessionStreams 100

SSLSessionCache "shmcb:{folder}/ssl_cache(512000)"
SSLSessionCacheTimeout 300
SSLProtocol all -SSLv3 -TLSv1 -TLSv1.1
SSLHonorCipherOrder on

<Location "/">
    Require all denied
</Location>

<VirtualHost 127.0.0.1:{port}>
    SSLEngine on
    SSLCertificateFile "{chain}"
    SSLCertificateKeyFile "{key}"
    SSLCACertificateFile "{authorities}"
    SSLVerifyClient require
    SSLVerifyDepth 3
    SSLOptions +ExportCertData
    Header always set Strict-Transport-Security "max-age=63072000; includeSubDomains"
    RequestHeader unset Proxy early
    RequestHeader set X-ClientCert ""
    RequestHeader set X-Forwarded-Proto expr=%{{REQUEST_SCHEME}}
    ProxyTimeout 60
    <Location "/fhir">
        <RequireAll>
            Require expr %{{SSL_CLIENT_S_DN_C}} in {{'DE'}}
            Require expr %{{SSL_CLIENT_I_DN_CN}} in {{'{ISSUER}', 'GEANT TLS RSA 1'}}
        </RequireAll>
        RequestHeader set X-ClientCert %{{SSL_CLIENT_CERT}}s
        ProxyPass "unix:{upstream}|http://localhost/fhir" enablereuse=on max={threads}
    </Location>
</VirtualHost>
"#,
        folder = site.folder.display(),
        port = site.port,
        workers = site.workers,
        all_threads = site.workers * threads,
        chain = site.files.server_chain.display(),
        key = site.files.server_key.display(),
        authorities = site.files.authorities.display(),
        upstream = site.upstream.display(),
    )
}
