//! Tokens at the edge: what an answer has cost, read from pieces of any size; and many workers with one control plane that
//! loses messages, so that nobody spends what is not there and nothing is booked wrong.

mod crowd;
mod metering;
mod plane;
