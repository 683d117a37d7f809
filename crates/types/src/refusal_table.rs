codes! {
    Malformed "DWCP-R0001" Usage "the request can't be read"
        "The body or a parameter is not what the endpoint takes. The detail names the field, or the line and column. Correct it and send it again; nothing was changed.";
    TooLarge "DWCP-R0002" Usage "the request is too large"
        "A request body may have at most 1 MiB. Split the work into several requests.";
    BadValue "DWCP-R0003" Usage "a value is outside its range"
        "A count, size, percentage, priority or duration is negative, zero where that makes no sense, or above its limit. The detail names the field and the range.";
    UnknownRegion "DWCP-R0010" NotFound "no such region"
        "The federation has no region of that name. `dwcp-cli federation status --global` lists the regions.";
    UnknownVm "DWCP-R0011" NotFound "no such VM"
        "No VM has that id or name in what this region knows. A VM created a moment ago in another region may need a fraction of a second to be known here. `dwcp-cli vm list` lists the VMs.";
    UnknownHost "DWCP-R0012" NotFound "no such host"
        "No host of that name is registered. `dwcp-cli host list` lists the hosts.";
    UnknownOperation "DWCP-R0013" NotFound "no such operation"
        "No operation has that id. Ended operations are kept for a limited number. `dwcp-cli operation list` lists them.";
    UnknownFailover "DWCP-R0014" NotFound "no such failover"
        "No failover has that id. `dwcp-cli federation failover status` shows the newest.";
    UnknownToken "DWCP-R0015" NotFound "no such token"
        "No token has that id. `dwcp-cli security token list` lists the tokens.";
    UnknownImage "DWCP-R0016" NotFound "no such image"
        "No image of that name is in the catalogue, or no host that is heard has it in its image folder. `dwcp-cli image list` lists both.";
    UnknownEndpoint "DWCP-R0017" NotFound "no such endpoint"
        "The API has no such path in this version. `/v1/openapi.json` lists what it has.";
    UnknownDrill "DWCP-R0019" NotFound "no such drill"
        "No drill has that id, or no drill of that region has been run. `dwcp-cli federation dr-drill list` lists them; the newest hundred are kept.";
    UnknownIncident "DWCP-R0078" NotFound "no such incident"
        "No incident has that id. `dwcp-cli federation monitoring incidents list --all` lists them; those that were resolved long ago are forgotten.";
    UnknownSla "DWCP-R0075" NotFound "no such SLA"
        "Nothing is promised under that name. `dwcp-cli federation monitoring sla list` lists what is promised.";
    UnknownBreach "DWCP-R0076" NotFound "no such breach"
        "No breach of an SLA has that id. `dwcp-cli federation monitoring sla breaches --since 400d` lists them; the newest 500 are kept.";
    UnknownOverride "DWCP-R0079" NotFound "no such override"
        "Nobody stands in under that id, or the time was over so long ago that it is forgotten. `dwcp-cli federation monitoring oncall schedule` lists who stands in.";
    UnknownSilence "DWCP-R0093" NotFound "no such silence"
        "No silence has that id, or it was over so long ago that it is forgotten. `dwcp-cli federation monitoring silence list --all` lists them.";
    UnknownAlert "DWCP-R0094" NotFound "no such alert"
        "No alert of that fingerprint is pending, fires, or fired in the last 7 days. `dwcp-cli federation monitoring alerts list --since 7d` lists them.";
    UnknownService "DWCP-R0095" NotFound "no such service"
        "No service has that name. `dwcp-cli routing service list` lists those that users reach, with the names that lead to them.";
    UnknownAttack "DWCP-R0096" NotFound "no such attack"
        "No attack has that id, or it was over so long ago that it is forgotten. `dwcp-cli routing ddos detections --since 24h` lists them.";
    UnknownBlock "DWCP-R0097" NotFound "no such block"
        "Nothing is blocked or let through under that id or address. `dwcp-cli routing ddos blacklist list` and `dwcp-cli routing ddos whitelist list` list what is.";
    UnknownNotification "DWCP-R0077" NotFound "no such message"
        "No message to people has that key. `dwcp-cli notification list` lists them; those that were delivered or given up a week ago are forgotten.";
    AmbiguousName "DWCP-R0018" Usage "the name fits several VMs"
        "Several VMs carry that name. Use the id, which is unique for ever.";
    NotAuthenticated "DWCP-R0020" NotAllowed "no valid token"
        "The request carries no token, or one that is unknown, expired or revoked. `dwcp-cli login` stores a new one.";
    NotPermitted "DWCP-R0021" NotAllowed "the token's role does not allow this"
        "Viewers read, operators change, admins manage tokens and policies. Ask an admin for a token with the role that the detail names.";
    NothingFits "DWCP-R0030" Rule "no host fits"
        "No host satisfies the VM's rules and has room. The causes count how many candidates each rule excluded; `try` names the smallest change that would make it fit. `dwcp-cli vm explain` shows every candidate.";
    CapacityGone "DWCP-R0031" Rule "the capacity was taken meanwhile"
        "Between the decision and its commit another request took the room. DWCP decides again by itself several times before it says so.";
    StaleRevision "DWCP-R0032" Rule "the record has changed"
        "The request expected a revision that the record no longer has: it was changed meanwhile. Changes of other records, and what hosts report, do not count. Read again, decide again, send again.";
    NameTaken "DWCP-R0033" Rule "the name is taken"
        "A VM of that name exists. Names are unique in the federation; pick another or delete the old VM.";
    OldGeneration "DWCP-R0034" Rule "the generation is no longer current"
        "Something started, moved or took over the VM meanwhile. What was decided before that must not be done any more; DWCP looks again by itself.";
    WrongState "DWCP-R0035" Rule "the thing is not in a state that allows this"
        "The detail says which state it is in and which it would have to be in.";
    RegionDisabled "DWCP-R0036" Rule "the region takes no placements"
        "Placement is switched off in this region, by an operator, or because it was lost and came back and nobody has enabled it since.";
    Frozen "DWCP-R0037" Rule "the federation is frozen"
        "The freeze switch stops what is asked: `no-moves` stops moves and failovers, `frozen` stops every change of VMs. `dwcp-cli federation freeze active` lifts it.";
    FailoverRefused "DWCP-R0040" Rule "the failover would break a rule"
        "The survivors lack room for all VMs, or rules exclude every survivor for some. `--dry-run` shows each VM; `--relax partial` moves what fits and names what is left.";
    FailoverRunning "DWCP-R0041" Rule "another failover of this region is running"
        "The same request joins the running failover; one with other targets is refused until it has ended.";
    HourlyCap "DWCP-R0042" Rule "the hourly cap of automatic failovers is reached"
        "More regions than the policy allows were declared lost within the hour. A cascade is likelier than so many disasters: a person must decide. `dwcp-cli federation failover` does it by hand.";
    ConfirmationNeeded "DWCP-R0043" Rule "this needs a confirmation"
        "The change can hurt. Add `--yes` when it is meant.";
    OnlyInDevelopment "DWCP-R0044" Rule "only in a development federation"
        "Links can be shaped and cut only where the federation's configuration says `dev: true`.";
    IdempotencyMismatch "DWCP-R0045" Rule "the idempotency key was used for another request"
        "A key stands for one request. Use a new key for a new request.";
    ProtectedDisk "DWCP-R0048" Rule "its disk is protected, so it does not move that way"
        "A synchronously protected disk is copied to another region all the time, and an emulator copies a disk to one place at a time. Such a VM moves with `--cold` to the host of its copy once that is whole: it is stopped and starts there from the copy. To move it anywhere else, or while it runs: `dwcp-cli vm protect VM --mode none`, move it, protect it again.";
    NoLeader "DWCP-R0050" Unavailable "no majority can be reached"
        "The group that must agree on this write has no leader now: a majority of its regions can't be reached from here. Reads and running VMs go on. DWCP tries again by itself when regions return.";
    TimedOut "DWCP-R0051" Unavailable "no answer in time"
        "The write was sent but not confirmed in time; it may still take effect. Sending it again with the same idempotency key is safe and tells which.";
    Overloaded "DWCP-R0052" Unavailable "too much at once"
        "A queue is full. Nothing was changed; try again in a moment.";
    NotReady "DWCP-R0053" Unavailable "this region's control plane is not ready"
        "It has just started or is repairing its replica. Another region's endpoint answers meanwhile.";
    ConsoleUnavailable "DWCP-R0054" Unavailable "the console can't be reached"
        "The VM's host does not answer, so its console can't be read now.";
    NotPossibleHere "DWCP-R0060" Rule "this machine lacks what it takes"
        "The host has no device, kernel feature or program for what was asked. The detail says which.";
    UnsupportedVersion "DWCP-R0061" Rule "the other side speaks another version"
        "Versions one step apart work together; these are further apart.";
    UnknownWindow "DWCP-R0062" NotFound "no such maintenance window"
        "No maintenance window has that id, or it was over so long ago that it is forgotten. `dwcp-cli maintenance list` shows those that are kept.";
    ImageInUse "DWCP-R0070" Rule "VMs use the image"
        "An image goes out of the catalogue only when no VM was created from it under its name. The causes name some of the VMs; delete them first. `dwcp-cli vm list` lists them.";
    ImagesDiffer "DWCP-R0071" Rule "hosts have different images of one name"
        "Several hosts have an image of that name in their image folders, and they hold different things. `--host` says whose is meant; `dwcp-cli image list` shows which host has what.";
    BackupKey "DWCP-R0080" Usage "the key of backups can't be used"
        "Backups are sealed with a key that every server reads from a file of its own: `backup.key_file` in dwcpd.yaml, or what `--key-file` names. It is missing, others may read it, it is no key, or it is another one than the backups were sealed with. `dwcpd backup-key --out FILE` makes a new one; copy it to every server, and keep a copy where no server is.";
    BackupDestination "DWCP-R0081" Usage "the destination of backups can't be used"
        "The folder or bucket can't be reached or written by the server that answers, or it has something else than backups of this federation. The causes say which, in the destination's own words.";
    BackupDamaged "DWCP-R0082" Rule "backups are damaged"
        "Objects at the destination are not what was written there: altered, missing, or put back to an older state. The causes name each. Other backups may be whole: `dwcp-cli federation state backup verify ID` reads one of them. `create --type full` writes one that uses nothing of what is there; an empty destination begins a new chain.";
    UnknownBackup "DWCP-R0083" NotFound "no such backup"
        "There is no backup of that number at the destination, or none at all. `dwcp-cli federation state backup list` lists them.";
    UnknownVersion "DWCP-R0090" NotFound "no such version"
        "No program of that version is published. `dwcp-cli federation release list` lists those that are; `release publish` adds one.";
    ReleaseRefused "DWCP-R0091" Rule "the program is not one to run"
        "A region runs only what was signed by a key that its own `dwcpd.yaml` names under `upgrade: keys:`, whose bytes have the digest that was signed, and that is made for its platform. The causes say which of these does not hold.";
    QuorumAtRisk "DWCP-R0092" Rule "a quorum would be at risk"
        "While a region's node is replaced, its groups do without one of their voters. So every other voter of every group must be heard and have what the others have. The causes name those that are not; it goes on when they are back.";
    BackupsNotConfigured "DWCP-R0084" Rule "no backups are planned"
        "It has not been said where backups go. `dwcp-cli federation state backup configure` says it; `--output` and `--from` name another place for once.";
}
