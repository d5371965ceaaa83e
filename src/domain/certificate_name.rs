//! The name by which a client's certificate is known: its SPIFFE ID, or its subject as RFC 4514 writes one. Here are the rules of what a
//! name may be, the same for one that stands in a certificate and one that an operator writes down. It knows no DER and trusts nobody: whether
//! a certificate is good is decided elsewhere.
//!
//! Names are compared byte by byte. So a name has one form only, and whatever could look like another one is refused: control characters
//! (the NUL of CVE-2009-2408), what turns or hides text (bidi, zero-width), combining marks, spaces at the edges, attributes given twice.
//! Letters that only look alike (a Cyrillic `а`) are other letters, and so another name.

use std::fmt;

use super::{Invalid, Problem};

/// The name of a client's certificate. It may be a person's: `Debug` prints a fixed word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName(String);

/// Why there is no such name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing is there.
    #[error("there is neither a SPIFFE ID nor a subject; issue the certificate with one of them")]
    Empty,
    /// More bytes than a name may have.
    #[error("the name has more than {} bytes; issue the certificate with a shorter one", CertificateName::MAX_BYTES)]
    TooLong,
    /// It begins as a SPIFFE ID, and is none.
    #[error("the SPIFFE ID is not of the form spiffe://trust-domain/path, in the characters that SPIFFE allows")]
    Spiffe,
    /// An attribute that names no one.
    #[error(
        "the subject has an attribute other than CN, C, DC, givenName, L, O, OU, serialNumber, sn, ST, STREET, title and UID"
    )]
    Attribute,
    /// An attribute without a value.
    #[error("the subject has an attribute without a value; leave the attribute out")]
    EmptyValue,
    /// An attribute given twice.
    #[error("the subject has an attribute twice that may be there once (only DC and OU may be repeated)")]
    Repeated,
    /// A character that can mislead.
    #[error("the subject has a character other than letters, digits, and the printable ones of ASCII")]
    Character,
    /// Spaces that cannot be seen.
    #[error("the subject has spaces at the beginning or end of a value, or two in a row")]
    Spaces,
    /// Not as RFC 4514 writes a subject.
    #[error("it is not a subject as RFC 4514 writes it, such as CN=billing,O=Example")]
    Subject,
}

/// A type of attribute that a subject may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    name: &'static str,
    oid: &'static str,
    may_repeat: bool,
}

/// Those of RFC 4514, section 3, and those of RFC 4519 that people's certificates have. Not `emailAddress`: RFC 5280, section 4.1.2.6, has
/// it in the subjectAltName.
const ATTRIBUTES: [Attribute; 13] = [
    Attribute { name: "CN", oid: "2.5.4.3", may_repeat: false },
    Attribute { name: "C", oid: "2.5.4.6", may_repeat: false },
    Attribute { name: "DC", oid: "0.9.2342.19200300.100.1.25", may_repeat: true },
    Attribute { name: "givenName", oid: "2.5.4.42", may_repeat: false },
    Attribute { name: "L", oid: "2.5.4.7", may_repeat: false },
    Attribute { name: "O", oid: "2.5.4.10", may_repeat: false },
    Attribute { name: "OU", oid: "2.5.4.11", may_repeat: true },
    Attribute { name: "serialNumber", oid: "2.5.4.5", may_repeat: false },
    Attribute { name: "sn", oid: "2.5.4.4", may_repeat: false },
    Attribute { name: "ST", oid: "2.5.4.8", may_repeat: false },
    Attribute { name: "STREET", oid: "2.5.4.9", may_repeat: false },
    Attribute { name: "title", oid: "2.5.4.12", may_repeat: false },
    Attribute { name: "UID", oid: "0.9.2342.19200300.100.1.1", may_repeat: false },
];

impl Attribute {
    /// The one with this object identifier, in dotted decimals.
    pub fn of_oid(oid: &str) -> Result<Self, BadName> {
        ATTRIBUTES.into_iter().find(|attribute| attribute.oid == oid).ok_or(BadName::Attribute)
    }

    fn of_name(name: &str) -> Result<Self, BadName> {
        ATTRIBUTES.into_iter().find(|attribute| attribute.name == name).ok_or(BadName::Attribute)
    }
}

const SPIFFE_SCHEME: &str = "spiffe:";

impl CertificateName {
    /// The most bytes of a name: what SPIFFE-ID, section 2.3, sets for a SPIFFE ID. Subjects get no more.
    pub const MAX_BYTES: usize = 2048;

