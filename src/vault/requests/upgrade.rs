//! Seals the rows of requests that layout 1 stored in the clear, and removes those that answered erasures.

use super::seal_answer;
use crate::domain::ids::TenantId;
use crate::store::{Batch, Row, rows};
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::format::{ErasureRequestRow, Head, RequestRow, RequestRowInClear, SealedAnswer, SealedDay};

/// Rows that are sealed in one batch.
const ROWS_AT_ONCE: usize = 1024;

impl Core {
    /// Seals what requests stored before layout 2, and removes the answers to erasures: those named customers and outlived
    /// them, and open only to who repeats the request. Can be repeated: it leaves alone what is sealed.
    pub fn seal_earlier_requests(&self) -> Result<(), VaultError> {
        self.each_page(rows::Kind::Request, |core, page| core.sealed_requests(page))?;
        self.each_page(rows::Kind::ErasureRequest, |_, page| {
            let mut batch = Batch::new();
            let earlier = page.into_iter().filter(|(_, row)| ErasureRequestRow::decode(row).is_err());
            earlier.for_each(|(key, _)| batch.delete(key));
            Ok(batch)
        })
    }

    fn each_page(
        &self,
        kind: rows::Kind,
        rewrite: impl Fn(&Self, Vec<Row>) -> Result<Batch, VaultError>,
    ) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(kind);
        loop {
            let page = self.db.range(&from, &to, ROWS_AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = rows::behind(last.clone());
            let batch = rewrite(self, page)?;
            if !batch.is_empty() {
                self.committer.commit_blocking(batch)?;
            }
        }
    }

    fn sealed_requests(&self, page: Vec<Row>) -> Result<Batch, VaultError> {
        let mut batch = Batch::new();
        for (key, row) in page {
            // What cannot be read in either form answers nothing; it would stay in the clear.
            match (RequestRow::decode(&row), RequestRowInClear::decode(&row)) {
                (Ok(_), _) => {}
                (Err(_), Ok(earlier)) => match self.sealed_request(&key, &earlier)? {
                    Some(sealed) => batch.put(key, sealed.encode()),
                    None => batch.delete(key),
                },
                (Err(_), Err(_)) => batch.delete(key),
            }
        }
        Ok(batch)
    }

    /// The row, sealed; `None` where its tenant is gone.
    fn sealed_request(&self, key: &[u8], earlier: &RequestRowInClear) -> Result<Option<RequestRow>, VaultError> {
        let tenant = key.get(1..17).and_then(|id| id.try_into().ok()).map(TenantId);
        let tenant = tenant.ok_or(VaultError::damaged("a request's key"))?;
        let Some(keys) = self.tree.tenant(tenant)? else { return Ok(None) };
        let day = SealedDay::of(earlier.created, &keys.settings, key);
        // What is erased, or does not open any more, is answered as erased: it is not stored a second time.
        let answer = match self.sealed_answer(tenant, key, earlier) {
            Ok(answer) => Some(answer),
            Err(VaultError::NotFound | VaultError::Damaged { .. } | VaultError::Decode(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Some(RequestRow { day, answer }))
    }

    fn sealed_answer(
        &self,
        tenant: TenantId,
        key: &[u8],
        earlier: &RequestRowInClear,
    ) -> Result<SealedAnswer, VaultError> {
        let RequestRowInClear { stored, fingerprint, .. } = earlier;
        let first = self.db.get(&rows::record_piece(tenant, stored.record, stored.revision, 0))?;
        let (head, _) = Head::decode(&first.ok_or(VaultError::NotFound)?)?;
        let customer = self.customer(tenant, head.handle)?;
        let place = customer.place(stored.record, stored.revision);
        let secret = self.secret(&customer, &place)?;
        let request_key = self.request_key(&customer)?;
        Ok(seal_answer(key, (&request_key, stored), (&secret, &place, fingerprint)))
    }
}
