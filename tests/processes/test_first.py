def test_x(real, network):
    print(real.status(), network.heard, real.folder)
    print(real.log("coordinator").read_text()[-3000:])
    print(real.log("alder").read_text()[-3000:])
    assert 0
