//! Failed logins: counted for each source, which is refused for the rest of a minute once it has too many, and for the ledger, which gets one
//! entry a minute with what came together. So strangers can neither guess for ever nor fill the log. Whoever was let in within the last hour is
//! not refused with them: behind one address there may be a whole office, or a platform that calls for others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::status::ApiError;
use crate::access::identity::RejectReason;

const WINDOW: Duration = Duration::from_secs(60);
/// The most sources that are told apart; what comes from further ones counts together, and is refused together.
const MAX_SOURCES: usize = 65_536;
/// For how long it is remembered that somebody was let in.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);
/// The most who are remembered; of more, the eldest half is forgotten.
const MAX_GOOD: usize = 65_536;
/// Why a call was refused that was not looked at.
pub(super) const RATE_LIMITED: &str = "rate_limited";
/// A hash of all by which somebody shows who it is.
pub(super) type Shown = [u8; 32];

/// The counts.
pub(super) struct Failures {
    limit: u32,
    counts: Mutex<Counts>,
    /// Who was let in, and when last.
    good: Mutex<HashMap<Shown, Instant>>,
}

#[derive(Default)]
struct Counts {
    sources: HashMap<Option<IpAddr>, Count>,
    /// Since the last entry.
    reasons: BTreeMap<&'static str, u32>,
    seen: HashSet<Option<IpAddr>>,
    /// Sources of what was gathered before and could not be entered.
    lost_sources: u32,
    /// When sources whose minute is over were last forgotten.
    swept: Option<Instant>,
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
        Self { limit, counts: Mutex::default(), good: Mutex::default() }
    }

    /// Refuses a source that has failed too often within a minute, but for who was let in a while ago. That it was refused is counted.
    pub fn check(&self, source: Option<IpAddr>, shown: &Shown) -> Result<(), ApiError> {
        let mut counts = self.lock();
        let source = counts.told_apart(source);
        let count = counts.sources.get(&source).filter(|count| count.since.elapsed() < WINDOW);
        let Some(count) = count.filter(|count| count.failures >= self.limit) else { return Ok(()) };
        let left = WINDOW.saturating_sub(count.since.elapsed());
        if self.good().get(shown).is_some_and(|last| last.elapsed() < GOOD_FOR) {
            return Ok(());
        }
        counts.tell(source, RATE_LIMITED);
        Err(ApiError::Overloaded {
            what: "the number of failed logins a minute from one address",
            limit: u64::from(self.limit),
            retry_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
        })
    }

    /// Somebody was let in.
    pub fn passed(&self, shown: Shown) {
        let mut good = self.good();
        if good.len() >= MAX_GOOD && !good.contains_key(&shown) {
            let mut times: Vec<Instant> = good.values().copied().collect();
            let (_, middle, _) = times.select_nth_unstable(MAX_GOOD / 2);
            let middle = *middle;
            good.retain(|_, last| *last > middle);
        }
        good.insert(shown, Instant::now());
    }

    /// Counts a failure, and against its source, unless it is the issuer's that its keys cannot be had.
    pub fn note(&self, source: Option<IpAddr>, shown: &Shown, reason: RejectReason) {
        self.good().remove(shown);
        let mut counts = self.lock();
        let source = counts.told_apart(source);
        counts.tell(source, reason.name());
        if reason == RejectReason::Unavailable {
            return;
        }
        let now = Instant::now();
        let count = counts.sources.entry(source).or_insert(Count { since: now, failures: 0 });
        if count.since.elapsed() >= WINDOW {
            *count = Count { since: now, failures: 0 };
        }
        count.failures = count.failures.saturating_add(1);
    }

    /// Counts for the ledger what is no failed login, and refused all the same.
    pub fn tell(&self, source: Option<IpAddr>, reason: &'static str) {
        let mut counts = self.lock();
        let source = counts.told_apart(source);
        counts.tell(source, reason);
    }

    /// Takes back what could not be entered.
    pub fn give_back(&self, gathered: &Gathered) {
        let mut counts = self.lock();
        for (reason, count) in &gathered.reasons {
            let sum = counts.reasons.entry(reason).or_default();
            *sum = sum.saturating_add(*count);
        }
        counts.lost_sources = counts.lost_sources.saturating_add(gathered.sources);
    }

    /// What came together since this was last asked.
    pub fn gather(&self) -> Gathered {
        let mut counts = self.lock();
        let reasons = std::mem::take(&mut counts.reasons).into_iter().collect();
        let sources = u32::try_from(std::mem::take(&mut counts.seen).len()).unwrap_or(u32::MAX);
        let sources = sources.saturating_add(std::mem::take(&mut counts.lost_sources));
        Gathered { reasons, sources }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good(&self) -> MutexGuard<'_, HashMap<Shown, Instant>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// What a source counts as: itself, or all further ones together (`None`).
    fn told_apart(&mut self, source: Option<IpAddr>) -> Option<IpAddr> {
        let source = network(source);
        if self.sources.contains_key(&source) || self.sources.len() < MAX_SOURCES {
            return source;
        }
        // Once a second at most: it looks at all of them.
        if self.swept.is_none_or(|swept| swept.elapsed() >= Duration::from_secs(1)) {
            self.swept = Some(Instant::now());
            self.sources.retain(|_, count| count.since.elapsed() < WINDOW);
        }
        source.filter(|_| self.sources.len() < MAX_SOURCES)
    }

    fn tell(&mut self, source: Option<IpAddr>, reason: &'static str) {
        let sum = self.reasons.entry(reason).or_default();
        *sum = sum.saturating_add(1);
        if self.seen.len() < MAX_SOURCES {
            self.seen.insert(source);
        }
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
    use crate::crypto::hash::sha256;

    const GOOD: &Shown = &[1; 32];
    const BAD: &Shown = &[2; 32];

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_source_that_fails_too_often_is_refused_and_the_others_are_not() {
        let failures = Failures::new(3);
        for _ in 0..3 {
            failures.check(address("2001:db8::1"), BAD).unwrap();
            failures.note(address("2001:db8::1"), BAD, RejectReason::Unknown);
        }
        failures.note(address("192.0.2.1"), BAD, RejectReason::Expired);
        let refused =
            |shown| matches!(failures.check(address("2001:db8::ffff:2"), shown), Err(ApiError::Overloaded { .. }));
        assert!(refused(BAD));
        failures.check(address("2001:db8:0:1::1"), BAD).unwrap();
        failures.check(address("192.0.2.1"), BAD).unwrap();
        // Whoever was let in before goes on, until it fails itself.
        failures.passed(*GOOD);
        assert!(!refused(GOOD) && refused(BAD));
        failures.note(address("192.0.2.1"), GOOD, RejectReason::Revoked);
        assert!(refused(GOOD));
        let reasons = vec![("expired", 1), ("rate_limited", 3), ("revoked", 1), ("unknown", 3)];
        let gathered = Gathered { reasons, sources: 2 };
        let found = failures.gather();
        assert_eq!(found, gathered);
        assert_eq!(failures.gather(), Gathered::default());
        failures.give_back(&found);
        assert_eq!(failures.gather(), gathered);
    }

    #[test]
    fn what_the_issuer_is_to_blame_for_is_told_and_counts_against_nobody() {
        let failures = Failures::new(1);
        for _ in 0..5 {
            failures.check(address("192.0.2.1"), BAD).unwrap();
            failures.note(address("192.0.2.1"), BAD, RejectReason::Unavailable);
        }
        assert_eq!(failures.gather().reasons, [("unavailable", 5)]);
    }

    #[test]
    fn however_many_were_let_in_what_is_remembered_has_a_bound_and_the_newest_are_in_it() {
        let failures = Failures::new(1);
        let shown = |number: u32| sha256(&number.to_be_bytes());
        let many = MAX_GOOD as u32 + 1_000;
        (0..many).for_each(|number| failures.passed(shown(number)));
        assert!(failures.good().len() <= MAX_GOOD);
        failures.note(address("192.0.2.1"), BAD, RejectReason::Missing);
        failures.check(address("192.0.2.1"), &shown(many - 1)).unwrap();
        failures.check(address("192.0.2.1"), &shown(0)).unwrap_err();
    }

    #[test]
    fn however_many_sources_there_are_what_is_remembered_has_a_bound() {
        let failures = Failures::new(3);
        for number in 0..MAX_SOURCES as u32 + 1_000 {
            failures.note(Some(IpAddr::from(number.to_be_bytes())), BAD, RejectReason::Missing);
        }
        // What cannot be told apart is refused together.
        failures.check(address("203.0.113.9"), BAD).unwrap_err();
        assert!(failures.lock().sources.len() <= MAX_SOURCES + 1);
        assert_eq!(failures.gather().reasons, [("missing", MAX_SOURCES as u32 + 1_000), ("rate_limited", 1)]);
    }
}
