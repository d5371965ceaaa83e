//! The PIN, and that a wrong one is tried once: a token counts failed logins and locks itself after some of them, and the service asks its
//! root key's provider every few seconds.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use cryptoki::error::{Error, RvError};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::root_key::RootKeyError;
use crate::root_key::private_file::{Holds, KeyFileError, PrivateFile};

static TOKEN_PIN: Holds = Holds { what: "PIN of the security module", without: "nothing can be read" };

/// Logs in with what stands in a file.
pub(super) struct Login {
    pin_file: PathBuf,
    /// What the token refused last.
    refused: Mutex<Option<(Written, Refusal)>>,
}

/// A PIN as it stands in its file, and since when: one that is written again is tried again, also if it is the same.
struct Written {
    pin: Zeroizing<String>,
    since: Option<SystemTime>,
}

#[derive(Clone, Copy)]
enum Refusal {
    Wrong,
    Locked,
}

/// One login, which may be tried.
pub(super) struct Attempt<'a> {
    login: &'a Login,
    token: String,
    written: Written,
}

impl Login {
    pub fn with(pin_file: &Path) -> Self {
        Self { pin_file: pin_file.to_owned(), refused: Mutex::default() }
    }

    /// Refused where the token has refused the same PIN before.
    pub fn attempt(&self, token: &str) -> Result<Attempt<'_>, RootKeyError> {
        let written = self.read()?;
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match &*refused {
            Some((before, refusal)) if *before.pin == *written.pin && before.since == written.since => {
                Err(self.error(token, *refusal))
            }
            _ => Ok(Attempt { login: self, token: token.to_owned(), written }),
        }
    }

    fn read(&self) -> Result<Written, KeyFileError> {
        // The time first: a file that is replaced in between is tried once more, and not once too little.
        let since = self.pin_file.metadata().and_then(|about| about.modified()).ok();
        let text = PrivateFile::at(&self.pin_file, &TOKEN_PIN).read()?;
        Ok(Written { pin: Zeroizing::new(text.trim_end().to_owned()), since })
    }

    fn error(&self, token: &str, refusal: Refusal) -> RootKeyError {
        let (token, pin_file) = (token.to_owned(), self.pin_file.clone());
        match refusal {
            Refusal::Wrong => RootKeyError::WrongPin { token, pin_file },
            Refusal::Locked => RootKeyError::PinLocked { token, pin_file },
        }
    }
}

impl Attempt<'_> {
    pub fn pin(&self) -> AuthPin {
        AuthPin::from(self.written.pin.as_str())
    }

    /// What its failure means, if it is the PIN's: then it is remembered.
    pub fn failed(self, error: Error) -> Result<RootKeyError, Error> {
        let refusal = match error {
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => Refusal::Wrong,
            Error::Pkcs11(RvError::PinLocked, _) => Refusal::Locked,
            other => return Err(other),
        };
        *self.login.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.written, refusal));
        Ok(self.login.error(&self.token, refusal))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn a_token_that_is_locked_is_left_alone_until_the_pin_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        std::fs::write(&file, "123456\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let login = Login::with(&file);
        let other = login.attempt("vault").unwrap().failed(Error::Pkcs11(RvError::DeviceRemoved, Function::Login));
        assert!(other.is_err(), "a cable says nothing of the PIN");
        let locked = login.attempt("vault").unwrap().failed(Error::Pkcs11(RvError::PinLocked, Function::Login));
        assert!(matches!(locked, Ok(RootKeyError::PinLocked { .. })));
        assert!(matches!(login.attempt("vault").err(), Some(RootKeyError::PinLocked { .. })));
        std::fs::write(&file, "654321\n").unwrap();
        login.attempt("vault").map(drop).unwrap();
    }
}
