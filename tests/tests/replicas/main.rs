//! Several control planes on one MongoDB, and a MongoDB whose primary goes away: nobody is made twice, nothing that was
//! acknowledged is lost.

mod failover;
mod first_sign_in;
mod histories;
