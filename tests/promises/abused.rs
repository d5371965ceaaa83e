//! Identifiers that somebody could send to get at what is another's: families made of names that are really there, and a list written by
//! hand. Some of them are legal names; then they are names of their own.

use std::collections::BTreeSet;

/// Names that the other tenant has, from which the families are made.
const NAMES: [&str; 2] = ["ada", "Straße-é"];

/// Characters that are not seen, or that turn what is seen round.
const UNSEEN: &str = "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}\u{34f}\u{61c}\u{180e}\u{3164}\u{fe0f}\u{e0061}\
    \u{202a}\u{202b}\u{202d}\u{202e}\u{202c}\u{2066}\u{2067}\u{2069}\u{301}\u{308}\u{20dd}\u{2028}\
    \u{2029}\u{fffd}\u{ffff}\u{e000}\u{10ffff}";

/// Space of all kinds that is no control character.
const SPACES: &str = " \u{a0}\u{1680}\u{2003}\u{202f}\u{205f}\u{3000}";

/// Letters that look like those of `ada-case`, and digits.
const ALIKE: &[(char, &str)] = &[
    ('a', "аɑαａ𝐚ⓐªáäå"),
    ('d', "ԁɗｄ𝐝ⓓ"),
    ('e', "еεｅ𝐞ⓔéë"),
    ('s', "ѕｓ𝐬ⓢſ"),
    ('c', "сϲｃ𝐜ⓒ"),
    ('i', "іιıｉ"),
    ('o', "оο０ｏ"),
    ('n', "ո𝐧ｎ"),
    ('x', "хχｘ"),
    ('-', "‐‑‒–—−－_"),
    ('7', "７𝟕⑦٧"),
];

/// What separates the parts of a path, of a key, of a statement.
const SEPARATORS: &str = r"/ // \ . .. /../ /./ ..\ : :: | , ; & = # ? %2f %2F %252f %5c %00 %2e%2e%2f
    %c0%af %c0%ae%c0%ae/ %e0%80%af %u2215 ∕ ⁄ ．．／ ／ + ~ @ $";

/// Written by hand.
const WRITTEN: &str = include_str!("abused.txt");

/// All of them, each once. `theirs` are ids of the other tenant: of records, customers, cases, people, tokens, receipts, pages.
pub fn identifiers(theirs: &[String]) -> Vec<String> {
    let mut all: BTreeSet<String> = WRITTEN.lines().filter_map(|line| line.strip_prefix("  ")).map(unescaped).collect();
    all.extend(theirs.iter().cloned());
    for name in NAMES {
        all.extend(cases(name).into_iter().chain(encodings(name)));
    }
    for unseen in UNSEEN.chars().chain(SPACES.chars()) {
        all.extend([format!("{unseen}ada"), format!("ada{unseen}"), inside("ada", unseen)]);
    }
    all.extend(
        SEPARATORS.split_whitespace().flat_map(|separator| {
            [format!("globex{separator}ada"), format!("ada{separator}"), format!("{separator}ada")]
        }),
    );
    all.extend(
        (0..0x20).chain([0x7f, 0x80, 0x85, 0x9f]).filter_map(char::from_u32).map(|control| inside("ada", control)),
    );
    all.extend(["ada-case-7", "globex"].iter().flat_map(|name| look_alikes(name)));
    all.extend(lengths());
    let mut sorts = BTreeSet::new();
    let one_of_each = theirs.iter().filter(|id| sorts.insert(id.len()));
    all.extend(one_of_each.flat_map(|id| if id.len() == 36 { of_uuid(id) } else { of_hex(id) }));
    all.extend((0..16).map(|version| format!("01890a5d-ac96-{version:x}74b-bcce-b302099a8057")));
    all.extend((0..16).map(|variant| format!("01890a5d-ac96-774b-{variant:x}cce-b302099a8057")));
    all.into_iter().collect()
}

/// What a line of the list stands for.
fn unescaped(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line.chars());
    while let Some(letter) = rest.next() {
        text.push(match (letter, if letter == '\\' { rest.next() } else { None }) {
            ('\\', Some('0')) => '\0',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some('\\')) => '\\',
            ('\\', Some('u')) => {
                let digits: String = rest.by_ref().skip(1).take_while(|digit| *digit != '}').collect();
                u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap()
            }
            ('\\', other) => panic!("{other:?} behind a backslash in {line}"),
            (plain, _) => plain,
        });
    }
    text
}

fn inside(name: &str, what: char) -> String {
    let first = name.chars().next().map_or(0, char::len_utf8);
    format!("{}{what}{}", &name[..first], &name[first..])
}

