//! How much one principal may read, by role.

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
}

impl Default for CeilingsConfig {
    fn default() -> Self {
        Self {
            agent: CeilingConfig { reads_per_minute: 60, reads_per_day: 1_000, customers_per_day: 150 },
            supervisor: CeilingConfig { reads_per_minute: 300, reads_per_day: 5_000, customers_per_day: 1_000 },
            privacy_officer: CeilingConfig { reads_per_minute: 300, reads_per_day: 5_000, customers_per_day: 1_000 },
        }
    }
}

impl CeilingsConfig {
    /// Counted, and never met: for measurements.
    pub fn out_of_reach() -> Self {
        let most = CeilingConfig { reads_per_minute: u32::MAX, reads_per_day: u32::MAX, customers_per_day: u32::MAX };
        Self { agent: most, supervisor: most, privacy_officer: most }
    }

    /// As the vault takes them.
    pub fn ceilings(&self) -> Ceilings {
        let of = |one: CeilingConfig| Ceiling {
            reads_per_minute: one.reads_per_minute,
            reads_per_day: one.reads_per_day,
            customers_per_day: one.customers_per_day,
        };
        Ceilings { agent: of(self.agent), supervisor: of(self.supervisor), privacy_officer: of(self.privacy_officer) }
    }

    /// The sections of the template.
    pub fn template(&self) -> String {
        let Self { agent, supervisor, privacy_officer } = *self;
        let section = |name: &str, one: CeilingConfig| {
            format!(
                "[ceilings.{name}]\nreads_per_minute = {}\nreads_per_day = {}\ncustomers_per_day = {}\n\n",
                one.reads_per_minute, one.reads_per_day, one.customers_per_day
            )
        };
        format!(
            "# How much one principal of a role may read: reads in a minute and in a day (a list counts as many as it may show), and different\n\
             # customers in a day; days are of UTC, 0 means no ceiling. Whoever meets one is refused until the minute or day is over, and it is\n\
             # told in the ledger; so is whoever comes half the way.\n{}{}{}",
            section("agent", agent),
            section("supervisor", supervisor),
            section("privacy_officer", privacy_officer)
        )
    }
}
