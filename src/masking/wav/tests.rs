use super::*;
use forge::{Chance, EVERY_FORMAT, SECRET, Wav, chunk};

mod corpus;
mod damage;
mod forge;

fn span(start_ms: u64, end_ms: u64) -> TimeSpan {
    TimeSpan { start_ms, end_ms }
}

/// What a masked caller gets of a whole file.
fn masked(file: &[u8], spans: &[TimeSpan]) -> Vec<u8> {
    let layout = WavLayout::parse(file, file.len() as u64).unwrap();
    let mut bytes = file.to_vec();
    Silencer::new(layout, spans).unwrap().apply(0, &mut bytes);
    bytes
}

/// The samples as the promise has them: frame `f` sounds from `f / rate` to `(f + 1) / rate` seconds, and is silent if a span meets it.
fn silenced(wav: &Wav, spans: &[TimeSpan], silence: u8) -> Vec<u8> {
    let (rate, mut samples) = (u64::from(wav.rate), wav.samples.clone());
    for (frame, bytes) in (0_u64..).zip(samples.chunks_mut(wav.frame_bytes())) {
        if spans.iter().any(|span| frame * 1_000 < span.end_ms * rate && (frame + 1) * 1_000 > span.start_ms * rate) {
            bytes.fill(silence);
        }
    }
    samples
}

fn some_spans(chance: &mut Chance, most: u64, within_ms: u64) -> Vec<TimeSpan> {
    let mut span = || (chance.below(within_ms), 1 + chance.below(within_ms / 4));
    let count = span().0 % (most + 1);
    (0..count).map(|_| span()).map(|(start, length)| self::span(start, start + length)).collect()
}

#[test]
fn in_every_format_the_frames_of_the_spans_are_silent_and_all_else_is_as_stored() {
    let mut chance = Chance::of_test("every format");
    for (tag, bits, silence) in EVERY_FORMAT {
        for (channels, rate, is_extensible) in [(1, 8_100, false), (2, 11_025, true), (6, 44_100, false)] {
            let wav = Wav { tag, bits, channels, rate, is_extensible, ..Wav::of_ms(90, rate, channels * bits / 8) };
            let spans = some_spans(&mut chance, 6, 100);
            let expected = Wav { samples: silenced(&wav, &spans, silence), ..wav.clone() };
            assert!(masked(&wav.file(), &spans) == expected.file(), "{wav:?} {spans:?}");
        }
    }
}

#[test]
fn a_span_is_rounded_outwards_to_whole_frames() {
    // At 11,025 Hz, 1 ms is 11.025 frames, 2 ms are 22.05.
    let wav = Wav { rate: 11_025, ..Wav::of_ms(10, 11_025, 2) };
    let file = masked(&wav.file(), &[span(1, 2)]);
    let silent: Vec<_> = (0..wav.samples.len()).filter(|at| file[44 + at] != wav.samples[*at]).collect();
    assert_eq!(silent, (22..46).collect::<Vec<_>>());
}

#[test]
fn any_range_gives_the_bytes_that_the_whole_has_there() {
    let mut chance = Chance::of_test("any range");
    for _ in 0..300 {
        let (tag, bits, _) = EVERY_FORMAT[chance.below(6) as usize];
        let wav = Wav { tag, bits, channels: 3, ..Wav::of_ms(200, 8_000, 3 * bits / 8) };
        let wav = Wav { before: vec![(*b"LIST", SECRET[..9].to_vec())], behind: SECRET.to_vec(), ..wav };
        let (file, spans) = (wav.file(), some_spans(&mut chance, 40, 220));
        let whole = masked(&file, &spans);
        let silencer = Silencer::new(WavLayout::parse(&file, file.len() as u64).unwrap(), &spans).unwrap();
        let (mut joined, longest) = (file.clone(), 1 + chance.below(900));
        let mut at = 0;
        while at < file.len() {
            let behind = file.len().min(at + chance.below(longest) as usize + 1);
            silencer.apply(at as u64, &mut joined[at..behind]);
            at = behind;
        }
        assert!(joined == whole, "{wav:?} {spans:?}");
    }
}

