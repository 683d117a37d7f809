//! Samples of what monitoring writes down.

use dwcp_state::*;
use dwcp_types::*;

/// Changes of documents with every part filled.
pub fn documents() -> DocumentChanges {
    let change = |id: &str, text: Option<&str>| DocumentChange {
        key: DocumentKey::new(DocumentKind::Silence, id),
        expected: Revision(0),
        text: text.map(str::to_owned),
    };
    let event = DocumentEvent {
        severity: Severity::Warning,
        kind: "incident.opened".into(),
        subject: "a".into(),
        text: "region a is down".into(),
    };
    DocumentChanges { changes: vec![change("one", Some("{}")), change("two", None)], events: vec![event] }
}
