"""Time of each operation of a training step beside its floor, for the named shapes in both types.

    python3 bench/step_profile.py [shape ...]     shapes: quickstart, llama-15m, gpt2
"""

import subprocess
import sys

from yard import BIN, machine


def main():
    print(machine(), flush=True)
    for shape in sys.argv[1:] or ("quickstart", "llama-15m", "gpt2"):
        for kind in ("float32", "bfloat16"):
            subprocess.run([BIN / "bench_step_profile", "--shape", shape, "--type", kind], check=True)


main()
