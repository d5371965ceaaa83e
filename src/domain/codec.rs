//! The one way in which stored things are written as bytes: big-endian integers and length-framed strings, by hand.
//!
//! Every stored format begins with a version byte. A reader that meets a newer version says so ([`Decode::NewerVersion`])
//! and reads nothing of it.

use zeroize::Zeroizing;

/// Why bytes could not be read as the thing they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Decode {
    /// The bytes end too early, run on after the end, or hold a value that the format does not have.
    #[error("damaged: {what} cannot be read")]
    Damaged {
        /// What was read.
        what: &'static str,
    },
    /// Written by a newer Oubliette.
    #[error("{what} has format version {found}, this program reads up to {known}: use the newer program that wrote it")]
    NewerVersion {
        /// What was read.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest version known here.
        known: u8,
    },
}

/// The first buffer of a [`Writer`] that was not told how much comes.
const SMALLEST: usize = 64;

/// Writes a stored thing. What it holds is wiped when dropped, and when it moves to a larger buffer.
#[derive(Default)]
pub struct Writer {
    bytes: Zeroizing<Vec<u8>>,
}

impl Writer {
    /// Begins with the version of the format.
    pub fn versioned(version: u8) -> Self {
        Self::default().u8(version)
    }

    /// An empty writer with room for `capacity` bytes, so that secrets are not left behind by a growing buffer.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(capacity)) }
    }

    /// One byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.fixed(&[value])
    }

    /// Two bytes.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Four bytes.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Eight bytes.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Bytes whose number the reader knows.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.make_room(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Room for `more` bytes. `Vec` would free the smaller buffer with its content in it.
    fn make_room(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            let room = (self.bytes.len() + more).max(2 * self.bytes.capacity()).max(SMALLEST);
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }

    /// Bytes with their number (four bytes) in front.
    #[must_use]
    pub fn framed(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).expect("stored things are far smaller than 4 GiB");
        self.u32(length).fixed(bytes)
    }

    /// A string, framed.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.framed(text.as_bytes())
    }

    /// One byte that says whether `value` is there, then the value.
    #[must_use]
    pub fn option<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            None => self.u8(0),
            Some(value) => write(self.u8(1), value),
        }
    }

    /// The number of items (four bytes), then the items.
    #[must_use]
    pub fn list<T>(self, items: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(Self, T) -> Self) -> Self {
        let count = u32::try_from(items.len()).expect("lists are bounded far below 4 billion");
        items.fold(self.u32(count), &mut write)
    }

    /// The bytes written.
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

/// Reads a stored thing.
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which should be a `what`.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// Reads `bytes` that begin with a version, of which versions 1 to `known` are understood.
    pub fn versioned(what: &'static str, bytes: &'a [u8], known: u8) -> Result<(Self, u8), Decode> {
        let mut reader = Self::new(what, bytes);
        match reader.u8()? {
            0 => Err(reader.damaged()),
            found if found > known => Err(Decode::NewerVersion { what, found, known }),
            version => Ok((reader, version)),
        }
    }

    /// The error that says these bytes are damaged.
    pub fn damaged(&self) -> Decode {
        Decode::Damaged { what: self.what }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Decode> {
        if count > self.rest.len() {
            return Err(self.damaged());
        }
        let (head, tail) = self.rest.split_at(count);
        self.rest = tail;
        Ok(head)
    }

    /// An array of known length.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Decode> {
        let damaged = self.damaged();
        self.take(N)?.try_into().map_err(|_| damaged)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Decode> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Decode> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Decode> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Decode> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Framed bytes.
    pub fn framed(&mut self) -> Result<&'a [u8], Decode> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| self.damaged())?)
    }

    /// A framed string.
    pub fn text(&mut self) -> Result<&'a str, Decode> {
        let damaged = self.damaged();
        std::str::from_utf8(self.framed()?).map_err(|_| damaged)
    }

    /// An optional value.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Decode>) -> Result<Option<T>, Decode> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(self.damaged()),
        }
    }

    /// A list of items, each at least one byte long.
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Decode>) -> Result<Vec<T>, Decode> {
        let count = usize::try_from(self.u32()?).map_err(|_| self.damaged())?;
        if count > self.rest.len() {
            return Err(self.damaged());
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the reading; bytes left over are damage.
    pub fn end(self) -> Result<(), Decode> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged()) }
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Reads exactly `N` bytes of lower-case hexadecimal; `None` for anything else.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
