//! How many controllers and routers each region has.

use dwcp_api::Problem;
use dwcp_api::controllers::{ControllersScale, ControllersScaleRequest, ControllersScaled, RegionScaled};
use dwcp_roles::node::{Asked, ControllersBeat, Request};
use dwcp_state::{Lifecycle, Region, Standing};
use dwcp_types::{Code, Refusal, RegionId, Revision};

use super::call::{Call, bad_value, reason};
use super::names;
use super::routes::Serve;
use crate::handle::View;

/// What a region can have more of.
pub struct Scalable {
    component: &'static str,
    noun: &'static str,
    /// Why there is always one.
    first: &'static str,
    most_of_all: u64,
    count: fn(&Region) -> u64,
    room: fn(&ControllersBeat) -> Option<u64>,
    request: fn(Asked, RegionId, u64) -> Request,
}

pub const CONTROLLERS: Scalable = Scalable {
    component: "controller",
    noun: "controllers",
    first: "one is a part of its node, which decides also when it is alone",
    most_of_all: Region::CONTROLLERS_MOST,
    count: Region::controllers,
    room: |said| said.room,
    request: Request::SetControllers,
};

pub const ROUTERS: Scalable = Scalable {
    component: "router",
    noun: "routers",
    first: "one is kept by a service of its host, which also serves when every node is dead",
    most_of_all: Region::ROUTERS_MOST,
    count: Region::routers,
    room: |said| said.router_room,
    request: Request::SetRouters,
};

impl Scalable {
    /// So many a region could have, by what its node says.
    pub fn most(&self, said: Option<&ControllersBeat>) -> Option<u64> {
        said.and_then(self.room).map(|room| (1 + room).min(self.most_of_all))
    }

    /// What a region would have; or why it can't have that.
    fn plan(
        &self,
        view: &View<'_>,
        region: &Region,
        request: &ControllersScaleRequest,
    ) -> Result<RegionScaled, Refusal> {
        let (id, before, noun) = (&region.id, (self.count)(region), self.noun);
        let after = match (request.count, request.change) {
            (Some(count), _) => i128::from(count),
            (None, change) => i128::from(before) + i128::from(change.unwrap_or_default()),
        };
        let cant = |why: String| {
            Refusal::new(Code::WrongState, format!("{id} can't have {after} {noun}"))
                .because(why)
                .then("nothing was changed")
        };
        if after < 1 {
            return Err(cant(self.first.to_owned()));
        }
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        let scaled = RegionScaled { region: id.as_str().to_owned(), before, after };
        match self.most(view.node.controllers_of(region.number).as_ref()) {
            // Fewer are always possible.
            _ if after <= before => Ok(scaled),
            _ if after > self.most_of_all => {
                Err(cant(format!("no region has more than {}", self.most_of_all)))
            }
            None => Err(cant(
                "its node is not heard, or does not lead its group: what its hosts can run is unknown"
                    .to_owned(),
            )),
            Some(1) => {
                Err(cant(format!("none of its hosts runs {noun} (`{noun}: {{most: N}}` in host.yaml)")))
            }
            Some(most) if after > most => Err(cant(format!(
                "one is always there, and its hosts run {} (`{noun}: most` in host.yaml)",
                most - 1
            ))),
            Some(_) => Ok(scaled),
        }
    }

    fn plan_all(
        &self,
        view: &View<'_>,
        request: &ControllersScaleRequest,
    ) -> Result<ControllersScaled, Problem> {
        if let Some(name) = &request.region {
            let scaled = self
                .plan(view, names::region(view, name)?.0, request)
                .map_err(|refusal| Problem::from(&refusal))?;
            return Ok(ControllersScaled { regions: vec![scaled], left_out: Vec::new() });
        }
        let takes_part =
            |region: &&Region| region.lifecycle == Lifecycle::Active && region.standing == Standing::Present;
        let mut all = ControllersScaled { regions: Vec::new(), left_out: Vec::new() };
        let mut first = None;
        for region in view.node.facts().core.regions.values().filter(takes_part) {
            match self.plan(view, region, request) {
                Ok(scaled) => all.regions.push(scaled),
                Err(refusal) => {
                    all.left_out.push(format!("{}: {}", region.id, refusal.causes.join("; ")));
                    first.get_or_insert(refusal);
                }
            }
        }
        match first.filter(|_| all.regions.is_empty()) {
            Some(refusal) => Err(Problem::from(&refusal)),
            None => Ok(all),
        }
    }
}

/// What is scaled; or why it can't be.
fn component(name: &str) -> Result<&'static Scalable, Problem> {
    if let Some(found) = [&CONTROLLERS, &ROUTERS].into_iter().find(|one| one.component == name) {
        return Ok(found);
    }
    let why = match name {
        "state-manager" => {
            "a region has one replica of every group's facts: more of them in one region would be lost with it"
        }
        "monitor" => "what a region's node hears and measures is asked of it alone",
        _ => {
            return Err(bad_value(
                "component",
                format!("'{name}' is not controller, state-manager, router or monitor"),
            ));
        }
    };
    let refusal =
        Refusal::new(Code::WrongState, format!("{name} is not replicated within a region")).because(why);
    Err(Problem::from(
        &refusal
            .then("nothing was changed")
            .try_this("dwcp-cli infrastructure scale --component controller --replicas +1"),
    ))
}

impl Serve for ControllersScale {
    async fn answer(call: &Call, request: ControllersScaleRequest) -> Result<ControllersScaled, Problem> {
        let of = component(&request.component)?;
        if request.count.is_some() == request.change.is_some() {
            return Err(bad_value("count", "either `count` or `change` is needed"));
        }
        let because = reason(request.reason.as_deref())?;
        let (dry_run, relative) = (request.dry_run, request.change.is_some());
        let planned = move |view: &View<'_>| {
            let scaled = of.plan_all(view, &request)?;
            let regions = &view.node.facts().core.regions;
            let revision = |scaled: &RegionScaled| {
                regions.get(&RegionId::from(scaled.region.as_str())).map(|region| region.revision)
            };
            let revisions: Vec<Option<Revision>> = scaled.regions.iter().map(revision).collect();
            Ok((scaled, revisions))
        };
        let (mut scaled, revisions) = call.find(planned).await?;
        if dry_run {
            return Ok(scaled);
        }
        for (one, revision) in scaled.regions.iter().zip(revisions) {
            let mut asked = call.asked_as(&one.region);
            asked.reason.clone_from(&because);
            // One more than somebody else makes of it meanwhile is not what was planned.
            asked.expected = revision.filter(|_| relative);
            call.change((of.request)(asked, RegionId::from(one.region.as_str()), one.after)).await?;
        }
        // What a request that was repeated has led to, and not what this attempt would have.
        let names: Vec<String> = scaled.regions.iter().map(|one| one.region.clone()).collect();
        let now = call.look(move |view| {
            let regions = &view.node.facts().core.regions;
            let count = |name: &String| regions.get(&RegionId::from(name.as_str())).map(of.count);
            names.iter().map(count).collect::<Vec<_>>()
        });
        for (one, now) in scaled.regions.iter_mut().zip(now.await?) {
            one.after = now.unwrap_or(one.after);
        }
        Ok(scaled)
    }
}
