//! Real calls with the times at which card numbers are spoken. Where there is no corpus the tests say so; under `CI` they fail.

use std::path::{Path, PathBuf};

use super::*;
use crate::outside;

fn calls() -> Option<Vec<PathBuf>> {
    let folder = outside::corpus("calls")?;
    let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let calls: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "wav")).collect();
    assert!(!calls.is_empty(), "no calls in {}", folder.display());
    Some(calls)
}

/// Where the spoken card numbers are, and the call's frames per second.
fn spoken(call: &Path) -> (Vec<TimeSpan>, u64) {
    let json = std::fs::read(call.with_extension("json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let ms = |span: &serde_json::Value, name: &str| span[name].as_u64().unwrap();
    let spans = json["spoken_pii"].as_array().unwrap();
    let spans = spans.iter().map(|spoken| span(ms(spoken, "start_ms"), ms(spoken, "end_ms"))).collect();
    (spans, json["sample_rate_hz"].as_u64().unwrap())
}

#[test]
fn spoken_card_numbers_are_silent_and_every_other_byte_is_as_stored() {
    for call in calls().unwrap_or_default() {
        let (file, (spans, rate)) = (std::fs::read(&call).unwrap(), spoken(&call));
        // Each call of the corpus is mono with a plain header of 44 bytes; byte 32 tells the bytes of a frame, byte 20 the format.
        let (frame_bytes, silence) = (u64::from(file[32]), if file[20] == 7 { 0xFF } else { 0 });
        let hidden = masked(&file, &spans);
        for (at, (was, is)) in (0..).zip(file.iter().zip(&hidden)) {
            let frame = u64::checked_sub(at, 44).map(|within| within / frame_bytes);
            let meets = |frame: u64, span: &TimeSpan| {
                frame * 1_000 < span.end_ms * rate && (frame + 1) * 1_000 > span.start_ms * rate
            };
            let is_silent = frame.is_some_and(|frame| spans.iter().any(|span| meets(frame, span)));
            assert_eq!(*is, if is_silent { silence } else { *was }, "{call:?}, byte {at}");
        }
    }
}

#[test]
fn any_range_of_a_call_is_masked_as_the_whole_is() {
    let mut chance = Chance::of_test("ranges of calls");
    for call in calls().unwrap_or_default() {
        let (file, (spans, _)) = (std::fs::read(&call).unwrap(), spoken(&call));
        let hidden = masked(&file, &spans);
        let total = file.len() as u64;
        let silencer = Silencer::new(WavLayout::parse(&file[..MAX_HEAD_BYTES], total).unwrap(), &spans).unwrap();
        for _ in 0..200 {
            let start = chance.below(total) as usize;
            let end = start + chance.below((total - start as u64).min(300_000) + 1) as usize;
            let mut range = file[start..end].to_vec();
            silencer.apply(start as u64, &mut range);
            assert!(range == hidden[start..end], "{call:?}, bytes {start} to {end}");
        }
    }
}
