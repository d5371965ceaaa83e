//! Failed logins: counted for each source, which is refused for the rest of a minute once it has too many, and for the ledger, which gets one
//! entry a minute with what came together. So strangers can neither guess for ever nor fill the log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::status::ApiError;
use crate::access::identity::RejectReason;

const WINDOW: Duration = Duration::from_secs(60);
/// The most sources that are told apart; what comes from further ones counts together.
const MAX_SOURCES: usize = 65_536;

/// The counts.
pub(super) struct Failures {
    limit: u32,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    sources: HashMap<Option<IpAddr>, Count>,
    /// Since the last entry.
    reasons: BTreeMap<&'static str, u32>,
    seen: HashSet<Option<IpAddr>>,
}

struct Count {
    since: Instant,
    failures: u32,
}

/// What came together since the last entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gathered {
    /// How often, by reason.
    pub reasons: Vec<(&'static str, u32)>,
    /// From how many sources.
    pub sources: u32,
}

impl Failures {
    pub fn new(limit: u32) -> Self {
        Self { limit, counts: Mutex::default() }
    }

    /// Refuses a source that has failed too often within a minute.
    pub fn check(&self, source: Option<IpAddr>) -> Result<(), ApiError> {
        let counts = self.lock();
        let count = counts.sources.get(&network(source)).filter(|count| count.since.elapsed() < WINDOW);
        match count.filter(|count| count.failures >= self.limit) {
            None => Ok(()),
            Some(count) => {
                let left = WINDOW.saturating_sub(count.since.elapsed());
                Err(ApiError::Overloaded {
                    what: "the number of failed logins a minute from one address",
                    limit: u64::from(self.limit),
                    retry_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
                })
            }
        }
    }

    /// Counts a failure.
    pub fn note(&self, source: Option<IpAddr>, reason: RejectReason) {
        let mut counts = self.lock();
        if counts.sources.len() >= MAX_SOURCES {
            counts.sources.retain(|_, count| count.since.elapsed() < WINDOW);
        }
        let is_full = counts.sources.len() >= MAX_SOURCES;
        let source = network(source).filter(|source| !is_full || counts.sources.contains_key(&Some(*source)));
        let now = Instant::now();
        let count = counts.sources.entry(source).or_insert(Count { since: now, failures: 0 });
        if count.since.elapsed() >= WINDOW {
            *count = Count { since: now, failures: 0 };
        }
        count.failures = count.failures.saturating_add(1);
        let sum = counts.reasons.entry(reason.name()).or_default();
        *sum = sum.saturating_add(1);
        if counts.seen.len() < MAX_SOURCES {
            counts.seen.insert(source);
        }
    }

    /// What came together since this was last asked.
    pub fn gather(&self) -> Gathered {
        let mut counts = self.lock();
        let reasons = std::mem::take(&mut counts.reasons).into_iter().collect();
        let sources = u32::try_from(std::mem::take(&mut counts.seen).len()).unwrap_or(u32::MAX);
        Gathered { reasons, sources }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address of IPv6 stands for its network of 64 bits: whoever has one has all of it.
fn network(source: Option<IpAddr>) -> Option<IpAddr> {
    source.map(|source| match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        four => four,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_source_that_fails_too_often_is_refused_and_the_others_are_not() {
        let failures = Failures::new(3);
        for _ in 0..3 {
            failures.check(address("2001:db8::1")).unwrap();
            failures.note(address("2001:db8::1"), RejectReason::Unknown);
        }
        failures.note(address("192.0.2.1"), RejectReason::Expired);
        assert!(matches!(failures.check(address("2001:db8::ffff:2")), Err(ApiError::Overloaded { limit: 3, .. })));
        failures.check(address("2001:db8:0:1::1")).unwrap();
        failures.check(address("192.0.2.1")).unwrap();
        let gathered = Gathered { reasons: vec![("expired", 1), ("unknown", 3)], sources: 2 };
        assert_eq!(failures.gather(), gathered);
        assert_eq!(failures.gather(), Gathered::default());
    }

    #[test]
    fn however_many_sources_there_are_what_is_remembered_has_a_bound() {
        let failures = Failures::new(3);
        for number in 0..MAX_SOURCES as u32 + 1_000 {
            failures.note(Some(IpAddr::from(number.to_be_bytes())), RejectReason::Missing);
        }
        assert!(failures.lock().sources.len() <= MAX_SOURCES + 1);
        assert_eq!(failures.gather().reasons, [("missing", MAX_SOURCES as u32 + 1_000)]);
    }
}