#[test]
fn nothing_personal_leaves_outside_the_audio() {
    let secret = || SECRET.to_vec();
    let wav = Wav {
        before: vec![(*b"JUNK", secret()), (*b"bext", secret()), (*b"LIST", [b"INFO", SECRET].concat())],
        format_tail: [&[SECRET.len() as u8, 0], SECRET].concat(),
        between: vec![(*b"fact", vec![1, 2, 3, 4]), (*b"id3 ", SECRET[..11].to_vec()), (*b"iXML", vec![])],
        behind: [chunk(*b"LIST", SECRET), Wav { samples: secret(), ..Wav::default() }.file(), secret()].concat(),
        ..Wav::of_ms(100, 8_000, 2)
    };
    let (file, spans) = (wav.file(), [span(20, 30)]);
    let (hidden, whole) = (masked(&file, &spans), masked(&file, &[]));
    assert_eq!(hidden.len(), file.len());
    for piece in SECRET.windows(4) {
        assert!(!hidden.windows(4).any(|seen| seen == piece), "{piece:?} leaves");
    }
    let (start, end) = (wav.data_start(), wav.data_start() + wav.samples.len());
    assert_eq!(whole[start..end], wav.samples);
    assert_eq!(hidden[start..end], silenced(&wav, &spans, 0));
    assert!(hidden[end..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_leaves_is_a_valid_file_with_the_same_audio() {
    let behind = [chunk(*b"LIST", SECRET), SECRET.to_vec()].concat();
    for before in [vec![], vec![(*b"bext", vec![])], vec![(*b"LIST", SECRET[..7].to_vec()), (*b"JUNK", vec![1; 28])]] {
        for stated_size in [None, Some(u32::MAX), Some(0)] {
            let wav = Wav { before: before.clone(), stated_size, behind: behind.clone(), ..Wav::of_ms(20, 8_000, 2) };
            let file = masked(&wav.file(), &[]);
            let of = |bytes: &[u8]| WavLayout::parse(bytes, bytes.len() as u64).unwrap();
            assert_eq!(of(&file), of(&wav.file()), "{wav:?}");
            assert_eq!(masked(&file, &[]), file, "{wav:?}");
        }
    }
}

#[test]
fn a_streamed_file_ends_its_audio_where_it_ends() {
    for (bits, length) in [(16, 400_u32), (8, 321)] {
        let wav = Wav { bits, ..Wav { samples: vec![7; length as usize], ..Wav::default() } };
        for stated in [0, length + 1, i32::MAX as u32, u32::MAX] {
            let streamed = Wav { stated_size: Some(stated), is_padded: false, ..wav.clone() };
            let expected = Wav { samples: vec![if bits == 8 { 0x80 } else { 0 }; length as usize], ..streamed.clone() };
            let expected = Wav { stated_size: None, ..expected };
            assert!(masked(&streamed.file(), &[span(0, 1_000)]) == expected.file(), "{streamed:?}");
        }
    }
    let empty = Wav { samples: vec![], ..Wav::default() }.file();
    assert_eq!(masked(&empty, &[span(0, 1_000)]), empty);
}

#[test]
fn spans_may_overlap_and_lie_behind_the_end() {
    let wav = Wav::of_ms(50, 8_000, 2);
    // The last one ends within the last bytes that can be counted.
    let once = masked(&wav.file(), &[span(10, 30), span(45, 50)]);
    let spans = [
        span(45, u64::MAX),
        span(20, 30),
        span(10, 20),
        span(10, 21),
        span(11, 12),
        span(60, 70),
        span(46, u64::MAX / 16),
    ];
    assert_eq!(masked(&wav.file(), &spans), once);
}

#[test]
fn the_number_of_spans_is_bounded_and_each_has_a_length() {
    let file = Wav::of_ms(50, 8_000, 2).file();
    let new = |spans: &[TimeSpan]| Silencer::new(WavLayout::parse(&file, file.len() as u64).unwrap(), spans).map(drop);
    assert_eq!(new(&vec![span(0, 1); MAX_SPANS]), Ok(()));
    assert_eq!(new(&vec![span(0, 1); MAX_SPANS + 1]), Err(NotSilenceable::TooManySpans));
    for (start, end) in [(3, 3), (4, 3)] {
        assert_eq!(new(&[span(0, 1), span(start, end)]), Err(NotSilenceable::EmptySpan { index: 1 }));
    }
}

#[test]
fn a_very_long_file_is_silenced_at_its_end() {
    const TOTAL: u64 = 20 << 30;
    let wav = Wav { stated_size: Some(u32::MAX), ..Wav::of_ms(100, 8_000, 2) };
    let end_ms = (TOTAL - 44) / 16;
    let layout = WavLayout::parse(&wav.file(), TOTAL).unwrap();
    let silencer = Silencer::new(layout, &[span(end_ms - 2, u64::MAX)]).unwrap();
    let mut last = [7; 64];
    silencer.apply(TOTAL - 64, &mut last);
    let first = last.iter().position(|byte| *byte == 0);
    assert_eq!(first, Some((44 + (end_ms - 2) * 16 - (TOTAL - 64)) as usize));
    assert!(last[first.unwrap()..].iter().all(|byte| *byte == 0));
    for offset in [0, TOTAL, u64::MAX - 3] {
        silencer.apply(offset, &mut [1; 64]);
    }
}
