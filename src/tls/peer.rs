//! The certificate of a client on an open connection: verified in its handshake, with its name, and with the last verdict about it, so that a
//! call need not have it verified again. It never decides: [`ClientTrust`](super::ClientTrust) does.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::CertificateDer;

use super::name::name_of;
use super::{CertificateRefused, UnfitCertificate};
use crate::crypto::hash::{SHA256_BYTES, sha256};
use crate::domain::certificate_name::CertificateName;
use crate::domain::clock::Timestamp;

/// For how many seconds a verdict holds: after that, a certificate or list may have expired.
const VERDICT_S: u64 = 15;

/// A client's certificate, and the chain it came with.
pub struct PeerCertificate {
    name: CertificateName,
    fingerprint: [u8; SHA256_BYTES],
    /// The client's own first.
    chain: Vec<CertificateDer<'static>>,
    verdict: AtomicU64,
}

impl PeerCertificate {
    /// From the chain that a handshake has verified, the client's own certificate first.
    pub fn read(chain: &[CertificateDer<'_>]) -> Result<Self, UnfitCertificate> {
        let own = chain.first().ok_or(UnfitCertificate::Unreadable(x509_cert::der::ErrorKind::Failed.into()))?;
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Ok(Self { name: name_of(own)?, fingerprint: sha256(own), chain, verdict: AtomicU64::new(NONE) })
    }

    /// Whom the certificate names.
    pub fn name(&self) -> &CertificateName {
        &self.name
    }

    /// SHA-256 of the certificate's DER.
    pub fn fingerprint(&self) -> &[u8; SHA256_BYTES] {
        &self.fingerprint
    }

    /// The client's own certificate, and the ones it sent along.
    pub(super) fn parts(&self) -> (&CertificateDer<'static>, &[CertificateDer<'static>]) {
        self.chain.split_first().expect("a chain has the client's own certificate: it was read from it")
    }

    /// The last verdict, if it was by this generation and is young enough.
    pub(super) fn verdict(&self, generation: u64, now: Timestamp) -> Option<Result<(), CertificateRefused>> {
        unpack(self.verdict.load(Ordering::Relaxed), generation, now.as_ms() / 1_000)
    }

    pub(super) fn remember(&self, generation: u64, now: Timestamp, verdict: Result<(), CertificateRefused>) {
        self.verdict.store(pack(generation, now.as_ms() / 1_000, verdict), Ordering::Relaxed);
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerCertificate(..)")
    }
}

// A verdict is one word, so that it is never seen half written: 16 bits of the generation, 40 of the second (34,000 years), 8 of what it says.
// Generations that are 65,536 apart look alike, and are never within VERDICT_S of each other.

const NONE: u64 = 0;
const TRUSTED: u64 = 1;
const FIRST_REFUSAL: u64 = 2;

fn pack(generation: u64, second: u64, verdict: Result<(), CertificateRefused>) -> u64 {
    let says = match verdict {
        Ok(()) => TRUSTED,
        Err(refused) => FIRST_REFUSAL + refused as u64,
    };
    (generation & 0xffff) << 48 | (second & 0xff_ffff_ffff) << 8 | says
}

fn unpack(word: u64, generation: u64, second: u64) -> Option<Result<(), CertificateRefused>> {
    let (judged_in, judged_at, says) = (word >> 48, word >> 8 & 0xff_ffff_ffff, word & 0xff);
    // A clock that was turned back makes `judged_at` lie ahead: then nothing is known of the verdict's age.
    let is_fresh = judged_in == generation & 0xffff && second.checked_sub(judged_at).is_some_and(|age| age < VERDICT_S);
    match says {
        _ if !is_fresh => None,
        NONE => None,
        TRUSTED => Some(Ok(())),
        refusal => CertificateRefused::ALL.get((refusal - FIRST_REFUSAL) as usize).map(|refused| Err(*refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_remembered_for_its_generation_and_a_few_seconds() {
        let verdicts = CertificateRefused::ALL.into_iter().map(Err).chain([Ok(())]);
        for verdict in verdicts {
            let word = pack(7, 1_000, verdict);
            assert_eq!(unpack(word, 7, 1_000), Some(verdict));
            assert_eq!(unpack(word, 7, 1_000 + VERDICT_S - 1), Some(verdict));
            assert_eq!(unpack(word, 7, 1_000 + VERDICT_S), None);
            assert_eq!(unpack(word, 7, 999), None, "the clock was turned back");
            assert_eq!((unpack(word, 6, 1_000), unpack(word, 8, 1_000)), (None, None));
        }
        assert_eq!(unpack(NONE, 0, 0), None);
        let last_s = Timestamp::MAX.as_ms() / 1_000;
        assert_eq!(unpack(pack(u64::MAX, last_s, Ok(())), u64::MAX, last_s), Some(Ok(())));
    }
}
