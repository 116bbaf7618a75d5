//! The certificate with which a pool is served, and whose certificates its callers must have.
//!
//! The files are read with the configuration and are a part of it: a certificate that was replaced is another
//! configuration, and files that cannot be used are refused like anything else that is wrong, with what was in force
//! staying so.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring as rustls_ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore, ServerConfig};

use super::beside::Files;
use super::raw::RawTls;
use super::references::read_text;
use super::section::{Field, Reader, join};
use crate::error::Problem;
use crate::time;

/// In the order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a connection is made safe with. Two that are equal were made of equal files.
#[derive(Clone)]
pub struct TlsConfig {
    pub server: Arc<ServerConfig>,
    /// Of all files.
    checksum: [u8; SHA256_OUTPUT_LEN],
    /// Callers must have a certificate of this authority; `None`: they need none.
    client_ca: Option<[u8; SHA256_OUTPUT_LEN]>,
}

/// Where the certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the service's own certificate, then those between it and its root.
    pub cert: PathBuf,
    /// PEM: the private key of the first.
    pub key: PathBuf,
    /// PEM: whose certificates callers must have.
    pub client_ca: Option<PathBuf>,
}

struct Pem<'a> {
    cert: &'a str,
    key: &'a str,
    client_ca: Option<&'a str>,
}

/// Which of the files is wrong, and why.
type Wrong = (&'static str, String);

impl TlsConfig {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// Which of them cannot be used and why, by the names of the fields.
    pub fn read(files: &TlsFiles) -> Result<Self, Problem> {
        let read = |field: &'static str, path: &PathBuf| {
            read_text(path, &path.to_string_lossy()).map_err(|said| (field, said))
        };
        let made = || {
            let (cert, key) = (read("cert", &files.cert)?, read("key", &files.key)?);
            let client_ca = files.client_ca.as_ref().map(|path| read("client_ca", path)).transpose()?;
            Self::of(&Pem { cert: &cert, key: &key, client_ca: client_ca.as_deref() })
        };
        made().map_err(|(field, message): Wrong| Problem { path: field.to_owned(), message })
    }

    fn of(pem: &Pem<'_>) -> Result<Self, Wrong> {
        let Pem { cert, key, client_ca } = pem;
        let provider = Arc::new(rustls_ring::default_provider());
        let chain = certificates("cert", cert)?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| ("key", "expected a private key in PEM, not encrypted".to_owned()))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ("cert", error.to_string()))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let wrong = |error: &dyn fmt::Display| ("client_ca", error.to_string());
                let mut roots = RootCertStore::empty();
                for root in certificates("client_ca", authorities)? {
                    roots.add(root).map_err(|error| wrong(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| wrong(&error))?)
            }
        };
        // Says as well when the key is another certificate's.
        let mut server = builder.with_single_cert(chain, private).map_err(|error| ("key", error.to_string()))?;
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            server: Arc::new(server),
            checksum: checksum(&[cert, key, client_ca.unwrap_or_default()]),
            client_ca: client_ca.map(|authorities| checksum(&[authorities])),
        })
    }

    /// Callers must have a certificate.
    pub fn knows_callers(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Would a caller whose certificate was good for the one be let in by the other?
    pub fn admits_callers_of(&self, other: &Self) -> bool {
        self.client_ca.is_some() && self.client_ca == other.client_ca
    }
}

impl PartialEq for TlsConfig {
    fn eq(&self, other: &Self) -> bool {
        self.checksum == other.checksum
    }
}

impl fmt::Debug for TlsConfig {
    /// There is a private key in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").field("knows_callers", &self.knows_callers()).finish_non_exhaustive()
    }
}

fn certificates(field: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err((field, "expected a certificate in PEM, found none".to_owned())),
        // The error would repeat a line of it, and a key can be in one line.
        Err(_) => Err((field, "expected certificates in PEM; a section of it cannot be read".to_owned())),
    }
}

/// What is wrong with the dates of one of these certificates, at a time since the epoch. They are read by whoever checks
/// certificates of services, who looks at dates before anything else; each is its own root here.
fn out_of_date(pem: &str, now: Duration) -> Option<&'static str> {
    let provider = Arc::new(rustls_ring::default_provider());
    let name = ServerName::try_from("localhost").ok()?;
    certificates("cert", pem).ok()?.into_iter().find_map(|certificate| {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).ok()?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let now = UnixTime::since_unix_epoch(now);
        match verifier.ok()?.verify_server_cert(&certificate, &[], &name, &[], now) {
            Err(rustls::Error::InvalidCertificate(error)) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Some("a certificate has expired")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Some("a certificate is not valid yet")
                }
                _ => None,
            },
            _ => None,
        }
    })
}

fn checksum(texts: &[&str]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

pub(super) fn check(raw: Field<RawTls>, at: &str, files: &mut Files, reader: &mut Reader<'_>) -> Option<TlsConfig> {
    let RawTls { cert, key, client_ca } = raw.some()?;
    for (field, path) in [(&cert, "cert"), (&key, "key")] {
        if matches!(field, Field::Absent | Field::Null) {
            reader.problem(join(at, path), "is missing; a certificate and its key go together");
        }
    }
    let asks_callers = client_ca.is_given();
    let cert = files.text(cert, &join(at, "cert"), reader);
    let key = files.text(key, &join(at, "key"), reader);
    let client_ca = files.text(client_ca, &join(at, "client_ca"), reader);
    let ((_, cert), (_, key)) = (cert?, key?);
    if asks_callers && client_ca.is_none() {
        return None; // the problem is noted; without the file everybody would be let in
    }
    let client_ca = client_ca.as_ref().map(|(_, text)| text.as_str());
    match TlsConfig::of(&Pem { cert: &cert, key: &key, client_ca }) {
        Ok(tls) => {
            // Not refused: a service that is restarted with it goes on for those who look away.
            if let Some(said) = out_of_date(&cert, Duration::from_millis(time::unix_ms())) {
                reader.warn(&join(at, "cert"), said);
            }
            Some(tls)
        }
        Err((field, said)) => {
            reader.problem(join(at, field), said);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_good_from_its_first_day_to_its_last() {
        const DAY: u64 = 24 * 3600;
        // Its dates are 2020-01-01 and 2120-01-01; so are those of its authority.
        let (first, last) = (18_262 * DAY, 54_787 * DAY);
        for name in ["server", "authority"] {
            let path = format!("{}/__test__/fixtures/mtls/{name}.pem", env!("CARGO_MANIFEST_DIR"));
            let pem = std::fs::read_to_string(path).expect("a certificate");
            let at = |unix| out_of_date(&pem, Duration::from_secs(unix));
            assert_eq!((at(first + DAY), at(last - DAY)), (None, None), "{name}");
            assert_eq!(at(first - DAY), Some("a certificate is not valid yet"), "{name}");
            assert_eq!(at(last + DAY), Some("a certificate has expired"), "{name}");
        }
    }
}
