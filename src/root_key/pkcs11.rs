//! The root key in a hardware security module, spoken to by PKCS #11 (v2.40 or newer) through `cryptoki`.
//!
//! A root key is a secret AES-256 key object of the token: sensitive, not extractable, made in the module, and not to be copied where the token
//! knows such keys. Its label is `<label> root key <id> epoch <n>`; the label, not the handle, names it. The pin is a data object labelled
//! `<label> pin`.
//!
//! Every operation opens the module afresh (`C_Initialize`, a session, a login) and closes it again: an epoch needs a handful of them. So
//! nothing is ever answered from what this process or the library remembers of the token, a module that went away is noticed at once, and
//! it is used again as soon as it is back.

mod key_object;
mod login;
#[cfg(test)]
pub(crate) mod softhsm;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};

use key_object::KeyObject;
use login::{Attempt, Login};

use super::{HeldKey, MediumClass, Pin, RootKey, RootKeyError, RootKeyId};
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::clock::Timestamp;
use crate::domain::codec::unhex;

/// The most objects of ours that are looked at.
const MAX_OBJECTS: usize = 64;
/// The most keys of the token, whoever's they are, that are tried on what a destroyed one wrapped.
const MAX_TRIED: usize = 1024;

/// The library is one for the whole process, and so is whether it is initialised.
static LIBRARY: Mutex<()> = Mutex::new(());

/// Where a root key is in a security module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Place {
    /// The module's library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The file with the user's PIN, readable by its owner only.
    pub pin_file: PathBuf,
    /// What the labels of our objects begin with: several vaults may share a token.
    pub label: String,
}

/// A root key in a security module.
pub struct Pkcs11RootKey {
    place: Pkcs11Place,
    login: Login,
}

/// A key object.
struct Found {
    held: HeldKey,
    object: ObjectHandle,
}

impl Pkcs11RootKey {
    /// Makes the first root key, for epoch 1. Refused where the token has one under this label.
    pub fn create(place: Pkcs11Place) -> Result<(Self, RootKeyId), RootKeyError> {
        let provider = Self::at(place);
        if !provider.held()?.is_empty() {
            return Err(RootKeyError::TokenHasKey { label: provider.place.label });
        }
        let first = provider.stage(1)?;
        Ok((provider, first))
    }

    /// Opens an existing one; changes nothing. Refuses keys of which the module does not say that they never left it.
    pub fn open(place: Pkcs11Place) -> Result<Self, RootKeyError> {
        let provider = Self::at(place);
        let keys = provider.session(|session| {
            let keys = provider.keys(session)?;
            keys.iter().try_for_each(|found| provider.refuse_known_outside(session, found))?;
            Ok(keys.len())
        })?;
        if keys == 0 {
            return Err(RootKeyError::TokenHasNoKey { label: provider.place.label, token: provider.place.token });
        }
        Ok(provider)
    }

    fn at(place: Pkcs11Place) -> Self {
        Self { login: Login::with(&place.pin_file), place }
    }

    /// Does something in a session of its own, after initialising the module afresh.
    fn session<T>(&self, act: impl FnOnce(&Session) -> Result<T, RootKeyError>) -> Result<T, RootKeyError> {
        let _alone = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = self.login.attempt(&self.place.token)?;
        let module = Pkcs11::new(&self.place.module).map_err(|error| self.failed("loading the module", error))?;
        let flags = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        module.initialize(flags).map_err(|error| self.failed("initialising the module", error))?;
        let done = self.logged_in(&module, attempt).and_then(|session| act(&session));
        let finalized = module.finalize().map_err(|error| self.failed("closing the module", error));
        done.and_then(|value| finalized.map(|()| value))
    }

    fn logged_in(&self, module: &Pkcs11, attempt: Attempt<'_>) -> Result<Session, RootKeyError> {
        let failed = |error| self.failed("opening the token", error);
        let slots = module.get_slots_with_token().map_err(failed)?;
        let is_ours =
            |slot: &_| module.get_token_info(*slot).is_ok_and(|token| token.label().trim_end() == self.place.token);
        let slot = slots.into_iter().find(is_ours);
        let slot = slot.ok_or_else(|| RootKeyError::NoSuchToken { token: self.place.token.clone() })?;
        let session = module.open_rw_session(slot).map_err(failed)?;
        let logged_in = session.login(UserType::User, Some(&attempt.pin()));
        logged_in.map_err(|error| attempt.failed(error).unwrap_or_else(|error| self.failed("logging in", error)))?;
        Ok(session)
    }

