//! TLS: this server's certificate, what is asked of clients, and the handshake.
//!
//! ```text
//! settings + files ─► what is in force         load: at start, CONFIG SET; follow: a file was replaced
//! TcpStream ─► accept: handshake ─► TlsStream  a stream like any other, for whichever door
//! ```
//!
//! Deliberately not here: which doors there are (`listener.rs`, `admin.rs`); cryptography (rustls, ADR 0014).
//!
//! Not done, and why: keys behind a passphrase, which would have to stand beside them; lists of ciphers, since rustls has only
//! sound ones; lists of revoked certificates, and users by certificate, which nobody has asked for yet.
//!
//! Invariants: files are taken as a set that fits together, or not at all; what is in force stays in force until
//! another set is found sound; a connection keeps what it began with; no handshake lasts longer than
//! `HANDSHAKE_SECONDS_MAX`.

use crate::config::{SettingId, Settings, TlsAuthClients};
use crate::listener::Door;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    CertificateError, Error, InconsistentKeys, InvalidMessage, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
pub use tokio_rustls::server::TlsStream;

/// Time in which a handshake must be done.
const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Time for the last words of a connection, which tell its client that nothing was cut off.
const GOODBYE_SECONDS_MAX: u64 = 1;
/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// At most one failed handshake is logged in this time, however many there are.
const FAILURES_LOGGED_EVERY: Duration = Duration::from_secs(1);

/// The settings that name files, and change what is in force.
pub const FILES: [SettingId; 3] = [CERT_FILE, KEY_FILE, CA_FILE];
const CERT_FILE: SettingId = SettingId::of("tls-cert-file");
const KEY_FILE: SettingId = SettingId::of("tls-key-file");
const CA_FILE: SettingId = SettingId::of("tls-ca-cert-file");

/// Why TLS cannot be served as the settings have it. `Display` names the setting, and the file if there is one.
#[derive(Debug)]
pub enum TlsError {
    /// No file is named where there must be one.
    Unnamed {
        /// Which setting would name it.
        setting: &'static str,
        /// What needs it, and what else could be done.
        needed_by: &'static str,
    },
    /// A file that is not there or may not be read.
    Unreadable {
        /// Which setting names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file that does not hold what it should.
    Unusable {
        /// Which setting names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unnamed { setting, needed_by } => write!(f, "`{setting}` names no file: {needed_by}"),
            TlsError::Unreadable { setting, path, source } => write!(f, "`{setting}`: cannot read {path}: {source}"),
            TlsError::Unusable { setting, path, reason } => write!(f, "`{setting}`: {path} {reason}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Unreadable { source, .. } => Some(source),
            TlsError::Unnamed { .. } | TlsError::Unusable { .. } => None,
        }
    }
}

/// What is in force. One for all doors.
#[derive(Default)]
pub struct Tls {
    config: RwLock<Option<Arc<ServerConfig>>>,
    /// Of the files that were read last, sound or not; held while they are read.
    stamps: Mutex<[Stamp; FILES.len()]>,
    failures: Mutex<Failures>,
}

/// What changes when a file is replaced or written to: device, inode, size, and time of the last change in seconds and
/// nanoseconds. `None` when there is no such file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Failed handshakes that were not logged, since one that was.
#[derive(Default)]
struct Failures {
    logged: Option<Instant>,
    unlogged_count: u64,
}

impl Tls {
    /// Puts in force what `settings` and the files they name say now, if there is a door for it, from the next handshake on.
    ///
    /// # Errors
    /// What cannot be used; what was in force stays so.
    pub fn load(&self, settings: &Settings) -> Result<(), TlsError> {
        let mut stamps = self.stamps.lock();
        // Looked at before they are read, so that a change meanwhile is seen the next time.
        let found = stamps_of(settings);
        self.put_in_force(settings)?;
        *stamps = found;
        Ok(())
    }

    fn put_in_force(&self, settings: &Settings) -> Result<(), TlsError> {
        let has_port = |door: &Door| door.is_tls() && settings.number(door.setting()) != 0;
        let is_wanted = Door::ALL.iter().any(has_port) || settings.admin_tls();
        let config = is_wanted.then(|| configured(settings)).transpose()?;
        *self.config.write() = config.map(Arc::new);
        Ok(())
    }

    /// As [`Tls::load`] when a file was replaced or written to since. A set that is no good is logged once.
    pub fn load_if_changed(&self, settings: &Settings) {
        let mut stamps = self.stamps.lock();
        let found = stamps_of(settings);
        if self.config.read().is_none() || *stamps == found {
            return;
        }
        *stamps = found;
        match self.put_in_force(settings) {
            Ok(()) => tracing::info!("the files of TLS have changed; new connections get the new certificate"),
            Err(error) => tracing::warn!("the files of TLS have changed and are no good, the old ones stay: {error}"),
        }
    }

