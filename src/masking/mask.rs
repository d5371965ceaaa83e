//! Hiding what was found: each hidden span gives way to a fixed form of words, which tells nothing of the value, not even its length.

use zeroize::Zeroizing;

use crate::domain::sensitive::{SensitiveKind, TextSpan};

/// What is shown of a text whose spans do not fit it.
const ALL_HIDDEN: &str = "[hidden]";

/// The text with each span whose kind has a placeholder replaced by it. `spans` are those of this one text, in order, as
/// [`find`](super::find) gives them; `None` if they cannot be of this text.
pub fn mask(
    text: &str,
    spans: &[TextSpan],
    hidden: impl Fn(SensitiveKind) -> Option<&'static str>,
) -> Option<Zeroizing<String>> {
    pieces(text, spans, &hidden).try_for_each(|piece| piece.map(drop))?;
    // In one piece: a string that grows would leave a copy behind.
    let mut shown = Zeroizing::new(String::with_capacity(masked_length(text, spans, &hidden)));
    pieces(text, spans, &hidden).flatten().for_each(|piece| shown.push_str(piece));
    Some(shown)
}

/// What is shown of a text that cannot be shown.
pub(super) fn all_hidden() -> Zeroizing<String> {
    Zeroizing::new(ALL_HIDDEN.to_owned())
}

/// How long the masked text is.
pub(super) fn masked_length(
    text: &str,
    spans: &[TextSpan],
    hidden: &impl Fn(SensitiveKind) -> Option<&'static str>,
) -> usize {
    pieces(text, spans, hidden).flatten().map(str::len).sum()
}

/// What is shown, piece by piece; `None` for what is not in the text.
fn pieces<'t>(
    text: &'t str,
    spans: &'t [TextSpan],
    hidden: &'t impl Fn(SensitiveKind) -> Option<&'static str>,
) -> impl Iterator<Item = Option<&'t str>> {
    let ends = std::iter::once(0).chain(spans.iter().map(|span| span.end as usize));
    let starts = spans.iter().map(|span| span.start as usize).chain([text.len()]);
    let between = ends.zip(starts).map(|(start, end)| text.get(start..end));
    let values = spans.iter().map(|span| {
        let value = text.get(span.start as usize..span.end as usize);
        value.map(|value| hidden(span.kind).unwrap_or(value))
    });
    between.zip(values.map(Some).chain([None])).flat_map(|(between, value)| [Some(between), value]).flatten()
}
