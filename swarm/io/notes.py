"""Every event that may be noted, with its level and meaning. docs/metrics.md is made from these tables.

A level says who has to act: error, a person; warning, maybe; info, nobody. A cache miss is none of these. What
happens for every blob on every host is debug in the scheduler: the counters tell how often.
"""

from typing import NamedTuple


class NoteKind(NamedTuple):
    """How an event is logged, and what it means."""

    level: str
    help: str


UNLISTED = NoteKind("info", "An event without a place in the table.")
"""What an event gets that is missing in the tables; a test keeps that from happening."""

COMMON: dict[str, NoteKind] = {
    "denials_not_saved": NoteKind(
        "error", "What is denied could not be written to a file; it holds until this process ends."
    ),
    "piece_rejected": NoteKind(
        "warning",
        "A piece from `host` is not what it should be; the host made it, or passed on what it was given.",
    ),
}
"""Events of both components."""

SCHEDULER: dict[str, NoteKind] = {
    "scheduler_ready": NoteKind("info", "The scheduler takes daemons at `listen`."),
    "scheduler_stopped": NoteKind("info", "The scheduler ended its streams and is done."),
    "host_attached": NoteKind("info", "A daemon attached; `held` and `active` count the blobs that it told."),
    "host_lost": NoteKind("warning", "A daemon's stream broke; its part goes to others."),
    "host_left": NoteKind("info", "A daemon stopped, and said so."),
    "stream_ended": NoteKind("info", "A daemon's stream is over; `reason` says how."),
    "stream_refused": NoteKind("warning", "The scheduler ended a stream; `reason` says what the daemon did."),
    "tls_unreadable": NoteKind(
        "error",
        "A file of tls_listen changed and cannot be used; `reason` says which. The last one still counts.",
    ),
    "join": NoteKind("debug", "A host wants a blob."),
    "complete": NoteKind("debug", "A host has a whole blob, its digest checked."),
    "rescue": NoteKind("debug", "A host without a source for its window got more parents."),
    "lease_granted": NoteKind("info", "A host may fetch pieces [`start`, `end`) from the origin."),
    "lease_failed": NoteKind(
        "warning", "A fetch from the origin ended early; what is missing is leased again."
    ),
    "lease_relieved": NoteKind(
        "info", "A lease's owner is slow, and connections idle: others fetch most of the rest."
    ),
    "lease_expired": NoteKind("warning", "A lease's owner went silent; what is missing is leased again."),
    "import_expired": NoteKind(
        "warning", "A host took nothing of `pieces` from another zone; others of its zone import them."
    ),
    "no_source": NoteKind("warning", "Nobody holds what a host misses, and nobody may fetch it."),
    "record_conflict": NoteKind("warning", "Two hosts tell different digests of one piece."),
    "blob_proven": NoteKind(
        "debug", "Enough of `verifiers` found a blob right: other hosts need not hash it."
    ),
    "root_conflict": NoteKind(
        "warning",
        "Hosts told different pieces for one digest, so one of them lies: every host hashes the blob itself.",
    ),
    "quarantine": NoteKind(
        "warning", "Two hosts got wrong pieces that `host` made: nobody takes from it for a while."
    ),
    "task_recovering": NoteKind(
        "info", "A blob is being rebuilt after a start; it gets no lease until all are back."
    ),
    "task_resized": NoteKind("warning", "The origin has another size for a blob than its first client said."),
    "overload": NoteKind("warning", "A table is full: `table` and `limit` say which."),
    "inline_missing": NoteKind("warning", "A tiny blob was to be sent that is not held any more."),
    "state_store_failed": NoteKind("warning", "Not used yet: a shared store did not answer."),
    "digest_denied": NoteKind("warning", "An administrator denied `digest`: nobody gets it, for `reason`."),
    "digest_allowed": NoteKind("warning", "An administrator allowed `digest` again."),
    "purged": NoteKind("info", "An administrator let all hosts forget `digest`, or what a tag meant."),
    "machine_failed": NoteKind("error", "A fault of ours while an event was handled; please report it."),
}
"""Events of the scheduler."""

