//! The kernel of the machine that runs the tests must have Landlock; where it lacks it, the tests say so and fail, because
//! nothing of what they hold would be shown.

use std::path::Path;

use super::{Access, Attempt, ConfineError, Layer, Network, Outcome, Profile, probe, prove, wait_until_alone};

fn outcomes(profile: &Profile, attempts: &[Attempt]) -> Vec<(String, Outcome, Outcome)> {
    let (confinement, tried) = prove(profile, attempts).unwrap();
    assert!(confinement.holds(), "this kernel does not confine: {}", confinement.summary());
    tried.into_iter().map(|tried| (tried.attempt, tried.before, tried.after)).collect()
}

#[test]
fn what_is_granted_works_and_its_neighbour_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own"), folder.path().join("other"));
    for path in [&own, &other] {
        std::fs::create_dir(path).unwrap();
        std::fs::write(path.join("file"), "x").unwrap();
    }
    let profile = Profile::new(Network::Inherited).with(&own, Access::Write);
    let attempts = [&own, &other].map(|path| {
        [
            Attempt::Read(path.join("file")),
            Attempt::Change(path.join("file")),
            Attempt::Create(path.clone()),
            Attempt::List(path.clone()),
        ]
    });
    let found = outcomes(&profile, &attempts.concat());
    assert!(found.iter().all(|(_, before, _)| *before == Outcome::Allowed), "{found:#?}");
    let after: Vec<Outcome> = found.iter().map(|(_, _, after)| *after).collect();
    assert_eq!(after, [[Outcome::Allowed; 4], [Outcome::Refused; 4]].concat(), "{found:#?}");
}

#[test]
fn reading_grants_no_writing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let profile = Profile::new(Network::Inherited).with(folder.path(), Access::Read);
    let attempts = [Attempt::Read(file.clone()), Attempt::Change(file), Attempt::Create(folder.path().to_owned())];
    let after: Vec<Outcome> = outcomes(&profile, &attempts).into_iter().map(|(_, _, after)| after).collect();
    assert_eq!(after, [Outcome::Allowed, Outcome::Refused, Outcome::Refused]);
}

#[test]
fn without_network_nothing_but_unix_sockets_is_left() {
    let attempts = [Attempt::Connect, Attempt::Listen, Attempt::Datagram, Attempt::Execute, Attempt::Signal];
    let found = outcomes(&Profile::new(Network::Inherited), &attempts);
    let expected = (Outcome::Allowed, Outcome::Refused);
    assert!(found.iter().all(|(_, before, after)| (*before, *after) == expected), "{found:#?}");
}

#[test]
fn with_outgoing_network_no_port_is_opened_and_no_program_started() {
    let attempts = [Attempt::Connect, Attempt::Listen, Attempt::Execute, Attempt::Signal];
    let found = outcomes(&Profile::new(Network::Outgoing), &attempts);
    let after: Vec<Outcome> = found.iter().map(|(_, _, after)| *after).collect();
    assert_eq!(after, [Outcome::Allowed, Outcome::Refused, Outcome::Refused, Outcome::Refused], "{found:#?}");
}

#[test]
fn only_named_ports_are_connected_to() {
    let profile = Profile::new(Network::Outgoing).with_ports(vec![443]);
    assert_eq!(outcomes(&profile, &[Attempt::Connect])[0].2, Outcome::Refused);
}

#[test]
fn names_are_resolved_and_threads_started_within() {
    let profile = Profile::new(Network::Outgoing).with_name_resolution();
    let confined = std::thread::spawn(move || {
        super::apply(&profile).unwrap();
        let thread = std::thread::spawn(|| std::net::ToSocketAddrs::to_socket_addrs("localhost:1").unwrap().count());
        thread.join().unwrap()
    });
    assert!(confined.join().unwrap() > 0);
}

#[test]
fn a_trial_leaves_the_process_as_it_was() {
    let confinement = probe(&Profile::new(Network::Inherited), true).unwrap();
    assert_eq!(confinement.system_calls, Layer::Enforced);
    assert!(std::fs::read_dir("/").is_ok());
}

#[test]
fn a_folder_to_write_must_be_there_at_a_start() {
    let profile = Profile::new(Network::Inherited).with("/does/not/exist", Access::Write);
    assert!(super::in_thread(|| super::apply(&profile)).unwrap_err().to_string().contains("/does/not/exist"));
    // A trial before the first start does without.
    assert!(probe(&profile, true).is_ok());
}

#[test]
fn a_key_beside_the_key_of_another_is_granted_alone() {
    let root = Path::new("/node");
    let (own, other) = (Path::new("/node/certificates/server.key"), Path::new("/node/certificates/client.key"));
    let granted = |file: &Path, strangers: &[&Path]| {
        let profile = Profile::new(Network::Inherited).with_file(root, file, strangers);
        profile.grants[0].0.display().to_string()
    };
    assert_eq!(granted(own, &[]), "/node/certificates");
    assert_eq!(granted(own, &[other]), "/node/certificates/server.key");
    assert_eq!(granted(own, &[Path::new("/node/certificates/deeper/client.key")]), "/node/certificates/server.key");
    assert_eq!(granted(Path::new("/node/key.pem"), &[]), "/node/key.pem");
    assert_eq!(granted(Path::new("/etc/ssl/key.pem"), &[]), "/etc/ssl/key.pem");
    assert_eq!(granted(Path::new("/node/../etc/key.pem"), &[]), "/node/../etc/key.pem");
}

#[test]
fn a_thread_that_ends_is_awaited_and_one_that_stays_is_an_error() {
    let mut counts = [3, 2, 1].into_iter();
    assert!(wait_until_alone(|| Ok(counts.next().unwrap())).is_ok(), "threads that were joined leave the list");
    assert!(matches!(wait_until_alone(|| Ok(2)), Err(ConfineError::Threads(2))));
    let unreadable = || Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    assert!(matches!(wait_until_alone(unreadable), Err(ConfineError::Uncounted(_))), "not to know is no permission");
    assert!(matches!(wait_until_alone(|| Ok(0)), Err(ConfineError::Threads(0))), "a list without this thread is none");
}
