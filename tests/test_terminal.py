"""What is printed where: terminals, pipes, logs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_errors_of_python_reach_the_terminal_after_tensorflow_was_quieted_twice(tmp_path: Path) -> None:
    program = (
        "import os\nfrom pathlib import Path\nfrom search.base.terminal import quiet_tensorflow\n"
        "for _ in range(2):\n    quiet_tensorflow(Path('log'))\n    os.write(2, b'from C++\\n')\n"
        "raise RuntimeError('from Python')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.stderr.splitlines()[-1] == "RuntimeError: from Python"
    assert "C++" not in done.stderr
    assert (tmp_path / "log").read_text() == "from C++\n" * 2
