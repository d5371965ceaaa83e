//! The round: erasures that were asked for, and wait for the epoch that they will share.

use std::collections::HashMap;
use std::time::Instant;

use super::answer::answer_of;
use super::ask::{Asked, Asking, ErasureJob, Found, ask};
use super::{Target, carry_out, resume};
use crate::store::rows;
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::receipts::Receipts;
use crate::vault::tree::pseudonym;
use crate::vault::writer::refuse_all;

/// Erasures on their way: those that were asked for and wait for the next epoch.
#[derive(Default)]
pub(in super::super) struct Round {
    waiting: Vec<ErasureJob>,
    /// What they asked for, by the keys of their rows.
    asked: HashMap<Vec<u8>, Asked>,
    /// When the last epoch began.
    last: Option<Instant>,
}

impl Round {
    /// Step 1 of these, at once and in one batch. Answers those that need no epoch.
    pub fn ask(&mut self, core: &Core, jobs: Vec<ErasureJob>) {
        let (mut asking, mut taken, mut asked) = (Asking::default(), Vec::new(), HashMap::new());
        for job in jobs {
            match ask(core, &job, &mut asking) {
                Ok(Found::Done(erasure)) => drop(job.answer.send(Ok(*erasure))),
                Ok(Found::UnderWay) => taken.push(job),
                Ok(Found::Asked(one)) => {
                    taken.push(job);
                    asked.insert(rows::erasing(one.id), *one);
                }
                Err(error) => drop(job.answer.send(Err(error))),
            }
        }
        match asking.commit(core) {
            Ok(()) => {
                self.waiting.extend(taken);
                self.asked.extend(asked);
            }
            Err(error) => refuse_all(taken.into_iter().map(|job| job.answer), error),
        }
    }

    /// When the next epoch may begin; `None` if nobody waits for one.
    pub fn due(&self, core: &Core) -> Option<Instant> {
        let due = self.last.map_or_else(Instant::now, |last| last + core.limits.epoch_window);
        (!self.waiting.is_empty()).then_some(due)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Carries out what was asked for, in one epoch, and answers.
    pub fn carry_out(&mut self, core: &Core) {
        self.last = Some(Instant::now());
        let (waiting, asked) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.asked));
        if let Err(error) = resume(core, asked) {
            return refuse_all(waiting.into_iter().map(|job| job.answer), error);
        }
        let receipts = Receipts::of(core);
        for job in waiting {
            let answer = answer_of(core, &receipts, &job);
            let answer = answer.and_then(|answer| answer.map_or_else(|| Err(what_became_of(core, &job)?), Ok));
            drop(job.answer.send(answer));
        }
    }

    /// An epoch without erasures, unless some wait, or there was one since `since`: so that no root key lives longer than that.
    pub fn renew(&mut self, core: &Core, since: Instant) -> Result<(), VaultError> {
        resume(core, std::mem::take(&mut self.asked))?;
        if self.waiting.is_empty() && self.last.is_none_or(|last| last < since) {
            let begun = Instant::now();
            // One that fails is tried again with the next call, and not a day later.
            carry_out(core, Vec::new())?;
            self.last = Some(begun);
        }
        Ok(())
    }
}

/// Whose request it was not is told what a later request would be told; and never that somebody is erased who still has a key.
fn what_became_of(core: &Core, job: &ErasureJob) -> Result<VaultError, VaultError> {
    let customer = match &job.target {
        Target::Customer(customer) => customer,
        Target::Part(_) => return Ok(VaultError::RecordErased),
        Target::Tenant(_) => return Ok(VaultError::NotFound),
    };
    let pseudonym = pseudonym(&*core.tenant_keys(job.tenant)?, customer);
    Ok(match core.tree.handle(job.tenant, pseudonym)? {
        None => VaultError::CustomerErased,
        Some(_) => VaultError::ErasureNotFinal { why: "it was asked for, and is not among what is to be carried out" },
    })
}
