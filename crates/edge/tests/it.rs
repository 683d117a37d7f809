//! The data path over real sockets, with endpoints in the same process.

#[path = "it/browser.rs"]
mod browser;
#[path = "it/certificates.rs"]
mod certificates;
#[path = "it/dns.rs"]
mod dns;
#[path = "it/dns_abuse.rs"]
mod dns_abuse;
#[path = "it/dns_signed.rs"]
mod dns_signed;
#[path = "it/dns_stage.rs"]
mod dns_stage;
#[path = "it/dns_storm.rs"]
mod dns_storm;
#[cfg(feature = "dpdk")]
#[path = "it/dpdk.rs"]
mod dpdk;
#[path = "it/endpoint.rs"]
mod endpoint;
#[path = "it/failing.rs"]
mod failing;
#[path = "it/gate.rs"]
mod gate;
#[path = "it/geo.rs"]
mod geo;
#[path = "it/marks.rs"]
mod marks;
#[path = "it/passing.rs"]
mod passing;
#[path = "it/resting.rs"]
mod resting;
#[path = "it/serving.rs"]
mod serving;
#[path = "it/stage.rs"]
mod stage;
#[path = "it/strict.rs"]
mod strict;
#[path = "it/taken_back.rs"]
mod taken_back;
