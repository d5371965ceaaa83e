//! Bearer tokens: from the text of a header to a principal. It never looks a token up, and never computes a hash: both are
//! given to it, so that here is only the decision.

use std::fmt::Write as _;

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Refused, jwt};
use crate::domain::clock::Timestamp;
use crate::domain::codec::unhex;
use crate::domain::ids::TokenId;
use crate::domain::principal::{Outsider, Principal, StoredIdentity, TokenEntry};

/// Bytes of a token's secret.
pub const SECRET_BYTES: usize = 32;

const SCHEME: &str = "Bearer ";
const PREFIX: &str = "obl_";
const ID_DIGITS: usize = 32;
const TEXT_BYTES: usize = PREFIX.len() + ID_DIGITS + 1 + 2 * SECRET_BYTES;

/// A bearer token with its secret: `obl_`, the token's id in 32 digits of lower-case hexadecimal, `_`, the secret in 64.
pub struct BearerToken {
    id: TokenId,
    secret: Box<Zeroizing<[u8; SECRET_BYTES]>>,
}

impl BearerToken {
    /// A new token of a random secret.
    pub fn mint(id: TokenId, mut secret: [u8; SECRET_BYTES]) -> Self {
        let mut token = Self { id, secret: Box::new(Zeroizing::new([0; SECRET_BYTES])) };
        token.secret.copy_from_slice(&secret);
        secret.zeroize();
        token
    }

    /// Reads the value of an `authorization` header: `Bearer`, in any case, one space, the token.
    pub fn parse_header(value: &str) -> Result<Self, Unauthenticated> {
        let malformed = Unauthenticated(RejectReason::Malformed);
        if value.len() != SCHEME.len() + TEXT_BYTES || !value.is_ascii() {
            return Err(malformed);
        }
        let (scheme, text) = value.split_at(SCHEME.len());
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(malformed);
        }
        Self::parse(text).ok_or(malformed)
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let mut token = Self::mint(TokenId::parse(id)?, [0; SECRET_BYTES]);
        if secret.len() != 2 * SECRET_BYTES {
            return None;
        }
        for (at, byte) in token.secret.iter_mut().enumerate() {
            [*byte] = unhex(secret.get(2 * at..2 * at + 2)?)?;
        }
        Some(token)
    }

    /// The token's id.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The secret, to be hashed.
    pub fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// The text of the token, to be shown to its owner once.
    pub fn reveal(&self) -> Zeroizing<String> {
        // Room for all of it, so that no part is left behind by a growing buffer.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
        write!(text, "{PREFIX}{}_", self.id).expect("writing to a string cannot fail");
        for byte in self.secret.iter() {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        text
    }
}

/// The caller did not show who it is. To the caller all reasons look alike; the metrics may count them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no valid bearer token; send `authorization: Bearer ...` with one that is neither expired nor revoked")]
pub struct Unauthenticated(RejectReason);

impl Unauthenticated {
    /// There was no `authorization` header.
    pub const MISSING: Self = Self(RejectReason::Missing);

    /// Why. Not for the caller.
    pub fn reason(self) -> RejectReason {
        self.0
    }
}

impl From<RejectReason> for Unauthenticated {
    fn from(reason: RejectReason) -> Self {
        Self(reason)
    }
}

/// Why a caller was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// No token came.
    Missing,
    /// What came does not have the form of a token.
    Malformed,
    /// No token has this id.
    Unknown,
    /// The secret is not the token's.
    WrongSecret,
    /// The token was revoked.
    Revoked,
    /// The token's time is over.
    Expired,
    /// An issuer's token is signed by an algorithm that is not allowed, or not by that of the key.
    WrongAlgorithm,
    /// The issuer has no such key.
    UnknownKey,
    /// The signature is not that of the issuer's key.
    BadSignature,
    /// Another issuer made the token.
    WrongIssuer,
    /// The token was made for somebody else.
    WrongAudience,
    /// The token's time has not begun.
    NotYetValid,
    /// The token lives longer than its issuer's may.
    TooLongLived,
    /// A claim is missing, or is not what it must be.
    BadClaims,
    /// The issuer's keys could not be had for too long.
    Unavailable,
    /// The client's certificate is not believed any more.
    UntrustedCertificate,
}

impl RejectReason {
    /// A word for metrics and the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::WrongSecret => "wrong_secret",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NotYetValid => "not_yet_valid",
            Self::TooLongLived => "too_long_lived",
            Self::BadClaims => "bad_claims",
            Self::Unavailable => "unavailable",
            Self::UntrustedCertificate => "untrusted_certificate",
        }
    }
}

