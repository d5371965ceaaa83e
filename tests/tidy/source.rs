//! Rust files read as text: without comments and the insides of strings, cut into tokens, paths, types and functions. It knows
//! as much of the language as the rules need, no more.

use std::path::Path;

/// One file of the house.
pub struct Source {
    /// Where it stands, from the folder that was read, with `/`.
    pub path: String,
    /// Its text.
    pub raw: String,
    /// Its text with comments and the insides of strings blanked; every byte keeps its place.
    pub masked: String,
    /// The same without what is compiled for tests only; all blank where the file is a test.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let masked = mask(raw);
        let code = without_tests(&masked);
        Self { path: path.to_owned(), raw: raw.to_owned(), masked, code }
    }

    /// The line in which the byte `at` stands, from 1.
    pub fn line(&self, at: usize) -> usize {
        1 + self.raw.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
    }

    /// The room it belongs to: the folder or file directly under `src`.
    pub fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Its place in the tree of modules.
    pub fn module(&self) -> Vec<&str> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let mut module: Vec<&str> = stem.split('/').collect();
        if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
            module.pop();
        }
        module
    }
}

/// Reads every Rust file under `folder`, in order. A file whose module is for tests only has no code.
pub fn read_house(folder: &Path) -> Vec<Source> {
    let mut house = Vec::new();
    walk(folder, folder, &mut house);
    house.sort_by(|a: &Source, b| a.path.cmp(&b.path));
    for test in house.iter().flat_map(test_files).collect::<Vec<_>>() {
        let is_test = |path: &str| path == format!("{test}.rs") || path.starts_with(&format!("{test}/"));
        house.iter_mut().filter(|source| is_test(&source.path)).for_each(|source| source.code = blank(&source.code));
    }
    house
}

fn walk(root: &Path, folder: &Path, house: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).expect("the folder of the sources can be read") {
        let path = entry.expect("an entry of the folder can be read").path();
        if path.is_dir() {
            walk(root, &path, house);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("it stands under the root").to_string_lossy().replace('\\', "/");
            house.push(Source::new(&name, &std::fs::read_to_string(&path).expect("a source is UTF-8")));
        }
    }
}

/// The modules in files of their own that `source` declares for tests only, as paths without `.rs`.
fn test_files(source: &Source) -> Vec<String> {
    let parent = source.module().join("/");
    let declared = test_items(&source.masked).into_iter().filter_map(|(start, end)| {
        let item = source.masked[start..end].rsplit(']').next()?;
        let name = item.trim().strip_suffix(';')?.rsplit_once("mod ")?.1.trim();
        Some(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") })
    });
    declared.collect()
}

fn without_tests(masked: &str) -> String {
    let mut code = masked.to_owned();
    for (start, end) in test_items(masked) {
        code.replace_range(start..end, &blank(&masked[start..end]));
    }
    code
}

/// From where to where each item stands that is compiled for tests only, with its attribute.
fn test_items(masked: &str) -> Vec<(usize, usize)> {
    let starts = ["#[cfg(test)]", "#[cfg(all(test"].into_iter().flat_map(|attribute| masked.match_indices(attribute));
    starts.map(|(start, _)| (start, end_of_item(masked, start))).collect()
}

/// The end of the item at `start`: the brace that closes its body, or its semicolon.
fn end_of_item(masked: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in masked.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => (),
        }
    }
    masked.len()
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) }).collect()
}

/// Blanks comments and the insides of strings and characters.
fn mask(raw: &str) -> String {
    let mut masked = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let length = if before.is_alphanumeric() || before == '_' { c.len_utf8() } else { literal_or_comment(rest) };
        let piece = &rest[..length];
        match c {
            _ if length == c.len_utf8() => masked.push_str(piece),
            '/' => masked.push_str(&blank(piece)),
            // The marks stay, so that an empty string can be told from none.
            _ => masked.push_str(&format!("\"{}\"", blank(&piece[1..length - 1]))),
        }
        before = piece.chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    masked
}

/// The length of the comment, string or character at the beginning of `text`; of one character where there is none.
fn literal_or_comment(text: &str) -> usize {
    let one = text.chars().next().map_or(0, char::len_utf8);
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let after_prefix = text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'));
    if let Some(raw) = after_prefix {
        let opened = raw.trim_start_matches('#');
        let end = format!("\"{}", "#".repeat(raw.len() - opened.len()));
        if let Some(inside) = opened.strip_prefix('"') {
            return text.len() - inside.len() + inside.find(&end).map_or(inside.len(), |at| at + end.len());
        }
    }
    let quoted = text.strip_prefix(['b', 'c']).unwrap_or(text);
    match quoted.chars().next() {
        Some('"') => text.len() - quoted.len() + quoted_string(quoted),
        Some('\'') => character(quoted).map_or(one, |length| text.len() - quoted.len() + length),
        _ => one,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

fn quoted_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => (),
        }
    }
    text.len()
}

