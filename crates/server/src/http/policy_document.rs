//! A policy of the whole federation that is one document: read, and set in part.

use dwcp_api::Problem;
use dwcp_api::routing::Named;
use dwcp_api::site::Setting;
use dwcp_state::{DocumentEvent, DocumentKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Call, reason, told};
use crate::monitor::documents::{self, Documents};

/// The one document of its kind.
pub const ID: &str = "policy";

/// What a policy is to this module.
pub trait Policy: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + 'static {
    /// The document of this kind holds it.
    const KIND: DocumentKind;
    /// What a change is remembered by: the subject of its event, whose kind is that `.configured`, and how its text begins.
    const SUBJECT: &'static str;
    const SAID: &'static str;

    /// It as names and values, for people: always the same names in the same order.
    fn named(&self) -> Vec<(&'static str, String)>;
}

/// The policy in force; one that a later version wrote is told, and the usual one counts.
pub fn in_force<P: Policy>(seen: &Documents) -> (P, Vec<String>) {
    match seen.get::<P>(P::KIND, ID) {
        Ok(policy) => (policy.unwrap_or_default(), Vec::new()),
        Err(refusal) => (P::default(), vec![refusal.to_string()]),
    }
}

/// A policy as the API tells it.
pub fn shown<P: Policy>(policy: &P) -> Vec<Named> {
    policy.named().into_iter().map(|(name, value)| Named { name: name.to_owned(), value }).collect()
}

/// What became of a policy, or would.
pub struct Configured<P> {
    /// False: it was so already.
    pub changed: bool,
    pub settings: Vec<Setting>,
    pub policy: P,
}

/// Makes of the policy what `next` says.
///
/// # Errors
/// What `next` refuses, a later version wrote the policy, or why nothing can be written.
pub async fn configure<P: Policy>(
    call: &Call,
    (why, dry_run): (Option<&str>, bool),
    next: impl Fn(&P) -> Result<P, Problem> + Send + Sync,
) -> Result<Configured<P>, Problem> {
    let because = reason(why)?;
    let kinds = [P::KIND];
    let seen = call.look(move |view| Documents::of(view, &kinds)).await?;
    let before: Option<P> = seen.get(P::KIND, ID).map_err(|refusal| Problem::from(&refusal))?;
    let before = before.unwrap_or_default();
    let policy = next(&before)?;
    let changed = policy != before;
    if changed && !dry_run {
        let asked = call.asked_because(because.clone(), None);
        let done = documents::change(&call.api.node, &asked, &kinds, |seen, draft| {
            let now: P = seen.get(P::KIND, ID)?.unwrap_or_default();
            // What was refused for what was there is refused for what is there now.
            let next = next(&now).unwrap_or_else(|_| policy.clone());
            draft.put(P::KIND, ID, &next)?;
            let differ = now.named().into_iter().zip(next.named()).filter(|(a, b)| a != b);
            let said: Vec<String> = differ.map(|(_, (name, value))| format!("{name} {value}")).collect();
            let text = format!("{}: {}{}", P::SAID, said.join(", "), told(&because));
            draft.event(DocumentEvent::info(&format!("{}.configured", P::SUBJECT), P::SUBJECT, text));
            Ok(())
        });
        done.await.map_err(|refusal| Problem::from(&refusal))?;
    }
    let both = before.named().into_iter().zip(policy.named());
    let settings =
        both.map(|((name, before), (_, after))| Setting { name: name.to_owned(), before, after }).collect();
    Ok(Configured { changed, settings, policy })
}
