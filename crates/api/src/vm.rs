//! VMs.

use std::collections::BTreeMap;

use crate::operation::Operation;
use crate::protection::{Protection, ProtectionWanted};
use crate::vm_spec::{NetworkKind, Policy, Priority, Probe};
use crate::{Freshness, Page};

endpoint! {
    #[doc = "Creates one or more VMs of one shape."]
    VmCreate: Post "/v1/vms", Operate, VmCreateRequest => VmCreated;
    #[doc = "Where a VM would be placed and why, without creating it."]
    PlacementPreview: Post "/v1/placements/preview", Read, VmCreateRequest => PlacementReport;
    #[doc = "Lists VMs."]
    VmList: Get "/v1/vms", Read, VmListRequest => Page<Vm>, watch;
    #[doc = "One VM."]
    VmRead: Get "/v1/vms/{vm}", Read, VmReadRequest => VmAnswer, watch;
    #[doc = "Starts a stopped VM."]
    VmStart: Post "/v1/vms/{vm}/start", Operate, VmChangeRequest => VmChanged;
    #[doc = "Stops a VM; its disk stays."]
    VmStop: Post "/v1/vms/{vm}/stop", Operate, VmChangeRequest => VmChanged;
    #[doc = "Stops a VM and starts it again."]
    VmRestart: Post "/v1/vms/{vm}/restart", Operate, VmChangeRequest => VmChanged;
    #[doc = "Deletes a VM and its disk."]
    VmDelete: Delete "/v1/vms/{vm}", Operate, VmDeleteRequest => VmChanged;
    #[doc = "What a VM wrote to its console; watched, it goes on."]
    VmConsole: Get "/v1/vms/{vm}/console", Read, VmConsoleRequest => ConsoleText, watch;
    #[doc = "Why a VM is where it is, and what else was possible."]
    VmExplain: Get "/v1/vms/{vm}/explain", Read, VmReadRequest => PlacementReport;
    #[doc = "Asks each VM's own probe now."]
    VmHealthCheck: Post "/v1/vms/health-check", Read, VmHealthCheckRequest => VmHealthReport;
}

