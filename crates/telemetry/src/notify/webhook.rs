//! What a generic webhook is sent: JSON that says everything, and a signature.
//!
//! `X-DWCP-Signature: v1=HEX` is the HMAC-SHA256, by the receiver's secret, of the value of `X-DWCP-Timestamp` (seconds since 1970), a dot
//! and the body. `X-DWCP-Delivery` is the same for every attempt of one delivery.

use serde_json::{Value, json};

use super::{Delivery, Subject, moment};

pub const TIMESTAMP: &str = "x-dwcp-timestamp";
pub const SIGNATURE: &str = "x-dwcp-signature";
pub const DELIVERY: &str = "x-dwcp-delivery";

/// The body of a delivery.
pub fn body(delivery: &Delivery) -> Value {
    let message = &delivery.message;
    let incident = match &message.subject {
        Subject::Incident { id, round } => json!({"id": id, "round": round}),
        Subject::Notice(_) => Value::Null,
    };
    json!({
        "version": 1,
        "delivery": delivery.id,
        "key": delivery.key,
        "action": message.action.word(),
        "about": message.about(),
        "incident": incident,
        "template": message.template,
        "severity": message.severity,
        "status": message.status,
        "region": message.region,
        "federation": message.federation,
        "title": message.title,
        "text": message.text,
        "person": message.person,
        "link": message.link,
        "details": message.details,
        "at": moment(message.at_ms),
    })
}

/// What is signed.
pub fn signed(timestamp: &str, body: &[u8]) -> Vec<u8> {
    [timestamp.as_bytes(), b".", body].concat()
}
