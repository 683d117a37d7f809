//! `dwcpd`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use dwcp_backup::FederationKey;
use dwcp_mesh::pki::DEFAULT_LEAF_VALIDITY;
use dwcp_mesh::{Ca, PeerId, San};
use dwcp_server::dev::{self, DevPlan};
use dwcp_server::run::{self, RunOptions};

/// The control plane of one region of a federation.
#[derive(Parser)]
#[command(name = "dwcpd", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the control plane of this region until SIGTERM.
    Run {
        /// The region's settings, `dwcpd.yaml`.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The disk of this region's store was replaced: join as a region whose state comes back from the others.
        /// Without this an empty store is taken for that of a new federation.
        #[arg(long)]
        state_lost: bool,
        /// Write what the node begins from and everything that goes into it to this file; `dwcp-sim replay FILE` runs it
        /// again. Files of earlier starts are kept as FILE.1 to FILE.3.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
    },
    /// Certificates of a federation.
    #[command(subcommand)]
    Pki(Pki),
    /// Makes a key for backups: 256 random bits in a file that only its owner may read. Copy it to every server, and to
    /// where no server is: without it no backup opens.
    BackupKey {
        /// The new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Development federations on one machine.
    #[command(subcommand)]
    Dev(Dev),
}

#[derive(Subcommand)]
enum Pki {
    /// Makes the federation's certificate authority: ca.pem and ca.key. Keep ca.key off servers.
    Init {
        /// The federation's name.
        #[arg(long)]
        federation: String,
        /// Folder of the files.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Issues a certificate for a region's server, or for a host's agent.
    Issue {
        /// Folder of ca.pem and ca.key; the new files go there too.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The region.
        #[arg(long)]
        region: String,
        /// The host, for an agent's certificate.
        #[arg(long)]
        host: Option<String>,
        /// Addresses that clients reach the server by.
        #[arg(long, value_name = "IP", value_delimiter = ',')]
        ip: Vec<std::net::IpAddr>,
        /// Names that clients reach the server by.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        dns: Vec<String>,
        /// How long it is valid, in days; a day without this.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
        days: Option<u64>,
        /// Name of the files; the region, or region-host, without this.
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Subcommand)]
enum Dev {
    /// Writes keys, configuration and the list of processes of a development federation. Keeps what is there.
    Init {
        /// Its folder.
        #[arg(long, value_name = "DIR", default_value = ".dwcp")]
        dir: PathBuf,
        /// Regions.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=8))]
        regions: u8,
        /// Hosts of each region.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=7))]
        hosts_per_region: u8,
        /// Host pools of one host each, whose regions can be deployed; with the regions at most 8.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=7))]
        pools: u8,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { config, state_lost, record } => run::run(&config, RunOptions { state_lost, record }),
        Command::Pki(pki) => certificates(pki),
        Command::BackupKey { out } => backup_key(&out),
        Command::Dev(Dev::Init { dir, regions, hosts_per_region, pools }) => {
            dev::init(&dir, DevPlan { regions, hosts_per_region, pools })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn backup_key(out: &std::path::Path) -> Result<(), String> {
    let key = FederationKey::random();
    key.write_file(out).map_err(|e| e.to_string())?;
    println!("{}", key.id());
    Ok(())
}

fn certificates(pki: Pki) -> Result<(), String> {
    match pki {
        Pki::Init { federation, dir } => {
            if dir.join("ca.key").exists() {
                return Err(format!(
                    "{} has an authority already; another one would not be trusted",
                    dir.display()
                ));
            }
            let ca = Ca::create(&federation, dev::CA_VALIDITY).map_err(|e| e.to_string())?;
            ca.store(&dir).map_err(|e| e.to_string())?;
            println!("{}", dir.join("ca.pem").display());
        }
        Pki::Issue { dir, region, host, ip, dns, days, name } => {
            let ca = Ca::load(&dir).map_err(|e| e.to_string())?;
            let file = name.unwrap_or_else(|| match &host {
                Some(host) => format!("{region}-{host}"),
                None => region.clone(),
            });
            let peer = match host {
                Some(host) => PeerId::Host { region, host },
                None => PeerId::Region(region),
            };
            let sans: Vec<San> = ip.into_iter().map(San::Ip).chain(dns.into_iter().map(San::Dns)).collect();
            let validity = days.map_or(DEFAULT_LEAF_VALIDITY, |days| Duration::from_secs(days * 86_400));
            let issued = ca.issue(&peer, &sans, validity).map_err(|e| e.to_string())?;
            issued.store(&dir, &file).map_err(|e| e.to_string())?;
            println!("{}", dir.join(format!("{file}.pem")).display());
        }
    }
    Ok(())
}