DAEMON: dict[str, NoteKind] = {
    "daemon_ready": NoteKind("info", "The daemon serves clients at `mirror` and other hosts at `peers`."),
    "daemon_stopping": NoteKind("info", "The daemon was asked to stop."),
    "scheduler_lost": NoteKind("warning", "The daemon works without a scheduler; `reason` says why."),
    "size_disputed": NoteKind(
        "warning",
        "The cluster knows a blob with another size than the client: it is fetched from the origin alone.",
    ),
    "scheduler_attached": NoteKind("info", "A scheduler decides for this daemon, from now on or again."),
    "blob_served": NoteKind("info", "A client got the bytes of a blob that it asked for."),
    "blob_passed_through": NoteKind(
        "info", "A client got a blob straight from the origin; `reason` says why."
    ),
    "client_left": NoteKind("info", "A client went away before it had all bytes."),
    "body_ended_early": NoteKind(
        "warning", "An answer had to be cut; the client asks again or goes to the origin."
    ),
    "request_refused": NoteKind(
        "info",
        "A client got an error in place of what it asked for: the registry refused or cannot be asked, or the"
        " request cannot be; `reason` says which.",
    ),
    "mirror_passed_over": NoteKind(
        "info",
        "A mirror of a registry did not give what was asked for; the next one, or the registry, was asked.",
    ),
    "credentials_failed": NoteKind(
        "warning", "A source of this host's accounts cannot be used; `reason` says which, and why."
    ),
    "outage_allowed": NoteKind(
        "warning", "The origin cannot be asked; a client got what it was allowed before."
    ),
    "tag_stale": NoteKind(
        "warning", "The origin cannot be asked; a tag was answered with its last known digest."
    ),
    "download_failed": NoteKind("warning", "A blob cannot be had; its clients are told to go elsewhere."),
    "origin_fetched_ungranted": NoteKind(
        "info", "Pieces are fetched without a lease: no scheduler, or no source."
    ),
    "origin_fetch_failed": NoteKind("warning", "A fetch from the origin ended early; `fault` says how."),
    "blob_denied": NoteKind("warning", "An administrator lets nobody have this blob; its copy is removed."),
    "blob_allowed": NoteKind("info", "An administrator lets this blob be had again."),
    "blob_purged": NoteKind("info", "The copy of a blob was removed, as somebody asked."),
    "blob_mismatch": NoteKind(
        "warning", "The blob's own digest is wrong, or known digests of pieces: `doubtful` are taken again."
    ),
    "blob_damaged": NoteKind("warning", "A piece on disk is not what it was: it is served no more."),
    "host_quarantined": NoteKind("warning", "The scheduler says to take nothing from `host` for a while."),
    "parent_lost": NoteKind(
        "info",
        "A parent cannot be reached, refused us, or its connection ended; its pieces come from others.",
    ),
    "parent_data_failed": NoteKind("info", "A data connection to a parent failed."),
    "child_lost": NoteKind("info", "A host that takes pieces went away."),
    "child_refused": NoteKind("warning", "A host was not let in; `reason` says why."),
    "peer_tls_unreadable": NoteKind(
        "error",
        "A file of TLS between hosts changed and cannot be used; `reason` says which. The last one still counts.",
    ),
    "children_not_accepted": NoteKind(
        "error", "The peer server cannot accept connections now; `reason` says why."
    ),
    "inline_wrong": NoteKind("warning", "The scheduler sent a tiny blob with another digest."),
    "store_refused": NoteKind("warning", "A blob finds no room on disk and streams through memory."),
    "store_failed": NoteKind("error", "The store cannot do what it was asked; `error` says why."),
    "store_blob_unusable": NoteKind("warning", "A blob on disk cannot be read; it is dropped."),
    "store_pieces_damaged": NoteKind(
        "warning", "Pieces on disk have other digests than they had; they are dropped, and come again."
    ),
    "store_verify_failed": NoteKind(
        "error", "A blob on disk could not be opened to read it again; it stays as it is."
    ),
    "store_record_failed": NoteKind(
        "error", "The disk did not take a record; the next start verifies everything."
    ),
    "store_sync_failed": NoteKind(
        "error", "A blob could not be written to the disk, as `store.drop_pages` asks."
    ),
    "store_delete_failed": NoteKind("error", "A blob could not be deleted from disk."),
    "store_close_failed": NoteKind(
        "error", "The store could not note a clean end; the next start verifies everything."
    ),
}
"""Events of the daemon."""

NOTES = COMMON | SCHEDULER | DAEMON
"""The events of all processes by name."""