    fn failed(&self, doing: &'static str, source: Error) -> RootKeyError {
        RootKeyError::Module { token: self.place.token.clone(), doing, source: Box::new(source) }
    }

    /// Our objects of a class, with their labels.
    fn objects(&self, session: &Session, class: ObjectClass) -> Result<Vec<(ObjectHandle, String)>, RootKeyError> {
        let failed = |error| self.failed("listing the keys", error);
        let template = [Attribute::Token(true), Attribute::Class(class)];
        let mut ours = Vec::new();
        for object in session.find_objects(&template).map_err(failed)? {
            let attributes = session.get_attributes(object, &[AttributeType::Label]).map_err(failed)?;
            let Some(Attribute::Label(label)) = attributes.into_iter().next() else { continue };
            let label = String::from_utf8_lossy(&label).into_owned();
            if let Some(rest) = label.strip_prefix(&self.place.label).and_then(|rest| rest.strip_prefix(' ')) {
                ours.push((object, rest.to_owned()));
            }
        }
        if ours.len() > MAX_OBJECTS { Err(RootKeyError::TooManyObjects { limit: MAX_OBJECTS }) } else { Ok(ours) }
    }

    fn keys(&self, session: &Session) -> Result<Vec<Found>, RootKeyError> {
        let objects = self.objects(session, ObjectClass::SECRET_KEY)?;
        Ok(objects
            .into_iter()
            .filter_map(|(object, label)| Some(Found { held: parse_label(&label)?, object }))
            .collect())
    }

    fn find<'a>(&self, session: &'a Session, id: RootKeyId) -> Result<KeyObject<'a>, RootKeyError> {
        let found = self.keys(session)?.into_iter().find(|found| found.held.id == id);
        found.map(|found| KeyObject { session, object: found.object }).ok_or(RootKeyError::NoSuchKey { id })
    }

    /// Every key of the token that could be a copy of one of ours.
    fn every_key<'a>(&self, session: &'a Session) -> Result<Vec<KeyObject<'a>>, RootKeyError> {
        let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
        let objects = session.find_objects(&template).map_err(|error| self.failed("listing all keys", error))?;
        if objects.len() > MAX_TRIED {
            return Err(RootKeyError::TooManyKeys { token: self.place.token.clone(), limit: MAX_TRIED });
        }
        Ok(objects.into_iter().map(|object| KeyObject { session, object }).collect())
    }

    /// Refuses a key that was ever outside of the module, or that could be taken out: whoever has it undoes its destruction.
    fn refuse_known_outside(&self, session: &Session, found: &Found) -> Result<(), RootKeyError> {
        let key = KeyObject { session, object: found.object };
        match key.known_outside().map_err(|error| self.failed("looking at a key", error))? {
            None => Ok(()),
            Some(lacks) => {
                Err(RootKeyError::KeyKnownOutside { id: found.held.id, token: self.place.token.clone(), lacks })
            }
        }
    }

    fn pins(&self, session: &Session) -> Result<Vec<(ObjectHandle, Pin)>, RootKeyError> {
        let mut pins = Vec::new();
        for (object, label) in self.objects(session, ObjectClass::DATA)? {
            if label != "pin" {
                continue;
            }
            let value = session.get_attributes(object, &[AttributeType::Value]);
            let value = value.map_err(|error| self.failed("reading the pin", error))?;
            if let Some(Attribute::Value(text)) = value.into_iter().next() {
                let text = String::from_utf8_lossy(&text).into_owned();
                pins.extend(Pin::parse(&text).map(|pin| (object, pin)));
            }
        }
        Ok(pins)
    }
}