/// Decides who calls. `presented_hash` is the SHA-256 of the token's secret, `stored` what the vault found under its id.
///
/// A suspended tenant is told to those only who hold a valid token of it.
pub fn authenticate(
    token: &BearerToken,
    presented_hash: [u8; 32],
    stored: Option<StoredIdentity>,
    now: Timestamp,
) -> Result<Principal, Refused> {
    // Without a token the comparison is made all the same, so that an unknown id takes no less time than a wrong secret.
    let expected = stored.as_ref().map_or([0; 32], |stored| stored.token.secret_hash);
    let hash_is_right = bool::from(presented_hash.ct_eq(&expected));
    let unauthenticated = |reason| Err(Unauthenticated(reason).into());
    let Some(stored) = stored.filter(|stored| stored.token.id == token.id()) else {
        return unauthenticated(RejectReason::Unknown);
    };
    // Of a certificate there is no secret.
    if !hash_is_right || stored.token.certificate.is_some() {
        return unauthenticated(RejectReason::WrongSecret);
    }
    if let Some(reason) = worthless(&stored.token, stored.principal.blocked, now) {
        return unauthenticated(reason);
    }
    if stored.suspended {
        return Err(Refused::Suspended);
    }
    Ok(admitted(stored))
}

/// Decides who calls, where an issuer says who it is: `known` is what the vault knows of that one, `credential` stands for the token.
pub fn vouched_for(
    identity: jwt::mapping::Identity,
    known: Option<Outsider>,
    credential: TokenId,
) -> Result<Principal, Refused> {
    let unauthenticated = |reason| Err(Unauthenticated(reason).into());
    let Some(known) = known else { return unauthenticated(RejectReason::Unknown) };
    if known.blocked || known.revoked {
        return unauthenticated(RejectReason::Revoked);
    }
    if known.suspended {
        return Err(Refused::Suspended);
    }
    let jwt::mapping::Identity { tenant: tenant_name, name, mut roles, teams, .. } = identity;
    let Outsider { tenant, alias, actor, .. } = known;
    // Whom the tenant knows by this name has no role that the tenant does not give: so a role is taken back at once, whatever the token says.
    if let Some(given) = known.roles {
        roles.retain(|role| given.contains(role));
    }
    Ok(Principal { tenant, tenant_name, name, alias, roles, teams, token: credential, actor, actor_token: None })
}

/// Decides who calls, where a certificate that is believed says who it is: `stored` is what the vault found under its name.
pub fn certified(stored: Option<StoredIdentity>, now: Timestamp) -> Result<Principal, Refused> {
    let unauthenticated = |reason| Err(Unauthenticated(reason).into());
    let Some(stored) = stored.filter(|stored| stored.token.certificate.is_some()) else {
        return unauthenticated(RejectReason::Unknown);
    };
    if let Some(reason) = worthless(&stored.token, stored.principal.blocked, now) {
        return unauthenticated(reason);
    }
    if stored.suspended {
        return Err(Refused::Suspended);
    }
    Ok(admitted(stored))
}

/// Decides who calls, where a token of `caller` comes over a connection with the certificate of `client`: the token's right counts, and both
/// are told.
pub fn over_connection_of(caller: Principal, client: Principal) -> Result<Principal, Refused> {
    if (caller.tenant, caller.alias) == (client.tenant, client.alias) {
        return Ok(caller);
    }
    on_behalf_of(client, caller)
}

fn foreign() -> Refused {
    Unauthenticated(RejectReason::WrongAudience).into()
}

/// Decides for whom is called, where `caller` (a platform) shows `behalf`, whom it calls for: that one's right counts, and both are told.
pub fn on_behalf_of(caller: Principal, behalf: Principal) -> Result<Principal, Refused> {
    // Of three parties one would not be told.
    let is_of_two = caller.actor.is_none() && behalf.actor.is_none_or(|actor| actor == caller.alias);
    if caller.tenant != behalf.tenant || !is_of_two {
        return Err(foreign());
    }
    Ok(Principal { actor: Some(caller.alias), actor_token: Some(caller.token), ..behalf })
}

fn worthless(token: &TokenEntry, is_blocked: bool, now: Timestamp) -> Option<RejectReason> {
    match token {
        _ if is_blocked || token.revoked => Some(RejectReason::Revoked),
        _ if token.expires <= now => Some(RejectReason::Expired),
        _ => None,
    }
}

