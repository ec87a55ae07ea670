"""The jobs that `record.py` records: one small model under five kinds of parallelism.

Each job is a function of a plan that prepares this rank's part of the model and returns its
training step with its optimiser. The model is a chain of blocks (two linear layers each); every block holds one call
of `example::augment`, the op that computes longer on a slow rank.
"""

import dataclasses
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Optimizer

Step = Callable[[Tensor, Tensor], None]
Training = tuple[Step, Optimizer]
HEALTHY_SPIN_S = 0.25e-3
CYCLES_PER_S = 1.7e9


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one rank runs: its job and the fault it carries, zero on a healthy rank."""

    parallel: str
    rank: int
    n_ranks: int
    device: str
    width: int
    depth: int
    batch: int
    n_microbatches: int
    spin_s: float = 0.0
    pause_s: float = 0.0

    @property
    def calls_per_step(self) -> int:
        """Forward passes of a block in one step of one rank."""
        return self.depth * (self.n_microbatches if self.parallel == "pp" else 1)


@torch.library.custom_op("example::augment", mutates_args=())
def augment(batch: Tensor, spin_s: float) -> Tensor:
    """Keep the device of `batch` busy for a given time, as one recorded op.

    Returns
    -------
    torch.Tensor
        The batch, copied.
    """
    if batch.is_cuda:
        torch.cuda._sleep(int(spin_s * CYCLES_PER_S))  # noqa: SLF001 - a kernel of known length
        return batch.clone()
    until = time.perf_counter() + spin_s
    while time.perf_counter() < until:
        pass
    return batch.clone()


augment.register_autograd(lambda _context, gradient: (gradient, None))


class Block(nn.Module):
    """Two linear layers with the op between them that a slow rank spends longer in."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.up = nn.Linear(plan.width, plan.width)
        self.down = nn.Linear(plan.width, plan.width)
        self.spin_s = HEALTHY_SPIN_S + plan.spin_s / plan.calls_per_step
        self.pause_s = plan.pause_s / plan.calls_per_step

    def forward(self, batch: Tensor) -> Tensor:
        hidden = torch.relu(self.up(batch))
        if self.pause_s:
            time.sleep(self.pause_s)
        return self.down(augment(hidden, self.spin_s))


class Staged(nn.Module):
    """A pipeline stage whose borders lie on the CPU: gloo sends no CUDA tensors."""

    def __init__(self, net: nn.Module, device: str) -> None:
        super().__init__()
        self.net, self.device = net, device

    def forward(self, batch: Tensor) -> Tensor:
        return self.net(batch.to(self.device)).to("cpu")


def chain(plan: Plan) -> nn.Sequential:
    """Make the blocks of one rank."""
    return nn.Sequential(*(Block(plan) for _ in range(plan.depth))).to(plan.device)


def training_step(net: nn.Module) -> Training:
    """Give the usual step (forward, loss, backward, optimiser) and its optimiser."""
    optimizer = SGD(net.parameters(), lr=1e-3, foreach=True)

    def step(features: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.mse_loss(net(features), targets).backward()
        optimizer.step()

    return step, optimizer


def ddp(plan: Plan) -> Training:
    """Replicate the model; buckets of gradients are all-reduced."""
    return training_step(DistributedDataParallel(chain(plan), bucket_cap_mb=1))


def shard(net: nn.Sequential, mesh: DeviceMesh) -> nn.Sequential:
    """Shard parameters block by block over the ranks of a mesh (FSDP2)."""
    for block in net:
        fully_shard(block, mesh=mesh)
    sharded = fully_shard(net, mesh=mesh)
    sharded.set_force_sum_reduction_for_comms(True)  # gloo has no average on every device
    return sharded


def split(net: nn.Sequential, mesh: DeviceMesh) -> nn.Sequential:
    """Split every block over the ranks of a mesh (tensor parallel)."""
    layouts = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    names = {f"{i}.{name}": layout for i in range(len(net)) for name, layout in layouts.items()}
    return parallelize_module(net, mesh, names)


def fsdp2(plan: Plan) -> Training:
    """Shard parameters: all-gather before use, reduce-scatter of gradients."""
    mesh = init_device_mesh(plan.device, (plan.n_ranks,))
    return training_step(shard(chain(plan), mesh))


def tp(plan: Plan) -> Training:
    """Split each block over all ranks: one all-reduce per block and direction."""
    mesh = init_device_mesh(plan.device, (plan.n_ranks,))
    return training_step(split(chain(plan), mesh))


def two_dimensional(plan: Plan) -> Training:
    """Tensor parallel over pairs of neighbours, FSDP2 over the pairs."""
    mesh = init_device_mesh(plan.device, (plan.n_ranks // 2, 2), mesh_dim_names=("dp", "tp"))
    return training_step(shard(split(chain(plan), mesh["tp"]), mesh["dp"]))


def pp(plan: Plan) -> Training:
    """One stage per rank, one forward and one backward in turn (1F1B)."""
    net = chain(plan)
    border = Staged(net, plan.device) if plan.device == "cuda" else net
    shape = (plan.batch // plan.n_microbatches, plan.width)
    stage = PipelineStage(
        border,
        plan.rank,
        plan.n_ranks,
        torch.device("cpu"),
        input_args=(torch.zeros(shape, requires_grad=plan.rank > 0),),
        output_args=(torch.zeros(shape, requires_grad=True),),
    )
    schedule = Schedule1F1B(stage, plan.n_microbatches, loss_fn=nn.functional.mse_loss)
    optimizer = SGD(net.parameters(), lr=1e-3, foreach=True)

    def step(features: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        inputs = (features,) if stage.is_first else ()
        schedule.step(*inputs, target=targets if stage.is_last else None)
        optimizer.step()

    return step, optimizer


JOBS = {"ddp": ddp, "fsdp2": fsdp2, "tp": tp, "pp": pp, "2d": two_dimensional}
