//! What every token says (RFC 7519, section 4.1): who made it, for whom, for how long, about whom. Types are strict: a date that
//! is a string is no date (CVE-2026-25537). It never decides what the bearer may do.

use serde_json::Value;

use super::json::{self, Object};
use super::jws::Verified;
use crate::access::identity::RejectReason;
use crate::domain::clock::{CLOCK_SKEW_MS, Timestamp};

/// The most bytes of a `sub` or `jti`. OpenID Connect allows 255 for `sub`.
pub const MAX_ID_BYTES: usize = 255;
/// How many `act` may stand inside each other.
pub const MOST_ACTORS: usize = 4;

/// The claims of a token that its issuer made for us, and whose time it is.
pub struct Claims {
    all: Object,
    issuer: String,
    token_id: Option<String>,
    expires: Timestamp,
}

impl Claims {
    /// Reads and checks the claims of a token whose signature was right. Clocks may differ by a minute ([`CLOCK_SKEW_MS`]), and no token may live
    /// longer than `max_life_ms`: what its issuer takes back ends here when the token does.
    ///
    /// Refuses with `BadClaims`, `WrongIssuer`, `WrongAudience`, `Expired`, `NotYetValid` or `TooLongLived`.
    pub fn check(
        payload: &Verified,
        (issuer, audience): (&str, &str),
        max_life_ms: u64,
        now: Timestamp,
    ) -> Result<Self, RejectReason> {
        let all = json::parse(payload.as_bytes()).ok_or(RejectReason::BadClaims)?;
        check_issuer(&all, issuer)?;
        check_audience(&all, audience)?;
        let expires = check_times(&all, max_life_ms, now)?;
        // The holder would have to prove a key (RFC 7800), and here nobody asks for the proof.
        if all.contains_key("cnf") {
            return Err(RejectReason::BadClaims);
        }
        id(&all, "sub")?.ok_or(RejectReason::BadClaims)?;
        let token_id = id(&all, "jti")?.map(str::to_owned);
        check_actors(&all, issuer)?;
        Ok(Self { all, issuer: issuer.to_owned(), token_id, expires })
    }

    /// All of them.
    pub fn all(&self) -> &Object {
        &self.all
    }

    /// Who acts for the subject (RFC 8693, section 4.1): what the outermost `act` says.
    pub fn actor(&self) -> Option<&Object> {
        self.all.get("act").and_then(Value::as_object)
    }

    /// Who made the token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token's own name.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// When the token's time ends. It was taken for a minute longer.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

fn check_issuer(claims: &Object, expected: &str) -> Result<(), RejectReason> {
    match claims.get("iss") {
        Some(Value::String(issuer)) if issuer == expected => Ok(()),
        Some(Value::String(_)) => Err(RejectReason::WrongIssuer),
        _ => Err(RejectReason::BadClaims),
    }
}

fn check_audience(claims: &Object, expected: &str) -> Result<(), RejectReason> {
    let is_ours = match claims.get("aud") {
        Some(Value::String(audience)) => audience == expected,
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => all.iter().any(|audience| audience == expected),
        _ => return Err(RejectReason::BadClaims),
    };
    if is_ours { Ok(()) } else { Err(RejectReason::WrongAudience) }
}

/// When the token ends. Each date is read before one is judged, so that a malformed one is never passed over.
fn check_times(claims: &Object, max_life_ms: u64, now: Timestamp) -> Result<Timestamp, RejectReason> {
    let expires = date(claims, "exp")?.ok_or(RejectReason::BadClaims)?;
    let made = date(claims, "iat")?;
    let begins = [date(claims, "nbf")?, made];
    if expires.plus_ms(CLOCK_SKEW_MS) <= now {
        return Err(RejectReason::Expired);
    }
    if begins.into_iter().flatten().any(|begin| begin > now.plus_ms(CLOCK_SKEW_MS)) {
        return Err(RejectReason::NotYetValid);
    }
    // One that does not say when it was made is taken to be made now.
    let longest = made.unwrap_or(now).min(now.plus_ms(CLOCK_SKEW_MS)).plus_ms(max_life_ms);
    if expires > longest {
        return Err(RejectReason::TooLongLived);
    }
    Ok(expires)
}

/// A `NumericDate`: seconds since 1970, whole or with a fraction (RFC 7519, section 2), until the year 9999.
fn date(claims: &Object, name: &str) -> Result<Option<Timestamp>, RejectReason> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole_ms = |seconds: u64| seconds.checked_mul(1000);
    let parsed = value.as_u64().map_or_else(|| value.as_f64().and_then(ms_of_fraction), whole_ms);
    parsed.and_then(Timestamp::from_ms).map(Some).ok_or(RejectReason::BadClaims)
}

fn ms_of_fraction(seconds: f64) -> Option<u64> {
    let ms = seconds * 1000.0;
    let is_in_range = ms.is_sign_positive() && ms <= Timestamp::MAX.as_ms() as f64;
    is_in_range.then_some(ms as u64)
}

fn id<'a>(claims: &'a Object, name: &str) -> Result<Option<&'a str>, RejectReason> {
    json::text(claims, name, MAX_ID_BYTES).map_err(|_| RejectReason::BadClaims)
}

/// Checks the actors. Those inside the outermost acted before and decide nothing (RFC 8693, section 4.1); they must only be well formed.
/// An actor of another issuer is none that we know by name.
fn check_actors(claims: &Object, issuer: &str) -> Result<(), RejectReason> {
    let Some(outermost) = claims.get("act") else { return Ok(()) };
    let mut next = Some(outermost);
    let mut actors = 0;
    while let Some(act) = next {
        actors += 1;
        let act = act.as_object().filter(|_| actors <= MOST_ACTORS).ok_or(RejectReason::BadClaims)?;
        next = act.get("act");
    }
    let is_of_ours = outermost.get("iss").is_none_or(|of| of == issuer);
    let is_named = outermost.get("sub").is_some_and(Value::is_string);
    if is_of_ours && is_named { Ok(()) } else { Err(RejectReason::BadClaims) }
}
