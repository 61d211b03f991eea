//! What an exchange was: access log, metrics, table.

pub mod record;
