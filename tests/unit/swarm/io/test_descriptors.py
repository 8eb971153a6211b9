import resource
import subprocess
import sys

from swarm.io.descriptors import allow_many

SEEN = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"


def test_a_process_may_have_as_many_as_its_hard_limit_says() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        assert allow_many() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert int(subprocess.check_output([sys.executable, "-c", SEEN])) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
