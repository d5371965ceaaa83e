//! How well what is sensitive is found, on chats that people really made: a table that is committed beside the code, and the goals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use oubliette::domain::record::{Speaker, Turn};
use oubliette::domain::sensitive::TextSpan;
use oubliette::masking::{find, of_turn};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::outside;

/// What the detector must reach, in each domain where the kind occurs.
const GOALS: [(&str, f64); 7] = [
    ("national_id", 0.98),
    ("phone", 0.99),
    ("bank_account", 0.97),
    ("payment_card", 0.90),
    ("policy_number", 0.90),
    ("claim_number", 0.80),
    ("email", 0.90),
];
const PRECISION_GOAL: f64 = 0.90;

/// How much must be hidden from an agent of what agents may not see, whole and by the default policy: what was reached when this was written,
/// rounded down. Passwords are not annotated.
const FLOORS: [(&str, &str, f64); 8] = [
    ("insurance", "national_id", 0.97),
    ("insurance, asked", "national_id", 0.98),
    ("finance", "bank_account", 0.95),
    ("finance", "national_id", 0.98),
    ("finance", "payment_card", 0.97),
    ("finance, asked", "bank_account", 0.97),
    ("finance, asked", "national_id", 0.99),
    ("finance, asked", "payment_card", 0.98),
];

const HEAD: &str = "\
How well what is sensitive is found, on chats that people really made (the corpus's README says whence). Written by a test.

A span counts as found when all of it is marked, under whatever kind; `same`: under the kind that the annotators gave it; `hidden from an
agent`: all of it, by the default policy; `least`: how much must be, of kinds that agents may not see. Precision: marked characters that lie
in an annotated span of any kind, over all marked characters. The rules were made on the chats at even places, and the odd ones were held out;
but three came later, after a look at what both halves missed, showed, or hid too much: `ending with 1575`, cards in several turns, and what a
number of unknown use is taken for where cards or accounts are talked about. In these chats only the customer's side is there, so numbers
are guessed where nobody asked; `asked` is the same with made-up questions of an agent before each answer. Names are not looked for.

";

/// Chats and their annotations.
struct Chat {
    turns: Vec<Turn>,
    marks: Vec<Mark>,
}

/// An annotated span, in bytes.
struct Mark {
    turn: u32,
    start: usize,
    end: usize,
    kind: String,
}

/// Which chats of a file are counted.
#[derive(Clone, Copy)]
enum Half {
    Even,
    Odd,
    All,
}

/// What was counted over some chats.
#[derive(Default)]
struct Tally {
    /// For each annotated kind: annotated, found, found under the same kind, hidden from an agent.
    kinds: BTreeMap<String, [usize; 4]>,
    /// For each kind that was given: characters masked.
    masked_by_kind: BTreeMap<&'static str, usize>,
    characters: usize,
    masked: usize,
    masked_and_marked: usize,
}

#[test]
fn masking_reaches_its_goals_on_the_corpus_and_the_committed_table_says_how_far() {
    let Some(corpus) = outside::corpus("") else { return };
    let (table, missed_goals) = table(&corpus);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/masking/table.txt");
    if std::env::var_os("OUBLIETTE_BLESS").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    assert!(missed_goals.is_empty(), "below the goal: {missed_goals:?}\n{table}");
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        table == committed,
        "the table is another than {file}:\n{table}\n\
         If that is meant, write it anew with `OUBLIETTE_BLESS=1 cargo test masking` and have the difference reviewed."
    );
}

/// The kinds that an agent sees by the default policy, as its committed table says.
fn seen_by_agents() -> BTreeSet<&'static str> {
    let matrix = include_str!("../../src/access/policy/matrix.txt");
    let rows = matrix.lines().skip_while(|line| !line.starts_with("What is sensitive")).skip(3);
    let seen = rows.filter_map(|line| {
        let cells: Vec<_> = line.split_whitespace().collect();
        (cells.get(2) == Some(&"seen")).then(|| cells[0])
    });
    let seen: BTreeSet<_> = seen.collect();
    let hidden = ["payment_card", "national_id", "bank_account", "password"];
    assert!(seen.len() == 10 && hidden.iter().all(|kind| !seen.contains(kind)), "{seen:?}");
    seen
}