    /// Reads a name that somebody wrote down, in the one form it has.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let name = if Self::claims_spiffe(text) { Self::spiffe(text) } else { Self::written_subject(text) };
        name.map_err(|problem| Invalid::new("certificate_name", problem.into()))
    }

    /// Whether a URI claims to be a SPIFFE ID: what claims it must be one. The scheme counts in any case, as RFC 3986, section 3.1, has it.
    pub fn claims_spiffe(uri: &str) -> bool {
        uri.get(..SPIFFE_SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SPIFFE_SCHEME))
    }

    /// A SPIFFE ID (SPIFFE-ID, section 2): a trust domain in lower case, and a path, as X509-SVID, section 3.1, asks of a leaf.
    pub fn spiffe(uri: &str) -> Result<Self, BadName> {
        const MAX_TRUST_DOMAIN_BYTES: usize = 255;
        if uri.len() > Self::MAX_BYTES {
            return Err(BadName::TooLong);
        }
        let (trust_domain, path) =
            uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or(BadName::Spiffe)?;
        let is_mark = |byte: u8| matches!(byte, b'.' | b'-' | b'_');
        let is_domain = (1..=MAX_TRUST_DOMAIN_BYTES).contains(&trust_domain.len())
            && trust_domain.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || is_mark(byte));
        let is_segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
        };
        let is_valid = is_domain && path.split('/').all(is_segment);
        if is_valid { Ok(Self(uri.to_owned())) } else { Err(BadName::Spiffe) }
    }

    /// A subject by its attributes, in the order in which they stand in the certificate. RFC 4514, section 2.1, writes the last one first.
    pub fn subject<'a>(attributes: impl DoubleEndedIterator<Item = (Attribute, &'a str)>) -> Result<Self, BadName> {
        let (mut name, mut seen) = (String::new(), Vec::new());
        for (attribute, value) in attributes.rev() {
            if seen.contains(&attribute.name) && !attribute.may_repeat {
                return Err(BadName::Repeated);
            }
            check_value(value)?;
            if !seen.is_empty() {
                name.push(',');
            }
            seen.push(attribute.name);
            name.push_str(attribute.name);
            name.push('=');
            push_escaped(&mut name, value);
            if name.len() > Self::MAX_BYTES {
                return Err(BadName::TooLong);
            }
        }
        if name.is_empty() { Err(BadName::Empty) } else { Ok(Self(name)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text is a subject's name if it is what we would write ourselves.
    fn written_subject(text: &str) -> Result<Self, BadName> {
        if text.len() > Self::MAX_BYTES {
            return Err(BadName::TooLong);
        }
        let attributes = split_subject(text)?;
        let name = Self::subject(attributes.iter().rev().map(|(attribute, value)| (*attribute, value.as_str())))?;
        if name.0 == text { Ok(name) } else { Err(BadName::Subject) }
    }
}

impl fmt::Debug for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateName(..)")
    }
}

impl From<BadName> for Problem {
    fn from(problem: BadName) -> Self {
        match problem {
            BadName::Empty => Self::Missing,
            BadName::TooLong => Self::TooLong { limit_bytes: CertificateName::MAX_BYTES as u64 },
            BadName::Spiffe => Self::Malformed { expected: "a SPIFFE ID such as spiffe://example.org/billing" },
            _ => Self::Malformed { expected: "a subject as RFC 4514 writes it, such as CN=billing,O=Example" },
        }
    }
}

/// Hangul's fillers: letters by their category, and nothing to see.
const INVISIBLE_LETTERS: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];

fn check_value(value: &str) -> Result<(), BadName> {
    // Outside of ASCII letters and digits only: no format or private-use characters, no separators, no combining accents.
    let is_letter = |c: char| !c.is_ascii() && c.is_alphanumeric() && !INVISIBLE_LETTERS.contains(&c);
    let is_plain = |c: char| matches!(c, ' '..='~') || is_letter(c);
    if value.is_empty() {
        Err(BadName::EmptyValue)
    } else if !value.chars().all(is_plain) {
        Err(BadName::Character)
    } else if value.starts_with(' ') || value.ends_with(' ') || value.contains("  ") {
        Err(BadName::Spaces)
    } else {
        Ok(())
    }
}

/// RFC 4514, section 2.4. What it escapes besides (NUL, spaces at the edges) no value has.
fn push_escaped(name: &mut String, value: &str) {
    for (at, c) in value.char_indices() {
        if is_special(c) || (c == '#' && at == 0) {
            name.push('\\');
        }
        name.push(c);
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
}

/// The attributes as they stand in the text, with their values unescaped.
fn split_subject(text: &str) -> Result<Vec<(Attribute, String)>, BadName> {
    let mut attributes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').ok_or(BadName::Subject)?;
        let (value, behind) = take_value(value)?;
        attributes.push((Attribute::of_name(name)?, value));
        rest = behind;
    }
    Ok(attributes)
}

