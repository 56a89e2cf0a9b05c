use certs::Credentials;
use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use time::OffsetDateTime;

use super::*;
use crate::settings::OfficersSettings;

struct Lab {
    folder: tempfile::TempDir,
    officers: Officers,
    credentials: Vec<Credentials>,
}

const OWN: &str = "hospital.example";

fn tree() -> PolicyTree {
    vec![
        ("limits.toml".to_owned(), "schema = 1\n".to_owned()),
        ("rules.toml".to_owned(), "schema = 1\n# nobody may do anything\n".to_owned()),
    ]
}

impl Lab {
    /// Three officers, two of whom must sign.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let validity = Validity::days(now, 10);
        let authority = Authority::root(&Subject::german("Test", "Root"), KeyType::EcdsaP256, validity).unwrap();
        let mut lab = Self { folder, officers: Officers::default(), credentials: Vec::new() };
        let mut files = Vec::new();
        for (index, name) in ["First", "Second", "Third"].into_iter().enumerate() {
            let issued = authority.issue_person(&Subject::german("Test", name), KeyType::EcdsaP256, validity).unwrap();
            files.push(lab.add(index, &issued));
        }
        lab.officers = Officers::load(&OfficersSettings { required: 2, certificates: files }).unwrap();
        lab
    }

    /// Keeps the certificate and key of an officer; the file with the certificate.
    fn add(&mut self, index: usize, issued: &Issued) -> PathBuf {
        let path = self.folder.path().join(format!("{index}.pem"));
        std::fs::write(&path, issued.certificate_pem()).unwrap();
        let key = certs::read_private_key(issued.private_key_pem().as_bytes(), "key").unwrap();
        let own = certs::read_certificates(issued.certificate_pem().as_bytes(), "certificate").unwrap();
        self.credentials.push(Credentials::new(own, key, "certificate", "key").unwrap());
        path
    }

    fn sign(&self, signed: &mut SignedPolicy, officer: usize) {
        let now = OffsetDateTime::now_utc();
        let seal = Seal::make(&self.credentials[officer], SignedPurpose::Policy, &signed.content(), now).unwrap();
        signed.signatures.push(seal);
    }

    fn signed(&self, number: u64) -> SignedPolicy {
        let mut signed = SignedPolicy::new(OWN, number, &tree());
        self.sign(&mut signed, 0);
        self.sign(&mut signed, 2);
        signed
    }

    /// These of the officers, of whom as many must sign.
    fn some(&self, required: usize, which: &[usize]) -> Officers {
        let certificates = which.iter().map(|index| self.folder.path().join(format!("{index}.pem"))).collect();
        Officers::load(&OfficersSettings { required, certificates }).unwrap()
    }

    fn verify(&self, signed: &SignedPolicy) -> Result<SignedBy, SignedPolicyError> {
        signed.verify(OWN, &tree(), &self.officers)
    }
}

#[test]
fn enough_officers_make_a_policy_valid_for_one_node_one_number_and_one_tree() {
    let lab = Lab::new();
    let signed = lab.signed(7);
    let by = lab.verify(&signed).unwrap();
    assert_eq!((by.number, by.officers.len()), (7, 2));
    assert_eq!(SignedPolicy::parse(&signed.print()).unwrap(), signed);

    let mut alone = SignedPolicy::new(OWN, 7, &tree());
    lab.sign(&mut alone, 1);
    assert_eq!(lab.verify(&alone), Err(SignedPolicyError::TooFew { found: 1, required: 2 }));
    lab.sign(&mut alone, 1);
    let twice = lab.verify(&alone).unwrap_err();
    assert!(matches!(twice, SignedPolicyError::Seal { position: 2, problem: SealProblem::Twice, .. }), "{twice}");

    let elsewhere = signed.verify("other.example", &tree(), &lab.officers).unwrap_err();
    assert!(matches!(elsewhere, SignedPolicyError::Organization { .. }), "{elsewhere}");
    let renumbered = lab.verify(&SignedPolicy { number: 8, ..signed.clone() }).unwrap_err();
    assert!(matches!(renumbered, SignedPolicyError::Seal { position: 1, .. }), "{renumbered}");

    let stranger = Lab::new();
    let mut foreign = SignedPolicy::new(OWN, 7, &tree());
    lab.sign(&mut foreign, 0);
    stranger.sign(&mut foreign, 0);
    let refused = lab.verify(&foreign).unwrap_err();
    assert!(
        matches!(refused, SignedPolicyError::Seal { position: 2, problem: SealProblem::Stranger, .. }),
        "{refused}"
    );
}

