//! Which server answers.

use dwcp_api::Problem;
use dwcp_api::page::Nothing;
use dwcp_api::server::{Leader, LeaderQuery, LeaderRead, Version, VersionRead};
use dwcp_types::{Code, Refusal};

use super::STATE_FORMAT;
use super::call::Call;
use super::routes::Serve;

impl Serve for VersionRead {
    async fn answer(call: &Call, _: Nothing) -> Result<Version, Problem> {
        let (federation, region) = (call.api.federation.clone(), call.api.region.clone());
        call.look(move |view| Version {
            version: view.node.config().version.clone(),
            api: "v1".to_owned(),
            state_format: STATE_FORMAT,
            federation,
            region,
        })
        .await
    }
}

impl Serve for LeaderRead {
    /// True only when this node itself leads now: agents account for it by this answer.
    async fn answer(call: &Call, request: LeaderQuery) -> Result<Leader, Problem> {
        call.find(move |view| {
            let unknown = || {
                let refusal = Refusal::new(Code::UnknownRegion, format!("no group {}", request.group));
                Problem::from(&refusal)
            };
            let status = view.node.group(request.group).ok_or_else(unknown)?;
            Ok(Leader {
                group: request.group,
                leader: view.node.leads(request.group),
                term: status.term,
                led_ms: view.node.led_for_ms(request.group, view.now.mono),
            })
        })
        .await
    }
}
