//! Files that are refused, and headers that chance has damaged.

use super::*;

fn parse(file: &[u8]) -> Result<WavLayout, NotSilenceable> {
    WavLayout::parse(file, file.len() as u64)
}

/// The error for a file.
fn refused(file: &[u8]) -> NotSilenceable {
    parse(file).expect_err("must be refused")
}

/// A file whose `fmt ` chunk is changed from byte `at` on.
fn with_format(wav: &Wav, at: usize, value: &[u8]) -> Vec<u8> {
    let mut file = wav.file();
    file[20 + at..][..value.len()].copy_from_slice(value);
    file
}

#[test]
fn what_is_no_wav_file_is_refused() {
    let file = Wav::default().file();
    let renamed = |at: usize, name: &[u8; 4]| [&file[..at], name, &file[at + 4..]].concat();
    for other in [b"".to_vec(), b"RIFF".to_vec(), b"ID3\x04".to_vec(), renamed(0, b"RIFX"), renamed(8, b"AVI ")] {
        assert_eq!(refused(&other), NotSilenceable::NotWave);
    }
    assert_eq!(refused(&renamed(0, b"RF64")), NotSilenceable::LongForm);
    assert_eq!(refused(&renamed(0, b"BW64")), NotSilenceable::LongForm);
}

#[test]
fn a_file_whose_audio_is_in_several_chunks_is_refused() {
    let second = chunk(*b"data", &[1, 2]);
    let list = chunk(*b"LIST", b"wavl");
    for behind in [second.clone(), [chunk(*b"LIST", b"INFO."), second.clone()].concat(), list.clone()] {
        assert_eq!(refused(&Wav { behind, ..Wav::default() }.file()), NotSilenceable::ScatteredAudio);
    }
    let between = vec![(*b"LIST", [b"wavl".to_vec(), second].concat())];
    assert_eq!(refused(&Wav { between, ..Wav::default() }.file()), NotSilenceable::ScatteredAudio);
}

#[test]
fn a_size_of_0_with_a_chunk_behind_it_is_refused() {
    for next in [chunk(*b"LIST", b"INFO"), chunk(*b"data", &[1, 2]), b"data\xFF\xFF\xFF\xFF".to_vec()] {
        let wav = Wav { stated_size: Some(0), samples: next, ..Wav::default() };
        assert_eq!(refused(&wav.file()), NotSilenceable::UnclearSize);
    }
    // Loud mu-law may look like a chunk's name, hardly like a size that fits.
    let wav = Wav { tag: 7, bits: 8, stated_size: Some(0), samples: b"~}|{xyz{".to_vec(), ..Wav::default() };
    parse(&wav.file()).unwrap();
    let head = &wav.file()[..wav.data_start() + 7];
    assert_eq!(WavLayout::parse(head, wav.file().len() as u64), Err(NotSilenceable::AudioNotInHead));
    assert_eq!(parse(head).map(|layout| layout.data().clone()), Ok(44..51));
}

#[test]
fn an_encoding_whose_silence_is_not_known_is_refused() {
    for (tag, bits) in [(1, 12), (1, 0), (1, 64), (2, 4), (3, 32), (6, 16), (7, 16), (0x11, 4), (0x55, 16)] {
        let expected = NotSilenceable::Encoding { tag, bits };
        assert_eq!(refused(&Wav { tag, bits, ..Wav::default() }.file()), expected);
        assert_eq!(refused(&Wav { tag, bits, is_extensible: true, ..Wav::default() }.file()), expected);
    }
    let extensible = Wav { is_extensible: true, ..Wav::default() };
    for at in 26..40 {
        let expected = NotSilenceable::Encoding { tag: 0xFFFE, bits: 16 };
        assert_eq!(refused(&with_format(&extensible, at, &[0x55])), expected, "byte {at} of the format");
    }
}

#[test]
fn a_format_that_contradicts_itself_is_refused() {
    let plain = Wav::default();
    let extensible = Wav { is_extensible: true, ..plain.clone() };
    let changed = [
        with_format(&plain, 2, &[0, 0]),
        with_format(&plain, 2, &[2, 0]),
        with_format(&plain, 4, &[0; 8]),
        with_format(&plain, 4, &44_100_u32.to_le_bytes()),
        with_format(&plain, 8, &8_000_u32.to_le_bytes()),
        with_format(&plain, 12, &[4, 0]),
        with_format(&plain, 12, &[0, 0]),
        with_format(&plain, 14, &[24, 0]),
        with_format(&extensible, 16, &[0, 0]),
        with_format(&extensible, 18, &[8, 0]),
        with_format(&Wav { format_tail: vec![0; 2], ..plain }, 0, &[0xFE, 0xFF]),
    ];
    for (number, file) in changed.iter().enumerate() {
        assert_eq!(refused(file), NotSilenceable::Contradiction, "{number}");
    }
}

#[test]
fn there_must_be_one_format_before_the_audio() {
    let format = Wav::default().fmt();
    let twice = Wav { before: vec![(*b"fmt ", format)], ..Wav::default() };
    assert_eq!(refused(&twice.file()), NotSilenceable::NotOneFormat);
    let never = [b"RIFF\x10\0\0\0WAVE".to_vec(), chunk(*b"data", &[1, 2])].concat();
    assert_eq!(refused(&never), NotSilenceable::NotOneFormat);
}