request! {
    /// A VM to create. Also read from a file by `dwcp-cli vm create --file`.
    pub struct VmCreateRequest {
        /// Name, unique in the federation. With `count` above 1 the VMs are called `name-1`, `name-2`, …
        pub name: String,
        /// How many, 1 to 1000; `null`: 1.
        pub count: Option<u32>,
        /// Image name; `null`: the built-in small image.
        pub image: Option<String>,
        /// `null`: 1.
        pub vcpus: Option<u32>,
        /// `null`: 96, what the built-in small image needs.
        pub memory_mib: Option<u64>,
        /// `null`: no disk of its own.
        pub disk_gib: Option<u64>,
        #[serde(default)]
        pub priority: Priority,
        #[serde(default)]
        pub policy: Policy,
        #[serde(default)]
        pub labels: BTreeMap<String, String>,
        #[serde(default)]
        pub network: NetworkKind,
        /// `null`: `GET /health` on port 80.
        pub probe: Option<Probe>,
        /// How its disk is kept in another region.
        #[serde(default)]
        pub protection: ProtectionWanted,
        /// The region that it is placed in, whatever its policy allows later; `null`: the best.
        pub place_in: Option<String>,
        /// It is deleted by itself after so long, ms; `null`: never.
        pub expires_in_ms: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
        /// Report on every candidate host, not only on the regions that were looked into; `null`: no.
        pub explain: Option<bool>,
    }

    /// Which VMs to list.
    pub struct VmListRequest {
        pub region: Option<String>,
        pub host: Option<String>,
        pub state: Option<VmState>,
        /// `key=value`; all of them must hold.
        #[serde(default)]
        pub label: Vec<String>,
        pub tenant: Option<String>,
        /// Also the copies that drills have made.
        #[serde(default)]
        pub drills: bool,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
        #[serde(default)]
        pub watch: bool,
    }

    /// Which VM: id or name.
    pub struct VmReadRequest {
        pub vm: String,
        #[serde(default)]
        pub watch: bool,
    }

    /// A change of a VM.
    pub struct VmChangeRequest {
        /// Id or name.
        pub vm: String,
        /// Pull the plug instead of asking the guest.
        #[serde(default)]
        pub force: bool,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which VM to delete.
    pub struct VmDeleteRequest {
        /// Id or name.
        pub vm: String,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which part of a console.
    pub struct VmConsoleRequest {
        pub vm: String,
        /// First byte wanted; negative: that many from the end; `null`: the last 64 KiB.
        pub offset: Option<i64>,
        /// Most bytes wanted; `null`: 64 KiB.
        pub limit: Option<u32>,
        /// Keep the answer open and send what is written later, one `ConsoleText` a line.
        #[serde(default)]
        pub watch: bool,
    }

    /// Which VMs to probe: those named, or those of a region, or all.
    pub struct VmHealthCheckRequest {
        /// Ids or names; empty: all but the copies of drills.
        #[serde(default)]
        pub vms: Vec<String>,
        pub region: Option<String>,
        /// How long one probe may take; `null`: 2000.
        pub timeout_ms: Option<u64>,
    }
}

wire! {
    /// State of a VM as last observed.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum VmState {
        /// Placed nowhere yet.
        Waiting, Starting, Running,
        /// Its host's lease ran out; it does not run, and goes on or moves.
        Paused,
        Stopping, Stopped,
        /// On its way to another region.
        Moving, Failed, Deleting,
        /// Its host has not been heard of.
        Unknown,
    }

    /// A VM.
    pub struct Vm {
        /// `vm_…`.
        pub vm: String,
        pub name: String,
        pub state: VmState,
        /// What people want: true to run, false to be stopped.
        pub wanted_running: bool,
        /// The region that owns it now.
        pub region: String,
        pub zone: Option<String>,
        /// `null` while it is placed nowhere.
        pub host: Option<String>,
        /// Raised by every start, move and takeover.
        pub generation: u64,
        pub image: String,
        /// What the image held when the VM was created, by the catalogue; `null`: the image was not in it.
        #[serde(default)]
        pub image_digest: Option<String>,
        pub vcpus: u32,
        pub memory_mib: u64,
        pub disk_gib: u64,
        pub priority: Priority,
        pub policy: Policy,
        pub labels: BTreeMap<String, String>,
        pub network: NetworkKind,
        pub probe: Probe,
        /// Where its service answers (`http://127.77.1.32:8080/`); `null`: not known.
        pub address: Option<String>,
        /// Answer of the last probe; `null`: not known.
        pub healthy: Option<bool>,
        /// Why it waits or failed; empty otherwise.
        pub reason: String,
        /// US dollars a month in its region; `null`: not known.
        pub cost_usd_month: Option<f64>,
        /// Milliseconds since 1970 (UTC).
        pub created_at_ms: u64,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
        /// The copy of its disk in another region; `null`: it has none.
        #[serde(default)]
        pub protection: Option<Protection>,
        /// The drill that it is a copy of; `null`: people run it.
        #[serde(default)]
        pub drill: Option<String>,
    }

    /// One VM, with how old the answer is.
    pub struct VmAnswer {
        pub vm: Vm,
        pub as_of: Vec<Freshness>,
    }

    /// VMs created, or in a dry run where they would go.
    pub struct VmCreated {
        pub vms: Vec<Vm>,
        /// `null` in a dry run.
        pub operation: Option<Operation>,
        pub placement: PlacementReport,
        /// What it made worse: VMs that would not survive the loss of a region.
        #[serde(default)]
        pub warnings: Vec<String>,
    }

    /// A VM being changed.
    pub struct VmChanged {
        pub vm: Vm,
        /// `null` in a dry run, or when nothing was to do.
        pub operation: Option<Operation>,
    }

    /// A piece of a console.
    #[derive(Eq)]
    pub struct ConsoleText {
        /// Position of the first byte of `text`.
        pub offset: u64,
        /// Position to ask for next.
        pub next_offset: u64,
        /// Bytes that are no UTF-8 are replaced.
        pub text: String,
    }

    /// One factor of a score.
    pub struct ScoreFactor {
        pub name: String,
        /// 0 to 1, 1 is best.
        pub value: f64,
        pub weight: f64,
        /// What it was computed from.
        pub from: String,
    }

    /// A place that was considered.
    pub struct Candidate {
        pub region: String,
        pub zone: Option<String>,
        /// `null`: the whole region was ruled out.
        pub host: Option<String>,
        /// 0 to 100; `null` when it is ruled out.
        pub score: Option<f64>,
        pub factors: Vec<ScoreFactor>,
        /// Why it is ruled out, with numbers; empty when it is possible.
        pub ruled_out: Vec<String>,
    }

    /// Where a VM goes (or went) and why.
    pub struct PlacementReport {
        /// The VM's name.
        pub vm: String,
        /// Best first; the ruled-out ones last.
        pub candidates: Vec<Candidate>,
        /// The chosen region and host, one a VM.
        pub chosen: Vec<ChosenPlace>,
        /// Why there is no place; empty when there is one.
        pub reasons: Vec<String>,
        /// Time of the decision in microseconds; `null`: decided earlier.
        pub took_us: Option<u64>,
        pub as_of: Vec<Freshness>,
    }

    /// The place of one VM.
    pub struct ChosenPlace {
        pub vm: String,
        pub region: String,
        pub host: String,
        pub score: f64,
    }

    /// Answer of one VM's probe.
    #[derive(Eq)]
    pub struct VmHealth {
        pub vm: String,
        pub name: String,
        pub region: String,
        pub host: Option<String>,
        pub state: VmState,
        /// `null`: could not be asked.
        pub healthy: Option<bool>,
        /// `http`, `tcp`, `guest_agent`, `process`.
        pub probe: String,
        /// What was answered, or why there was no answer.
        pub detail: String,
        pub took_ms: Option<u64>,
    }

    /// Answers of all probes.
    #[derive(Eq)]
    pub struct VmHealthReport {
        pub vms: Vec<VmHealth>,
        pub healthy: u64,
        pub unhealthy: u64,
        pub unknown: u64,
        pub as_of: Vec<Freshness>,
    }
}
