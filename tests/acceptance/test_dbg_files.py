import sys
from tests.acceptance.test_cli_files import *
from tests.acceptance.test_cli_files import _write
from tests.acceptance.conftest import zygote, shop
@pytest.mark.parametrize("i", range(4))
def test_x(folders, i):
    many = {folders.folder / "php" / f"{n % 7}" / f"sess_{n}" for n in range(1_500)}
    for file in many: _write(file, 10)
    folders("approve", "sessions-two-days")
    for wait in (0.8, 1.2, 1.6):
        daemon = folders.start("run", "sessions-two-days")
        time.sleep(wait+i*0.4)
        daemon.send_signal(signal.SIGKILL)
        print("killed", wait, sum(f.exists() for f in many), daemon.communicate()[1][-300:])
    for k in range(40):
        left=[f for f in many if f.exists()]
        if not left: break
        e=folders("run", "sessions-two-days", "--json", code=None)
        print(len(left), e.code, e.out[:600].replace("\n"," "), e.err[-300:])
        aside=list(folders.folder.rglob(".retention-disposal-*/*"))
        print("aside", len(aside), list(folders.folder.rglob(".retention-disposal-*")))
        time.sleep(3)
    left=[f for f in many if f.exists()]
    print("END", len(left))
    if left: raise SystemExit