/// The table as text, and the goals that were missed on all chats.
fn table(corpus: &Path) -> (String, Vec<String>) {
    let (mut out, mut missed_goals) = (HEAD.to_owned(), Vec::new());
    for domain in ["insurance", "finance"] {
        let chats = read(&corpus.join(format!("chats/{domain}.jsonl")));
        let tallies = [Half::Even, Half::Odd, Half::All].map(|half| tally(&chats, half));
        render_domain(&mut out, domain, &tallies).expect("a string takes all");
        let asked: Vec<_> = chats.iter().map(with_questions).collect();
        let tallies_asked = [Half::Even, Half::Odd, Half::All].map(|half| tally(&asked, half));
        let title = format!("{domain}, asked");
        render_domain(&mut out, &title, &tallies_asked).expect("a string takes all");
        let [[_, _, all], [_, _, all_asked]] = [&tallies, &tallies_asked];
        for (name, all) in [(domain, all), (&title, all_asked)] {
            missed_goals.extend(below_floor(name, all));
        }
        for (kind, goal) in GOALS {
            let is_missed = all.kinds.get(kind).is_some_and(|[marked, found, ..]| ratio(*found, *marked) < goal);
            missed_goals.extend(is_missed.then(|| format!("{domain} {kind}")));
        }
        if ratio(all.masked_and_marked, all.masked) < PRECISION_GOAL {
            missed_goals.push(format!("{domain} precision"));
        }
    }
    for name in ["two_sided", "abcd_sample"] {
        let tally = tally(&read(&corpus.join(format!("chats/{name}.jsonl"))), Half::All);
        render_unmarked(&mut out, name, &tally).expect("a string takes all");
    }
    (out, missed_goals)
}

/// The kinds of which an agent sees too much.
fn below_floor(title: &str, all: &Tally) -> Vec<String> {
    let is_below = |(name, kind, floor): &&(&str, &str, f64)| {
        let share = |kind: &str| all.kinds.get(kind).map_or(0.0, |[marked, .., hidden]| ratio(*hidden, *marked));
        *name == title && share(kind) < *floor
    };
    let below = FLOORS.iter().filter(is_below);
    below.map(|(name, kind, _)| format!("{name} {kind} hidden from an agent")).collect()
}

fn read(path: &Path) -> Vec<Chat> {
    let text = std::fs::read_to_string(path).expect("the corpus has this file");
    text.lines().map(|line| chat(&serde_json::from_str(line).expect("a line is JSON"))).collect()
}

fn chat(value: &Value) -> Chat {
    let (mut turns, mut marks) = (Vec::new(), Vec::new());
    for (index, turn) in (0..).zip(value["turns"].as_array().expect("a chat has turns")) {
        let text = turn["text"].as_str().expect("a turn has a text");
        let byte = |at: &Value| {
            let characters = at.as_u64().expect("a place is a number") as usize;
            text.char_indices().nth(characters).map_or(text.len(), |(byte, _)| byte)
        };
        for mark in turn["pii"].as_array().into_iter().flatten() {
            let kind = mark["kind"].as_str().expect("a kind is a word").to_owned();
            marks.push(Mark { turn: index, start: byte(&mark["start"]), end: byte(&mark["end"]), kind });
        }
        let speaker = match turn["speaker"].as_str() {
            Some("customer") => Speaker::Customer,
            Some("agent") => Speaker::Agent,
            _ => Speaker::System,
        };
        turns.push(Turn { speaker, said: None, text: Zeroizing::new(text.to_owned()) });
    }
    Chat { turns, marks }
}

/// The same chat with an agent who asks for what the customer then says: made up, as the corpus has only the customer's side. It shows how
/// the detector fares where both sides are there, and numbers are not guessed.
fn with_questions(chat: &Chat) -> Chat {
    let agent = |text: String| Turn { speaker: Speaker::Agent, said: None, text: Zeroizing::new(text) };
    let mut turns = Vec::new();
    for (index, turn) in (0..).zip(&chat.turns) {
        let mut wanted: Vec<_> =
            chat.marks.iter().filter(|mark| mark.turn == index).map(|mark| asked(&mark.kind)).collect();
        wanted.dedup();
        turns.push(agent(match wanted.is_empty() {
            true => "Thank you. How can I help?".to_owned(),
            false => format!("May I have {}?", wanted.join(" and ")),
        }));
        turns.push(turn.clone());
    }
    let moved = |mark: &Mark| Mark { turn: mark.turn * 2 + 1, kind: mark.kind.clone(), ..*mark };
    Chat { turns, marks: chat.marks.iter().map(moved).collect() }
}

