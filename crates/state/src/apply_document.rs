//! Applies changes of documents: all, or none when one of them was decided on another text than is there.

use dwcp_types::{Code, Refusal, Revision};

use crate::apply_region::{Applied, Stamp};
use crate::command::Receipt;
use crate::{Core, Document, DocumentChange, DocumentChanges};

impl Core {
    pub(crate) fn change_documents(&mut self, asked: &DocumentChanges, stamp: &Stamp<'_>) -> Applied {
        self.check_documents(asked)?;
        for change in &asked.changes {
            match &change.text {
                None => {
                    self.documents.remove(&change.key);
                }
                Some(text) => {
                    let document = Document {
                        text: text.clone(),
                        by: stamp.envelope.by.clone(),
                        at: stamp.envelope.at,
                        revision: stamp.revision,
                    };
                    self.documents.insert(change.key.clone(), document);
                }
            }
        }
        for event in &asked.events {
            let event = stamp.event(event.severity, &event.kind, &event.subject, event.text.clone());
            self.ledger.note(event);
        }
        Ok(Receipt::default())
    }

    fn check_documents(&self, asked: &DocumentChanges) -> Result<(), Refusal> {
        let texts: usize =
            asked.changes.iter().filter_map(|change| change.text.as_ref()).map(String::len).sum();
        let too_long = |change: &&DocumentChange| {
            change.text.as_ref().is_some_and(|text| text.len() > Document::TEXT_MOST)
        };
        if let Some(change) = asked.changes.iter().find(too_long) {
            let refusal = Refusal::new(Code::TooLarge, format!("{} is too long", change.key));
            return Err(refusal.because(format!("more than {} KiB", Document::TEXT_MOST >> 10)));
        }
        if asked.changes.len() + asked.events.len() > Document::CHANGES_MOST || texts > Document::CHANGED_MOST
        {
            return Err(Refusal::new(Code::TooLarge, "too many documents at once")
                .because(format!("{} changes with {texts} bytes", asked.changes.len())));
        }
        for change in &asked.changes {
            let holds = self.documents.get(&change.key).map_or(Revision(0), |document| document.revision);
            if holds != change.expected {
                return Err(Refusal::new(Code::StaleRevision, format!("{} has changed", change.key))
                    .because(format!("expected revision {}, it has {}", change.expected.0, holds.0)));
            }
        }
        let kept: usize = self.documents.values().map(|document| document.text.len()).sum();
        let changed = asked.changes.iter().filter_map(|change| self.documents.get(&change.key));
        let replaced: usize = changed.map(|document| document.text.len()).sum();
        // What makes room is always taken.
        if texts > replaced && kept - replaced + texts > Document::TEXTS_MOST {
            return Err(Refusal::new(Code::WrongState, "monitoring has no room for more documents")
                .because(format!("{} MiB are kept", kept >> 20))
                .then("the oldest incidents and deliveries make room as they grow old"));
        }
        Ok(())
    }
}
