//! How much one principal may read and erase alone, by role.

use serde::Deserialize;

use crate::domain::ceiling::{Ceiling, Ceilings};

/// The ceilings of each role that reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CeilingsConfig {
    /// Of agents.
    pub agent: CeilingConfig,
    /// Of supervisors.
    pub supervisor: CeilingConfig,
    /// Of privacy officers.
    pub privacy_officer: CeilingConfig,
}

/// The ceilings of one role; 0 for none. What is not said is the role's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilingConfig {
    /// Reads in a minute.
    pub reads_per_minute: u32,
    /// Reads in a day.
    pub reads_per_day: u32,
    /// Different customers in a day.
    pub customers_per_day: u32,
    /// Erasures in a day. Configurations of before this was counted do not say.
    #[serde(default = "erasures_alone")]
    pub erasures_per_day: u32,
}

/// How many erasures in a day need no second person.
fn erasures_alone() -> u32 {
    100
}

impl Default for CeilingsConfig {
    fn default() -> Self {
        let role = |reads_per_minute, reads_per_day, customers_per_day| CeilingConfig {
            reads_per_minute,
            reads_per_day,
            customers_per_day,
            erasures_per_day: erasures_alone(),
        };
        Self {
            agent: role(60, 1_000, 150),
            supervisor: role(300, 5_000, 1_000),
            privacy_officer: role(300, 5_000, 1_000),
        }
    }
}

impl CeilingsConfig {
    /// Counted, and never met: for measurements.
    pub fn out_of_reach() -> Self {
        let most = CeilingConfig {
            reads_per_minute: u32::MAX,
            reads_per_day: u32::MAX,
            customers_per_day: u32::MAX,
            erasures_per_day: u32::MAX,
        };
        Self { agent: most, supervisor: most, privacy_officer: most }
    }

    /// As the vault takes them.
    pub fn ceilings(&self) -> Ceilings {
        let of = |one: CeilingConfig| Ceiling {
            reads_per_minute: one.reads_per_minute,
            reads_per_day: one.reads_per_day,
            customers_per_day: one.customers_per_day,
            erasures_per_day: one.erasures_per_day,
        };
        Ceilings { agent: of(self.agent), supervisor: of(self.supervisor), privacy_officer: of(self.privacy_officer) }
    }

    /// The sections of the template.
    pub fn template(&self) -> String {
        let Self { agent, supervisor, privacy_officer } = *self;
        let section = |name: &str, one: CeilingConfig| {
            format!(
                "[ceilings.{name}]\nreads_per_minute = {}\nreads_per_day = {}\ncustomers_per_day = {}\nerasures_per_day = {}\n\n",
                one.reads_per_minute, one.reads_per_day, one.customers_per_day, one.erasures_per_day
            )
        };
        format!(
            "# How much one principal of a role may do alone: reads in a minute and in a day (a list counts as many as it may show), different\n\
             # customers in a day, and erasures in a day; days are of UTC, 0 means no ceiling. Whoever meets one is refused until the minute or\n\
             # day is over, or until a second person approves more for a time (`oubliette approval`), and it is told in the ledger; so is\n\
             # whoever comes half the way of reading.\n{}{}{}",
            section("agent", agent),
            section("supervisor", supervisor),
            section("privacy_officer", privacy_officer)
        )
    }
}
