import time
from harness import *
async def test_smoke(tmp_path):
    t=time.time()
    async with Cluster(tmp_path, validators=4, full=1) as cluster:
        await cluster.connected()
        print('up', time.time()-t); t=time.time()
        for i in range(10):
            p=await cluster[i%4].payments.transfer(order('alice','bob',5,key=f'k{i}'))
            assert cluster.balances('bob')==[FUNDED+5*(i+1)]*5
        print('10 pay', time.time()-t); t=time.time()
        await cluster.stop(3)
        for i in range(4):
            tx=await cluster.pay('alice','carol',7)
            await cluster.final(tx.txid)
        print('4 pay', time.time()-t); t=time.time()
        await cluster.start(3)
        await cluster.agree()
        print('back', time.time()-t); t=time.time()
        await cluster.seats[2].crash()
        print('crashed', time.time()-t); t=time.time()
        tx=await cluster.pay('alice','carol',7)
        await cluster.final(tx.txid)
        print('paid', time.time()-t); t=time.time()
        await cluster.start(2)
        await cluster.agree()
        print('back', time.time()-t); t=time.time()
