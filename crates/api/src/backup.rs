//! Backups of the control plane's state: planned, made, listed, verified.

use crate::Freshness;
use crate::operation::Operation;

endpoint! {
    #[doc = "How backups are made by themselves, how old the newest ones are, and the latest runs."]
    BackupStatusRead: Get "/v1/backups", Read, crate::page::Nothing => BackupStatus;
    #[doc = "Says where backups go, how often, and how long they are kept; the destination is opened first."]
    BackupConfigure: Put "/v1/backups", Administer, BackupConfigureRequest => BackupStatus;
    #[doc = "Makes a backup; the same call twice joins the one that is made."]
    BackupCreate: Post "/v1/backups/create", Operate, BackupCreateRequest => BackupStarted;
    #[doc = "Reads backups, every byte, and names what is not as it was written."]
    BackupVerify: Post "/v1/backups/verify", Operate, BackupVerifyRequest => BackupStarted;
    #[doc = "Lists the backups of a destination, oldest first, as the destination itself shows them."]
    BackupList: Get "/v1/backups/list", Read, BackupListRequest => BackupListing;
    #[doc = "Says what restoring a backup would change, record by record, or brings back one record that is gone."]
    BackupRestore: Post "/v1/backups/restore", Administer, BackupRestoreRequest => BackupRestored;
}

