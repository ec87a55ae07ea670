"""Sound jobs with their couplings taken apart, changed, and put together again."""

from dataclasses import replace

import numpy as np
import polars as pl

from loadpath.couple import Coupling, EdgeKind, assemble_job
from loadpath.tables import Recording

BETWEEN_OPS = [EdgeKind.PROGRAM, EdgeKind.STREAM, EdgeKind.CROSS_STREAM, EdgeKind.DATA]


def edges_of(graph):
    """Return source nodes, target nodes and kinds of all edges but those from the root."""
    nodes = np.arange(graph.n_node)
    overflow = np.repeat(graph.overflow_node, np.diff(graph.overflow_start))
    source = np.concatenate([graph.first, graph.second, graph.overflow_pred]) - 1
    target = np.concatenate([nodes, nodes, overflow])
    kind = np.concatenate([graph.first_kind, graph.second_kind, graph.overflow_kind])
    known = source >= 0
    return source[known], target[known], kind[known]


def coupling_of(job):
    """Return the couplings of an op-table job, read back from its graph."""
    graph = job.graph
    source, target, kind = edges_of(graph)
    plain = np.isin(kind, BETWEEN_OPS)
    member = kind == EdgeKind.MEMBER
    every = np.ones(int(member.sum()), np.bool_)
    return Coupling(
        n_op=job.n_op,
        edge_source=graph.op[source[plain]],
        edge_target=graph.op[target[plain]],
        edge_kind=kind[plain],
        member_op=graph.op[source[member]],
        member_instance=graph.op[target[member]],
        member_contributes=every,
        member_waits=every,
        begin_op=graph.op[graph.begin_node],
        begin_step=graph.step[graph.begin_step],
        end_op=graph.op[graph.end_step_node],
        end_step=graph.step[graph.end_step],
    )


def with_coupling(job, coupling):
    """Return the same job with other couplings; its times are measured anew."""
    recording = Recording(
        source=job.source,
        op=job.op,
        lane=job.lane,
        communicator=job.communicator,
        rank=job.rank,
        step=job.step,
        caveat=job.caveat,
        inputs=job.inputs,
        layout=job.layout,
    )
    membership = job.membership.join(
        pl.DataFrame({"op": coupling.member_op, "instance": coupling.member_instance}),
        on=["op", "instance"],
        how="semi",
        maintain_order="left",
    )
    return assemble_job(recording, job.op, coupling, instance=job.instance, membership=membership)


def without_edges(job, drop):
    """Return the job without the edges that `drop` selects, an array of bool by edge kind."""
    coupling = coupling_of(job)
    keep = ~drop(coupling.edge_kind)
    return with_coupling(
        job,
        replace(
            coupling,
            edge_source=coupling.edge_source[keep],
            edge_target=coupling.edge_target[keep],
            edge_kind=coupling.edge_kind[keep],
        ),
    )


def without_members(job, keep=None):
    """Return the job with only the memberships that `keep` selects; none by default."""
    coupling = coupling_of(job)
    kept = np.zeros(coupling.member_op.size, bool) if keep is None else keep(coupling)
    return with_coupling(
        job,
        replace(
            coupling,
            member_op=coupling.member_op[kept],
            member_instance=coupling.member_instance[kept],
            member_contributes=coupling.member_contributes[kept],
            member_waits=coupling.member_waits[kept],
        ),
    )


def shuffled(job, rng, share=1.0):
    """Return the job with targets of its edges exchanged at random; every edge leads onward.

    Each new edge runs from the op of lower to the op of higher rank in an order of the sound
    graph, so that no cycle appears.
    """
    coupling = coupling_of(job)
    place = job.graph.start_node.astype(np.int64)
    source, target = coupling.edge_source.copy(), coupling.edge_target.copy()
    chosen = np.flatnonzero(rng.random(source.size) < share)
    step = job.op["step"].to_numpy()
    for k in np.unique(step):
        within = chosen[step[source[chosen]] == k]
        target[within] = rng.permutation(target[within])
    ends = job.graph.end_node.astype(np.int64)
    back = ends[source] > ends[target]
    source[back], target[back] = target[back], source[back]
    sound = (source != target) & (ends[source] < place[target])
    return with_coupling(
        job,
        replace(
            coupling,
            edge_source=source[sound],
            edge_target=target[sound],
            edge_kind=coupling.edge_kind[sound],
        ),
    )
