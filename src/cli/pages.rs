//! Lists: one page and the token of the next, or with `--all` every page after the other.

use serde::Serialize;

use super::errors::CliError;
use super::output::{Cell, Listing, Output};

/// The most pages that `--all` reads.
const MAX_PAGES: u64 = 1_000_000;
/// The largest page the service gives.
const MAX_PAGE_SIZE: i32 = 200;

/// Which page.
#[derive(Clone, clap::Args)]
pub struct PageArgs {
    /// Items on a page
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(i32).range(1..=i64::from(MAX_PAGE_SIZE)))]
    pub page_size: i32,
    /// Continue where the page before ended
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub page_token: String,
    /// All pages from here on
    #[arg(long)]
    pub all: bool,
}

/// How a list is called and how its items look to people.
pub struct Shape<T> {
    /// The name of the list in JSON.
    pub name: &'static str,
    /// The head of the table.
    pub header: &'static [Cell<'static>],
    /// A row of the table.
    pub row: fn(&T) -> String,
}

/// Writes the pages that `page` asks for. `fetch` gets size and token of a page and gives its items and the next token.
pub async fn list<T: Serialize>(
    page: &PageArgs,
    output: &mut Output,
    shape: Shape<T>,
    fetch: impl AsyncFn(i32, String) -> Result<(Vec<T>, String), CliError>,
) -> Result<(), CliError> {
    let mut token = page.page_token.clone();
    // Nothing is written before the first answer, so that a refusal leaves standard output empty.
    let (mut items, mut next) = fetch(page.page_size, token).await?;
    let mut listing = Listing::begin(output, shape.name, shape.header)?;
    for _ in 0..MAX_PAGES {
        for item in &items {
            listing.item(item, shape.row)?;
        }
        if next.is_empty() || !page.all {
            return listing.end(&next);
        }
        token = next;
        (items, next) = fetch(page.page_size, token.clone()).await?;
        if next == token {
            return Err(CliError::Protocol { what: "a page names itself as the next" });
        }
    }
    listing.end(&next)
}
