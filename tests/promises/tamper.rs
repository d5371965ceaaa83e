//! Whoever can write to the disk can destroy, but not change: every flipped bit, cut, addition and exchange of sealed content
//! and wrapped keys is refused, and nothing of a refused chunk is released.

use oubliette::crypto::content::{self, CHUNK, HEADER, Opener, SEALED_CHUNK, TAG};
use oubliette::crypto::{CannotOpen, Key, key_wrap, random_bytes};

const CONTEXT: &[u8] = b"tenant, handle, record 1, revision 1";
const OTHER_CONTEXT: &[u8] = b"tenant, handle, record 1, revision 2";
const CHAT: &[u8] = b"Customer: my card was charged twice. Agent: I am looking at it now, one moment please.";

#[test]
fn every_flipped_bit_of_a_small_message_is_refused() {
    let key = Key::random();
    let sealed = content::seal(&key, CONTEXT, CHAT);
    assert_opens(&key, CONTEXT, &sealed, CHAT);
    every_flip(&sealed, 1, |flipped| assert_refused(&key, CONTEXT, flipped));
}

#[test]
fn a_flipped_bit_in_every_byte_of_a_long_message_is_refused() {
    let key = Key::random();
    let sealed = content::seal(&key, CONTEXT, &long_content(1));
    // Nine is coprime to eight: every byte is hit, at every place in the byte in turn.
    every_flip(&sealed, 9, |flipped| assert_refused(&key, CONTEXT, flipped));
}

#[test]
fn every_truncation_and_extension_of_a_message_is_refused() {
    let key = Key::random();
    let other = content::seal(&key, CONTEXT, CHAT);
    for plain in [&b""[..], CHAT, &long_content(1), &long_content(1)[..CHUNK]] {
        let sealed = content::seal(&key, CONTEXT, plain);
        assert_opens(&key, CONTEXT, &sealed, plain);
        (0..sealed.len()).for_each(|length| assert_refused(&key, CONTEXT, &sealed[..length]));
        (1..sealed.len().min(100)).for_each(|start| assert_refused(&key, CONTEXT, &sealed[start..]));
        for more in [&[0; 2 * TAG][..], &random_bytes::<64>(), &sealed, &sealed[HEADER..], &other[HEADER..]] {
            (1..=more.len().min(200)).for_each(|length| {
                assert_refused(&key, CONTEXT, &[&sealed, &more[..length]].concat());
            });
            assert_refused(&key, CONTEXT, &[sealed.as_slice(), more].concat());
        }
    }
}

#[test]
fn every_exchange_of_chunks_within_a_message_is_refused() {
    let key = Key::random();
    let sealed = content::seal(&key, CONTEXT, &long_content(3));
    let pieces = pieces(&sealed);
    for one in 1..pieces.len() {
        assert_refused(&key, CONTEXT, &without(&pieces, one).concat());
        for other in (1..pieces.len()).filter(|other| *other != one) {
            let mut swapped = pieces.clone();
            swapped.swap(one, other);
            assert_refused(&key, CONTEXT, &swapped.concat());
            let mut doubled = pieces.clone();
            doubled[one] = doubled[other];
            assert_refused(&key, CONTEXT, &doubled.concat());
            let mut inserted = pieces.clone();
            inserted.insert(one, inserted[other]);
            assert_refused(&key, CONTEXT, &inserted.concat());
        }
    }
}

#[test]
fn every_exchange_between_two_messages_is_refused() {
    let key = Key::random();
    // The same content, key and context: nothing but the salt tells the two apart.
    let [one, other] = [(); 2].map(|()| content::seal(&key, CONTEXT, &long_content(3)));
    let (one, other) = (pieces(&one), pieces(&other));
    for mine in 0..one.len() {
        for theirs in &other {
            let mut mixed = one.clone();
            mixed[mine] = theirs;
            assert_refused(&key, CONTEXT, &mixed.concat());
        }
        if (1..one.len()).contains(&mine) {
            assert_refused(&key, CONTEXT, &[&one[..mine], &other[mine..]].concat().concat());
        }
    }
    let salt = HEADER - 32;
    let header = [&one[0][..salt], &other[0][salt..]].concat();
    assert_eq!(Opener::new(&key, CONTEXT, &header).err(), Some(CannotOpen));
}

#[test]
fn content_opens_under_its_own_key_and_context_only() {
    let (key, other_key) = (Key::random(), Key::random());
    let sealed = content::seal(&key, CONTEXT, CHAT);
    assert_refused(&other_key, CONTEXT, &sealed);
    for context in [OTHER_CONTEXT, b"", &CONTEXT[1..], &CONTEXT[..CONTEXT.len() - 1], &[CONTEXT, b"\0"].concat()] {
        assert_refused(&key, context, &sealed);
    }
    // Bytes moved from the context to the end of the salt, or back, are other bytes too.
    assert_refused(&key, &[&sealed[..1], CONTEXT].concat(), &sealed[1..]);
}