/// Old and new certificate of one officer stand in `[officers]` together while one is replaced by the other.
#[test]
fn a_person_with_two_certificates_is_one_officer() {
    let folder = tempfile::tempdir().unwrap();
    let validity = Validity::days(OffsetDateTime::now_utc(), 10);
    let authority = Authority::root(&Subject::german("Test", "Root"), KeyType::EcdsaP256, validity).unwrap();
    let issue = |name| authority.issue_person(&Subject::german("Test", name), KeyType::EcdsaP256, validity).unwrap();
    let first = issue("First");
    let shouted = Subject::german("TEST", "  first");
    let same_key = authority.renew_person(&Subject::german("Test", "Married"), &first, validity).unwrap();
    let same_name = authority.issue_person(&shouted, KeyType::EcdsaP256, validity).unwrap();
    let people = [first, same_key, same_name, issue("Second")];
    let mut lab = Lab { folder, officers: Officers::default(), credentials: Vec::new() };
    let paths: Vec<PathBuf> = people.iter().enumerate().map(|(index, person)| lab.add(index, person)).collect();
    lab.officers = Officers::load(&OfficersSettings { required: 2, certificates: paths.clone() }).unwrap();

    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let mut signed = SignedPolicy::new(OWN, 7, &tree());
        lab.sign(&mut signed, one);
        lab.sign(&mut signed, other);
        let refused = lab.verify(&signed).unwrap_err();
        assert!(
            matches!(refused, SignedPolicyError::Seal { position: 2, problem: SealProblem::Twice, .. }),
            "{one} {other}: {refused}"
        );
        signed.signatures.pop();
        lab.sign(&mut signed, 3);
        assert_eq!(lab.verify(&signed).unwrap().officers.len(), 2, "the old certificate counts for what it has signed");
    }

    let alone = Officers::load(&OfficersSettings { required: 2, certificates: paths[..2].to_vec() }).unwrap_err();
    assert!(alone[0].to_string().contains("2 must sign, but the certificates are of 1"), "{alone:?}");
}

#[test]
fn every_flipped_bit_of_the_signatures_is_refused() {
    let lab = Lab::new();
    let text = lab.signed(7).print();
    for index in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let verified =
                String::from_utf8(bytes).ok().map(|text| SignedPolicy::parse(&text).map(|it| lab.verify(&it)));
            assert!(!matches!(verified, Some(Ok(Ok(_)))), "byte {index}, bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_of_the_tree_is_refused_and_its_file_is_named() {
    let lab = Lab::new();
    let signed = lab.signed(7);
    for file in 0..tree().len() {
        for index in 0..tree()[file].1.len() {
            let mut changed = tree();
            let mut bytes = changed[file].1.clone().into_bytes();
            bytes[index] ^= 1;
            changed[file].1 = String::from_utf8(bytes).unwrap();
            let what = "was changed";
            let expected = SignedPolicyError::File { file: changed[file].0.clone(), what };
            assert_eq!(signed.verify(OWN, &changed, &lab.officers), Err(expected));
        }
    }
    let mut more = tree();
    more.push(("zz.toml".to_owned(), String::new()));
    let added = SignedPolicyError::File { file: "zz.toml".to_owned(), what: "was added" };
    assert_eq!(signed.verify(OWN, &more, &lab.officers), Err(added));
    let removed = SignedPolicyError::File { file: "rules.toml".to_owned(), what: "was removed" };
    assert_eq!(signed.verify(OWN, &tree()[..1].to_vec(), &lab.officers), Err(removed));
}

#[test]
fn a_process_goes_back_to_no_older_policy() {
    let lab = Lab::new();
    let directory = Directory::new(lab.folder.path());
    std::fs::create_dir(directory.gateway()).unwrap();
    let memory = PolicyMemory::of(&directory, "gateway");
    let by = |number, digest: &str| SignedBy { number, digest: digest.to_owned(), officers: Vec::new() };
    memory.remember(None).unwrap();
    assert_eq!(memory.highest().unwrap(), 0);
    memory.remember(Some(&by(5, "a"))).unwrap();
    memory.remember(Some(&by(6, "b"))).unwrap();
    memory.remember(Some(&by(6, "b"))).unwrap();
    for (what, refused) in [("older", Some(by(5, "a"))), ("other", Some(by(6, "c"))), ("unsigned", None)] {
        assert!(memory.remember(refused.as_ref()).is_err(), "{what}");
        assert_eq!(memory.highest().unwrap(), 6);
    }
    std::fs::write(directory.gateway().join("policy.json"), "{").unwrap();
    assert!(memory.admit(Some(&by(7, "d"))).is_err(), "a damaged memory is no memory of nothing");
}

#[test]
fn the_newest_folder_counts_and_a_crash_while_writing_leaves_the_one_before() {
    let lab = Lab::new();
    let directory = Directory::new(lab.folder.path());
    assert_eq!(activated(&directory).unwrap(), []);
    let office = Office::of(&lab.officers);
    store(&directory, &tree(), &lab.signed(9), &office).unwrap();
    std::fs::create_dir(directory.signed_policies().join(".new")).unwrap();
    store(&directory, &tree(), &lab.signed(10), &office).unwrap();
    std::fs::create_dir_all(directory.signed_policies().join(".new")).unwrap();
    let numbers: Vec<u64> = activated(&directory).unwrap().into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [9, 10]);
    let (read, signed) = read_signed(&directory.signed_policies().join("000010")).unwrap();
    assert_eq!((read, signed.number), (tree(), 10));
}

