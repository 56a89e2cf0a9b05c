//! Users of the machine, by name or number.
//!
//! Read from `/etc/passwd` itself: the users of services stand there, and asking directories on the network for them would
//! make a start depend on the network.

use super::GatewayUser;

/// Where the users of services stand.
const PASSWD: &str = "/etc/passwd";

impl GatewayUser {
    /// Finds a user of this machine; a number need not have a name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let found = |uid| Some(Self { name: name.to_owned(), uid });
        match name.parse() {
            Ok(uid) => found(uid),
            Err(_) => found(number_of(name, &std::fs::read_to_string(PASSWD).ok()?)?),
        }
    }
}

fn number_of(name: &str, passwd: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_named = !name.is_empty() && fields.next() == Some(name);
        is_named.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nschleuse-gateway:x:998:997::/:/usr/sbin/nologin\nbroken\n:x:5:5\n";
        assert_eq!(number_of("schleuse-gateway", passwd), Some(998));
        assert_eq!(number_of("root", passwd), Some(0));
        for stranger in ["schleuse", "schleuse-gateway2", "broken", "", "x"] {
            assert_eq!(number_of(stranger, passwd), None, "{stranger}");
        }
    }

    #[test]
    fn a_number_needs_no_name() {
        assert_eq!(GatewayUser::find("4294967000").map(|user| user.uid), Some(4_294_967_000));
        assert_eq!(GatewayUser::find("no-such-user-here"), None);
    }
}