fn admitted(stored: StoredIdentity) -> Principal {
    Principal {
        tenant: stored.tenant,
        tenant_name: stored.tenant_name,
        name: stored.principal.name,
        alias: stored.alias,
        roles: stored.principal.roles,
        teams: stored.principal.teams,
        token: stored.token.id,
        actor: None,
        actor_token: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{BlindIndex, PrincipalName, TenantId, TenantName};
    use crate::domain::principal::PrincipalEntry;

    const ID: TokenId = TokenId([0xa1; 16]);

    fn stored() -> StoredIdentity {
        let name = PrincipalName::parse("ana").unwrap();
        StoredIdentity {
            token: TokenEntry {
                id: ID,
                secret_hash: [7; 32],
                principal: name.clone(),
                created: at(1),
                expires: at(1000),
                revoked: false,
                certificate: None,
            },
            principal: PrincipalEntry { name, roles: Default::default(), teams: Default::default(), blocked: false },
            tenant: TenantId([1; 16]),
            tenant_name: TenantName::parse("acme").unwrap(),
            alias: BlindIndex([2; 16]),
            suspended: false,
        }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms).unwrap()
    }

    #[test]
    fn a_token_survives_its_text_and_nothing_but_its_text_is_taken() {
        let text = BearerToken::mint(ID, std::array::from_fn(|i| i as u8 * 7)).reveal();
        assert_eq!(text.len(), TEXT_BYTES);
        let token = BearerToken::parse_header(&format!("bEARER {}", *text)).ok().unwrap();
        assert_eq!((token.id(), token.secret()[31]), (ID, 217));
        let good = format!("Bearer {}", *text);
        let bad = [
            String::new(),
            text.to_string(),
            good.to_uppercase(),
            good.replacen("Bearer ", "Basic  ", 1),
            good.replacen("Bearer ", "Bearer\t", 1),
            good.replacen("obl_", "obl-", 1),
            good.replacen("a1_", "a1-", 1),
            good.replacen("a1_", "_a1", 1),
            good.replacen("a1", "é", 1),
            good.replacen("a1", "+1", 1),
            format!("{good} "),
            format!("{good}0"),
            good[..good.len() - 1].to_owned(),
            "Bearer ".repeat(1 << 16),
        ];
        for bad in bad {
            let refused = BearerToken::parse_header(&bad).err().unwrap();
            assert_eq!(refused.reason(), RejectReason::Malformed, "{bad:.120}");
        }
    }

    #[test]
    fn every_flaw_is_refused_and_all_look_alike() {
        let token = BearerToken::mint(ID, [9; 32]);
        let check = |change: fn(&mut StoredIdentity), hash, now| {
            let mut stored = stored();
            change(&mut stored);
            authenticate(&token, [hash; 32], Some(stored), at(now)).map(|principal| principal.token)
        };
        assert_eq!(check(|_| (), 7, 999), Ok(ID));
        let flaws = [
            (authenticate(&token, [0; 32], None, at(5)).map(|_| ID), RejectReason::Unknown),
            (check(|s| s.token.id = TokenId([3; 16]), 7, 5), RejectReason::Unknown),
            (check(|s| s.suspended = true, 8, 5), RejectReason::WrongSecret),
            (check(|s| s.token.revoked = true, 7, 5), RejectReason::Revoked),
            (check(|_| (), 7, 1000), RejectReason::Expired),
            (check(|s| s.principal.blocked = true, 7, 5), RejectReason::Revoked),
        ];
        for (outcome, reason) in flaws {
            assert_eq!(outcome, Err(Refused::Unauthenticated(Unauthenticated(reason))));
            assert_eq!(outcome.unwrap_err().to_string(), Unauthenticated::MISSING.to_string());
        }
        assert_eq!(check(|s| s.suspended = true, 7, 5), Err(Refused::Suspended));
    }

    #[test]
    fn a_certificate_is_no_token_and_a_token_no_certificate() {
        let name = crate::domain::certificate_name::CertificateName::parse("CN=billing").unwrap();
        let mut bound = stored();
        (bound.token.secret_hash, bound.token.certificate) = ([0; 32], Some(name));
        let as_token = authenticate(&BearerToken::mint(ID, [9; 32]), [0; 32], Some(bound.clone()), at(5));
        let refused = |reason| Some(Refused::Unauthenticated(Unauthenticated(reason)));
        assert_eq!(as_token.err(), refused(RejectReason::WrongSecret));
        assert_eq!(certified(Some(stored()), at(5)).err(), refused(RejectReason::Unknown));
        assert_eq!(certified(Some(bound.clone()), at(5)).unwrap().token, ID);
        assert_eq!(certified(Some(bound), at(1000)).err(), refused(RejectReason::Expired));
    }

    #[test]
    fn of_two_parties_both_are_told_and_three_are_refused() {
        let party = |alias: u8, actor: Option<u8>| Principal {
            alias: BlindIndex([alias; 16]),
            actor: actor.map(|actor| BlindIndex([actor; 16])),
            actor_token: None,
            ..admitted(stored())
        };
        let foreign = Principal { tenant: TenantId([8; 16]), ..party(1, None) };
        let told =
            |one: Result<Principal, Refused>| one.map(|one| (one.alias.0[0], one.actor.map(|actor| actor.0[0]))).ok();
        assert_eq!(told(over_connection_of(party(2, None), party(1, None))), Some((2, Some(1))));
        assert_eq!(told(over_connection_of(party(1, None), party(1, None))), Some((1, None)));
        // Its platform's own connection, and somebody else's.
        assert_eq!(told(over_connection_of(party(2, Some(1)), party(1, None))), Some((2, Some(1))));
        assert_eq!(told(over_connection_of(party(2, Some(3)), party(1, None))), None);
        assert_eq!(told(over_connection_of(party(2, None), foreign)), None);
        assert_eq!(told(on_behalf_of(party(1, Some(3)), party(2, None))), None);
        assert_eq!(told(on_behalf_of(party(1, None), party(2, Some(3)))), None);
    }
}
