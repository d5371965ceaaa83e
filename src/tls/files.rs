//! Reading the files of `[listen.tls]`: bounded, whole, wiped when dropped. Nothing is written.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::TlsError;

/// The most bytes of a file. A list of 100,000 revoked certificates has about 4 MiB.
pub(super) const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A file that was read.
pub(super) struct Read {
    pub path: PathBuf,
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Read {
    pub fn from(path: &Path) -> Result<Self, TlsError> {
        let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        if length > MAX_FILE_BYTES {
            return Err(TlsError::TooLarge { path: path.to_owned() });
        }
        // Room for all of it and one byte more, so that no part is left behind by a growing buffer, and a file that grew meanwhile is seen.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize + 1));
        file.take(length + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > length {
            let source = std::io::Error::other("it was being written");
            return Err(unreadable(source));
        }
        Ok(Self { path: path.to_owned(), bytes })
    }

    pub fn all(paths: &[PathBuf]) -> Result<Vec<Self>, TlsError> {
        paths.iter().map(|path| Self::from(path)).collect()
    }

    /// The things of one kind in the file: as many as a PEM file has, or the one that a DER file is. One at least.
    pub fn items<T: PemObject + From<Vec<u8>>>(&self, what: &'static str) -> Result<Vec<T>, TlsError> {
        if self.is_der() {
            return Ok(vec![T::from(self.bytes.to_vec())]);
        }
        let items = T::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|source| TlsError::Pem { path: self.path.clone(), source })?;
        if items.is_empty() { Err(TlsError::Empty { path: self.path.clone(), what }) } else { Ok(items) }
    }

    /// Whether the file begins as a DER sequence of more than 127 bytes does (X.690, section 8.1.3), which no text can.
    fn is_der(&self) -> bool {
        matches!(**self.bytes, [0x30, 0x81..=0x84, ..])
    }
}
