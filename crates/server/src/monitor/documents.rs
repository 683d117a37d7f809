//! The federation's documents as values: read here, changed by everybody on what they have read, all or none.

use std::collections::BTreeMap;

use dwcp_roles::node::{Asked, Reply, Request};
use dwcp_state::{
    Document, DocumentChange, DocumentChanges, DocumentEvent, DocumentKey, DocumentKind, FEDERATION_GROUP,
    Outcome,
};
use dwcp_types::{Code, Refusal, Revision};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handle::{NodeHandle, View, stopping};

/// How often a change is decided anew because somebody else changed what it was decided on.
const TRIES: u32 = 10;

/// Documents as they are here.
#[derive(Clone, Debug, Default)]
pub struct Documents(BTreeMap<DocumentKey, Document>);

/// What is to be changed of them.
#[derive(Debug, Default)]
pub struct Draft {
    /// `None`: removed.
    changes: BTreeMap<DocumentKey, Option<String>>,
    events: Vec<DocumentEvent>,
}

impl Documents {
    /// All documents of these kinds, of the facts that are here.
    pub fn of(view: &View<'_>, kinds: &[DocumentKind]) -> Documents {
        let all = view.node.facts().core.documents.iter();
        Documents(
            all.filter(|(key, _)| kinds.contains(&key.kind)).map(|(k, d)| (k.clone(), d.clone())).collect(),
        )
    }

    /// The same, from outside of the node.
    ///
    /// # Errors
    /// This process is stopping.
    pub async fn look(node: &NodeHandle, kinds: &[DocumentKind]) -> Result<Documents, Refusal> {
        let kinds = kinds.to_vec();
        node.look(move |view| Documents::of(view, &kinds)).await.ok_or_else(stopping)
    }

    /// One document; `None`: there is none of that id.
    ///
    /// # Errors
    /// A later version wrote it.
    pub fn get<T: DeserializeOwned>(&self, kind: DocumentKind, id: &str) -> Result<Option<T>, Refusal> {
        let key = DocumentKey::new(kind, id);
        self.0.get(&key).map(|document| read(&key, document)).transpose()
    }

    /// All documents of a kind with their ids, in their order.
    ///
    /// # Errors
    /// A later version wrote one.
    pub fn all<T: DeserializeOwned>(&self, kind: DocumentKind) -> Result<Vec<(String, T)>, Refusal> {
        let of_kind = self.0.iter().filter(|(key, _)| key.kind == kind);
        of_kind.map(|(key, document)| Ok((key.id.clone(), read(key, document)?))).collect()
    }

    /// All documents of a kind that can be read, in their order; and of each other one, why not.
    pub fn readable<T: DeserializeOwned>(&self, kind: DocumentKind) -> (Vec<T>, Vec<String>) {
        let (mut all, mut complaints) = (Vec::new(), Vec::new());
        for (key, document) in self.0.iter().filter(|(key, _)| key.kind == kind) {
            match read(key, document) {
                Ok(value) => all.push(value),
                Err(refusal) => complaints.push(refusal.to_string()),
            }
        }
        (all, complaints)
    }

    /// The ids of a kind, in their order.
    pub fn ids(&self, kind: DocumentKind) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |key| key.kind == kind).map(|key| key.id.as_str())
    }

    /// A document with who wrote it, when, and at which revision.
    pub fn raw(&self, kind: DocumentKind, id: &str) -> Option<&Document> {
        self.0.get(&DocumentKey::new(kind, id))
    }
}

#[cfg(test)]
impl Documents {
    /// These with what a draft changes.
    pub fn after(mut self, draft: Draft) -> Documents {
        for (key, text) in draft.changes {
            match text {
                Some(text) => self.0.insert(key, Document { text, ..Document::default() }),
                None => self.0.remove(&key),
            };
        }
        self
    }

    /// The texts' lengths, bytes.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.values().map(|document| document.text.len())
    }
}

/// A document as the value that it is.
///
/// # Errors
/// A later version wrote it.
pub(crate) fn read<T: DeserializeOwned>(key: &DocumentKey, document: &Document) -> Result<T, Refusal> {
    serde_json::from_str(&document.text).map_err(|error| {
        Refusal::new(Code::NotReady, format!("{key} can't be read"))
            .because(error.to_string())
            .then("a later version wrote it: a region that runs that version can read it")
    })
}

