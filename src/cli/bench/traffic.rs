//! What is sent: chats and recordings that follow from a seed, so that what comes back can be compared with what was stored
//! without keeping it. Nobody's words: they are drawn from a list.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, ReadBuf};

use crate::api::v1;

/// The purpose that every record allows and every read states.
pub const PURPOSE: &str = "support";
/// The one team.
pub const TEAM: &str = "first-line";
/// How many bytes of text a chat has, within a word.
const CHAT_BYTES: usize = 3 * 1024;
/// How many words one turn has at least, and how many more at most.
const TURN_WORDS: (u64, u64) = (8, 60);
/// The agents who handled the chats.
const AGENTS: u64 = 50;
/// How long ago the chats and calls began.
const AGO: Duration = Duration::from_secs(3_600);

/// The list is ordered: words in front are drawn more often, as in any language.
const WORDS: &str = "the to you I a is my it and your in for of have on that not can we be was with this me do are will \
    please order just at so there from but get an if no what now back thank thanks hello help account card phone number \
    see number today still payment been has sent email address would could problem after when again working check \
    delivery package refund bill internet router customer screen password reset code week days two yesterday tried \
    charged twice invoice amount cancel subscription plan upgrade device restart cable light red green speed slow \
    connection line engineer appointment morning afternoon between confirm details name postcode date birth security \
    question answer correct changed updated system shows message error says cannot open page website application log \
    contract month price offer discount voucher shop store item size colour blue wrong missing damaged broken returned \
    label printed courier tracking parcel neighbour signed warehouse stock available replacement warranty receipt photo \
    attached transfer supervisor complaint sorry inconvenience understand frustrating appreciate patience moment \
    anything else pleasure evening weekend holiday travel abroad roaming data allowance minutes balance negative \
    dispute merchant transaction pending reversed interest statement branch mortgage insurance claim policy accident";

/// A sequence of numbers that follows from a seed (SplitMix64; Steele, Lea, Flood, OOPSLA 2014). For traffic, never for keys.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The `stream`-th sequence of a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut numbers = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        numbers.next();
        numbers
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The words, split once.
pub struct Chats {
    seed: u64,
    words: Vec<&'static str>,
}

impl Chats {
    /// The chats of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, words: WORDS.split_whitespace().collect() }
    }

    /// The turns of chat `number`.
    pub fn turns(&self, number: u64) -> Vec<v1::Turn> {
        let mut numbers = Numbers::new(self.seed, number);
        let mut turns = Vec::new();
        let mut left = CHAT_BYTES;
        while left > 0 {
            let words = TURN_WORDS.0 + numbers.below(TURN_WORDS.1);
            let mut text = String::new();
            for _ in 0..words {
                text.push_str(self.word(&mut numbers));
                text.push(' ');
            }
            text.truncate(text.len().min(left));
            left -= text.len();
            let speaker = if turns.len() % 2 == 0 { v1::Speaker::Customer } else { v1::Speaker::Agent };
            turns.push(v1::Turn { speaker: speaker.into(), text, ..Default::default() });
        }
        turns
    }

    /// A request to store chat `number`, of this customer.
    pub fn request(&self, number: u64, customer: u32) -> v1::CreateTranscriptRequest {
        let agent = Numbers::new(self.seed, !number).below(AGENTS);
        let details = v1::RecordDetails {
            channel: v1::Channel::Chat.into(),
            agent: format!("agent-{agent:02}"),
            case_id: format!("case-{number:08}"),
            ..details(customer)
        };
        v1::CreateTranscriptRequest {
            request_id: format!("bench-chat-{number:08}"),
            details: Some(details),
            turns: self.turns(number),
        }
    }

    /// The smaller of two even draws: words in front come more often.
    fn word(&self, numbers: &mut Numbers) -> &'static str {
        let end = self.words.len() as u64;
        let drawn = numbers.below(end).min(numbers.below(end));
        usize::try_from(drawn).ok().and_then(|at| self.words.get(at)).expect("drawn below the length of the list")
    }
}

/// What is said about a call of this customer.
pub fn details(customer: u32) -> v1::RecordDetails {
    v1::RecordDetails {
        customer_id: customer_id(customer),
        channel: v1::Channel::Voice.into(),
        language: "en".to_owned(),
        team: TEAM.to_owned(),
        started_at: Some(SystemTime::now().checked_sub(AGO).unwrap_or(SystemTime::UNIX_EPOCH).into()),
        purposes: vec![PURPOSE.to_owned()],
        legal_basis: v1::LegalBasis::Contract.into(),
        ..v1::RecordDetails::default()
    }
}

/// The platform's id of a customer.
pub fn customer_id(customer: u32) -> String {
    format!("bench-customer-{customer:07}")
}

/// A recording that is made while it is read. It does not compress, as sound that is compressed already does not.
pub struct Recording {
    numbers: Numbers,
    left: u64,
}

impl Recording {
    /// A recording of so many bytes.
    pub fn new(seed: u64, bytes: u64) -> Self {
        Self { numbers: Numbers::new(seed, u64::MAX), left: bytes }
    }
}

impl AsyncRead for Recording {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.remaining());
        let into = buffer.initialize_unfilled_to(room);
        for piece in into.chunks_mut(8) {
            piece.copy_from_slice(&self.numbers.next().to_le_bytes()[..piece.len()]);
        }
        buffer.advance(room);
        self.left -= room as u64;
        Poll::Ready(Ok(()))
    }
}
