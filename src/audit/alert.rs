//! What somebody should look at.

/// What somebody should look at. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AlertSort {
    /// A glass was broken.
    GlassBroken = 1,
    /// A principal came more than half the way to one of its ceilings of a day.
    UnusualReading = 2,
    /// A principal met one of its ceilings, and was refused.
    CeilingMet = 3,
    /// The service refused a job that it did not write. The alert is about no principal: the alias is zeros.
    JobRefused = 4,
    /// The service wrote a control row that had been changed, removed or added past it. The alert is about no principal: the alias is zeros.
    RowChanged = 5,
}

impl AlertSort {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::GlassBroken, Self::UnusualReading, Self::CeilingMet, Self::JobRefused, Self::RowChanged];

    /// The word for it, in metrics and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::GlassBroken => "glass_broken",
            Self::UnusualReading => "unusual_reading",
            Self::CeilingMet => "ceiling_met",
            Self::JobRefused => "job_refused",
            Self::RowChanged => "control_row_changed",
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| *sort as u8 == code)
    }
}