fn cases(name: &str) -> Vec<String> {
    let alternating = name.chars().enumerate().flat_map(|(at, letter)| {
        if at.is_multiple_of(2) { letter.to_uppercase().collect::<Vec<_>>() } else { letter.to_lowercase().collect() }
    });
    let composed = [("e\u{301}", "é"), ("ss", "ß"), ("ẞ", "ß"), ("ſs", "ß"), ("s", "ß")];
    let other_forms = composed.iter().map(|(other, letter)| name.replace(letter, other));
    let turned = name.chars().rev().collect();
    [name.to_uppercase(), name.to_lowercase(), alternating.collect(), turned].into_iter().chain(other_forms).collect()
}

/// The name as URLs, bytes and other languages would write it.
fn encodings(name: &str) -> Vec<String> {
    let of_bytes = |form: fn(&u8) -> String| name.as_bytes().iter().map(form).collect::<String>();
    vec![
        of_bytes(|byte| format!("%{byte:02x}")),
        of_bytes(|byte| format!("%{byte:02X}")),
        of_bytes(|byte| format!("%25{byte:02x}")),
        of_bytes(|byte| format!("%c{}%{:02x}", byte >> 6, 0x80 | (byte & 0x3f))),
        of_bytes(|byte| format!("%u00{byte:02x}")),
        of_bytes(|byte| format!("\\x{byte:02x}")),
        of_bytes(|byte| format!("\\u00{byte:02x}")),
        of_bytes(|byte| format!("&#{byte};")),
        of_bytes(|byte| format!("{byte:02x}")),
        of_bytes(|byte| format!("={byte:02X}")),
        name.replacen('a', "%61", 1),
        name.replacen('a', "%2561", 1),
    ]
}

/// The name with one letter, or all, in another's shape.
fn look_alikes(name: &str) -> Vec<String> {
    let one = ALIKE
        .iter()
        .flat_map(|(letter, shapes)| shapes.chars().map(|shape| name.replacen(*letter, &shape.to_string(), 1)));
    let all = |shape: usize| {
        let look =
            |letter: char| ALIKE.iter().find(|(plain, _)| *plain == letter).and_then(|(_, s)| s.chars().nth(shape));
        name.chars().map(|letter| look(letter).unwrap_or(letter)).collect()
    };
    one.chain((0..4).map(all)).filter(|alike| alike != name).collect()
}

/// Around every limit that a name has, in letters of one, two and four bytes; and far beyond.
fn lengths() -> Vec<String> {
    const AROUND: [usize; 15] = [0, 1, 7, 8, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1_024, 1_025];
    let exactly = |letter: &str, bytes: usize| letter.repeat(bytes / letter.len()) + &"z".repeat(bytes % letter.len());
    let mut all: Vec<String> =
        ["y", "é", "🂡"].iter().flat_map(|letter| AROUND.map(|bytes| exactly(letter, bytes))).collect();
    all.extend(["y", "é", "..", "/"].map(|letter| exactly(letter, 64 << 10)));
    all.push("y".repeat(1 << 20));
    all
}

/// Other ways to write a record's id, and others near it.
fn of_uuid(id: &str) -> Vec<String> {
    let simple = id.replace('-', "");
    let changed = |at: usize, to: &str| format!("{}{to}{}", &id[..at], &id[at + 1..]);
    vec![
        id.to_uppercase(),
        simple.clone(),
        simple.to_uppercase(),
        format!("{{{id}}}"),
        format!("({id})"),
        format!("urn:uuid:{id}"),
        format!("URN:UUID:{id}"),
        format!("\"{id}\""),
        format!(" {id}"),
        format!("{id} "),
        format!("{id}\0"),
        format!("{id}\n"),
        format!("{id}/"),
        format!("globex/{id}"),
        format!("{id}@1"),
        id[..35].to_owned(),
        format!("{id}0"),
        id.replace('-', "_"),
        id.replace('-', "–"),
        id.replacen('-', "", 1),
        changed(14, "4"),
        changed(19, "f"),
        id.replacen('0', "０", 1),
        id.replacen('0', "O", 1),
        "00000000-0000-0000-0000-000000000000".to_owned(),
        "00000000-0000-7000-8000-000000000000".to_owned(),
        "ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned(),
        "ffffffff-ffff-7fff-bfff-ffffffffffff".to_owned(),
    ]
}

/// Other ways to write an id or a page's mark in hexadecimal, also as if it were a record's; nothing for what is not.
fn of_hex(id: &str) -> Vec<String> {
    if id.len() < 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Vec::new();
    }
    let (front, last) = id.split_at(id.len() - 1);
    let as_uuid = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32]);
    let other = if last == "0" { "1" } else { "0" };
    vec![
        id.to_uppercase(),
        format!("0x{id}"),
        front.to_owned(),
        format!("{front}{other}"),
        format!("{id}0"),
        format!("{id}00"),
        format!("{front}g"),
        format!(" {id}"),
        format!("obl_{id}"),
        "0".repeat(id.len()),
        "f".repeat(id.len()),
        as_uuid,
        id[..32].to_owned(),
    ]
}
