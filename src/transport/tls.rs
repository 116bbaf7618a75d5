//! Whom a provider's certificate must be signed by: the platform's roots, more from PEM files, or only those of one file.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use super::ClientParams;
use crate::error::{TransportError, TransportErrorKind};

/// The TLS side of a client; reads the certificate files that `params` names.
pub fn config(params: &ClientParams) -> Result<ClientConfig, TransportError> {
    let provider = Arc::new(ring::default_provider());
    let mut extra = Vec::new();
    for path in &params.extra_roots {
        extra.extend(certificates(path)?);
    }
    let verifier = match &params.only_roots {
        None => platform(extra, &provider)?,
        Some(path) => only(certificates(path)?.into_iter().chain(extra), &provider)?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .dangerous() // rustls' name for a verifier that is not its own; both of these verify
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn platform(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TransportError> {
    let verifier = if extra.is_empty() {
        Verifier::new(Arc::clone(provider))
    } else {
        Verifier::new_with_extra_roots(extra, Arc::clone(provider))
    };
    Ok(Arc::new(verifier.map_err(|error| wrong(error.to_string()))?))
}

fn only(
    certificates: impl Iterator<Item = CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TransportError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(verifier)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let in_file = |said: String| wrong(format!("certificates in {}: {said}", path.display()));
    let pem = std::fs::read(path).map_err(|error| in_file(error.to_string()))?;
    // The error would repeat a line of it, and a key can be in one line.
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| in_file("a section of it cannot be read".to_owned()))?;
    if certificates.is_empty() {
        return Err(in_file("no PEM certificate in it".to_owned()));
    }
    Ok(certificates)
}

fn wrong(message: String) -> TransportError {
    TransportError::new(TransportErrorKind::Tls, message)
}

/// Is a TLS failure the cause, or the cause of the cause?
pub fn is_cause(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(cause) = source {
        let inside_io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || inside_io.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = cause.source();
    }
    false
}