/// How an agent calls what the corpus calls so.
fn asked(kind: &str) -> &'static str {
    match kind {
        "national_id" => "the last four digits of your SSN",
        "phone" => "your phone number",
        "bank_account" => "your account number",
        "payment_card" => "your card number",
        "policy_number" => "your policy number",
        "claim_number" => "your claim number",
        "email" => "your email address",
        "address" => "your address",
        _ => "your full name",
    }
}

fn tally(chats: &[Chat], half: Half) -> Tally {
    let (mut tally, seen) = (Tally::default(), seen_by_agents());
    for (index, chat) in chats.iter().enumerate() {
        match half {
            Half::Even if index % 2 == 1 => continue,
            Half::Odd if index % 2 == 0 => continue,
            Half::Even | Half::Odd | Half::All => tally.add(chat, &seen),
        }
    }
    tally
}

impl Tally {
    fn add(&mut self, chat: &Chat, seen: &BTreeSet<&str>) {
        let spans = find(&chat.turns);
        for mark in &chat.marks {
            let within = of_turn(&spans, mark.turn);
            let count = self.kinds.entry(mark.kind.clone()).or_default();
            let is_found = (mark.start..mark.end).all(|at| covering(within, at).is_some());
            let is_same = covering(within, mark.start).is_some_and(|span| span.kind.name() == mark.kind);
            let is_hidden = |at| covering(within, at).is_some_and(|span| !seen.contains(span.kind.name()));
            let is_hidden = (mark.start..mark.end).all(is_hidden);
            [1, usize::from(is_found), usize::from(is_found && is_same), usize::from(is_hidden)]
                .iter()
                .zip(count)
                .for_each(|(one, sum)| *sum += one);
        }
        for (index, turn) in (0..).zip(&chat.turns) {
            let within = of_turn(&spans, index);
            for (at, _) in turn.text.char_indices() {
                self.characters += 1;
                let Some(span) = covering(within, at) else { continue };
                let is_marked =
                    chat.marks.iter().any(|mark| mark.turn == index && (mark.start..mark.end).contains(&at));
                self.masked += 1;
                self.masked_and_marked += usize::from(is_marked);
                *self.masked_by_kind.entry(span.kind.name()).or_default() += 1;
            }
        }
    }
}

fn covering(spans: &[TextSpan], at: usize) -> Option<&TextSpan> {
    spans.iter().find(|span| (span.start as usize..span.end as usize).contains(&at))
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

fn render_domain(out: &mut String, domain: &str, [even, odd, all]: &[Tally; 3]) -> std::fmt::Result {
    writeln!(out, "{domain:<18}  goal    all   even    odd   spans  found   same  hidden from an agent  least")?;
    for (kind, [marked, found, same, hidden]) in &all.kinds {
        let goal = GOALS.iter().find(|(name, _)| name == kind).map_or("-".to_owned(), |(_, goal)| format!("{goal:.2}"));
        let recall = |tally: &Tally| tally.kinds.get(kind).map_or(1.0, |[marked, found, ..]| ratio(*found, *marked));
        let [all, even, odd] = [all, even, odd].map(recall);
        write!(
            out,
            "  {kind:<16} {goal:>6} {all:>6.3} {even:>6.3} {odd:>6.3} {marked:>7} {found:>6} {same:>6} {hidden:>6}"
        )?;
        match FLOORS.iter().find(|(title, name, _)| title == &domain && name == kind) {
            Some((.., floor)) => writeln!(out, "  {:>12.3}  {floor:>5.2}", ratio(*hidden, *marked))?,
            None => writeln!(out)?,
        }
    }
    let [a, e, o] = [all, even, odd].map(|tally| ratio(tally.masked_and_marked, tally.masked));
    writeln!(out, "  {:<16} {PRECISION_GOAL:>6.2} {a:>6.3} {e:>6.3} {o:>6.3}", "precision")?;
    writeln!(out, "  {} of {} masked characters are annotated\n", all.masked_and_marked, all.masked)
}

fn render_unmarked(out: &mut String, name: &str, tally: &Tally) -> std::fmt::Result {
    let per_1000 = |count: usize| 1000.0 * ratio(count, tally.characters);
    writeln!(out, "{name:<18} {:.2} characters masked per 1,000, of {}", per_1000(tally.masked), tally.characters)?;
    for (kind, count) in &tally.masked_by_kind {
        writeln!(out, "  {kind:<16} {:>6.2}", per_1000(*count))?;
    }
    writeln!(out)
}