/// First and second are in office, second and third are to come.
#[test]
fn officers_change_by_signatures_of_those_before_and_those_after() {
    let lab = Lab::new();
    let (before, after) = (lab.some(2, &[0, 1]), lab.some(1, &[1, 2]));
    let change = |seals: &[usize]| {
        let mut signed = SignedPolicy {
            officers: Some(Office::of(&after)),
            predecessors: Some(Office::of(&before)),
            ..SignedPolicy::new(OWN, 7, &tree())
        };
        seals.iter().for_each(|officer| lab.sign(&mut signed, *officer));
        signed
    };
    let verify = |signed: &SignedPolicy, current: &Officers| signed.verify(OWN, &tree(), current);
    let all = change(&[0, 1, 2]);
    for current in [&before, &after] {
        assert_eq!(verify(&all, current).unwrap().officers.len(), 3);
        assert!(all.officers_after(current).unwrap().are_same(&after));
    }
    assert!(verify(&change(&[0, 1]), &before).is_ok(), "the second is one of the new ones too");
    // Not without those in office, and not without those who are to come.
    for seals in [&[1, 2][..], &[2], &[0, 2], &[]] {
        let refused = verify(&change(seals), &before).unwrap_err();
        assert!(matches!(refused, SignedPolicyError::TooFew { .. }), "{seals:?}: {refused}");
    }
    let separate = SignedPolicy { officers: Some(Office::of(&lab.some(1, &[2]))), ..change(&[]) };
    let mut only_old = separate;
    lab.sign(&mut only_old, 0);
    lab.sign(&mut only_old, 1);
    assert!(matches!(verify(&only_old, &before).unwrap_err(), SignedPolicyError::TooFew { found: 0, required: 1 }));
    // A change of officers of whom this node knows nothing, such as one that makes up its predecessors.
    let others = lab.some(2, &[0, 2]);
    assert_eq!(verify(&all, &others), Err(SignedPolicyError::OtherOfficers));
    let mut usurped = SignedPolicy { predecessors: Some(Office::of(&lab.some(1, &[2]))), ..change(&[]) };
    lab.sign(&mut usurped, 2);
    assert_eq!(verify(&usurped, &before), Err(SignedPolicyError::OtherOfficers));
    // A policy without a change leaves who is there.
    assert!(lab.signed(8).officers_after(&lab.officers).unwrap().are_same(&lab.officers));
    let stranger = Lab::new();
    let mut foreign = change(&[0, 1]);
    stranger.sign(&mut foreign, 0);
    let refused = verify(&foreign, &before).unwrap_err();
    assert!(
        matches!(refused, SignedPolicyError::Seal { position: 3, problem: SealProblem::Stranger, .. }),
        "{refused}"
    );
}

#[test]
fn every_flipped_bit_of_a_change_of_officers_is_refused() {
    let lab = Lab::new();
    let (before, after) = (lab.some(1, &[0]), lab.some(1, &[1]));
    let mut signed = SignedPolicy {
        officers: Some(Office::of(&after)),
        predecessors: Some(Office::of(&before)),
        ..SignedPolicy::new(OWN, 7, &tree())
    };
    lab.sign(&mut signed, 0);
    lab.sign(&mut signed, 1);
    let text = signed.print();
    assert!(signed.verify(OWN, &tree(), &before).is_ok());
    let start = text.find("\"officers\"").unwrap();
    let end = text.find("\"signatures\"").unwrap();
    for index in start..end {
        let mut bytes = text.clone().into_bytes();
        bytes[index] ^= 1;
        let verified = String::from_utf8(bytes).map_err(|_| ()).and_then(|text| {
            SignedPolicy::parse(&text)
                .map_err(|_| ())
                .and_then(|signed| signed.verify(OWN, &tree(), &before).map_err(|_| ()))
        });
        assert!(verified.is_err(), "byte {index}");
    }
}