/// The value up to the next comma that is not escaped, and what stands behind that comma.
fn take_value(text: &str) -> Result<(String, &str), BadName> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            ',' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(chars.next().map(|(_, escaped)| escaped).ok_or(BadName::Subject)?),
            c => value.push(c),
        }
    }
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(attributes: &[(&str, &str)]) -> Result<String, BadName> {
        let attributes: Vec<_> =
            attributes.iter().map(|(name, value)| (Attribute::of_name(name).unwrap(), *value)).collect();
        CertificateName::subject(attributes.into_iter()).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn a_spiffe_id_is_taken_in_its_one_form_only() {
        let long = format!("spiffe://example.org/{}", "a".repeat(CertificateName::MAX_BYTES - 21));
        let widest = format!("spiffe://{}/a", "d".repeat(255));
        for good in ["spiffe://example.org/billing", "spiffe://a_b-1.c/Ns/x.y_z-1/..a", &long, &widest] {
            assert_eq!(CertificateName::spiffe(good).as_ref().map(CertificateName::as_str), Ok(good));
            assert_eq!(CertificateName::parse(good).unwrap().as_str(), good);
        }
        let bad = [
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/./a",
            "spiffe://Example.org/a",
            "SPIFFE://example.org/a",
            "spiffe:///a",
            "spiffe://user@example.org/a",
            "spiffe://example.org:443/a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a%20b",
            "spiffe://example.org/a\0b",
            "spiffe://example.org/ä",
            "spiffe://ехample.org/a",
            &format!("spiffe://{}/a", "d".repeat(256)),
        ];
        for bad in bad {
            assert_eq!(CertificateName::spiffe(bad), Err(BadName::Spiffe), "{bad:?}");
            assert!(CertificateName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(CertificateName::spiffe(&format!("{long}a")), Err(BadName::TooLong));
    }

    /// The examples of RFC 4514, section 4, as far as their subjects may be ours.
    #[test]
    fn a_subject_is_written_as_rfc_4514_says() {
        assert_eq!(
            subject(&[("DC", "net"), ("DC", "example"), ("UID", "jsmith")]).unwrap(),
            "UID=jsmith,DC=example,DC=net"
        );
        assert_eq!(
            subject(&[("DC", "net"), ("DC", "example"), ("CN", "James \"Jim\" Smith, III")]).unwrap(),
            "CN=James \\\"Jim\\\" Smith\\, III,DC=example,DC=net"
        );
        assert_eq!(subject(&[("CN", "#1+<2>;\\=#")]).unwrap(), "CN=\\#1\\+\\<2\\>\\;\\\\=#");
        assert_eq!(subject(&[("O", "Müller & Söhne"), ("CN", "Ελένη")]).unwrap(), "CN=Ελένη,O=Müller & Söhne");
    }

    #[test]
    fn what_could_pass_for_another_name_is_refused() {
        let refused = |value: &str| subject(&[("CN", value)]).unwrap_err();
        // CVE-2009-2408's NUL and a line break; a bidi override; zero-width space, soft hyphen, tag and filler, which are not seen; an
        // accent that combines; private use; a line separator; a no-break space.
        let hidden =
            ['\u{202e}', '\u{200b}', '\u{ad}', '\u{e0041}', '\u{3164}', '\u{301}', '\u{e000}', '\u{2028}', '\u{a0}'];
        for c in ['\0', '\n'].into_iter().chain(hidden) {
            assert_eq!(refused(&format!("bank.example{c}evil")), BadName::Character, "{c:?}");
        }
        for value in [" a", "a ", "a  b"] {
            assert_eq!(refused(value), BadName::Spaces);
        }
        assert_eq!(refused(""), BadName::EmptyValue);
        assert_eq!(refused(&"a".repeat(CertificateName::MAX_BYTES)), BadName::TooLong);
        assert_eq!(subject(&[]), Err(BadName::Empty));
        assert_eq!(subject(&[("CN", "a"), ("O", "x"), ("CN", "b")]), Err(BadName::Repeated));
        assert_eq!(Attribute::of_oid("1.2.840.113549.1.9.1"), Err(BadName::Attribute));
    }

    #[test]
    fn a_subject_that_is_written_down_is_read_in_its_one_form_only() {
        for good in ["CN=billing", "CN=a\\,b,OU=x,OU=y,O=Ex = ample", "CN=\\#1", "CN=a\\\\,O=b"] {
            assert_eq!(CertificateName::parse(good).unwrap().as_str(), good);
        }
        let bad = [
            "",
            "billing",
            "cn=billing",
            "CN=",
            "CN=a,",
            "CN=a,,O=b",
            "CN=a, O=b",
            "CN=a+O=b",
            "CN=a;O=b",
            "CN=\\a",
            "CN=\\61",
            "CN=a\\",
            "2.5.4.3=a",
            "CN=#0c0161",
            "CN=a\0",
            "CN=a\\ ",
            "CN=a,CN=b",
            "O=b/CN=a\n",
        ];
        for bad in bad {
            assert!(CertificateName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", CertificateName::parse("CN=Ana").unwrap()), "CertificateName(..)");
    }
}
