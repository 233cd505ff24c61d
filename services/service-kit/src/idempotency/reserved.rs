//! Work on a request that may have a key or not.

use std::convert::Infallible;

use super::Reservation;
use crate::problem::chain;

/// A reservation is renewed so many times before it would lapse.
const RENEWALS: u32 = 4;

/// Does the work, and keeps the reservation meanwhile. The work is not held up
/// by that: it may be about to give back what the renewal waits for. That the
/// reservation was lost is found out when it is finished.
pub async fn hold<T>(reservation: Option<&Reservation>, work: impl Future<Output = T>) -> T {
    let Some(reservation) = reservation else { return work.await };
    tokio::select! {
        done = work => done,
        never = renewed(reservation) => match never {},
    }
}

async fn renewed(reservation: &Reservation) -> Infallible {
    loop {
        tokio::time::sleep(reservation.settings.lease / RENEWALS).await;
        if let Err(error) = reservation.renew().await {
            tracing::warn!(error = %chain(&error), "The reservation of an Idempotency-Key is not renewed.");
        }
    }
}

/// Nothing has come of the request: it can be made again at once.
pub async fn give_up(reservation: Option<Reservation>) {
    if let Some(reservation) = reservation
        && let Err(error) = reservation.abandon().await
    {
        tracing::warn!(error = %chain(&error), "An Idempotency-Key stays reserved until its lease lapses.");
    }
}
