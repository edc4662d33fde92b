//! Who pays for a request, and what it means that they cannot. It must not know where tokens come from.

use tollgate_protocol::{Code, policy::Mode};

use super::{Crossing, Engine, Stop, Turn, Until, Wait};
use crate::{
    credits::{Charge, Place, Reserved, Wallet},
    decide::Caller,
};

/// The name of this VM's life for leases and reports.
pub(super) fn node(nonce: &[u8; 16]) -> String {
    nonce.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Engine {
    /// Sets aside what a request may cost, and counts it. `place` is the caller's own.
    pub(super) fn pay(
        &mut self,
        caller: &Caller<'_>,
        place: &Place,
        at: Crossing<'_>,
    ) -> Result<Option<Box<Charge>>, Stop> {
        let identity = caller.identity;
        let (user, key) = (identity.user_id.as_str(), identity.key.as_ref().map(|key| key.id.as_str()));
        let mut charge = None;
        // Where the verdict is only watched, nobody pays: the request passes as it would without this filter. What the
        // person had when they were looked up is near enough for a report.
        if let (Some(cost), Mode::Shadow, Some(left)) = (&at.rule.cost, at.rule.mode, identity.tokens_remaining)
            && u64::try_from(left).unwrap_or(0) < cost.reserve
        {
            return Err(Stop::Refuse(Code::TokensExhausted));
        }
        if let (Some(cost), Mode::Enforce) = (&at.rule.cost, at.rule.mode) {
            match self.wallet.reserve(user, key, cost, matches!(at.turn, Turn::Unpaid), at.now.0) {
                Reserved::Held(held) => charge = Some(held),
                Reserved::Wait(user) => return Err(Stop::Wait(Wait { until: Until::Credits(user), call: None })),
                Reserved::Exhausted => return Err(Stop::Refuse(Code::TokensExhausted)),
                Reserved::Unavailable => return Err(Stop::Refuse(Code::IdentityUnavailable)),
            }
        }
        self.wallet.count(user, key, place, at.now.0);
        Ok(charge)
    }

    /// What this VM holds of users' balances.
    pub fn wallet(&mut self) -> &mut Wallet {
        &mut self.wallet
    }
}
