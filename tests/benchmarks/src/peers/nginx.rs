//! nginx.

use super::{REQUESTS_PER_CONNECTION, Site, USER};
use crate::pki::ISSUER;

pub(super) fn configuration(site: &Site<'_>) -> String {
    let user = if site.is_root { format!("user {USER};\n") } else { String::new() };
    let folder = site.folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {folder}/{name};\n"))
        .collect();
    format!(
        r#"daemon off;
{user}worker_processes {workers};
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    server_tokens off;
    keepalive_timeout 75s;
    keepalive_requests {REQUESTS_PER_CONNECTION};
    client_header_timeout 20s;
{temporary}
    map "$ssl_client_s_dn|$ssl_client_i_dn" $is_admitted {{
        default 0;
        "~(^|,)C=DE(,[^|]*)?\|(.*,)?CN={ISSUER}(,|$)" 1;
    }}
    upstream engine {{
        server unix:{upstream};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=1024;
        server_name localhost;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_client_certificate {authorities};
        ssl_verify_client on;
        ssl_verify_depth 3;
        ssl_protocols TLSv1.2 TLSv1.3;
        add_header Strict-Transport-Security "max-age=63072000; includeSubDomains" always;
        location /fhir {{
            if ($is_admitted = 0) {{ return 403; }}
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_buffers 8 32k;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-ClientCert $ssl_client_escaped_cert;
        }}
    }}
}}
"#,
        workers = site.workers,
        upstream = site.upstream.display(),
        port = site.port,
        chain = site.files.server_chain.display(),
        key = site.files.server_key.display(),
        authorities = site.files.authorities.display(),
    )
}