    /// Shakes hands with a client. `None` when that came to nothing, which is logged unless the client only left.
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let config = self.config.read().clone()?;
        let handshake = shake_hands(config, stream);
        let why = match tokio::time::timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX), handshake).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => why_failed(&error),
            Err(_) => Some("it took too long".to_owned()),
        };
        if let Some(why) = why {
            self.failures.lock().log(peer, &why);
        }
        None
    }

    /// Reads files anew when they change; for ever, so drop the future to stop.
    pub async fn follow(self: Arc<Self>, settings: Arc<Settings>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (tls, settings) = (Arc::clone(&self), Arc::clone(&settings));
            // A disk may be slow, and connections are not to wait for it. It is looked at again if this fails.
            drop(tokio::task::spawn_blocking(move || tls.load_if_changed(&settings)).await);
        }
    }
}

/// A client that speaks something else gets no answer: what rustls would say is no answer in its protocol.
async fn shake_hands(config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    /// What every connection of TLS begins with: the type of a record that is part of a handshake.
    const HANDSHAKE: u8 = 22;
    let mut first = [HANDSHAKE];
    stream.peek(&mut first).await?;
    if first != [HANDSHAKE] {
        let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    TlsAcceptor::from(config).accept(stream).await
}

/// Tells a client that the connection ends here on purpose.
pub async fn say_goodbye(mut stream: TlsStream<TcpStream>) {
    // Who has gone already, or does not read, misses nothing.
    let _ = tokio::time::timeout(Duration::from_secs(GOODBYE_SECONDS_MAX), stream.shutdown()).await;
}

impl Failures {
    fn log(&mut self, peer: SocketAddr, why: &str) {
        if self.logged.is_some_and(|logged| logged.elapsed() < FAILURES_LOGGED_EVERY) {
            self.unlogged_count += 1;
            return;
        }
        self.logged = Some(Instant::now());
        let unlogged = std::mem::take(&mut self.unlogged_count);
        tracing::warn!(%peer, unlogged, "TLS handshake failed: {why}");
    }
}

/// A sentence about the client that could not be served; `None` for one that only went away, as health checks do.
fn why_failed(error: &io::Error) -> Option<String> {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        let is_gone = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        return (!is_gone).then(|| error.to_string());
    };
    Some(match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "the client does not speak TLS".to_owned(),
        Error::NoCertificatesPresented => {
            "the client showed no certificate, which tls-auth-clients asks for".to_owned()
        }
        Error::InvalidCertificate(reason) => format!("the client's certificate is refused: {}", words_of(reason)),
        Error::AlertReceived(alert) => format!("the client refused this server: {alert:?}"),
        other => other.to_string(),
    })
}

/// What is wrong with a certificate.
fn words_of(error: &CertificateError) -> String {
    let words = error.to_string();
    if words.contains("UnsupportedCertVersion") { "it is not of version 3 of X.509".to_owned() } else { words }
}

fn stamps_of(settings: &Settings) -> [Stamp; FILES.len()] {
    FILES.map(|file| {
        let path = settings.text(file);
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
    })
}

fn configured(settings: &Settings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let certificates = NamedFile::read(settings, CERT_FILE, "a TLS port needs a certificate")?;
    let key = NamedFile::read(settings, KEY_FILE, "a TLS port needs the key of its certificate")?;
    let chain = certificates.certificates()?;
    let key_der = key.private_key()?;
    let verifier = verifier(settings, &provider)?;
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(settings))
        .expect("every version has ciphers in this provider")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key_der)
        .map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                key.unusable(format!("is not the key of the certificate in {}", certificates.path))
            }
            Error::InvalidCertificate(reason) => {
                certificates.unusable(format!("cannot be used: {}", words_of(&reason)))
            }
            other => key.unusable(format!("cannot be used: {other}")),
        })
}