impl Draft {
    /// A document is to be this.
    ///
    /// # Errors
    /// It has no text form, which no value of this program lacks.
    pub fn put(&mut self, kind: DocumentKind, id: &str, value: &impl Serialize) -> Result<(), Refusal> {
        let text = serde_json::to_string(value).map_err(|error| {
            Refusal::new(Code::BadValue, format!("{id} can't be written")).because(error.to_string())
        })?;
        self.changes.insert(DocumentKey::new(kind, id), Some(text));
        Ok(())
    }

    /// A document is to be gone.
    pub fn remove(&mut self, kind: DocumentKind, id: &str) {
        self.changes.insert(DocumentKey::new(kind, id), None);
    }

    /// An event of the federation goes with it.
    pub fn event(&mut self, event: DocumentEvent) {
        self.events.push(event);
    }

    /// What really changes what was seen; nothing when nothing does.
    fn changes(self, seen: &Documents) -> Option<DocumentChanges> {
        let differs = |(key, text): &(DocumentKey, Option<String>)| {
            seen.0.get(key).map(|document| &document.text) != text.as_ref()
        };
        let change = |(key, text): (DocumentKey, Option<String>)| {
            let expected = seen.0.get(&key).map_or(Revision(0), |document| document.revision);
            DocumentChange { key, expected, text }
        };
        let changes: Vec<DocumentChange> = self.changes.into_iter().filter(differs).map(change).collect();
        let nothing = changes.is_empty() && self.events.is_empty();
        (!nothing).then_some(DocumentChanges { changes, events: self.events })
    }
}

/// Changes documents: `decide` sees those of `kinds` and drafts; when somebody else was quicker, it is asked again with what is
/// there then. Whatever it decides twice must be the same for the same documents.
///
/// # Errors
/// What `decide` refuses, or why nothing can be written.
pub async fn change<T>(
    node: &NodeHandle,
    asked: &Asked,
    kinds: &[DocumentKind],
    mut decide: impl FnMut(&Documents, &mut Draft) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut last = None;
    for attempt in 0..TRIES {
        let seen = Documents::look(node, kinds).await?;
        let mut draft = Draft::default();
        let decided = decide(&seen, &mut draft)?;
        let Some(changes) = draft.changes(&seen) else { return Ok(decided) };
        match node.ask(Request::ChangeDocuments(attempted(asked, attempt), Box::new(changes))).await {
            Reply::Refused(refusal) if refusal.code == Code::StaleRevision => {
                last = Some(refusal);
                // The facts here are behind: what came between must be seen before it is decided anew.
                if let Reply::Refused(refusal) = node.ask(Request::Barrier(FEDERATION_GROUP)).await {
                    return Err(refusal);
                }
            }
            Reply::Refused(refusal) => return Err(refusal),
            _ => return Ok(decided),
        }
    }
    Err(last.unwrap_or_else(stopping))
}

/// Who asks, in one of several attempts: the outcome of each is remembered under its own key.
fn attempted(asked: &Asked, attempt: u32) -> Asked {
    let key =
        asked.key.as_ref().map(|key| if attempt == 0 { key.clone() } else { format!("{key}#{attempt}") });
    Asked { key, ..asked.clone() }
}

/// Whether a change was carried out before under the key of `asked`, as far as is known here: it is not decided anew, for what it
/// changed is changed already.
///
/// # Errors
/// The key was used for another request, or this process is stopping.
pub async fn was_done(node: &NodeHandle, asked: &Asked) -> Result<bool, Refusal> {
    let asked = asked.clone();
    let look = move |view: &View<'_>| {
        let ledger = &view.node.facts().core.ledger;
        for attempt in 0..TRIES {
            let key = attempted(&asked, attempt).key.unwrap_or_default();
            match ledger.recall(&key) {
                Some((digest, _)) if *digest != asked.digest => {
                    let what = format!("the idempotency key {key} was used for another request");
                    return Err(Refusal::new(Code::IdempotencyMismatch, what));
                }
                Some((_, Outcome::Accepted(_))) => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    };
    node.look(look).await.ok_or_else(stopping)?
}
