//! Files that commands read and write. `-` is standard input or output. An output file gets its name only when it is complete.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::errors::CliError;
use crate::domain::codec::hex;

/// Whether `path` stands for standard input or output.
pub fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens what is to be read, with its length where that is known.
pub async fn open(path: &Path) -> Result<(Box<dyn AsyncRead + Unpin + Send>, Option<u64>), CliError> {
    if is_dash(path) {
        return Ok((Box::new(tokio::io::stdin()), None));
    }
    let failed = |source| CliError::File { doing: "read", path: path.to_owned(), source };
    let file = File::open(path).await.map_err(failed)?;
    let about = file.metadata().await.map_err(failed)?;
    if about.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// Reads all of a file that may have `limit_bytes` at most.
pub async fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, CliError> {
    let (file, _) = open(path).await?;
    let mut bytes = Vec::new();
    let read = file.take(limit_bytes + 1).read_to_end(&mut bytes).await;
    read.map_err(|source| CliError::File { doing: "read", path: path.to_owned(), source })?;
    if bytes.len() as u64 > limit_bytes {
        return Err(CliError::TooLong { path: path.to_owned(), limit_bytes });
    }
    Ok(bytes)
}

/// Writes a whole file, readable by its owner only.
pub async fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    NewFile::create(path)?.finish_with(bytes).await
}

/// A file in the making: beside its target, under another name, readable by its owner only. Dropped unfinished, it is removed.
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    is_named: bool,
}

impl NewFile {
    /// Begins a file that will stand at `target`, and replace what stands there.
    pub fn create(target: &Path) -> Result<Self, CliError> {
        let failed = |source| CliError::File { doing: "write", path: target.to_owned(), source };
        if target.metadata().is_ok_and(|about| !about.is_file()) {
            return Err(CliError::NotRegular { path: target.to_owned() });
        }
        let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.part", hex(&random::<8>()?)));
        let temporary = target.with_file_name(temporary);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed)?;
        Ok(Self { file: File::from_std(file), temporary, target: target.to_owned(), is_named: false })
    }

    /// Where to write.
    pub fn sink(&mut self) -> &mut File {
        &mut self.file
    }

    /// Writes `bytes` as the last ones, then does as [`NewFile::finish`].
    pub async fn finish_with(mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.file.write_all(bytes).await.map_err(|source| self.failed("write", source))?;
        self.finish().await
    }

    /// Makes the content durable and gives the file its name.
    pub async fn finish(mut self) -> Result<(), CliError> {
        self.file.flush().await.map_err(|source| self.failed("write", source))?;
        self.file.sync_all().await.map_err(|source| self.failed("write", source))?;
        std::fs::rename(&self.temporary, &self.target).map_err(|source| self.failed("name", source))?;
        self.is_named = true;
        // The name is durable with its folder.
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| self.failed("make durable the name of", source))?;
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> CliError {
        CliError::File { doing, path: self.target.clone(), source }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_named {
            // Nobody is left to tell; the name says that the file is a part.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], CliError> {
    use rand::TryRng as _;
    let mut bytes = [0; N];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|_| CliError::NoRandom)?;
    Ok(bytes)
}

/// The request id that was given, or a new random one.
pub fn request_id(given: Option<&str>) -> Result<String, CliError> {
    match given {
        Some(id) => Ok(id.to_owned()),
        None => Ok(uuid::Builder::from_random_bytes(random()?).into_uuid().hyphenated().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_gets_its_name_only_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("call.wav");
        let mut broken = NewFile::create(&target).unwrap();
        broken.sink().write_all(b"half").await.unwrap();
        drop(broken);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        write(&target, b"old").await.unwrap();
        write(&target, b"whole").await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(NewFile::create(Path::new("/dev/null")), Err(CliError::NotRegular { .. })));
    }
}
