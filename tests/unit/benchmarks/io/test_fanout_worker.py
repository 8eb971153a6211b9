"""The settings of one daemon among many."""

from dataclasses import replace

from benchmarks.io.fanout_worker import FanoutTask, daemon_config


def task(link_bytes_per_s: int = 0, shaped: bool = False) -> FanoutTask:
    blobs = [("sha256:" + "a" * 64, 5)]
    return FanoutTask(
        [0, 1], "/tmp/f", "s:1", "o:2", blobs, 2, link_bytes_per_s, 3, 4, shaped=shaped
    )  # nothing is written there


def test_every_daemon_has_a_name_a_zone_and_a_folder_of_its_own() -> None:
    first, second = daemon_config(task(), 0), daemon_config(task(), 1)
    assert (first.zone, second.zone) == ("zone-0", "zone-1")
    assert len({first.host, second.host}) == 2
    assert (
        len({first.store.directory, second.store.directory, first.control_socket, second.control_socket}) == 4
    )


def test_a_link_is_known_and_kept_to_where_it_is_shaped() -> None:
    known, kept = daemon_config(task(1000), 0), daemon_config(task(1000, shaped=True), 0)
    for config in (known, kept):
        assert (config.upload_bytes_per_s, config.download_bytes_per_s) == (1000, 1000)
    assert (known.peer.upload_bytes_per_s_max, known.peer.download_bytes_per_s_max) == (0, 0)
    assert (kept.peer.upload_bytes_per_s_max, kept.peer.download_bytes_per_s_max) == (1000, 1000)


def test_blobs_are_hashed_by_the_first_nodes_if_that_is_asked_for() -> None:
    usual, asked = daemon_config(task(), 0), daemon_config(replace(task(), verify="first-nodes"), 0)
    assert (usual.verify, usual.peer.piece_digest) == ("every-node", "xxh3")
    assert (asked.verify, asked.peer.piece_digest) == ("first-nodes", "blake3")
