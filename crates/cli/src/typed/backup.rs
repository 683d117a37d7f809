//! Commands about backups of the control plane's state.

use clap::{Args, Subcommand, ValueEnum};
use dwcp_config::units;

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Say where backups go, how often, and how long they are kept. The destination is opened first, and made where there is
    /// nothing; the first backup is made at once.
    ///
    /// Backups are made by the server that leads the federation, incremental ones after the first. The destination is trusted with
    /// nothing: everything is sealed with a key that is in no backup and not in the federation's state.
    ///
    /// Such as: dwcp-cli federation state backup configure --interval 5m --retention 30d --destination s3://backups.example.com/state/
    /// --encryption aes256
    Configure(BackupConfigure),
    /// Make a backup now and read it again as a whole; returns when that is done, with --detach at once.
    ///
    /// Without --output it goes to the destination that is configured. --output names another place for once: a folder of the
    /// server that answers, which is made where it is missing, or s3://BUCKET/PREFIX. Typed twice, the second joins the first.
    Create(BackupCreate),
    /// List the backups of a destination as it shows them itself, oldest first; exit 1 when it is damaged.
    List {
        /// Another place than the configured one: a folder of the server that answers, or s3://BUCKET/PREFIX.
        #[arg(long, value_name = "DIR|URL")]
        from: Option<String>,
    },
    /// Read a backup, every byte of it; without a number the newest. Exit 1 when it is not whole, and each object is named that
    /// is not as it was written.
    Verify {
        /// Its number, as `list` shows it.
        #[arg(value_name = "ID", conflicts_with = "all")]
        backup: Option<u64>,
        /// Everything at the destination.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        all: bool,
        /// Another place than the configured one: a folder of the server that answers, or s3://BUCKET/PREFIX.
        #[arg(long, value_name = "DIR|URL")]
        from: Option<String>,
    },
    /// Say what restoring a backup would change, record by record, or bring back one VM that is gone.
    ///
    /// A federation that runs is never put back as a whole: what it has given out since is in use. --dry-run shows the difference.
    /// --only vm/NAME creates a VM that was deleted again, with the settings that it had, under a new id; its disk is a new one of its
    /// image.
    Restore {
        /// Number of the backup, as `list` shows it; without it the newest.
        #[arg(value_name = "ID")]
        backup: Option<u64>,
        /// One record: vm/NAME.
        #[arg(long, value_name = "RECORD")]
        only: Option<String>,
        /// Another place than the configured one: a folder of the server that answers, or s3://BUCKET/PREFIX.
        #[arg(long, value_name = "DIR|URL")]
        from: Option<String>,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// How backups are made by themselves, how old the newest and the newest verified one are, and the latest runs. Exit 1 when
    /// one of them is older than twice the interval.
    Status,
}

#[derive(Debug, Args)]
pub struct BackupConfigure {
    /// Between two backups, 1m to 31d.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub interval: u64,
    /// What is kept: those of the last 30d, or the newest 100.
    #[arg(long, value_name = "DURATION|COUNT", value_parser = retention)]
    pub retention: Retention,
    /// s3://BUCKET/PREFIX, or file:///FOLDER which every server must see as the same folder.
    #[arg(long, value_name = "URL")]
    pub destination: String,
    /// AES-256-GCM, with a key of its own for each backup.
    #[arg(long, value_enum, default_value = "aes256")]
    pub encryption: Encryption,
    /// File of the key (`dwcpd backup-key`) or of a passphrase, the same at every server; without it the one that each server's
    /// dwcpd.yaml names (`backup.key_file`).
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<String>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct BackupCreate {
    /// full: uses nothing of earlier ones. incremental: stores what has changed.
    #[arg(long = "type", value_enum, default_value = "incremental")]
    pub kind: BackupKind,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Those that are no older, ms.
    Within(u64),
    /// The newest so many.
    Last(u32),
}

fn retention(text: &str) -> Result<Retention, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return units::count(text).map(Retention::Last);
    }
    let within = units::duration_ms(text).map(Retention::Within);
    within.map_err(|_| format!("'{text}' is neither a duration such as 30d nor a count such as 100"))
}

/// How backups are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encryption {
    Aes256,
}

/// What a backup uses of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackupKind {
    Full,
    Incremental,
}
