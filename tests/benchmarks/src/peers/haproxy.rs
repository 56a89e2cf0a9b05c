//! haproxy.

use super::Site;
use crate::pki::ISSUER;

pub(super) fn configuration(site: &Site<'_>) -> String {
    format!(
        r#"global
    nbthread {workers}
    maxconn 4096
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    timeout http-request 20s
    timeout http-keep-alive 75s

frontend partners
    bind 127.0.0.1:{port} ssl crt {both} ca-file {authorities} verify required alpn h2,http/1.1
    http-request deny deny_status 403 unless {{ ssl_c_s_dn(C) -m str DE }} {{ ssl_c_i_dn(CN) -m str "{ISSUER}" }}
    http-request deny deny_status 403 unless {{ path_beg /fhir }}
    http-request set-header X-ClientCert %[ssl_c_der,base64]
    http-response set-header Strict-Transport-Security "max-age=63072000; includeSubDomains"
    default_backend engine

backend engine
    http-reuse always
    server engine unix@{upstream} pool-max-conn 64
"#,
        workers = site.workers,
        port = site.port,
        both = site.files.server_both.display(),
        authorities = site.files.authorities.display(),
        upstream = site.upstream.display(),
    )
}
