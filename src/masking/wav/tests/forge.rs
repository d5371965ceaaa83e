//! WAV files of all kinds, and chance that can be played again.

use std::hash::{BuildHasher as _, RandomState};

/// Tag, bits and silence of each format that can be silenced.
pub(super) const EVERY_FORMAT: [(u16, u16, u8); 6] =
    [(1, 8, 0x80), (1, 16, 0), (1, 24, 0), (1, 32, 0), (6, 8, 0xD5), (7, 8, 0xFF)];

/// What must not leave.
pub(super) const SECRET: &[u8] = b"4401825983139830, Ada Lovelace";

/// A WAV file to be: by default one of 8 kHz, 16 bits, mono, with one frame.
#[derive(Debug, Clone)]
pub(super) struct Wav {
    pub(super) tag: u16,
    pub(super) channels: u16,
    pub(super) rate: u32,
    pub(super) bits: u16,
    pub(super) is_extensible: bool,
    /// Stands behind the fields of the `fmt ` chunk.
    pub(super) format_tail: Vec<u8>,
    /// Chunks before `fmt `.
    pub(super) before: Vec<([u8; 4], Vec<u8>)>,
    /// Chunks between `fmt ` and `data`.
    pub(super) between: Vec<([u8; 4], Vec<u8>)>,
    pub(super) samples: Vec<u8>,
    /// What the `data` chunk says in the place of its size.
    pub(super) stated_size: Option<u32>,
    /// Whether samples of odd length are followed by a zero byte.
    pub(super) is_padded: bool,
    /// Stands behind the `data` chunk.
    pub(super) behind: Vec<u8>,
}

impl Default for Wav {
    fn default() -> Self {
        Self {
            tag: 1,
            channels: 1,
            rate: 8_000,
            bits: 16,
            is_extensible: false,
            format_tail: vec![],
            before: vec![],
            between: vec![],
            samples: vec![1, 2],
            stated_size: None,
            is_padded: true,
            behind: vec![],
        }
    }
}

impl Wav {
    /// With sound of this length; no byte of it is the silence of any format, nor of [`SECRET`].
    pub(super) fn of_ms(ms: u32, rate: u32, frame_bytes: u16) -> Self {
        let length = u64::from(ms) * u64::from(rate) / 1_000 * u64::from(frame_bytes);
        Self { rate, samples: (0..length).map(|at| 0x81 + (at % 0x50) as u8).collect(), ..Self::default() }
    }

    pub(super) fn frame_bytes(&self) -> usize {
        usize::from(self.channels * self.bits / 8)
    }

    pub(super) fn fmt(&self) -> Vec<u8> {
        let frame_bytes = self.channels * self.bits / 8;
        let mut fmt = if self.is_extensible { 0xFFFE } else { self.tag }.to_le_bytes().to_vec();
        fmt.extend(self.channels.to_le_bytes());
        fmt.extend(self.rate.to_le_bytes());
        fmt.extend((self.rate * u32::from(frame_bytes)).to_le_bytes());
        fmt.extend(frame_bytes.to_le_bytes());
        fmt.extend(self.bits.to_le_bytes());
        if self.is_extensible {
            fmt.extend([22, 0, self.bits as u8, 0, 3, 0, 0, 0]);
            fmt.extend(self.tag.to_le_bytes());
            fmt.extend(b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xAA\x00\x38\x9B\x71");
        }
        fmt.extend(&self.format_tail);
        fmt
    }

    pub(super) fn data_start(&self) -> usize {
        self.head().len() + 8
    }

    pub(super) fn file(&self) -> Vec<u8> {
        let size = self.stated_size.unwrap_or(self.samples.len() as u32);
        let mut form = self.head()[8..].to_vec();
        form.extend([b"data".as_slice(), &size.to_le_bytes(), &self.samples].concat());
        if self.is_padded && self.samples.len() % 2 == 1 {
            form.push(0);
        }
        let size = form.len() as u32;
        [b"RIFF".as_slice(), &size.to_le_bytes(), &form, &self.behind].concat()
    }

    fn head(&self) -> Vec<u8> {
        let chunks =
            |list: &[([u8; 4], Vec<u8>)]| list.iter().flat_map(|(name, content)| chunk(*name, content)).collect();
        let (before, between): (Vec<u8>, Vec<u8>) = (chunks(&self.before), chunks(&self.between));
        [b"RIFF\0\0\0\0WAVE".as_slice(), &before, &chunk(*b"fmt ", &self.fmt()), &between].concat()
    }
}

/// A chunk, with its zero byte if its size is odd.
pub(super) fn chunk(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = [name.as_slice(), &(content.len() as u32).to_le_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// A stream of numbers that follows from its seed (xorshift64*).
pub(super) struct Chance(u64);

impl Chance {
    /// The seed of `OUBLIETTE_SEED`, else a new one; printed under the name of the test.
    pub(super) fn of_test(name: &str) -> Self {
        let set = std::env::var("OUBLIETTE_SEED").ok();
        let seed = set.map_or_else(|| RandomState::new().hash_one(name), |set| set.trim().parse().unwrap());
        println!("{name}: OUBLIETTE_SEED={seed}");
        Self(seed.max(1))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number less than `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}
