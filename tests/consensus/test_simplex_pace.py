"""Rules 1, 2, 8 and 9 of Epidemic Simplex, and the timers, as step tables.

Δ = 100 ms, block budget 50 ms: a view should end within 500 ms; an idle leader waits for 2000 ms.
"""

from simplex_script import run, tables

RULE_1 = {
    "a certificate of the current view moves past it and is shown once": """
        watch timer show
        start      => timer VIEW 2000; timer RETRANSMIT 200
        NULL 1     => show NULL 1; timer VIEW 2000
        NULL 1     =>
        NOTAR 1 a  => fetch a
        NOTAR 2 b  => show NOTAR 2 b; fetch b; timer VIEW 200
    """,
    "a jump asks for what was passed, a certificate of a passed view moves nothing": """
        watch timer show
        start      => timer VIEW 2000; timer RETRANSMIT 200
        NULL 3     => show NULL 3; ask 1-2 to 9; timer VIEW 2000
        NULL 2     =>
        NOTAR 1 a  => fetch a
    """,
    "a decision leaves no gap": """
        watch timer show
        start      => timer VIEW 2000; timer RETRANSMIT 200
        FINAL 7 a  => show FINAL 7 a; fetch a; timer VIEW 2000
    """,
    "single votes that complete a certificate do as well": """
        watch show
        start          =>
        NULLIFY 0 1    =>
        NULLIFY 2 1    =>
        FIRST 1 1 ⊥    => show NULL 1
    """,
    "an observer follows, and says nothing": """
        me none
        watch timer show
        start          => timer RETRANSMIT 200
        work on        =>
        propose a 1    => check a
        ok a           =>
        FIRST 0 1 a    =>
        FIRST 2 1 a    => show NOTAR 1 a
        FIRST 3 1 a    =>
        synced 2       => deliver a by FAST
    """,
}

TIMERS = {
    "idle, then failing, then ⊥": """
        watch timer
        start      => timer VIEW 2000; timer RETRANSMIT 200
        fire VIEW  => timer VIEW 500
        fire VIEW  => say FIRST 1 ⊥
    """,
    "work that waits for 2Δ shortens the timer, of this view and the next": """
        watch timer cancel
        start      => timer VIEW 2000; timer RETRANSMIT 200
        work on    => timer WORK 200
        fire WORK  => timer VIEW 500
        NULL 1     => timer VIEW 750
        work off   => cancel WORK
        NULL 2     => timer VIEW 2000
    """,
    "work that came after the idle time changes nothing": """
        watch timer
        start      => timer VIEW 2000; timer RETRANSMIT 200
        fire VIEW  => timer VIEW 500
        work on    => timer WORK 200
        fire WORK  =>
    """,
    "an unfinished ancestor gets 2Δ, then is work": """
        watch timer
        start      => timer VIEW 2000; timer RETRANSMIT 200
        NOTAR 1 a  => fetch a; timer VIEW 200
        fire VIEW  => timer VIEW 500
        fire VIEW  => say FIRST 2 ⊥
    """,
    "if it finished in time, the rest of the idle time is waited": """
        watch timer
        start      => timer VIEW 2000; timer RETRANSMIT 200
        NOTAR 1 a  => fetch a; timer VIEW 200
        FINAL 1 a  =>
        fire VIEW  => timer VIEW 1800
        fire VIEW  => timer VIEW 500
    """,
    "failed views back off by half, to sixteen times; a decision takes one step back": """
        watch timer
        start      => timer VIEW 2000; timer RETRANSMIT 200
        work on    => timer WORK 200
        fire WORK  => timer VIEW 500
        NULL 1     => timer VIEW 750
        NULL 2     => timer VIEW 1125; build 3 on genesis(0)
        NULL 3     => timer VIEW 1687
        NULL 4     => timer VIEW 2531
        NULL 5     => timer VIEW 3796
        NULL 6     => timer VIEW 5695; build 7 on genesis(0)
        NULL 7     => timer VIEW 8000
        NULL 8     => timer VIEW 8000
        FAST 9 a   => fetch a; timer VIEW 8000
        FAST 10 b  => fetch b; timer VIEW 5695
        FAST 11 c  => fetch c; timer VIEW 3796
    """,
}

RULE_2 = {
    "a leader with work builds at once, proposes once": """
        me 1
        start      =>
        work on    => build 1 on genesis(0)
        work on    =>
        built a 1  => propose 1 a
        built b 1  =>
        fire VIEW  =>
        fire VIEW  =>
    """,
    "an idle leader waits for the idle time": """
        me 1
        start      =>
        fire VIEW  => build 1 on genesis(0)
    """,
    "the first transaction wakes it": """
        me 2
        start      =>
        NOTAR 1 a  => fetch a
        ok a       => say FINALIZE 1 a
        work on    => build 2 on a(1)
        built b 2 a 1 => propose 2 b
    """,
    "an unfinished ancestor makes it build after 2Δ": """
        me 2
        start      =>
        NOTAR 1 a  => fetch a
        ok a       => say FINALIZE 1 a
        fire VIEW  => build 2 on a(1)
    """,
    "it does not build on a body that it does not hold": """
        me 2
        start      =>
        work on    =>
        NOTAR 1 a  => fetch a
        ok a       => say FINALIZE 1 a; build 2 on a(1)
    """,
    "nor over a gap": """
        me 3
        start      =>
        work on    =>
        NULL 2     => ask 1-1 to 9
        NULL 1     => build 3 on genesis(0)
    """,
    "it passes over a view that has NULL as well while the body is missing": """
        me 3
        start      =>
        work on    =>
        NOTAR 2 b  => ask 1-1 to 9; fetch b
        NULL 1     =>
        NULL 2     => build 3 on genesis(0)
    """,
    "the highest certified block is the parent": """
        me 3
        start      =>
        work on    =>
        NOTAR 1 a  => fetch a
        ok a       => say FINALIZE 1 a
        NULL 2     => build 3 on a(1)
    """,
    "a candidate of a view that has ended is nothing": """
        me 1
        start      =>
        work on    => build 1 on genesis(0)
        NULL 1     =>
        built a 1  =>
    """,
    "nor is one that comes after ⊥": """
        me 1
        start      =>
        work on    => build 1 on genesis(0)
        fire WORK  =>
        fire VIEW  => say FIRST 1 ⊥
        built a 1  =>
    """,
    "who does not lead does not build": """
        me 2
        start      =>
        work on    =>
        fire VIEW  =>
    """,
}