impl RootKey for Pkcs11RootKey {
    fn name(&self) -> &'static str {
        "pkcs11"
    }

    fn medium(&self) -> MediumClass {
        MediumClass::Hsm
    }

    /// At once in the module; what its own backups keep is its operator's to say.
    fn final_at(&self, destroyed: Timestamp) -> Timestamp {
        destroyed
    }

    fn held(&self) -> Result<Vec<HeldKey>, RootKeyError> {
        self.session(|session| Ok(self.keys(session)?.into_iter().map(|found| found.held).collect()))
    }

    fn stage(&self, epoch: u64) -> Result<RootKeyId, RootKeyError> {
        let held = HeldKey { id: RootKeyId(random_bytes()), epoch };
        let label = format!("{} root key {} epoch {epoch}", self.place.label, held.id);
        self.session(|session| {
            let made = key_object::generate(session, &label, &held.id.0);
            let found = Found { held, object: made.map_err(|error| self.failed("making a key", error))? };
            if let Err(error) = self.refuse_known_outside(session, &found) {
                // Never used; and whatever is left of it, the next settling destroys.
                session.destroy_object(found.object).map_err(|error| self.failed("destroying a key", error))?;
                return Err(error);
            }
            Ok(held.id)
        })
    }

    fn wrap(&self, id: RootKeyId, associated_data: &[u8], top: &Key) -> Result<Vec<u8>, RootKeyError> {
        self.session(|session| {
            let sealed = self.find(session, id)?.seal(associated_data, top.expose());
            sealed.map_err(|error| self.failed("wrapping the top key", error))
        })
    }

    fn unwrap(&self, id: RootKeyId, associated_data: &[u8], wrapped: &[u8]) -> Result<Key, RootKeyError> {
        self.session(|session| {
            let key = self.find(session, id)?;
            let opened = key.open(&key, associated_data, wrapped);
            let opened = opened.map_err(|error| self.failed("unwrapping the top key", error))?;
            let bytes = opened.and_then(|opened| Some(Key::copy_of(opened.as_slice().try_into().ok()?)));
            bytes.ok_or(RootKeyError::CannotUnwrap { id })
        })
    }

    /// Also a copy under another label, which no list of ours has. A key that may not decrypt cannot be tried.
    fn opens(&self, associated_data: &[u8], wrapped: &[u8]) -> Result<bool, RootKeyError> {
        self.session(|session| {
            let failed = |error| self.failed("trying every key on what a destroyed one wrapped", error);
            let ours = self.keys(session)?.into_iter().next();
            let Some(ours) = ours.map(|found| KeyObject { session, object: found.object }) else {
                let Pkcs11Place { label, token, .. } = self.place.clone();
                return Err(RootKeyError::TokenHasNoKey { label, token });
            };
            for key in self.every_key(session)? {
                if key.open(&ours, associated_data, wrapped).map_err(failed)?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// A module may say that it failed and have destroyed the key all the same (SoftHSM2 does, where the lock beside an object's file is gone):
    /// what it lists afterwards, opened afresh, decides.
    fn keep_only(&self, id: RootKeyId) -> Result<(), RootKeyError> {
        let failed = self.session(|session| {
            let keys = self.keys(session)?;
            if keys.iter().all(|found| found.held.id != id) {
                return Err(RootKeyError::NoSuchKey { id });
            }
            let others = keys.into_iter().filter(|found| found.held.id != id);
            let destroyed = others.map(|found| session.destroy_object(found.object).err());
            Ok(destroyed.fold(None, |failed, error| failed.or(error)))
        })?;
        match failed {
            Some(error) if self.held()?.iter().any(|held| held.id != id) => {
                Err(self.failed("destroying the old key", error))
            }
            _ => Ok(()),
        }
    }

    fn pin(&self) -> Result<Option<Pin>, RootKeyError> {
        let newest = |pins: Vec<(_, Pin)>| pins.into_iter().map(|(_, pin)| pin).max_by_key(|pin| (pin.epoch, pin.size));
        self.session(|session| Ok(newest(self.pins(session)?)))
    }

    /// The new one is there before the old one goes.
    fn set_pin(&self, pin: &Pin) -> Result<(), RootKeyError> {
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Class(ObjectClass::DATA),
            Attribute::Label(format!("{} pin", self.place.label).into_bytes()),
            Attribute::Value(pin.to_string().into_bytes()),
        ];
        self.session(|session| {
            let failed = |error| self.failed("writing the pin", error);
            let older = self.pins(session)?;
            session.create_object(&template).map_err(failed)?;
            older.into_iter().try_for_each(|(object, _)| session.destroy_object(object).map_err(failed))
        })
    }

    fn devices(&self) -> Vec<Option<u64>> {
        Vec::new()
    }

    fn lost_replicas(&self) -> Result<u32, RootKeyError> {
        Ok(0)
    }
}

/// `root key <id> epoch <n>`
fn parse_label(label: &str) -> Option<HeldKey> {
    let (id, epoch) = label.strip_prefix("root key ")?.split_once(" epoch ")?;
    Some(HeldKey { id: RootKeyId(unhex(id)?), epoch: epoch.parse().ok()? })
}

#[cfg(test)]
mod tests;
