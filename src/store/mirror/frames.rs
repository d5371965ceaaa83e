//! What a mirror's row files are made of: frames. Each is its length (4 bytes), the SHA-256 leaf hash of its body (32), and the body.
//!
//! A file may end within a frame, where a crash cut it; a frame in the middle that does not hash is damage.

use crate::audit::merkle;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::store::sequence::Position;
use crate::store::{Row, Write};

const WHAT: &str = "a mirror's row file";
/// Length and hash in front of a body.
const HEAD_BYTES: usize = 36;
/// No body is longer: a group of the committer, with room for one batch of the greatest size.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// A frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Rows as they stood when the base came to them.
    Rows(Vec<Row>),
    /// One group of the committer.
    Group(Position, Vec<Write>),
    /// The base is complete, and all groups up to this place are in.
    Complete(Position),
}

/// A frame with rows of the base.
pub(super) fn rows(rows: &[Row]) -> Vec<u8> {
    framed(Writer::default().u8(1).list(rows.iter(), |w, (key, value)| w.framed(key).framed(value)))
}

/// A frame with a group.
pub(super) fn group<'a>(at: Position, writes: impl ExactSizeIterator<Item = &'a Write>) -> Vec<u8> {
    framed(position(Writer::default().u8(2), at).list(writes, |w, write| match write {
        Write::Put { key, value } => w.framed(key).option(Some(value), |w, value| w.framed(value)),
        Write::Delete { key } => w.framed(key).option(None::<()>, |w, ()| w),
    }))
}

/// The frame that ends the base.
pub(super) fn complete(at: Position) -> Vec<u8> {
    framed(position(Writer::default().u8(3), at))
}

fn position(w: Writer, at: Position) -> Writer {
    w.u64(at.sequence).fixed(&at.history)
}

fn framed(body: Writer) -> Vec<u8> {
    let body = body.finish();
    let length = u32::try_from(body.len()).expect("a group is far smaller than 4 GiB");
    [&length.to_be_bytes()[..], &merkle::leaf(&body), &body].concat()
}

/// What comes next in a file.
pub(super) enum Next {
    /// A frame, and how many bytes it takes.
    Frame(Frame, usize),
    /// The file ends here, in the middle of a frame or behind one; or what follows is damaged.
    End,
}

/// Reads the frame at the beginning of `bytes`.
pub(super) fn next(bytes: &[u8]) -> Result<Next, Decode> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Ok(Next::End) };
    let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
    let Some(body) = rest.get(..length).filter(|_| length <= MAX_BODY_BYTES) else { return Ok(Next::End) };
    if merkle::leaf(body)[..] != head[4..] {
        return Ok(Next::End);
    }
    Ok(Next::Frame(decode(body)?, HEAD_BYTES + length))
}

fn decode(body: &[u8]) -> Result<Frame, Decode> {
    let mut reader = Reader::new(WHAT, body);
    let damaged = reader.damaged();
    let frame = match reader.u8()? {
        1 => Frame::Rows(reader.list(|r| Ok((r.framed()?.to_vec(), r.framed()?.to_vec())))?),
        2 => {
            let at = Position { sequence: reader.u64()?, history: reader.array()? };
            let write = |r: &mut Reader<'_>| {
                let key = r.framed()?.to_vec();
                let value = r.option(|r| Ok(r.framed()?.to_vec()))?;
                Ok(value
                    .map_or_else(|| Write::Delete { key: key.clone() }, |value| Write::Put { key: key.clone(), value }))
            };
            Frame::Group(at, reader.list(write)?)
        }
        3 => Frame::Complete(Position { sequence: reader.u64()?, history: reader.array()? }),
        _ => return Err(damaged),
    };
    reader.end()?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_and_every_changed_byte_ends_the_file() {
        let at = Position { sequence: 7, history: [3; 16] };
        let writes = [Write::Put { key: b"k".to_vec(), value: b"v".to_vec() }, Write::Delete { key: b"gone".to_vec() }];
        for (bytes, frame) in [
            (group(at, writes.iter()), Frame::Group(at, writes.to_vec())),
            (rows(&[(b"a".to_vec(), b"b".to_vec())]), Frame::Rows(vec![(b"a".to_vec(), b"b".to_vec())])),
            (complete(at), Frame::Complete(at)),
        ] {
            let Next::Frame(read, length) = next(&bytes).unwrap() else { panic!("a whole frame") };
            assert_eq!((read, length), (frame, bytes.len()));
            for cut in 0..bytes.len() {
                assert!(matches!(next(&bytes[..cut]), Ok(Next::End)), "cut at {cut}");
                let mut changed = bytes.clone();
                changed[cut] ^= 1;
                assert!(matches!(next(&changed), Ok(Next::End)), "changed at {cut}");
            }
        }
    }
}
