"""The kinds of lying miners, by the names that `chaind simulate --adversary` takes."""

from chaind.simulation.forging import mine_invalid, mine_out_of_time, mine_without_work
from chaind.simulation.hiding import (
    hoard,
    keep_bodies,
    mine_in_secret,
    race,
    show_late,
    withhold,
)
from chaind.simulation.liars import be_slow, garbage
from chaind.simulation.pow_liars import (
    Way,
    lie_about_headers,
    mine,
    spam,
    spoil,
    tell_all,
    watch_nothing,
)

KINDS: dict[str, Way] = {
    "selfish miner": Way(tell_all, mine_in_secret, race),
    "withholding miner": Way(tell_all, withhold, show_late),
    "body withholder": Way(keep_bodies, hoard, watch_nothing),
    "invalid work": Way(tell_all, mine_without_work, watch_nothing),
    "invalid block": Way(tell_all, mine_invalid, watch_nothing),
    "time warper": Way(tell_all, mine_out_of_time, watch_nothing),
    "lying header server": Way(lie_about_headers, mine, watch_nothing),
    "body spoiler": Way(spoil, mine, watch_nothing),
    "garbage": Way(garbage, mine, watch_nothing),
    "slow peer": Way(be_slow, mine, watch_nothing),
    "spammer": Way(spam, mine, watch_nothing),
}
