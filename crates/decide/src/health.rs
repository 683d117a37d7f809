//! A region's health score, with what was taken off it and why.

/// What is known about a region. All of it may be stale; `heard_ms` says how stale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthInputs {
    /// Since the region was last heard of, in milliseconds; none: never.
    pub heard_ms: Option<u64>,
    /// Longer than this is not knowing, in milliseconds; 0: ten seconds.
    pub heard_limit_ms: u64,
    /// Hosts that hold a lease.
    pub hosts_up: u32,
    /// Hosts registered.
    pub hosts_total: u32,
    /// Processor use of its hosts, in percent; none: unknown.
    pub cpu_used_percent: Option<u32>,
    /// Memory use of its hosts, in percent; none: unknown.
    pub memory_used_percent: Option<u32>,
    /// Links to other regions that carry nothing.
    pub links_down: u32,
    /// Links to other regions.
    pub links_total: u32,
    /// Loss on its worst working link, in percent.
    pub worst_loss_percent: u32,
    /// How far its group's replicas are behind, in milliseconds; none: unknown.
    pub replication_lag_ms: Option<u64>,
    /// VMs that should serve and don't.
    pub vms_unhealthy: u32,
    /// VMs that should serve.
    pub vms_total: u32,
    /// Its control plane answers.
    pub control_plane_up: bool,
    /// VMs of the region that would have no place elsewhere if it were lost; 0 also when that was not looked at.
    pub would_not_survive: u32,
}

/// What a score means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthState {
    /// 80 and more.
    Healthy,
    /// 60 to 79.
    Degraded,
    /// Under 60: nothing new is placed there.
    Unhealthy,
    /// Not heard of.
    #[default]
    Unknown,
}

/// Points taken off, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deduction {
    /// How many of 100.
    pub points: u8,
    /// Why, with numbers.
    pub cause: String,
}

/// A region's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthScore {
    /// 0 to 100; none when unknown.
    pub score: Option<u8>,
    /// What it means.
    pub state: HealthState,
    /// What was taken off 100, in a fixed order; for an unknown region what is unknown.
    pub deductions: Vec<Deduction>,
}

/// Scores a region's health.
pub fn health(inputs: &HealthInputs) -> HealthScore {
    let limit_ms = if inputs.heard_limit_ms == 0 { 10_000 } else { inputs.heard_limit_ms };
    let silence = match inputs.heard_ms {
        Some(ms) if ms <= limit_ms => None,
        Some(ms) => Some(format!("not heard of for {ms} ms (limit {limit_ms} ms)")),
        None => Some("never heard of".to_string()),
    };
    if let Some(cause) = silence {
        let deductions = vec![Deduction { points: 0, cause }];
        return HealthScore { score: None, state: HealthState::Unknown, deductions };
    }
    let mut deductions = Vec::new();
    let mut take = |points: u64, cause: String| {
        if points > 0 {
            deductions.push(Deduction { points: points.min(100) as u8, cause });
        }
    };
    if !inputs.control_plane_up {
        take(30, "its control plane does not answer".into());
    }
    let down = inputs.hosts_total.saturating_sub(inputs.hosts_up);
    if inputs.hosts_total == 0 {
        take(60, "it has no hosts".into());
    } else {
        take(share(down, inputs.hosts_total, 60), format!("{down} of {} hosts are down", inputs.hosts_total));
    }
    let links = (inputs.links_down, inputs.links_total);
    take(share(links.0, links.1, 40), format!("{} of {} links are down", links.0, links.1));
    let loss = inputs.worst_loss_percent;
    take(u64::from(loss.saturating_mul(2).min(20)), format!("its worst link loses {loss} %"));
    for (what, used) in [("processor", inputs.cpu_used_percent), ("memory", inputs.memory_used_percent)] {
        let points = match used {
            Some(used) if used >= 95 => 20,
            Some(used) if used >= 90 => 10,
            Some(used) if used >= 80 => 5,
            _ => 0,
        };
        take(points, format!("{} % of {what} is in use", used.unwrap_or(0)));
    }
    if let Some(lag_ms) = inputs.replication_lag_ms {
        take(lag_points(lag_ms), format!("its replicas are {lag_ms} ms behind"));
    }
    let serve = (inputs.vms_unhealthy, inputs.vms_total);
    take(share(serve.0, serve.1, 40), format!("{} of {} VMs do not serve", serve.0, serve.1));
    let (doomed, all) = (inputs.would_not_survive, inputs.vms_total.max(inputs.would_not_survive));
    take(share(doomed, all, 15), format!("survivability: {} would not survive its loss", vms(doomed)));
    let taken: u32 = deductions.iter().map(|deduction| u32::from(deduction.points)).sum();
    let score = 100u32.saturating_sub(taken) as u8;
    let state = match score {
        80.. => HealthState::Healthy,
        60..=79 => HealthState::Degraded,
        _ => HealthState::Unhealthy,
    };
    HealthScore { score: Some(score), state, deductions }
}

fn vms(count: u32) -> String {
    if count == 1 { "1 VM".to_string() } else { format!("{count} VMs") }
}

/// `part` of `whole` times `points`, rounded up so that the first failure shows.
fn share(part: u32, whole: u32, points: u64) -> u64 {
    if whole == 0 { 0 } else { (u64::from(part.min(whole)) * points).div_ceil(u64::from(whole)) }
}

fn lag_points(lag_ms: u64) -> u64 {
    match lag_ms {
        0..=999 => 0,
        1_000..=4_999 => 5,
        5_000..=29_999 => 15,
        _ => 25,
    }
}
