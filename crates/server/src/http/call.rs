//! A request under way: who, under which key, and the door to the node.

use std::sync::Arc;

use dwcp_api::Problem;
use dwcp_roles::node::{Asked, Reply, Request};
use dwcp_state::FEDERATION_GROUP;
use dwcp_types::{Code, Refusal, Revision};

use super::Api;
use super::auth::{Caller, Seed};
use crate::handle::View;

/// A request under way.
#[derive(Clone)]
pub struct Call {
    pub api: Arc<Api>,
    pub caller: Caller,
    /// The client's idempotency key, as it came.
    pub key: Option<String>,
    /// Digest of method, path and body.
    pub digest: u64,
    /// What a repetition makes the same secret things from; none without a key.
    pub seed: Option<Seed>,
    /// The id in the answer's header and in the log, which the events of a change carry.
    pub request_id: String,
}

/// This region's control plane is going away.
pub fn stopping() -> Problem {
    Problem::from(&crate::handle::stopping())
}

/// A value outside its range: names the field.
pub fn bad_value(field: &str, why: impl Into<String>) -> Problem {
    let mut problem = Problem::from(&Refusal::new(Code::BadValue, format!("{field} is outside its range")));
    problem.cause.push(why.into());
    problem.field = Some(field.to_owned());
    problem
}

/// What this version does not do, although the request can say it.
pub fn not_offered(field: &str, why: impl Into<String>, instead: Option<&str>) -> Problem {
    let mut refusal =
        Refusal::new(Code::NotPossibleHere, format!("{field} is not possible here")).because(why);
    if let Some(command) = instead {
        refusal = refusal.try_this(command);
    }
    let mut problem = Problem::from(&refusal);
    problem.field = Some(field.to_owned());
    problem
}

/// FNV-1a over several parts, the same on every node.
pub fn digest(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

impl Call {
    /// Who asks, under the client's key.
    pub fn asked(&self) -> Asked {
        self.asked_as("")
    }

    /// Who asks, for one of several writes of a request.
    pub fn asked_as(&self, part: &str) -> Asked {
        let key = self.key.as_ref().map(|key| format!("{}/{key}{part}", self.caller.user));
        Asked {
            by: self.caller.user.clone(),
            key,
            digest: self.digest,
            request_id: self.request_id.clone(),
            expected: None,
            reason: String::new(),
        }
    }

    /// Who asks, for a change of a record that must still have this revision.
    pub fn asked_expecting(&self, expected: Option<u64>) -> Asked {
        Asked { expected: expected.map(Revision), ..self.asked() }
    }

    /// Who asks and why, for a change of a record that must still have this revision.
    pub fn asked_because(&self, reason: String, expected: Option<u64>) -> Asked {
        Asked { reason, ..self.asked_expecting(expected) }
    }

    /// Looks at the node between two steps.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.api.node.look(look).await.ok_or_else(stopping)
    }

    /// Looks, where what is looked for may not be there. A node that has just started and not caught up with every
    /// group yet can't tell: another may know it.
    pub async fn find<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.look(|view| match look(view) {
            Err(problem) if problem.status == 404 && !has_caught_up(view) => Err(Problem::from(
                &Refusal::new(Code::NotReady, "this region has not caught up with its federation yet")
                    .because(problem.title),
            )),
            found => found,
        })
        .await?
    }

    /// Asks the node; a refusal is a problem.
    pub async fn ask(&self, request: Request) -> Result<Reply, Problem> {
        match self.api.node.ask(request).await {
            Reply::Refused(refusal) => Err(Problem::from(&refusal)),
            reply => Ok(reply),
        }
    }

    /// Asks for a write and waits for its receipt.
    pub async fn change(&self, request: Request) -> Result<dwcp_state::Receipt, Problem> {
        match self.ask(request).await? {
            Reply::Done(_, receipt) => Ok(receipt),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the facts of all groups here are as new as this request.
    pub async fn barrier(&self) -> Result<(), Problem> {
        self.api.node.barrier().await.map_err(|refusal| Problem::from(&refusal))
    }
}

/// Whether the facts of every group here have been the leader's at some moment since the node started.
fn has_caught_up(view: &View<'_>) -> bool {
    let regions = view.node.regions().keys().copied();
    std::iter::once(FEDERATION_GROUP).chain(regions).all(|group| view.node.facts_age_ms(group).is_some())
}

/// The node answered another question than was asked: a bug, told as such.
pub fn unexpected(reply: &Reply) -> Problem {
    let name = format!("{reply:?}");
    let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
    Problem::new(500, Code::NotReady.as_str(), "the node gave an answer of another kind").because(name)
}

/// Most characters of a reason.
const LONGEST_REASON: usize = 200;

/// The reason as it goes into the event: one line, of bounded length.
pub fn reason(given: Option<&str>) -> Result<String, Problem> {
    let text = given.unwrap_or("").trim();
    if text.chars().count() > LONGEST_REASON || text.chars().any(char::is_control) {
        return Err(bad_value("reason", format!("one line of at most {LONGEST_REASON} characters")));
    }
    Ok(text.to_owned())
}

/// Why, as the end of a sentence.
pub fn told(because: &str) -> String {
    if because.is_empty() { String::new() } else { format!(" ({because})") }
}

/// Refuses what expects another revision than its record has here; `read` is the command that shows the record. Only for
/// what is answered without a commit: where a change is applied, the group's own facts decide, and a request that was
/// carried out before is answered as then.
pub fn expect_revision(
    record: &str,
    expected: Option<u64>,
    holds: Revision,
    read: &str,
) -> Result<(), Problem> {
    dwcp_state::expect_revision(record, expected.map(Revision), holds, read)
        .map_err(|refusal| Problem::from(&refusal))
}
