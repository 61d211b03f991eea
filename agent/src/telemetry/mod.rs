//! What an exchange was: access log, metrics, table.

pub mod record;
/// stub
#[derive(Clone,Debug)]
pub struct Telemetry;
impl Telemetry { 
/// stub
pub fn settle(&self, _: &record::ExchangeRecord) {} 
/// stub
pub fn connection(&self, _: record::ConnectionKind) -> () {} }
