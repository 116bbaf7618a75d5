//! Public keys with which signatures of tokens are checked.
//!
//! Whatever they come from, a PEM file or a list of keys, they pass one of the constructors here, so that whoever holds
//! a [`PublicKey`] need not ask whether it is long enough or of the right shape.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{AlgorithmIdentifier, SubjectPublicKeyInfoDer, alg_id};

/// RFC 7518, 3.3: shorter ones must not be used. In bytes.
const LEAST_RSA: usize = 2048 / 8;
/// What the library that checks takes. In bytes.
const MOST_RSA: usize = 4096 / 8;
const ED25519: usize = 32;

/// What kind of key an algorithm checks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A secret that both sides have.
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A key to check signatures with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent, big-endian.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point of the curve: 4, then both coordinates.
    Ec(Vec<u8>),
    Ed25519([u8; ED25519]),
}

impl PublicKey {
    /// # Errors
    /// Completes a message about the key.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, &'static str> {
        let n = without_zeros(n);
        if n.len() < LEAST_RSA {
            return Err("is an RSA key of fewer than 2048 bits");
        }
        if n.len() > MOST_RSA {
            return Err("is an RSA key of more than 4096 bits");
        }
        Ok(Self::Rsa { n: n.to_vec(), e: without_zeros(e).to_vec() })
    }

    /// # Errors
    /// Completes a message about the key.
    pub fn ec(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, &'static str> {
        let length = if kind == KeyKind::P256 { 32 } else { 48 };
        if x.len() != length || y.len() != length {
            return Err("is no point of the curve");
        }
        Ok(Self::Ec([&[4], x, y].concat()))
    }

    /// # Errors
    /// Completes a message about the key.
    pub fn ed25519(x: &[u8]) -> Result<Self, &'static str> {
        x.try_into().map(Self::Ed25519).map_err(|_| "is no Ed25519 key")
    }

    /// Reads what `openssl pkey -pubout` writes.
    ///
    /// # Errors
    /// Completes a message about the key, without repeating anything of it.
    pub fn from_pem(pem: &str, kind: KeyKind) -> Result<Self, &'static str> {
        const BROKEN: &str = "is damaged";
        if pem.contains("PRIVATE KEY") {
            return Err("is a private key; only the public one belongs here");
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "is no public key in PEM, which begins with -----BEGIN PUBLIC KEY-----")?;
        let (algorithm, bits) = open(&der).ok_or(BROKEN)?;
        let is = |expected: AlgorithmIdentifier| algorithm == &*expected;
        match kind {
            KeyKind::Rsa if is(alg_id::RSA_ENCRYPTION) => {
                let (n, e) = modulus_and_exponent(bits).ok_or(BROKEN)?;
                Self::rsa(n, e)
            }
            KeyKind::P256 if is(alg_id::ECDSA_P256) => Self::point(kind, bits),
            KeyKind::P384 if is(alg_id::ECDSA_P384) => Self::point(kind, bits),
            KeyKind::Ed25519 if is(alg_id::ED25519) => Self::ed25519(bits),
            _ => Err("is a key of another kind than alg needs"),
        }
    }

    fn point(kind: KeyKind, bits: &[u8]) -> Result<Self, &'static str> {
        match bits {
            [4, point @ ..] => {
                let (x, y) = point.split_at(point.len() / 2);
                Self::ec(kind, x, y)
            }
            _ => Err("is no uncompressed point of the curve"),
        }
    }
}

/// Numbers in DER and in JSON may have a zero before them.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// The algorithm and the key of a SubjectPublicKeyInfo (RFC 5280, 4.1).
fn open(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, []) = element(0x30, der)? else { return None };
    let (algorithm, rest) = element(0x30, info)?;
    let (bits, []) = element(0x03, rest)? else { return None };
    // How many bits of the last byte do not count: none, for keys.
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    Some((algorithm, key))
}

/// Of an RSAPublicKey (RFC 8017, A.1.1).
fn modulus_and_exponent(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, []) = element(0x30, der)? else { return None };
    let (n, rest) = element(0x02, key)?;
    let (e, []) = element(0x02, rest)? else { return None };
    Some((n, e))
}

/// What is in a DER element of this tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [found, ..] if *found != tag => return None,
        [_, length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [_, 0x81, length, rest @ ..] => (usize::from(*length), rest),
        [_, 0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> String {
        let path = format!("{}/__test__/fixtures/jwt/{name}.pub.pem", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("a key")
    }

    const KINDS: &[(&str, KeyKind)] =
        &[("rsa", KeyKind::Rsa), ("p256", KeyKind::P256), ("p384", KeyKind::P384), ("ed25519", KeyKind::Ed25519)];

    #[test]
    fn each_kind_is_read_and_taken_for_no_other() {
        for (name, kind) in KINDS {
            let pem = fixture(name);
            for (_, asked) in KINDS {
                let read = PublicKey::from_pem(&pem, *asked);
                assert_eq!(read.is_ok(), kind == asked, "{name} as {asked:?}: {read:?}");
            }
        }
        assert!(matches!(PublicKey::from_pem(&fixture("rsa"), KeyKind::Rsa),
            Ok(PublicKey::Rsa { n, e }) if n.len() == 256 && e == [1, 0, 1]));
    }

    #[test]
    fn what_is_no_public_key_says_why() {
        let private = fixture("rsa").replace("PUBLIC KEY", "PRIVATE KEY");
        let cut: String = fixture("rsa").lines().filter(|line| !line.contains("IDAQAB")).collect::<Vec<_>>().join("\n");
        for (pem, said) in [
            ("secret", "no public key"),
            (&private, "private"),
            (&cut, "damaged"),
            (&fixture("rsa-1024"), "fewer than 2048"),
        ] {
            assert!(PublicKey::from_pem(pem, KeyKind::Rsa).expect_err(said).contains(said), "{said}");
        }
        assert!(PublicKey::ed25519(&[0; 31]).is_err() && PublicKey::ec(KeyKind::P384, &[0; 32], &[0; 32]).is_err());
    }

    #[test]
    fn no_cut_or_changed_key_panics() {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(fixture("rsa").as_bytes()).expect("a key");
        for at in 0..der.len() {
            let _ = open(&der[..at]).and_then(|(_, key)| modulus_and_exponent(key));
            let mut changed = der.to_vec();
            changed[at] = !changed[at];
            let _ = open(&changed).and_then(|(_, key)| modulus_and_exponent(key));
        }
    }
}
