"""Links that are slow together: those of one host, and sets that hide each other."""

from collections.abc import Mapping, Sequence

from loadpath.diagnose.candidate import Candidate, join
from loadpath.diagnose.rank_candidates import MOST_JOINED

__all__ = ["slow_together"]


def slow_together(
    links: Sequence[Candidate],
    compared: Sequence[tuple[int, ...]],
    host_of_rank: Mapping[int, str],
) -> list[Candidate]:
    """Join significant links: of a host all of whose links are slow, of the same ranks, in sets.

    Where a chain of sends passes several slow links, or several chains pass one each, making one of
    them ideal returns little: they are found together only.

    Parameters
    ----------
    links : sequence of Candidate
        Links and groups, each alone.
    compared : sequence of tuple of int
        Members of every link and group that was compared with its like.
    host_of_rank : mapping of int to str
        Host of each rank, empty where unknown.

    Returns
    -------
    list of Candidate
        Hosts before sets: of equal causes the first is named, and a host is one place.
    """
    slow = [link for link in links if link.significant]
    return [*_of_hosts(slow, compared, host_of_rank), *_same_members(slow), *_sets(slow)]


def _of_hosts(
    slow: Sequence[Candidate],
    compared: Sequence[tuple[int, ...]],
    host_of_rank: Mapping[int, str],
) -> list[Candidate]:
    """Join the slow links of each host all of whose links to other hosts are slow."""
    between = {
        ranks: {host_of_rank.get(r, "") for r in ranks} for ranks in compared if len(ranks) == 2
    }
    found = []
    for host in sorted(set(host_of_rank.values()) - {""}):
        own = {ranks for ranks, ends in between.items() if host in ends and len(ends) == 2}
        mine = [link for link in slow if link.ranks in own]
        shared = set.intersection(*(between[ranks] for ranks in own)) if own else set()
        if len(mine) > 1 and shared == {host} and {link.ranks for link in mine} == own:
            members = tuple(r for r, name in sorted(host_of_rank.items()) if name == host)
            place = {"kind": "host", "place": "host", "key": f"host {host}", "specificity": 1}
            found.append(join(mine, ranks=members, hosts=(host,), **place))
    return found


def _same_members(slow: Sequence[Candidate]) -> list[Candidate]:
    """Join communicators of the same ranks: one network path under several names."""
    joint = []
    for ranks in dict.fromkeys(link.ranks for link in slow):
        same = [link for link in slow if link.ranks == ranks]
        if len(same) > 1:
            key = f"communication of ranks {', '.join(map(str, ranks))}"
            joint.append(
                join(same, kind="link", place=same[0].place, key=key, specificity=1, link=key)
            )
    return joint


def _sets(slow: Sequence[Candidate]) -> list[Candidate]:
    """Join the largest two, three, ... links."""
    largest = sorted(slow, key=lambda link: float(link.change_ns.sum()))[:MOST_JOINED]
    joint = []
    for n in range(2, len(largest) + 1):
        some = sorted(largest[:n], key=lambda link: link.ranks)
        key = f"{n} links: {'; '.join(link.key for link in some)}"
        joint.append(join(some, kind="link", place="link", key=key, specificity=n - 1, link=key))
    return joint
