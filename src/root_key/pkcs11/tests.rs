use std::fs::File;
use std::time::{Duration, SystemTime};

use super::softhsm::{PIN, SoftHsm};
use super::*;

const AD: &[u8] = b"bound to this";

fn made(hsm: &SoftHsm) -> (Pkcs11RootKey, RootKeyId) {
    Pkcs11RootKey::create(hsm.place()).unwrap()
}

#[test]
fn a_wrong_pin_is_tried_once_until_its_file_is_written_again() {
    let Some(hsm) = SoftHsm::of_test(module_path!(), "a_wrong_pin_is_tried_once_until_its_file_is_written_again")
    else {
        return;
    };
    let (provider, first) = made(&hsm);
    let is_refused = |answer: Result<Vec<HeldKey>, RootKeyError>| matches!(answer, Err(RootKeyError::WrongPin { .. }));
    let written_at = |seconds| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().append(true).open(hsm.pin_file()).unwrap().set_modified(at).unwrap();
    };
    let mut asked = 0;
    for seconds in [1_000, 2_000, 3_000] {
        hsm.write_pin("999999");
        written_at(seconds);
        // The first asks the token. Of the others it can be seen that they do not: the token is not even there.
        assert!(is_refused(provider.held()), "written at {seconds}");
        asked += 1;
        hsm.unplug();
        for _ in 0..20 {
            let answer = provider.held();
            asked += usize::from(!is_refused(answer));
        }
        // Written again it is tried again, also if it is the same.
        written_at(seconds + 1);
        assert!(matches!(provider.held(), Err(RootKeyError::NoSuchToken { .. })));
        hsm.plug_in();
        assert!(is_refused(provider.held()), "written at {seconds} + 1");
        asked += 1;
    }
    assert_eq!(asked, 6, "logins with a wrong PIN");
    hsm.write_pin(PIN);
    assert_eq!(provider.held().unwrap()[0].id, first);
}

#[test]
fn a_key_of_which_somebody_may_have_a_copy_is_refused() {
    let Some(hsm) = SoftHsm::of_test(module_path!(), "a_key_of_which_somebody_may_have_a_copy_is_refused") else {
        return;
    };
    let (provider, first) = made(&hsm);
    let said = provider.session(|session| Ok(provider.find(session, first)?.known_outside().unwrap())).unwrap();
    assert_eq!(said, None, "sensitive, never extractable, made in the module");
    provider.copy_key(first, "spare").unwrap_err();
    provider.relabel_key(first, "spare").unwrap_err();
    let label = format!("{} root key {} epoch 1", provider.label(), RootKeyId([7; 16]));
    provider.plant(&label, &[Attribute::Encrypt(true), Attribute::Decrypt(true)]);
    let refused = Pkcs11RootKey::open(provider.place.clone()).err().unwrap();
    assert!(matches!(refused, RootKeyError::KeyKnownOutside { id: RootKeyId([7, ..]), .. }), "{refused}");
    assert_eq!(provider.destroy_labelled(&label), 1);
    Pkcs11RootKey::open(provider.place.clone()).unwrap();
}

#[test]
fn a_key_does_not_open_something_only_if_the_module_says_so() {
    let Some(hsm) = SoftHsm::of_test(module_path!(), "a_key_does_not_open_something_only_if_the_module_says_so") else {
        return;
    };
    let (provider, first) = made(&hsm);
    let wrapped = provider.wrap(first, AD, &Key::copy_of(&[5; 32])).unwrap();
    assert_eq!(provider.unwrap(first, AD, &wrapped).unwrap().expose(), &[5; 32]);
    let mut changed = wrapped.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (associated_data, wrapped) in [(AD, &changed[..]), (b"other", &wrapped[..]), (AD, b"short"), (AD, &[0; 20])] {
        let refused = provider.unwrap(first, associated_data, wrapped);
        assert!(matches!(refused, Err(RootKeyError::CannotUnwrap { .. })), "{:?}", refused.err());
        assert!(!provider.opens(associated_data, wrapped).unwrap());
    }
    // A key that may not decrypt says nothing of what it would open.
    let id = RootKeyId([7; 16]);
    provider.plant(&format!("{} root key {id} epoch 1", provider.label()), &[Attribute::Decrypt(false)]);
    let refused = provider.unwrap(id, AD, &wrapped);
    assert!(matches!(refused, Err(RootKeyError::Module { .. })), "{:?}", refused.err());
}

#[test]
fn a_copy_under_another_label_is_found_and_keys_of_others_are_in_nobodys_way() {
    let Some(hsm) =
        SoftHsm::of_test(module_path!(), "a_copy_under_another_label_is_found_and_keys_of_others_are_in_nobodys_way")
    else {
        return;
    };
    let (provider, first) = made(&hsm);
    for may in [&[Attribute::Decrypt(true)][..], &[Attribute::Encrypt(true)], &[Attribute::Decrypt(false)], &[]] {
        provider.plant("of somebody else", may);
    }
    let old = provider.stage_copyable(2).unwrap();
    let wrapped = provider.wrap(old, AD, &Key::copy_of(&[5; 32])).unwrap();
    assert!(provider.opens(AD, &wrapped).unwrap(), "it is still there");
    provider.copy_key(old, "spare").unwrap();
    provider.keep_only(first).unwrap();
    assert_eq!(provider.held().unwrap().len(), 1, "the copy is not one of ours");
    assert!(provider.opens(AD, &wrapped).unwrap(), "the copy was not found");
    assert_eq!(provider.destroy_labelled("spare"), 1);
    assert!(!provider.opens(AD, &wrapped).unwrap());
    assert_eq!(provider.destroy_labelled("of somebody else"), 4);
}
