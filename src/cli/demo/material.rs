//! Made-up material: a handful of chats, and calls that are tones.

use bytes::Bytes;

use super::content::{Call, Chat, Sound};
use crate::api::v1;

/// All that the demo stores.
pub(super) struct Material {
    pub chats: Vec<Chat>,
    pub calls: Vec<Call>,
    /// The customer who will be erased; has a chat and a call.
    pub erased: String,
}

/// Samples a second, of telephone quality.
const SAMPLE_RATE: u32 = 8_000;
const SAMPLE_BYTES: u32 = 2;

/// Chats: the customer, then what is said in turn by the customer and the agent.
const CHATS: &[(&str, &[&str])] = &[
    (
        "C-1001-anna",
        &[
            "Hello, I was charged twice for my policy HK-220418.",
            "I am sorry to hear that. May I have the last four digits of the card?",
            "4417. It was taken on the 3rd and again on the 5th.",
            "Found it. The second payment goes back to you within three days.",
        ],
    ),
    (
        "C-1001-anna",
        &[
            "The refund is there, thank you. Please also change my address to Lindenweg 14, Graz.",
            "Done, Ms Berger. The new policy letter goes to Lindenweg 14.",
        ],
    ),
    (
        "C-1002-bilal",
        &[
            "My car was hit while parked. The other driver left a note.",
            "Is everyone all right? Please send a photo of the note and of the damage.",
            "Nobody was in it. I have sent three photos.",
            "Received. Your claim has the number 88-1207, a colleague will call you today.",
        ],
    ),
    (
        "C-1003-chiara",
        &["Posso avere la fattura di marzo?", "Certo, l'ho appena inviata al Suo indirizzo.", "Perfetto, grazie! 🙂"],
    ),
    (
        "C-1004-deepa",
        &[
            "I cannot log in since I got a new phone.",
            "I can move the app to it. Do you still have the number ending in 61?",
            "No, that one is gone. My new number is 0699 1234 5678.",
            "Then we first verify you by letter. It takes two days; I am sorry for the wait.",
        ],
    ),
    ("C-1005-emil", &["When does my contract end?", "On the 31st of January. Shall I send you an offer to renew?"]),
];

/// Calls: the customer, the tones in hertz, each a second long, and how often they are repeated.
const CALLS: &[(&str, &[u32], usize)] =
    &[("C-1001-anna", &[440, 494, 523, 587, 659], 6), ("C-1002-bilal", &[330, 392, 349, 294], 8)];

impl Material {
    /// Five customers, of whom two also call.
    pub fn made_up() -> Self {
        let speakers = [v1::Speaker::Customer, v1::Speaker::Agent];
        let turn = |(speaker, text): (&v1::Speaker, &&str)| v1::Turn {
            speaker: (*speaker).into(),
            text: (*text).to_owned(),
            ..Default::default()
        };
        let chats = CHATS.iter().enumerate().map(|(number, (customer, texts))| Chat {
            customer: (*customer).to_owned(),
            name: format!("chat-{number:04}"),
            turns: speakers.iter().cycle().zip(*texts).map(turn).collect(),
        });
        let calls = CALLS.iter().enumerate().map(|(number, (customer, tones, times))| Call {
            customer: (*customer).to_owned(),
            name: format!("call-{number:04}"),
            sound: Sound::Made(wav(&tones.repeat(*times))),
        });
        Self { chats: chats.collect(), calls: calls.collect(), erased: CHATS[0].0.to_owned() }
    }

    /// How many customers there are.
    pub fn customers(&self) -> usize {
        let chats = self.chats.iter().map(|chat| chat.customer.as_str());
        let all = chats.chain(self.calls.iter().map(|call| call.customer.as_str()));
        all.collect::<std::collections::HashSet<_>>().len()
    }
}

/// A WAV file (16-bit PCM, mono) with these tones, a second each.
fn wav(tones: &[u32]) -> Bytes {
    let seconds = u32::try_from(tones.len()).expect("a demo call is short");
    let data_bytes = seconds * SAMPLE_RATE * SAMPLE_BYTES;
    let mut file = Vec::with_capacity(44 + data_bytes as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data_bytes).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    // The length of what follows up to "data": format 1 (PCM), 1 channel, rates, bytes of a sample, bits of a sample.
    file.extend_from_slice(&16u32.to_le_bytes());
    file.extend_from_slice(&1u16.to_le_bytes());
    file.extend_from_slice(&1u16.to_le_bytes());
    file.extend_from_slice(&SAMPLE_RATE.to_le_bytes());
    file.extend_from_slice(&(SAMPLE_RATE * SAMPLE_BYTES).to_le_bytes());
    file.extend_from_slice(&2u16.to_le_bytes());
    file.extend_from_slice(&16u16.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data_bytes.to_le_bytes());
    for tone in tones {
        for at in 0..SAMPLE_RATE {
            let turn = f64::from(at) * f64::from(*tone) / f64::from(SAMPLE_RATE);
            // A third of the full height, so the cast cannot overflow.
            let sample = (f64::sin(turn * std::f64::consts::TAU) * 11_000.0) as i16;
            file.extend_from_slice(&sample.to_le_bytes());
        }
    }
    file.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customer_to_be_erased_chats_and_calls_and_is_not_alone() {
        let material = Material::made_up();
        assert!(material.chats.iter().any(|chat| chat.customer == material.erased));
        assert!(material.calls.iter().any(|call| call.customer == material.erased));
        assert!(material.calls.iter().any(|call| call.customer != material.erased));
        assert_eq!(material.customers(), 5);
        assert_eq!(material.calls[0].sound.bytes(), 44 + 30 * 16_000);
    }
}
