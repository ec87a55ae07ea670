"""Recordings of schedules, and schedules of any shape."""

import random

from loadpath.tables import COMMUNICATOR, LANE, OP, RANK, STEP, Recording, caveat_table

COSTS = {
    "L": (2500, 1, 100000),
    "o": (1500, 0, 10),
    "g": (1000, 5000, 0),
    "G": (6, 0, 1),
    "O": (0, 2),
    "S": (65535, 10),
}


def recording_of(schedule):
    return Recording(
        source="goal",
        op=OP.empty(),
        lane=LANE.empty(),
        communicator=COMMUNICATOR.empty(),
        rank=RANK.build({"rank": list(range(schedule.n_rank))}),
        step=STEP.empty(),
        caveat=caveat_table([]),
        inputs=schedule.inputs,
        schedule=schedule,
    )


def any_costs(seed):
    draw = random.Random(seed)  # noqa: S311 - reproducible
    return {name: draw.choice(values) for name, values in COSTS.items()}


def any_schedule(seed):
    """GOAL text of 1 to 6 ranks whose sends and receives pair up; it may stall all the same."""
    draw = random.Random(seed)  # noqa: S311 - reproducible
    several, wild, starts = seed % 3 == 0, seed % 5 == 0, seed % 2 == 0
    n_rank = draw.randint(1, 6)
    sizes = [draw.choice([1, 8, 1000, 65535, 65536, 100000]) for _ in range(3)]
    sizes = [sizes[0]] * 3 if wild else sizes
    ops: list[list[str]] = [[] for _ in range(n_rank)]

    def port(letter, most):
        return f" {letter} {draw.randint(0, most)}" if several and draw.random() < 0.5 else ""

    for _ in range(draw.randint(1, 40)):
        if n_rank == 1 or draw.random() < 0.4:
            length = draw.choice([0, 1, 100, 1500, 5000, draw.randint(0, 20000)])
            ops[draw.randrange(n_rank)].append(f"calc {length}{port('cpu', 2)}")
            continue
        source, target, tag = draw.randrange(n_rank), draw.randrange(n_rank), draw.randint(0, 2)
        any_source, any_tag = (wild and draw.random() < 0.3 for _ in range(2))
        ports = [f"{port('cpu', 2)}{port('nic', 1)}" for _ in range(2)]
        ops[source].append(f"send {sizes[tag]}b to {target} tag {tag}{ports[0]}")
        ops[target].append(
            f"recv {sizes[tag]}b from {-1 if any_source else source} "
            f"tag {-1 if any_tag else tag}{ports[1]}"
        )
    text = f"num_ranks {n_rank}\n"
    for rank, lines in enumerate(ops):
        text += f"rank {rank} {{\n"
        for i, line in enumerate(lines):
            text += f"l{i}: {line}\n"
            if i and draw.random() < 0.6:
                word = "irequires" if starts and draw.random() < 0.3 else "requires"
                text += f"l{i} {word} l{draw.randrange(max(0, i - 3), i)}\n"
        text += "}\n"
    return text