/// What is asked of clients.
fn verifier(settings: &Settings, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let asked = settings.tls_auth_clients();
    if asked == TlsAuthClients::No {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let needed_by = "`tls-auth-clients` asks clients for certificates, which it would judge by; \
                     say `tls-auth-clients no` to ask for none";
    let file = NamedFile::read(settings, CA_FILE, needed_by)?;
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates()? {
        roots.add(certificate).map_err(|error| file.unusable(format!("cannot be used: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if asked == TlsAuthClients::Optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| file.unusable(format!("cannot be used: {error}")))
}

/// The versions that are spoken; the setting names at least one unless it is empty, which means all.
fn versions(settings: &Settings) -> Vec<&'static SupportedProtocolVersion> {
    let words = settings.text(SettingId::of("tls-protocols"));
    let is_spoken = |name: &str| words.is_empty() || words.split(' ').any(|word| word == name);
    [("TLSv1.3", &TLS13), ("TLSv1.2", &TLS12)]
        .into_iter()
        .filter_map(|(name, version)| is_spoken(name).then_some(version))
        .collect()
}

/// A file of PEM sections that a setting names.
struct NamedFile {
    setting: &'static str,
    path: String,
    contents: Vec<u8>,
}

impl NamedFile {
    fn read(settings: &Settings, id: SettingId, needed_by: &'static str) -> Result<NamedFile, TlsError> {
        let (setting, path) = (id.row().name, settings.text(id));
        if path.is_empty() {
            return Err(TlsError::Unnamed { setting, needed_by });
        }
        match std::fs::read(&path) {
            Ok(contents) => Ok(NamedFile { setting, path, contents }),
            Err(source) => Err(TlsError::Unreadable { setting, path, source }),
        }
    }

    fn unusable(&self, reason: String) -> TlsError {
        TlsError::Unusable { setting: self.setting, path: self.path.clone(), reason }
    }

    /// Every certificate in the file, of which there is at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&self.contents).collect();
        let found = found.map_err(|error| self.unusable(format!("is not PEM: {error}")))?;
        if found.is_empty() {
            return Err(self.unusable("holds no certificate in PEM form".to_owned()));
        }
        Ok(found)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        const ENCRYPTED: &[u8] = b"ENCRYPTED";
        if self.contents.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
            return Err(self.unusable("is behind a passphrase; `openssl pkey` takes that away".to_owned()));
        }
        PrivateKeyDer::from_pem_slice(&self.contents).map_err(|error| match error {
            pem::Error::NoItemsFound => self.unusable("holds no private key in PEM form".to_owned()),
            error => self.unusable(format!("is not PEM: {error}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inputs, load};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let flags = flags.iter().map(|(name, text)| (SettingId::find_own(name).unwrap(), (*text).to_owned()));
        load(Inputs { flags: flags.collect(), ..Inputs::default() }).unwrap().settings
    }

    #[test]
    fn nothing_is_read_while_there_is_no_door() {
        let tls = Tls::default();
        let named = [("tls-cert-file", "/nowhere/cert.pem"), ("tls-key-file", "/nowhere/key.pem")];
        tls.load(&settings(&named)).expect("nobody asked for TLS");
        assert!(tls.config.read().is_none());
        let refusal = tls.load(&settings(&[&named[..], &[("admin-tls", "yes")]].concat())).unwrap_err().to_string();
        assert!(refusal.starts_with("`tls-cert-file`: cannot read /nowhere/cert.pem: No such file"), "{refusal}");
    }

    #[test]
    fn what_is_wrong_is_said_with_setting_and_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).into_os_string().into_string().unwrap();
        let section =
            |kind: &str, body: &str| format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n").into_bytes();
        let files = [
            ("cert", section("CERTIFICATE", "AAAA")),
            ("key", section("PRIVATE KEY", "AAAA")),
            ("locked", section("ENCRYPTED PRIVATE KEY", "AAAA")),
            ("broken", section("CERTIFICATE", "%%%%")),
            ("words", b"certificate: yes".to_vec()),
        ];
        for (name, contents) in files {
            std::fs::write(path(name), contents).unwrap();
        }
        let cases = [
            ("", "key", "no", "`tls-cert-file` names no file: a TLS port needs a certificate".to_owned()),
            ("cert", "", "no", "`tls-key-file` names no file: a TLS port needs the key of its certificate".to_owned()),
            ("words", "key", "no", format!("`tls-cert-file`: {} holds no certificate in PEM form", path("words"))),
            ("broken", "key", "no", format!("`tls-cert-file`: {} is not PEM: base64", path("broken"))),
            ("cert", "cert", "no", format!("`tls-key-file`: {} holds no private key in PEM form", path("cert"))),
            ("cert", "locked", "no", format!("`tls-key-file`: {} is behind a passphrase", path("locked"))),
            ("cert", "key", "no", format!("`tls-key-file`: {} cannot be used: ", path("key"))),
            ("cert", "key", "yes", "`tls-ca-cert-file` names no file: `tls-auth-clients` asks".to_owned()),
        ];
        for (cert, key, auth, words) in cases {
            let named = |name: &str| if name.is_empty() { String::new() } else { path(name) };
            let (cert, key) = (named(cert), named(key));
            let flags =
                [("tls-port", "1"), ("tls-cert-file", &cert), ("tls-key-file", &key), ("tls-auth-clients", auth)];
            let refusal = Tls::default().load(&settings(&flags)).unwrap_err().to_string();
            assert!(refusal.starts_with(&words), "{refusal:?} and not {words:?}");
        }
    }

    #[test]
    fn versions_are_those_that_are_named_and_all_when_none_is() {
        let count = |text: &str| versions(&settings(&[("tls-protocols", text)])).len();
        assert_eq!((count(""), count("TLSv1.2"), count("TLSv1.3 tlsv1.2")), (2, 1, 2));
        assert_eq!(versions(&settings(&[("tls-protocols", "tlsv1.3")])), [&TLS13]);
    }

    #[test]
    fn many_failures_are_counted_and_not_all_logged() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            failures.log("127.0.0.1:1".parse().unwrap(), "a test");
        }
        assert_eq!(failures.unlogged_count, 4);
    }

    #[test]
    fn who_only_went_away_is_no_failure() {
        assert_eq!(why_failed(&io::Error::from(io::ErrorKind::UnexpectedEof)), None);
        let plain = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        let plain = io::Error::new(io::ErrorKind::InvalidData, plain);
        assert_eq!(why_failed(&plain).as_deref(), Some("the client does not speak TLS"));
    }
}