/// The length of a character literal; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let inside = &text[1..];
    let first = inside.chars().next()?;
    if first == '\\' {
        return inside.get(2..)?.find('\'').map(|at| at + 4);
    }
    inside[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

/// A word or a mark, and where it stands.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    pub text: &'a str,
    pub at: usize,
}

impl Token<'_> {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

/// Cuts masked text into words, `::` and single marks.
pub fn tokens(masked: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = masked[at..].chars().next() {
        let rest = &masked[at..];
        let length = match c {
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        if !c.is_whitespace() {
            tokens.push(Token { text: &rest[..length], at });
        }
        at += length;
    }
    tokens
}

/// A path that is named: in a `use`, written out, or in the code.
pub struct Named<'a> {
    pub segments: Vec<&'a str>,
    pub at: usize,
}

/// Every path with more than one segment, and all that is brought in by `use` and `extern crate`.
pub fn paths(masked: &str) -> Vec<Named<'_>> {
    let tokens = tokens(masked);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = tokens[at].is_word() && (at == 0 || text(at - 1) != "::" || !continues(&tokens, at));
        if text(at) == "use" && text(at + 1) != "<" {
            at = use_tree(&tokens, at + 1, &[], &mut paths);
        } else if text(at) == "crate" && at > 0 && text(at - 1) == "extern" {
            paths.extend(tokens.get(at + 1).map(|token| Named { segments: vec![token.text], at: token.at }));
            at += 2;
        } else if begins && text(at + 1) == "::" {
            let start = at;
            let mut segments = vec![text(at)];
            while text(at + 1) == "::" && tokens.get(at + 2).is_some_and(Token::is_word) {
                segments.push(text(at + 2));
                at += 2;
            }
            paths.push(Named { segments, at: tokens[start].at });
            at += 1;
        } else {
            at += 1;
        }
    }
    paths
}

/// Whether the `::` before the token at `at` follows something, so that the token does not begin the path.
fn continues(tokens: &[Token<'_>], at: usize) -> bool {
    at >= 2 && (tokens[at - 2].is_word() || matches!(tokens[at - 2].text, ">" | ")" | "]"))
}

/// Reads one tree of a `use` from `at`; gives the place behind it.
fn use_tree<'a>(tokens: &[Token<'a>], mut at: usize, before: &[&'a str], paths: &mut Vec<Named<'a>>) -> usize {
    let mut segments = before.to_vec();
    let start = tokens.get(at).map_or(0, |token| token.at);
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &segments, paths);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            "as" => at += 2,
            "::" => at += 1,
            "self" if !segments.is_empty() => at += 1,
            segment => {
                segments.push(segment);
                at += 1;
            }
        }
    }
    paths.push(Named { segments, at: start });
    at
}

/// A struct or enum.
pub struct Type<'a> {
    pub name: &'a str,
    pub derives: Vec<&'a str>,
    /// Its fields or variants.
    pub body: &'a str,
    pub at: usize,
}

/// The types that are defined.
pub fn types(masked: &str) -> Vec<Type<'_>> {
    let tokens = tokens(masked);
    let mut derives = Vec::new();
    let mut types = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "derive" => {
                let inside = tokens[at + 1..].iter().take_while(|token| token.text != ")");
                derives.extend(inside.filter(|token| token.is_word()).map(|token| token.text));
            }
            "struct" | "enum" => {
                // Behind `struct` stands the name; a `$` of a macro goes before it.
                let Some(name) = tokens[at + 1..].iter().take(2).find(|token| token.is_word()) else { continue };
                let body = &masked[name.at..end_of_item(masked, name.at)];
                types.push(Type { name: name.text, derives: std::mem::take(&mut derives), body, at: token.at });
            }
            _ => (),
        }
    }
    types
}

/// A function with a body.
pub struct Function<'a> {
    pub name: &'a str,
    /// How many lines it has, from `fn` to the closing brace.
    pub lines: usize,
}

/// The functions that have a body.
pub fn functions(masked: &str) -> Vec<Function<'_>> {
    let tokens = tokens(masked);
    let named = tokens.windows(2).filter(|pair| pair[0].text == "fn" && pair[1].is_word());
    let function = |pair: &[Token<'_>]| {
        let text = &masked[pair[0].at..end_of_item(masked, pair[0].at)];
        let name = &masked[pair[1].at..pair[1].at + pair[1].text.len()];
        Function { name, lines: text.lines().count() }
    };
    named.map(function).collect()
}
