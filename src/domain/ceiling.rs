//! How much one principal may read and erase alone, whatever the policy allows: insiders who read many people are stopped, and told.

use super::principal::Role;

/// The ceilings of a role. 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ceiling {
    /// Reads in a minute; a list counts as many as it may show.
    pub reads_per_minute: u32,
    /// Reads in a day (UTC).
    pub reads_per_day: u32,
    /// Different customers in a day (UTC).
    pub customers_per_day: u32,
    /// Erasures in a day (UTC).
    pub erasures_per_day: u32,
}

impl Ceiling {
    /// Whether reading has none.
    pub fn lets_read_all(&self) -> bool {
        [self.reads_per_minute, self.reads_per_day, self.customers_per_day] == [0; 3]
    }
}

/// Which ceiling was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CeilingKind {
    /// Reads in a minute.
    ReadsPerMinute,
    /// Reads in a day.
    ReadsPerDay,
    /// Different customers in a day.
    CustomersPerDay,
    /// Erasures in a day.
    ErasuresPerDay,
}

impl CeilingKind {
    /// In words, as the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadsPerMinute => "reads_per_minute",
            Self::ReadsPerDay => "reads_per_day",
            Self::CustomersPerDay => "customers_per_day",
            Self::ErasuresPerDay => "erasures_per_day",
        }
    }
}

/// The ceilings of the roles that read and erase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ceilings {
    /// Of agents.
    pub agent: Ceiling,
    /// Of supervisors.
    pub supervisor: Ceiling,
    /// Of privacy officers.
    pub privacy_officer: Ceiling,
}

impl Ceilings {
    /// The ceiling of whoever has these roles: of each kind the highest among those that read; an agent's, where a policy lets others read or erase.
    pub fn of<'a>(&self, roles: impl IntoIterator<Item = &'a Role>) -> Ceiling {
        let of_role = |role: &Role| match role {
            Role::Agent => Some(self.agent),
            Role::Supervisor => Some(self.supervisor),
            Role::PrivacyOfficer => Some(self.privacy_officer),
            Role::Ingest | Role::Auditor | Role::Admin => None,
        };
        let highest = |one: u32, other: u32| if one == 0 || other == 0 { 0 } else { one.max(other) };
        let join = |one: Ceiling, other: Ceiling| Ceiling {
            reads_per_minute: highest(one.reads_per_minute, other.reads_per_minute),
            reads_per_day: highest(one.reads_per_day, other.reads_per_day),
            customers_per_day: highest(one.customers_per_day, other.customers_per_day),
            erasures_per_day: highest(one.erasures_per_day, other.erasures_per_day),
        };
        roles.into_iter().filter_map(of_role).reduce(join).unwrap_or(self.agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_two_roles_has_the_higher_ceiling_of_them_and_none_is_the_highest() {
        let ceiling = |reads_per_minute| Ceiling { reads_per_minute, ..Ceiling::default() };
        let ceilings = Ceilings { agent: ceiling(5), supervisor: ceiling(9), privacy_officer: ceiling(0) };
        assert_eq!(ceilings.of(&[Role::Agent, Role::Admin]).reads_per_minute, 5);
        assert_eq!(ceilings.of(&[Role::Agent, Role::Supervisor]).reads_per_minute, 9);
        assert_eq!(ceilings.of(&[Role::Agent, Role::PrivacyOfficer]).reads_per_minute, 0);
    }
}
