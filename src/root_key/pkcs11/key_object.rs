//! One key object of a token: how it is made, what the module says of it, and what it seals and opens.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use crate::crypto::secret::random_bytes;

const NONCE: usize = 12;
const TAG_BITS: u64 = 128;
/// CKR_AEAD_DECRYPT_FAILED of PKCS #11 v3, which `cryptoki` has no name for.
const AEAD_DECRYPT_FAILED: u64 = 0x35;

/// A key object in a session.
#[derive(Clone, Copy)]
pub(super) struct KeyObject<'a> {
    pub session: &'a Session,
    pub object: ObjectHandle,
}

/// What a failed decryption says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// The key does not open this.
    NotThisKey,
    /// That, or that the module failed.
    Unclear,
    /// The module failed, and nothing about the key.
    Failed,
}

/// Makes an AES-256 key in the module. One that the token will not copy or change, where it knows such keys.
pub(super) fn generate(session: &Session, label: &str, id: &[u8]) -> Result<ObjectHandle, Error> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id.to_vec()),
    ];
    let usual = template.len();
    template.extend([Attribute::Copyable(false), Attribute::Modifiable(false)]);
    match session.generate_key(&Mechanism::AesKeyGen, &template) {
        Err(Error::Pkcs11(
            RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::AttributeReadOnly
            | RvError::TemplateInconsistent,
            _,
        )) => session.generate_key(&Mechanism::AesKeyGen, &template[..usual]),
        made => made,
    }
}

impl KeyObject<'_> {
    /// What the module does not say of it and must: a key of which all is said was made inside, and never left.
    pub fn known_outside(&self) -> Result<Option<&'static str>, Error> {
        let wanted = [
            (Attribute::Sensitive(true), "sensitive"),
            (Attribute::AlwaysSensitive(true), "sensitive from the beginning"),
            (Attribute::Extractable(false), "kept from being extracted"),
            (Attribute::NeverExtractable(true), "kept from being extracted from the beginning"),
            (Attribute::Local(true), "made in the module"),
        ];
        let types = wanted.each_ref().map(|(attribute, _)| attribute.attribute_type());
        let said = self.session.get_attributes(self.object, &types)?;
        Ok(wanted.into_iter().find(|(attribute, _)| !said.contains(attribute)).map(|(_, words)| words))
    }

    /// Seals `plain`: nonce, ciphertext, tag.
    pub fn seal(&self, associated_data: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce: [u8; NONCE] = random_bytes();
        let mut iv = nonce;
        let parameters = GcmParams::new(&mut iv, associated_data, TAG_BITS.into())?;
        let sealed = self.session.encrypt(&Mechanism::AesGcm(parameters), self.object, plain)?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`KeyObject::seal`] made; `None` where this key does not open it, or is not one that may try. An error says nothing about
    /// the key. `ours` is one of our keys, by which it is seen whether the module works.
    pub fn open(
        &self,
        ours: &Self,
        associated_data: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        match self.decrypt(associated_data, sealed) {
            Ok(opened) => Ok(opened),
            Err(error) => match says(&error, self.object == ours.object) {
                Says::NotThisKey => Ok(None),
                Says::Unclear if ours.works()? => Ok(None),
                Says::Unclear | Says::Failed => Err(error),
            },
        }
    }

    fn decrypt(&self, associated_data: &[u8], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let Some((nonce, sealed)) = sealed.split_first_chunk::<NONCE>() else { return Ok(None) };
        let mut iv = *nonce;
        let parameters = GcmParams::new(&mut iv, associated_data, TAG_BITS.into())?;
        let opened = self.session.decrypt(&Mechanism::AesGcm(parameters), self.object, sealed)?;
        Ok(Some(Zeroizing::new(opened)))
    }

    /// Whether the module opens what it has just sealed.
    fn works(&self) -> Result<bool, Error> {
        let plain: [u8; 32] = random_bytes();
        let opened = self.decrypt(b"", &self.seal(b"", &plain)?)?;
        Ok(opened.is_some_and(|opened| *opened == plain))
    }
}

/// SoftHSM2 answers a wrong tag with CKR_GENERAL_ERROR, and may answer so when it fails.
fn says(error: &Error, is_ours: bool) -> Says {
    match error {
        Error::Pkcs11(RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange, Function::Decrypt) => {
            Says::NotThisKey
        }
        Error::Pkcs11(RvError::UnknownErrorCode(AEAD_DECRYPT_FAILED), Function::Decrypt) => Says::NotThisKey,
        Error::Pkcs11(RvError::GeneralError, Function::Decrypt) => Says::Unclear,
        // Somebody else's key that is for something else, or went while we looked.
        Error::Pkcs11(
            RvError::KeyFunctionNotPermitted
            | RvError::KeyTypeInconsistent
            | RvError::KeySizeRange
            | RvError::KeyHandleInvalid
            | RvError::MechanismInvalid,
            Function::DecryptInit,
        ) if !is_ours => Says::NotThisKey,
        _ => Says::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_ciphertext_says_that_a_key_does_not_open_it() {
        for (error, function, expected) in [
            (RvError::EncryptedDataInvalid, Function::Decrypt, Says::NotThisKey),
            (RvError::EncryptedDataLenRange, Function::Decrypt, Says::NotThisKey),
            (RvError::GeneralError, Function::Decrypt, Says::Unclear),
            (RvError::GeneralError, Function::DecryptInit, Says::Failed),
            (RvError::DeviceRemoved, Function::Decrypt, Says::Failed),
            (RvError::DeviceError, Function::Decrypt, Says::Failed),
            (RvError::FunctionFailed, Function::Decrypt, Says::Failed),
            (RvError::SessionHandleInvalid, Function::Decrypt, Says::Failed),
            (RvError::UserNotLoggedIn, Function::DecryptInit, Says::Failed),
            (RvError::TokenNotPresent, Function::DecryptInit, Says::Failed),
        ] {
            for is_ours in [false, true] {
                assert_eq!(says(&Error::Pkcs11(error, function), is_ours), expected, "{error:?} of {function:?}");
            }
        }
        let not_permitted = Error::Pkcs11(RvError::KeyFunctionNotPermitted, Function::DecryptInit);
        assert_eq!(says(&not_permitted, false), Says::NotThisKey);
        assert_eq!(says(&not_permitted, true), Says::Failed);
    }
}
