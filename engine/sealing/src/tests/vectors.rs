//! The test vectors of RFC 9180, base mode with X25519 and HKDF-SHA256, on the implementation that payloads use.
//!
//! The RFC has none for AES-256-GCM; the suites differ in the cipher alone.

use rustls::crypto::aws_lc_rs::hpke;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey};

struct Vector {
    suite: &'static dyn Hpke,
    encapsulated: &'static str,
    private_key: &'static str,
    /// Ciphertexts of sequence numbers 0 and 1.
    ciphertexts: [&'static str; 2],
}

const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
const PLAINTEXT: &str = "4265617574792069732074727574682c20747275746820626561757479";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc_9180_appendix_a_1_and_a_2_are_opened() {
    let vectors = [
        // A.1.1
        Vector {
            suite: hpke::DH_KEM_X25519_HKDF_SHA256_AES_128,
            encapsulated: "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
            private_key: "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
            ciphertexts: [
                "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
                "af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca42c2063b84",
            ],
        },
        // A.2.1
        Vector {
            suite: hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305,
            encapsulated: "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
            private_key: "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
            ciphertexts: [
                "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
                "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c",
            ],
        },
    ];
    for vector in vectors {
        let key = HpkePrivateKey::from(bytes(vector.private_key));
        let encapsulated = EncapsulatedSecret(bytes(vector.encapsulated));
        let mut opener = vector.suite.setup_opener(&encapsulated, &bytes(INFO), &key).unwrap();
        for (number, ciphertext) in vector.ciphertexts.iter().enumerate() {
            let aad = format!("Count-{number}");
            assert_eq!(opener.open(aad.as_bytes(), &bytes(ciphertext)).unwrap(), bytes(PLAINTEXT), "{number}");
        }
    }
}

#[test]
fn the_public_key_of_a_private_key_is_that_of_the_rfc() {
    let key =
        crate::PrivateKey::new(&bytes("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")).unwrap();
    let expected = bytes("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    assert_eq!(key.public().as_bytes().as_slice(), expected);
}
