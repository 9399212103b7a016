"""One start of a job on a machine, as its event log has it."""

from __future__ import annotations

from dataclasses import dataclass, field

# Why a job left a machine (HTCondor, condor_holdcodes.h): from here on no hold, and of those that are none a loss
VACATE_BASE, REMOVED, CHECKPOINTED = 1000, 1023, 1025
# Hold codes (HTCondor manual, HoldReasonCode): of transfers and checkpoints; of programs and containers
TRANSFERS, PROGRAMS = {11, 12, 13, 18, 32, 33, 36}, {6, 35, 45}


@dataclass(kw_only=True)
class Start:
    """One start of a job on a machine: times in seconds since the epoch, as the log's clock has them.

    Attributes:
        claimed: when the machine began to be its, and took in its files; `time`: when the job itself began.
        until: None while it runs; `why`: what ended it, in HTCondor's words; `code`: why in numbers, code and subcode;
            None where the job ended by itself.
        scratch: the job's folder on the machine.
        input_s: of the transfer before it, with the wait for its turn.
        outputs: transfers from the machine home, those of checkpoints among them: when each began and was done.
        gpus: how many were given; `gpu_memory_mb`: of one of them.
        used, asked: what the last event of it says, by the resource's name: `GPUs` on average, `Memory` in MB.
    """

    time: int
    claimed: int = 0
    until: int | None = None
    why: str = ""
    code: tuple[int, int] | None = None
    site: str = ""
    machine: str = ""
    gpu: str = ""
    scratch: str = ""
    input_s: int = 0
    outputs: list[tuple[int, int]] = field(default_factory=list)
    gpus: int = 0
    gpu_memory_mb: int = 0
    used: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> int:
        """Of the machine; 0 while the job is there."""
        return 0 if self.until is None else max(0, self.until - self.claimed)

    @property
    def taken(self) -> bool:
        """Whether it has ended because the machine was taken away, by the code that HTCondor gives."""
        code, subcode = self.code or (REMOVED, 0)
        if code in {REMOVED, CHECKPOINTED, *TRANSFERS, *PROGRAMS}:
            return False
        return code <= 0 or code >= VACATE_BASE or subcode <= -VACATE_BASE
