//! Certificates and configurations.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a server shows, and the key to it.
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pem: String,
}

impl Identity {
    /// Makes a certificate for these names, which nobody has vouched for.
    ///
    /// # Errors
    ///
    /// If a name is none.
    pub fn self_signed(names: &[&str]) -> io::Result<Identity> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Identity {
            certificates: vec![made.cert.der().clone()],
            key: key.into(),
            pem: made.cert.pem(),
        })
    }

    /// Reads a certificate, with those that vouch for it, and its key from two files in PEM.
    ///
    /// # Errors
    ///
    /// Those of reading; `InvalidData` if a file has nothing of the kind.
    pub fn from_files(certificates: &Path, key: &Path) -> io::Result<Identity> {
        let pem = read(certificates)?;
        let found = in_pem(certificates, &pem)?;
        let read = PrivateKeyDer::from_pem_slice(read(key)?.as_bytes());
        Ok(Identity { certificates: found, key: read.map_err(|error| wrong(key, error))?, pem })
    }

    /// The certificates.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The certificates, as they stand in a file.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// How a server is set up that shows this and asks its clients for nothing.
    ///
    /// # Errors
    ///
    /// If key and certificate do not belong together.
    pub fn server_config(self) -> io::Result<Arc<ServerConfig>> {
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(self.certificates, self.key)
            })
            .map(Arc::new)
            .map_err(io::Error::other)
    }
}

/// Reads all certificates of a file in PEM, such as those that a client is to trust.
///
/// # Errors
///
/// Those of reading; `InvalidData` if there are none.
pub fn trusted(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    in_pem(file, &read(file)?)
}

/// How a client is set up that trusts whom these vouch for, and says nothing of itself.
///
/// # Errors
///
/// If something is no certificate.
pub fn client_config(trusted: &[CertificateDer<'static>]) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).map_err(io::Error::other)?;
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map(Arc::new)
        .map_err(io::Error::other)
}

fn in_pem(file: &Path, text: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(file, "no certificates")),
        found => found.map_err(|error| wrong(file, error)),
    }
}

fn read(file: &Path) -> io::Result<String> {
    pirn::fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn wrong(file: &Path, what: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", file.display()))
}