request! {
    /// How backups are made by themselves.
    pub struct BackupConfigureRequest {
        /// Between two backups, 60000 to 2678400000.
        pub interval_ms: u64,
        /// Keep those that are no older, ms.
        pub keep_within_ms: Option<u64>,
        /// Keep the newest so many.
        pub keep_last: Option<u32>,
        /// `s3://bucket/prefix` or `file:///folder`.
        pub destination: String,
        /// `aes256`, which is what there is.
        pub encryption: Option<String>,
        /// File of the key or passphrase, at every server; `null`: `backup.key_file` of each server's dwcpd.yaml.
        pub key_file: Option<String>,
        pub reason: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A backup to make.
    pub struct BackupCreateRequest {
        /// Without it: incremental.
        pub kind: Option<BackupKind>,
        /// Another place than the plan's, as the answering server sees it: a folder, or `s3://bucket/prefix`. Role admin.
        pub destination: Option<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// What to verify.
    pub struct BackupVerifyRequest {
        /// Its number; `null`: the newest.
        pub backup: Option<u64>,
        /// Everything at the destination.
        #[serde(default)]
        pub all: bool,
        /// Another place than the plan's, as the answering server sees it. Role admin.
        pub destination: Option<String>,
    }

    /// What to restore.
    pub struct BackupRestoreRequest {
        /// The backup's number; `null`: the newest.
        pub backup: Option<u64>,
        /// Another place than the plan's, as the answering server sees it.
        pub destination: Option<String>,
        /// One record, `vm/NAME`; `null`: everything, which only a dry run does here.
        pub only: Option<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which destination to list.
    pub struct BackupListRequest {
        /// Another place than the plan's, as the answering server sees it. Role admin.
        pub destination: Option<String>,
    }
}

wire! {
    /// What a backup uses of those before it.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum BackupKind {
        /// Nothing.
        Full,
        /// Everything that is the same.
        Incremental,
    }

    /// What a run does.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum BackupTask { Full, Incremental, Verify, VerifyAll }

    /// Whether backups are as old as they may be.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum BackupState {
        /// Nobody has said where they go.
        NotConfigured,
        /// The newest verified one is younger than twice the interval.
        InTime,
        /// The newest one is in time, the newest verified one is not.
        VerifiedLate,
        /// The newest one is older than twice the interval.
        Late,
    }

    /// How backups are made by themselves.
    #[derive(Eq)]
    pub struct BackupPlan {
        pub destination: String,
        pub interval_ms: u64,
        /// Those that are no older are kept, ms; `null`: only the newest `keep_last`.
        pub keep_within_ms: Option<u64>,
        pub keep_last: u32,
        pub encryption: String,
        /// `null`: as each server's dwcpd.yaml says.
        pub key_file: Option<String>,
        /// Id of the key; it gives nothing away.
        pub key_id: String,
        pub by: String,
        pub at_ms: u64,
        /// When the next one is due.
        pub next_at_ms: u64,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
    }

    /// A backup, and the time that it holds.
    #[derive(Copy, Eq)]
    pub struct BackupMark {
        pub backup: u64,
        pub at_ms: u64,
        pub age_ms: u64,
    }

    /// A backup that is made or verified, or was.
    #[derive(Eq)]
    pub struct BackupRun {
        pub operation: String,
        pub task: BackupTask,
        pub destination: String,
        /// The server that does it; `null`: the one that leads the federation's group.
        pub at: Option<String>,
        pub state: crate::operation::OperationState,
        pub backup: Option<u64>,
        pub by: String,
        pub asked_at_ms: u64,
        pub ended_at_ms: Option<u64>,
        pub result: String,
    }

    /// Backups of the federation.
    #[derive(Eq)]
    pub struct BackupStatus {
        pub state: BackupState,
        pub plan: Option<BackupPlan>,
        /// The newest one at the plan's destination; `null`: none is known.
        pub newest: Option<BackupMark>,
        /// The newest one that was read as a whole and was whole; `null`: none.
        pub newest_verified: Option<BackupMark>,
        /// When that was read.
        pub verified_at_ms: Option<u64>,
        /// The newest entry of the destination's chain, by the federation's own facts: an older state of the destination is
        /// found with it.
        pub head: Option<String>,
        /// Newest first.
        pub runs: Vec<BackupRun>,
        pub as_of: Vec<Freshness>,
    }

    /// Work that was begun or joined; in a dry run there is no operation.
    #[derive(Eq)]
    pub struct BackupStarted {
        pub destination: String,
        pub operation: Option<Operation>,
    }

    /// A backup as its destination shows it.
    #[derive(Eq)]
    pub struct Backup {
        pub backup: u64,
        pub kind: BackupKind,
        pub at_ms: u64,
        pub age_ms: u64,
        /// Whose chunks it uses.
        pub parent: Option<u64>,
        pub records: u64,
        /// Size of the records, bytes.
        pub bytes: u64,
        /// What it added to the destination, bytes.
        pub written_bytes: u64,
        /// Revision of each group that it holds; `federation` is the federation's own.
        pub revisions: std::collections::BTreeMap<String, u64>,
    }

    /// What restoring does to a record.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum RecordChange {
        /// It is in the backup only: it comes back.
        Added,
        /// It is another in the backup.
        Changed,
        /// It is not in the backup: it goes.
        Removed,
    }

    /// A field of a record that is another in the backup.
    #[derive(Eq)]
    pub struct FieldDifference {
        /// Its path, such as `observed.phase`.
        pub field: String,
        /// What it is now; `null`: it is not there.
        pub now: Option<String>,
        /// What it is in the backup; `null`: it is not there.
        pub backup: Option<String>,
    }

    /// A record that is another in the backup.
    #[derive(Eq)]
    pub struct RecordDifference {
        /// The region whose record it is, or `federation`.
        pub group: String,
        /// Which, such as `vms/vm_…`.
        pub record: String,
        /// Its name, where it has one of its own.
        pub name: Option<String>,
        pub change: RecordChange,
        /// What differs, sorted; of a record that comes or goes nothing.
        pub fields: Vec<FieldDifference>,
    }

    /// How many records differ of those that are not listed one by one.
    #[derive(Eq)]
    pub struct RecordCount {
        pub group: String,
        /// `events`, `outcomes`, `claims` or `operations`.
        pub records: String,
        pub added: u64,
        pub changed: u64,
        pub removed: u64,
    }

    /// The difference between a federation and a backup, and what was done about it.
    #[derive(Eq)]
    pub struct BackupRestored {
        pub destination: String,
        pub backup: u64,
        /// The time that it holds.
        pub at_ms: u64,
        pub age_ms: u64,
        /// Sorted by group and record; with `only`, that one.
        pub records: Vec<RecordDifference>,
        /// Records that differ too and would have been too many to list.
        pub left_out: u64,
        /// What a federation keeps of its past, counted.
        pub counted: Vec<RecordCount>,
        /// Records that are the same.
        pub same: u64,
        /// The VM that was brought back, under its new id; `null`: none.
        pub vm: Option<String>,
        pub operation: Option<Operation>,
    }

    /// The backups of a destination.
    #[derive(Eq)]
    pub struct BackupListing {
        pub destination: String,
        /// The server that looked.
        pub server: String,
        pub backups: Vec<Backup>,
        /// Objects that are not as they were written.
        pub faults: Vec<String>,
        /// Why there is nothing before the oldest; `null`: nothing was removed.
        pub removed: Option<String>,
        pub head: String,
    }
}