#[test]
fn a_chunk_that_cannot_be_one_is_refused() {
    let wav = Wav { before: vec![(*b"note", vec![1; 5])], ..Wav::default() };
    let (file, at) = (wav.file(), 12);
    let changed = |place: usize, value: u8| {
        let mut file = file.clone();
        file[place] = value;
        file
    };
    parse(&file).unwrap();
    for broken in [changed(at, 0), changed(at + 4, 0xF5), changed(at + 7, 0x7F), changed(at + 13, b'f')] {
        assert_eq!(refused(&broken), NotSilenceable::DamagedChunk { at: at as u64 });
    }
}

#[test]
fn a_head_that_ends_before_the_audio_says_so() {
    let file = Wav { before: vec![(*b"LIST", vec![1; 51])], ..Wav::of_ms(10, 8_000, 2) };
    let (start, file) = (file.data_start(), file.file());
    for length in 12..start {
        assert_eq!(WavLayout::parse(&file[..length], file.len() as u64), Err(NotSilenceable::AudioNotInHead));
        let error = refused(&file[..length]);
        let is_cut = matches!(error, NotSilenceable::NoAudio | NotSilenceable::DamagedChunk { .. });
        assert!(is_cut, "cut at {length}: {error:?}");
    }
    WavLayout::parse(&file[..start], file.len() as u64).unwrap();

    let far = |size: usize| Wav { between: vec![(*b"LIST", vec![0; size])], ..Wav::default() }.file();
    parse(&far(MAX_HEAD_BYTES - 52)).unwrap();
    assert_eq!(refused(&far(MAX_HEAD_BYTES - 50)), NotSilenceable::AudioNotInHead);
}

#[test]
fn an_error_says_what_to_do_and_nothing_of_the_file() {
    let words = NotSilenceable::DamagedChunk { at: 12 }.to_string();
    assert_eq!(words, "no valid chunk begins at byte 12; write the file again");
    let words = NotSilenceable::Encoding { tag: 0x11, bits: 4 }.to_string();
    assert!(words.contains("0x0011 of 4 bits is not known; store PCM"), "{words}");
}

/// Files of all shapes, to be damaged.
fn valid_files() -> Vec<Vec<u8>> {
    let chunks = || vec![(*b"bext", vec![7; 13]), (*b"LIST", b"INFOname".to_vec())];
    let mut files = Vec::new();
    for (tag, bits, _) in EVERY_FORMAT {
        for is_extensible in [false, true] {
            let wav = Wav { tag, bits, is_extensible, channels: 2, ..Wav::of_ms(8, 8_000, 2 * bits / 8) };
            let rich = Wav { before: chunks(), between: chunks(), behind: chunk(*b"LIST", SECRET), ..wav.clone() };
            files.extend([wav.file(), rich.file()]);
        }
    }
    files
}

/// Changes up to six bytes of the header, in ways that parsers fear.
fn damage(chance: &mut Chance, file: &mut [u8], header_bytes: u64) {
    for _ in 0..=chance.below(6) {
        let at = chance.below(header_bytes) as usize;
        match chance.below(5) {
            0 => file[at] ^= 1 << chance.below(8),
            1 => file[at] = chance.next() as u8,
            2 => file[at] = [0, 1, 0x7F, 0x80, 0xFF][chance.below(5) as usize],
            3 => {
                let name = [b"data", b"fmt ", b"LIST", b"wavl", b"RIFF"][chance.below(5) as usize];
                file[at..at + 4].copy_from_slice(name);
            }
            _ => {
                let size = [0, u32::MAX, i32::MAX as u32, chance.below(400) as u32][chance.below(4) as usize];
                file[at..at + 4].copy_from_slice(&size.to_le_bytes());
            }
        }
    }
}

#[test]
fn a_damaged_header_is_refused_or_masked_but_never_breaks_anything() {
    let (mut chance, files) = (Chance::of_test("damaged headers"), valid_files());
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut file = files[chance.below(files.len() as u64) as usize].clone();
        let header_bytes = (file.len() as u64 - 4).min(160);
        damage(&mut chance, &mut file, header_bytes);
        let head = chance.below(file.len() as u64 + 1).max(chance.below(2) * file.len() as u64) as usize;
        let Ok(layout) = WavLayout::parse(&file[..head], file.len() as u64) else { continue };
        accepted += 1;
        assert_eq!(layout.header().len() as u64, layout.data().start);
        assert!(layout.data().start <= layout.data().end && layout.data().end <= file.len() as u64);

        let mut hidden = file.clone();
        Silencer::new(layout.clone(), &[span(1, 2), span(5, 900)]).unwrap().apply(0, &mut hidden);
        assert_eq!(parse(&hidden).as_ref(), Ok(&layout), "{file:?}");
        let tail = layout.data().end as usize;
        assert!(hidden[tail..].iter().all(|byte| *byte == 0));
    }
    assert!(accepted > 5_000, "only {accepted} were masked");
}
