//! `dwcpd run`: one region until SIGTERM.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dwcp_config::region::RegionConfig;
use dwcp_roles::node::SwitchOrder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::api_socket::ApiSocket;
use crate::backups::{self, place::Places};
use crate::clock;
use crate::http::{self, Api};
use crate::log::Log;
use crate::monitor;
use crate::program::{Programs, launcher};
use crate::record::Recorder;
use crate::records;
use crate::region::{Options, Region};
use crate::setup;
use crate::telemetry::export::{self, Exporter, Sources};
use crate::telemetry::{hosts, keeper};

/// The whole stop takes no longer than this.
const STOP_WITHIN: Duration = Duration::from_millis(1_900);
/// Leadership that is not handed over by then is left to an election. Longer than the longest round trip.
const HAND_OVER_WITHIN: Duration = Duration::from_millis(700);
/// How much sooner than others this process gets the processor.
const NICE: i32 = -5;

/// How `dwcpd run` was called.
#[derive(Default)]
pub struct RunOptions {
    /// This node's disk was replaced.
    pub state_lost: bool,
    /// Where every input of the node goes.
    pub record: Option<PathBuf>,
}

/// Runs until SIGTERM or SIGINT, or until the store fails.
///
/// # Errors
/// Says what is wrong with the settings, the store or an address; or why the store failed.
pub fn run(path: &Path, options: RunOptions) -> Result<(), String> {
    let config = setup::load(path)?;
    let programs = Programs::in_folder(Path::new(&config.data_dir));
    let part = launcher::begin(&programs)?;
    raise_priority();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime: {e}"))?;
    let done = runtime.block_on(serve(config, options, part.trial));
    // Threads that still wait for a file or a name must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match done? {
        // Whoever watches this process starts the next program.
        Some(order) if part.watched => programs.begin(&order).map_err(|e| format!("program.json: {e}")),
        Some(order) => {
            programs.begin(&order).map_err(|e| format!("program.json: {e}"))?;
            Err(launcher::again(&programs))
        }
        None => Ok(()),
    }
}

/// Until it is told to stop, or to go over to another program.
async fn serve(
    config: RegionConfig,
    options: RunOptions,
    trial: bool,
) -> Result<Option<SwitchOrder>, String> {
    let log = Log::new(&config.region);
    let folder = Path::new(&config.data_dir).join("log");
    log.keep_in(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let recorder =
        options.record.map(|path| Recorder::create(&path).map_err(|e| format!("{}: {e}", path.display())));
    let mut stop = signal(SignalKind::terminate()).map_err(|e| format!("SIGTERM: {e}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("SIGINT: {e}"))?;
    let (failed, mut failure) = mpsc::unbounded_channel();
    let (switch, mut switching) = mpsc::unbounded_channel();
    let api = &config.listen.api;
    let (joins, open) = ApiSocket::bind(api)?.opens();
    let region = Region::start(
        &config,
        Options {
            log: log.clone(),
            state_lost: options.state_lost,
            recorder: recorder.transpose()?,
            switch,
            trial,
            joins,
            failed: Box::new(move |error| drop(failed.send(error))),
        },
    )?;
    let (door, listener) = open.recv().map_err(|_| format!("the API at {api} is not open"))?;
    let tls = region.identity.api_server_config().map_err(|e| e.to_string())?;
    let closing = Arc::new(Notify::new());
    let closed = closing.clone();
    let shared = answering(&config, &region, &log);
    let _exporter = exporting(&config, &region, &log)?;
    let serving =
        tokio::spawn(http::serve(
            listener,
            Some(Arc::new(tls)),
            shared,
            async move { closed.notified().await },
        ));
    log.info("federation-controller", format!("{} listens at https://{api}", config.region));

    let order = tokio::select! {
        _ = stop.recv() => None,
        _ = interrupt.recv() => None,
        order = switching.recv() => order,
        Some(error) = failure.recv() => {
            log.error("state-manager", format!("{error}"));
            // Nothing that was not durable was acknowledged, so there is nothing to save.
            std::process::exit(1);
        }
    };
    log.info("federation-controller", "stopping");
    closing.notify_one();
    let orderly = async {
        region.hand_over(HAND_OVER_WITHIN).await;
        region.stop().await;
        // Requests under way get the node's last word.
        let _ = serving.await;
    };
    match tokio::time::timeout(STOP_WITHIN, orderly).await {
        Ok(()) => log.info("federation-controller", "stopped"),
        Err(_) => log.warning("federation-controller", "stopped with requests still open"),
    }
    // The system closes it when the last thread of this process has ended, not before.
    std::mem::forget(door);
    Ok(order)
}

/// The API of a running region, and what keeps its records, backups and measurements.
fn answering(config: &RegionConfig, region: &Region, log: &Log) -> Arc<Api> {
    let api = Api::new(region.node.clone(), config).inspecting(region.inspector.clone());
    let api = api.measuring(region.instruments.clone(), Some(region.measured.clone()));
    let api = api.linked(region.hosts.clone(), Some(region.identity.clone()));
    let api = Arc::new(api.tracing(region.traces.clone()));
    let intake = region.measured.intake();
    if intake.is_open() {
        let every = Duration::from_millis(config.metrics.interval_ms);
        tokio::spawn(keeper::keep(api.clone(), intake.clone(), every, log.clone()));
        let hosts = region.hosts.clone();
        tokio::spawn(hosts::keep(hosts, region.node.clone(), intake.clone(), every, log.clone()));
    }
    let state = Path::new(&config.data_dir).join("store/store.redb");
    region.instruments.show_kept(intake.clone(), state);
    for receiver in intake.receivers.iter() {
        let keep_ms = clock::ms(config.metrics.keep_ms);
        tokio::spawn(receiver.clone().keep(intake.store.clone(), keep_ms, log.clone()));
    }
    tokio::spawn(monitor::round::keep(api.clone(), log.clone()));
    let notifications = config.monitoring.notifications.clone();
    tokio::spawn(monitor::settings::keep(api.monitor().clone(), notifications, log.clone()));
    tokio::spawn(monitor::outbox::keep(api.monitor().clone(), log.clone()));
    tokio::spawn(monitor::attacks::keep(api.monitor().clone(), log.clone()));
    tokio::spawn(monitor::heartbeat::keep(api.monitor().clone(), log.clone()));
    tokio::spawn(records::keep(region.node.clone()));
    tokio::spawn(backups::keep(region.node.clone(), Places::new(config), log.clone()));
    tokio::spawn(monitor::sla::keep(api.monitor().clone(), log.clone()));
    api
}

/// Hands on what is measured and said, where that is wanted.
fn exporting(config: &RegionConfig, region: &Region, log: &Log) -> Result<Option<Exporter>, String> {
    let Some(otlp) = &config.telemetry.otlp else { return Ok(None) };
    let (metrics, logs) = (region.measured.store().cloned(), region.measured.logs().cloned());
    let sources = Sources { metrics, logs };
    let begun = export::start(otlp, &config.region, sources, &region.instruments, log);
    begun.map(Some).map_err(|why| format!("telemetry.otlp: {why}"))
}

/// Lets the control plane run before the machines it controls; only root may.
fn raise_priority() {
    // SAFETY: changes a number of this process; a refusal is no harm.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