RULE_8 = {
    "idle is not stuck": """
        watch timer show status
        start           => timer VIEW 2000; timer RETRANSMIT 200
        fire RETRANSMIT => timer RETRANSMIT 200
        fire RETRANSMIT => timer RETRANSMIT 200
    """,
    "stuck: own votes, the certificate that led here, the newest decision, where we stand": """
        me 0
        watch show status
        start           =>
        FINAL 1 a       => show FINAL 1 a; fetch a
        NULL 2          => show NULL 2
        fire VIEW       =>
        fire VIEW       => say FIRST 3 ⊥
        fire RETRANSMIT =>
        fire RETRANSMIT => say FIRST 3 ⊥; show FINAL 1 a, NULL 2; status; fetch a
        NULL 3          => show NULL 3
        fire RETRANSMIT => say FIRST 3 ⊥; show FINAL 1 a, NULL 3; status; fetch a
        ok a            =>
        synced 9        => deliver a by FINAL
        fire RETRANSMIT =>
    """,
    "what supports a proposal that never came is fetched": """
        start           =>
        FIRST 0 1 a     =>
        FIRST 2 1 a     =>
        fire RETRANSMIT =>
        fire RETRANSMIT => fetch a
        fire RETRANSMIT => fetch a
        ok a            =>
        fire RETRANSMIT =>
    """,
    "a justification that is missing is asked of everyone": """
        start           =>
        NULL 1          =>
        propose b 2 a 1 => ask 1-1 to 9
        fire RETRANSMIT =>
        fire RETRANSMIT => ask 1-1
    """,
    "gaps are asked of everyone": """
        start           =>
        NOTAR 4 b       => ask 1-3 to 9; fetch b
        NULL 2          =>
        fire RETRANSMIT =>
        fire RETRANSMIT => ask 1-3; fetch b
        NULL 1          =>
        fire RETRANSMIT => ask 3-3; fetch b
    """,
    "a leader repeats its proposal": """
        me 1
        start           =>
        work on         => build 1 on genesis(0)
        built a 1       => propose 1 a
        fire RETRANSMIT =>
        fire RETRANSMIT => say FIRST 1 a; propose 1 a
    """,
}

RULE_9 = """
    me 2
    start           =>
    work on         =>
    propose a 1     => check a
    ok a            => say FIRST 1 a
    FIRST 3 1 a     => say FINALIZE 1 a; build 2 on a(1)
    built b 2 a 1   => propose 2 b
    FIRST 3 2 b     =>
    FIRST 1 2 b     => say FINALIZE 2 b
    FINALIZE 1 1 a  =>
    FINALIZE 3 1 a  =>
    synced 9        => deliver a by FINAL
"""

CATCH_UP = {
    "a peer behind gets the newest decision and what lies above": """
        watch show
        start      =>
        NULL 1     => show NULL 1
        FINAL 2 a  => show FINAL 2 a; fetch a
        NULL 3     => show NULL 3
        status 1 0 => show FINAL 2 a, NULL 3 to 9
        status 3 2 => show NULL 3 to 9
        status 4 2 =>
    """,
    "a peer ahead is asked": """
        start      =>
        status 5 3 => ask 1-5 to 9
        status 2 0 => ask 1-2 to 9
        status 1 0 =>
    """,
    "a peer in the same view gets our votes": """
        start      =>
        fire VIEW  =>
        fire VIEW  => say FIRST 1 ⊥
        status 1 0 => say FIRST 1 ⊥ to 9
        status 2 0 => ask 1-2 to 9
    """,
    "asked for certificates, we give what we have": """
        watch show
        start      =>
        NULL 1     => show NULL 1
        NULL 2     => show NULL 2
        get 1 1    => show NULL 1 to 9
        get 1 9    => show NULL 1, NULL 2 to 9
        get 7 9    =>
        get 9 1    =>
    """,
    "one certificate of the tip is enough": """
        start        =>
        FINAL 900 z  => fetch z from 9
        synced 1     =>
        ok z         => deliver z by FINAL
        propose y 901 z 900 => check y
        ok y         => say FIRST 901 y @2
    """,
}


@tables(RULE_1)
def test_rule_1_enter(script: str) -> None:
    run(script)


@tables(TIMERS)
def test_timers(script: str) -> None:
    run(script)


@tables(RULE_2)
def test_rule_2_propose(script: str) -> None:
    run(script)


@tables(RULE_8)
def test_rule_8_retransmit(script: str) -> None:
    run(script)


def test_rule_9_pipeline() -> None:
    run(RULE_9)


@tables(CATCH_UP)
def test_catch_up(script: str) -> None:
    run(script)