#[test]
fn a_chunk_opens_at_its_own_place_only_and_a_refused_one_releases_nothing() {
    let key = Key::random();
    let plain = long_content(2);
    let sealed = content::seal(&key, CONTEXT, &plain);
    let chunks = &pieces(&sealed)[1..];
    let opener = Opener::new(&key, CONTEXT, &sealed[..HEADER]).unwrap();
    for (index, chunk) in (0..).zip(chunks) {
        for place in (0..5).chain([1 << 32, (1 << 38) - 1, 1 << 38, u64::MAX]) {
            for is_last in [false, true] {
                let mut out = b"before".to_vec();
                let opened = opener.chunk(place, chunk, is_last, &mut out);
                let belongs = place == index && is_last == (chunk.len() < SEALED_CHUNK);
                assert_eq!(opened.is_ok(), belongs, "chunk {index} at {place}, last: {is_last}");
                assert_eq!(out == b"before", !belongs);
            }
        }
        let mut out = Vec::new();
        opener.chunk(index, chunk, chunk.len() < SEALED_CHUNK, &mut out).unwrap();
        let start = usize::try_from(index).unwrap() * CHUNK;
        assert_eq!(out, plain[start..start + chunk.len() - TAG]);
    }
}

#[test]
fn every_change_of_a_wrapped_key_or_sealed_row_is_refused() {
    let (key, inner) = (Key::random(), Key::random());
    let wrapped = key_wrap::wrap(&key, CONTEXT, &inner);
    assert!(key_wrap::unwrap(&key, CONTEXT, &wrapped).unwrap().same_as(&inner));
    check_every_change(&wrapped, |aad, sealed| key_wrap::unwrap(&key, aad, sealed).map(|_| ()));

    let row = key_wrap::seal(&key, CONTEXT, CHAT);
    assert_eq!(key_wrap::open(&key, CONTEXT, &row).unwrap().as_slice(), CHAT);
    check_every_change(&row, |aad, sealed| key_wrap::open(&key, aad, sealed).map(|_| ()));

    // A row of another length is no key, even where it opens.
    assert_eq!(key_wrap::unwrap(&key, CONTEXT, &row).err(), Some(CannotOpen));
    // Nonce of one, the rest of another. Both ends differ, so that no mixture is one of the two, which opens rightly.
    let again = std::iter::repeat_with(|| key_wrap::wrap(&key, CONTEXT, &inner))
        .find(|again| again.first() != wrapped.first() && again.last() != wrapped.last())
        .unwrap();
    for cut in 1..wrapped.len() {
        let mixed = [&wrapped[..cut], &again[cut..]].concat();
        assert_eq!(key_wrap::unwrap(&key, CONTEXT, &mixed).err(), Some(CannotOpen), "cut at {cut}");
    }
    assert_eq!(key_wrap::unwrap(&Key::random(), CONTEXT, &wrapped).err(), Some(CannotOpen));
}

/// Flips, cuts and extends what `open` opens with [`CONTEXT`], and gives it other contexts.
fn check_every_change(sealed: &[u8], open: impl Fn(&[u8], &[u8]) -> Result<(), CannotOpen>) {
    let refused = |aad: &[u8], sealed: &[u8]| assert_eq!(open(aad, sealed), Err(CannotOpen));
    every_flip(sealed, 1, |flipped| refused(CONTEXT, flipped));
    (0..sealed.len()).for_each(|length| refused(CONTEXT, &sealed[..length]));
    (1..sealed.len()).for_each(|start| refused(CONTEXT, &sealed[start..]));
    (1..64).for_each(|more| refused(CONTEXT, &[sealed, &vec![0; more]].concat()));
    [OTHER_CONTEXT, b"", &CONTEXT[1..]].into_iter().for_each(|aad| refused(aad, sealed));
}

/// Gives `check` the data with bit 0, bit `step`, bit 2 * `step`, ... flipped, one at a time.
fn every_flip(sealed: &[u8], step: usize, check: impl Fn(&[u8])) {
    let mut data = sealed.to_vec();
    for bit in (0..sealed.len() * 8).step_by(step) {
        data[bit / 8] ^= 1 << (bit % 8);
        check(&data);
        data[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(data, sealed);
}

fn assert_opens(key: &Key, context: &[u8], sealed: &[u8], plain: &[u8]) {
    assert_eq!(content::open(key, context, sealed).unwrap().as_slice(), plain);
}

fn assert_refused(key: &Key, context: &[u8], sealed: &[u8]) {
    assert_eq!(content::open(key, context, sealed).err(), Some(CannotOpen), "{} bytes", sealed.len());
}

/// `full` full chunks and a short one, of equal bytes: the ciphertext alone tells the chunks apart.
fn long_content(full: usize) -> Vec<u8> {
    vec![b'~'; full * CHUNK + 100]
}

/// The header, then each sealed chunk.
fn pieces(sealed: &[u8]) -> Vec<&[u8]> {
    let (header, chunks) = sealed.split_at(HEADER);
    std::iter::once(header).chain(chunks.chunks(SEALED_CHUNK)).collect()
}

fn without<'a>(pieces: &[&'a [u8]], index: usize) -> Vec<&'a [u8]> {
    let mut rest = pieces.to_vec();
    rest.remove(index);
    rest
}
