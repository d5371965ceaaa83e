//! Length framing: how several byte strings become one without two lists of strings ever becoming the same.

use zeroize::Zeroizing;

/// `len(first) || first || len(part) || part || ...`, lengths in four bytes, big-endian. No two lists of strings
/// give the same bytes. Wiped when dropped: parts may be personal.
pub(super) fn framed(first: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let all = || std::iter::once(first).chain(parts.iter().copied());
    let mut out = Zeroizing::new(Vec::with_capacity(all().map(|part| size_of::<u32>() + part.len()).sum()));
    for part in all() {
        let length = u32::try_from(part.len()).expect("framed parts are names and ids, far shorter than 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::framed;

    #[test]
    fn moving_a_boundary_changes_the_bytes() {
        let all = [
            framed(b"ab", &[b"c"]),
            framed(b"a", &[b"bc"]),
            framed(b"abc", &[]),
            framed(b"", &[b"abc"]),
            framed(b"abc", &[b""]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| one != other));
        }
        assert_eq!(framed(b"ab", &[b"c"]).as_slice(), b"\0\0\0\x02ab\0\0\0\x01c");
    }
}
