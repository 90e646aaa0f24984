import random, os
import pytest
from .test_lockstep import *
@pytest.mark.parametrize("seed", range(int(os.environ.get("LO","0")), int(os.environ.get("HI","1"))))
def test_p(new_broker, clock, alike, seed):
    if clock.us and not os.environ.get("ALL"): return
    pair = Pair(new_broker(_offset_ms=lambda: clock.ms), clock, random.Random(seed))
    try:
        for _ in range(300):
            pair.step(); pair.look()
    except AssertionError as e:
        a=e.args[0] if e.args else ''
        tb=e.__traceback__
        while tb.tb_next: tb=tb.tb_next
        loc=tb.tb_frame.f_locals
        out=open(f"/tmp/w/contract_{seed}.txt","w",buffering=1)
        for l in pair.log[-60:]:
            if 'counts' in l[1:2]: continue
            print(str(l).replace('00000000-0000-4000-8000-0000000','').replace('x'*300,'X300'), file=out)
        for n in ('mine','other','replies','told'):
            if n in loc: print(n, str(shown(loc[n]) if n!='told' else '').replace('00000000-0000-4000-8000-0000000','').replace('x'*300,'X300'), file=out)
        raise
