"""A whole cluster in virtual time: one scheduler, many hosts, one origin, and the faults of a scenario."""

from collections import Counter
from hashlib import sha256

from benchmarks.simulator.clock import Clock
from benchmarks.simulator.control import Control
from benchmarks.simulator.fabric import Fabric
from benchmarks.simulator.host import SimulatedHost
from benchmarks.simulator.origin import Origin
from benchmarks.simulator.scenario import Fault, FaultKind, Scenario, Target
from benchmarks.simulator.verdict import Outcome, Sample, Verdict
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import HostId, TaskId


class Cluster:
    """Runs one scenario from one seed. The same seed gives the same run.

    `validates`: every machine asserts its invariants after every event. `records`: the verdict has a transcript.
    `sample_s`: how often what went over the wire is noted; 0: never.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        validates: bool = False,
        records: bool = False,
        sample_s: float = 0.0,
    ) -> None:
        self.scenario = scenario
        self.clock = Clock()
        self.origin = Origin(self.clock, scenario.origin)
        self.fabric = Fabric(self.clock, scenario)
        self._sample_s = sample_s
        self._samples: list[Sample] = []
        self._limits = {
            rate: scenario.limit_of(rate) for rate in {scenario.link_of(n) for n in range(scenario.hosts)}
        }
        self._faults_left = len(scenario.faults)
        self.notes: Counter[str] = Counter()
        self._dice = Dice(seed)
        self._transcript = sha256() if records else None
        self.control = Control(self.clock, scenario, self._dice, self.fabric, self._noted)
        self.blobs = [
            (TaskId(f"sha256:{number + 1:064x}"), size) for number, size in enumerate(scenario.blobs)
        ]
        self.hosts = [self._host(number) for number in range(scenario.hosts)]
        everyone = {host.info.host: host.peering for host in self.hosts}
        watch = self._watch if records else None
        self.control.validates, self.control.watch = validates, watch
        for host in self.hosts:
            host.validates, host.watch = validates, watch
            host.peering.others = everyone
        self._dead: dict[HostId, SimulatedHost] = {}
        self._lost_bytes = 0
        self._waiting = {host.info.host for host in self.hosts}
        """Hosts that live, or will, and do not have everything yet."""

    def _host(self, number: int) -> SimulatedHost:
        host = SimulatedHost(
            number, self.scenario, self.clock, self.origin, self.control, self.fabric, self._noted
        )
        host.on_finished = self._finished
        return host

    # --- a run ------------------------------------------------------------------------------------

    def run(self) -> Verdict:
        """Let everything happen; stop when nothing goes wrong any more and all have all blobs, or at the time limit."""
        self.control.start()
        for number, host in enumerate(self.hosts):
            self.clock.at(self.scenario.arrival_s(number), lambda host=host: self._arrive(host))
        for fault in self.scenario.faults:
            self.clock.at(fault.at, lambda fault=fault: self._strike(fault))
        if self._sample_s:
            self._sample()
        self.clock.run(self.scenario.time_limit_s, lambda: not self._waiting and not self._faults_left)
        return self._verdict()

    def _sample(self) -> None:
        traffic = self.fabric.traffic
        moved = (self.origin.sent_bytes, traffic.peer_bytes, traffic.cross_zone_bytes)
        self._samples.append(Sample(self.clock.now, *moved))
        self.clock.after(self._sample_s, self._sample)

    def _arrive(self, host: SimulatedHost) -> None:
        host.start(self._dice.throw())
        host.pull(self.blobs, self.scenario.at_once)

    def _has_all(self, host: SimulatedHost) -> bool:
        return len(host.finished) == len(self.blobs)

    def _finished(self, host: SimulatedHost) -> None:
        if self._has_all(host):
            self._waiting.discard(host.info.host)

    def _verdict(self) -> Verdict:
        traffic, size = self.fabric.traffic, self.scenario.size
        return Verdict(
            tuple(
                self._outcome(number, host)
                for number, host in enumerate(self.hosts)
                if host.info.host not in self._dead
            ),
            tuple(self._dead),
            self.scenario.limit_s,
            self.origin.sent_bytes / size,
            self._lost_bytes / size,
            self.origin.requests,
            dict(sorted(self.control.messages.items())),
            dict(sorted(self.notes.items())),
            self.clock.now,
            self._transcript.hexdigest() if self._transcript is not None else "",
            self.origin.refused,
            traffic.peer_bytes / size,
            traffic.cross_zone_bytes / size,
            tuple(self._samples),
        )

    def _outcome(self, number: int, host: SimulatedHost) -> Outcome:
        seconds = max(host.finished.values()) - host.arrived_at if self._has_all(host) else -1.0
        scenario, peering = self.scenario, host.peering
        return Outcome(
            host.info.host,
            scenario.group_of(number),
            seconds,
            self._limits[scenario.link_of(number)],
            host.links[0].moved_bytes,
            host.origin.received_bytes,
            tuple(host.failures),
            peering.received,
            peering.rescued,
            peering.hedged,
        )

    def _noted(self, note: Note) -> None:
        self.notes[note.name] += 1

    def _watch(self, who: str, event: object) -> None:
        assert self._transcript is not None, "only a run that records is watched"
        self._transcript.update(f"{self.clock.now!r} {who} {event!r}\n".encode())

    # --- faults -----------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        self._faults_left -= 1
        match fault.kind:
            case FaultKind.SCHEDULER_DIES:
                self.control.stop()
            case FaultKind.SCHEDULER_RETURNS:
                self.control.start()
            case FaultKind.ORIGIN_SLOWS:
                self.origin.slow_down(fault.amount)
            case FaultKind.ORIGIN_FAILS:
                self.origin.fail()
            case FaultKind.ORIGIN_RETURNS:
                self.origin.is_down = False
            case FaultKind.ZONE_CUT | FaultKind.ZONE_HEALS:
                self._strike_zone(fault)
            case _:
                host = self._target(fault.host)
                if host is not None:
                    self._strike_host(host, fault.kind)

    def _strike_zone(self, fault: Fault) -> None:
        """Cut a zone off, or let it be reached again; what was cut is broken when silence lasted too long, or then."""
        assert isinstance(fault.host, int), "a cut is of a zone"
        if fault.kind is FaultKind.ZONE_CUT:
            self.fabric.cut(fault.host)
            for host in self.hosts:
                host.peering.stall()
            self.clock.after(self.scenario.silence_s, self._notice_cut)
        else:
            self._notice_cut()
            self.fabric.heal()
            self.control.heal()

    def _notice_cut(self) -> None:
        for host in self.hosts:
            if host.life.alive:
                host.peering.notice_cut()
        self.control.notice_cut()

    def _strike_host(self, host: SimulatedHost, kind: FaultKind) -> None:
        match kind:
            case FaultKind.HOST_DIES:
                self._kill(host, self.scenario.latency_s)
            case FaultKind.HOST_VANISHES:
                self._kill(host, self.scenario.silence_s)
            case FaultKind.HOST_LIES:
                host.peering.lies = True
            case FaultKind.HOST_FORGES:
                host.peering.forges = True
            case FaultKind.HOST_RETURNS | FaultKind.HOST_RETURNS_EMPTY if host.info.host in self._dead:
                del self._dead[host.info.host]
                if kind is FaultKind.HOST_RETURNS_EMPTY:
                    host.wipe()
                if not self._has_all(host):
                    self._waiting.add(host.info.host)
                self._arrive(host)

    def _kill(self, host: SimulatedHost, silence_s: float) -> None:
        if host.life.alive:
            before = self.origin.sent_bytes
            host.die(silence_s)
            self._lost_bytes += self.origin.sent_bytes - before + self._held_by_none_but(host)
            self._dead[host.info.host] = host
            self._waiting.discard(host.info.host)

    def _held_by_none_but(self, host: SimulatedHost) -> int:
        """Return the bytes of the pieces on a host's disk that no living one has."""
        others = [other.disk for other in self.hosts if other.life.alive and other is not host]
        lost = 0
        for blob in host.disk.blobs.values():
            known = [disk.blobs[blob.task].by_index for disk in others if blob.task in disk.blobs]
            gone = (index for index in blob.by_index if not any(index in pieces for pieces in known))
            lost += sum(blob.pieces.length(index) for index in gone)
        return lost

    def _target(self, target: int | Target | None) -> SimulatedHost | None:
        """Return the host that a fault is for; None when nobody fits."""
        alive = [host for host in self.hosts if host.life.alive]
        match target:
            case Target.OWNER:
                return next((host for host in alive if host.origin.is_fetching), None)
            case Target.PARENT:
                return max(alive, key=lambda host: host.peering.upload_count, default=None)
            case Target.DEAD:
                return next(iter(self._dead.values()), None)
            case int():
                return self.hosts[target]
        return None
